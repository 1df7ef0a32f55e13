//! The README's commands, as they stand there.

use std::net::TcpListener;
use std::process::Command;

use crate::support::process::text;

/// The block of shell commands under this heading of the README.
fn commands_under(heading: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, section) = readme.split_once(&format!("\n### {heading}\n")).expect("the README has the section");
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("\n```").unwrap().0.to_owned()
}

#[test]
fn the_commands_of_the_readme_show_a_first_run_to_a_second_person_in_another_role() {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let commands = commands_under("Setting it up from a shell");
    assert!(commands.contains("http://localhost:3000"), "{commands}");
    let commands = commands.replace("http://localhost:3000", &format!("http://localhost:{port}"));
    // What the second person may not do, and what is kept of it all.
    let after = "echo; runstream user list; runstream project create Other && exit 9; test -d runstream-data";
    let script = format!("trap 'kill $(jobs -p)' EXIT\n{commands}\n{after}");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_runstream"));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", binary.parent().unwrap().display());
    let shell = Command::new("bash")
        .arg("-euc")
        .arg(script)
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path)
        .env("RUNSTREAM_SERVER_PORT", port.to_string())
        .output()
        .unwrap();
    let (out, errors) = (text(&shell.stdout), text(&shell.stderr));
    assert!(shell.status.success(), "{out}\n{errors}");
    assert!(out.contains("\"status\":\"PASSED\""), "the run ended: {out}\n{errors}");
    assert!(out.contains("hello, Eve\n"), "she sees it: {out}\n{errors}");
    let eve = out.lines().find(|line| line.contains("eve@example.com")).expect("she is a member");
    assert!(eve.contains("viewer"), "{eve}");
    assert!(errors.contains("Insufficient permissions"), "she may only look on: {errors}");
}
