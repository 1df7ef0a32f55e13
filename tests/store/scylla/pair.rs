//! Two servers on one keyspace under load: one is killed and comes back, the other one is cut off from the cluster for longer
//! than its lease. Reporters go from one to the other; whatever either acknowledged is there once, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join;
use http::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use runstream::cli::client::Answer;
use runstream::limits::{DEAD_AFTER, HEARTBEAT};
use serde_json::json;

use crate::crash::process::{Account, Deployment};
use crate::crash::reporter::{Habit, Ledger, Reporter};
use crate::crash::verify;
use crate::support::cql::{self, Wire};
use crate::support::long_mode;

/// So long nothing passes between a server and the cluster: the other one has declared it dead by then, and a write that was
/// under way is made again a moment later, while its reporter is still waiting.
const CUT: Duration = Duration::from_millis(5_800);
const _: () = assert!(DEAD_AFTER.as_millis() + 2 * HEARTBEAT.as_millis() < CUT.as_millis());
/// How often both happen in the longer mode, with cuts of any length.
const ROUNDS_LONG: usize = 10;
/// Two that keep an order, two that use both servers at once.
const HABITS: [Habit; 4] = [Habit::Numbered, Habit::Spread, Habit::Numbered, Habit::Spread];
const FLOWS: Duration = Duration::from_millis(1_000);
/// Nothing a test waits for takes this long, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that is fed by hand.
struct Fed {
    session: String,
    task: String,
    /// The numbers of its batches, as they were acknowledged.
    lines: Vec<u64>,
}

impl Fed {
    async fn open(at: &Account) -> Self {
        let body = json!({
            "projectId": at.project, "framework": "playwright", "reporterVersion": "1", "totalTests": 1
        });
        let opened = at.client.call(Method::POST, "/api/ingest/setup", Some(&body)).await.unwrap();
        assert_eq!(opened.status, StatusCode::CREATED, "{}", opened.body);
        let text = |key: &str| opened.body["data"][key].as_str().unwrap().to_owned();
        Self { session: text("sessionId"), task: text("taskId"), lines: Vec::new() }
    }

    /// Offers a batch to a server, once.
    fn offer(&self, to: &Account, n: u64) -> impl Future<Output = Answer> + use<> {
        let (client, chunk) = (to.client.clone(), format!("line {n}\n"));
        let body = json!({ "sessionId": self.session, "batch": format!("00c0ffee:{n}"),
            "events": [{ "type": "log", "chunk": chunk, "timestamp": 1_774_000_000_000_i64 }] });
        async move { client.call(Method::POST, "/api/ingest/event", Some(&body)).await.unwrap() }
    }

    /// Offers a batch until it is acknowledged.
    async fn send(&mut self, to: &Account, n: u64) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let answer = self.offer(to, n).await;
            if answer.status == StatusCode::OK {
                self.lines.push(n);
                return;
            }
            check_refusal(&answer);
            assert!(Instant::now() < patience, "batch {n} is never taken");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn check(&self, at: &Account) {
        let text = at.get(&format!("/api/executions/{}/logs", self.task)).await;
        let wanted: String = self.lines.iter().map(|n| format!("line {n}\n")).collect();
        assert_eq!(text["data"]["output"], wanted);
    }
}

/// A server that may not acknowledge says so, and when to come back.
#[track_caller]
fn check_refusal(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn two_servers_of_which_one_dies_and_one_is_cut_off_lose_and_double_nothing() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let keyspace = cql::keyspace().await;
    let mut wire = Wire::to(&keyspace).await;
    let (direct, wired) = (cql::configuration(&keyspace), cql::configuration(&wire.settings()));
    let (mut one, mut two) = join(Deployment::configured(&direct), Deployment::configured(&wired)).await;
    let at_one = one.sign_up().await;
    let at_two = two.known_to(&at_one);

    let stop = Arc::new(AtomicBool::new(false));
    let reporters = HABITS.into_iter().enumerate().map(|(writer, habit)| {
        let reporter = Reporter::of_several(&[&at_one, &at_two], writer, habit, dice.random());
        tokio::spawn(reporter.run(Arc::clone(&stop)))
    });
    let reporters: Vec<_> = reporters.collect();
    let mut fed = Vec::new();
    for round in 0..if long_mode() { ROUNDS_LONG } else { 1 } {
        tokio::time::sleep(FLOWS).await;
        fed.push(one_is_killed(&mut one, &at_one, &at_two).await);
        tokio::time::sleep(FLOWS).await;
        // Shorter than a lease, shorter than it takes to be declared dead, or longer.
        let cut = if round == 0 { CUT } else { Duration::from_millis(dice.random_range(500..9_000)) };
        fed.push(two_is_cut_off(&mut wire, cut, &mut two, &at_one, &at_two).await);
    }
    tokio::time::sleep(FLOWS).await;
    stop.store(true, Ordering::Release);
    let mut ledgers: Vec<Ledger> = Vec::new();
    for reporter in reporters {
        ledgers.push(reporter.await.unwrap());
    }
    let refusals: usize = ledgers.iter().flatten().map(|run| run.refusals).sum();
    let totals = verify::all(&[&at_one, &at_two], &ledgers).await;
    println!("{totals:?}, {refusals} refusals");
    assert!(totals.acknowledged > 100 && refusals > 0, "too little happened: {totals:?}");
    for run in &fed {
        run.check(&at_one).await;
        run.check(&at_two).await;
    }
    one.terminate().await;
    two.terminate().await;
}

/// The second server takes the runs of the first one over, and keeps them when that is back.
async fn one_is_killed(one: &mut Deployment, at_one: &Account, at_two: &Account) -> Fed {
    let mut run = Fed::open(at_one).await;
    run.send(at_one, 0).await;
    check_refusal(&run.offer(at_two, 1).await);
    one.kill().await;
    run.send(at_two, 1).await;
    one.restart().await;
    one.until_healthy().await;
    check_refusal(&run.offer(at_one, 2).await);
    run.send(at_two, 2).await;
    run
}

/// The first server takes the runs of the second one over, if the cut is long enough. What the second one was about to store
/// is not acknowledged by it.
async fn two_is_cut_off(
    wire: &mut Wire,
    cut: Duration,
    two: &mut Deployment,
    at_one: &Account,
    at_two: &Account,
) -> Fed {
    let mut run = Fed::open(at_two).await;
    run.send(at_two, 0).await;
    wire.cut();
    let begun = Instant::now();
    let late = tokio::spawn(run.offer(at_two, 1));
    if cut >= CUT {
        run.send(at_one, 2).await;
    }
    tokio::time::sleep(cut.saturating_sub(begun.elapsed())).await;
    wire.mend();
    let late = late.await.unwrap();
    two.until_healthy().await;
    if cut >= CUT {
        check_refusal(&late);
        check_refusal(&run.offer(at_two, 3).await);
        for n in [1, 3] {
            run.send(at_one, n).await;
        }
    } else {
        // Acknowledged already, or nobody knows.
        run.send(at_two, 1).await;
    }
    run
}
