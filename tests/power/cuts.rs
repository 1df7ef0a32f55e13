//! Power cuts at random moments of random stories: what was acknowledged is there, whole and once; what was not is
//! there whole or not at all; nothing is called damaged. And without any one of the syncs that is not so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use runstream::domain::batch::TestStatus::Passed;
use runstream::domain::execution::Status;
use runstream::domain::id::{ExecutionId, OrgId};
use runstream::domain::segment::Segment;
use runstream::store::contract::{ClosedRun, ExecutionFilter, Executions, FeedLog, OpenedRun};
use runstream::store::lsm::runs::RunStore;

use super::open;
use super::world::{Site, World};
use crate::support::runs::{Event, Reporter, START_MS, opened, words};

/// Stories in the suite.
const SEEDS: u64 = 2_000;
/// Stories after which a missing sync must have been noticed.
const SEEDS_WITHOUT_SYNC: u64 = 2_000;

macro_rules! ensure {
    ($condition:expr, $($what:tt)*) => {
        if !$condition {
            return Err(format!($($what)*));
        }
    };
}

/// How a step ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Never,
    Unknown,
    Acknowledged,
}

/// A run as its client knows it.
struct Client {
    reporter: Reporter,
    opened: Known,
    taken_back: Known,
    closed: Known,
    settled: Known,
    /// Texts of the acknowledged segments.
    acknowledged: Vec<String>,
    /// The segment of which nothing is known, and the reporter as it was before it.
    unknown: Option<(Segment, Reporter)>,
}

impl Client {
    fn new(org: OrgId, number: i64) -> Self {
        Self {
            reporter: Reporter::new(opened(org, START_MS + number)),
            opened: Known::Never,
            taken_back: Known::Never,
            closed: Known::Never,
            settled: Known::Never,
            acknowledged: Vec::new(),
            unknown: None,
        }
    }

    fn may_append(&self) -> bool {
        self.opened == Known::Acknowledged
            && self.taken_back == Known::Never
            && self.settled == Known::Never
            && self.unknown.is_none()
    }

    async fn append(&mut self, store: &RunStore, words_count: usize, numbers: &Numbers) {
        let before = self.reporter.clone();
        let number = self.reporter.next_seq;
        let mut events = vec![Event::Log(format!("{number}: {}\n", words(words_count, number)))];
        if words_count.is_multiple_of(3) {
            events.extend([Event::Begin("t", "title"), Event::End("t", Passed)]);
        }
        let feed_seq = numbers.reserve(self.reporter.id(), true);
        let segment = Segment { feed_seq, ..self.reporter.segment(&events) };
        match numbers.note(feed_seq, store.append(&segment).await) {
            Ok(()) => self.acknowledged.push(segment.batches[0].batch.text().to_owned()),
            Err(_) => self.unknown = Some((segment, before)),
        }
    }
}

/// The numbers that were given out in the feed, and what is known of what has them.
#[derive(Default)]
struct Numbers(Mutex<BTreeMap<u64, Numbered>>);

struct Numbered {
    execution: ExecutionId,
    is_segment: bool,
    known: Known,
}

impl Numbers {
    fn reserve(&self, execution: ExecutionId, is_segment: bool) -> u64 {
        let mut given = self.0.lock().unwrap();
        let seq = given.last_key_value().map_or(1, |(last, _)| last + 1);
        given.insert(seq, Numbered { execution, is_segment, known: Known::Unknown });
        seq
    }

    fn note<T, E>(&self, seq: u64, outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_ok() {
            self.0.lock().unwrap().get_mut(&seq).unwrap().known = Known::Acknowledged;
        }
        outcome
    }

    /// Everything acknowledged has its number, nothing has another's, and none is given again. Takes note of what has
    /// become known.
    async fn check(&self, store: &RunStore, org: OrgId, clients: &[Client]) -> Result<(), String> {
        let failed = |error| format!("the feed: {error}");
        let rows = store.feed_rows(org, 0, usize::MAX).await.map_err(failed)?;
        let head = store.feed_head(org).await.map_err(failed)?;
        ensure!(rows.is_sorted_by(|one, next| one.seq < next.seq), "numbers are out of order: {rows:?}");
        ensure!(rows.last().is_none_or(|row| row.seq <= head), "the feed's head {head} is below a row");
        let mut given = self.0.lock().unwrap();
        for row in &rows {
            let owner = given.get(&row.seq).map(|numbered| numbered.execution);
            ensure!(owner == Some(row.execution), "number {} is another's: {owner:?}", row.seq);
        }
        let taken_back = |execution| {
            let mut gone = clients.iter().filter(|client| client.taken_back == Known::Acknowledged);
            gone.any(|client| client.reporter.id() == execution)
        };
        for (seq, numbered) in &*given {
            let is_there = rows.iter().any(|row| row.seq == *seq);
            let must_be = numbered.known == Known::Acknowledged
                && !(numbered.is_segment && taken_back(numbered.execution));
            ensure!(is_there || !must_be, "number {seq} is lost");
        }
        // What nobody has may be given again, if it is above everything that somebody has.
        given.retain(|seq, _| *seq <= head);
        Ok(())
    }
}

struct Story {
    numbers: Numbers,
    epoch: Option<u64>,
    world: World,
    rng: SmallRng,
    org: OrgId,
    clients: Vec<Client>,
}

fn known<T, E>(outcome: Result<T, E>) -> Known {
    if outcome.is_ok() { Known::Acknowledged } else { Known::Unknown }
}

impl Story {
    async fn play(&mut self, store: &RunStore, steps: usize) {
        for _ in 0..steps {
            if self.world.is_cut() {
                return;
            }
            let number = self.rng.random_range(0..self.clients.len());
            let words_count = if self.rng.random_bool(0.1) { 1_500 } else { self.rng.random_range(0..150) };
            match self.rng.random_range(0..20) {
                0..=2 => self.open(store).await,
                3..=13 => self.append_some(store, words_count).await,
                14 => {
                    let client = &mut self.clients[number];
                    if client.may_append() && client.closed == Known::Never && client.acknowledged.len() < 3 {
                        let id = client.reporter.id();
                        let seq = self.numbers.reserve(id, false);
                        let outcome = store.abandon_run(self.org, id, seq).await;
                        client.taken_back = known(self.numbers.note(seq, outcome));
                    }
                }
                15 | 16 => {
                    let client = &mut self.clients[number];
                    if client.may_append() && client.closed == Known::Never {
                        let feed_seq = self.numbers.reserve(client.reporter.id(), false);
                        let closed = ClosedRun { feed_seq, ..client.reporter.closed(1) };
                        client.closed = known(self.numbers.note(feed_seq, store.close_run(closed).await));
                    }
                }
                17 | 18 => {
                    let client = &mut self.clients[number];
                    if client.may_append() && client.closed == Known::Acknowledged {
                        client.settled = known(store.settle(self.org, client.reporter.id()).await);
                    }
                }
                _ => {
                    self.world.set_tending(true);
                    // Whether it succeeds is the keeper's affair; what it must not do is checked after the cut.
                    drop(store.tend().await);
                    self.world.set_tending(false);
                }
            }
        }
    }

    async fn open(&mut self, store: &RunStore) {
        if let Some(client) = self.clients.iter_mut().find(|client| client.opened == Known::Never) {
            let feed_seq = self.numbers.reserve(client.reporter.id(), false);
            let opened = OpenedRun { feed_seq, ..client.reporter.opened.clone() };
            client.opened = known(self.numbers.note(feed_seq, store.open_run(opened).await));
        }
    }

    /// Several runs at the same time, so that records share syncs.
    async fn append_some(&mut self, store: &RunStore, words_count: usize) {
        let (appends, numbers) =
            (self.clients.iter_mut().filter(|client| client.may_append()), &self.numbers);
        let appends = appends.map(|client| client.append(store, words_count, numbers));
        futures_util::future::join_all(appends).await;
    }

    /// What a client sees after the power is back. Takes note of what has become known.
    async fn check(&mut self, store: &RunStore) -> Result<(), String> {
        for client in &mut self.clients {
            check_client(store, client).await?;
        }
        let epoch = store.feed_epoch().await.ok();
        ensure!(self.epoch.is_none() || self.epoch == epoch, "the feed's epoch has changed");
        self.epoch = epoch;
        self.numbers.check(store, self.org, &self.clients).await
    }
}

async fn check_client(store: &RunStore, client: &mut Client) -> Result<(), String> {
    let run = client.reporter.opened.clone();
    let (org, id) = (run.execution.org, run.execution.id);
    let failed = |error| format!("run {id}: {error}");
    let execution = store.execution(org, id).await.map_err(failed)?;
    let list = store.executions(org, &ExecutionFilter::default(), 100, 0).await.map_err(failed)?;
    let there = [
        execution.is_some(),
        store.execution_by_task(org, &run.execution.task_id).await.map_err(failed)?.is_some(),
        store.cycle_of(org, id).await.map_err(failed)?.is_some(),
        store.session(run.session.id).await.map_err(failed)?.is_some(),
        list.executions.iter().any(|listed| listed.id == id),
        store.position(org, id).await.map_err(failed)?.is_some(),
    ];
    ensure!(there.iter().all(|one| *one == there[0]), "run {id} is there in part: {there:?}");
    let is_there = there[0];
    let must_be = client.opened == Known::Acknowledged && client.taken_back == Known::Never;
    let must_not_be = client.opened == Known::Never || client.taken_back == Known::Acknowledged;
    ensure!(is_there || !must_be, "run {id} is lost");
    ensure!(!is_there || !must_not_be, "run {id} was taken back and is there");
    if !is_there {
        client.opened = if client.taken_back == Known::Never { Known::Never } else { Known::Acknowledged };
        client.taken_back = if client.opened == Known::Never { Known::Never } else { Known::Acknowledged };
        return Ok(());
    }
    (client.opened, client.taken_back) = (Known::Acknowledged, Known::Never);

    let text = store.whole_text(org, id).await.map_err(failed)?.unwrap_or_default().text;
    let acknowledged = client.acknowledged.concat();
    match client.unknown.take() {
        Some((segment, _)) if text == acknowledged.clone() + segment.batches[0].batch.text() => {
            client.acknowledged.push(segment.batches[0].batch.text().to_owned());
        }
        unknown => {
            ensure!(text == acknowledged, "run {id}: its text is not what was acknowledged");
            if let Some((_, before)) = unknown {
                client.reporter = before;
            }
        }
    }
    let end = store.position(org, id).await.map_err(failed)?;
    ensure!(end == Some(client.reporter.end), "run {id} ends elsewhere");
    let results = store.all_results(org, id).await.map_err(failed)?;
    ensure!(results.len() <= 1, "run {id} has more tests than it had");
    let attempts = results.first().map_or(0, |result| u64::from(result.attempt_count));
    ensure!(attempts == client.reporter.end.results, "run {id} has lost results");

    let closure = store.closure(org, id).await.map_err(failed)?;
    ensure!(closure.is_some() || client.closed != Known::Acknowledged, "run {id} has lost its closure");
    ensure!(closure.is_none() || client.closed != Known::Never, "run {id} was never closed");
    client.closed = if closure.is_some() { Known::Acknowledged } else { Known::Never };
    let status = execution.map(|execution| execution.status);
    let cycle = store.cycle_of(org, id).await.map_err(failed)?.is_some_and(|cycle| cycle.completed);
    let session = store.session(run.session.id).await.map_err(failed)?;
    let is_archived = session.is_some_and(|session| session.end_ms.is_some());
    let is_final = status == Some(Status::Passed);
    ensure!(
        [cycle, is_archived, is_final].iter().all(|one| *one == closure.is_some()),
        "run {id} is closed in part: cycle {cycle}, session {is_archived}, status {status:?}, closure {}",
        closure.is_some()
    );
    let unsettled = store.unsettled_runs().await.map_err(failed)?;
    let is_unsettled = unsettled.iter().any(|unsettled| unsettled.execution == id);
    ensure!(is_unsettled || client.settled != Known::Never, "run {id} is not among the unsettled ones");
    client.settled = if is_unsettled { Known::Never } else { Known::Acknowledged };
    Ok(())
}

/// A power cut damages nothing, so nothing may be called damaged.
async fn check_report(store: &RunStore, org: OrgId) -> Result<(), String> {
    let report = store.recovery();
    if let Some(run) = report.damaged_runs.first() {
        return Err(format!("run {run}: {:?}; {report:?}", store.position(org, *run).await));
    }
    ensure!(report.damaged.is_empty(), "called damaged: {report:?}");
    Ok(())
}

/// One story with several cuts. The error says what was lost.
async fn story(seed: u64, without: Option<Site>) -> (BTreeSet<Site>, Result<(), String>) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let world = World::new(without);
    let org = OrgId::from_bytes([7; 12]);
    let clients = (0..4).map(|number| Client::new(org, number)).collect();
    let story_seed = rng.random();
    let (rng_of_story, numbers) = (SmallRng::seed_from_u64(story_seed), Numbers::default());
    let mut story = Story { numbers, epoch: None, world, rng: rng_of_story, org, clients };
    let mut outcome = Ok(());
    for _ in 0..rng.random_range(2..=3) {
        story.world.cut_after(rng.random_range(5..120));
        // The power may go while the store opens, too.
        if let Ok(store) = open(&story.world) {
            outcome = check_report(&store, org).await;
            if outcome.is_ok() {
                outcome = story.check(&store).await;
                // With the power off no answer says anything.
                outcome = if story.world.is_cut() { Ok(()) } else { outcome };
            }
            if outcome.is_err() {
                break;
            }
            story.play(&store, 30).await;
            if rng.random_bool(0.2) {
                // A good end, right before the cut.
                drop(store.shut_down().await);
            }
            drop(store);
        }
        story.world = story.world.after_cut(rng.random());
    }
    if outcome.is_ok() {
        outcome = match open(&story.world) {
            Ok(store) => match check_report(&store, org).await {
                Ok(()) => story.check(&store).await,
                damaged => damaged,
            },
            Err(error) => Err(format!("it does not open: {error}")),
        };
    }
    (story.world.seen(), outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_power_cut() {
    let mut seen = BTreeSet::new();
    for first in (0..SEEDS).step_by(8) {
        let stories = (first..first + 8).map(|seed| tokio::spawn(story(seed, None)));
        for (number, ended) in futures_util::future::join_all(stories).await.into_iter().enumerate() {
            let (sites, outcome) = ended.unwrap();
            assert_eq!(outcome, Ok(()), "seed {}", first + number as u64);
            seen.extend(sites);
        }
    }
    let all: BTreeSet<Site> = Site::ALL.into();
    assert_eq!(seen, all, "every sync is on the way of some story");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_one_sync_something_is_lost() {
    let look = async |site| {
        for seed in 0..SEEDS_WITHOUT_SYNC {
            if let (_, Err(lost)) = story(seed, Some(site)).await {
                return (site, Some((seed, lost)));
            }
        }
        (site, None)
    };
    for (site, found) in futures_util::future::join_all(Site::ALL.map(look)).await {
        assert!(found.is_some(), "{site:?} can go without anything being lost");
    }
}
