//! `runstream demo`: the main job in one command. Serves, signs up, streams a recorded run through the HTTP door, shows
//! its lines as they arrive on the live channel, and compares what was sent, what is stored and what was seen.
//!
//! `account` makes what a reporter needs, `recording` is the run, `sender` plays the reporter, `watcher` the dashboard,
//! `tally` the judge. Nothing here has a door of its own into the server: every byte goes through a socket.

mod account;
mod recording;
mod sender;
mod tally;
mod watcher;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

pub(in crate::cli) use self::account::{Account, with_key, with_token};
use self::account::{get, post, text};
use self::recording::{Recording, RecordingError};
pub use self::sender::Speed;
use self::sender::{Sender, Sent};
pub(in crate::cli) use self::tally::grouped;
use self::tally::{Comparison, Tally};
use self::watcher::{Seen, Watcher};
use super::client::{Answer, Client, ClientError};
use super::socket::{LiveSocket, Place, SocketError};
use crate::clock::Clock;
use crate::config::Settings;
use crate::dial::TcpDial;
use crate::server::{RunningServer, Seams, Server, StartError};
use crate::store::contract::StoreError;

/// How long connecting to the demo's own server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the viewer may lag behind the teardown's answer.
const VIEWER_LAG_MAX: Duration = Duration::from_secs(30);
/// Results asked for at once.
const RESULTS_PAGE: usize = 1_000;

/// Show the whole journey: serve, stream a recorded test run in, watch it live, compare.
///
/// Serves on a loopback port with a temporary data folder unless told otherwise, and keeps serving when the run is over.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  what was sent, what is stored and what was seen live agree
  1  they do not, or something failed
  2  wrong usage

Examples:
  runstream demo
  runstream demo --speed 4 --port 3000 --data ./demo-data
  runstream demo --once --speed max")]
pub struct DemoArgs {
    /// Port to serve on; a free one if absent.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Folder to keep the data in; a temporary one, removed at the end, if absent.
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Pace: so many times as fast as recorded, or `max`.
    #[arg(long, default_value = "1")]
    pub speed: Speed,
    /// End when the run is over instead of serving on.
    #[arg(long)]
    pub once: bool,
}

/// Why the demo could not go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The server cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The live channel failed.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The server refused what should have been fine.
    #[error("the server refused {what}: {answer}")]
    Refused {
        /// Which request.
        what: String,
        /// Status and body.
        answer: String,
    },
    /// An answer or event is not what the documents say.
    #[error("unexpected: {0}")]
    Unexpected(String),
    /// The recording inside the binary is damaged.
    #[error("{0}")]
    Recording(String),
    /// A part of the demo panicked.
    #[error("a part of the demo ended early: {0}")]
    Task(String),
    /// No place for the data.
    #[error("no data folder: {0}")]
    DataFolder(#[source] io::Error),
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
}

impl From<RecordingError> for DemoError {
    fn from(error: RecordingError) -> Self {
        Self::Recording(error.to_string())
    }
}

impl DemoError {
    fn refused(what: &str, answer: &Answer) -> Self {
        Self::Refused { what: what.to_owned(), answer: format!("{} {}", answer.status, answer.body) }
    }
}

/// A server that has shown its run.
pub struct Demo {
    server: RunningServer,
    /// Removed when the demo is dropped.
    _folder: Option<tempfile::TempDir>,
    /// Whether sent, stored and seen agree.
    pub agrees: bool,
}

impl Demo {
    /// Serves and shows the recorded run, printing to standard output. The server goes on afterwards.
    ///
    /// # Errors
    /// See [`DemoError`].
    pub async fn run(args: &DemoArgs, clock: Arc<dyn Clock>) -> Result<Self, DemoError> {
        let recording = Recording::embedded()?;
        let (folder, data_folder) = match &args.data {
            Some(data) => (None, data.clone()),
            None => {
                let folder = tempfile::Builder::new()
                    .prefix("runstream-demo-")
                    .tempdir()
                    .map_err(DemoError::DataFolder)?;
                let path = folder.path().to_owned();
                (Some(folder), path)
            }
        };
        let mut settings = Settings { data_folder, ..Settings::default() };
        settings.server.port = args.port;
        let server = Server::start(settings, Seams { clock: Arc::clone(&clock), ..Seams::default() }).await?;
        let shown = show(&server, args, &recording, clock).await;
        match shown {
            Ok(agrees) => Ok(Self { server, _folder: folder, agrees }),
            Err(error) => {
                if let Err(closing) = server.shut_down().await {
                    tracing::warn!(error = %closing, "the store was not closed in order");
                }
                Err(error)
            }
        }
    }

    /// Ends the server.
    ///
    /// # Errors
    /// If its store could not be closed in order.
    pub async fn shut_down(self) -> Result<(), StoreError> {
        self.server.shut_down().await
    }
}

/// The demo proper; returns whether all sides agree.
async fn show(
    server: &RunningServer,
    args: &DemoArgs,
    recording: &Recording,
    clock: Arc<dyn Clock>,
) -> Result<bool, DemoError> {
    let url = server.base_url();
    let client = Client::new(Arc::new(TcpDial { timeout: CONNECT_TIMEOUT }), &url)?;
    let account = Account::create(&client).await?;
    say(&format!("serving on {url}\nsign in as {} with {}\n\n", account.email, account.password))?;

    let member = with_token(&client, &account.token)?;
    let socket = LiveSocket::open(&client, &account.token, Place::default()).await?;
    let progress = progress_bar(recording);
    let watcher = Watcher {
        socket,
        token: account.token.clone(),
        cut_every: recording.text_units() / (watcher::CUTS + 1),
        client: member.clone(),
        progress: progress.clone(),
    };
    let watching = tokio::spawn(watcher.watch());

    let reporter = with_key(&client, &account.key)?;
    let mut setup = recording.setup.clone();
    setup.insert("projectId".into(), account.project.clone().into());
    let opened = post(&reporter, "/api/ingest/setup", &Value::Object(setup)).await?;
    let (session, task) = (text(&opened, "/data/sessionId")?, text(&opened, "/data/taskId")?);
    let sender = Sender {
        client: reporter.clone(),
        clock: Arc::clone(&clock),
        session: session.clone(),
        speed: args.speed,
        progress: progress.clone(),
    };
    let sent = sender.stream(recording).await?;
    let teardown = teardown_body(&recording.teardown, &session, &sent.tally);
    let ended = post(&reporter, "/api/ingest/teardown", &teardown).await?;
    let seen = tokio::select! {
        seen = watching => seen.map_err(|error| DemoError::Task(error.to_string()))??,
        () = clock.sleep(VIEWER_LAG_MAX) => return Err(DemoError::Unexpected("the live channel shows no end of the run".into())),
    };
    progress.finish_and_clear();

    let (stored, stored_text) = stored(&member, &task).await?;
    let comparison = compare(&sent, stored, &stored_text, &seen);
    let agrees = comparison.agrees();
    let status = text(&ended, "/data/status")?;
    say(&summary(&task, &status, &comparison, &sent, &seen))?;
    if !args.once {
        say(&farewell(&url, &account, &task))?;
    }
    Ok(agrees)
}

fn say(text: &str) -> Result<(), DemoError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(DemoError::Print)
}

/// Hidden by itself where standard error is no terminal.
fn progress_bar(recording: &Recording) -> ProgressBar {
    let progress = ProgressBar::new(recording.events.len() as u64);
    // The template is a constant; should it not parse, the plain bar does as well.
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40.cyan/dim} {pos}/{len} events acknowledged  {elapsed}")
    {
        progress.set_style(style);
    }
    progress
}

fn teardown_body(recorded: &Map<String, Value>, session: &str, sent: &Tally) -> Value {
    let mut body = recorded.clone();
    body.insert("sessionId".into(), session.into());
    let delivery = json!({
        "sent": sent.events.unwrap_or_default(), "droppedEvents": 0, "droppedLogBytes": 0, "retries": 0, "spooled": 0,
    });
    body.insert("delivery".into(), delivery);
    Value::Object(body)
}

/// What the server gives back of a run: its counts, its results, its text.
async fn stored(client: &Client, task: &str) -> Result<(Tally, String), DemoError> {
    let path = format!("/api/executions/{task}");
    let log = text(&get(client, &format!("{path}/logs")).await?, "/data/output")?;
    let completeness = get(client, &format!("{path}/completeness")).await?;
    let events = completeness.body.pointer("/data/events/stored").and_then(Value::as_u64);
    let mut tally = Tally { events, ..Tally::default() };
    tally.text.add(&log);
    let mut after = 0;
    loop {
        let page = get(client, &format!("{path}/tests?after={after}&limit={RESULTS_PAGE}")).await?;
        let results = page.body.pointer("/data/tests").and_then(Value::as_array).map(Vec::as_slice);
        let results = results.unwrap_or_default();
        tally.add_results(results);
        match page.body.pointer("/data/next").and_then(Value::as_u64) {
            Some(next) if !results.is_empty() => after = next,
            _ => return Ok((tally, log)),
        }
    }
}

fn compare(sent: &Sent, stored: Tally, stored_text: &str, seen: &Seen) -> Comparison {
    let mut live = Tally::default();
    live.text.add(&seen.text);
    if let Some(tests) = &seen.tests {
        live.add_results(tests);
    }
    Comparison { sent: sent.tally.clone(), stored, seen: live, seen_is_stored: seen.text == stored_text }
}

fn summary(task: &str, status: &str, comparison: &Comparison, sent: &Sent, seen: &Seen) -> String {
    let mut latencies = sent.latencies.clone();
    latencies.sort_unstable();
    let percentile = |percent: usize| {
        let index = (latencies.len() * percent / 100).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    let verdict = if comparison.agrees() { "sent = stored = seen" } else { "sent, stored and seen DIFFER" };
    let fetched = match seen.fetched_units {
        0 => String::new(),
        units => format!("{} units came from the log after the live channel skipped them\n", grouped(units)),
    };
    format!(
        "\nrun {task} ended {status}\n\n{comparison}{fetched}its connection was cut {} times\nacknowledged {} requests: p50 {:.1} ms, p99 {:.1} ms\n\n{verdict}\n",
        seen.cuts,
        latencies.len(),
        percentile(50),
        percentile(99),
    )
}

fn farewell(url: &str, account: &Account, task: &str) -> String {
    let Account { email, password, key, project, .. } = account;
    format!(
        "
Still serving on {url} (Ctrl-C ends it)
  sign in          {email} / {password}
  API reference    {url}/docs
  this run         curl -H 'x-api-key: {key}' {url}/api/executions/{task}
  its log again    runstream tail {task} --url {url} --key {key}
  a reporter needs baseUrl {url}, projectId {project}, the key above
"
    )
}
