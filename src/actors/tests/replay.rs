//! Exactly once: what is sent again is recognised, whatever happened in between.

use std::time::Duration;

use super::harness::Rig;
use crate::actors::execution::message::ExecutionMessage;
use crate::actors::{Delivered, EngineError};
use crate::domain::batch::Batch;

fn copy(rig: &Rig, of: &Delivered) -> Delivered {
    let receipt = crate::domain::batch::Receipt {
        received_ms: crate::clock::Clock::now_ms(&rig.clock),
        nonce: rand::random(),
        ..of.receipt
    };
    Delivered { receipt, batch: Batch::clone(&of.batch), permit: None }
}

#[tokio::test]
async fn a_batch_sent_again_after_a_second_counts_once_also_after_a_restart() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    let first = rig.line(1, "hello");
    let (again, later) = (copy(&rig, &first), copy(&rig, &first));
    assert!(!rig.send(&run, first).await.unwrap().replayed);
    assert!(
        !rig.send(&run, copy(&rig, &again)).await.unwrap().replayed,
        "a tight loop prints the same twice"
    );
    rig.pass(Duration::from_millis(1_500)).await;
    assert!(rig.send(&run, copy(&rig, &again)).await.unwrap().replayed);
    let rig = rig.restart().await;
    assert!(rig.send(&run, copy(&rig, &later)).await.unwrap().replayed);
    assert_eq!(rig.text(&run).await, "hello\nhello\n");
    let completeness = rig.engine.completeness(rig.org, run.execution).await.unwrap().unwrap();
    assert_eq!((completeness.batches_stored, completeness.batches_replayed), (2, 2));
    rig.pass(Duration::from_secs(31)).await;
    assert!(!rig.send(&run, copy(&rig, &later)).await.unwrap().replayed, "half a minute later it is new");
}

#[tokio::test]
async fn a_numbered_batch_counts_once_for_as_long_as_the_session_lives() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    assert!(!rig.send(&run, rig.numbered(0, "zero")).await.unwrap().replayed);
    assert!(!rig.send(&run, rig.numbered(1, "one")).await.unwrap().replayed);
    rig.pass(Duration::from_secs(20 * 3600)).await;
    assert!(rig.send(&run, rig.numbered(0, "zero")).await.unwrap().replayed);
    let rig = rig.restart().await;
    assert!(rig.send(&run, rig.numbered(1, "one")).await.unwrap().replayed);
    assert!(!rig.send(&run, rig.numbered(2, "two")).await.unwrap().replayed);
    assert_eq!(rig.text(&run).await, "zero\none\ntwo\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_meets_itself_in_flight_is_answered_when_it_is_durable() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    rig.disk.hold();
    let first = rig.line(1, "hello");
    let (engine, org, session) = (rig.engine.clone(), rig.org, run.session);
    let second = copy(&rig, &first);
    let original = tokio::spawn(async move { engine.ingest(org, session, first).await });
    rig.pass(Duration::from_secs(2)).await;
    let engine = rig.engine.clone();
    let second = Delivered { receipt: copy(&rig, &second).receipt, ..second };
    let repeat = tokio::spawn(async move { engine.ingest(org, session, second).await });
    rig.pass(Duration::from_millis(1)).await;
    assert!(!original.is_finished() && !repeat.is_finished(), "nothing is durable yet");
    rig.disk.release();
    assert!(!original.await.unwrap().unwrap().replayed);
    assert!(repeat.await.unwrap().unwrap().replayed);
    assert_eq!(rig.text(&run).await, "hello\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_costs_its_run_one_retry_and_its_neighbours_nothing() {
    let rig = Rig::new().await;
    let (run, neighbour) = (rig.open().await, rig.open().await);
    rig.send(&run, rig.line(1, "before")).await.unwrap();
    rig.send(&neighbour, rig.line(1, "calm")).await.unwrap();
    let calm = rig.engine.execution_actor(rig.org, neighbour.execution).await.unwrap();
    rig.disk.hold();
    let (engine, org, session, batch) = (rig.engine.clone(), rig.org, run.session, rig.line(2, "during"));
    let sending = tokio::spawn(async move { engine.ingest(org, session, batch).await });
    rig.pass(Duration::from_millis(1)).await;
    // The batch is on its way to the disk when its actor dies, and is stored all the same.
    let actor = rig.engine.execution_actor(rig.org, run.execution).await.unwrap();
    actor.cast(ExecutionMessage::Panic).unwrap();
    rig.pass(Duration::from_millis(1)).await;
    // The next actor does not know of it yet and runs into it.
    let (engine, batch) = (rig.engine.clone(), rig.line(4, "meanwhile"));
    let meanwhile = tokio::spawn(async move { engine.ingest(org, session, batch).await });
    rig.pass(Duration::from_millis(1)).await;
    rig.disk.release();
    assert_eq!(sending.await.unwrap().map(|applied| applied.replayed), Ok(false));
    assert_eq!(meanwhile.await.unwrap().map(|applied| applied.replayed), Ok(false));
    rig.send(&run, rig.line(3, "after")).await.unwrap();
    assert_eq!(rig.text(&run).await, "before\nduring\nmeanwhile\nafter\n");
    let still = rig.engine.execution_actor(rig.org, neighbour.execution).await.unwrap();
    assert_eq!(still.get_id(), calm.get_id());
    let replaced = rig.engine.execution_actor(rig.org, run.execution).await.unwrap();
    assert_ne!(replaced.get_id(), actor.get_id());
}

#[tokio::test]
async fn another_organizations_session_is_not_found() {
    let rig = Rig::new().await;
    let run = rig.open().await;
    let foreign = crate::domain::id::OrgId::generate(0);
    let outcome = rig.engine.ingest(foreign, run.session, rig.line(1, "spy")).await;
    assert_eq!(outcome, Err(EngineError::SessionNotFound));
    assert_eq!(rig.engine.completeness(foreign, run.execution).await, Ok(None));
    assert!(rig.engine.progress(foreign, run.execution).await.unwrap().is_none());
    assert_eq!(rig.text(&run).await, "");
}
