//! Sealing everything anew under the current key, while others may be at work on the same store. It may be stopped anywhere
//! and begun again: what is under the current key already is passed over.

use std::collections::{BTreeMap, BTreeSet};

use super::contract::{Organizations, SealedValues, StoreResult};
use crate::domain::id::OrgId;
use crate::domain::organization::OrgSettings;
use crate::domain::seal::{KeyId, OpenError, Sealed, Sealer};
use crate::limits::{RESEAL_PASSES_MAX, ROWS_PER_CALL_MAX};

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that were sealed anew, by kind: what their names begin with.
    pub by_kind: BTreeMap<String, u64>,
    /// Values there are.
    pub values: u64,
    /// Values that could not be opened, and why; they were left as they are.
    pub unreadable: Vec<(OrgId, String, OpenError)>,
    /// The keys that have sealed what there is now.
    pub keys_in_use: BTreeSet<KeyId>,
}

impl Resealed {
    /// Values that were sealed anew.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }
}

/// Seals every value of every organization under the current key of `sealer`, and looks at all of them again until there
/// is nothing to seal anew or [`RESEAL_PASSES_MAX`] is reached; `keys_in_use` is of the last look.
///
/// # Errors
/// Those of the store; what was sealed anew until then stays so.
pub async fn reseal_all(
    store: &(impl Organizations + SealedValues + ?Sized),
    sealer: &Sealer,
) -> StoreResult<Resealed> {
    let mut by_kind = BTreeMap::new();
    let mut seen = pass(store, sealer, &mut by_kind).await?;
    for _ in 1..RESEAL_PASSES_MAX {
        if seen.changed == 0 {
            break;
        }
        seen = pass(store, sealer, &mut by_kind).await?;
    }
    if seen.changed > 0 {
        // Others keep sealing with an older key: any of them may be needed.
        seen.keys_in_use.extend(sealer.keys());
    }
    Ok(Resealed { by_kind, values: seen.values, unreadable: seen.unreadable, keys_in_use: seen.keys_in_use })
}

#[derive(Default)]
struct Pass {
    values: u64,
    changed: u64,
    unreadable: Vec<(OrgId, String, OpenError)>,
    /// By what a value was sealed when it was looked at.
    keys_in_use: BTreeSet<KeyId>,
}

async fn pass(
    store: &(impl Organizations + SealedValues + ?Sized),
    sealer: &Sealer,
    by_kind: &mut BTreeMap<String, u64>,
) -> StoreResult<Pass> {
    let mut pass = Pass::default();
    for org in store.organization_ids().await? {
        pass.organization(store, sealer, org, by_kind).await?;
    }
    Ok(pass)
}

impl Pass {
    async fn organization(
        &mut self,
        store: &(impl Organizations + SealedValues + ?Sized),
        sealer: &Sealer,
        org: OrgId,
        by_kind: &mut BTreeMap<String, u64>,
    ) -> StoreResult<()> {
        let mut after = String::new();
        loop {
            let values = store.sealed_values(org, &after, ROWS_PER_CALL_MAX).await?;
            let Some((furthest, _)) = values.last() else { return Ok(()) };
            after.clone_from(furthest);
            for (name, sealed) in values {
                self.values += 1;
                self.keys_in_use.insert(sealed.key());
                match sealer.reseal(org, &name, &sealed) {
                    Ok(None) => {}
                    Ok(Some(anew)) => {
                        self.changed += 1;
                        // Whoever was faster has sealed another value, or removed this one.
                        if store.replace_sealed(org, &name, &sealed, anew).await? {
                            let kind = name.split('/').next().unwrap_or_default().to_owned();
                            *by_kind.entry(kind).or_default() += 1;
                        }
                    }
                    Err(error) => self.unreadable.push((org, name, error)),
                }
            }
        }
    }
}

/// A page of sealed values with those of the organization's settings that belong on it.
pub(super) fn with_settings(
    mut page: Vec<(String, Sealed)>,
    settings: &OrgSettings,
    after: &str,
    limit: usize,
) -> Vec<(String, Sealed)> {
    let own = settings.sealed().into_iter().filter(|(name, _)| *name > after);
    page.extend(own.map(|(name, sealed)| (name.to_owned(), sealed.clone())));
    page.sort_by(|(one, _), (other, _)| one.cmp(other));
    page.truncate(limit);
    page
}
