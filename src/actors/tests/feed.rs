//! The feed: what one viewer was sent at a tick, another gets later, from memory or from the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::harness::Rig;
use super::lossy::Lossy;
use crate::actors::feed::{FeedError, Feeds, Frame, Unusable, Window};
use crate::actors::{EngineSettings, Opened};
use crate::domain::batch::{Item, TestStatus};
use crate::domain::execution::Status;
use crate::limits;
use crate::store::contract::Store;

/// What is the same however a window was made: everything but the bodies of updates.
fn shape(window: &Window) -> (u64, u64, Vec<Frame>) {
    let frames = window.frames.iter().cloned().map(|frame| match frame {
        Frame::Updated { task, .. } => Frame::Updated { task, body: Default::default() },
        log @ Frame::Log { .. } => log,
    });
    (window.from, window.upto, frames.collect())
}

/// Text that a stock dashboard has: it appends what it is sent.
#[derive(Default)]
struct Dashboard {
    output: BTreeMap<String, String>,
    states: BTreeMap<String, serde_json::Value>,
    at: u64,
}

impl Dashboard {
    fn take(&mut self, window: &Window) {
        assert!(window.from == self.at && window.upto > window.from, "{window:?} at {}", self.at);
        self.at = window.upto;
        for frame in &window.frames {
            match frame {
                Frame::Log { task, text, .. } => {
                    let output = self.output.entry(task.to_string()).or_default();
                    output.push_str(std::str::from_utf8(text).unwrap());
                }
                Frame::Updated { task, body } => {
                    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
                    let state = self.states.entry(task.to_string()).or_insert_with(|| serde_json::json!({}));
                    state.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
                }
            }
        }
    }

    /// Reads on to the head; returns in how many windows.
    async fn catch_up(&mut self, rig: &Rig) -> usize {
        let mut windows = 0;
        while let Some(window) = rig.engine.window(rig.org, self.at, None).await.unwrap() {
            let bytes: usize = window
                .frames
                .iter()
                .map(|frame| match frame {
                    Frame::Log { text, .. } => text.len(),
                    Frame::Updated { .. } => 0,
                })
                .sum();
            assert!(bytes <= 512 << 10, "a window of {bytes} bytes");
            self.take(&window);
            windows += 1;
        }
        windows
    }
}

/// A story of several runs with everything that is told of them; returns the runs.
async fn story(rig: &Rig, seed: u64) -> Vec<Opened> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut runs: Vec<Opened> = Vec::new();
    for step in 0..60_u64 {
        let digest = u128::from(seed) << 64 | u128::from(step);
        let which = rng.random_range(0..runs.len().max(1));
        let run = runs.get(which).cloned();
        match (rng.random_range(0..12), run) {
            (0 | 1, _) | (_, None) => {
                let opened = rig.engine.set_up(rig.org, rig.user, rig.setup()).await;
                runs.extend(opened);
            }
            (2, Some(run)) => {
                let status = if rng.random_bool(0.5) { Status::Analyzing } else { Status::Running };
                let item = Item::Status { status, timestamp_ms: 1 };
                drop(rig.send(&run, rig.delivered(digest, String::new(), "", vec![item])).await);
            }
            (3, Some(run)) => drop(rig.tear_down(&run, rng.random_bool(0.5)).await),
            (4, Some(run)) => drop(rig.send(&run, rig.end(digest, "a", TestStatus::Failed)).await),
            (5, Some(run)) => {
                let long = "größe 🦀 ".repeat(rng.random_range(5_000..20_000));
                drop(rig.send(&run, rig.line(digest, &long)).await);
            }
            (6, _) => rig.engine.deps.feed(rig.org).flush().await,
            (_, Some(run)) => drop(rig.send(&run, rig.line(digest, &format!("line {step} 🦀"))).await),
        }
    }
    runs
}

async fn check_all(rig: &Rig, runs: &[Opened], sealed: &[Arc<Window>], rng: &mut SmallRng) {
    for window in sealed {
        let again = rig.engine.window(rig.org, window.from, Some(window.upto)).await.unwrap().unwrap();
        assert_eq!(shape(&again), shape(window));
    }
    // From any position on, a dashboard that was sent everything before comes to the stored text.
    let mut dashboard = Dashboard::default();
    let reach = rng.random_range(0..=sealed.len());
    sealed[..reach].iter().for_each(|window| dashboard.take(window));
    dashboard.catch_up(rig).await;
    for run in runs {
        let output = dashboard.output.get(run.task.as_str()).cloned().unwrap_or_default();
        assert_eq!(output, rig.text(run).await);
        let execution = rig.execution(run).await;
        let state = &dashboard.states[run.task.as_str()];
        assert_eq!(state["status"], serde_json::to_value(execution.status).unwrap());
        if execution.status.is_final() {
            let results = rig.store.all_results(rig.org, run.execution).await.unwrap();
            assert_eq!(state["tests"].as_array().unwrap().len(), results.len());
            assert!(state["endTime"].is_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_is_the_same_from_memory_from_the_store_after_a_restart_and_settled() {
    for seed in 0..4 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let rig = Rig::new().await;
        let runs = story(&rig, seed).await;
        let sealed = rig.windows().await;
        assert!(sealed.len() > 2);
        check_all(&rig, &runs, &sealed, &mut rng).await;
        let head = rig.engine.head(rig.org).await.unwrap();
        let rig = rig.restart().await;
        assert_eq!(rig.engine.head(rig.org).await.unwrap(), head);
        check_all(&rig, &runs, &sealed, &mut rng).await;
        rig.pass(limits::LATE_EVENTS + Duration::from_secs(2)).await;
        rig.until(|| async {
            let unsettled = rig.store.unsettled_runs().await.unwrap();
            unsettled.iter().all(|run| run.state == crate::store::contract::RunState::Open)
        })
        .await;
        check_all(&rig, &runs, &sealed, &mut rng).await;
        // Numbering goes on where it was.
        let run = rig.open().await;
        assert_eq!(rig.windows().await.last().unwrap().from, head.sealed);
        assert_eq!(rig.execution(&run).await.status, Status::Running);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_does_not_own_up_to_is_told_once_it_is_known() {
    for seed in 0..4 {
        let lossy = |store| Arc::new(Lossy::new(store)) as Arc<dyn Store>;
        let rig = Rig::over(EngineSettings::default(), lossy).await;
        let runs = story(&rig, seed).await;
        let store = &rig.store;
        let stored = async || store.feed_head(rig.org).await.unwrap();
        rig.until(|| async {
            rig.windows_so_far().await.last().map(|window| window.upto) == Some(stored().await)
        })
        .await;
        let sealed = rig.windows().await;
        let mut dashboard = Dashboard::default();
        sealed.iter().for_each(|window| dashboard.take(window));
        let rows = store.feed_rows(rig.org, 0, usize::MAX).await.unwrap();
        assert!(sealed.iter().all(|window| rows.iter().any(|row| row.seq == window.upto)), "a void boundary");
        for run in &runs {
            let output = dashboard.output.get(run.task.as_str()).cloned().unwrap_or_default();
            assert_eq!(output, rig.text(run).await);
        }
        let mut rng = SmallRng::seed_from_u64(seed);
        let rig = rig.restart().await;
        check_all(&rig, &runs, &sealed, &mut rng).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_number_is_looked_up_and_holds_up_what_comes_after() {
    let rig = Rig::new().await;
    let feed = rig.engine.deps.feed(rig.org);
    let (stored, void) = (feed.reserve().await.unwrap(), feed.reserve().await.unwrap());
    let run = rig.open().await;
    assert!(rig.windows_so_far().await.is_empty(), "two numbers below are undecided");
    assert_eq!(rig.engine.head(rig.org).await.unwrap().sealed, 0);
    let execution = super::fixtures::execution();
    let execution = crate::domain::execution::Execution { org: rig.org, ..execution };
    let mut opened = crate::store::contract::OpenedRun {
        feed_seq: stored.seq(),
        cycle: rig.store.cycle_of(rig.org, run.execution).await.unwrap().unwrap(),
        session: rig.store.session(run.session).await.unwrap().unwrap(),
        execution,
    };
    opened.session.id = opened.execution.ingest.session;
    rig.store.open_run(opened.clone()).await.unwrap();
    drop((stored, void));
    rig.until(|| async { rig.windows_so_far().await.last().is_some_and(|window| window.upto == 3) }).await;
    let told = rig.frames().await;
    let tasks: Vec<_> = told
        .iter()
        .map(|frame| match frame {
            Frame::Updated { task, .. } | Frame::Log { task, .. } => task.clone(),
        })
        .collect();
    assert!(tasks.contains(&opened.execution.task_id) && tasks.contains(&run.task), "{tasks:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_viewers_the_boundary_moves_alone_and_what_was_missed_is_in_the_store() {
    let rig = Rig::new().await;
    rig.viewer.is_away.store(true, Ordering::Release);
    let run = rig.open().await;
    rig.send(&run, rig.line(1, "nobody is watching")).await.unwrap();
    assert_eq!(rig.windows().await.len(), 0);
    assert_eq!(rig.engine.head(rig.org).await.unwrap().sealed, 2);
    rig.viewer.is_away.store(false, Ordering::Release);
    rig.send(&run, rig.line(2, "somebody is")).await.unwrap();
    let windows = rig.windows().await;
    assert_eq!((windows.len(), windows[0].from, windows[0].upto), (1, 2, 3));
    let mut dashboard = Dashboard::default();
    dashboard.catch_up(&rig).await;
    assert_eq!(dashboard.output[run.task.as_str()], rig.text(&run).await);
}

/// What is told is only made for viewers: whoever comes between, with the boundary still below, gets it from the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_of_a_time_without_viewers_is_told_whole_to_one_who_comes_before_it_is_sealed() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.viewer.is_away.store(true, Ordering::Release);
    let undecided = rig.engine.deps.feed(rig.org).reserve().await.unwrap();
    rig.send(&run, rig.line(1, "nobody is watching")).await.unwrap();
    rig.viewer.is_away.store(false, Ordering::Release);
    let came_at = rig.engine.head(rig.org).await.unwrap().sealed;
    rig.send(&run, rig.line(2, "somebody is")).await.unwrap();
    undecided.void();
    let windows = rig.windows().await;
    let mut dashboard = Dashboard { at: came_at, ..Dashboard::default() };
    windows.iter().filter(|window| window.from >= came_at).for_each(|window| dashboard.take(window));
    assert_eq!(dashboard.output[run.task.as_str()], rig.text(&run).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_taken_back_is_told_as_cancelled_also_later() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.engine.abandon(rig.org, &run).await.unwrap();
    assert_eq!(rig.updates(&run).await.last().unwrap()["status"], "CANCELLED");
    let sealed = rig.windows().await;
    let rig = rig.restart().await;
    for window in &sealed {
        let again = rig.engine.window(rig.org, window.from, Some(window.upto)).await.unwrap().unwrap();
        assert_eq!(shape(&again), shape(window));
    }
    let mut dashboard = Dashboard::default();
    dashboard.catch_up(&rig).await;
    assert_eq!(dashboard.states[run.task.as_str()]["status"], "CANCELLED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_that_cannot_be_continued_are_refused() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.send(&run, rig.line(1, "one")).await.unwrap();
    rig.tear_down(&run, true).await.unwrap();
    let sealed = rig.windows().await.last().unwrap().upto;
    let refused = |unusable| Err(FeedError::Unusable(unusable));
    for after in 0..=sealed {
        assert_eq!(rig.engine.check(rig.org, after).await, Ok(()));
    }
    for after in [sealed + 1, u64::MAX] {
        assert_eq!(rig.engine.check(rig.org, after).await, refused(Unusable::Forged));
        assert_eq!(rig.engine.window(rig.org, after, None).await, Err(Unusable::Forged.into()));
    }
    for (after, upto) in [(0, sealed + 1), (0, u64::MAX), (1, 1), (2, 1), (sealed, sealed)] {
        assert_eq!(rig.engine.window(rig.org, after, Some(upto)).await, Err(Unusable::Forged.into()));
    }
    assert_eq!(rig.engine.window(rig.org, sealed, None).await, Ok(None));
    // A week later its rows are forgotten, and what is left of the numbering is where it stands.
    rig.until(|| async { rig.store.unsettled_runs().await.unwrap().is_empty() }).await;
    let rig = rig.restart().await;
    rig.pass(limits::FEED_RETENTION + Duration::from_secs(3600)).await;
    rig.until(|| async { rig.store.feed_floor(rig.org).await.unwrap() == sealed }).await;
    assert_eq!(rig.engine.head(rig.org).await.unwrap().sealed, sealed);
    assert_eq!(rig.engine.check(rig.org, 0).await, refused(Unusable::TooOld));
    assert_eq!(rig.engine.window(rig.org, 1, None).await, Err(Unusable::TooOld.into()));
    assert_eq!(rig.engine.check(rig.org, sealed).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_eight_megabytes_are_caught_up_in_small_windows_and_too_much_is_refused() {
    let rig = Rig::new().await;
    let line = "x".repeat(255 << 10);
    let mut runs = Vec::new();
    for _ in 0..6 {
        runs.push(rig.open().await);
    }
    let fill = async |digests: std::ops::Range<u128>| {
        for digest in digests {
            for run in &runs {
                rig.send(run, rig.line(digest << 8, &line)).await.unwrap();
            }
        }
    };
    fill(0..32).await;
    rig.windows().await;
    assert_eq!(rig.engine.check(rig.org, 0).await, Ok(()));
    let mut dashboard = Dashboard::default();
    let windows = dashboard.catch_up(&rig).await;
    assert!(windows >= 6 * 32, "{windows} windows");
    for run in &runs {
        assert!(dashboard.output[run.task.as_str()] == rig.text(run).await);
    }
    assert_eq!(
        rig.engine.window(rig.org, 0, Some(dashboard.at)).await,
        Err(Unusable::TooLong.into()),
        "not in one piece"
    );
    fill(32..39).await;
    // Everything in memory is text of at most two ticks; the rest of it is read from the store.
    rig.send(&runs[0], rig.line(1, "last")).await.unwrap();
    rig.windows().await;
    assert_eq!(rig.engine.check(rig.org, dashboard.at).await, Ok(()));
    fill(39..44).await;
    rig.windows().await;
    assert_eq!(rig.engine.check(rig.org, 0).await, Err(Unusable::TooLong.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_runs_at_once_are_all_there() {
    let rig = Rig::new().await;
    let opening = (0..200).map(|_| rig.engine.set_up(rig.org, rig.user, rig.setup()));
    let runs: Vec<_> =
        futures_util::future::join_all(opening).await.into_iter().map(Result::unwrap).collect();
    for round in 0..3_u128 {
        let lines = runs.iter().enumerate().map(|(n, run)| {
            let digest = round << 16 | n as u128;
            let line = rig.line(digest, &format!("run {n} round {round} 🦀"));
            async { rig.send(run, line).await.unwrap() }
        });
        futures_util::future::join_all(lines).await;
    }
    futures_util::future::join_all(runs.iter().map(|run| rig.tear_down(run, true))).await;
    let sealed = rig.windows().await;
    let last = sealed.last().unwrap().upto;
    let rows = rig.store.feed_rows(rig.org, 0, usize::MAX).await.unwrap();
    assert_eq!(rows.last().unwrap().seq, last);
    let told: usize = rows.iter().filter(|row| row.updated).count();
    assert_eq!(told, 400, "each is opened and closed");
    let mut rng = SmallRng::seed_from_u64(1);
    check_all(&rig, &runs, &sealed, &mut rng).await;
    let rig = rig.restart().await;
    check_all(&rig, &runs, &sealed, &mut rng).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_the_log_cap_took_out_cannot_be_replayed() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    let line = "x".repeat((1 << 20) - 1);
    for n in 0..12 {
        rig.send(&run, rig.line(n, &line)).await.unwrap();
    }
    rig.windows().await;
    // Of twelve mebibytes the first and the last nine are kept: the fourth line begins the latter.
    let after_lines = async |lines: u64| rig.engine.check(rig.org, 1 + lines).await;
    let too_old = Err(FeedError::Unusable(Unusable::TooOld));
    assert_eq!((after_lines(0).await, after_lines(2).await), (too_old.clone(), too_old));
    assert_eq!((after_lines(4).await, after_lines(12).await), (Ok(()), Ok(())));
    assert_eq!(rig.engine.window(rig.org, 2, Some(3)).await, Err(Unusable::TooOld.into()));
    let window = rig.engine.window(rig.org, 1, Some(2)).await.unwrap().unwrap();
    assert_eq!(window.frames.len(), (1 << 20) / limits::FRAME_TEXT_BYTES_MAX, "its first line is kept");
}
