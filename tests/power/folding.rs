//! Which thread folds a run, and that it waits for a store that is behind before it gives it more.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use runstream::domain::id::OrgId;
use runstream::store::contract::{Executions, StoreResult};
use runstream::store::lsm::runs::RunStore;
use runstream::store::lsm::runs::rows::{Batch, Row, Rows, Table, Visit};

use super::settings;
use super::world::World;
use crate::support::runs::{Reporter, START_MS, opened, words};

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a thread asked of the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    CatchUp,
    /// Texts are committed, by a thread with this name and this rank.
    Texts(String, Option<u32>),
}

/// Rows that note what is asked of them.
struct Watched {
    world: World,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Rows for Watched {
    fn get(&self, table: Table, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        self.world.get(table, key)
    }

    fn scan(&self, table: Table, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> StoreResult<()> {
        self.world.scan(table, from, to, visit)
    }

    fn last(&self, table: Table, from: &[u8], to: &[u8]) -> StoreResult<Option<Row>> {
        self.world.last(table, from, to)
    }

    fn commit(&self, batch: Batch) -> StoreResult<()> {
        if batch.changes.iter().any(|change| change.table == Table::Texts) {
            let name = std::thread::current().name().unwrap_or_default().to_owned();
            self.asked.lock().unwrap().push(Asked::Texts(name, rank()));
        }
        self.world.commit(batch)
    }

    fn catch_up(&self) -> StoreResult<()> {
        self.asked.lock().unwrap().push(Asked::CatchUp);
        Ok(())
    }

    fn persist(&self) -> StoreResult<()> {
        self.world.persist()
    }
}

/// The number of the calling thread's rank, where there is such a thing.
fn rank() -> Option<u32> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The 41st field; the second is a name in parentheses.
    stat.rsplit(") ").next()?.split(' ').nth(38)?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_folded_behind_everything_else_and_as_fast_as_the_store_writes() {
    let world = World::new(None);
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let rows = Watched { world: world.clone(), asked: Arc::clone(&asked) };
    let store = RunStore::open(settings(), Arc::new(world), Arc::new(rows)).unwrap();
    let mut reporter = Reporter::new(opened(OrgId::from_bytes([7; 12]), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    // More than is committed at once.
    for seed in 0..3 {
        store.append(&reporter.log(words(100_000, seed))).await.unwrap();
    }
    store.close_run(reporter.closed(1)).await.unwrap();
    asked.lock().unwrap().clear();

    let before = rank();
    store.settle(reporter.org(), reporter.id()).await.unwrap();
    assert!(store.whole_text(reporter.org(), reporter.id()).await.unwrap().unwrap().text == reporter.text);
    assert_eq!(rank(), before, "whoever asks keeps its rank");
    // `SCHED_IDLE`.
    let last = before.map(|_| 5);
    let texts = Asked::Texts("folding".to_owned(), last);
    let asked = asked.lock().unwrap().clone();
    assert!(asked.len() > 2, "{asked:?}");
    for pair in asked.chunks(2) {
        assert_eq!(pair, [Asked::CatchUp, texts.clone()], "{asked:?}");
    }
    store.shut_down().await.unwrap();
}

/// Holds up whoever wakes it until it is let go.
struct Held {
    woken: Sender<()>,
    let_go: Mutex<Receiver<()>>,
}

impl Wake for Held {
    fn wake(self: Arc<Self>) {
        self.woken.send(()).unwrap();
        self.let_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_that_a_run_is_folded_may_open_the_store_again() {
    let world = World::new(None);
    let asked = Arc::<Mutex<Vec<Asked>>>::default();
    let rows = Arc::new(Watched { world: world.clone(), asked: Arc::clone(&asked) });
    let store = RunStore::open(settings(), Arc::new(world), rows.clone()).unwrap();
    let mut reporter = Reporter::new(opened(OrgId::from_bytes([7; 12]), START_MS));
    store.open_run(reporter.opened.clone()).await.unwrap();
    store.append(&reporter.log("a line\n")).await.unwrap();
    store.close_run(reporter.closed(1)).await.unwrap();

    let (woken, has_woken) = channel();
    let (let_go, held) = channel();
    let waker = Waker::from(Arc::new(Held { woken, let_go: Mutex::new(held) }));
    let mut context = Context::from_waker(&waker);
    let mut settling = store.settle(reporter.org(), reporter.id());
    // The thread that folds gets no further than the rows until this waits for it.
    let rows_are_kept = asked.lock().unwrap();
    assert!(settling.as_mut().poll(&mut context).is_pending());
    drop(rows_are_kept);
    // It says that it is done, and is held up in doing so.
    has_woken.recv_timeout(PATIENCE).unwrap();
    assert_eq!(settling.as_mut().poll(&mut context), Poll::Ready(Ok(())));
    drop(settling);
    drop(store);
    assert_eq!(Arc::strong_count(&rows), 1, "the thread still holds the store");
    let_go.send(()).unwrap();
}
