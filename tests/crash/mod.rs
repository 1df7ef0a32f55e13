//! `kill -9` at random moments under load: nothing acknowledged is missing, nothing is doubled, order is kept, and the
//! feed numbers all of it.
//! The real binary, real sockets, several reporters that retry as the public one does.

mod accounts;
mod feed;
pub(crate) mod process;
pub(crate) mod reporter;
pub(crate) mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use process::Deployment;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reporter::{Habit, Ledger, Reporter};

use crate::support::beneath::{Beneath, on_each_store_beneath};

on_each_store_beneath! { nothing_acknowledged_is_lost_or_doubled_when_the_server_is_killed }

/// Kills in the suite, and with `RUNSTREAM_TEST_LONG=1`.
const KILLS: usize = 30;
const KILLS_LONG: usize = 300;
/// The same on a cluster, where the next server waits for seconds whether the one before is silent.
const KILLS_ON_SCYLLA: usize = 4;
const KILLS_ON_SCYLLA_LONG: usize = 60;

async fn nothing_acknowledged_is_lost_or_doubled_when_the_server_is_killed(beneath: &Beneath) {
    let kills = match (crate::support::long_mode(), beneath.is_scylla()) {
        (false, false) => KILLS,
        (true, false) => KILLS_LONG,
        (false, true) => KILLS_ON_SCYLLA,
        (true, true) => KILLS_ON_SCYLLA_LONG,
    };
    let seed: u64 = rand::random();
    println!("seed {seed}, {kills} kills");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut deployment = Deployment::over(beneath).await;
    let account = deployment.sign_up().await;
    let stop = Arc::new(AtomicBool::new(false));
    let habits = [Habit::OneAtATime, Habit::SeveralInFlight, Habit::Numbered, Habit::OneAtATime];
    let reporters = habits.into_iter().enumerate().map(|(writer, habit)| {
        let reporter = Reporter::new(&account, writer, habit, dice.random());
        tokio::spawn(reporter.run(Arc::clone(&stop)))
    });
    let reporters = reporters.collect::<Vec<_>>();
    for _ in 0..kills {
        let alive = Duration::from_millis(dice.random_range(20..500));
        tokio::time::sleep(alive).await;
        deployment.kill().await;
        deployment.restart().await;
        // One on a cluster would not come to do anything.
        if beneath.is_scylla() || dice.random_bool(0.9) {
            deployment.until_healthy().await;
        }
    }
    deployment.until_healthy().await;
    stop.store(true, Ordering::Release);
    let mut ledgers: Vec<Ledger> = Vec::new();
    for reporter in reporters {
        ledgers.push(reporter.await.unwrap());
    }
    // One more, so that what is read was recovered and not remembered.
    deployment.kill().await;
    deployment.restart().await;
    deployment.until_healthy().await;
    let totals = verify::all(&[&account], &ledgers).await;
    println!("{totals:?}");
    assert!(totals.acknowledged > kills * 2, "too little happened to mean anything: {totals:?}");
    assert!(totals.finished > 0, "no run came to its end: {totals:?}");
    let org = feed::organization(&account, &ledgers).await;
    let data = deployment.terminate().await;
    feed::check(beneath, data.path(), org, &ledgers).await;
}
