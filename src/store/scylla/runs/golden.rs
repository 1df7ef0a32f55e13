//! The records in the rows of runs and of the feed, as they were first written. A sample that no longer reads, or that is
//! no longer what is written, means that stored data would be lost: the record needs a new version, never a new sample.

use uuid::Uuid;

use super::row::{Claim, Sealed, Settled};
use crate::domain::execution::{Source, Status};
use crate::domain::id::{ExecutionId, ProjectId, SessionId, TaskId};
use crate::domain::segment::Position;
use crate::store::fold::documents::ListRow;
use crate::store::fold::feed::FeedRecord;
use crate::store::fold::records::{AbandonedRecord, SettledRow};
use crate::store::fold::text::{Cut, Gap};
use crate::store::record::{self, golden};

const AT_MS: i64 = 1_774_000_000_123;

fn task() -> TaskId {
    TaskId::from("ingest-1774000000123-7c1d")
}

fn end() -> Position {
    Position { units: 300, bytes: 70_000, results: 2 }
}

#[test]
fn claims() {
    let sealed = |epoch, last_seq| Sealed { epoch, last_seq, lane: u64::from(epoch) << 40, end: end() };
    let claim = Claim {
        owner: Some(Uuid::from_bytes(*b"incarnation....1")),
        epoch: 4,
        lane: 1 << 62,
        sealing: Some((3, 7)),
        sealed: vec![sealed(1, 129), sealed(2, 0)],
        hours: vec![492_777, -1],
        generation: 2,
        opened_lane: 5,
        closed_lane: 6,
    };
    let golden = golden::check("claim.v1", &record::encode(&claim).unwrap());
    assert_eq!(record::decode(&golden), Ok(claim));
}

#[test]
fn settled_runs() {
    let (from, to) = (Cut { units: 10, bytes: 200 }, Cut { units: 20, bytes: 300 });
    let row = SettledRow { end: end(), gap: Some(Gap { from, to }) };
    let settled = Settled { row, fold: 9, bytes: 70_400 };
    let golden = golden::check("settled_run.v1", &record::encode(&settled).unwrap());
    assert_eq!(record::decode(&golden), Ok(settled));
}

#[test]
fn runs_that_were_taken_back() {
    let session = SessionId(Uuid::from_bytes(*b"session........1"));
    let abandoned = AbandonedRecord { task: task(), session, start_ms: AT_MS, feed_seq: 300 };
    let golden = golden::check("abandoned_run.v2", &abandoned.to_bytes().unwrap());
    assert_eq!(AbandonedRecord::read(&golden), Ok(abandoned.clone()));
    // The number in the feed was added later.
    let before = AbandonedRecord { feed_seq: 0, ..abandoned };
    let golden = golden::check("abandoned_run.v1", &record::encode(&before).unwrap());
    assert_eq!(AbandonedRecord::read(&golden), Ok(before));
}

#[test]
fn what_lists_filter_by() {
    let listed = ListRow {
        status: Status::Unstable,
        source: Source::ExternalCi,
        environment: "production".into(),
        group_name: Some("nightly".into()),
        project: ProjectId::from_bytes(*b"project....."),
        is_deleted: false,
    };
    let golden = golden::check("listed_run.v1", &record::encode(&listed).unwrap());
    assert_eq!(record::decode(&golden), Ok(listed));
}

#[test]
fn what_the_feed_tells() {
    let execution = ExecutionId::from_bytes(*b"execution...");
    let told = FeedRecord::update(execution, (300, 70_000), Some(task()), AT_MS);
    let golden = golden::check("feed_row.v1", &record::encode(&told).unwrap());
    assert_eq!(record::decode(&golden), Ok(told));
}
