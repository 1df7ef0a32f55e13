//! The replay rule to the millisecond, on a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use runstream::clock::ManualClock;
use runstream::server::Seams;

use super::{accepted, counts, line, text};
use crate::support::beneath::{Beneath, on_each_store_beneath};
use crate::support::held::HeldFs;
use crate::support::stage::Stage;

on_each_store_beneath! {
    equal_bytes_are_the_same_batch_from_900_ms_to_30_s,
    batches_that_only_look_alike_all_count,
}

fn noon() -> ManualClock {
    ManualClock::at(1_774_000_000_000)
}

async fn equal_bytes_are_the_same_batch_from_900_ms_to_30_s(beneath: &Beneath) {
    let clock = noon();
    let mut stage = Stage::over(beneath, Arc::new(clock.clone())).await;
    let organization = stage.organization("rosa").await;
    for (gap_ms, restart, applied) in [
        (0, false, 2),
        (899, false, 2),
        (900, false, 1),
        (29_999, false, 1),
        (30_000, false, 1),
        (30_001, false, 2),
        (900, true, 1),
        (30_000, true, 1),
        (30_001, true, 2),
        (899, true, 2),
    ] {
        let run = organization.open().await;
        let body = line(&run, "again", None);
        accepted(&organization.reporter, &body).await;
        if restart {
            stage.restart().await;
        }
        clock.advance(Duration::from_millis(gap_ms));
        accepted(&organization.reporter, &body).await;
        assert_eq!(
            text(&organization, &run).await,
            "again\n".repeat(applied),
            "{gap_ms} ms, restart: {restart}"
        );
        let stored = applied as u64;
        assert_eq!(
            counts(&organization, &run).await,
            (stored, 2 - stored),
            "{gap_ms} ms, restart: {restart}"
        );
    }
}

async fn batches_that_only_look_alike_all_count(beneath: &Beneath) {
    let clock = noon();
    let stage = Stage::over(beneath, Arc::new(clock.clone())).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let body = line(&run, "tick", None);
    let at_once = (0..12).map(|_| accepted(&organization.reporter, &body));
    futures_util::future::join_all(at_once).await;
    clock.advance(Duration::from_millis(3));
    accepted(&organization.reporter, &body).await;
    assert_eq!(text(&organization, &run).await, "tick\n".repeat(13));
    // Another session's equal batch is another batch, whenever it comes.
    clock.advance(Duration::from_secs(2));
    let other = organization.open().await;
    accepted(&organization.reporter, &line(&other, "tick", None)).await;
    assert_eq!(
        (text(&organization, &other).await, counts(&organization, &run).await),
        ("tick\n".into(), (13, 0))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_sent_again_while_it_is_under_way_counts_once() {
    let (clock, disk) = (noon(), HeldFs::default());
    let seams = Seams { clock: Arc::new(clock.clone()), fs: Arc::new(disk.clone()), ..Seams::default() };
    let stage = Stage::start_on(seams, |_| {}).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    accepted(&organization.reporter, &line(&run, "before", None)).await;
    for numbered in [false, true] {
        let name = format!("numbered {numbered}");
        let number = numbered.then_some("0000000a:1");
        let body = line(&run, &name, number);
        disk.hold();
        let first = tokio::spawn({
            let (client, body) = (organization.reporter.clone(), body.clone());
            async move { accepted(&client, &body).await }
        });
        disk.until_waiting().await;
        // A numbered batch is known at once, any other only when the reporter can have given it up.
        if !numbered {
            clock.advance(Duration::from_millis(1_000));
        }
        let again = (0..3).map(|_| accepted(&organization.reporter, &body));
        let again = futures_util::future::join_all(again);
        let release = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            disk.release();
        };
        tokio::join!(again, release);
        first.await.unwrap();
    }
    assert_eq!(text(&organization, &run).await, "before\nnumbered false\nnumbered true\n");
    assert_eq!(counts(&organization, &run).await, (3, 6));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every batch is sent again one to three times, each time between 0.9 s and 30 s after it was first received, in
    /// between of others and over restarts.
    #[test]
    fn every_batch_sent_again_counts_once(seed in any::<u64>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sent, stored, counts, resent) = runtime.block_on(send_all_again(&Beneath::Lsm, seed));
        prop_assert_eq!(stored, sent);
        prop_assert_eq!(counts, (60, resent));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn every_batch_sent_again_counts_once_on_scylla() {
    let seed = rand::random();
    println!("seed {seed}");
    let (sent, stored, counts, resent) = send_all_again(&Beneath::scylla().await, seed).await;
    assert_eq!(stored, sent);
    assert_eq!(counts, (60, resent));
}

async fn send_all_again(beneath: &Beneath, seed: u64) -> (String, String, (u64, u64), u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let clock = noon();
    let mut stage = Stage::over(beneath, Arc::new(clock.clone())).await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    let (mut sent, mut resent) = (String::new(), 0);
    for round in 0..10 {
        // What the batches of a round say may be the same as in other rounds: those are more than 30 s ago.
        let mut bodies: Vec<_> = (0..6).map(|n| line(&run, &format!("line {n}"), None)).collect();
        for (n, body) in bodies.iter().enumerate() {
            accepted(&organization.reporter, body).await;
            sent.push_str(&format!("line {n}\n"));
            clock.advance(Duration::from_millis(random.random_range(0..100)));
        }
        let mut left_ms = 29_000;
        for _ in 0..random.random_range(1..4) {
            let pause_ms = random.random_range(900..left_ms / 2);
            left_ms -= pause_ms;
            clock.advance(Duration::from_millis(pause_ms));
            if random.random_bool(0.2) {
                stage.restart().await;
            }
            bodies.shuffle(&mut random);
            for body in &bodies {
                accepted(&organization.reporter, body).await;
                resent += 1;
            }
        }
        clock.advance(Duration::from_millis(31_000));
        if round % 4 == 3 {
            stage.restart().await;
        }
    }
    (sent, text(&organization, &run).await, counts(&organization, &run).await, resent)
}
