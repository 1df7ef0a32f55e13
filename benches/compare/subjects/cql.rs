//! A real CQL server, started as the tests start theirs, and what the bare driver does with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use tokio::runtime::Runtime;

use super::tests_cql::{self, Server};
use runstream::store::scylla::ScyllaSettings;

/// A server with a keyspace that has the tables.
pub(crate) struct Cluster {
    pub(crate) settings: ScyllaSettings,
    runtime: Runtime,
    session: Arc<Session>,
    server: Server,
}

/// What was written in a stretch.
pub(crate) struct Written {
    pub(crate) rows: u64,
    pub(crate) took: Duration,
    latencies: Vec<Duration>,
}

impl Written {
    /// Rows a second.
    pub(crate) fn rate(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64()
    }

    /// The latency that `share` of the rows kept below.
    pub(crate) fn latency(&mut self, share: f64) -> Duration {
        self.latencies.sort_unstable();
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies[at.min(self.latencies.len() - 1)]
    }
}

impl Cluster {
    /// A new, empty one with further options of its virtual machine.
    pub(crate) fn start(options: &[&str]) -> Self {
        let server = Server::start(&[&["-Dcassandra.unsafesystem=true"], options].concat());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = runtime.block_on(Box::pin(tests_cql::keyspace_on(&server)));
        let session = runtime.block_on(async {
            let password = settings.password.as_ref().map_or("", |password| password.0.as_str());
            let user = settings.user.as_deref().unwrap_or_default();
            let building = SessionBuilder::new().known_nodes(&settings.nodes).user(user, password);
            let session = building.use_keyspace(&settings.keyspace, true).build().await.unwrap();
            let rows = "CREATE TABLE one_row_an_event (execution blob, part int, seq bigint, event blob, \
                        PRIMARY KEY ((execution, part), seq))";
            session.query_unpaged(rows, ()).await.unwrap();
            Arc::new(session)
        });
        Self { settings, runtime, session, server }
    }

    /// Bytes of the files of some tables, after what was in memory has been written to them.
    pub(crate) fn bytes_on_disk(&self, tables: &[&str]) -> u64 {
        self.flush_every_ms(tables, 500);
        std::thread::sleep(Duration::from_secs(3));
        self.flush_every_ms(tables, 0);
        let kept = self.server.certificate().with_file_name("data").join(&self.settings.keyspace);
        let folders = std::fs::read_dir(kept).unwrap().map(|entry| entry.unwrap());
        let chosen = folders.filter(|folder| {
            let name = folder.file_name().into_string().unwrap();
            name.split_once('-').is_some_and(|(table, _)| tables.contains(&table))
        });
        let files = chosen.flat_map(|folder| std::fs::read_dir(folder.path()).unwrap());
        files
            .map(|file| file.unwrap().metadata().unwrap())
            .filter(|file| file.is_file())
            .map(|file| file.len())
            .sum()
    }

    fn flush_every_ms(&self, tables: &[&str], period_ms: u32) {
        for table in tables {
            let altered = format!("ALTER TABLE {table} WITH memtable_flush_period_in_ms = {period_ms}");
            self.runtime.block_on(self.session.query_unpaged(altered, ())).unwrap();
        }
    }

    /// How many runs are not settled.
    pub(crate) fn unsettled(&self) -> usize {
        self.rows("SELECT shard FROM run_unsettled")
    }

    /// How many segments there are.
    pub(crate) fn segments(&self) -> usize {
        self.rows("SELECT seq FROM run_segment")
    }

    fn rows(&self, statement: &str) -> usize {
        let found = self.runtime.block_on(self.session.query_unpaged(statement, ()));
        found.unwrap().into_rows_result().unwrap().rows_num()
    }

    /// Facts and data of the longest of some segments that the engine wrote.
    pub(crate) fn a_segment(&self) -> (Vec<u8>, Vec<u8>) {
        self.runtime.block_on(async {
            let found = self.session.query_unpaged("SELECT facts, data FROM run_segment LIMIT 50", ()).await;
            let rows = found.unwrap().into_rows_result().unwrap();
            let rows = rows.rows::<(Vec<u8>, Vec<u8>)>().unwrap().map(Result::unwrap);
            rows.max_by_key(|(_, data)| data.len()).expect("the engine has written segments")
        })
    }

    /// Inserts the same segment again and again, `parallel` at a time, each of its writers into a run of its own.
    pub(crate) fn insert_segments(
        &self,
        (facts, data): &(Vec<u8>, Vec<u8>),
        parallel: usize,
        duration: Duration,
    ) -> Written {
        let text =
            "INSERT INTO run_segment (execution, hour, epoch, seq, facts, data) VALUES (?, ?, ?, ?, ?, ?)";
        self.write(text, parallel, duration, move |session, statement, execution, seq| {
            let (facts, data) = (facts.clone(), data.clone());
            async move {
                session
                    .execute_unpaged(&statement, (execution, 1, 1, seq, facts, data))
                    .await
                    .map(drop)
                    .unwrap()
            }
        })
    }

    /// Inserts one event of `bytes` a row, `parallel` at a time.
    pub(crate) fn insert_events(&self, bytes: usize, parallel: usize, duration: Duration) -> Written {
        let text = "INSERT INTO one_row_an_event (execution, part, seq, event) VALUES (?, ?, ?, ?)";
        self.write(text, parallel, duration, move |session, statement, execution, seq| {
            let event = vec![b'e'; bytes];
            async move { session.execute_unpaged(&statement, (execution, 1, seq, event)).await.map(drop).unwrap() }
        })
    }

    fn write<F>(
        &self,
        text: &str,
        parallel: usize,
        duration: Duration,
        one: impl Fn(Arc<Session>, PreparedStatement, Vec<u8>, i64) -> F,
    ) -> Written
    where
        F: Future<Output = ()>,
    {
        static RUNS: AtomicU64 = AtomicU64::new(1);
        self.runtime.block_on(async {
            let mut statement = self.session.prepare(text).await.unwrap();
            statement.set_consistency(Consistency::LocalQuorum);
            statement.set_is_idempotent(true);
            let begun = Instant::now();
            let writers = (0..parallel).map(|_| {
                let run = RUNS.fetch_add(1, Ordering::Relaxed);
                let execution = [[0_u8; 4].as_slice(), &run.to_be_bytes()].concat();
                let (one, statement) = (&one, &statement);
                async move {
                    let mut latencies = Vec::new();
                    for seq in 1.. {
                        let sent = Instant::now();
                        one(Arc::clone(&self.session), statement.clone(), execution.clone(), seq).await;
                        latencies.push(sent.elapsed());
                        if begun.elapsed() >= duration {
                            break;
                        }
                    }
                    latencies
                }
            });
            let latencies = futures_util::future::join_all(writers).await.concat();
            Written { rows: latencies.len() as u64, took: begun.elapsed(), latencies }
        })
    }
}
