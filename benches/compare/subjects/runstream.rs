//! The product: `runstream serve` with everything on. Only its rates are raised, by configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::json;
use tempfile::TempDir;

use crate::machine::{Core, Process};
use crate::wire::{Wire, get};

/// Requests a minute: the most a tier can be set to.
const UNLIMITED: &str = "4194303";
/// Threads that open runs: their syncs are shared.
const OPENERS: usize = 16;

/// A running server with its data.
pub(crate) struct Runstream {
    pub(crate) process: Process,
    data: TempDir,
    program: PathBuf,
    settings: Vec<String>,
    core: Core,
}

/// An organization's reporter and its first member.
#[derive(Clone)]
pub(crate) struct Account {
    pub(crate) key: String,
    pub(crate) token: String,
    pub(crate) project: String,
}

impl Runstream {
    /// Starts a server on `data`; `settings` are further ones, as `section.name=value`.
    pub(crate) fn start(data: TempDir, core: Core, settings: &[&str]) -> Self {
        Self::of_build(Path::new(env!("CARGO_BIN_EXE_runstream")), data, core, settings)
    }

    /// Starts another build of the server.
    pub(crate) fn of_build(program: &Path, data: TempDir, core: Core, settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let process = serve(program, data.path(), core, &settings);
        Self { process, data, program: program.to_owned(), settings, core }
    }

    /// Starts a server under Callgrind, which counts when it is told to and writes to `counts`.
    pub(crate) fn under_callgrind(counts: &Path, data: TempDir) -> Self {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--instr-atstart=no", "--quiet"]);
        command.arg(format!("--callgrind-out-file={}", counts.display()));
        command.arg(env!("CARGO_BIN_EXE_runstream"));
        let process = serve_as(command, data.path(), Core::Server, &[]);
        Self { process, data, program: "valgrind".into(), settings: Vec::new(), core: Core::Server }
    }

    /// Starts it again on the same data after it was killed.
    pub(crate) fn restart(&mut self) {
        self.process = serve(&self.program, self.data.path(), self.core, &self.settings);
    }

    /// Where its data are.
    pub(crate) fn folder(&self) -> &Path {
        self.data.path()
    }

    /// The files of its journal.
    pub(crate) fn journal_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.data.path().join("data/journal")).unwrap();
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
    }

    /// Signs up somebody with an organization of their own.
    pub(crate) fn sign_up(&self, name: &str) -> Account {
        let mut wire = Wire::open(self.process.port).unwrap();
        let person = json!({ "email": format!("{name}@example.test"), "password": "Correct-Horse-9!",
                             "name": name, "organizationName": name });
        let signed_up = wire.post("/api/auth/signup", "", &person);
        let token = signed_up["token"].as_str().unwrap().to_owned();
        let bearer = format!("authorization: Bearer {token}\r\n");
        let project = wire.post("/api/projects", &bearer, &json!({ "name": "Shop" }));
        let key = wire.post("/api/auth/api-keys", &bearer, &json!({}));
        Account {
            token,
            key: key["apiKey"].as_str().unwrap().to_owned(),
            project: project["project"]["id"].as_str().unwrap().to_owned(),
        }
    }

    /// Opens `runs` runs and returns their sessions.
    pub(crate) fn open_runs(&self, account: &Account, runs: usize) -> Vec<String> {
        let opened = Mutex::new(Vec::with_capacity(runs));
        std::thread::scope(|scope| {
            for opener in 0..OPENERS {
                let share = runs / OPENERS + usize::from(opener < runs % OPENERS);
                let opened = &opened;
                scope.spawn(move || {
                    let mut wire = Wire::open(self.process.port).unwrap();
                    let headers = format!("x-api-key: {}\r\n", account.key);
                    let setup = json!({ "projectId": account.project, "framework": "playwright",
                                        "reporterVersion": "1", "totalTests": 1 });
                    for _ in 0..share {
                        let answer = wire.post("/api/ingest/setup", &headers, &setup);
                        let session = answer["data"]["sessionId"].as_str().unwrap().to_owned();
                        opened.lock().unwrap().push(session);
                    }
                });
            }
        });
        opened.into_inner().unwrap()
    }

    /// Syncs of the journal so far.
    pub(crate) fn syncs(&self) -> f64 {
        self.metric("runstream_journal_sync_seconds_count").expect("the server counts its syncs")
    }

    /// A metric without labels, as the server tells it; `None` if nothing was counted yet.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let metrics = get(self.process.port, "/metrics");
        let line = metrics.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

fn serve(program: &Path, data: &Path, core: Core, settings: &[String]) -> Process {
    serve_as(Command::new(program), data, core, settings)
}

fn serve_as(mut command: Command, data: &Path, core: Core, settings: &[String]) -> Process {
    command
        .args(["serve", "--port", "0", "--data"])
        .arg(data.join("data"))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.current_dir(data).stderr(Stdio::inherit());
    for tier in ["ingest_event", "ingest_lifecycle", "api", "auth"] {
        command.args(["--set", &format!("rates.{tier}_per_minute={UNLIMITED}")]);
    }
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.args(["--set", "log.filter=warn"]);
    Process::start(command, core)
}
