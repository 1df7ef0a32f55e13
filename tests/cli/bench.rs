//! `runstream bench` as a user runs it: the real binary against a server of its own, its report read as JSON.

use serde_json::Value;

use crate::support::process::{runstream, text};

/// Runs `runstream bench` with these arguments; its exit code and what it printed.
pub(super) fn bench(arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&["bench"], arguments].concat();
    let output = runstream(folder.path(), &arguments).output().unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The same with `--json`: the exit code and the report.
pub(super) fn report(arguments: &[&str]) -> (i32, Value) {
    let (code, said, errors) = bench(&[arguments, &["--json"]].concat());
    let report = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{code} {error}: {said}{errors}"));
    (code, report)
}

#[test]
fn one_command_measures_a_server_of_its_own_and_proves_that_it_kept_everything() {
    let arguments = ["ingest", "--serve", "--sessions", "3", "--events-per-batch", "20", "--duration", "1s"];
    let (code, report) = report(&[&arguments[..], &["--tests", "30", "--failures", "50"]].concat());
    assert_eq!(code, 0, "{report:#}");
    let found = &report["verification"];
    assert_eq!(found["passed"], true, "{report:#}");
    assert_eq!((&found["runs"], &found["liveCompared"]), (&3.into(), &1.into()), "{report:#}");
    let acknowledged = found["acknowledged"].as_u64().unwrap();
    assert_eq!(found["inOrder"], acknowledged);
    let step = &report["steps"][0];
    let measured = step["eventsPerSecond"].as_f64().unwrap();
    assert!(measured > 0.0 && measured <= acknowledged as f64, "{report:#}");
    assert_eq!(step["offeredPerSecond"], Value::Null);
}

#[test]
fn what_makes_no_sense_is_named_and_nothing_is_started() {
    for (arguments, named) in [
        (&["ingest"][..], "--serve"),
        (&["ingest", "--key", "pk_live_x"], "--project"),
        (&["ingest", "--serve", "--saturate"], "--p99"),
        (&["ingest", "--serve", "--rate", "0"], "a number from 0.1"),
        (&["ingest", "--serve", "--rate", "5", "--saturate", "--p99", "5"], "cannot be used with"),
        (&["ingest", "--serve", "--ramp", "9-5/3"], "rates have to rise"),
        (&["ingest", "--serve", "--log-bytes", "10"], "28 to 8192"),
        (&["ingest", "--serve", "--events-per-batch", "1001"], "1..=1000"),
        (&["ingest", "--serve", "--sessions", "2", "--connections", "3"], "--connections 3 is more"),
        (&["ingest", "--serve", "--sessions", "2", "--threads", "3"], "--threads 3 is more"),
        (&["ingest", "--serve", "--duration", "2h"], "as 500ms, 30s, 2m"),
        (&["ingest", "--url", "ftp://x", "--key", "k", "--project", "p"], "not an http:// URL"),
    ] {
        let (code, said, errors) = bench(arguments);
        assert_eq!((code, said.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(named), "{arguments:?}: {errors}");
    }
}
