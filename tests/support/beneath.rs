//! The store under a whole server: the parameter of tests that are run on each.

use std::path::Path;
use std::sync::Arc;

use runstream::config::{Settings, StoreKind};
use runstream::fs::OsFs;
use runstream::store::contract::Store;
use runstream::store::lsm::{LsmSettings, LsmStore};
use runstream::store::scylla::ScyllaStore;
use runstream::store::scylla::runs::RunSettings;

use super::cql::{self, Keyspace};

/// The store under a server, empty at first.
pub(crate) enum Beneath {
    /// The embedded one, in the server's folder.
    Lsm,
    /// A keyspace of the CQL server that the tests share.
    Scylla(Box<Keyspace>),
}

impl Beneath {
    /// On the CQL server.
    pub(crate) async fn scylla() -> Self {
        Self::Scylla(Box::new(cql::keyspace().await))
    }

    /// Whether every step of it is a round trip to a database.
    pub(crate) fn is_scylla(&self) -> bool {
        matches!(self, Self::Scylla(_))
    }

    /// Sets a server of this process up for it.
    pub(crate) fn choose(&self, settings: &mut Settings) {
        if let Self::Scylla(keyspace) = self {
            settings.store = StoreKind::Scylla;
            settings.scylla = keyspace.0.clone();
        }
    }

    /// What a server in `folder` that has ended in order left.
    pub(crate) async fn open(&self, folder: &Path) -> Arc<dyn Store> {
        match self {
            Self::Lsm => Arc::new(LsmStore::open(LsmSettings::at(folder), Arc::new(OsFs)).await.unwrap()),
            Self::Scylla(keyspace) => {
                let cql = Arc::new(cql::connect(keyspace).await);
                Arc::new(ScyllaStore::open(cql, RunSettings::default()).await.unwrap())
            }
        }
    }

    /// Writes what a server that is started in `folder` reads.
    pub(crate) fn configure(&self, folder: &Path) {
        if let Self::Scylla(keyspace) = self {
            std::fs::write(folder.join("runstream.toml"), cql::configuration(keyspace)).unwrap();
        }
    }
}

/// Makes `on_lsm::name` and `on_scylla::name` of each `async fn name(beneath: &Beneath)`.
macro_rules! on_each_store_beneath {
    ($($name:ident),* $(,)?) => {
        mod on_lsm {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(&crate::support::beneath::Beneath::Lsm).await;
                }
            )*
        }
        mod on_scylla {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
                async fn $name() {
                    super::$name(&crate::support::beneath::Beneath::scylla().await).await;
                }
            )*
        }
    };
}

pub(crate) use on_each_store_beneath;
