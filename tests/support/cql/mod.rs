//! A real CQL server for tests: one node of Apache Cassandra, fetched by its package name once and started by the first
//! test that needs it. It asks for a password and keeps rights, like a cluster in use.
//!
//! It needs Java 17 and Maven. Where they cannot be had, `tests/run` builds with the feature `tests-without-cql-server`,
//! and every test that says so shows as ignored by its name.

mod server;

pub(crate) use server::Server;

use std::sync::{Arc, LazyLock, Mutex};

use runstream::clock::SystemClock;
use runstream::store::scylla::schema::{self, KeyspaceSettings};
use runstream::store::scylla::{Cql, Password, ScyllaSettings};

/// The server that all tests of the process share.
static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(&["-Dcassandra.unsafesystem=true"]));

/// The server that all tests of this process share, each in a keyspace of its own.
pub(crate) async fn server() -> &'static Server {
    tokio::task::spawn_blocking(|| &*SHARED).await.unwrap()
}

/// How its superuser reaches `server`, with a keyspace that is not there yet.
pub(crate) fn settings(server: &Server) -> ScyllaSettings {
    let keyspace = format!("test_{:016x}", rand::random::<u64>());
    let (user, password) = server::SUPERUSER;
    let (user, password) = (Some(user.to_owned()), Some(Password(password.to_owned())));
    ScyllaSettings { user, password, ..ScyllaSettings::at(&[&server.node()], &keyspace) }
}

/// Settings for a keyspace that is new and empty, on the shared server.
pub(crate) async fn empty_keyspace() -> ScyllaSettings {
    let settings = settings(server().await);
    let text = format!(
        "CREATE KEYSPACE {} WITH replication = {{'class': 'NetworkTopologyStrategy', 'datacenter1': 1}}",
        settings.keyspace
    );
    administer(&settings, &[&text]).await;
    settings
}

/// Keyspaces of tests that have ended. A server with hundreds of them has no memory left.
static ENDED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The keyspace of a test: dropped some time after this is.
pub(crate) struct Keyspace(pub(crate) ScyllaSettings);

impl std::ops::Deref for Keyspace {
    type Target = ScyllaSettings;

    fn deref(&self) -> &ScyllaSettings {
        &self.0
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        ENDED.lock().unwrap().push(std::mem::take(&mut self.0.keyspace));
    }
}

/// A keyspace that is new and has the whole schema, on the shared server.
pub(crate) async fn keyspace() -> Keyspace {
    let settings = settings(server().await);
    let ended = std::mem::take(&mut *ENDED.lock().unwrap());
    let drops: Vec<_> = ended.iter().map(|keyspace| format!("DROP KEYSPACE {keyspace}")).collect();
    administer(&settings, &drops.iter().map(String::as_str).collect::<Vec<_>>()).await;
    schema::apply(&settings, &KeyspaceSettings::default(), Arc::new(SystemClock)).await.unwrap();
    Keyspace(settings)
}

/// Settings for a keyspace that has the whole schema, on a server of one's own.
pub(crate) async fn keyspace_on(server: &Server) -> ScyllaSettings {
    let settings = settings(server);
    schema::apply(&settings, &KeyspaceSettings::default(), Arc::new(SystemClock)).await.unwrap();
    settings
}

/// What `runstream.toml` says of a server on this keyspace. Servers that have it know each other's tokens and keys.
pub(crate) fn configuration(settings: &ScyllaSettings) -> String {
    let word = |name: &str, value: Option<&str>| {
        value.map_or_else(String::new, |value| format!("{name} = {value:?}\n"))
    };
    let secret = "of-tests-that-share-a-cluster-1234567890";
    format!(
        "[access]\ntoken_secret = {secret:?}\nkey_hash_secret = {secret:?}\nsealing_keys = [{secret:?}]\n\
         [store]\nkind = \"scylla\"\n[scylla]\nnodes = {:?}\nkeyspace = {:?}\n{}{}{}",
        settings.nodes,
        settings.keyspace,
        word("datacenter", settings.datacenter.as_deref()),
        word("user", settings.user.as_deref()),
        word("password", settings.password.as_ref().map(|password| password.0.as_str())),
    )
}

/// Runs statements as the superuser, without a keyspace.
pub(crate) async fn administer(settings: &ScyllaSettings, statements: &[&str]) {
    let (user, password) = server::SUPERUSER;
    let session = scylla::client::session_builder::SessionBuilder::new()
        .known_nodes(&settings.nodes)
        .user(user, password)
        .build()
        .await
        .unwrap();
    for statement in statements {
        session.query_unpaged(*statement, ()).await.unwrap();
    }
}

/// Connects as a server of ours does.
pub(crate) async fn connect(settings: &ScyllaSettings) -> Cql {
    Cql::connect(settings, Arc::new(SystemClock)).await.unwrap()
}
