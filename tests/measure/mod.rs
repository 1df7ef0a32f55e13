//! Figures, most of them no checks: run by hand, against the binary of the same profile. The number of allocations does
//! not depend on the machine, so it is checked in every run.
//!
//! ```text
//! cargo test --release --test suite measure:: -- --ignored --nocapture --test-threads 1
//! ```

mod allocations;
mod load;

use std::time::{Duration, Instant};

use crate::crash::process::Deployment;
use load::{Load, Report};

/// Latency from request to acknowledgement, and how many acknowledgements share a sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; see the module's documentation"]
async fn acknowledgements_at_64_connections() {
    for events in [1, 10, 100] {
        let deployment = Deployment::start().await;
        let account = deployment.sign_up().await;
        let load = Load { connections: 64, events, duration: Duration::from_secs(10) };
        let before = deployment.journal().await;
        let Report { requests, p50, p99, .. } = load.run(&account, deployment.port()).await;
        let after = deployment.journal().await;
        let syncs = after.syncs - before.syncs;
        println!(
            "{events:>3} events/request: {:>6.0} requests/s, p50 {p50:?}, p99 {p99:?}, {:.1} requests per sync",
            f64::from(requests) / load.duration.as_secs_f64(),
            f64::from(requests) / syncs
        );
        deployment.terminate().await;
    }
}

/// Resident memory of runs that are open and idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; see the module's documentation"]
async fn memory_of_10_000_open_runs() {
    const RUNS: usize = 10_000;
    let deployment = Deployment::start().await;
    let account = deployment.sign_up().await;
    load::open_runs(&account, deployment.port(), 100).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    let before = deployment.resident_bytes();
    load::open_runs(&account, deployment.port(), RUNS).await;
    let busy = deployment.resident_bytes();
    tokio::time::sleep(Duration::from_secs(45)).await;
    let idle = deployment.resident_bytes();
    let per_run = |bytes: u64| bytes.saturating_sub(before) as f64 / 1024.0 / RUNS as f64;
    println!(
        "{RUNS} open runs: {:.2} KiB each while their actors live, {:.2} KiB each when idle (from {} to {} MiB)",
        per_run(busy),
        per_run(idle),
        before >> 20,
        idle >> 20
    );
    deployment.terminate().await;
}

/// Time from starting the binary over a large journal to the first healthy answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; see the module's documentation"]
async fn recovery_of_a_gibibyte() {
    let mut deployment = Deployment::start().await;
    let account = deployment.sign_up().await;
    let load = Load { connections: 32, events: 1_000, duration: Duration::from_secs(5) };
    while deployment.journal_file_bytes() < 1 << 30 {
        load.run(&account, deployment.port()).await;
    }
    deployment.kill().await;
    let bytes = deployment.journal_file_bytes();
    let reading = Instant::now();
    let read = deployment.read_journal();
    let reading = reading.elapsed();
    let starting = Instant::now();
    deployment.restart().await;
    deployment.until_healthy().await;
    println!(
        "{} MiB of journal files: healthy after {:?}; reading and checksumming {} MiB takes {reading:?}",
        bytes >> 20,
        starting.elapsed(),
        read >> 20
    );
    deployment.terminate().await;
}
