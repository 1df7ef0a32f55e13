//! Node programs under `tests/clients`: installs what they need, starts them, reads the JSON lines they print.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command as BlockingCommand, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Nothing a test waits for takes this long, unless it is broken or the machine is badly overloaded.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the clients, with its packages installed exactly as the lockfile says.
///
/// # Panics
/// If node or npm is missing, or the installation fails.
pub(crate) fn clients() -> &'static PathBuf {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        for tool in ["node", "npm"] {
            let found = BlockingCommand::new(tool).arg("--version").stdout(Stdio::null()).status();
            assert!(found.is_ok_and(|status| status.success()), "these tests need {tool} on the PATH");
        }
        // Test processes that start together install once.
        let turn = File::create(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clients.lock")).unwrap();
        turn.lock().unwrap();
        let wanted = fs::read_to_string(folder.join("package-lock.json")).unwrap();
        let stamp = folder.join("node_modules/.installed-lock.json");
        if fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
            let installed = BlockingCommand::new("npm")
                .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
                .env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
                .current_dir(&folder)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&installed.stderr);
            assert!(installed.status.success(), "npm ci failed in {}: {said}", folder.display());
            fs::write(stamp, wanted).unwrap();
        }
        folder
    })
}

/// A Node program that prints one JSON object a line and takes orders the same way.
pub(crate) struct Script {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Everything it has said so far, in order.
    pub(crate) said: Vec<Value>,
}

impl Script {
    /// Starts `script` with `options` as its only argument.
    pub(crate) fn start(script: &str, options: &Value) -> Self {
        let mut child = Command::new("node")
            .arg(script)
            .arg(options.to_string())
            .current_dir(clients())
            // A browser that came packed is unpacked there.
            .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Node makes a pipe that it inherits non-blocking, for everybody who writes to it: it gets one of its own.
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut complaints = BufReader::new(child.stderr.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = complaints.next_line().await {
                eprintln!("node: {line}");
            }
        });
        let orders = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, orders, lines, said: Vec::new() }
    }

    /// Gives an order.
    pub(crate) async fn order(&mut self, order: Value) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    /// Reads on until `wanted` is true of everything said so far.
    ///
    /// # Panics
    /// If the program ends or says nothing fitting for a minute.
    pub(crate) async fn until(&mut self, what: &str, mut wanted: impl FnMut(&[Value]) -> bool) {
        let reading = async {
            while !wanted(&self.said) {
                let line = self.lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("the script ended before {what}: {:?}", self.said));
                self.said.push(serde_json::from_str(&line).unwrap());
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            let last: Vec<_> = self.said.iter().rev().take(10).collect();
            panic!("waited in vain for {what}; last said (newest first): {last:?}");
        }
    }

    /// Reads on until an `event` was said `times` times; returns the last of them.
    pub(crate) async fn until_event(&mut self, event: &str, times: usize) -> Value {
        self.until(&format!("{event} x{times}"), |said| named(said, event).count() >= times).await;
        named(&self.said, event).nth(times - 1).unwrap().clone()
    }

    /// Reads whatever comes within `time`.
    pub(crate) async fn listen(&mut self, time: Duration) {
        let ending = tokio::time::sleep(time);
        tokio::pin!(ending);
        loop {
            tokio::select! {
                () = &mut ending => return,
                line = self.lines.next_line() => match line.unwrap() {
                    Some(line) => self.said.push(serde_json::from_str(&line).unwrap()),
                    None => return,
                },
            }
        }
    }

    /// The names of everything said, without the script's own `started` and `done`.
    pub(crate) fn story(&self) -> Vec<&str> {
        let names = self.said.iter().filter_map(|line| line["event"].as_str());
        names.filter(|name| !["started", "done"].contains(name)).collect()
    }

    /// The arguments of every `event`, in order.
    pub(crate) fn arguments<'a>(&'a self, event: &'a str) -> Vec<&'a Vec<Value>> {
        named(&self.said, event).map(|line| line["args"].as_array().unwrap()).collect()
    }

    /// Ends it in good order.
    pub(crate) async fn quit(mut self) {
        self.order(json!({ "do": "quit" })).await;
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
    }
}

fn named<'a>(said: &'a [Value], event: &'a str) -> impl Iterator<Item = &'a Value> {
    said.iter().filter(move |line| line["event"] == event)
}
