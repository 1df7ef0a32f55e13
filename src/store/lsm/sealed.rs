//! Sealed values: a table of them, those in the settings of organizations, and what letters say.

use async_trait::async_trait;
use fjall::{Readable, SingleWriterWriteTx};

use super::accounts::org_key;
use super::db::{Db, store_error};
use super::organizations::SETTINGS;
use super::table::{Key, Table};
use super::{LsmStore, outbox};
use crate::domain::id::OrgId;
use crate::domain::mail::LETTER_PLACE;
use crate::domain::seal::Sealed;
use crate::store::contract::{SealedValues, StoreError, StoreResult};
use crate::store::record;
use crate::store::reseal::with_settings;

/// The keyspace of [`SEALED`].
const NAME: &str = "sealed_values";
/// `org name`.
pub(super) const SEALED: Table<Sealed> = Table::named(NAME);
/// Bytes of a key's organization.
const ORG_BYTES: usize = 12;

fn name_key(org: OrgId, name: &str) -> Key {
    org_key(org).text(name)
}

/// Stores a sealed value with the caller's transaction.
pub(super) fn put(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    org: OrgId,
    name: &str,
    sealed: &Sealed,
) -> StoreResult<()> {
    SEALED.put(db, change, name_key(org, name), sealed)
}

/// Removes a sealed value with the caller's transaction, if there is one.
pub(super) fn remove(
    db: &Db,
    change: &mut SingleWriterWriteTx<'_>,
    org: OrgId,
    name: &str,
) -> StoreResult<()> {
    SEALED.remove(db, change, name_key(org, name))
}

#[async_trait]
impl SealedValues for LsmStore {
    async fn sealed(&self, org: OrgId, name: &str) -> StoreResult<Option<Sealed>> {
        let name = name.to_owned();
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                if let Some(key) = name.strip_prefix(LETTER_PLACE) {
                    return outbox::sealed_letter(db, &view, org, key);
                }
                let mut settings = SETTINGS.get(db, &view, &org_key(org))?.unwrap_or_default();
                match settings.sealed_mut(&name) {
                    Some(sealed) => Ok(Some(sealed.clone())),
                    None => SEALED.get(db, &view, &name_key(org, &name)),
                }
            })
            .await
    }

    async fn sealed_values(
        &self,
        org: OrgId,
        after: &str,
        limit: usize,
    ) -> StoreResult<Vec<(String, Sealed)>> {
        let after = after.to_owned();
        self.db
            .blocking(move |db| {
                let view = db.inner().read_tx();
                let settings = SETTINGS.get(db, &view, &org_key(org))?.unwrap_or_default();
                let rows = view.prefix(db.keyspace(NAME)?, org_key(org)).map(|row| {
                    let (key, value) = row.into_inner().map_err(store_error)?;
                    let name = key.get(ORG_BYTES..).and_then(|name| std::str::from_utf8(name).ok());
                    let name =
                        name.ok_or_else(|| StoreError::Damaged("a sealed value without a name".into()))?;
                    Ok((name.to_owned(), record::decode(&value)?))
                });
                let is_later = |row: &StoreResult<(String, Sealed)>| {
                    row.as_ref().map_or(true, |(name, _)| *name > after)
                };
                let found: StoreResult<Vec<_>> = rows.filter(is_later).take(limit).collect();
                let mut found = found?;
                found.extend(outbox::sealed_letters(db, &view, org, &after)?);
                Ok(with_settings(found, &settings, &after, limit))
            })
            .await
    }

    async fn replace_sealed(&self, org: OrgId, name: &str, old: &Sealed, new: Sealed) -> StoreResult<bool> {
        let (name, old) = (name.to_owned(), old.clone());
        self.db
            .commit(move |db, change| {
                if let Some(key) = name.strip_prefix(LETTER_PLACE) {
                    return outbox::reseal_letter(db, change, (org, key), &old, &new);
                }
                let mut settings = SETTINGS.get(db, change, &org_key(org))?.unwrap_or_default();
                if let Some(sealed) = settings.sealed_mut(&name) {
                    let is_still = *sealed == old;
                    if is_still {
                        *sealed = new;
                        SETTINGS.put(db, change, org_key(org), &settings)?;
                    }
                    return Ok(is_still);
                }
                let key = name_key(org, &name);
                let is_still = SEALED.get(db, change, &key)?.as_ref() == Some(&old);
                if is_still {
                    SEALED.put(db, change, key, &new)?;
                }
                Ok(is_still)
            })
            .await
    }
}
