//! Runs and the feed of a store that is copied.
//!
//! What becomes of each table: `Executions`, `Cycles`, `Sessions`, `Closures`, `Settled`, `Storage` are records of runs;
//! `Tasks`, `List`, `SessionExpiry`, `Open` are made from those. `Texts`, `Results`, `Feed` and `Segments` with their
//! `SegmentFacts` are records of their own. `FeedEpoch` is the numbering's name. `Journal` is of one store alone, and a run
//! in `Damaged` stops a copy that reads its segments.

use super::core::{Core, read_at_rest};
use super::facts::{self, ListRow, OpenRow, SettledRow, closed_to_bytes};
use super::feed::{put_fed, put_state};
use super::index::Run;
use super::keys;
use super::read::Read;
use super::rows::{Batch, Table};
use super::{RunStore, segment};
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Segment;
use crate::limits::{self, COPY_PAGE_BYTES, COPY_PAGE_ROWS};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::copy::Page;
use crate::store::copy::record::{Record, RunRecord, SegmentRecord, StoredClosure};
use crate::store::fold::feed::FeedRecord;
use crate::store::record;

/// What of runs is read.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::lsm) enum RunRows {
    Runs,
    Segments,
    Texts,
    Results,
    Told,
}

/// Whether a record is about runs or the feed.
pub(in crate::store::lsm) fn is_of_runs(record: &Record) -> bool {
    match record {
        Record::Organization(_)
        | Record::User(_)
        | Record::Settings { .. }
        | Record::RunPlaces { .. }
        | Record::Key(_)
        | Record::Invitation(_)
        | Record::Reset { .. }
        | Record::Project(_)
        | Record::ProjectSettings { .. }
        | Record::Variable(_)
        | Record::Sealed { .. }
        | Record::Quarantined { .. }
        | Record::Revocation { .. }
        | Record::LoginTries { .. }
        | Record::Audit(_)
        | Record::Letter(_)
        | Record::LetterEnd { .. }
        | Record::Mark { .. } => false,
        Record::Run(_)
        | Record::Segment(_)
        | Record::Text { .. }
        | Record::Result { .. }
        | Record::Feed { .. }
        | Record::Told { .. } => true,
    }
}

impl RunStore {
    /// A page of records.
    pub(in crate::store::lsm) async fn export(&self, rows: RunRows, from: Vec<u8>) -> StoreResult<Page> {
        self.blocking(move |core| match rows {
            RunRows::Runs => core.export_runs(&from),
            RunRows::Segments => core.export_segments(&from),
            RunRows::Texts => core.export_settled(Table::Texts, &from),
            RunRows::Results => core.export_settled(Table::Results, &from),
            RunRows::Told => core.export_told(&from),
        })
        .await
    }

    /// Takes records in. What is in memory knows nothing of them: the store has to be opened anew.
    pub(in crate::store::lsm) async fn import(&self, records: Vec<Record>) -> StoreResult<()> {
        self.blocking(move |core| {
            let mut batch = Batch::default();
            records.into_iter().try_for_each(|record| take_in(&mut batch, record))?;
            core.rows.commit(batch)?;
            core.rows.persist()
        })
        .await
    }

    /// The name of the feed's numbering.
    pub(in crate::store::lsm) fn feed_lane(&self) -> u64 {
        self.core.feed_epoch
    }

    /// Gives the feed's numbering another name.
    pub(in crate::store::lsm) async fn set_feed_lane(&self, lane: u64) -> StoreResult<()> {
        self.blocking(move |core| super::feed::set_epoch(core.rows.as_ref(), lane)).await
    }
}

impl Core {
    /// Runs by organization and id.
    fn export_runs(&self, from: &[u8]) -> StoreResult<Page> {
        let mut page = Page::default();
        let mut found: Vec<(Vec<u8>, Execution)> = Vec::new();
        self.rows.scan(Table::Executions, &above(from), &BEHIND_ALL, &mut |key, value| {
            found.push((key.to_vec(), record::decode(value)?));
            Ok(found.len() < COPY_PAGE_ROWS)
        })?;
        page.next = found.last().filter(|_| found.len() >= COPY_PAGE_ROWS).map(|(key, _)| key.clone());
        for (key, execution) in found {
            page.records.push(Record::Run(Box::new(self.run_record(&key, execution)?)));
        }
        Ok(page)
    }

    fn run_record(&self, key: &[u8], execution: Execution) -> StoreResult<RunRecord> {
        let rows = self.rows.as_ref();
        let (org, id) = (execution.org, execution.id);
        let lost = |what: &str| StoreError::Damaged(format!("run {id} has no {what}"));
        let cycle: Cycle = facts::get(rows, Table::Cycles, key)?.ok_or_else(|| lost("cycle"))?;
        let session: Option<Session> =
            facts::get(rows, Table::Sessions, execution.ingest.session.0.as_bytes())?;
        let closure = facts::closure(rows, org, id)?.map(StoredClosure);
        let unsettled = self.index.read(org, id, |run: &Run| (run.segment_count() as u64, run.end))?;
        if let Some((segments, end)) = unsettled {
            return Ok(RunRecord { execution, cycle, session, closure, settled: None, segments, end });
        }
        let settled: SettledRow =
            facts::get(rows, Table::Settled, key)?.ok_or_else(|| lost("row that says it is settled"))?;
        let bytes: u64 = facts::get(rows, Table::Storage, key)?.unwrap_or(0);
        let end = settled.end;
        Ok(RunRecord {
            execution,
            cycle,
            session,
            closure,
            settled: Some((settled, bytes)),
            segments: 0,
            end,
        })
    }

    /// Segments of unsettled runs; `from` is an execution and how many of its segments were read.
    fn export_segments(&self, from: &[u8]) -> StoreResult<Page> {
        let (first, read) = keys::read_numbered(from).map_or((None, 0), |(run, read)| (Some(run), read));
        let mut runs: Vec<(ExecutionId, OrgId)> =
            self.index.open_runs().into_iter().map(|run| (run.execution, run.org)).collect();
        runs.retain(|(run, _)| first.is_none_or(|first| *run >= first));
        runs.sort_unstable();
        let mut page = Page::default();
        let mut bytes = 0;
        for (execution, org) in runs {
            let read = if first == Some(execution) { read } else { 0 };
            let count = self.index.read(org, execution, |run| run.segment_count() as u64)?.unwrap_or(0);
            for number in read + 1..=count {
                let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
                let (segment, size) = read_at_rest(|| match self.segment_at(org, execution, index)? {
                    Read::Segment(segment, size) => Ok(Some((segment, size))),
                    Read::End | Read::Moved => Ok(None),
                })?;
                bytes += size;
                page.records.push(Record::Segment(SegmentRecord { number, segment }));
                if bytes >= COPY_PAGE_BYTES || page.records.len() >= COPY_PAGE_ROWS {
                    page.next = Some(keys::numbered(execution, number));
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Text or results of settled runs; `from` is the key of a run and that of its row read last.
    fn export_settled(&self, table: Table, from: &[u8]) -> StoreResult<Page> {
        let (run, row) = from.split_at_checked(RUN_KEY_BYTES).unwrap_or((&[], &[]));
        let mut page = Page::default();
        let mut bytes = 0;
        let mut runs: Vec<Vec<u8>> = Vec::new();
        self.rows.scan(Table::Settled, run, &BEHIND_ALL, &mut |key, _| {
            runs.push(key.to_vec());
            Ok(runs.len() < COPY_PAGE_ROWS)
        })?;
        let is_last = runs.len() < COPY_PAGE_ROWS;
        for key in &runs {
            let (org, execution) = read_run(key)?;
            let behind = keys::behind(execution.as_bytes());
            let first =
                if key == run && !row.is_empty() { above(row) } else { execution.as_bytes().to_vec() };
            let mut stopped_at = None;
            self.rows.scan(table, &first, &behind, &mut |row, value| {
                let (_, number) = keys::read_numbered(row).ok_or_else(bad_key)?;
                bytes += value.len();
                page.records.push(if table == Table::Texts {
                    let (start, piece): (u64, String) = record::decode(value)?;
                    Record::Text { org, execution, units: number, bytes: start, piece }
                } else {
                    Record::Result { org, execution, result: Box::new(record::decode(value)?) }
                });
                let is_full = bytes >= COPY_PAGE_BYTES || page.records.len() >= COPY_PAGE_ROWS;
                if is_full {
                    stopped_at = Some([key.as_slice(), row].concat());
                }
                Ok(!is_full)
            })?;
            if stopped_at.is_some() {
                page.next = stopped_at;
                return Ok(page);
            }
        }
        // The next page begins behind every row of the last of these runs.
        page.next = runs.last().filter(|_| !is_last).map(|key| [key.as_slice(), &[0xff; 20]].concat());
        Ok(page)
    }

    /// Rows of the feed.
    fn export_told(&self, from: &[u8]) -> StoreResult<Page> {
        let mut page = Page::default();
        let mut seen = 0;
        self.rows.scan(Table::Feed, &above(from), &BEHIND_ALL, &mut |key, value| {
            let (org, seq) = keys::read_fed(key).ok_or_else(bad_key)?;
            if seq > 0 {
                page.records.push(Record::Told { org, seq, told: record::decode::<FeedRecord>(value)? });
            }
            seen += 1;
            page.next = (seen >= COPY_PAGE_ROWS).then(|| key.to_vec());
            Ok(seen < COPY_PAGE_ROWS)
        })?;
        Ok(page)
    }
}

/// The rows of a record.
fn take_in(batch: &mut Batch, record: Record) -> StoreResult<()> {
    match record {
        Record::Run(run) => take_in_run(batch, *run)?,
        Record::Segment(SegmentRecord { number, segment }) => take_in_segment(batch, number, &segment)?,
        Record::Text { execution, units, bytes, piece, .. } => {
            batch.put(Table::Texts, keys::numbered(execution, units), record::encode(&(bytes, piece))?);
        }
        Record::Result { execution, result, .. } => {
            batch.put(Table::Results, keys::numbered(execution, result.seq), record::encode(&result)?);
        }
        Record::Feed { org, head, floor } => put_state(batch, org, head, floor)?,
        Record::Told { org, seq, told } => put_fed(batch, org, seq, &told)?,
        _ => {}
    }
    Ok(())
}

fn take_in_run(batch: &mut Batch, run: RunRecord) -> StoreResult<()> {
    let RunRecord { execution, cycle, session, closure, settled, .. } = run;
    let Execution { org, id, start_ms, .. } = execution;
    let key = keys::run(org, id);
    let mut put = |table, key, value| batch.put(table, key, value);
    put(Table::Executions, key.clone(), record::encode(&execution)?);
    put(Table::List, keys::listed(org, start_ms, id), record::encode(&ListRow::of(&execution))?);
    put(Table::Tasks, keys::task(org, execution.task_id.as_str()), id.as_bytes().to_vec());
    put(Table::Cycles, key.clone(), record::encode(&cycle)?);
    if let Some(session) = session {
        if session.end_ms.is_some() {
            put(Table::SessionExpiry, keys::expiry(session.expires_ms, session.id), Vec::new());
        }
        put(Table::Sessions, session.id.0.as_bytes().to_vec(), record::encode(&session)?);
    }
    if let Some(StoredClosure(closed)) = closure {
        put(Table::Closures, key.clone(), closed_to_bytes(&closed)?);
    }
    match settled {
        Some((settled, bytes)) => {
            put(Table::Settled, key.clone(), record::encode(&settled)?);
            put(Table::Storage, key, record::encode(&bytes)?);
        }
        None => put(Table::Open, id.as_bytes().to_vec(), record::encode(&OpenRow::of(&execution))?),
    }
    Ok(())
}

fn take_in_segment(batch: &mut Batch, number: u64, segment: &Segment) -> StoreResult<()> {
    let (facts, parts) = segment::encode(segment)?;
    let key = keys::segment(segment.execution, limits::EPOCH, number);
    batch.put(Table::SegmentFacts, key.clone(), facts.to_bytes().to_vec());
    batch.put(Table::Segments, key, parts.concat());
    Ok(())
}

/// Bytes of the key of a run: organization and execution.
const RUN_KEY_BYTES: usize = 24;
/// Behind every key.
const BEHIND_ALL: [u8; 64] = [0xff; 64];

/// The first key above this one; the first of all if there is none.
fn above(key: &[u8]) -> Vec<u8> {
    if key.is_empty() { Vec::new() } else { [key, &[0]].concat() }
}

fn read_run(key: &[u8]) -> StoreResult<(OrgId, ExecutionId)> {
    let columns: [u8; RUN_KEY_BYTES] = key.try_into().map_err(|_| bad_key())?;
    let (org, execution) = columns.split_at(12);
    let (org, execution) =
        (org.try_into().map_err(|_| bad_key())?, execution.try_into().map_err(|_| bad_key())?);
    Ok((OrgId::from_bytes(org), ExecutionId::from_bytes(execution)))
}

fn bad_key() -> StoreError {
    StoreError::Damaged("the key of a row of a run".into())
}
