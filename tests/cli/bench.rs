//! `runstream bench` as a user runs it: the real binary against a server of its own, its report read as JSON.

use serde_json::Value;

use crate::support::process::{runstream, text};
use crate::support::stage::Stage;

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
    let arguments = [
        "ingest",
        "--serve",
        "--sessions",
        "3",
        "--events-per-batch",
        "20",
        "--duration",
        "1s",
        "--follow",
        "2",
    ];
    let (code, report) = report(&[&arguments[..], &["--tests", "30", "--failures", "50"]].concat());
    assert_eq!(code, 0, "{report:#}");
    let found = &report["verification"];
    assert_eq!(found["passed"], true, "{report:#}");
    assert_eq!((&found["runs"], &found["liveCompared"]), (&3.into(), &2.into()), "{report:#}");
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
        (&["live", "--key", "k", "--project", "p"], "give --email and --password-file"),
        (
            &["live", "--key", "k", "--project", "p", "--email", "a@b.test"],
            "--password-file (or RUNSTREAM_PASSWORD)",
        ),
        (&["live", "--email", "a@b.test", "--password-file", "absent.txt"], "absent.txt: No such file"),
        (&["live", "--serve", "--viewers", "0"], "1..=1000"),
        (&["ingest", "--serve", "--svg", "curve.svg"], "give --saturate or --ramp"),
    ] {
        let (code, said, errors) = bench(arguments);
        assert_eq!((code, said.as_str()), (2, ""), "{arguments:?}: {errors}");
        assert!(errors.contains(named), "{arguments:?}: {errors}");
    }
}

#[test]
fn the_help_tells_how_to_raise_the_tiers_in_settings_that_there_are() {
    let (code, help, _) = bench(&["ingest", "--help"]);
    assert_eq!(code, 0);
    let words: Vec<_> = help.split_whitespace().collect();
    let sets: Vec<_> = words.windows(2).filter(|pair| pair[0] == "--set").flatten().copied().collect();
    assert_eq!(sets.len(), 6, "{help}");
    let folder = tempfile::tempdir().unwrap();
    let output = runstream(folder.path(), &[&["config"], &sets[..]].concat()).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for set in sets.iter().filter(|word| word.contains('=')) {
        let (key, value) = set.split_once('=').unwrap();
        let name = key.split('.').nth(1).unwrap();
        assert!(said.lines().any(|line| line.contains(name) && line.contains(value)), "{set} in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_sign_in_with_an_address_and_a_password_from_a_file() {
    let stage = Stage::start().await;
    let organization = stage.organization("viewers").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password").to_str().unwrap().to_owned();
    let measured = |password: &str| {
        std::fs::write(&file, password).unwrap();
        let (url, key, project, file) =
            (stage.url(), organization.key.clone(), organization.project.clone(), file.clone());
        tokio::task::spawn_blocking(move || {
            bench(&[
                "live",
                "--url",
                &url,
                "--key",
                &key,
                "--project",
                &project,
                "--email",
                "viewers@pinewood.test",
                "--password-file",
                &file,
                "--viewers",
                "2",
                "--sessions",
                "1",
                "--rate",
                "100",
                "--events-per-batch",
                "5",
                "--duration",
                "500ms",
                "--warm-up",
                "0",
            ])
        })
    };
    let (code, said, errors) = measured("Correct-horse-1!\n").await.unwrap();
    assert_eq!(code, 0, "{said}{errors}");
    assert!(
        said.contains("2 viewers: acknowledgement to receipt p50") && said.ends_with("verified\n"),
        "{said}"
    );
    let (code, said, errors) = measured("Guessed-right-1!").await.unwrap();
    assert_eq!((code, said.as_str()), (1, ""), "{errors}");
    assert!(errors.contains("refused signing in: 401") && !errors.contains("Guessed"), "{errors}");
}
