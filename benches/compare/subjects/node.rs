//! Subjects on Node: what a team would build instead. Their packages come from npm, exactly as the lockfile says.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

use super::on_disk;
use crate::machine::{Core, Process, run_on};

/// The folder of the scripts, with their packages; or why there is none.
fn scripts() -> Result<PathBuf, String> {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/compare/node");
            let wanted = fs::read_to_string(folder.join("package-lock.json")).unwrap();
            let stamp = folder.join("node_modules/.installed-lock.json");
            if fs::read_to_string(&stamp).ok().as_ref() == Some(&wanted) {
                return Ok(folder);
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
            let installed = npm.output().map_err(|error| format!("npm cannot be run: {error}"))?;
            if !installed.status.success() {
                return Err(format!("npm ci failed: {}", String::from_utf8_lossy(&installed.stderr)));
            }
            fs::write(stamp, wanted).unwrap();
            Ok(folder)
        })
        .clone()
}

/// Starts one of the scripts.
///
/// # Errors
/// Why it cannot be had on this machine.
pub(crate) fn start(script: &str, argument: &str, core: Core) -> Result<Process, String> {
    let mut command = Command::new("node");
    command.arg(scripts()?.join(script)).arg(argument).stderr(Stdio::inherit());
    command.env("NODE_ENV", "production");
    Ok(Process::start(command, core))
}

/// A Redis that syncs each write before it answers, and a Node server in front of it.
pub(crate) struct RedisStack {
    pub(crate) node: Process,
    redis: std::process::Child,
    _data: TempDir,
}

impl RedisStack {
    /// Starts both.
    ///
    /// # Errors
    /// Why they cannot be had on this machine.
    pub(crate) fn start(core: Core) -> Result<Self, String> {
        let data = on_disk();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(data.path());
        run_on(core);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        run_on(Core::Load);
        let redis = spawned.map_err(|error| format!("redis-server cannot be run: {error}"))?;
        let node = start("redis.mjs", &port.to_string(), core)?;
        Ok(Self { node, redis, _data: data })
    }
}

impl Drop for RedisStack {
    fn drop(&mut self) {
        drop(self.redis.kill());
        drop(self.redis.wait());
    }
}
