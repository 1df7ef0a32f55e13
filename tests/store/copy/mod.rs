//! Copying a store: random content into the other store and back, cut off anywhere, damaged, in use.

pub(crate) mod filled;
mod moves;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use runstream::clock::{Clock, SystemClock, UnixMs};
use runstream::fs::OsFs;
use runstream::store::contract::{Store, StoreError};
use runstream::store::copy::{Copied, CopyError, Kind, Side, Watch, copy};
use runstream::store::lsm::{LsmSettings, LsmStore};
use runstream::store::scylla::runs::RunSettings;
use runstream::store::scylla::{Cql, ScyllaSettings, ScyllaStore};
use tokio::sync::Notify;

use self::filled::{answers, fill, goes_on};
use crate::support::cql;

const DAY_MS: UnixMs = 86_400_000;

/// Ends a copy after so many records, at whatever it waits for next.
struct Cut {
    after: u64,
    reached: Notify,
}

impl Cut {
    fn after(after: u64) -> Self {
        Self { after, reached: Notify::new() }
    }
}

impl Watch for Cut {
    fn copied(&self, records: u64) {
        if records >= self.after {
            self.reached.notify_one();
        }
    }

    fn compared(&self, _records: u64) {}
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn copied(from: &Side, to: &Side) -> Result<Copied, CopyError> {
    Box::pin(copy(from, to, &clock(), &Cut::after(u64::MAX))).await
}

/// Copies until `after` records are there; `None` if it was cut off.
pub(crate) async fn cut_off(from: &Side, to: &Side, after: u64) -> Option<Copied> {
    let cut = Cut::after(after);
    let clock = clock();
    let done = {
        let copying = Box::pin(copy(from, to, &clock, &cut));
        tokio::select! {
            biased;
            () = cut.reached.notified() => None,
            done = copying => Some(done.unwrap()),
        }
    };
    for side in [from, to] {
        let_go(side).await;
    }
    done
}

/// Waits until a folder is free: what was cut off finishes the step that it was at.
async fn let_go(side: &Side) {
    let Side::Embedded(settings) = side else { return };
    for _ in 0..500 {
        match open(&Side::Embedded(settings.clone())).await {
            Ok(store) => return store.shut_down().await.unwrap(),
            Err(error) if error.to_string().contains("runstream store copy") => return,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    panic!("{side} stays locked");
}

pub(crate) fn folder(path: &Path) -> Side {
    Side::Embedded(LsmSettings::at(path))
}

pub(crate) fn keyspace(settings: &ScyllaSettings) -> Side {
    Side::Cluster(Box::new(settings.clone()))
}

pub(crate) async fn open(side: &Side) -> Result<Arc<dyn Store>, StoreError> {
    match side {
        Side::Embedded(settings) => Ok(Arc::new(LsmStore::open(settings.clone(), Arc::new(OsFs)).await?)),
        Side::Cluster(settings) => {
            let cql = Box::pin(Cql::connect(settings, clock())).await.unwrap();
            Ok(Arc::new(Box::pin(ScyllaStore::open(Arc::new(cql), RunSettings::default())).await?))
        }
    }
}

/// Why a store is not opened; a lock that is just being let go of is waited for.
async fn refusal(side: &Side) -> String {
    let_go(side).await;
    open(side).await.err().expect("it is refused").to_string()
}

fn assert_same(found: &[String], wanted: &[String], which: &str) {
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted, "{which}");
    }
    assert_eq!(found.len(), wanted.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_folder_goes_to_a_cluster_and_from_there_to_a_folder_and_everything_is_there() {
    let data = tempfile::tempdir().unwrap();
    let [first, last] = ["first", "last"].map(|name| folder(&data.path().join(name)));
    let settings = cql::keyspace().await;
    let cluster = keyspace(&settings.0);
    let store = open(&first).await.unwrap();
    let mut filled = Box::pin(fill(&*store, 8, SystemClock.now_ms())).await;
    let wanted = answers(&*store, &filled).await;

    let used = copied(&first, &cluster).await;
    assert!(matches!(used, Err(CopyError::Store(StoreError::Unavailable(_)))), "{used:?}");
    store.shut_down().await.unwrap();
    drop(store);
    let there = copied(&first, &cluster).await.unwrap();
    for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Quarantined) {
        assert!(there.tally.of(*kind).records > 0, "{kind:?}: nothing was there to be copied");
    }
    // Three that are as good as forgotten stay behind, and the reset of one who has moved.
    assert_eq!(there.tally.of(Kind::Invitation).records, 10);
    assert_eq!(there.tally.of(Kind::Reset).records, 3);
    let again = copied(&first, &cluster).await;
    assert!(matches!(again, Err(CopyError::NotEmpty(_))), "{again:?}");

    let store = open(&cluster).await.unwrap();
    assert_same(&answers(&*store, &filled).await, &wanted, "on the cluster");
    let used = copied(&cluster, &last).await;
    assert!(matches!(used, Err(CopyError::InUse(_))), "{used:?}");
    let used = copied(&first, &cluster).await;
    assert!(matches!(used, Err(CopyError::InUse(_))), "{used:?}");
    store.shut_down().await.unwrap();
    drop(store);

    let back = copied(&cluster, &last).await.unwrap();
    let store = open(&last).await.unwrap();
    assert_same(&answers(&*store, &filled).await, &wanted, "back in a folder");
    goes_on(&*store, &mut filled).await;
    assert_eq!(back.tally.of(Kind::Text), there.tally.of(Kind::Text));
    let store = open(&cluster).await.unwrap();
    goes_on(&*store, &mut filled).await;
    store.shut_down().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_that_is_cut_off_anywhere_goes_on_and_doubles_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (seeds, step) = if crate::support::long_mode() { (0..6, 7) } else { (2..3, 131) };
    for seed in seeds {
        let [from, to] = ["from", "to"].map(|name| folder(&data.path().join(format!("{name}-{seed}"))));
        let store = open(&from).await.unwrap();
        let mut filled = Box::pin(fill(&*store, seed, SystemClock.now_ms())).await;
        let wanted = answers(&*store, &filled).await;
        store.shut_down().await.unwrap();
        drop(store);
        let mut after = 0;
        let done = loop {
            if let Some(done) = cut_off(&from, &to, after).await {
                break done;
            }
            let refused = refusal(&to).await;
            assert!(refused.contains("runstream store copy"), "{refused}");
            after += step;
        };
        assert!(done.is_resumed && after > step, "{after}");
        let store = open(&to).await.unwrap();
        assert_same(&answers(&*store, &filled).await, &wanted, &format!("seed {seed}"));
        goes_on(&*store, &mut filled).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn damage_in_the_target_is_found_by_its_kind_and_a_source_that_moved_on_too() {
    let data = tempfile::tempdir().unwrap();
    let (from, settings) = (folder(&data.path().join("from")), cql::keyspace().await);
    let cluster = keyspace(&settings.0);
    let store = open(&from).await.unwrap();
    let filled = Box::pin(fill(&*store, 1, SystemClock.now_ms())).await;
    store.shut_down().await.unwrap();
    drop(store);
    // Everything is there, and nothing compared.
    let wanted = {
        let other = folder(&data.path().join("other"));
        copied(&from, &other).await.unwrap().tally
    };
    assert_eq!(cut_off(&from, &cluster, wanted.records()).await, None);
    let refused = refusal(&cluster).await;
    assert!(refused.contains("runstream store copy"), "{refused}");
    let table = format!("{}.run_text", settings.keyspace);
    let settled: BTreeSet<String> = filled.runs[..4].iter().map(|(_, id, _)| format!("0x{id}")).collect();
    for execution in settled {
        let text = format!(
            "UPDATE {table} SET piece = 'x' WHERE execution = {execution} AND fold = 0 AND start_units = 0"
        );
        cql::administer(&settings, &[&text]).await;
    }
    let found = copied(&from, &cluster).await;
    let Err(CopyError::Differs { differences, .. }) = &found else { panic!("{found:?}") };
    assert!(
        differences.starts_with("pieces of text (as many") && !differences.contains("runs"),
        "{differences}"
    );

    let (from, to) = (from, folder(&data.path().join("third")));
    assert_eq!(cut_off(&from, &to, wanted.records()).await, None);
    let store = open(&from).await.unwrap();
    store.audit(crate::store::sample::audit_at(filled.orgs[0], "late", SystemClock.now_ms())).await.unwrap();
    store.shut_down().await.unwrap();
    drop(store);
    let found = copied(&from, &to).await;
    let Err(CopyError::Differs { differences, .. }) = &found else { panic!("{found:?}") };
    let entries = wanted.of(Kind::Audit).records;
    assert_eq!(differences, &format!("audit entries ({entries} of {})", entries + 1));
    let strange = folder(&data.path().join("strange"));
    open(&strange).await.unwrap().shut_down().await.unwrap();
    let refused = copied(&strange, &to).await;
    assert!(matches!(refused, Err(CopyError::OtherCopy(_))), "{refused:?}");
    let nothing = copied(&folder(&data.path().join("nothing")), &to).await;
    assert!(matches!(nothing, Err(CopyError::NoStore(_))), "{nothing:?}");
}
