//! Tests that measure their own process: each runs in one of its own, where nothing else allocates.

use std::process::{Command, Stdio};

/// Runs the ignored test `name` (its whole path) in a process of its own.
///
/// # Panics
/// If it fails there; what it said is part of the message.
pub(crate) fn run_alone(name: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{name} failed on its own:\n{said}");
}
