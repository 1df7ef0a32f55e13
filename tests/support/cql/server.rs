//! One server process: its settings file, its start, its end.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use scylla::client::session_builder::SessionBuilder;

/// A start takes about ten seconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// Who may do everything on it.
pub(super) const SUPERUSER: (&str, &str) = ("cassandra", "cassandra");
/// Protects nothing: the key store's format wants one.
const KEYS_PASSWORD: &str = "runstream";
/// Between two looks at whether it is up.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Bytes of its log that are shown when it does not come up.
const LOG_SHOWN_BYTES: i64 = 4_000;

/// One server process. It is killed (`kill -9`) when this is dropped, or when the test process is gone.
pub(crate) struct Server {
    folder: PathBuf,
    address: Ipv4Addr,
    ports: Ports,
    /// Where it stands in a cluster of several, which asks for no password.
    place: Option<Place>,
    options: Vec<String>,
    /// Its standard input is what keeps the server alive.
    launcher: Option<Child>,
}

/// The place of one node of several.
#[derive(Clone, Copy)]
struct Place {
    /// On the ring.
    token: i64,
    /// Nodes of the cluster, on as many loopback addresses.
    nodes: u8,
    /// Its datacenter, in a cluster that has several.
    datacenter: Option<&'static str>,
}

#[derive(Clone, Copy)]
struct Ports {
    clients: u16,
    nodes: u16,
}

impl Server {
    /// A new, empty server with further options of its virtual machine.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, free_ports(), None, options)
    }

    /// Three new, empty servers that are one cluster, each on a loopback address of its own.
    pub(crate) fn start_three() -> Vec<Self> {
        // Evenly around the ring.
        let tokens = [i64::MIN, i64::MIN / 3, i64::MAX / 3];
        Self::start_cluster(&tokens.map(|token| Place { token, nodes: 3, datacenter: None }))
    }

    /// Two new, empty servers that are one cluster, each in a datacenter of its own: `dc1` and `dc2`.
    pub(crate) fn start_two_datacenters() -> Vec<Self> {
        let places = [(i64::MIN, "dc1"), (0, "dc2")];
        Self::start_cluster(&places.map(|(token, name)| Place { token, nodes: 2, datacenter: Some(name) }))
    }

    fn start_cluster(places: &[Place]) -> Vec<Self> {
        let ports = lasting_ports();
        let servers = places.iter().zip(1..).map(|(place, last)| {
            let address = Ipv4Addr::new(127, 0, 0, last);
            Self::start_at(address, ports, Some(*place), &["-Dcassandra.ring_delay_ms=1000"])
        });
        let servers: Vec<_> = servers.collect();
        let begun = Instant::now();
        for server in &servers {
            while !server.sees(servers.len() - 1) {
                assert!(begun.elapsed() < PATIENCE, "the nodes do not meet:\n{}", server.log_end());
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        servers
    }

    /// Whether it has met so many others, and found them alive.
    fn sees(&self, others: usize) -> bool {
        let log = std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default();
        let met = log.lines().filter(|line| line.ends_with("is now UP"));
        met.filter_map(|line| line.split_whitespace().rev().nth(3)).collect::<HashSet<_>>().len() >= others
    }

    fn start_at(address: Ipv4Addr, ports: Ports, place: Option<Place>, options: &[&str]) -> Self {
        let folder =
            tempfile::Builder::new().prefix("cql-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
        std::fs::write(folder.join("remove-at-end"), "").unwrap();
        let mut options: Vec<_> = options.iter().map(ToString::to_string).collect();
        options.push(format!("-Dcassandra-rackdc.properties=file://{}/rackdc.properties", folder.display()));
        let mut server = Self { folder, address, ports, place, options, launcher: None };
        server.make_certificate();
        server.write_settings();
        server.start_again();
        server
    }

    /// `host:port` of its door for clients.
    pub(crate) fn node(&self) -> String {
        format!("{}:{}", self.address, self.ports.clients)
    }

    /// The certificate with which it answers [`Server::client`] over TLS; anybody is answered without.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("node.pem")
    }

    /// Certificate and key of the only client that it talks TLS with.
    pub(crate) fn client() -> [PathBuf; 2] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cql");
        [folder.join("client.pem"), folder.join("client.key")]
    }

    /// Kills it as `kill -9` does. What it keeps stays, for [`Server::start_again`].
    pub(crate) fn kill(&mut self) {
        std::fs::remove_file(self.folder.join("remove-at-end")).unwrap_or_default();
        self.end();
    }

    /// Sends it a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let process = std::fs::read_to_string(self.folder.join("pid")).unwrap();
        let sent = Command::new("kill").args(["-s", name, process.trim()]).status().unwrap();
        assert!(sent.success(), "{name} {process}");
    }

    /// Starts it on the same data and ports, and waits until clients can sign in. If it still runs it is killed before.
    pub(crate) fn start_again(&mut self) {
        self.kill();
        std::fs::write(self.folder.join("remove-at-end"), "").unwrap();
        let launcher = Command::new(here().join("launch.sh"))
            .arg(jars())
            .arg(&self.folder)
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.launcher = Some(launcher);
        let begun = Instant::now();
        while !self.is_up() {
            assert!(begun.elapsed() < PATIENCE, "the CQL server does not come up:\n{}", self.log_end());
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Whether its superuser can sign in: it listens before that role is there.
    fn is_up(&self) -> bool {
        if TcpStream::connect(self.node()).is_err() {
            return false;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (user, password) = SUPERUSER;
        let signing_in =
            SessionBuilder::new().known_node(self.node()).user(user, password).fetch_schema_metadata(false);
        runtime.block_on(signing_in.build()).is_ok()
    }

    fn end(&mut self) {
        if let Some(mut launcher) = self.launcher.take() {
            drop(launcher.stdin.take());
            drop(launcher.wait());
        }
    }

    fn log_end(&self) -> String {
        let mut text = String::new();
        if let Ok(mut log) = std::fs::File::open(self.folder.join("server.log")) {
            drop(log.seek(SeekFrom::End(-LOG_SHOWN_BYTES)));
            drop(log.read_to_string(&mut text));
        }
        text
    }

    /// A key pair for this address, signed by itself, and the client that is trusted, by the tool that comes with Java.
    fn make_certificate(&self) {
        let keys = self.folder.join("keys.p12").into_os_string().into_string().unwrap();
        let certificate = self.certificate().into_os_string().into_string().unwrap();
        let store =
            ["-alias", "node", "-storetype", "PKCS12", "-storepass", KEYS_PASSWORD, "-keystore", &keys];
        let pair = ["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=127.0.0.1"];
        let names = ["-ext", "san=ip:127.0.0.1", "-validity", "30"];
        let export = ["-exportcert", "-rfc", "-file", &certificate];
        let trust = self.folder.join("trust.p12").into_os_string().into_string().unwrap();
        let [client, _] = Self::client().map(|file| file.into_os_string().into_string().unwrap());
        let import = ["-importcert", "-noprompt", "-alias", "client", "-file", &client];
        let trusted = ["-storetype", "PKCS12", "-storepass", KEYS_PASSWORD, "-keystore", &trust];
        for arguments in [
            [&store[..], &pair, &names].concat(),
            [&store[..], &export].concat(),
            [&import[..], &trusted].concat(),
        ] {
            let made = Command::new("keytool").args(arguments).stdin(Stdio::null()).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        }
    }

    fn write_settings(&self) {
        let Ports { clients, nodes } = self.ports;
        let (folder, address) = (self.folder.display(), self.address);
        // Of several each is one: any of them may be the first that comes back.
        let seeds = 1..=self.place.map_or(1, |place| place.nodes);
        let seeds: Vec<String> = seeds.map(|last| format!("127.0.0.{last}:{nodes}")).collect();
        let seeds = seeds.join(",");
        let datacenter = self.place.and_then(|place| place.datacenter);
        let snitch = if datacenter.is_some() { "GossipingPropertyFileSnitch" } else { "SimpleSnitch" };
        let rack = format!("dc={}\nrack=rack1\n", datacenter.unwrap_or("datacenter1"));
        std::fs::write(self.folder.join("rackdc.properties"), rack).unwrap();
        let place = match self.place {
            Some(Place { token, .. }) => format!("initial_token: {token}\nauto_bootstrap: false"),
            None => "authenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer".to_owned(),
        };
        let settings = format!(
            "cluster_name: runstream-tests
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: \"{seeds}\"}}]
listen_address: {address}
rpc_address: {address}
storage_port: {nodes}
native_transport_port: {clients}
endpoint_snitch: {snitch}
{place}
commitlog_sync: batch
commitlog_directory: {folder}/commitlog
data_file_directories: [{folder}/data]
hints_directory: {folder}/hints
saved_caches_directory: {folder}/saved_caches
cdc_raw_directory: {folder}/cdc
auto_snapshot: false
client_encryption_options:
  enabled: true
  optional: true
  keystore: {folder}/keys.p12
  keystore_password: {KEYS_PASSWORD}
  require_client_auth: true
  truststore: {folder}/trust.p12
  truststore_password: {KEYS_PASSWORD}
"
        );
        std::fs::write(self.folder.join("cassandra.yaml"), settings).unwrap();
        let logging = "<configuration><appender name=\"OUT\" class=\"ch.qos.logback.core.ConsoleAppender\"><encoder>\
             <pattern>%d %-5level %logger{20} %msg%n</pattern></encoder></appender>\
             <root level=\"INFO\"><appender-ref ref=\"OUT\"/></root></configuration>\n";
        std::fs::write(self.folder.join("logback.xml"), logging).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/cql")
}

/// The folder of its jars, fetched if they are not there yet.
fn jars() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("cql-server");
    let fetched = Command::new(here().join("fetch.sh")).arg(&folder).stdin(Stdio::null()).output().unwrap();
    assert!(
        fetched.status.success(),
        "the CQL server cannot be fetched; it takes Java 17 and Maven, and `tests/run` goes without:\n{}{}",
        String::from_utf8_lossy(&fetched.stdout),
        String::from_utf8_lossy(&fetched.stderr),
    );
    folder.join("lib")
}

/// Two ports that were free a moment ago.
fn free_ports() -> Ports {
    let [clients, nodes] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    Ports { clients: port(&clients), nodes: port(&nodes) }
}

/// Two ports that are free on the addresses of three nodes, below those that the system hands out by itself: a node that
/// is down finds them free when it comes back.
fn lasting_ports() -> Ports {
    let is_free =
        |port: &u16| (1..4).all(|last| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), *port)).is_ok());
    let mut free = std::iter::repeat_with(|| rand::random_range(10_000..32_000)).filter(is_free);
    Ports { clients: free.next().unwrap(), nodes: free.next().unwrap() }
}
