//! The whole journey with the real binary: `runstream demo --once`.

use crate::support::process::{runstream, text};

#[test]
fn the_demo_shows_that_sent_is_stored_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let output = runstream(folder.path(), &["demo", "--once", "--speed", "max"]).output().unwrap();
    let (said, errors) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{errors}\n{said}");
    // Lines arrived on the live channel, colours and all, and were printed where no terminal is.
    for seen in ["\u{1b}[36mGET   \u{1b}[39m", "✘ FAILED   ", "✔ PASSED   ", "▶ RUNNING  "] {
        assert!(said.contains(seen), "no {seen:?} among {} bytes", said.len());
    }
    let row = |name: &str| {
        let line = said
            .lines()
            .rfind(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no row {name}: {errors}"));
        line[name.len()..].split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(row("events"), ["2 362", "2 362", "-"]);
    assert_eq!(row("tests")[..2], ["486", "486"]);
    assert_eq!(row("attempts")[..2], ["510", "510"]);
    for name in ["log lines", "log text, UTF-16"] {
        let cells = row(name);
        assert!(cells.len() == 3 && cells.iter().all(|cell| *cell == cells[0]), "{name}: {cells:?}");
    }
    // The viewer saw all of that although its connection was cut on the way.
    assert!(
        said.contains("\nits connection was cut 3 times\n") && !said.contains("came from the log"),
        "{said}"
    );
    assert!(said.ends_with("sent = stored = seen\n"), "{}", said.lines().last().unwrap_or_default());
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn a_speed_that_is_none_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let output = runstream(folder.path(), &["demo", "--once", "--speed", "warp"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("or max"), "{}", text(&output.stderr));
}
