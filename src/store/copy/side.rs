//! What can be copied from and to.

use std::fmt;
use std::sync::Arc;

use super::{CopyError, Transfer};
use crate::clock::Clock;
use crate::fs::OsFs;
use crate::store::lsm::{LsmSettings, LsmTransfer};
use crate::store::scylla::schema::SchemaError;
use crate::store::scylla::{Cql, ScyllaSettings, ScyllaTransfer};

/// A store, by where it is.
#[derive(Debug, Clone)]
pub enum Side {
    /// In a folder.
    Embedded(LsmSettings),
    /// In a keyspace, which has to have its tables.
    Cluster(Box<ScyllaSettings>),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(settings) => write!(f, "the folder {}", settings.data.display()),
            Self::Cluster(settings) => write!(f, "the keyspace {:?}", settings.keyspace),
        }
    }
}

impl Side {
    /// Opens it as what is read from. What the last server left under way is finished first.
    pub(super) async fn open_source(&self, clock: &Arc<dyn Clock>) -> Result<Box<dyn Transfer>, CopyError> {
        match self {
            Self::Embedded(settings) => {
                if !settings.data.join("lsm").is_dir() {
                    return Err(CopyError::NoStore(settings.data.display().to_string()));
                }
                let transfer = LsmTransfer::open(settings.clone(), Arc::new(OsFs)).await?;
                transfer.forget_old(clock.now_ms()).await?;
                Ok(Box::new(transfer))
            }
            Self::Cluster(settings) => {
                let cql = reach(settings, clock).await?;
                let transfer = Box::pin(ScyllaTransfer::open_source(cql)).await?;
                transfer
                    .map(|transfer| Box::new(transfer) as _)
                    .ok_or_else(|| CopyError::InUse(self.to_string()))
            }
        }
    }

    /// Opens it as what is written to.
    pub(super) async fn open_target(&self, clock: &Arc<dyn Clock>) -> Result<Box<dyn Transfer>, CopyError> {
        match self {
            Self::Embedded(settings) => {
                Ok(Box::new(LsmTransfer::open(settings.clone(), Arc::new(OsFs)).await?))
            }
            Self::Cluster(settings) => {
                let cql = reach(settings, clock).await?;
                let transfer = Box::pin(ScyllaTransfer::open_target(cql)).await?;
                transfer
                    .map(|transfer| Box::new(transfer) as _)
                    .ok_or_else(|| CopyError::InUse(self.to_string()))
            }
        }
    }
}

async fn reach(settings: &ScyllaSettings, clock: &Arc<dyn Clock>) -> Result<Arc<Cql>, CopyError> {
    let cql = Box::pin(Cql::connect(settings, Arc::clone(clock))).await.map_err(SchemaError::from)?;
    cql.check_schema().await?;
    Ok(Arc::new(cql))
}
