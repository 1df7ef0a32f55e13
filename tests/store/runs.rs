//! The part of the suite that is about runs and the feed, on every store that keeps them.

use std::sync::Arc;

use async_trait::async_trait;
use runstream::clock::SystemClock;
use runstream::store::contract::{Executions, FeedLog};
use runstream::store::scylla::runs::{RunSettings, ScyllaRuns};
use runstream::store::scylla::{Cql, LeaseSettings, ScyllaSettings};
use tokio::sync::Mutex;

use super::{LsmHome, ObservedHome};
use crate::support::cql::{self, Keyspace};

/// What the suite needs of a store of runs.
pub(crate) trait RunStore: Executions + FeedLog {}
impl<T: Executions + FeedLog> RunStore for T {}

/// Where a store keeps its runs: opening it twice, one after the other, is a restart.
#[async_trait]
pub(crate) trait RunHome: Send + Sync {
    /// Opens the store. The one opened before must be gone.
    async fn open_runs(&self) -> Arc<dyn RunStore>;

    /// Another, empty one.
    fn another(&self) -> Box<dyn RunHome>;
}

/// The same things of each store that has a [`Home`] of its own.
macro_rules! run_home {
    ($($home:ident),*) => {$(
        #[async_trait]
        impl RunHome for $home {
            async fn open_runs(&self) -> Arc<dyn RunStore> {
                self.open_store().await
            }

            fn another(&self) -> Box<dyn RunHome> {
                Box::new($home::new())
            }
        }
    )*};
}
run_home! { LsmHome, ObservedHome }

/// A keyspace of its own on the tests' CQL server.
#[derive(Default)]
pub(crate) struct CqlHome {
    opened: Mutex<Option<(Keyspace, Arc<ScyllaRuns>)>>,
}

impl CqlHome {
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl RunHome for CqlHome {
    async fn open_runs(&self) -> Arc<dyn RunStore> {
        let mut opened = self.opened.lock().await;
        let keyspace = match opened.take() {
            Some((keyspace, before)) => {
                before.shut_down().await.unwrap();
                keyspace
            }
            None => cql::keyspace().await,
        };
        let runs = open_runs(&keyspace.0, patient()).await;
        *opened = Some((keyspace, Arc::clone(&runs)));
        runs
    }

    fn another(&self) -> Box<dyn RunHome> {
        Box::new(Self::new())
    }
}

/// A lease that a slow machine does not lose.
pub(crate) fn patient() -> RunSettings {
    let seconds = std::time::Duration::from_secs;
    let lease = LeaseSettings { heartbeat: seconds(1), lease: seconds(60), dead_after: seconds(120) };
    RunSettings { lease, ..RunSettings::default() }
}

/// The store of runs in a keyspace.
pub(crate) async fn open_runs(settings: &ScyllaSettings, runs: RunSettings) -> Arc<ScyllaRuns> {
    let cql = Cql::connect(settings, Arc::new(SystemClock)).await.unwrap();
    Arc::new(ScyllaRuns::open(Arc::new(cql), runs).await.unwrap())
}

/// Makes a test on each store of each `async fn name(store: &dyn RunStore)`.
macro_rules! on_each_run_store {
    ($($name:ident),* $(,)?) => {
        crate::store::runs::on_each_run_store! { @on on_lsm crate::store::LsmHome; [$($name),*]; [] }
        crate::store::runs::on_each_run_store! { @on on_observed_lsm crate::store::ObservedHome; [$($name),*]; [] }
        crate::store::runs::on_each_run_store! {
            @on on_cql crate::store::runs::CqlHome; [$($name),*];
            [#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]]
        }
    };
    (@on $module:ident $home:ty; [$($name:ident),*]; $attributes:tt) => {
        mod $module {
            use crate::store::runs::RunHome as _;
            $( crate::store::runs::on_each_run_store! { @test $name, $home, $attributes } )*
        }
    };
    (@test $name:ident, $home:ty, [$(#[$attribute:meta])*]) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        $(#[$attribute])*
        async fn $name() {
            super::$name(&*<$home>::new().open_runs().await).await;
        }
    };
}

/// As [`on_each_run_store`], of each `async fn name(home: &dyn RunHome)`, which may restart the store.
macro_rules! on_each_run_store_across_restarts {
    ($($name:ident),* $(,)?) => {
        mod on_lsm_across_restarts {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name(&crate::store::LsmHome::new()).await;
                }
            )*
        }
        mod on_cql_across_restarts {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                #[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
                async fn $name() {
                    super::$name(&crate::store::runs::CqlHome::new()).await;
                }
            )*
        }
    };
}

pub(crate) use {on_each_run_store, on_each_run_store_across_restarts};
