//! The same random lives of runs on two stores and a model that is nothing but vectors: every answer is the same, and
//! after every few steps everything that can be read of every run.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use runstream::domain::batch::TestStatus;
use runstream::domain::execution::Status;
use runstream::domain::id::{ExecutionId, OrgId};
use runstream::domain::segment::Segment;
use runstream::store::contract::{
    ClosedRun, Conflict, ExecutionFilter, OpenRun, RunState, StoreError, StoreResult,
};

use super::runs::{CqlHome, RunHome as _, RunStore};
use super::{LsmHome, sample};
use crate::support::long_mode;
use crate::support::runs::{Event, Reporter, START_MS, opened, words};

const TESTS: [&str; 3] = ["adds", "removes", "pays"];
/// Units of text in a page that is read.
const PAGE: u64 = 300;

/// A run as it should be.
struct Run {
    reporter: Reporter,
    /// What was appended, for as long as it is kept apart.
    segments: Vec<Segment>,
    /// Each result: which test, how it went.
    results: Vec<(&'static str, TestStatus)>,
    closed: Option<ClosedRun>,
    settled: bool,
    abandoned: bool,
}

impl Run {
    fn state(&self) -> Option<RunState> {
        let state = if self.closed.is_some() { RunState::Closed } else { RunState::Open };
        (!self.settled && !self.abandoned).then_some(state)
    }

    /// The tests with status, number of the last and of the first result, and how many there are, by the last.
    fn collapsed(&self) -> Vec<(&'static str, TestStatus, u64, u64, u32)> {
        let numbered = || self.results.iter().zip(1_u64..);
        let mut tests = Vec::new();
        for test in TESTS {
            let mut own = numbered().filter(|((name, _), _)| *name == test);
            let (Some((_, first)), Some(((_, status), last))) =
                (own.next(), numbered().filter(|((name, _), _)| *name == test).last())
            else {
                continue;
            };
            tests.push((test, *status, last, first, 1 + u32::try_from(own.count()).unwrap()));
        }
        tests.sort_by_key(|(_, _, last, ..)| *last);
        tests
    }
}

/// One step in the life of run `run`.
#[derive(Debug, Clone)]
enum Step {
    Open(OrgId, i64),
    Append(usize, Vec<Event>),
    /// An earlier segment once more.
    Repeat(usize, usize),
    /// A segment that leaves one out.
    Skip(usize),
    /// Segments are of a newer epoch from here on.
    TakeOver(usize),
    Close(usize, u32),
    Settle(usize),
    Abandon(usize),
}

#[derive(Default)]
struct Model {
    orgs: Vec<OrgId>,
    runs: Vec<Run>,
}

const CONFLICT: StoreResult<()> = Err(StoreError::Conflict(Conflict::SegmentSequence));

impl Model {
    fn next(&self, random: &mut StdRng) -> Step {
        let mut pick = |most: usize| random.random_range(0..most);
        if self.runs.len() < 2 || pick(14) == 0 {
            return Step::Open(self.orgs[pick(self.orgs.len())], START_MS + pick(90_000_000) as i64);
        }
        let run = pick(self.runs.len());
        match pick(20) {
            0 | 1 => Step::Repeat(run, pick(99)),
            2 => Step::Skip(run),
            3 => Step::TakeOver(run),
            4 | 5 => Step::Close(run, 1 + pick(3) as u32),
            6 | 7 => Step::Settle(run),
            8 => Step::Abandon(run),
            _ => {
                let event = |kind: usize, seed: usize| match kind {
                    0 => Event::Begin(TESTS[seed % 3], "a title"),
                    1 | 2 => Event::End(TESTS[seed % 3], [TestStatus::Passed, TestStatus::Failed][seed % 2]),
                    3 => Event::Announce(Status::Running),
                    _ => Event::Log(words(1 + seed * 7, seed as u64)),
                };
                let count = pick(5);
                Step::Append(run, (0..count).map(|_| event(pick(7), pick(40))).collect())
            }
        }
    }

    /// Takes a step on both stores.
    async fn take(&mut self, step: Step, stores: &[(&str, &dyn RunStore)]) {
        match step {
            Step::Open(org, start_ms) => {
                let reporter = Reporter::new(opened(org, start_ms));
                for (name, store) in stores {
                    assert_eq!(store.open_run(reporter.opened.clone()).await, Ok(()), "{name}");
                    let again = store.open_run(reporter.opened.clone()).await;
                    assert_eq!(again, Err(StoreError::Conflict(Conflict::RunExists)), "{name}");
                }
                self.runs.push(Run {
                    reporter,
                    segments: Vec::new(),
                    results: Vec::new(),
                    closed: None,
                    settled: false,
                    abandoned: false,
                });
            }
            Step::Append(run, events) => {
                let run = &mut self.runs[run];
                let mut reporter = run.reporter.clone();
                let segment = reporter.segment(&events);
                let is_taken = run.state().is_some();
                for (name, store) in stores {
                    let expected = if is_taken { Ok(()) } else { CONFLICT };
                    assert_eq!(store.append(&segment).await, expected, "{name}: {segment:?}");
                }
                if is_taken {
                    run.reporter = reporter;
                    run.segments.push(segment);
                    run.results.extend(events.iter().filter_map(|event| match event {
                        Event::End(test, status) => Some((*test, *status)),
                        _ => None,
                    }));
                }
            }
            Step::Repeat(run, nth) => {
                let run = &self.runs[run];
                let Some(nth) = nth.checked_rem(run.segments.len()) else { return };
                for (name, store) in stores {
                    assert_eq!(store.append(&run.segments[nth]).await, Ok(()), "{name}");
                }
            }
            Step::Skip(run) => {
                let mut reporter = self.runs[run].reporter.clone();
                reporter.log("left out");
                let segment = reporter.log("beyond");
                for (name, store) in stores {
                    assert_eq!(store.append(&segment).await, CONFLICT, "{name}");
                }
            }
            Step::TakeOver(run) => {
                let run = &mut self.runs[run];
                // The first segment of an epoch that has none would skip one.
                if !run.segments.is_empty() && run.reporter.next_seq > 1 {
                    (run.reporter.epoch, run.reporter.next_seq) = (run.reporter.epoch + 1, 1);
                }
            }
            Step::Close(run, revision) => {
                let run = &mut self.runs[run];
                let closed = run.reporter.closed(revision);
                let stored = run.closed.as_ref().map_or(0, |closed| closed.revision);
                let counts = !run.abandoned && revision > stored;
                for (name, store) in stores {
                    assert_eq!(store.close_run(closed.clone()).await, Ok(counts), "{name}: {revision}");
                }
                if counts {
                    run.closed = Some(closed);
                }
            }
            Step::Settle(run) => {
                let run = &mut self.runs[run];
                for (name, store) in stores {
                    let settled = store.settle(run.reporter.org(), run.reporter.id()).await;
                    assert_eq!(settled, Ok(()), "{name}");
                }
                if run.closed.is_some() {
                    run.settled = true;
                    run.segments.clear();
                }
            }
            Step::Abandon(run) => {
                let run = &mut self.runs[run];
                // Only what nobody was told of.
                if !run.segments.is_empty() || run.closed.is_some() {
                    return;
                }
                for (name, store) in stores {
                    let gone = store.abandon_run(run.reporter.org(), run.reporter.id(), 0).await;
                    assert_eq!(gone, Ok(!run.abandoned), "{name}");
                }
                run.abandoned = true;
            }
        }
    }

    /// Reads everything of every run.
    async fn check(&self, stores: &[(&str, &dyn RunStore)], random: &mut StdRng) {
        for (name, store) in stores {
            for run in &self.runs {
                check_run(run, *store, name, random).await;
            }
            let mut unsettled = store.unsettled_runs().await.unwrap();
            unsettled.sort_by_key(|run| run.execution);
            let unsettled: Vec<_> = unsettled.iter().map(told).collect();
            let mut expected: Vec<_> = self.runs.iter().filter_map(expected_unsettled).collect();
            expected.sort_by_key(|(execution, ..)| *execution);
            assert_eq!(unsettled, expected, "{name}");
            for org in &self.orgs {
                self.check_list(*org, *store, name).await;
            }
        }
        let [(_, first), (_, second)] = stores else { panic!("two stores") };
        for run in &self.runs {
            let (org, id, session) = (run.reporter.org(), run.reporter.id(), run.reporter.opened.session.id);
            assert_eq!(first.execution(org, id).await, second.execution(org, id).await);
            assert_eq!(first.session(session).await, second.session(session).await);
            assert_eq!(first.cycle_of(org, id).await, second.cycle_of(org, id).await);
            assert_eq!(first.results(org, id, 0, 99).await, second.results(org, id, 0, 99).await);
        }
    }

    /// The list of an organization's runs, whole and by pages.
    async fn check_list(&self, org: OrgId, store: &dyn RunStore, name: &str) {
        let own = self.runs.iter().filter(|run| run.reporter.org() == org && !run.abandoned);
        let mut own: Vec<_> =
            own.map(|run| (run.reporter.opened.execution.start_ms, run.reporter.id())).collect();
        own.sort_by_key(|run| std::cmp::Reverse(*run));
        let filter = ExecutionFilter::default();
        let page = store.executions(org, &filter, 99, 0).await.unwrap();
        let listed: Vec<_> = page.executions.iter().map(|run| (run.start_ms, run.id)).collect();
        assert_eq!((listed, page.total), (own.clone(), own.len() as u64), "{name}");
        for offset in 0..own.len() {
            let page = store.executions(org, &filter, 2, offset).await.unwrap();
            let listed: Vec<_> = page.executions.iter().map(|run| (run.start_ms, run.id)).collect();
            assert_eq!(listed, own[offset..own.len().min(offset + 2)], "{name}: from {offset}");
        }
        let middle = START_MS + 45_000_000;
        let before = own.iter().filter(|(start_ms, _)| *start_ms < middle).count() as u64;
        assert_eq!(store.count_runs(org, 0, middle).await, Ok(before), "{name}");
    }
}

/// What is told of an unsettled run.
fn told(run: &OpenRun) -> (ExecutionId, OrgId, RunState) {
    (run.execution, run.org, run.state)
}

fn expected_unsettled(run: &Run) -> Option<(ExecutionId, OrgId, RunState)> {
    run.state().map(|state| (run.reporter.id(), run.reporter.org(), state))
}

async fn check_run(run: &Run, store: &dyn RunStore, name: &str, random: &mut StdRng) {
    let (org, id) = (run.reporter.org(), run.reporter.id());
    assert_eq!(store.run_state(org, id).await, Ok(run.state()), "{name}");
    if run.abandoned {
        assert_eq!(store.execution(org, id).await, Ok(None), "{name}");
        assert_eq!(store.whole_text(org, id).await, Ok(None), "{name}");
        return;
    }
    let segments = store.segments(org, id, (0, 0), usize::MAX).await;
    assert_eq!(segments.as_ref(), Ok(&run.segments), "{name}");
    assert_eq!(store.position(org, id).await, Ok(Some(run.reporter.end)), "{name}");
    assert_eq!(store.closure(org, id).await.as_ref(), Ok(&run.closed), "{name}");
    assert_eq!(store.execution(OrgId::generate(1), id).await, Ok(None), "{name}: not another's");
    let task = &run.reporter.opened.execution.task_id;
    let by_task = store.execution_by_task(org, task).await.unwrap().unwrap();
    assert_eq!((by_task.id, by_task.end_ms), (id, run.closed.as_ref().map(|closed| closed.end_ms)), "{name}");

    let text = store.whole_text(org, id).await.unwrap().unwrap();
    assert!(text.text == run.reporter.text, "{name}");
    let units: Vec<u16> = run.reporter.text.encode_utf16().collect();
    let from = random.random_range(0..=units.len() + 2);
    let page = store.text(org, id, from as u64, PAGE).await.unwrap().unwrap();
    let (start, next) = (page.from as usize, page.next as usize);
    assert_eq!(page.length, units.len() as u64, "{name}");
    assert!(start == from.min(units.len()) || start + 1 == from, "{name}: {start} for {from}");
    assert!(page.text.encode_utf16().eq(units[start..next].iter().copied()), "{name}: {start}..{next}");
    assert!(next > start || start == units.len(), "{name}: there is more at {start}");

    let results = store.results(org, id, 0, 99).await.unwrap();
    let results: Vec<_> = results
        .iter()
        .map(|one| (one.test_id.as_str(), one.status, one.seq, one.first_seq, one.attempt_count))
        .collect();
    assert_eq!(results, run.collapsed(), "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn both_stores_keep_runs_as_the_model_does() {
    for _ in 0..if long_mode() { 20 } else { 1 } {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let (on_disk, on_cluster) = (LsmHome::new(), CqlHome::new());
        let (embedded, cluster) = (on_disk.open_runs().await, on_cluster.open_runs().await);
        let stores: [(&str, &dyn RunStore); 2] = [("embedded", &*embedded), ("cluster", &*cluster)];
        let mut model = Model { orgs: vec![sample::org(), sample::org()], ..Model::default() };
        for step in 0..150 {
            let taken = model.next(&mut random);
            println!("{step}: {taken:?}");
            model.take(taken, &stores).await;
            if step % 25 == 24 {
                model.check(&stores, &mut random).await;
            }
        }
    }
}
