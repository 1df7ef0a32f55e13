//! A real CQL server for tests: one node of Apache Cassandra, fetched by its package name once and started by the first
//! test that needs it. It asks for a password and keeps rights, like a cluster in use.
//!
//! It needs Java 17 and Maven. Where they cannot be had, `tests/run` builds with the feature `tests-without-cql-server`,
//! and every test that says so shows as ignored by its name.

mod gate;
mod server;
mod wire;

pub(crate) use gate::Gate;
pub(crate) use server::Server;
pub(crate) use wire::{Fault, LATE, Statement, Wire};

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use runstream::clock::SystemClock;
use runstream::store::scylla::schema::{self, KeyspaceSettings, Replication, STEPS, Step};
use runstream::store::scylla::{Cql, Password, ScyllaSettings};
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};

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

/// Keyspaces whose tests have ended well, for the next ones: to make the tables takes the server half a second, to drop a
/// keyspace three, to empty it a tenth of one.
static FREE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The keyspace of a test, which is empty and has the whole schema. Another test may have it after this is dropped.
pub(crate) struct Keyspace(pub(crate) ScyllaSettings);

impl Keyspace {
    /// Its settings, for a test that does to it what no other would expect.
    pub(crate) fn keep(mut self) -> ScyllaSettings {
        let settings = self.0.clone();
        self.0.keyspace.clear();
        settings
    }
}

impl std::ops::Deref for Keyspace {
    type Target = ScyllaSettings;

    fn deref(&self) -> &ScyllaSettings {
        &self.0
    }
}

impl Drop for Keyspace {
    fn drop(&mut self) {
        if !std::thread::panicking() && !self.0.keyspace.is_empty() {
            FREE.lock().unwrap().push(std::mem::take(&mut self.0.keyspace));
        }
    }
}

/// A keyspace that is empty and has the whole schema, on the shared server.
pub(crate) async fn keyspace() -> Keyspace {
    let settings = settings(server().await);
    let free = FREE.lock().unwrap().pop();
    if let Some(keyspace) = free {
        let settings = ScyllaSettings { keyspace, ..settings };
        empty(&settings).await;
        return Keyspace(settings);
    }
    schema::apply(&settings, &KeyspaceSettings::default(), Arc::new(SystemClock)).await.unwrap();
    Keyspace(settings)
}

/// Empties all tables but those of the schema itself.
async fn empty(settings: &ScyllaSettings) {
    let statements = STEPS.iter().flat_map(Step::statements);
    let tables = statements.map(|statement| {
        let named = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ").unwrap();
        let name: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        format!("TRUNCATE {}.{name}", settings.keyspace)
    });
    let truncates: Vec<String> = tables.collect();
    administer(settings, &truncates.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

/// Settings for a keyspace that has the whole schema, on three nodes of which each has everything.
pub(crate) async fn keyspace_on_three(servers: &[Server]) -> ScyllaSettings {
    let nodes = servers.iter().map(Server::node).collect();
    let settings = ScyllaSettings { nodes, ..settings(&servers[0]) };
    schema::apply(&settings, &KeyspaceSettings::default(), Arc::new(SystemClock)).await.unwrap();
    settings
}

/// The same with each partition on one node only.
pub(crate) async fn keyspace_of_single_copies(servers: &[Server]) -> ScyllaSettings {
    let nodes = servers.iter().map(Server::node).collect();
    let settings = ScyllaSettings { nodes, ..settings(&servers[0]) };
    let replication = vec![Replication { datacenter: "datacenter1".to_owned(), replicas: 1 }];
    let copies = KeyspaceSettings { replication, ..KeyspaceSettings::default() };
    schema::apply(&settings, &copies, Arc::new(SystemClock)).await.unwrap();
    settings
}

/// Settings of a server in `dc1` for a keyspace that has the whole schema, once in each of two datacenters.
pub(crate) async fn keyspace_in_two_datacenters(servers: &[Server]) -> ScyllaSettings {
    let (nodes, datacenter) = (servers.iter().map(Server::node).collect(), Some("dc1".to_owned()));
    let settings = ScyllaSettings { nodes, datacenter, ..settings(&servers[0]) };
    let replication = ["dc1", "dc2"].map(|name| Replication { datacenter: name.to_owned(), replicas: 1 });
    let copies = KeyspaceSettings { replication: replication.into(), ..KeyspaceSettings::default() };
    schema::apply(&settings, &copies, Arc::new(SystemClock)).await.unwrap();
    settings
}

/// What a node has been asked over the connections that it has now, those of whoever asks this among them.
pub(crate) async fn requests(server: &Server) -> i64 {
    let session = SessionBuilder::new().known_node(server.node()).fetch_schema_metadata(false);
    let session = session.build().await.unwrap();
    let mut counts = scylla::statement::unprepared::Statement::new(
        "SELECT CAST(request_count AS bigint) FROM system_views.clients",
    );
    counts.set_consistency(scylla::statement::Consistency::One);
    let address = server.node().parse().unwrap();
    let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::NodeAddress(address), None);
    counts.set_load_balancing_policy(Some(only));
    let counts = session.query_unpaged(counts, ()).await.unwrap().into_rows_result().unwrap();
    counts.rows::<(i64,)>().unwrap().map(|row| row.unwrap().0).sum()
}

/// `host:port` of the node that has each of these partitions of a table whose partitions are of one byte.
pub(crate) async fn owners_of(
    settings: &ScyllaSettings,
    table: &str,
    partitions: impl Iterator<Item = u8>,
) -> Vec<(u8, String)> {
    let session = SessionBuilder::new().known_nodes(&settings.nodes).keyspaces_to_fetch([&settings.keyspace]);
    let session = session.build().await.unwrap();
    let cluster = session.get_cluster_state();
    let owner = |part: u8| {
        let owners = cluster.get_endpoints(&settings.keyspace, table, &(vec![part],)).unwrap();
        assert_eq!(owners.len(), 1);
        owners[0].0.address.to_string()
    };
    partitions.map(|part| (part, owner(part))).collect()
}

/// Waits until each of several nodes finds all others alive: one of them writes what all have to keep.
///
/// # Panics
/// If it takes longer than a minute.
pub(crate) async fn have_met(settings: &ScyllaSettings, servers: &[Server]) {
    let begun = Instant::now();
    let session = SessionBuilder::new().known_nodes(&settings.nodes).fetch_schema_metadata(false);
    let session = session.build().await.unwrap();
    let mut put = scylla::statement::unprepared::Statement::new(format!(
        "INSERT INTO {}.run_window (org, time_window) VALUES (0x00, 0)",
        settings.keyspace
    ));
    put.set_consistency(scylla::statement::Consistency::All);
    for server in servers {
        let address = server.node().parse().unwrap();
        let only = SingleTargetLoadBalancingPolicy::new(NodeIdentifier::NodeAddress(address), None);
        put.set_load_balancing_policy(Some(only));
        while let Err(error) = session.query_unpaged(put.clone(), ()).await {
            assert!(begun.elapsed() < Duration::from_secs(60), "{address} does not find the others: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
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
         [store]\nkind = \"scylla\"\n[scylla]\nnodes = {:?}\nkeyspace = {:?}\napply_schema = {}\n{}{}{}",
        settings.nodes,
        settings.keyspace,
        settings.apply_schema,
        word("datacenter", settings.datacenter.as_deref()),
        word("user", settings.user.as_deref()),
        word("password", settings.password.as_ref().map(|password| password.0.as_str())),
    )
}

/// Runs statements as the superuser, without a keyspace.
pub(crate) async fn administer(settings: &ScyllaSettings, statements: &[&str]) {
    let session = superuser(settings).await;
    for statement in statements {
        session.query_unpaged(*statement, ()).await.unwrap();
    }
}

/// Writes rows of one kind into the partition of an organization, as the superuser: keys and values.
pub(crate) async fn put_rows(
    settings: &ScyllaSettings,
    org: &[u8],
    kind: &str,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
) {
    let session = superuser(settings).await;
    let put =
        format!("INSERT INTO {}.org_data (org, kind, key, value) VALUES (?, ?, ?, ?)", settings.keyspace);
    let put = session.prepare(put).await.unwrap();
    let putting = rows.into_iter().map(|(key, value)| session.execute_unpaged(&put, (org, kind, key, value)));
    futures_util::future::try_join_all(putting).await.unwrap();
}

/// Whether a statement finds a row, asked as the superuser.
pub(crate) async fn finds(settings: &ScyllaSettings, statement: &str) -> bool {
    let found = superuser(settings).await.query_unpaged(statement, ()).await.unwrap();
    found.into_rows_result().unwrap().rows_num() > 0
}

/// The seconds that are left to what a statement finds, asked as the superuser; `None` where it stays for ever.
pub(crate) async fn ttls(settings: &ScyllaSettings, statement: &str) -> Vec<Option<i32>> {
    let found = superuser(settings).await.query_unpaged(statement, ()).await.unwrap();
    let found = found.into_rows_result().unwrap();
    found.rows::<(Option<i32>,)>().unwrap().map(|row| row.unwrap().0).collect()
}

/// Says of every node of a keyspace that it is dead.
pub(crate) async fn fence_nodes(settings: &ScyllaSettings) {
    for node in nodes(settings).await {
        fence_node(settings, node).await;
    }
}

/// Says of one node of a keyspace that it is dead.
pub(crate) async fn fence_node(settings: &ScyllaSettings, node: uuid::Uuid) {
    let table = format!("{}.node", settings.keyspace);
    let fence = format!("UPDATE {table} SET is_fenced = true WHERE incarnation = ? IF is_fenced = false");
    superuser(settings).await.query_unpaged(fence, (node,)).await.unwrap();
}

/// The nodes of a keyspace, dead ones too.
pub(crate) async fn nodes(settings: &ScyllaSettings) -> Vec<uuid::Uuid> {
    let all = format!("SELECT incarnation FROM {}.node", settings.keyspace);
    let nodes = superuser(settings).await.query_unpaged(all, ()).await.unwrap().into_rows_result().unwrap();
    nodes.rows::<(uuid::Uuid,)>().unwrap().map(|row| row.unwrap().0).collect()
}

/// Does this while the heartbeats of all nodes of a keyspace are seen to rise, even of those that send none.
pub(crate) async fn while_all_beat<T>(settings: &ScyllaSettings, act: impl Future<Output = T>) -> T {
    let session = superuser(settings).await;
    let nodes = nodes(settings).await;
    let table = format!("{}.node", settings.keyspace);
    let beat = format!("UPDATE {table} SET heartbeat = ? WHERE incarnation = ? IF is_fenced = false");
    let beating = async {
        for number in 1_000_i64.. {
            for node in &nodes {
                session.query_unpaged(beat.as_str(), (number, node)).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        done = act => done,
        () = beating => unreachable!("heartbeats rise for ever"),
    }
}

async fn superuser(settings: &ScyllaSettings) -> scylla::client::session::Session {
    let (user, password) = server::SUPERUSER;
    let session =
        SessionBuilder::new().known_nodes(&settings.nodes).user(user, password).fetch_schema_metadata(false);
    session.build().await.unwrap()
}

/// Connects as a server of ours does.
pub(crate) async fn connect(settings: &ScyllaSettings) -> Cql {
    Cql::connect(settings, Arc::new(SystemClock)).await.unwrap()
}
