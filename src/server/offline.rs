//! A store that no server uses, for an operator: `--offline`.

use std::sync::Arc;

use super::data_folder::DataFolder;
use super::{Seams, StartError, mail};
use crate::access::{Access, Passwords, Secrets};
use crate::api::operator::{Operator, OperatorParts};
use crate::config::{Settings, StoreKind};
use crate::store::contract::{Records, Store as _, StoreError};
use crate::store::lsm::{LsmSettings, LsmStore};
use crate::store::scylla::schema::SchemaError;
use crate::store::scylla::{Cold, Cql, servers_at_work};

/// An operator alone with a store.
pub struct Offline {
    operator: Operator,
    /// What has to be closed in order.
    embedded: Option<Arc<LsmStore>>,
    /// Held until everything in it is closed.
    _folder: DataFolder,
}

impl Offline {
    /// Opens the store that the settings name. A data folder that is not there is made only if the deployment
    /// `may_be_new`, so that a mistyped one is noticed.
    ///
    /// # Errors
    /// If a server uses the data folder or the keyspace, or something cannot be opened.
    pub async fn open(settings: &Settings, seams: &Seams, may_be_new: bool) -> Result<Self, StartError> {
        // With all secrets configured nothing that a folder would have to hold is needed.
        let secrets = &settings.secrets;
        let needs_folder = settings.store == StoreKind::Embedded
            || secrets.token.is_none()
            || secrets.key_hash.is_none()
            || secrets.sealing.is_empty();
        let folder = if needs_folder && !may_be_new {
            DataFolder::open_existing(&settings.data_folder)?
        } else {
            DataFolder::open(&settings.data_folder)?
        };
        let (store, embedded): (Arc<dyn Records>, _) = match settings.store {
            StoreKind::Embedded => {
                let mut lsm = LsmSettings::at(&folder.path);
                lsm.runs.journal.file_bytes = settings.journal_file_bytes;
                lsm.runs.journal.reserve_bytes = settings.reserve_bytes;
                let store = Arc::new(LsmStore::open(lsm, Arc::clone(&seams.fs)).await?);
                (Arc::clone(&store) as _, Some(store))
            }
            StoreKind::Scylla => {
                let connected = Cql::connect(&settings.scylla, Arc::clone(&seams.clock)).await;
                let cql = Arc::new(connected.map_err(SchemaError::from)?);
                cql.check_schema().await?;
                let servers = servers_at_work(Arc::clone(&cql)).await?;
                if servers > 0 {
                    let keyspace = settings.scylla.keyspace.clone();
                    return Err(StartError::KeyspaceInUse { keyspace, servers });
                }
                (Arc::new(Cold::open(cql).await?), None)
            }
        };
        let secrets = Secrets::load_or_create(&folder.path, settings.secrets.clone())?;
        let clock = Arc::clone(&seams.clock);
        let access =
            Access::new(Arc::clone(&store) as _, Arc::clone(&clock), &secrets, settings.access.clone());
        let operator = Operator::new(OperatorParts {
            store,
            clock,
            access,
            passwords: Passwords::new(settings.access.passwords)?,
            links: mail::links(settings),
            plan: settings.engine.plan,
        });
        Ok(Self { operator, embedded, _folder: folder })
    }

    /// Who is alone with it.
    #[must_use]
    pub const fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Closes the store in order; what was changed is kept even without.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn close(self) -> Result<(), StoreError> {
        match &self.embedded {
            Some(store) => store.shut_down().await,
            None => Ok(()),
        }
    }
}
