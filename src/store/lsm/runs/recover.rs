//! Start-up: what the rows remember of unsettled runs, and what the journal adds to it.
//!
//! The journal is the truth: a fact found there makes its rows anew, whatever a crash has left of them. Of segments only
//! the fixed facts are read. A run is believed only if nothing of it can be missing: its segments follow each other
//! without a gap, it was closed as often as any of its records says, and no lost part of the journal may have held its
//! end. A run that is not believed keeps its document, but its text and results are refused instead of served short.

use std::collections::{HashMap, HashSet};

use super::facts::{self, AbandonedRecord, OpenRow, OpenedRecord, SettledRow};
use super::feed;
use super::index::Run;
use super::keys;
use super::rows::{Batch, Rows, Table};
use super::segment::Facts;
use crate::domain::execution::{Cycle, Execution, Session};
use crate::domain::id::{ExecutionId, OrgId};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::lsm::journal::{Event, Key, Kind, Place};
use crate::store::record;

/// What start-up makes of rows and journal.
pub(super) struct Recovery<'a> {
    rows: &'a dyn Rows,
    drafts: HashMap<ExecutionId, Draft>,
    lost: Vec<Place>,
    evidence: HashSet<u32>,
    /// Settled runs of which something is left to clear.
    settled: Vec<ExecutionId>,
    /// Numbers of the feeds that went with runs that cannot be read any more.
    feed_heads: HashMap<OrgId, u64>,
}

/// What start-up ends with.
pub(super) struct Recovered {
    pub(super) runs: Vec<(ExecutionId, Run)>,
    pub(super) damaged: Vec<ExecutionId>,
    pub(super) evidence: HashSet<u32>,
    pub(super) settled: Vec<ExecutionId>,
}

#[derive(PartialEq, Eq)]
enum Fate {
    Unsettled,
    Settled,
    Abandoned,
}

/// A run as far as it is known.
struct Draft {
    org: OrgId,
    fate: Fate,
    open: Option<OpenRow>,
    segments: Vec<DraftSegment>,
    /// How often it was closed.
    revision: u32,
    /// How often it was closed according to any of its records.
    revision_seen: u32,
    /// The last segment that a closure speaks of.
    closed_at: (u32, u64),
    /// Its last record in the journal.
    last: Option<Place>,
    damage: Option<String>,
}

struct DraftSegment {
    epoch: u32,
    seq: u64,
    place: Option<Place>,
    facts: Facts,
}

/// The first key behind all keys.
const BEHIND_ALL: [u8; 64] = [0xff; 64];

impl<'a> Recovery<'a> {
    /// Starts with what the rows remember.
    pub(super) fn new(rows: &'a dyn Rows) -> StoreResult<Self> {
        let (drafts, lost) = (HashMap::new(), Vec::new());
        let mut recovery = Self {
            rows,
            drafts,
            lost,
            evidence: HashSet::new(),
            settled: Vec::new(),
            feed_heads: HashMap::new(),
        };
        let mut open_rows: Vec<(ExecutionId, OpenRow)> = Vec::new();
        rows.scan(Table::Open, &[], &BEHIND_ALL, &mut |key, value| {
            open_rows.push((execution_of(key)?, record::decode(value)?));
            Ok(true)
        })?;
        for (execution, open) in open_rows {
            let mut draft = recovery.draft(open.org, execution)?;
            if draft.fate == Fate::Settled {
                recovery.settled.push(execution);
            }
            draft.open = Some(open);
            recovery.drafts.insert(execution, draft);
        }
        rows.scan(Table::SegmentFacts, &[], &BEHIND_ALL, &mut |key, value| {
            let (execution, epoch, seq) = keys::read_segment(key).ok_or_else(|| bad_key("segment"))?;
            match recovery.drafts.get_mut(&execution) {
                Some(draft) if draft.fate == Fate::Unsettled => {
                    let facts = Facts::read(value)?;
                    draft.segments.push(DraftSegment { epoch, seq, place: None, facts });
                }
                _ => recovery.settled.push(execution),
            }
            Ok(true)
        })?;
        recovery.settled.dedup();
        Ok(recovery)
    }

    /// The run as the rows know it.
    fn draft(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Draft> {
        let settled: Option<SettledRow> = facts::get(self.rows, Table::Settled, &keys::run(org, execution))?;
        let closure = facts::closure(self.rows, org, execution)?;
        let damage = self.rows.get(Table::Damaged, execution.as_bytes())?;
        Ok(Draft {
            org,
            fate: if settled.is_some() { Fate::Settled } else { Fate::Unsettled },
            open: None,
            segments: Vec::new(),
            revision: closure.map_or(0, |closed| closed.revision),
            revision_seen: 0,
            closed_at: (0, 0),
            last: None,
            damage: damage.map(|reason| record::decode(&reason)).transpose()?,
        })
    }

    /// Takes in what the journal holds, in order.
    pub(super) fn take(&mut self, event: Event<'_>) -> StoreResult<()> {
        match event {
            Event::Record { key, place, payload } => self.record(key, place, payload),
            Event::Damaged { key, place } => self.damaged(key, place),
            Event::Lost { place } => {
                self.evidence.insert(place.file);
                self.lost.push(place);
                Ok(())
            }
        }
    }

    fn known(&mut self, key: &Key, place: Place) -> StoreResult<&mut Draft> {
        let draft = match self.drafts.remove(&key.execution) {
            Some(draft) => draft,
            None => self.draft(key.org, key.execution)?,
        };
        let draft = self.drafts.entry(key.execution).or_insert(draft);
        draft.last = Some(place);
        draft.revision_seen = draft.revision_seen.max(key.revision);
        Ok(draft)
    }

    fn record(&mut self, key: Key, place: Place, payload: &[u8]) -> StoreResult<()> {
        let rows = self.rows;
        let draft = self.known(&key, place)?;
        match key.kind {
            Kind::Opened if draft.fate == Fate::Unsettled => {
                let opened = OpenedRecord::read(payload)?;
                draft.open = Some(OpenRow::of_opened(&opened));
                rows.commit(facts::opened(rows, &opened)?)
            }
            Kind::Abandoned => {
                let abandoned = AbandonedRecord::read(payload)?;
                draft.fate = Fate::Abandoned;
                self.settled.push(key.execution);
                rows.commit(facts::abandoned(key.org, key.execution, &abandoned)?)
            }
            Kind::Segment if draft.fate == Fate::Unsettled => {
                let Key { epoch, seq, .. } = key;
                draft.segments.push(DraftSegment {
                    epoch,
                    seq,
                    place: Some(place),
                    facts: Facts::read(payload)?,
                });
                Ok(())
            }
            Kind::Closed => {
                let closed = facts::read_closed(payload)?;
                draft.closed_at = draft.closed_at.max((key.epoch, key.seq));
                // Equal too: of the rows of one closure a crash may have left some.
                if closed.revision >= draft.revision
                    && let Some(batch) = facts::closed(rows, &closed)?
                {
                    draft.revision = closed.revision;
                    rows.commit(batch)
                } else {
                    // A later closure took its place, but not its number: that was given to viewers.
                    rows.commit(facts::closing_told(&closed)?)
                }
            }
            Kind::Opened | Kind::Segment | Kind::Mark | Kind::Seal => Ok(()),
        }
    }

    /// A record whose payload is lost costs its run, unless the rows still have what it said.
    fn damaged(&mut self, key: Key, place: Place) -> StoreResult<()> {
        self.evidence.insert(place.file);
        let rows = self.rows;
        let run = keys::run(key.org, key.execution);
        let has_rows = match key.kind {
            Kind::Opened => {
                let execution: Option<Execution> = facts::get(rows, Table::Executions, &run)?;
                let cycle: Option<Cycle> = facts::get(rows, Table::Cycles, &run)?;
                let session = execution.map(|execution| execution.ingest.session);
                let session: Option<Session> = session
                    .map_or(Ok(None), |session| facts::get(rows, Table::Sessions, session.0.as_bytes()))?;
                cycle.is_some() && session.is_some()
            }
            Kind::Closed => match facts::closure(rows, key.org, key.execution)? {
                Some(closed) if closed.revision >= key.revision => {
                    facts::closed(rows, &closed)?.map(|batch| rows.commit(batch)).transpose()?.is_some()
                }
                _ => false,
            },
            _ => false,
        };
        let draft = self.known(&key, place)?;
        if draft.fate == Fate::Unsettled && !has_rows {
            let Place { file, position, .. } = place;
            draft.damage = Some(format!("journal file {file} is damaged at {position}"));
        }
        Ok(())
    }

    /// Puts the runs together and judges them.
    pub(super) fn finish(mut self) -> StoreResult<Recovered> {
        let mut runs = Vec::new();
        let mut damaged = Vec::new();
        let mut batch = Batch::default();
        for (execution, mut draft) in std::mem::take(&mut self.drafts) {
            if draft.fate != Fate::Unsettled {
                continue;
            }
            if draft.open.is_none() {
                let stored: Option<Execution> =
                    facts::get(self.rows, Table::Executions, &keys::run(draft.org, execution))?;
                draft.open = stored.as_ref().map(OpenRow::of);
            }
            let run = self.put_together(execution, &mut draft);
            if let Some(damage) = &run.damage {
                tracing::error!(execution.id = %execution, damage, "a run is damaged");
                batch.put(Table::Damaged, execution.as_bytes().to_vec(), record::encode(damage)?);
                damaged.push(execution);
            }
            runs.push((execution, run));
        }
        for (org, head) in std::mem::take(&mut self.feed_heads) {
            feed::remember_head(self.rows, &mut batch, org, head)?;
        }
        if !batch.changes.is_empty() {
            self.rows.commit(batch)?;
        }
        let Self { evidence, mut settled, .. } = self;
        // A crash may have lost a run's row and left its moved segments: the journal has brought the run back.
        let unsettled: HashSet<ExecutionId> = runs.iter().map(|(execution, _)| *execution).collect();
        settled.retain(|execution| !unsettled.contains(execution));
        Ok(Recovered { runs, damaged, evidence, settled })
    }

    fn put_together(&mut self, execution: ExecutionId, draft: &mut Draft) -> Run {
        // A segment may be both in the journal and moved out of it: then the crash came before the file went.
        let mut segments = std::mem::take(&mut draft.segments);
        segments.sort_by_key(|segment| (segment.epoch, segment.seq, segment.place.is_none()));
        segments.dedup_by_key(|segment| (segment.epoch, segment.seq));
        let feed_head = segments.iter().map(|segment| segment.facts.feed_seq).max().unwrap_or(0);
        let in_journal: Vec<u32> = segments.iter().filter_map(|segment| Some(segment.place?.file)).collect();

        let open = draft.open.take();
        let is_opened = open.is_some();
        let open = open.unwrap_or(OpenRow { org: draft.org, sessions: Vec::new(), opened_ms: 0 });
        let mut run = Run::new(open.org, open.sessions, open.opened_ms);
        run.revision = draft.revision;
        let mut gap = None;
        for DraftSegment { epoch, seq, place, facts } in segments {
            if gap.is_none() && !run.is_continued_by(epoch, seq, facts.start) {
                gap = Some((epoch, seq));
            }
            if gap.is_none() {
                run.push(epoch, place, &facts);
            }
        }
        let gap = gap.or(Some(draft.closed_at).filter(|closed_at| *closed_at > run.last()));
        let damage = if draft.damage.is_some() {
            draft.damage.take()
        } else if !is_opened {
            Some("the record of its opening is lost".to_owned())
        } else if let Some(gap) = gap {
            Some(format!("segments between {:?} and {gap:?} are lost", run.last()))
        } else if draft.revision_seen > run.revision {
            Some("the record of its closing is lost".to_owned())
        } else {
            self.may_be_cut_short(draft.last)
        };
        let Some(damage) = damage else { return run };
        tracing::debug!(execution.id = %execution, "segments of a damaged run are put aside");
        self.evidence.extend(in_journal);
        let known_head = self.feed_heads.entry(run.org).or_default();
        *known_head = feed_head.max(*known_head);
        let mut unreadable = Run::new(run.org, run.sessions.into_vec(), run.heard_ms);
        unreadable.revision = run.revision;
        unreadable.damage = Some(damage.into());
        unreadable
    }

    /// Whether a lost part of the journal lies behind the last record of a run: it may have held a later one.
    fn may_be_cut_short(&self, last: Option<Place>) -> Option<String> {
        let behind =
            |lost: &&Place| last.is_none_or(|last| (lost.file, lost.position) > (last.file, last.position));
        let Place { file, position, bytes } = *self.lost.iter().find(behind)?;
        Some(format!("{bytes} bytes of journal file {file} at {position} are lost and may have been its end"))
    }
}

fn execution_of(key: &[u8]) -> StoreResult<ExecutionId> {
    key.try_into().map(ExecutionId::from_bytes).map_err(|_| bad_key("run"))
}

fn bad_key(of: &str) -> StoreError {
    StoreError::Damaged(format!("the key of a {of}"))
}
