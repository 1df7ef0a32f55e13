//! This node's numbering of the feed: claimed by one node at a time, so that no number is given twice, and handed on to
//! its successor, so that positions that viewers hold stay good over a restart. A second node has another one.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use dashmap::DashMap;
use uuid::Uuid;

use super::Core;
use super::index::RunIndex;
use super::row::RunRow;
use crate::domain::id::OrgId;
use crate::domain::segment::Segment;
use crate::store::contract::{FeedRow, StoreError, StoreResult};
use crate::store::scylla::claims::Term;

/// A numbering that this node has.
pub(super) struct Lane {
    /// Its name, random: also the feeds' epoch.
    pub(super) number: u64,
    /// The life of this node that claimed it.
    incarnation: Uuid,
    /// What the segments of unsettled runs tell, by number. Whatever else is told is in the tables.
    rows: DashMap<OrgId, BTreeMap<u64, FeedRow>>,
}

/// The numbering that this node has now.
#[derive(Default)]
pub(super) struct Lanes {
    current: RwLock<Option<Arc<Lane>>>,
}

impl Lanes {
    pub(super) fn current(&self) -> Option<Arc<Lane>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, lane: Arc<Lane>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(lane);
    }

    /// The numbering of this life of the node.
    ///
    /// # Errors
    /// `Unavailable` until it has one.
    pub(super) fn of(&self, term: &Term) -> StoreResult<Arc<Lane>> {
        let current = self.current().filter(|lane| lane.incarnation == term.incarnation);
        current.ok_or_else(|| StoreError::Unavailable("this node is just coming back".into()))
    }

    /// A segment that is stored is told.
    pub(super) fn tell_segment(&self, segment: &Segment, lane: u64) {
        let Some(current) = self.current().filter(|current| current.number == lane) else { return };
        let (start, end) = (segment.start, segment.end());
        current.tell(
            segment.org,
            FeedRow {
                seq: segment.feed_seq,
                execution: segment.execution,
                start: (start.units, start.bytes),
                end: (end.units, end.bytes),
                updated: segment.is_update,
                task: None,
            },
        );
    }

    /// The segments of a run are told by the tables from now on, or by nobody.
    pub(super) fn forget_run(&self, org: OrgId, index: &RunIndex) {
        let Some(current) = self.current() else { return };
        let Some(mut rows) = current.rows.get_mut(&org) else { return };
        for (_, seq, ..) in index.told() {
            rows.remove(&seq);
        }
    }
}

impl Lane {
    pub(super) fn new(number: u64, incarnation: Uuid) -> Self {
        Self { number, incarnation, rows: DashMap::new() }
    }

    fn tell(&self, org: OrgId, row: FeedRow) {
        if row.seq > 0 {
            self.rows.entry(org).or_default().insert(row.seq, row);
        }
    }

    /// Takes in what the segments of a run tell in this numbering.
    pub(super) fn tell_run(&self, row: &RunRow, index: &RunIndex) {
        for (epoch, seq, start, end, updated) in index.told() {
            if row.claim.lane_of(epoch) == self.number {
                let (start, end) = ((start.units, start.bytes), (end.units, end.bytes));
                self.tell(
                    row.org,
                    FeedRow { seq, execution: row.execution, start, end, updated, task: None },
                );
            }
        }
    }

    /// The first rows above `after`.
    pub(super) fn rows(&self, org: OrgId, after: u64, limit: usize) -> Vec<FeedRow> {
        let Some(rows) = self.rows.get(&org) else { return Vec::new() };
        rows.range(after.saturating_add(1)..).take(limit).map(|(_, row)| row.clone()).collect()
    }

    /// The highest number.
    pub(super) fn head(&self, org: OrgId) -> u64 {
        self.rows.get(&org).and_then(|rows| rows.last_key_value().map(|(seq, _)| *seq)).unwrap_or(0)
    }

    /// The organizations that have rows here.
    pub(super) fn orgs(&self) -> Vec<OrgId> {
        self.rows.iter().map(|rows| *rows.key()).collect()
    }
}

impl Core {
    /// Claims a numbering: `wanted` and no other, or any that nobody alive has, or a new one. Returns it, and whether its
    /// owner before may have left something on its way.
    pub(super) async fn claim_lane(
        &self,
        term: &Term,
        wanted: Option<u64>,
    ) -> StoreResult<Option<(u64, bool)>> {
        let mut lanes = self.tables.lanes().await?;
        lanes.retain(|(lane, _)| wanted.is_none_or(|wanted| wanted == *lane));
        // An earlier try of this life failed further on, or did not come to know that it had succeeded.
        if let Some((lane, _)) = lanes.iter().find(|(_, owner)| *owner == Some(term.incarnation)) {
            return Ok(Some((*lane, true)));
        }
        let judge = |(lane, owner): (u64, Option<Uuid>)| async move {
            let is_free = match owner {
                Some(owner) => self.nodes.is_dead(owner).await?,
                None => true,
            };
            Ok::<_, StoreError>((lane, owner, is_free))
        };
        for (lane, owner, is_free) in futures_util::future::try_join_all(lanes.into_iter().map(judge)).await?
        {
            if is_free && self.tables.take_lane(lane, owner, Some(term.incarnation)).await? {
                return Ok(Some((lane, owner.is_some())));
            }
        }
        if wanted.is_some() {
            return Ok(None);
        }
        // One bit less: numbers are signed in the tables.
        let lane = rand::random::<u64>() >> 1 | 1;
        let is_new = self.tables.insert_lane(lane, term.incarnation).await?;
        if is_new { Ok(Some((lane, false))) } else { Err(StoreError::Unavailable("a lane exists".into())) }
    }
}
