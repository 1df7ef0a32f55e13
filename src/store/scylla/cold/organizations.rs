//! Organizations with their settings: two rows of the organization's partition, changed together.

use async_trait::async_trait;
use futures_util::TryStreamExt;

use super::Cold;
use super::change::Edit;
use super::rows::{ORGANIZATION, PROJECT, SETTINGS, org_id};
use super::take_in::NOBODY;
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::OrgId;
use crate::domain::organization::{Author, OrgChange, OrgState};
use crate::limits::CQL_CHANGE_TRIES;
use crate::store::contract::{AuditFilter, Organizations, StoreError, StoreResult};
use crate::store::record;

#[async_trait]
impl Organizations for Cold {
    /// Two reads, so both are made again until no change was made in between.
    async fn organization_state(&self, org: OrgId) -> StoreResult<Option<OrgState>> {
        for _ in 0..CQL_CHANGE_TRIES {
            let before = self.head(org).await?;
            let state = self.state(org).await?;
            if self.head(org).await? == before {
                return Ok(state);
            }
        }
        Err(StoreError::Unavailable(format!("organization {org} changed at every look")))
    }

    async fn change_organization(
        &self,
        org: OrgId,
        change: OrgChange,
        author: Author,
    ) -> StoreResult<Option<OrgState>> {
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            let Some(mut state) = self.state(org).await? else { return Ok(None) };
            let entries = state.apply(&change, &author);
            let edits = vec![
                Edit::Put(ORGANIZATION, Vec::new(), record::encode(&state.organization)?),
                Edit::Put(SETTINGS, Vec::new(), record::encode(&state.settings)?),
            ];
            if turns.commit_with_all(edits, &entries).await? {
                return Ok(Some(state));
            }
        }
    }

    async fn project_count(&self, org: OrgId) -> StoreResult<u64> {
        let found: Option<(i64,)> =
            self.cql.first(&self.statements.count, (org.as_bytes().as_slice(), PROJECT)).await?;
        Ok(found.map_or(0, |(count,)| u64::try_from(count).unwrap_or(0)))
    }

    async fn organization_ids(&self) -> StoreResult<Vec<OrgId>> {
        let rows = self.cql.rows::<(Vec<u8>,)>(&self.statements.orgs, ()).await?;
        let ids = rows.and_then(|(org,)| std::future::ready(org_id(&org)));
        ids.try_filter(|org| std::future::ready(*org.as_bytes() != NOBODY)).try_collect().await
    }

    async fn take_run_place(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        max: u64,
        at_least: u64,
        now_ms: UnixMs,
    ) -> StoreResult<()> {
        self.take_place(org, period_ms, (max, at_least), now_ms).await
    }

    async fn give_run_place_back(&self, org: OrgId, period_ms: UnixMs, now_ms: UnixMs) -> StoreResult<()> {
        self.give_place_back(org, period_ms, now_ms).await
    }

    async fn correct_run_places(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        started: u64,
        idle_since_ms: UnixMs,
    ) -> StoreResult<bool> {
        self.correct_places(org, period_ms, started, idle_since_ms).await
    }

    async fn audit_log(
        &self,
        org: OrgId,
        filter: &AuditFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)> {
        self.audit_filtered(org, filter, limit, offset).await
    }
}

impl Cold {
    async fn state(&self, org: OrgId) -> StoreResult<Option<OrgState>> {
        let Some(organization) = self.record(org, ORGANIZATION, &[]).await? else { return Ok(None) };
        let settings = self.record(org, SETTINGS, &[]).await?.unwrap_or_default();
        Ok(Some(OrgState { organization, settings }))
    }
}
