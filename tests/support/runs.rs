//! Runs made of a few words: what the store, power and engine tests feed a store with.

use std::collections::BTreeMap;

use runstream::clock::UnixMs;
use runstream::domain::batch::{Batch, Item, Receipt, Span, TestStatus};
use runstream::domain::execution::{
    Completeness, Cycle, Execution, IngestMeta, ItemStatus, Session, SessionStatus, Source, Status,
};
use runstream::domain::id::{CycleId, ExecutionId, OrgId, ProjectId, SessionId, TaskId, UserId};
use runstream::domain::segment::{Position, Refusals, Segment, SegmentBatch};
use runstream::store::contract::{ClosedRun, OpenedRun, SessionEnd, StoreResult};

/// 2026-03-20T09:46:40.123Z.
pub(crate) const START_MS: UnixMs = 1_774_000_000_123;

/// A run of `org` that starts at `start_ms`.
pub(crate) fn opened(org: OrgId, start_ms: UnixMs) -> OpenedRun {
    let (session, task_id) =
        (SessionId::generate(), TaskId::from(format!("t-{}", SessionId::generate()).as_str()));
    let (project, id, cycle) =
        (ProjectId::generate(start_ms), ExecutionId::generate(start_ms), CycleId::generate(start_ms));
    let execution = Execution {
        id,
        task_id: task_id.clone(),
        org,
        project,
        status: Status::Running,
        source: Source::ExternalCi,
        image: "external-ci".into(),
        command: "playwright (external reporter)".into(),
        folder: "all".into(),
        start_ms,
        end_ms: None,
        environment: "production".into(),
        env_vars: BTreeMap::new(),
        trigger: "webhook".into(),
        group_name: None,
        cycle,
        cycle_item: uuid::Uuid::new_v4(),
        ingest: IngestMeta {
            session,
            reporter_version: "1.0.0".into(),
            framework: "playwright".into(),
            total_tests: 3,
            ci_context: None,
        },
        completeness: None,
        deleted_ms: None,
    };
    let cycle = Cycle {
        id: cycle,
        org,
        project,
        name: "nightly".into(),
        completed: false,
        ci_context: None,
        item: execution.cycle_item,
        item_title: "External CI Run (playwright)".into(),
        item_status: ItemStatus::Running,
        task_id: task_id.clone(),
        total: 3,
        passed: 0,
        failed: 0,
        created_ms: start_ms,
        created_by: UserId::generate(start_ms),
    };
    let session = Session {
        id: session,
        org,
        project,
        project_name: "Web Shop".into(),
        execution: id,
        task_id,
        status: SessionStatus::Running,
        framework: "playwright".into(),
        reporter_version: "1.0.0".into(),
        total_tests: 3,
        start_ms,
        end_ms: None,
        expires_ms: start_ms + 86_400_000,
        final_summary: None,
        delivery: None,
        answered: None,
    };
    OpenedRun { execution, cycle, session, feed_seq: 0 }
}

/// One event of a batch.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Log text, as it is.
    Log(String),
    /// A test begins: id, title.
    Begin(&'static str, &'static str),
    /// A test ends.
    End(&'static str, TestStatus),
    /// A status is announced.
    Announce(Status),
}

/// A batch of these events.
pub(crate) fn batch(events: &[Event]) -> Batch {
    let (mut text, mut strings, mut items) = (String::new(), String::new(), Vec::new());
    let span = |strings: &mut String, part: &str| {
        let start = strings.len() as u32;
        strings.push_str(part);
        Span { start, len: part.len() as u32 }
    };
    for event in events {
        let item = match event {
            Event::Log(log) => {
                text.push_str(log);
                Item::Log { test: None, stream: None, text_end: text.len() as u32 }
            }
            Event::Begin(test, title) => {
                text.push_str(&format!("▶ RUNNING  {title}\n"));
                let (test, title) = (span(&mut strings, test), span(&mut strings, title));
                let file = span(&mut strings, "cart.spec.ts");
                Item::Begin { test, title, file, timestamp_ms: START_MS, text_end: text.len() as u32 }
            }
            Event::End(test, status) => {
                text.push_str(&format!("✔ PASSED   {test} (7ms)\n"));
                Item::End {
                    test: span(&mut strings, test),
                    status: *status,
                    duration_ms: 7,
                    error: None,
                    timestamp_ms: START_MS,
                    runtime_context: None,
                    extra: None,
                    attempt_count: 1,
                    recorded: true,
                    text_end: text.len() as u32,
                }
            }
            Event::Announce(status) => Item::Status { status: *status, timestamp_ms: START_MS },
        };
        items.push(item);
    }
    let text_units = text.encode_utf16().count() as u64;
    let received = events.len() as u32;
    Batch {
        text: text.into(),
        text_units,
        strings: strings.into(),
        items: items.into(),
        received,
        truncated: 0,
        rejected: 0,
    }
}

/// Makes the segments of a run, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reporter {
    pub(crate) opened: OpenedRun,
    pub(crate) epoch: u32,
    pub(crate) next_seq: u64,
    pub(crate) end: Position,
    /// The text of the segments made so far.
    pub(crate) text: String,
    received_ms: UnixMs,
}

impl Reporter {
    pub(crate) fn new(opened: OpenedRun) -> Self {
        let received_ms = opened.execution.start_ms;
        Self { opened, epoch: 1, next_seq: 1, end: Position::default(), text: String::new(), received_ms }
    }

    pub(crate) fn org(&self) -> OrgId {
        self.opened.execution.org
    }

    pub(crate) fn id(&self) -> ExecutionId {
        self.opened.execution.id
    }

    /// The run was claimed: segments are of this epoch from now on.
    pub(crate) fn goes_on(&mut self, claimed: StoreResult<Option<u32>>) {
        let epoch = claimed.unwrap().expect("the run is not settled");
        if epoch != self.epoch {
            (self.epoch, self.next_seq) = (epoch, 1);
        }
    }

    /// A segment that continues the run, one batch of these events.
    pub(crate) fn segment(&mut self, events: &[Event]) -> Segment {
        self.received_ms += 1_000;
        let batch = batch(events);
        self.text.push_str(batch.text());
        let digest = u128::from(self.next_seq) << 64 | self.received_ms as u128;
        let receipt =
            Receipt { received_ms: self.received_ms, digest, nonce: 1, body_bytes: 99, number: None };
        let segment = Segment {
            org: self.org(),
            execution: self.id(),
            epoch: self.epoch,
            seq: self.next_seq,
            start: self.end,
            batches: vec![SegmentBatch { session: self.opened.session.id, receipt, batch }],
            refusals: Refusals::default(),
            feed_seq: 0,
            is_update: false,
        };
        self.end = segment.end();
        self.next_seq += 1;
        segment
    }

    /// A segment of this log text.
    pub(crate) fn log(&mut self, text: impl Into<String>) -> Segment {
        self.segment(&[Event::Log(text.into())])
    }

    /// The run's closure number `revision`, as passed.
    pub(crate) fn closed(&self, revision: u32) -> ClosedRun {
        let end_ms = self.received_ms + 500 + i64::from(revision);
        ClosedRun {
            org: self.org(),
            execution: self.id(),
            revision,
            status: Status::Passed,
            gated: false,
            end_ms,
            completeness: Completeness {
                batches_stored: self.next_seq - 1,
                log_units: self.end.units,
                log_bytes: self.end.bytes,
                results: self.end.results,
                ..Completeness::default()
            },
            quarantined: Vec::new(),
            item_status: ItemStatus::Passed,
            cycle_summary: (3, 2, 1),
            sessions: vec![SessionEnd {
                session: self.opened.session.id,
                status: SessionStatus::Completed,
                summary: None,
                delivery: None,
                answered: Status::Passed,
                expires_ms: end_ms + 7 * 86_400_000,
            }],
            feed_seq: 0,
        }
    }
}

/// Text that is not ASCII, so that bytes, characters and units differ.
pub(crate) fn words(count: usize, seed: u64) -> String {
    const WORDS: [&str; 6] = ["lorem ", "größe ", "🦀 ", "\u{1b}[31mred\u{1b}[0m ", "end\n", "0123456789 "];
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        WORDS[(state >> 33) as usize % WORDS.len()]
    };
    (0..count).map(|_| next()).collect()
}
