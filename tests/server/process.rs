//! The server as a process: how it starts, what it refuses to start with, how it ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::process::{Process, run, runstream, text};

#[test]
fn the_first_start_tells_how_to_go_on_and_later_ones_say_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::serve(folder.path(), &[]);
    for step in
        ["/api/auth/signup", "/api/projects", "/api/auth/api-keys", "/api/ingest/setup", "runstream tail"]
    {
        assert!(first.greeting.contains(step), "{step} is missing in: {}", first.greeting);
    }
    first.end();
    let second = Process::serve(folder.path(), &[]);
    assert_eq!(second.greeting.lines().count(), 1, "{}", second.greeting);
    second.end();
}

#[test]
fn a_wrong_configuration_is_told_whole_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("runstream.toml"),
        "[server]\nprot = 1\nport = \"x\"\n[lgo]\nformat = 1\n",
    )
    .unwrap();
    let mut command = runstream(folder.path(), &["serve", "--set", "log.format=loud", "--address", "here"]);
    let output = command.env("RUNSTREAM_CONNECTIONS_MAX", "0").output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let expected = [
        "6 problems",
        "runstream.toml:2: unknown key server.prot; did you mean server.port?",
        "runstream.toml:3: server.port: must be a whole number",
        "runstream.toml:5: unknown key lgo.format; did you mean log.format?",
        "RUNSTREAM_CONNECTIONS_MAX: connections.max: must be a whole number from 1",
        "--set log.format: log.format: must be one of",
        "--address: server.address: must be an IP address",
    ];
    for line in expected {
        assert!(told.contains(line), "missing {line:?} in: {told}");
    }
    assert!(!folder.path().join("runstream-data").exists());
}

#[test]
fn the_effective_configuration_is_shown_with_its_origins_and_without_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("runstream.toml"), "[server]\nport = 4000\n").unwrap();
    let secret = "0123456789abcdef0123456789abcdef";
    let output = runstream(folder.path(), &["config", "--data", "elsewhere"])
        .env("RUNSTREAM_ACCESS_TOKEN_SECRET", secret)
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let origin_of = |setting: &str| {
        let line = shown.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("{shown}"));
        line.split_once("  # ").unwrap().1.to_owned()
    };
    assert_eq!(origin_of("server.port = 4000"), "runstream.toml:2");
    assert_eq!(origin_of("data.folder = \"elsewhere\""), "--data");
    assert_eq!(origin_of("access.token_secret = \"********\""), "RUNSTREAM_ACCESS_TOKEN_SECRET");
    assert_eq!(origin_of("log.format = \"auto\""), "default");
    assert!(!shown.contains(secret));
}

#[test]
fn the_printed_defaults_are_a_valid_file() {
    let folder = tempfile::tempdir().unwrap();
    let defaults = run(folder.path(), &["config", "--defaults"]).stdout;
    std::fs::write(folder.path().join("runstream.toml"), &defaults).unwrap();
    let output = run(folder.path(), &["config"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).lines().all(|line| line.contains("  # runstream.toml:")));
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Process::serve(folder.path(), &[]);
    let second = run(folder.path(), &["serve", "--port", "0", "--data", "data"]);
    let told = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("data is used by another server (process {})", first.id())), "{told}");
    first.end();
    // The lock goes with the process, also when it is killed.
    let third = Process::serve(folder.path(), &[]);
    third.signal("KILL");
    assert_eq!(third.wait().0, -1);
    Process::serve(folder.path(), &[]).end();
}

#[test]
fn a_port_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(folder.path(), &["serve", "--port", &port, "--data", "data"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("cannot listen on 127.0.0.1:{port}: ")), "{told}");
}

#[test]
fn an_interrupt_ends_it_in_order_like_a_termination() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::serve(folder.path(), &[]);
    let mut kept = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    kept.write_all(b"GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    kept.read_exact(&mut [0]).unwrap();
    server.signal("INT");
    let (code, took, told) = server.wait();
    assert_eq!(code, 0, "{told}");
    assert!(took < Duration::from_secs(5), "an idle connection held it up for {took:?}");
    let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["message"], "ended in order", "logs are JSON where nobody watches: {told}");
}

#[test]
fn completions_and_help_are_there_for_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    let script = text(&run(folder.path(), &["completions", "bash"]).stdout);
    let help = text(&run(folder.path(), &["--help"]).stdout);
    for command in ["serve", "demo", "tail", "config", "health", "completions"] {
        assert!(script.contains(command) && help.contains(command), "{command}");
        let own = text(&run(folder.path(), &[command, "--help"]).stdout);
        assert!(own.contains("Examples:") && own.contains("Usage: runstream"), "{own}");
    }
    assert_eq!(run(folder.path(), &["srve"]).status.code(), Some(2));
}
