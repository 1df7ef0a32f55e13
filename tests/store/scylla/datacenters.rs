//! A cluster in two datacenters, and a server that belongs to one of them: that one acknowledges, decides and is asked,
//! whatever becomes of the other.

use std::time::{Duration, Instant};

use runstream::actors::EngineError;
use runstream::store::contract::{Accounts as _, StoreError};
use runstream::store::scylla::LeaseSettings;
use runstream::store::scylla::runs::RunSettings;

use super::engine::{Node, line, lines, open, people, send, setup};
use crate::support::cql::{self, Server};

/// Longer than by default: a node that starts takes both cores of a small machine from the others for seconds.
const LEASE: Duration = Duration::from_secs(10);
/// What is asked of a node that is sent no statements: who it is, what it knows of the cluster, whether it is alive.
const ASIDE: i64 = 60;
/// Batches at a time, each of which takes a statement.
const BATCHES: u64 = 100;
/// Longer than a batch is waited for before it is refused.
const AWAY: Duration = Duration::from_secs(20);

/// What the nodes were asked while this was done.
async fn asked_during<T>(servers: &[Server], act: impl Future<Output = T>) -> (T, Vec<i64>) {
    let mut before = Vec::new();
    for server in servers {
        before.push(cql::requests(server).await);
    }
    let done = act.await;
    let mut asked = Vec::new();
    for (server, before) in servers.iter().zip(before) {
        asked.push(cql::requests(server).await - before);
    }
    (done, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "two nodes take two minutes and 1.5 GB: run by its name"]
async fn a_server_keeps_to_its_datacenter_whatever_becomes_of_the_other_one() {
    let mut servers = tokio::task::spawn_blocking(Server::start_two_datacenters).await.unwrap();
    let settings = cql::keyspace_in_two_datacenters(&servers).await;
    cql::have_met(&settings, &servers).await;
    let lease = LeaseSettings { lease: LEASE, dead_after: 2 * LEASE, ..LeaseSettings::default() };
    let node = Node::start(&settings, RunSettings { lease, ..RunSettings::default() }).await;
    let (org, user, project) = people(&node, "pinewood").await;
    let run = open(&node, org, user, project).await;

    let all_well = async {
        for n in 0..BATCHES {
            send(&node, org, &run, n).await;
        }
        open(&node, org, user, project).await;
        node.text(org, &run).await
    };
    let (text, asked) = asked_during(&servers, all_well).await;
    assert_eq!(text, lines(BATCHES));
    println!("asked of both: {asked:?}");
    assert!(asked[0] > BATCHES as i64 && asked[1] < ASIDE, "{asked:?}");

    servers[1].kill();
    for n in BATCHES..2 * BATCHES {
        node.engine.ingest(org, run.session, line(n, &format!("line {n}"))).await.unwrap();
    }
    // What is decided by conditions: places, names, addresses.
    node.engine.set_up(org, user, setup(project)).await.unwrap();
    people(&node, "oakwood").await;
    assert_eq!(node.text(org, &run).await, lines(2 * BATCHES));
    servers = again(servers, 1).await;
    cql::have_met(&settings, &servers).await;
    send(&node, org, &run, 2 * BATCHES).await;

    servers[0].kill();
    let local_is_gone = async {
        let (begun, mut refused) = (Instant::now(), 0);
        while begun.elapsed() < AWAY {
            let n = 2 * BATCHES + 1;
            match node.engine.ingest(org, run.session, line(n, &format!("line {n}"))).await {
                Err(EngineError::Busy { retry_after_s: 1.. }) => refused += 1,
                other => panic!("acknowledged by the other datacenter: {other:?}"),
            }
            let read = node.store.organization(org).await;
            assert!(
                matches!(read, Err(StoreError::Unavailable(_))),
                "read in the other datacenter: {read:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        refused
    };
    let (refused, asked) = asked_during(&servers[1..], local_is_gone).await;
    println!("{refused} refused, asked of the other datacenter: {asked:?}");
    assert!(refused > 0 && asked[0] < ASIDE, "{refused} refused, {asked:?}");

    servers = again(servers, 0).await;
    send(&node, org, &run, 2 * BATCHES + 1).await;
    assert_eq!(node.text(org, &run).await, lines(2 * BATCHES + 2));
    node.stop().await;
    drop(servers);
}

/// Starts a node again.
async fn again(mut servers: Vec<Server>, dead: usize) -> Vec<Server> {
    let starting = tokio::task::spawn_blocking(move || {
        servers[dead].start_again();
        servers
    });
    starting.await.unwrap()
}
