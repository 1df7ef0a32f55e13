//! A segment: what one flush of one run appends to the store, in one write. Text, results and recovery are reads
//! over a run's segments in order. Epoch and sequence order them; clocks do not.

use serde::{Deserialize, Serialize};

use super::batch::{Batch, Receipt};
use super::id::{ExecutionId, OrgId, SessionId};
use crate::clock::UnixMs;

/// One batch inside a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentBatch {
    /// The session it came through.
    pub session: SessionId,
    /// Identity of the request, for the replay rule.
    pub receipt: Receipt,
    /// The events.
    pub batch: Batch,
}

/// Where a run stands before a segment; all counted from the run's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Position {
    /// UTF-16 code units of log text.
    pub units: u64,
    /// Bytes of log text.
    pub bytes: u64,
    /// Recorded results.
    pub results: u64,
}

/// What was refused or recognised since the run's last segment: losses are counted where the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusals {
    /// Batches recognised as sent before.
    pub replayed: u32,
    /// Batches refused by a rate tier (429).
    pub tier: u32,
    /// Batches refused under pressure (503).
    pub pressure: u32,
    /// Batches refused as unusable (400).
    pub rejected: u32,
}

/// One durable step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Tenant.
    pub org: OrgId,
    /// The run.
    pub execution: ExecutionId,
    /// Ownership epoch; grows when the run changes its owner. A single node uses 1.
    pub epoch: u32,
    /// Number within the epoch, from 1, without gaps.
    pub seq: u64,
    /// Where the run stood before it.
    pub start: Position,
    /// The batches, in the order they took effect; none if only `refusals` are to be remembered.
    pub batches: Vec<SegmentBatch>,
    /// What was not applied since the segment before.
    pub refusals: Refusals,
    /// Its number in the feed of its organization, above those of the run's segments before it; 0 if it is not in it.
    pub feed_seq: u64,
    /// Whether viewers are told of a new status with it.
    pub is_update: bool,
}

impl Segment {
    /// When its newest batch was received; Unix milliseconds. `None` without batches.
    #[must_use]
    pub fn heard_ms(&self) -> Option<UnixMs> {
        self.batches.iter().map(|entry| entry.receipt.received_ms).max()
    }

    /// Where the run stands after it.
    #[must_use]
    pub fn end(&self) -> Position {
        let mut end = self.start;
        for SegmentBatch { batch, .. } in &self.batches {
            end.units += batch.text_units;
            end.bytes += batch.text.len() as u64;
            end.results += batch.recorded_results();
        }
        end
    }
}

impl Batch {
    /// How many results of this batch count.
    #[must_use]
    pub fn recorded_results(&self) -> u64 {
        self.items
            .iter()
            .filter(|item| matches!(item, super::batch::Item::End { recorded: true, .. }))
            .count() as u64
    }
}
