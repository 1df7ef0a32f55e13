//! Changing the key that seals what is stored: `runstream secrets rotate`.

use std::sync::Arc;

use super::data_folder::DataFolder;
use super::{Seams, StartError};
use crate::access::{Secrets, begin_key_change, end_key_change};
use crate::config::{Settings, StoreKind};
use crate::domain::seal::KeyId;
use crate::store::contract::Store as _;
use crate::store::lsm::{LsmSettings, LsmStore};
use crate::store::reseal::{Resealed, reseal_all};
use crate::store::scylla::schema::SchemaError;
use crate::store::scylla::{Cold, Cql};

/// What a change of keys came to.
#[derive(Debug)]
pub struct KeyChange {
    /// What was sealed anew, and what is left.
    pub resealed: Resealed,
    /// The key that seals now.
    pub current: KeyId,
    /// Older keys that are known and that nothing is sealed with any more.
    pub unused: Vec<KeyId>,
    /// How many of them were kept in the data folder and are removed.
    pub removed: usize,
    /// Whether the keys are configured: then the unused ones are for the operator to take out.
    pub is_configured: bool,
}

/// Seals everything that is stored under the first configured key or, if none is configured, under a new one that is put
/// into the data folder first; keys of the folder that nothing needs any more are removed. The embedded store must not be
/// in use; servers on a cluster may run. What was stopped in between is taken up where it was.
///
/// # Errors
/// If the data folder is in use, the keys cannot be read or written, or the store fails. What was sealed anew stays so.
pub async fn change_sealing_key(settings: &Settings, seams: &Seams) -> Result<KeyChange, StartError> {
    let is_configured = !settings.secrets.sealing.is_empty();
    let folder = match (settings.store, is_configured) {
        // Only the keys are read there, if any.
        (StoreKind::Scylla, true) => None,
        _ => Some(DataFolder::open(&settings.data_folder)?),
    };
    if !is_configured {
        begin_key_change(&settings.data_folder)?;
    }
    let sealer = Secrets::load_or_create(&settings.data_folder, settings.secrets.clone())?.sealer();
    let resealed = match settings.store {
        StoreKind::Embedded => {
            let mut lsm = LsmSettings::at(&settings.data_folder);
            lsm.runs.journal.file_bytes = settings.journal_file_bytes;
            lsm.runs.journal.reserve_bytes = settings.reserve_bytes;
            let store = LsmStore::open(lsm, Arc::clone(&seams.fs)).await?;
            let done = reseal_all(&store, &sealer).await;
            store.shut_down().await?;
            done?
        }
        StoreKind::Scylla => {
            let connected = Cql::connect(&settings.scylla, Arc::clone(&seams.clock)).await;
            let cql = connected.map_err(SchemaError::from)?;
            cql.check_schema().await?;
            reseal_all(&Cold::open(Arc::new(cql)).await?, &sealer).await?
        }
    };
    let is_used = |key: KeyId| resealed.keys_in_use.contains(&key);
    let unused: Vec<_> = sealer.keys().skip(1).filter(|key| !is_used(*key)).collect();
    let removed = if is_configured { 0 } else { end_key_change(&settings.data_folder, is_used)? };
    drop(folder);
    Ok(KeyChange { current: sealer.current_key(), resealed, unused, removed, is_configured })
}
