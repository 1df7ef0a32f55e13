//! Many at once, and a disk that cannot keep up.

use std::time::Duration;

use super::harness::Rig;
use crate::actors::bucket::Quota;
use crate::actors::buckets::{BucketKey, IngestTier};
use crate::actors::organization::message::OrgMessage;
use crate::actors::{EngineError, EngineSettings, LimitedResource, PlanLimitHit};
use crate::clock::Clock;
use crate::domain::id::ProjectId;
use crate::domain::plan::Plan;
use crate::domain::setup::SetupRequest;
use crate::domain::usage::Period;
use crate::limits;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_arrive_while_an_append_is_in_flight_share_the_next() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.disk.hold();
    let sending = (0..40).map(|n| {
        let (engine, org, session) = (rig.engine.clone(), rig.org, run.session);
        let batch = rig.line(n, &format!("line {n}"));
        tokio::spawn(async move { engine.ingest(org, session, batch).await })
    });
    let sending = sending.collect::<Vec<_>>();
    rig.pass(Duration::from_millis(1)).await;
    rig.disk.release();
    for one in sending {
        one.await.unwrap().unwrap();
    }
    let segments = rig.store.segments(rig.org, run.execution, (0, 0), usize::MAX).await.unwrap();
    assert!(segments.len() <= 3, "{} segments for 40 batches", segments.len());
    assert_eq!(segments.iter().map(|segment| segment.batches.len()).sum::<usize>(), 40);
    assert_eq!(rig.seen(&run).await, rig.text(&run).await);
    assert_eq!(rig.text(&run).await.lines().count(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_recovers_without_loss_or_doubling() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.send(&run, rig.line(1, "before")).await.unwrap();
    rig.disk.set_full(true);
    let mut refused = 0;
    for n in 0..200 {
        match rig.send(&run, rig.line(100 + n, "maybe")).await {
            Ok(_) => {}
            Err(EngineError::Busy { retry_after_s }) => {
                assert!(retry_after_s >= 1);
                refused += 1;
                break;
            }
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(refused, 1, "a full disk is noticed");
    let stored = rig.text(&run).await;
    rig.disk.set_full(false);
    rig.until(|| async { rig.send(&run, rig.numbered(7, "after")).await.is_ok() }).await;
    assert_eq!(rig.text(&run).await, format!("{stored}after\n"));
    assert_eq!(rig.seen(&run).await, rig.text(&run).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_callers_wait_and_then_refuses() {
    let settings = EngineSettings { append_wait: Duration::from_millis(800), ..EngineSettings::default() };
    let rig = Rig::with(settings).await;
    let run = rig.open().await;
    rig.disk.slow_down(Duration::from_millis(100));
    rig.send(&run, rig.line(1, "waits")).await.unwrap();
    rig.disk.hold();
    let late = rig.line(2, "comes late");
    let again = rig.line(2, "comes late");
    assert_eq!(rig.send(&run, late).await, Err(EngineError::Busy { retry_after_s: 1 }));
    rig.disk.release();
    rig.pass(Duration::from_secs(2)).await;
    // What was refused for want of time may have been stored; sent again it is recognised.
    let again = crate::actors::Delivered {
        receipt: crate::domain::batch::Receipt {
            received_ms: again.receipt.received_ms + 2_000,
            ..again.receipt
        },
        ..again
    };
    assert!(rig.send(&run, again).await.unwrap().replayed);
    assert_eq!(rig.text(&run).await, "waits\ncomes late\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plans_runs_cannot_be_raced_past_and_come_back_when_a_run_is_taken_back() {
    let rig = Rig::with(EngineSettings { plan: Plan::Free, ..EngineSettings::default() }).await;
    let openings = (0..60).map(|_| {
        let (engine, org, user, request) = (rig.engine.clone(), rig.org, rig.user, rig.setup());
        tokio::spawn(async move { engine.set_up(org, user, request).await })
    });
    let mut opened = Vec::new();
    for opening in openings.collect::<Vec<_>>() {
        match opening.await.unwrap() {
            Ok(run) => opened.push(run),
            Err(error) => {
                let hit = PlanLimitHit { resource: LimitedResource::TestRuns, used: 50, limit: 50 };
                assert_eq!(error, EngineError::Limit(hit));
            }
        }
    }
    assert_eq!(opened.len(), 50);
    rig.engine.abandon(rig.org, &opened[0]).await.unwrap();
    assert_eq!(rig.store.execution(rig.org, opened[0].execution).await.unwrap(), None);
    assert_eq!(rig.send(&opened[0], rig.line(1, "x")).await, Err(EngineError::SessionNotFound));
    rig.open().await;
    let rig = rig.restart().await;
    assert!(rig.engine.set_up(rig.org, rig.user, rig.setup()).await.is_err(), "the count is the store's");
    rig.pass(Duration::from_secs(31 * 24 * 3600)).await;
    rig.open().await;
}

#[tokio::test]
async fn idle_runs_and_organizations_leave_memory_and_come_back() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.send(&run, rig.line(1, "one")).await.unwrap();
    rig.engine.note_refused(rig.org, run.session, crate::actors::Refusal::Tier).await;
    let quota = Quota { capacity: 5, window_ms: 60_000 };
    rig.engine.buckets(rig.org).take(
        BucketKey::Organization(IngestTier::Event),
        quota,
        super::harness::START_MS,
    );
    let watching = rig.engine.progress(rig.org, run.execution).await.unwrap();
    assert_eq!(rig.engine.stats().executions, 1);
    for _ in 0..50 {
        rig.pass(Duration::from_secs(1)).await;
    }
    assert_eq!(rig.engine.stats().executions, 1, "a watched run stays");
    drop(watching);
    rig.until(|| async { rig.engine.stats().executions == 0 && rig.engine.stats().organizations == 0 }).await;
    rig.send(&run, rig.line(2, "two")).await.unwrap();
    assert_eq!(rig.text(&run).await, "one\ntwo\n");
    let completeness = rig.engine.completeness(rig.org, run.execution).await.unwrap().unwrap();
    assert_eq!(completeness.batches_refused_tier, 1, "what was refused outlives the actor");
}

/// On one thread, so that the organization finds both in its mailbox and goes at the first.
#[tokio::test]
async fn what_meets_an_organization_that_is_just_leaving_is_done_by_the_next() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    let actor = || {
        let known = rig.engine.deps.directory.organizations.get(&rig.org).unwrap();
        known.actor.get().unwrap().clone()
    };
    let first = actor();
    first.cast(OrgMessage::LeaveIfIdle).unwrap();
    rig.engine.set_up(rig.org, rig.user, rig.setup()).await.unwrap();
    let second = actor();
    assert_ne!(second.get_id(), first.get_id(), "it has not left");
    second.cast(OrgMessage::LeaveIfIdle).unwrap();
    rig.send(&run, rig.line(1, "one")).await.unwrap();
    assert_ne!(actor().get_id(), second.get_id(), "it has not left");
    assert_eq!(rig.text(&run).await, "one\n");
}

#[tokio::test]
async fn idle_runs_leave_a_few_at_a_time() {
    let rig = Rig::new().await;
    let runs = 8 * usize::from(limits::IDLE_SHARES);
    for _ in 0..runs {
        let run = rig.open().await;
        rig.send(&run, rig.line(1, "one")).await.unwrap();
    }
    assert_eq!(rig.engine.stats().executions, runs);
    let (mut before, mut most) = (runs, 0);
    for _ in 0..31 {
        rig.pass(Duration::from_secs(1)).await;
        let now = rig.engine.stats().executions;
        most = most.max(before - now);
        before = now;
    }
    for _ in 0..100 {
        rig.pass(Duration::ZERO).await;
    }
    assert_eq!(rig.engine.stats().executions, 0, "not all left within 31 s");
    assert!((1..runs / 3).contains(&most), "{most} of {runs} left at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_was_taken_for_nothing_is_found_when_places_run_out() {
    let rig = Rig::with(EngineSettings { plan: Plan::Free, ..EngineSettings::default() }).await;
    rig.open().await;
    let period = Period::at(rig.clock.now_ms());
    // As a process does that ends between taking a place and storing its run.
    for _ in 0..49 {
        rig.store.take_run_place(rig.org, period.start_ms, 50, 0, rig.clock.now_ms()).await.unwrap();
    }
    let refused = || async { rig.engine.set_up(rig.org, rig.user, rig.setup()).await };
    let hit = PlanLimitHit { resource: LimitedResource::TestRuns, used: 50, limit: 50 };
    assert_eq!(refused().await.unwrap_err(), EngineError::Limit(hit), "it may still come to be");
    rig.clock.advance(Duration::from_secs(61));
    for _ in 0..49 {
        rig.open().await;
    }
    assert_eq!(refused().await.unwrap_err(), EngineError::Limit(hit));
    rig.clock.advance(Duration::from_secs(61));
    assert_eq!(refused().await.unwrap_err(), EngineError::Limit(hit), "all of them are runs now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setup_that_is_refused_gives_its_place_back() {
    let rig = Rig::with(EngineSettings { plan: Plan::Free, ..EngineSettings::default() }).await;
    for _ in 0..60 {
        let request = SetupRequest { project: ProjectId::generate(1), ..rig.setup() };
        let refused = rig.engine.set_up(rig.org, rig.user, request).await;
        assert_eq!(refused.unwrap_err(), EngineError::ProjectNotFound);
    }
    rig.open().await;
}
