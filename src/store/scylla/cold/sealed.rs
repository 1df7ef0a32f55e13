//! Sealed values: one kind of rows in the organization's partition, those in the organization's settings, and what its
//! letters say.

use async_trait::async_trait;

use super::Cold;
use super::change::Edit;
use super::outbox::letter_edit;
use super::rows::{LETTER, SEALED, SETTINGS};
use crate::domain::id::OrgId;
use crate::domain::mail::{LETTER_PLACE, WaitingLetter};
use crate::domain::organization::OrgSettings;
use crate::domain::seal::Sealed;
use crate::store::contract::{SealedValues, StoreError, StoreResult};
use crate::store::reseal::with_settings;
use crate::store::{letters, record};

impl Cold {
    async fn settings(&self, org: OrgId) -> StoreResult<OrgSettings> {
        Ok(self.record(org, SETTINGS, &[]).await?.unwrap_or_default())
    }
}

#[async_trait]
impl SealedValues for Cold {
    async fn sealed(&self, org: OrgId, name: &str) -> StoreResult<Option<Sealed>> {
        if let Some(key) = name.strip_prefix(LETTER_PLACE) {
            let waiting: Option<WaitingLetter> = self.record(org, LETTER, key.as_bytes()).await?;
            return Ok(waiting.as_ref().and_then(letters::sealed).map(|(_, sealed)| sealed));
        }
        match self.settings(org).await?.sealed_mut(name) {
            Some(sealed) => Ok(Some(sealed.clone())),
            None => self.record(org, SEALED, name.as_bytes()).await,
        }
    }

    async fn sealed_values(
        &self,
        org: OrgId,
        after: &str,
        limit: usize,
    ) -> StoreResult<Vec<(String, Sealed)>> {
        // One more, which is `after` itself if that is still there.
        let rows = self.from(org, SEALED, after.as_bytes(), limit.saturating_add(1)).await?;
        let named = rows.into_iter().filter(|(key, _)| key != after.as_bytes()).take(limit);
        let read = named.map(|(key, value)| {
            let name = String::from_utf8(key)
                .map_err(|_| StoreError::Damaged("a sealed value without a name".into()))?;
            Ok((name, record::decode(&value)?))
        });
        let mut found = read.collect::<StoreResult<Vec<_>>>()?;
        let waiting = self.waiting(org).await?;
        found.extend(waiting.iter().filter_map(letters::sealed).filter(|(name, _)| name.as_str() > after));
        Ok(with_settings(found, &self.settings(org).await?, after, limit))
    }

    async fn replace_sealed(&self, org: OrgId, name: &str, old: &Sealed, new: Sealed) -> StoreResult<bool> {
        let mut turns = self.turns(org).await;
        loop {
            turns.begin().await?;
            if let Some(key) = name.strip_prefix(LETTER_PLACE) {
                let waiting = self.record(org, LETTER, key.as_bytes()).await?;
                let anew = waiting.map(|waiting| letters::resealed(waiting, old, &new)).transpose()?;
                let Some(anew) = anew.flatten() else { return Ok(false) };
                if turns.commit(vec![letter_edit(&anew)?], None).await? {
                    return Ok(true);
                }
                continue;
            }
            let mut settings = self.settings(org).await?;
            if let Some(sealed) = settings.sealed_mut(name) {
                if *sealed != *old {
                    return Ok(false);
                }
                sealed.clone_from(&new);
                let edits = vec![Edit::Put(SETTINGS, Vec::new(), record::encode(&settings)?)];
                if turns.commit(edits, None).await? {
                    return Ok(true);
                }
                continue;
            }
            let stored: Option<Sealed> = self.record(org, SEALED, name.as_bytes()).await?;
            if stored.as_ref() != Some(old) {
                return Ok(false);
            }
            let edits = vec![Edit::Put(SEALED, name.as_bytes().to_vec(), record::encode(&new)?)];
            if turns.commit(edits, None).await? {
                return Ok(true);
            }
        }
    }
}
