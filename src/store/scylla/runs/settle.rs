//! Folding: a closed run's segments become rows of text and results. The segments are left to their end of time; that the
//! rows are what counts is one conditional write of the run's row.

use futures_util::{StreamExt, TryStreamExt};

use super::Core;
use super::index::RunIndex;
use super::read::decode;
use super::results::quarantined;
use super::row::{RunRow, Settled};
use crate::domain::collapse::Outline;
use crate::domain::id::{ExecutionId, OrgId};
use crate::store::contract::StoreResult;
use crate::store::fold::feed::FeedRecord;
use crate::store::fold::pieces::TextFolder;
use crate::store::fold::records::SettledRow;
use crate::store::fold::results::bytes_of;
use crate::store::record;

/// Rows of a fold that are written at the same time.
const WRITES_PARALLEL: usize = 16;
/// Segments that are folded together.
const SEGMENTS_AT_ONCE: usize = 64;

impl Core {
    /// See the contract. The bytes of the run if it was this call that settled it.
    pub(super) async fn settle(&self, org: OrgId, execution: ExecutionId) -> StoreResult<Option<u64>> {
        if self.run_state(org, execution).await? != Some(crate::store::contract::RunState::Closed) {
            return Ok(None);
        }
        let Some(owned) = self.own(org, execution).await? else { return Ok(None) };
        let mut turn = owned.turn.lock().await;
        if turn.is_over || turn.row.closure.is_none() {
            return Ok(None);
        }
        let index = owned.index();
        self.derive(&turn.row, &index).await?;
        let settled = self.fold(&turn.row, &index).await?;
        let bytes = settled.bytes;
        self.tables.put_stored_bytes(turn.row.listed_at(), bytes, turn.row.derived_at(0)).await?;
        let row = RunRow { settled: Some(settled), ..turn.row.clone() };
        self.change(&owned, &mut turn, row).await?;
        turn.is_over = true;
        self.drop_run(&owned);
        self.lanes.forget_run(org, &index);
        self.collapsed.forget(execution);
        self.storage.forget(org);
        if let Err(error) = self.tables.remove_unsettled(execution).await {
            // Whoever finds it there removes it.
            tracing::debug!(execution.id = %execution, %error, "a settled run is still among the unsettled");
        }
        Ok(Some(bytes))
    }

    async fn fold(&self, row: &RunRow, index: &RunIndex) -> StoreResult<Settled> {
        let execution = row.execution;
        let gap = self.gap(execution, index).await?;
        let fold = i64::try_from(index.len()).unwrap_or(i64::MAX);
        let wanted = index.from(0);
        let mut bytes = 0_u64;
        let mut heard_ms = row.opened.as_ref().map_or(0, |opened| opened.session.start_ms);
        let mut outline = Outline::default();
        let mut text = TextFolder::new(gap);
        for some in wanted.chunks(SEGMENTS_AT_ONCE) {
            let (mut pieces, mut told) = (Vec::new(), Vec::new());
            let mut keep = |start: crate::store::fold::text::Cut, piece: &str| {
                pieces.push((start, piece.to_owned()));
                Ok(())
            };
            self.each_stored(execution, some, |at, data| {
                let segment = decode(row.org, execution, at, data)?;
                outline.add(&segment);
                heard_ms = segment.heard_ms().unwrap_or(heard_ms);
                if segment.feed_seq > 0 {
                    let lane = row.claim.lane_of(segment.epoch);
                    told.push((lane, segment.feed_seq, FeedRecord::of(&segment, heard_ms)));
                }
                segment.batches.iter().try_for_each(|entry| text.push(entry.batch.text(), &mut keep))
            })
            .await?;
            bytes += self.put_pieces((execution, fold), pieces).await?;
            self.put_all_told(row.org, told).await?;
        }
        let mut pieces = Vec::new();
        text.finish(&mut |start, piece| {
            pieces.push((start, piece.to_owned()));
            Ok(())
        })?;
        bytes += self.put_pieces((execution, fold), pieces).await?;

        let quarantined = quarantined(row);
        let mut reader = outline.reader(&quarantined);
        for some in wanted.chunks(SEGMENTS_AT_ONCE) {
            let mut results = Vec::new();
            self.each_stored(execution, some, |at, data| {
                reader.results(&decode(row.org, execution, at, data)?, |result| results.push(result));
                Ok(())
            })
            .await?;
            bytes += results.iter().map(|result| bytes_of(result) as u64).sum::<u64>();
            let puts = results.iter().map(|result| async {
                self.tables.put_result((execution, fold), result.seq, &record::encode(result)?).await
            });
            let puts: Vec<_> = puts.collect();
            futures_util::stream::iter(puts).buffer_unordered(WRITES_PARALLEL).try_collect::<()>().await?;
        }
        Ok(Settled { row: SettledRow { end: index.end, gap }, fold, bytes })
    }

    /// Writes pieces of text; returns their bytes.
    async fn put_pieces(
        &self,
        at: (ExecutionId, i64),
        pieces: Vec<(crate::store::fold::text::Cut, String)>,
    ) -> StoreResult<u64> {
        let bytes = pieces.iter().map(|(_, piece)| piece.len() as u64).sum();
        let puts =
            pieces.iter().map(|(start, piece)| self.tables.put_text(at, (start.units, start.bytes), piece));
        let puts: Vec<_> = puts.collect();
        futures_util::stream::iter(puts).buffer_unordered(WRITES_PARALLEL).try_collect::<()>().await?;
        Ok(bytes)
    }
}
