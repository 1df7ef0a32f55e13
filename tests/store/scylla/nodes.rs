//! Three nodes that each have everything: one may die and nobody notices; while two are dead nothing is acknowledged, and
//! what was acknowledged is there when they are back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use runstream::actors::EngineError;
use runstream::store::scylla::runs::RunSettings;

use super::engine::{Node, line, lines, open, people};
use crate::support::cql::{self, Server};
use crate::support::long_mode;

/// Writers, each of a run of its own.
const WRITERS: usize = 4;
/// Rounds, and with `RUNSTREAM_TEST_LONG=1`.
const ROUNDS: usize = 2;
const ROUNDS_LONG: usize = 10;

/// What goes on.
const WELL: usize = 0;
const ONE_DEAD: usize = 1;
const TWO_DEAD: usize = 2;

/// What the writers were answered, by what went on.
#[derive(Default)]
struct Told {
    now: AtomicUsize,
    acknowledged: [AtomicUsize; 3],
    refused: [AtomicUsize; 3],
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "three nodes take minutes and 2.5 GB: run by its name"]
async fn one_node_less_is_not_noticed_and_two_less_cost_waiting_and_no_batch() {
    let mut servers = tokio::task::spawn_blocking(Server::start_three).await.unwrap();
    let settings = cql::keyspace_on_three(&servers).await;
    let node = Arc::new(Node::start(&settings, RunSettings::default()).await);
    let (org, user, project) = people(&node, "pinewood").await;
    let (stop, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Told::default()));
    let mut writers = Vec::new();
    for _ in 0..WRITERS {
        let run = open(&node, org, user, project).await;
        let (node, stop, told) = (Arc::clone(&node), Arc::clone(&stop), Arc::clone(&told));
        writers.push(tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::Acquire) {
                let before = told.now.load(Ordering::SeqCst);
                match node.engine.ingest(org, run.session, line(n, &format!("line {n}"))).await {
                    Ok(_) => {
                        told.acknowledged[before].fetch_add(1, Ordering::SeqCst);
                        n += 1;
                    }
                    Err(EngineError::Busy { retry_after_s }) => {
                        assert!(retry_after_s > 0);
                        told.refused[before].fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => panic!("{error}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (run, n)
        }));
    }
    let pause = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
    let rounds = if long_mode() { ROUNDS_LONG } else { ROUNDS };
    for round in 0..rounds {
        let first = round % 3;
        told.now.store(ONE_DEAD, Ordering::SeqCst);
        servers[first].kill();
        pause(4).await;
        servers = again(servers, &[first]).await;
        pause(6).await;
        told.now.store(WELL, Ordering::SeqCst);
        pause(1).await;

        let two = [(first + 1) % 3, (first + 2) % 3];
        for dead in two {
            servers[dead].kill();
        }
        // What was on its way when they died may still be told.
        pause(1).await;
        told.now.store(TWO_DEAD, Ordering::SeqCst);
        let before = told.acknowledged[TWO_DEAD].load(Ordering::SeqCst);
        pause(6).await;
        let between = told.acknowledged[TWO_DEAD].load(Ordering::SeqCst) - before;
        assert_eq!(between, 0, "acknowledged without a quorum in round {round}");
        told.now.store(WELL, Ordering::SeqCst);
        servers = again(servers, &two).await;
        pause(8).await;
        let counts =
            |of: &[AtomicUsize; 3]| of.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<_>>();
        println!(
            "round {round}: acknowledged {:?}, refused {:?}",
            counts(&told.acknowledged),
            counts(&told.refused)
        );
    }
    stop.store(true, Ordering::Release);
    for writer in writers {
        let (run, acknowledged) = writer.await.unwrap();
        assert!(acknowledged > 10, "{acknowledged} batches are too few to mean anything");
        assert_eq!(node.text(org, &run).await, lines(acknowledged), "{acknowledged} batches");
    }
    assert_eq!(told.refused[ONE_DEAD].load(Ordering::SeqCst), 0, "one dead node was noticed");
    assert!(told.refused[TWO_DEAD].load(Ordering::SeqCst) > 0, "two dead nodes were not");
    Arc::try_unwrap(node).ok().expect("nobody else has it").stop().await;
    drop(servers);
}

/// Starts nodes again, one after the other.
async fn again(mut servers: Vec<Server>, dead: &[usize]) -> Vec<Server> {
    let dead = dead.to_vec();
    let starting = tokio::task::spawn_blocking(move || {
        for one in dead {
            servers[one].start_again();
        }
        servers
    });
    starting.await.unwrap()
}
