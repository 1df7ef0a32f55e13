//! Copying a store: random content into the other store and back, cut off anywhere, damaged, in use.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use runstream::clock::{Clock, SystemClock, UnixMs};
use runstream::domain::account::{Organization, User};
use runstream::domain::execution::Status;
use runstream::domain::id::{ExecutionId, OrgId, TaskId, UserId};
use runstream::domain::mail::{Letter, LetterEnd, LetterKind, SealedContent};
use runstream::domain::organization::{Author, OrgChange, SettingsPatch};
use runstream::fs::OsFs;
use runstream::store::contract::{ExecutionFilter, Store, StoreError};
use runstream::store::copy::{Copied, CopyError, Kind, Side, Watch, copy};
use runstream::store::lsm::{LsmSettings, LsmStore};
use runstream::store::scylla::runs::RunSettings;
use runstream::store::scylla::{Cql, ScyllaSettings, ScyllaStore};
use tokio::sync::Notify;

use crate::support::cql;
use crate::support::runs::{Event, Reporter, opened, words};

const DAY_MS: UnixMs = 86_400_000;

/// Ends a copy after so many records, at whatever it waits for next.
struct Cut {
    after: u64,
    copied: AtomicU64,
    compared: AtomicU64,
    reached: Notify,
}

impl Cut {
    fn after(after: u64) -> Self {
        Self { after, copied: AtomicU64::new(0), compared: AtomicU64::new(0), reached: Notify::new() }
    }
}

impl Watch for Cut {
    fn copied(&self, records: u64) {
        self.copied.store(records, Ordering::SeqCst);
        if records >= self.after {
            self.reached.notify_one();
        }
    }

    fn compared(&self, records: u64) {
        self.compared.fetch_max(records, Ordering::SeqCst);
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

async fn copied(from: &Side, to: &Side) -> Result<Copied, CopyError> {
    Box::pin(copy(from, to, &clock(), &Cut::after(u64::MAX))).await
}

/// Copies until `after` records are there; `None` if it was cut off.
async fn cut_off(from: &Side, to: &Side, after: u64) -> Option<Copied> {
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

fn folder(path: &Path) -> Side {
    Side::Embedded(LsmSettings::at(path))
}

fn keyspace(settings: &ScyllaSettings) -> Side {
    Side::Cluster(Box::new(settings.clone()))
}

async fn open(side: &Side) -> Result<Arc<dyn Store>, StoreError> {
    match side {
        Side::Embedded(settings) => Ok(Arc::new(LsmStore::open(settings.clone(), Arc::new(OsFs)).await?)),
        Side::Cluster(settings) => {
            let cql = Cql::connect(settings, clock()).await.unwrap();
            Ok(Arc::new(ScyllaStore::open(Arc::new(cql), RunSettings::default()).await?))
        }
    }
}

/// Why a store is not opened; a lock that is just being let go of is waited for.
async fn refusal(side: &Side) -> String {
    let_go(side).await;
    open(side).await.err().expect("it is refused").to_string()
}

/// What a store was filled with, by what finds it again.
#[derive(Default)]
struct Filled {
    orgs: Vec<OrgId>,
    users: Vec<(UserId, String)>,
    hashes: Vec<[u8; 32]>,
    tokens: Vec<String>,
    runs: Vec<(OrgId, ExecutionId, TaskId)>,
    open: Vec<Reporter>,
}

/// Random content of every kind that a server makes.
async fn fill(store: &dyn Store, seed: u64, now_ms: UnixMs) -> Filled {
    use crate::store::sample;
    let mut random = StdRng::seed_from_u64(seed);
    let mut filled = Filled::default();
    let mut feed = std::collections::BTreeMap::<OrgId, u64>::new();
    let at = |random: &mut StdRng| now_ms - random.random_range(0..100 * DAY_MS);
    for number in 0..3_u8 {
        let name = format!("org-{seed}-{number}");
        let org = Organization { id: OrgId::generate(now_ms), ..sample::organization(&name) };
        let user =
            User { id: UserId::generate(now_ms), ..sample::user(org.id, &format!("{name}@pinewood.test")) };
        let audit = sample::audit_at(org.id, "auth.signup", at(&mut random));
        store.sign_up(org.clone(), format!("{name}-x"), user.clone(), audit).await.unwrap();
        filled.orgs.push(org.id);
        filled.users.push((user.id, user.email.clone()));
        for _ in 0..random.random_range(0..20) {
            let mut entry = sample::audit_at(org.id, "user.changed", at(&mut random));
            entry.details = words(random.random_range(0..20), random.random());
            store.audit(entry).await.unwrap();
        }
        for number in 0..random.random_range(1..4) {
            let key = sample::key(org.id, user.id, at(&mut random));
            filled.hashes.push(key.hash);
            let audit = sample::audit_at(org.id, "key.created", at(&mut random));
            store.create_key(key.clone(), 99, audit).await.unwrap();
            if random.random() {
                store.mark_key_used(org.id, key.id, now_ms - 5).await.unwrap();
            }
            let mut project = sample::project(org.id, &format!("web-{number}"), at(&mut random));
            project.name = words(3, random.random());
            let audit = sample::audit_at(org.id, "project.created", at(&mut random));
            store.create_project(project, 99, audit).await.unwrap();
        }
        let token = format!("token-{seed}-{number}");
        let audit = sample::audit_at(org.id, "auth.logout", now_ms);
        store.revoke_token(&token, now_ms + DAY_MS, audit).await.unwrap();
        filled.tokens.push(token);
        let author = Author { user: user.id, ip: std::net::Ipv4Addr::LOCALHOST.into(), now_ms };
        let renamed = SettingsPatch { name: Some(words(2, random.random())), ..SettingsPatch::default() };
        store.change_organization(org.id, OrgChange::from(renamed), author).await.unwrap().unwrap();
        store.take_run_place(org.id, now_ms - DAY_MS, 9, u64::from(number), now_ms).await.unwrap();
        let letter = Letter {
            org: org.id,
            key: format!("welcome/{number}"),
            kind: LetterKind::Welcome,
            to: user.email.clone(),
            content: SealedContent(vec![1, 2, number]),
            created_ms: now_ms,
            expires_ms: now_ms + DAY_MS,
        };
        let late = Letter { key: format!("alert/{number}"), kind: LetterKind::UsageAlert, ..letter.clone() };
        store.post_letter(letter).await.unwrap();
        let taken = store.take_letters(now_ms, 1, 9).await.unwrap().pop().unwrap();
        assert!(store.end_letter(&taken, LetterEnd::Sent, now_ms).await.unwrap());
        let marks = vec![format!("usage/{number}")];
        assert!(store.tell_once(org.id, marks, now_ms + DAY_MS, vec![late]).await.unwrap());
        let mut waiting = store.take_letters(now_ms, DAY_MS, 9).await.unwrap();
        assert!(store.postpone_letter(&waiting.pop().unwrap(), now_ms + DAY_MS).await.unwrap());
        store
            .begin_login(&format!("guess-{seed}-{number}@pinewood.test"), now_ms, 3, DAY_MS, DAY_MS)
            .await
            .unwrap();
    }
    // One member changes the organization.
    let (mover, _) = filled.users[2];
    let moved = User { org: filled.orgs[0], ..store.user(mover).await.unwrap().unwrap() };
    assert!(
        store.update_user(moved, Some(sample::audit_at(filled.orgs[0], "user.moved", now_ms))).await.unwrap()
    );

    for number in 0..9 {
        // The archive has forgotten the sessions of those before.
        if number == 4 && seed.is_multiple_of(2) {
            assert_eq!(store.purge_sessions(now_ms + 30 * DAY_MS).await, Ok(4));
        }
        let org = filled.orgs[random.random_range(0..3)];
        let mut seq = || {
            let next = feed.entry(org).or_default();
            *next += 1;
            *next
        };
        let mut run = opened(org, now_ms - random.random_range(0..DAY_MS));
        run.feed_seq = seq();
        let mut reporter = Reporter::new(run.clone());
        store.open_run(run).await.unwrap();
        for step in 0..random.random_range(1..6) {
            let text = words(random.random_range(0..9_000), random.random());
            let mut events = vec![
                Event::Log(text),
                Event::Begin("t1", "pays"),
                Event::End("t1", runstream::domain::batch::TestStatus::Passed),
            ];
            if step == 0 {
                events.push(Event::Announce(Status::Running));
            }
            let mut segment = reporter.segment(&events);
            segment.feed_seq = seq();
            store.append(&segment).await.unwrap();
        }
        let (org, id, task) = (reporter.org(), reporter.id(), reporter.opened.execution.task_id.clone());
        if number == 8 {
            assert!(store.abandon_run(org, id, seq()).await.unwrap());
            continue;
        }
        filled.runs.push((org, id, task));
        if number < 6 {
            let mut closed = reporter.closed(1);
            closed.feed_seq = seq();
            assert!(store.close_run(closed).await.unwrap());
        }
        if number < 4 {
            store.settle(org, id).await.unwrap();
        }
        if number >= 6 {
            filled.open.push(reporter);
        }
    }
    filled
}

/// Everything a store answers about what it was filled with.
async fn answers(store: &dyn Store, filled: &Filled) -> Vec<String> {
    let mut said = vec![format!("{:?}", store.feed_epoch().await)];
    for org in &filled.orgs {
        said.push(format!("{:?}", store.organization(*org).await));
        said.push(format!("{:?}", store.organization_state(*org).await));
        for number in 0..3 {
            for kind in ["welcome", "alert"] {
                said.push(format!("{:?}", store.letter_state(*org, &format!("{kind}/{number}")).await));
            }
        }
        said.push(format!("{:?} members", store.member_count(*org).await));
        said.push(format!("{:?}", store.projects(*org).await));
        said.push(format!("{:?}", store.audit_entries(*org, 1_000, 0).await));
        said.push(format!("{:?}", store.executions(*org, &ExecutionFilter::default(), 1_000, 0).await));
        said.push(format!("{:?} bytes", store.storage_used(*org).await));
        said.push(format!("{:?} runs", store.count_runs(*org, 0, i64::MAX).await));
        let feed = (store.feed_floor(*org).await, store.feed_rows(*org, 0, 10_000).await);
        said.push(format!("{feed:?}"));
        assert!(store.feed_head(*org).await.unwrap() > 0 || feed.1.unwrap().is_empty());
    }
    said.push(format!("{:?} wait", store.outbox_depth().await));
    for (user, email) in &filled.users {
        let user = store.user(*user).await.unwrap().unwrap();
        assert_eq!(store.user_by_email(email).await, Ok(Some(user.clone())));
        said.push(format!("{user:?} {:?}", store.keys_of(user.org, user.id).await));
    }
    for hash in &filled.hashes {
        said.push(format!("{:?}", store.key_by_hash(hash).await));
    }
    for token in &filled.tokens {
        said.push(format!("{:?}", store.is_token_revoked(token).await));
    }
    for (org, id, task) in &filled.runs {
        said.push(format!("{:?}", store.execution(*org, *id).await));
        said.push(format!(
            "{:?}",
            store.execution_by_task(*org, task).await.map(|run| run.map(|run| run.id))
        ));
        said.push(format!("{:?}", store.cycle_of(*org, *id).await));
        said.push(format!("{:?}", store.closure(*org, *id).await));
        said.push(format!("{:?}", store.run_state(*org, *id).await));
        said.push(format!("{:?}", store.whole_text(*org, *id).await));
        said.push(format!("{:?}", store.all_results(*org, *id).await));
        let session = store.execution(*org, *id).await.unwrap().unwrap().ingest.session;
        said.push(format!("{:?}", store.session(session).await));
        let segments = store.segments(*org, *id, (0, 0), usize::MAX).await.unwrap();
        said.push(format!("{:?}", segments.into_iter().map(|found| found.batches).collect::<Vec<_>>()));
    }
    said
}

fn assert_same(found: &[String], wanted: &[String], which: &str) {
    for (found, wanted) in found.iter().zip(wanted) {
        assert_eq!(found, wanted, "{which}");
    }
    assert_eq!(found.len(), wanted.len());
}

/// The runs that were open go on.
async fn goes_on(store: &dyn Store, filled: &mut Filled) {
    for reporter in &mut filled.open {
        let (org, id) = (reporter.org(), reporter.id());
        let mut mine = reporter.clone();
        let claimed = store.claim(org, id).await;
        let claimed = claimed.unwrap().expect("the run is not settled");
        let last = store.segments(org, id, (0, 0), usize::MAX).await.unwrap().pop().unwrap();
        let next_seq = if last.epoch == claimed { last.seq + 1 } else { 1 };
        (mine.epoch, mine.next_seq) = (claimed, next_seq);
        let mut segment = mine.log("and on it goes\n");
        segment.feed_seq = store.feed_head(org).await.unwrap() + 1;
        store.append(&segment).await.unwrap();
        assert!(store.close_run(mine.closed(1)).await.unwrap());
        store.settle(org, id).await.unwrap();
        assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, mine.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn a_folder_goes_to_a_cluster_and_from_there_to_a_folder_and_everything_is_there() {
    let data = tempfile::tempdir().unwrap();
    let [first, last] = ["first", "last"].map(|name| folder(&data.path().join(name)));
    let settings = cql::keyspace().await;
    let cluster = keyspace(&settings.0);
    let store = open(&first).await.unwrap();
    let mut filled = fill(&*store, 8, SystemClock.now_ms()).await;
    let wanted = answers(&*store, &filled).await;

    let used = copied(&first, &cluster).await;
    assert!(matches!(used, Err(CopyError::Store(StoreError::Unavailable(_)))), "{used:?}");
    store.shut_down().await.unwrap();
    drop(store);
    let there = copied(&first, &cluster).await.unwrap();
    for kind in Kind::ALL.iter().filter(|kind| **kind != Kind::Quarantined) {
        assert!(there.tally.of(*kind).records > 0, "{kind:?}: nothing was there to be copied");
    }
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
    let (seeds, step) = if crate::support::long_mode() { (0..6, 7) } else { (2..3, 41) };
    for seed in seeds {
        let [from, to] = ["from", "to"].map(|name| folder(&data.path().join(format!("{name}-{seed}"))));
        let store = open(&from).await.unwrap();
        let mut filled = fill(&*store, seed, SystemClock.now_ms()).await;
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
    let filled = fill(&*store, 1, SystemClock.now_ms()).await;
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
