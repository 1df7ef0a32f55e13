//! Opening the store that the configuration names.

use std::sync::Arc;

use super::data_folder::DataFolder;
use super::{Seams, StartError};
use crate::config::{Settings, StoreKind};
use crate::store::contract::Store;
use crate::store::lsm::{LsmSettings, LsmStore};
use crate::store::observed::Observed;
use crate::store::scylla::runs::RunSettings;
use crate::store::scylla::schema::SchemaError;
use crate::store::scylla::{Cql, ScyllaStore};

/// Opens it. Of a cluster that keeps what is acknowledged badly, it warns.
pub(super) async fn open(
    settings: &Settings,
    seams: &Seams,
    folder: &DataFolder,
) -> Result<Arc<dyn Store>, StartError> {
    match settings.store {
        StoreKind::Embedded => embedded(settings, seams, folder).await,
        // In a box: the futures of the driver are large.
        StoreKind::Scylla => Box::pin(cluster(settings, seams)).await,
    }
}

async fn embedded(
    settings: &Settings,
    seams: &Seams,
    folder: &DataFolder,
) -> Result<Arc<dyn Store>, StartError> {
    let mut lsm = LsmSettings::at(&folder.path);
    lsm.cache_bytes = settings.cache_bytes;
    lsm.runs.journal.file_bytes = settings.journal_file_bytes;
    lsm.runs.journal.reserve_bytes = settings.reserve_bytes;
    let store = LsmStore::open(lsm, Arc::clone(&seams.fs)).await?;
    Ok(Arc::new(Observed::new(Arc::new(store))))
}

async fn cluster(settings: &Settings, seams: &Seams) -> Result<Arc<dyn Store>, StartError> {
    let connected = Cql::connect(&settings.scylla, Arc::clone(&seams.clock)).await;
    let cql = connected.map_err(SchemaError::from)?;
    cql.check_schema().await?;
    for warning in cql.durability().await?.warnings() {
        tracing::warn!("{warning}");
    }
    let store = ScyllaStore::open(Arc::new(cql), RunSettings::default()).await?;
    Ok(Arc::new(Observed::new(Arc::new(store))))
}
