//! Organizations with their settings: a row beside the organization's own. The write transactions of the tree run one at a
//! time, so what a change was decided on is what it changes.

use async_trait::async_trait;
use fjall::Readable;

use super::accounts::{ORGANIZATIONS, org_key};
use super::db::Db;
use super::projects::PROJECT_COUNTS;
use super::table::{Key, Table};
use super::{LsmStore, audit};
use crate::clock::UnixMs;
use crate::domain::account::AuditEntry;
use crate::domain::id::OrgId;
use crate::domain::organization::{Author, OrgChange, OrgSettings, OrgState};
use crate::store::contract::{AuditFilter, Organizations, StoreError, StoreResult};
use crate::store::places::Places;

/// `org`.
pub(super) const SETTINGS: Table<OrgSettings> = Table::named("organization_settings");
/// `org period_ms`.
pub(super) const RUN_PLACES: Table<Places> = Table::named("run_places");

fn state(db: &Db, view: &impl Readable, org: OrgId) -> StoreResult<Option<OrgState>> {
    let Some(organization) = ORGANIZATIONS.get(db, view, &org_key(org))? else { return Ok(None) };
    let settings = SETTINGS.get(db, view, &org_key(org))?.unwrap_or_default();
    Ok(Some(OrgState { organization, settings }))
}

#[async_trait]
impl Organizations for LsmStore {
    async fn organization_state(&self, org: OrgId) -> StoreResult<Option<OrgState>> {
        self.db.blocking(move |db| state(db, &db.inner().read_tx(), org)).await
    }

    async fn change_organization(
        &self,
        org: OrgId,
        change: OrgChange,
        author: Author,
    ) -> StoreResult<Option<OrgState>> {
        self.db
            .commit(move |db, transaction| {
                let Some(mut state) = state(db, transaction, org)? else { return Ok(None) };
                let entries = state.apply(&change, &author);
                ORGANIZATIONS.put(db, transaction, org_key(org), &state.organization)?;
                SETTINGS.put(db, transaction, org_key(org), &state.settings)?;
                for entry in &entries {
                    audit::put(db, transaction, entry)?;
                }
                Ok(Some(state))
            })
            .await
    }

    async fn project_count(&self, org: OrgId) -> StoreResult<u64> {
        self.db.blocking(move |db| PROJECT_COUNTS.count(db, &db.inner().read_tx(), &org_key(org))).await
    }

    async fn organization_ids(&self) -> StoreResult<Vec<OrgId>> {
        self.db
            .blocking(|db| {
                let view = db.inner().read_tx();
                let ids = ORGANIZATIONS.records(db, &view, &Key::new())?.map(|org| Ok(org?.id));
                ids.collect()
            })
            .await
    }

    async fn take_run_place(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        max: u64,
        at_least: u64,
        now_ms: UnixMs,
    ) -> StoreResult<()> {
        self.db
            .commit(move |db, change| {
                let key = org_key(org).moment(period_ms);
                let places = RUN_PLACES.get(db, change, &key)?.unwrap_or_default();
                RUN_PLACES.put(db, change, key, &places.take(max, at_least, now_ms)?)
            })
            .await
    }

    async fn give_run_place_back(&self, org: OrgId, period_ms: UnixMs, now_ms: UnixMs) -> StoreResult<()> {
        self.db
            .commit(move |db, change| {
                let key = org_key(org).moment(period_ms);
                match RUN_PLACES.get(db, change, &key)? {
                    Some(places) => RUN_PLACES.put(db, change, key, &places.give_back(now_ms)),
                    None => Ok(()),
                }
            })
            .await
    }

    async fn correct_run_places(
        &self,
        org: OrgId,
        period_ms: UnixMs,
        started: u64,
        idle_since_ms: UnixMs,
    ) -> StoreResult<bool> {
        self.db
            .commit(move |db, change| {
                let key = org_key(org).moment(period_ms);
                let places = RUN_PLACES.get(db, change, &key)?;
                let corrected = places.and_then(|places| places.correct(started, idle_since_ms));
                if let Some(places) = &corrected {
                    RUN_PLACES.put(db, change, key, places)?;
                }
                Ok(corrected.is_some())
            })
            .await
    }

    async fn audit_log(
        &self,
        org: OrgId,
        filter: &AuditFilter,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)> {
        let filter = filter.clone();
        self.db.blocking(move |db| audit::filtered(db, org, &filter, limit, offset)).await
    }
}

/// The organization that a key is.
pub(super) fn read_org(key: &[u8]) -> StoreResult<OrgId> {
    let bytes = key.try_into().map_err(|_| StoreError::Damaged("the key of an organization".into()))?;
    Ok(OrgId::from_bytes(bytes))
}

/// The organization and the period that a key of places is made of.
pub(super) fn read_places(key: &[u8]) -> StoreResult<(OrgId, UnixMs)> {
    let damaged = || StoreError::Damaged("the key of places for runs".into());
    let (org, moment) = key.split_first_chunk::<12>().ok_or_else(damaged)?;
    let moment: [u8; 8] = moment.try_into().map_err(|_| damaged())?;
    Ok((OrgId::from_bytes(*org), (u64::from_be_bytes(moment) ^ 1 << 63).cast_signed()))
}
