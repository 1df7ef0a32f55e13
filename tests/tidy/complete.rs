//! What the checks do on a machine that lacks what some tests need: `.ci/run` fails, and the test command ignores them by
//! name. Both are started with a `PATH` of everything they call but that.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::root;

/// What the scripts call.
const TOOLS: [&str; 15] = [
    "bash", "cat", "cmp", "cp", "curl", "dirname", "grep", "mktemp", "node", "nproc", "npm", "rm", "sed",
    "tail", "tee",
];
/// Stands for cargo: says what it is asked for.
const CARGO: &str = "#!/usr/bin/env bash\necho \"cargo $*\"\n";
/// Stands for a Python that is too old, or has no venv.
const PYTHON: &str = "#!/usr/bin/env bash\nexit 1\n";

/// Where the shell finds `tool`.
fn found(tool: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap();
    let mut found =
        std::env::split_paths(&folders).map(|folder| folder.join(tool)).filter(|path| path.is_file());
    found.next().unwrap_or_else(|| panic!("{tool} is not there"))
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs `script` of the repository where neither Java nor a usable Python is.
fn run_without(path: &str, arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    for tool in TOOLS {
        symlink(found(tool), folder.path().join(tool)).unwrap();
    }
    script(&folder.path().join("cargo"), CARGO);
    script(&folder.path().join("python3"), PYTHON);
    let mut command = Command::new(root().join(path));
    let output = command.args(arguments).env("PATH", folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned();
    (output, said)
}

#[test]
fn the_checks_fail_where_the_cql_server_cannot_be_had() {
    for (path, arguments) in [(".ci/run", &[][..]), ("tests/run", &["--complete"])] {
        let (output, said) = run_without(path, arguments);
        assert_eq!(output.status.code(), Some(2), "{path}: {said}");
        assert!(said.contains("no CQL server without Java 17 and Maven: apt-get install"), "{path}: {said}");
        assert!(!said.contains("cargo test"), "{path}: {said}");
    }
}

#[test]
fn the_tests_that_need_what_is_not_there_are_ignored_and_the_others_run() {
    let (output, said) = run_without("tests/run", &["live::"]);
    assert!(output.status.success(), "{said}");
    let asked = said.lines().find(|line| line.starts_with("cargo ")).unwrap();
    let features = "--features tests-without-cql-server --features tests-without-schemathesis";
    assert_eq!(asked, format!("cargo test --locked {features} -- live::"));
}
