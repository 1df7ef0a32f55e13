//! Opening the store that the configuration names.

use std::sync::Arc;

use super::data_folder::DataFolder;
use super::{Seams, StartError};
use crate::config::{Settings, StoreKind};
use crate::store::contract::Store;
use crate::store::lsm::{LsmSettings, LsmStore};
use crate::store::observed::Observed;
use crate::store::scylla::ScyllaStore;
use crate::store::scylla::runs::RunSettings;
use crate::store::scylla::schema::connect_and_apply;

/// Opens it, after it has brought the tables of a cluster up to this build. Of one that keeps what is acknowledged badly, it
/// warns.
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
    let cql = connect_and_apply(&settings.scylla, Arc::clone(&seams.clock)).await?;
    for warning in cql.durability().await?.warnings() {
        tracing::warn!("{warning}");
    }
    let store = ScyllaStore::open(Arc::new(cql), RunSettings::default()).await?;
    Ok(Arc::new(Observed::new(Arc::new(store))))
}
