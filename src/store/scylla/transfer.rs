//! The store on CQL as one side of a copy. Whole tables are read page by page; a copy is the one thing that does so.
//!
//! A source is first taken over like by a server that starts, then let go of: what was under way is finished and every run
//! says where it ends. While a copy runs it has a lease like a server, and at the end it looks whether it was alone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Cold;
use super::claims::{Lease, LeaseSettings, Nodes};
use super::connect::Cql;
use super::runs::{RunSettings, RunsTransfer, ScyllaRuns};
use super::statement::{Prepared, Purpose, Spec};
use crate::clock::{BootClock, UnixMs};
use crate::limits::{COPY_LEASE_PATIENCE, CQL_CLAIM_LOOK_AGAIN, FEED_RETENTION};
use crate::store::contract::{FeedLog, StoreResult};
use crate::store::copy::record::Record;
use crate::store::copy::{Note, Page, Transfer};

/// Every table, and how a copy takes care of what is in it.
const TABLES: &[(&str, &str)] = &[
    ("org_data", "copied, see `cold::transfer`"),
    ("claims", "made from organizations and users"),
    ("lookups", "made from users, API keys and revoked tokens"),
    ("key_use", "copied as part of API keys"),
    ("logins", "copied"),
    ("audit", "copied"),
    ("audit_periods", "made from audit entries"),
    ("outbox", "made from letters"),
    ("run", "copied"),
    ("run_by_task", "made from runs"),
    ("run_by_session", "made from runs"),
    ("run_unsettled", "made from runs"),
    ("run_by_start", "made from runs"),
    ("run_window", "made from runs"),
    ("run_segment", "copied while their runs are not settled"),
    ("run_text", "copied"),
    ("run_result", "copied"),
    ("session_expiry", "made from runs"),
    ("session_expiry_day", "made from runs"),
    ("node", "of this store alone"),
    ("feed_lane", "the numbering that the next server goes on with is copied"),
    ("feed", "copied, of that numbering"),
    ("feed_state", "copied, of that numbering"),
];

/// What a copy does with each table, by its name.
#[must_use]
pub fn copied_tables() -> &'static [(&'static str, &'static str)] {
    TABLES
}

/// What a store is read in.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Organizations,
    LoginTries,
    Audit,
    Runs,
    Segments,
    Texts,
    Results,
    Told,
    Feeds,
}

/// In this order: see the embedded store's.
const PARTS: [Part; 9] = [
    Part::Organizations,
    Part::LoginTries,
    Part::Audit,
    Part::Runs,
    Part::Segments,
    Part::Texts,
    Part::Results,
    Part::Told,
    Part::Feeds,
];

/// The store on CQL, opened for copying.
pub(in crate::store) struct ScyllaTransfer {
    cold: Cold,
    runs: RunsTransfer,
    nodes: Arc<Nodes>,
    lease: Arc<Lease>,
    all_nodes: Prepared,
    cql: Arc<Cql>,
}

impl ScyllaTransfer {
    /// Opens a store that is read from; `None` if a server uses it.
    pub(in crate::store) async fn open_source(cql: Arc<Cql>) -> StoreResult<Option<Self>> {
        let Some(others) = Box::pin(Others::look(&cql)).await? else { return Ok(None) };
        let cold = Box::pin(Cold::open(Arc::clone(&cql))).await?;
        Box::pin(cold.finish_for_copy()).await?;
        let taken = Box::pin(ScyllaRuns::open(Arc::clone(&cql), RunSettings::default())).await?;
        let kept_ms = i64::try_from(FEED_RETENTION.as_millis()).unwrap_or(i64::MAX);
        while taken.purge_feed(cql.clock().now_ms().saturating_sub(kept_ms)).await? > 0 {}
        let lane = taken.feed_epoch().await?;
        taken.shut_down().await?;
        Box::pin(Self::open(cql, cold, others, Some(lane))).await.map(Some)
    }

    /// Opens a store that is written to; `None` if a server uses it.
    pub(in crate::store) async fn open_target(cql: Arc<Cql>) -> StoreResult<Option<Self>> {
        let Some(others) = Box::pin(Others::look(&cql)).await? else { return Ok(None) };
        let cold = Box::pin(Cold::open(Arc::clone(&cql))).await?;
        Box::pin(Self::open(cql, cold, others, None)).await.map(Some)
    }

    async fn open(cql: Arc<Cql>, cold: Cold, others: Others, lane: Option<u64>) -> StoreResult<Self> {
        let Others { nodes, all_nodes } = others;
        let lease = Lease::start(Arc::clone(&nodes), LeaseSettings::default(), Arc::new(BootClock)).await?;
        let runs = RunsTransfer::prepare(Arc::clone(&cql), lane).await?;
        Ok(Self { cold, runs, nodes, lease, all_nodes, cql })
    }
}

impl ScyllaTransfer {
    /// The name under which this process has its lease. One that has lapsed comes back under another; whoever came meanwhile
    /// and stays is found at the end, and what they changed too.
    async fn incarnation(&self) -> StoreResult<Uuid> {
        let mut waited = Duration::ZERO;
        loop {
            match self.lease.term() {
                Ok(term) => return Ok(term.incarnation),
                Err(error) if waited >= COPY_LEASE_PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(CQL_CLAIM_LOOK_AGAIN).await,
            }
            waited += CQL_CLAIM_LOOK_AGAIN;
        }
    }
}

/// The other nodes, all of them dead.
struct Others {
    nodes: Arc<Nodes>,
    all_nodes: Prepared,
}

impl Others {
    /// Waits until each node is known to be dead; `None` if one is not.
    async fn look(cql: &Arc<Cql>) -> StoreResult<Option<Self>> {
        let nodes = Nodes::prepare(Arc::clone(cql), LeaseSettings::default(), Arc::new(BootClock)).await?;
        let all_nodes = cql
            .prepare(Spec { text: "SELECT incarnation, is_fenced FROM node", purpose: Purpose::Read })
            .await?;
        let others = Self { nodes: Arc::new(nodes), all_nodes };
        let are_dead = are_dead(cql, &others.nodes, &others.all_nodes, None).await?;
        Ok(are_dead.then_some(others))
    }
}

/// Whether every node but one's own is dead.
async fn are_dead(cql: &Cql, nodes: &Nodes, all_nodes: &Prepared, own: Option<Uuid>) -> StoreResult<bool> {
    let rows: Vec<(Uuid, Option<bool>)> = cql.first_rows(all_nodes, (), usize::MAX).await?;
    let others = rows.into_iter().filter(|(node, is_fenced)| *is_fenced != Some(true) && Some(*node) != own);
    let looking = others.map(|(node, _)| nodes.is_dead(node));
    Ok(futures_util::future::try_join_all(looking).await?.into_iter().all(|is_dead| is_dead))
}

#[async_trait]
impl Transfer for ScyllaTransfer {
    fn parts(&self) -> u32 {
        u32::try_from(PARTS.len()).unwrap_or(u32::MAX)
    }

    async fn export(&self, part: u32, from: &[u8], as_of_ms: UnixMs) -> StoreResult<Page> {
        match PARTS.get(part as usize) {
            Some(Part::Organizations) => self.cold.export_organizations(from, as_of_ms).await,
            Some(Part::LoginTries) => self.cold.export_tries(from, as_of_ms).await,
            Some(Part::Audit) => self.cold.export_audit(from, as_of_ms).await,
            Some(Part::Runs) => self.runs.export_runs(from).await,
            Some(Part::Segments) => self.runs.export_segments(from).await,
            Some(Part::Texts) => self.runs.export_texts(from).await,
            Some(Part::Results) => self.runs.export_results(from).await,
            Some(Part::Told) => self.runs.export_told(from).await,
            Some(Part::Feeds) => {
                let (orgs, next) = self.cold.page_of_orgs(from).await?;
                Ok(Page { records: self.runs.feeds(orgs).await?, next })
            }
            None => Ok(Page::default()),
        }
    }

    async fn import(&self, records: Vec<Record>, _now_ms: UnixMs) -> StoreResult<()> {
        self.incarnation().await?;
        // In boxes, here and below: the futures of the driver are large.
        let of_runs = Box::pin(self.cold.take_in(records)).await?;
        Box::pin(self.runs.take_in(of_runs)).await
    }

    fn lane(&self) -> u64 {
        self.runs.lane()
    }

    async fn set_lane(&self, lane: u64) -> StoreResult<()> {
        self.runs.set_lane(lane).await
    }

    async fn note(&self) -> StoreResult<Option<Note>> {
        self.cold.copy_note().await
    }

    async fn put_note(&self, note: Option<&Note>) -> StoreResult<()> {
        self.cold.put_copy_note(note).await
    }

    async fn is_alone(&self) -> StoreResult<bool> {
        let own = self.incarnation().await?;
        are_dead(&self.cql, &self.nodes, &self.all_nodes, Some(own)).await
    }

    async fn close(self: Box<Self>) -> StoreResult<()> {
        self.lease.let_go().await
    }
}
