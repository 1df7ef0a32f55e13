//! What comes out of a bench: JSON of a stable shape, a page that needs nothing else, a table also when interrupted.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::bench::{bench, report};
use super::bench_stub::{Manners, Stub};
use crate::support::process::{runstream, text};

/// The names of all members, as paths; those of a list once.
fn shape(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                into.insert(path.clone());
                shape(member, &path, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| shape(item, path, into)),
        _ => {}
    }
}

#[test]
fn the_reports_shape_is_an_interface() {
    let (code, report) = report(&[
        "live",
        "--serve",
        "--viewers",
        "2",
        "--sessions",
        "2",
        "--rate",
        "200",
        "--events-per-batch",
        "10",
        "--duration",
        "1s",
        "--warm-up",
        "200ms",
        "--p99",
        "60000",
    ]);
    assert_eq!(code, 0, "{report:#}");
    let mut members = BTreeSet::new();
    shape(&report, "", &mut members);
    let expected: BTreeSet<_> = include_str!("bench_report.txt").lines().map(str::to_owned).collect();
    let missing: Vec<_> = expected.difference(&members).collect();
    let added: Vec<_> = members.difference(&expected).collect();
    assert!(missing.is_empty() && added.is_empty(), "missing {missing:?}, added {added:?}");
    assert_eq!(report["schema"], 1);

    let live = &report["live"];
    assert_eq!(
        (&live["gaps"], &live["doubles"], &live["broken"]),
        (&0.into(), &0.into(), &0.into()),
        "{live:#}"
    );
    let batches = report["verification"]["acknowledged"].as_u64().unwrap() / 10;
    assert_eq!(live["receiptMs"]["count"], 2 * batches, "each viewer got each batch: {report:#}");
    assert!(live["lines"].as_u64().unwrap() >= 2 * batches * 10, "{live:#}");
    assert_eq!(report["verification"]["liveCompared"], 4, "each viewer's text of each run: {report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_nothing_else_and_shows_texts_as_texts() {
    let markup = "<script>alert('&')</script><b title=\"http://elsewhere.test\">";
    let stub = Stub::start(Manners { break_at: Some((3, markup)), ..Manners::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html").to_str().unwrap().to_owned();
    let picture = folder.path().join("curve.svg").to_str().unwrap().to_owned();
    let (asked, path, drawing) = (Arc::clone(&stub), file.clone(), picture.clone());
    let run = move || {
        let rest = [
            "--sessions",
            "2",
            "--events-per-batch",
            "5",
            "--ramp",
            "100-300/3",
            "--duration",
            "300ms",
            "--warm-up",
            "0",
            "--p99",
            "1000",
            "--html",
            &path,
            "--svg",
            &drawing,
        ];
        bench(&asked.arguments(&rest))
    };
    let (code, said, errors) = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(code, 0, "{errors}");
    assert!(said.contains("verified") && said.contains("offered/s"), "{said}");
    let page = std::fs::read_to_string(&file).unwrap();
    for absent in ["<script", "<img", "<link", "@import", "url(", "src=", "href=", "xmlns"] {
        assert!(!page.contains(absent), "{absent} in {page}");
    }
    assert!(!page.replace("http://elsewhere.test", "").contains("http"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;"), "{page}");
    assert_eq!(page.matches("<svg").count(), 2, "a curve and a histogram");
    assert_eq!(page.matches("<circle").count(), 3, "a dot for each step");
    for shown in [
        "events-per-batch",
        "eventsPerBatch",
        "p99.9",
        "@media print",
        "everything acknowledged is stored once",
    ] {
        assert_eq!(page.contains(shown), shown != "events-per-batch", "{shown}");
    }
    let picture = std::fs::read_to_string(&picture).unwrap();
    assert!(
        picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" ") && picture.contains("<style>"),
        "{picture}"
    );
    assert_eq!((picture.matches("<circle").count(), picture.matches("</svg>").count()), (3, 1), "{picture}");
    // Somewhere where no file can be.
    let asked = Arc::clone(&stub);
    let run = move || bench(&asked.arguments(&["--duration", "200ms", "--html", "/dev/null/report.html"]));
    let (code, said, errors) = tokio::task::spawn_blocking(run).await.unwrap();
    assert_eq!(code, 1);
    assert!(errors.contains("cannot write /dev/null/report.html"), "{errors}");
    assert!(said.contains("offered/s"), "what was measured is printed all the same: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_with_what_was_measured() {
    let stub = Stub::start(Manners::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let arguments =
        [&["bench"], &stub.arguments(&["--rate", "100", "--duration", "60s", "--warm-up", "0"])[..]].concat();
    let mut command = runstream(folder.path(), &arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while stub.arrivals().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said} {}", text(&output.stderr));
    assert!(said.contains("offered/s") && said.contains("interrupted"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_while_reading_back_ends_it_too() {
    let stub = Stub::start(Manners { reads_hang: true, ..Manners::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let load = ["--sessions", "1", "--rate", "100", "--duration", "200ms", "--warm-up", "0"];
    let arguments = [&["bench"], &stub.arguments(&load)[..]].concat();
    let mut command = runstream(folder.path(), &arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    stub.read_from().await;
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said} {}", text(&output.stderr));
    assert!(said.contains("it was not read back") && !said.contains("verified"), "{said}");
}
