//! Text of runs: the pieces that a page needs are read, then cut as on every store.

use super::Core;
use super::index::{At, RunIndex};
use super::read::View;
use crate::domain::id::{ExecutionId, OrgId};
use crate::domain::segment::Position;
use crate::store::contract::{StoreError, StoreResult, TextPage};
use crate::store::fold::segment;
use crate::store::fold::text::{Cut, Gap, Piece, Pieces, gap_of, page, whole};

/// The pieces that were read.
struct Loaded {
    end: Position,
    gap: Option<Gap>,
    pieces: Vec<Piece>,
}

impl Pieces for Loaded {
    fn end(&self) -> Position {
        self.end
    }

    fn gap(&self) -> StoreResult<Option<Option<Gap>>> {
        Ok(Some(self.gap))
    }

    fn at_units(&self, units: u64) -> StoreResult<Option<Piece>> {
        let at = self.pieces.partition_point(|piece| piece.start.units <= units).checked_sub(1);
        Ok(at.and_then(|at| self.pieces.get(at)).cloned())
    }
}

impl Core {
    pub(super) async fn text(
        &self,
        org: OrgId,
        execution: ExecutionId,
        from: u64,
        limit: u64,
    ) -> StoreResult<Option<TextPage>> {
        let Some(view) = self.view(org, execution).await? else { return Ok(None) };
        let (end, gap) = self.shape(execution, &view).await?;
        // A limit that would split the one character there is gives that character.
        let upto = |from: u64| end.units.min(from.saturating_add(limit.max(2)));
        let wanted = match gap {
            Some(gap) if from < gap.from.units => (from, upto(from).min(gap.from.units)),
            Some(gap) if from < gap.to.units => (gap.to.units, upto(gap.to.units)),
            _ => (from, upto(from)),
        };
        let pieces = self.pieces(execution, &view, &[wanted]).await?;
        page(&Loaded { end, gap, pieces }, from, limit)?.ok_or_else(|| missing(execution)).map(Some)
    }

    pub(super) async fn whole_text(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> StoreResult<Option<TextPage>> {
        let Some(view) = self.view(org, execution).await? else { return Ok(None) };
        let (end, gap) = self.shape(execution, &view).await?;
        let wanted = match gap {
            Some(gap) => vec![(0, gap.from.units), (gap.to.units, end.units)],
            None => vec![(0, end.units)],
        };
        let pieces = self.pieces(execution, &view, &wanted).await?;
        whole(&Loaded { end, gap, pieces })?.ok_or_else(|| missing(execution)).map(Some)
    }

    /// Where the text ends, and which part of it is not kept.
    async fn shape(&self, execution: ExecutionId, view: &View) -> StoreResult<(Position, Option<Gap>)> {
        match view {
            View::Settled(settled) => Ok((settled.row.end, settled.row.gap)),
            View::Unsettled(_, index) => Ok((index.end, self.gap(execution, index).await?)),
        }
    }

    /// The part of a text in segments that is not kept.
    pub(super) async fn gap(&self, execution: ExecutionId, index: &RunIndex) -> StoreResult<Option<Gap>> {
        // Which places are asked for is found out first, then what is there.
        let mut places = Vec::new();
        gap_of(index.end, |bytes| {
            places.push(bytes);
            Ok(Some(Piece { start: Cut { units: 0, bytes }, text: String::new() }))
        })?;
        let mut pieces = Vec::new();
        for bytes in places {
            let at = index.at_bytes(bytes).ok_or_else(|| missing(execution))?;
            pieces.extend(self.segment_pieces(execution, &[at]).await?);
        }
        let gap =
            gap_of(index.end, |bytes| Ok(pieces.iter().rfind(|piece| piece.start.bytes <= bytes).cloned()))?;
        gap.ok_or_else(|| missing(execution))
    }

    /// The pieces that hold these ranges of units, in order.
    async fn pieces(
        &self,
        execution: ExecutionId,
        view: &View,
        wanted: &[(u64, u64)],
    ) -> StoreResult<Vec<Piece>> {
        let mut pieces = Vec::new();
        for (from, to) in wanted.iter().copied().filter(|(from, to)| from < to) {
            match view {
                View::Unsettled(_, index) => {
                    pieces.extend(self.segment_pieces(execution, &index.between_units(from, to)).await?);
                }
                View::Settled(settled) => {
                    let rows = self.tables.text((execution, settled.fold), (from, to)).await?;
                    pieces.extend(
                        rows.into_iter()
                            .map(|(units, bytes, text)| Piece { start: Cut { units, bytes }, text }),
                    );
                }
            }
        }
        Ok(pieces)
    }

    async fn segment_pieces(&self, execution: ExecutionId, wanted: &[At]) -> StoreResult<Vec<Piece>> {
        let mut pieces = Vec::with_capacity(wanted.len());
        self.each_stored(execution, wanted, |at, data| {
            let start = Cut { units: at.start.units, bytes: at.start.bytes };
            pieces.push(Piece { start, text: segment::text(&data)?.to_owned() });
            Ok(())
        })
        .await?;
        Ok(pieces)
    }
}

fn missing(execution: ExecutionId) -> StoreError {
    StoreError::Damaged(format!("a piece of the log of run {execution} is gone"))
}
