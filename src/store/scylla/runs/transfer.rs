//! Runs and the feed of a store that is copied. Nobody owns a run meanwhile: each says where its last epoch ends.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

use super::feed_tables::FEED_PART_BITS;
use super::index::RunIndex;
use super::read::decode;
use super::row::{Claim, RunRow, Sealed, Settled};
use super::tables::{Tables, Trace, execution_of, hour, org_of};
use crate::domain::execution::{Execution, Session, SessionStatus};
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Segment;
use crate::limits::{COPY_PAGE_BYTES, COPY_PAGE_ROWS, EPOCH};
use crate::store::contract::{Conflict, StoreError, StoreResult};
use crate::store::copy::Page;
use crate::store::copy::record::{Record, RunRecord, SegmentRecord, StoredClosure};
use crate::store::fold::documents::ListRow;
use crate::store::fold::feed::FeedRecord;
use crate::store::fold::records::OpenedRecord;
use crate::store::fold::segment;
use crate::store::record;
use crate::store::scylla::Cql;

/// Records that are read or written at the same time.
const PARALLEL: usize = 16;
/// Segments of an "hour" of a copied run: one that is copied has them by number, not by when they were received.
const SEGMENTS_AN_HOUR: u64 = 4_096;
/// The fold of copied runs.
const FOLD: i64 = 0;

/// The tables of runs and of the feed, of a store that is copied.
pub(in crate::store::scylla) struct RunsTransfer {
    tables: Tables,
    /// The numbering of the feed that is copied.
    lane: std::sync::RwLock<u64>,
    /// The row of the run that was looked at last.
    last: Mutex<Option<Arc<RunRow>>>,
    /// The highest numbers of what only segments tell, by organization.
    untold: OnceCell<HashMap<OrgId, u64>>,
}

impl RunsTransfer {
    /// Without a numbering it is the first there is, which the next server takes.
    pub(in crate::store::scylla) async fn prepare(cql: Arc<Cql>, lane: Option<u64>) -> StoreResult<Self> {
        let tables = Tables::prepare(cql).await?;
        let lane = match lane {
            Some(lane) => lane,
            None => tables.lanes().await?.first().map_or(0, |(lane, _)| *lane),
        };
        Ok(Self { tables, lane: lane.into(), last: Mutex::default(), untold: OnceCell::new() })
    }

    pub(in crate::store::scylla) fn lane(&self) -> u64 {
        *self.lane.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes a numbering, which nobody has.
    pub(in crate::store::scylla) async fn set_lane(&self, lane: u64) -> StoreResult<()> {
        if self.tables.lanes().await?.iter().any(|(known, _)| *known != lane) {
            // The next server might go on with another one.
            let used = "the keyspace was used by a server before: copy into a new one";
            return Err(StoreError::Unavailable(used.into()));
        }
        let nobody = Uuid::nil();
        self.tables.insert_lane(lane, nobody).await?;
        self.tables.take_lane(lane, Some(nobody), None).await?;
        *self.lane.write().unwrap_or_else(std::sync::PoisonError::into_inner) = lane;
        Ok(())
    }

    /// A page of runs.
    pub(in crate::store::scylla) async fn export_runs(&self, from: &[u8]) -> StoreResult<Page> {
        type Row = (
            Vec<u8>,
            Option<Vec<u8>>,
            Option<i32>,
            Option<Uuid>,
            Option<Vec<u8>>,
            Option<Vec<u8>>,
            Option<Vec<u8>>,
            Option<Vec<u8>>,
            Option<Vec<u8>>,
        );
        let (rows, next) = self.tables.cql.page::<Row>(&self.tables.statements.all_runs, from).await?;
        let mut runs = Vec::new();
        for (id, org, version, change, opened, closure, claim, settled, abandoned) in rows {
            let columns = (org, version, change, opened, closure, claim, settled, abandoned);
            let row = RunRow::read(execution_of(&id)?, columns)?;
            // One that was taken back, or never came, is no run.
            if row.opened.is_some() {
                runs.push(row);
            }
        }
        let reading: Vec<_> = runs.iter().map(|row| self.run_record(row)).collect();
        let runs: Vec<_> = futures_util::stream::iter(reading).buffered(PARALLEL).try_collect().await?;
        Ok(Page { records: runs.into_iter().flatten().collect(), next })
    }

    async fn run_record(&self, row: &RunRow) -> StoreResult<Option<Record>> {
        let (Some(execution), Some(cycle), Some(session)) = (row.document(), row.cycle(), row.session())
        else {
            return Ok(None);
        };
        let leads_to = self.tables.session(session.id).await?;
        let session = Some(session).filter(|_| leads_to == Some(row.execution));
        let closure = row.closure.clone().map(|closed| {
            let is_kept = row.claim.closed_lane == self.lane();
            StoredClosure(if is_kept {
                closed
            } else {
                crate::store::contract::ClosedRun { feed_seq: 0, ..closed }
            })
        });
        let (settled, segments, end) = match &row.settled {
            Some(Settled { row, bytes, .. }) => (Some((row.clone(), *bytes)), 0, row.end),
            None => {
                let index = self.index(row).await?;
                (None, index.len() as u64, index.end)
            }
        };
        let run = RunRecord { execution, cycle, session, closure, settled, segments, end };
        Ok(Some(Record::Run(Box::new(run))))
    }

    /// Where the segments of an unsettled run are.
    async fn index(&self, row: &RunRow) -> StoreResult<RunIndex> {
        let is_at_rest = row.claim.sealing.is_none() && row.claim.open_epoch().is_none();
        if !is_at_rest {
            return Err(StoreError::Damaged(format!("run {} could not be taken over", row.execution)));
        }
        let mut found = Vec::new();
        for hour in &row.claim.hours {
            found.extend(self.tables.segment_facts(row.execution, *hour).await?);
        }
        RunIndex::of(row.opened.as_ref().map_or(0, |opened| opened.session.start_ms), &row.claim, found)
    }

    /// Unsettled runs by id.
    async fn unsettled(&self) -> StoreResult<Vec<RunRow>> {
        let mut traces = self.tables.unsettled().await?;
        traces.sort_unstable_by_key(|trace| trace.execution);
        let looking: Vec<_> = traces.iter().map(|trace| self.tables.run(trace.execution)).collect();
        let rows: Vec<_> = futures_util::stream::iter(looking).buffered(PARALLEL).try_collect().await?;
        Ok(rows.into_iter().flatten().filter(|row| row.state().is_some()).collect())
    }

    /// Segments of unsettled runs; `from` is an execution and how many of its segments were read.
    pub(in crate::store::scylla) async fn export_segments(&self, from: &[u8]) -> StoreResult<Page> {
        let (first, done) = from.split_first_chunk::<12>().map_or((None, 0), |(run, done)| {
            let done = done.try_into().map_or(0, u64::from_be_bytes);
            (Some(ExecutionId::from_bytes(*run)), done)
        });
        let mut page = Page::default();
        let mut bytes = 0;
        for row in self.unsettled().await? {
            let execution = row.execution;
            if first.is_some_and(|first| execution < first) {
                continue;
            }
            let done = if first == Some(execution) { done } else { 0 };
            let index = self.index(&row).await?;
            for number in done + 1..=index.len() as u64 {
                let at = usize::try_from(number - 1).ok().and_then(|at| index.at(at));
                let Some(at) = at else { break };
                let mut stored = self.tables.segments(execution, at, at.seq).await?;
                let (_, data) = stored.try_next().await?.ok_or_else(|| lost(execution, number))?;
                bytes += data.len();
                let mut segment = decode(row.org, execution, at, data)?;
                if row.claim.lane_of(at.epoch) != self.lane() {
                    segment.feed_seq = 0;
                }
                // Epochs are of the store that the segment was written to.
                (segment.epoch, segment.seq) = (EPOCH, number);
                page.records.push(Record::Segment(SegmentRecord { number, segment }));
                if bytes >= COPY_PAGE_BYTES || page.records.len() >= COPY_PAGE_ROWS {
                    page.next = Some([execution.as_bytes().as_slice(), &number.to_be_bytes()].concat());
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// A page of the text of settled runs.
    pub(in crate::store::scylla) async fn export_texts(&self, from: &[u8]) -> StoreResult<Page> {
        type Row = (Vec<u8>, i64, i64, i64, String);
        let (rows, next) = self.tables.cql.page::<Row>(&self.tables.statements.all_texts, from).await?;
        let mut page = Page { next, ..Page::default() };
        for (execution, fold, units, bytes, piece) in rows {
            let execution = execution_of(&execution)?;
            if let Some(org) = self.settled_to(execution, fold).await? {
                let (units, bytes) = (units.cast_unsigned(), bytes.cast_unsigned());
                page.records.push(Record::Text { org, execution, units, bytes, piece });
            }
        }
        Ok(page)
    }

    /// A page of the results of settled runs.
    pub(in crate::store::scylla) async fn export_results(&self, from: &[u8]) -> StoreResult<Page> {
        type Row = (Vec<u8>, i64, Vec<u8>);
        let (rows, next) = self.tables.cql.page::<Row>(&self.tables.statements.all_results, from).await?;
        let mut page = Page { next, ..Page::default() };
        for (execution, fold, result) in rows {
            let execution = execution_of(&execution)?;
            if let Some(org) = self.settled_to(execution, fold).await? {
                let result = Box::new(record::decode(&result)?);
                page.records.push(Record::Result { org, execution, result });
            }
        }
        Ok(page)
    }

    /// Whose a run is that is settled to this fold; `None` if what is there was left by a fold that was cut off.
    async fn settled_to(&self, execution: ExecutionId, fold: i64) -> StoreResult<Option<OrgId>> {
        let row = self.row(execution).await?;
        let is_settled = |row: &Arc<RunRow>| row.settled.as_ref().is_some_and(|settled| settled.fold == fold);
        Ok(row.filter(is_settled).map(|row| row.org))
    }

    /// The row of a run; rows of one run follow each other.
    async fn row(&self, execution: ExecutionId) -> StoreResult<Option<Arc<RunRow>>> {
        let mut last = self.last.lock().await;
        if last.as_ref().is_none_or(|last| last.execution != execution) {
            *last = self.tables.run(execution).await?.map(Arc::new);
        }
        Ok(last.clone())
    }

    /// A page of the feed's rows.
    pub(in crate::store::scylla) async fn export_told(&self, from: &[u8]) -> StoreResult<Page> {
        type Row = (Vec<u8>, i64, i64, Vec<u8>);
        let (rows, next) = self.tables.cql.page::<Row>(&self.tables.statements.all_told, from).await?;
        let mut page = Page { next, ..Page::default() };
        let lane = self.lane();
        let mut floors: HashMap<OrgId, u64> = HashMap::new();
        for (org, in_lane, seq, told) in rows {
            let (org, seq) = (org_of(&org)?, seq.cast_unsigned());
            if in_lane.cast_unsigned() != lane {
                continue;
            }
            let floor = match floors.get(&org) {
                Some(floor) => *floor,
                None => {
                    let floor = self.tables.feed_state(org, lane).await?.floor;
                    floors.insert(org, floor);
                    floor
                }
            };
            if seq > floor {
                page.records.push(Record::Told { org, seq, told: record::decode::<FeedRecord>(&told)? });
            }
        }
        Ok(page)
    }

    /// How far these organizations' feeds have come.
    pub(in crate::store::scylla) async fn feeds(&self, orgs: Vec<OrgId>) -> StoreResult<Vec<Record>> {
        let lane = self.lane();
        let untold = self.untold.get_or_try_init(|| self.find_untold(lane)).await?;
        let mut feeds = Vec::new();
        for org in orgs {
            let state = self.tables.feed_state(org, lane).await?;
            let last = match state.last_part {
                Some(part) => self.tables.last_told(org, lane, part).await?.unwrap_or(0),
                None => 0,
            };
            let head = state.head.max(last).max(untold.get(&org).copied().unwrap_or(0));
            if (head, state.floor) != (0, 0) {
                feeds.push(Record::Feed { org, head, floor: state.floor });
            }
        }
        Ok(feeds)
    }

    async fn find_untold(&self, lane: u64) -> StoreResult<HashMap<OrgId, u64>> {
        let mut highest: HashMap<OrgId, u64> = HashMap::new();
        for row in self.unsettled().await? {
            let index = self.index(&row).await?;
            for (epoch, seq, ..) in index.told() {
                if row.claim.lane_of(epoch) == lane {
                    let known = highest.entry(row.org).or_default();
                    *known = seq.max(*known);
                }
            }
        }
        Ok(highest)
    }

    /// Takes records in.
    pub(in crate::store::scylla) async fn take_in(&self, records: Vec<Record>) -> StoreResult<()> {
        self.note_parts(&records).await?;
        let taking = records.into_iter().map(|record| self.take_in_one(record));
        let taking: Vec<_> = taking.collect();
        futures_util::stream::iter(taking).buffer_unordered(PARALLEL).try_collect::<()>().await
    }

    /// Rows of the feed are looked for up to the last part only.
    async fn note_parts(&self, records: &[Record]) -> StoreResult<()> {
        let mut last: HashMap<OrgId, u64> = HashMap::new();
        for record in records {
            if let Record::Told { org, seq, .. } = record {
                let known = last.entry(*org).or_default();
                *known = (*known).max(*seq);
            }
        }
        for (org, seq) in last {
            let part = i64::try_from(seq >> FEED_PART_BITS).unwrap_or(i64::MAX);
            self.tables.put_last_part(org, self.lane(), part).await?;
        }
        Ok(())
    }

    async fn take_in_one(&self, record: Record) -> StoreResult<()> {
        match record {
            Record::Run(run) => self.take_in_run(*run).await,
            Record::Segment(SegmentRecord { number, segment }) => {
                self.take_in_segment(number, &segment).await
            }
            Record::Text { execution, units, bytes, piece, .. } => {
                self.tables.put_text((execution, FOLD), (units, bytes), &piece).await
            }
            Record::Result { execution, result, .. } => {
                self.tables.put_result((execution, FOLD), result.seq, &record::encode(&*result)?).await
            }
            Record::Feed { org, head, floor } => {
                self.tables.put_head(org, self.lane(), head).await?;
                self.tables.put_floor(org, self.lane(), floor).await
            }
            Record::Told { org, seq, told } => {
                self.tables.put_told(org, self.lane(), seq, &record::encode(&told)?).await
            }
            _ => Ok(()),
        }
    }

    async fn take_in_run(&self, run: RunRecord) -> StoreResult<()> {
        let RunRecord { execution, cycle, session, closure, settled, segments, end } = run;
        let Execution { org, id, start_ms, .. } = execution;
        let task = execution.task_id.clone();
        if self.tables.claim_task(org, &task, id).await?.is_err() {
            return Err(StoreError::Conflict(Conflict::RunExists));
        }
        if settled.is_none() {
            let (session, owner) = (execution.ingest.session, Uuid::nil());
            self.tables.put_unsettled(&Trace { execution: id, org, task, session, start_ms, owner }).await?;
        }
        if let Some(session) = &session {
            self.tables.put_session(session.id, id).await?;
            if let Some(StoredClosure(closed)) = &closure {
                for ended in &closed.sessions {
                    self.tables.put_expiry(ended.expires_ms, ended.session, id).await?;
                }
            }
        }
        self.tables.put_window(org, start_ms).await?;
        let lane = self.lane();
        let hours = 0..=segments.saturating_sub(1) / SEGMENTS_AN_HOUR;
        let claim = Claim {
            epoch: EPOCH,
            lane,
            sealed: vec![Sealed { epoch: EPOCH, last_seq: segments, lane, end }],
            hours: hours
                .map(|after| hour(start_ms).saturating_add(i32::try_from(after).unwrap_or(i32::MAX)))
                .collect(),
            opened_lane: lane,
            closed_lane: lane,
            ..Claim::default()
        };
        let listed = record::encode(&ListRow::of(&execution))?;
        let session = session.unwrap_or_else(|| forgotten(&execution));
        let opened = Some(OpenedRecord { execution, cycle, session, feed_seq: 0 });
        let closure = closure.map(|StoredClosure(closed)| closed);
        let settled = settled.map(|(row, bytes)| Settled { row, fold: FOLD, bytes });
        let mut row = RunRow { opened, closure, claim, settled, ..RunRow::void(org, id) };
        // As a setup does it: whoever takes the run over lists it with what its segments announce.
        self.tables.put_listed(row.listed_at(), &listed, row.derived_at(0) - 1).await?;
        self.tables.confirm_listed(row.listed_at(), row.derived_at(0)).await?;
        if let Some(settled) = &row.settled {
            self.tables.put_stored_bytes(row.listed_at(), settled.bytes, row.derived_at(0)).await?;
        }
        // `false`: an earlier try has come as far.
        self.tables.insert_run(&mut row).await.map(drop)
    }

    async fn take_in_segment(&self, number: u64, segment: &Segment) -> StoreResult<()> {
        let execution = segment.execution;
        let row = self.row(execution).await?.ok_or_else(|| lost(execution, number))?;
        let at = usize::try_from((number - 1) / SEGMENTS_AN_HOUR).unwrap_or(usize::MAX);
        let hour = row.claim.hours.get(at).copied().ok_or_else(|| lost(execution, number))?;
        let (facts, parts) = segment::encode(segment)?;
        self.tables.put_segment(execution, (hour, EPOCH, number), &facts.to_bytes(), &parts.concat()).await
    }
}

fn lost(execution: ExecutionId, number: u64) -> StoreError {
    StoreError::Damaged(format!("segment {number} of run {execution} is gone"))
}

/// The session of a run whose own the archive has forgotten: nobody finds it, it only stands in its place.
fn forgotten(execution: &Execution) -> Session {
    Session {
        id: execution.ingest.session,
        org: execution.org,
        project: execution.project,
        project_name: String::new(),
        execution: execution.id,
        task_id: execution.task_id.clone(),
        status: SessionStatus::Completed,
        framework: execution.ingest.framework.clone(),
        reporter_version: execution.ingest.reporter_version.clone(),
        total_tests: execution.ingest.total_tests,
        start_ms: execution.start_ms,
        end_ms: execution.end_ms,
        expires_ms: execution.start_ms,
        final_summary: None,
        delivery: None,
        answered: None,
    }
}
