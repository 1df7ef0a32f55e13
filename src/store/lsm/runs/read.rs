//! Text, segments and positions of runs, settled or not.

use bytes::Bytes;

use super::ahead;
use super::core::{Core, Found, read_at_rest};
use super::facts::{Cut, Gap, SettledRow};
use super::index::{Located, Run};
use super::keys;
use super::rows::Table;
use super::segment;
use super::text::{Piece, Pieces, gap_of, page, whole};
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::{Position, Segment};
use crate::store::contract::{StoreError, StoreResult, TextPage};
use crate::store::record;

impl Core {
    pub(super) fn text(
        &self,
        org: OrgId,
        execution: ExecutionId,
        from: u64,
        limit: u64,
    ) -> StoreResult<Option<TextPage>> {
        read_at_rest(|| {
            let page = match self.find(org, execution)? {
                Found::Nowhere => return Ok(Some(None)),
                Found::Unsettled(end) => page(&self.segments_of(org, execution, end), from, limit)?,
                Found::Settled(row) => page(&self.rows_of(execution, row), from, limit)?,
            };
            Ok(page.map(Some))
        })
    }

    pub(super) fn whole_text(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<TextPage>> {
        read_at_rest(|| {
            let page = match self.find(org, execution)? {
                Found::Nowhere => return Ok(Some(None)),
                Found::Unsettled(end) => whole(&self.segments_of(org, execution, end))?,
                Found::Settled(row) => whole(&self.rows_of(execution, row))?,
            };
            Ok(page.map(Some))
        })
    }

    pub(super) fn position(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<Position>> {
        Ok(match self.find(org, execution)? {
            Found::Nowhere => None,
            Found::Unsettled(end) => Some(end),
            Found::Settled(row) => Some(row.end),
        })
    }

    pub(super) fn segments(
        &self,
        org: OrgId,
        execution: ExecutionId,
        after: (u32, u64),
        limit_bytes: usize,
    ) -> StoreResult<Vec<Segment>> {
        read_at_rest(|| {
            let Some(first) = self.index.read(org, execution, |run| run.index_after(after))? else {
                return Ok(Some(Vec::new()));
            };
            let mut bytes = 0;
            let mut segments = Vec::new();
            while bytes < limit_bytes.max(1) {
                match self.segment_at(org, execution, first + segments.len())? {
                    Read::Segment(segment, stored_bytes) => {
                        bytes += stored_bytes;
                        segments.push(segment);
                    }
                    Read::End => break,
                    Read::Moved => return Ok(None),
                }
            }
            Ok(Some(segments))
        })
    }

    /// The run's segment with this index.
    pub(super) fn segment_at(&self, org: OrgId, execution: ExecutionId, index: usize) -> StoreResult<Read> {
        let located = self.locate(org, execution, |_| Some(index))?;
        let Some(located) = located else { return Ok(Read::Moved) };
        let Some(located) = located else { return Ok(Read::End) };
        let Some(stored) = self.stored(&located)? else { return Ok(Read::Moved) };
        let bytes = stored.len();
        let segment = segment::decode(located.key, &Bytes::from(stored))?;
        if (segment.start, segment.end()) != (located.segment.start(), located.end) {
            return Err(StoreError::Damaged("a segment that does not continue its run".into()));
        }
        Ok(Read::Segment(segment, bytes))
    }

    /// Where the segment is that is read next, and has those after it fetched; `None` if there is no such run here, and
    /// `None` inside it if there is no such segment.
    fn locate(
        &self,
        org: OrgId,
        execution: ExecutionId,
        index: impl FnOnce(&Run) -> Option<usize>,
    ) -> StoreResult<Option<Option<Located>>> {
        let looked = self.index.read(org, execution, |run| {
            let index = index(run)?;
            Some((run.located(execution, index)?, ahead::places(run, index)))
        })?;
        Ok(looked.map(|found| {
            let (located, next) = found?;
            self.journal.expect_read(&next);
            Some(located)
        }))
    }

    pub(super) fn segments_of(&self, org: OrgId, execution: ExecutionId, end: Position) -> SegmentPieces<'_> {
        SegmentPieces { core: self, org, execution, end }
    }

    fn rows_of(&self, execution: ExecutionId, row: SettledRow) -> RowPieces<'_> {
        RowPieces { core: self, execution, row }
    }
}

/// What was found at an index of a run.
pub(super) enum Read {
    /// The segment, and how many bytes it takes.
    Segment(Segment, usize),
    /// There is none any more.
    End,
    /// The run or its segment has moved: start anew.
    Moved,
}

/// The text of a run that is not settled.
pub(super) struct SegmentPieces<'a> {
    core: &'a Core,
    org: OrgId,
    execution: ExecutionId,
    end: Position,
}

impl SegmentPieces<'_> {
    fn at(&self, index: impl FnOnce(&Run) -> Option<usize>) -> StoreResult<Option<Piece>> {
        let located = self.core.locate(self.org, self.execution, index)?;
        let Some(located) = located.flatten() else { return Ok(None) };
        let Some(stored) = self.core.stored(&located)? else { return Ok(None) };
        let Position { units, bytes, .. } = located.segment.start();
        Ok(Some(Piece { start: Cut { units, bytes }, text: segment::text(&stored)?.to_owned() }))
    }
}

impl Pieces for SegmentPieces<'_> {
    fn end(&self) -> Position {
        self.end
    }

    fn gap(&self) -> StoreResult<Option<Option<Gap>>> {
        gap_of(self.end, |bytes| self.at(|run| run.index_at_bytes(bytes)))
    }

    fn at_units(&self, units: u64) -> StoreResult<Option<Piece>> {
        self.at(|run| run.index_at_units(units))
    }
}

/// The text of a run that is settled.
struct RowPieces<'a> {
    core: &'a Core,
    execution: ExecutionId,
    row: SettledRow,
}

impl Pieces for RowPieces<'_> {
    fn end(&self) -> Position {
        self.row.end
    }

    fn gap(&self) -> StoreResult<Option<Option<Gap>>> {
        Ok(Some(self.row.gap))
    }

    fn at_units(&self, units: u64) -> StoreResult<Option<Piece>> {
        let missing = || StoreError::Damaged(format!("the log of run {} at {units}", self.execution));
        let first = keys::numbered(self.execution, 0);
        let behind = keys::numbered(self.execution, units.saturating_add(1));
        let (key, value) = self.core.rows.last(Table::Texts, &first, &behind)?.ok_or_else(missing)?;
        let (_, start_units) = keys::read_numbered(&key).ok_or_else(missing)?;
        let (bytes, text) = record::decode(&value)?;
        Ok(Some(Piece { start: Cut { units: start_units, bytes }, text }))
    }
}
