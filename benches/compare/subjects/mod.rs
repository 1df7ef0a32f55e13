//! What is compared: servers that take the same requests. Each is a process of its own.

pub(crate) mod cql;
pub(crate) mod floor;
pub(crate) mod node;
pub(crate) mod null;
pub(crate) mod room;
pub(crate) mod runstream;
pub(crate) mod shape;
#[allow(dead_code, unused_imports, reason = "the tests need more of it")]
#[path = "../../../tests/support/cql/mod.rs"]
pub(crate) mod tests_cql;

use std::path::Path;
use std::process::Command;

use crate::machine::{Core, Process};

/// A folder that is removed in the end, on the disk that holds the build.
pub(crate) fn on_disk() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A folder in memory, where a sync costs nothing.
pub(crate) fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a comparison needs /dev/shm")
}

/// The null server: hyper and simd-json, a fixed answer.
pub(crate) fn null(core: Core) -> Process {
    Process::start(this_program("null"), core)
}

/// The null server that also keeps each body in a file, synced before the answer.
pub(crate) fn null_with_journal(folder: &Path, core: Core) -> Process {
    let mut command = this_program("null");
    command.arg(folder);
    Process::start(command, core)
}

/// The null server with a journal, an actor for each run, and the headers of every answer.
pub(crate) fn shape(folder: &Path, core: Core) -> Process {
    let mut command = this_program("shape");
    command.arg(folder);
    Process::start(command, core)
}

/// The library's own room broadcast.
pub(crate) fn room(core: Core) -> Process {
    Process::start(this_program("room"), core)
}

fn this_program(subject: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["subject", subject]);
    command
}
