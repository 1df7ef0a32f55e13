//! `runstream tail`: follows a run's log from any terminal. Reads the run's live stream, prints the text as it is
//! (colours included), and when the stream is cut, by the network or by a restart of the server, comes back with the
//! last offset it has: every character is printed once.

mod follow;

use std::io::{self, Write};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use self::follow::{Follow, Step};
use super::client::{Answer, Client, ClientError};
use super::sse::{SseError, SseReader};
use crate::clock::Clock;
use crate::domain::execution::Status;

/// How often an organization without runs is asked for one; well below its request tier.
const WAIT_FOR_RUN: Duration = Duration::from_secs(2);
/// A stream that is silent for longer is dead: the server sends a comment every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(40);
/// First pause before a cut stream is opened again; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest pause between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// UTF-16 units asked for at once without following.
const PAGE_UNITS: u64 = 256 << 10;
/// Bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Follow a run's log, the newest run's by default.
///
/// Without any run it waits for the first. The text goes to standard output as it is, everything else to standard
/// error. A cut connection is opened again and continues where it was cut, also over a restart of the server.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0   the run passed; or --no-follow and the run goes on
  1   the server refused (credential, unknown run) or standard output failed
  2   wrong usage
  10  the run failed
  11  the run passed on a retry only (UNSTABLE)
  12  the run could not be carried out (ERROR)
  13  the run was cancelled

Examples:
  runstream tail --key pk_live_…
  RUNSTREAM_API_KEY=pk_live_… runstream tail ingest-1774000000123-b1d6c0f2 --no-follow > run.log")]
pub struct TailArgs {
    /// The run's task id; the newest run if absent.
    pub task_id: Option<String>,
    /// The server's URL.
    #[arg(long, env = "RUNSTREAM_URL", default_value = "http://localhost:3000")]
    pub url: String,
    /// An API key.
    #[arg(long, env = "RUNSTREAM_API_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// A token, as signing in returns it; used if there is no key.
    #[arg(long, env = "RUNSTREAM_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Offset to begin at, in UTF-16 units.
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// Print what is there and end.
    #[arg(long)]
    pub no_follow: bool,
}

/// Why a run cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// Neither key nor token, or one that no header can carry.
    #[error("give an API key (--key or RUNSTREAM_API_KEY) or a token (--token or RUNSTREAM_TOKEN)")]
    Credential,
    /// The server will not answer differently next time.
    #[error("the server refused: {error}: {message} ({status})")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The envelope's `error`.
        error: String,
        /// The envelope's `message`.
        message: String,
    },
    /// What answers is no server of this kind.
    #[error("the answer is not what this command understands: {0}")]
    Foreign(String),
    /// The URL is none.
    #[error(transparent)]
    Client(ClientError),
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

/// The exit code that tells a script how the run ended; `None` if it goes on.
#[must_use]
pub const fn exit_code(status: Option<Status>) -> u8 {
    match status {
        None | Some(Status::Passed | Status::Pending | Status::Running | Status::Analyzing) => 0,
        Some(Status::Failed) => 10,
        Some(Status::Unstable) => 11,
        Some(Status::Error) => 12,
        Some(Status::Cancelled) => 13,
    }
}

/// Why an attempt ended before the run did.
enum Cut {
    /// Worth another attempt, not before the pause the server asked for.
    Again(String, Option<Duration>),
    /// Not worth one.
    Final(TailError),
}

impl From<ClientError> for Cut {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Url(_) | ClientError::Request(_) => Self::Final(TailError::Client(error)),
            ClientError::Json { status, .. } if status.is_server_error() => {
                Self::Again(error.to_string(), None)
            }
            ClientError::Json { .. } => Self::Final(TailError::Foreign(error.to_string())),
            ClientError::Connect { .. } | ClientError::Exchange { .. } => {
                Self::Again(error.to_string(), None)
            }
        }
    }
}

impl From<SseError> for Cut {
    fn from(error: SseError) -> Self {
        Self::Final(TailError::Foreign(error.to_string()))
    }
}

impl From<serde_json::Error> for Cut {
    fn from(error: serde_json::Error) -> Self {
        Self::Final(TailError::Foreign(error.to_string()))
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Final(TailError::Print(error))
    }
}

/// Adds the credential of `args` to a client.
///
/// # Errors
/// `Credential` if there is none.
pub fn with_credential(client: Client, args: &TailArgs) -> Result<Client, TailError> {
    let (name, value) = match (&args.key, &args.token) {
        (Some(key), _) => (HeaderName::from_static("x-api-key"), key.clone()),
        (None, Some(token)) => (AUTHORIZATION, format!("Bearer {token}")),
        (None, None) => return Err(TailError::Credential),
    };
    let mut value = HeaderValue::try_from(value).map_err(|_error| TailError::Credential)?;
    value.set_sensitive(true);
    Ok(client.with_header(name, value))
}

/// A follower of one run.
pub struct Tail<'a> {
    /// The server; with a credential.
    pub client: &'a Client,
    /// Measures pauses and silence.
    pub clock: &'a dyn Clock,
    /// Where the text goes.
    pub out: &'a mut (dyn Write + Send),
    /// Where everything else goes.
    pub notes: &'a mut (dyn Write + Send),
}

impl Tail<'_> {
    /// Prints the run's text until the run is over, and returns its final status; with `no_follow` until there is no
    /// more for now, and the status only if it is final.
    ///
    /// # Errors
    /// See [`TailError`]; failures of the network are not among them, they are tried again for ever.
    pub async fn run(mut self, args: &TailArgs) -> Result<Option<Status>, TailError> {
        let task = match &args.task_id {
            Some(task) => task.clone(),
            None => self.newest().await?,
        };
        let path = format!("/api/executions/{}", path_segment(&task));
        let mut follow = Follow::from(args.from);
        let mut pauses = pauses();
        loop {
            let before = follow.offset;
            let attempt = if args.no_follow {
                self.print_stored(&path, &mut follow).await
            } else {
                self.print_live(&path, &mut follow).await.map(Some)
            };
            let cut = match attempt {
                Ok(status) => return Ok(status),
                Err(cut) => cut,
            };
            if follow.offset > before {
                pauses = self::pauses();
            }
            self.pause(cut, &mut pauses).await?;
        }
    }

    /// The task id of the newest run; waits for one.
    async fn newest(&mut self) -> Result<String, TailError> {
        let mut pauses = pauses();
        let mut told = false;
        loop {
            match self.get("/api/executions?limit=1").await {
                Ok(body) => {
                    let newest = body.pointer("/data/executions/0/taskId").and_then(Value::as_str);
                    if let Some(task) = newest {
                        writeln!(self.notes, "following {task}")?;
                        return Ok(task.to_owned());
                    }
                    if !std::mem::replace(&mut told, true) {
                        writeln!(self.notes, "no run yet, waiting for the first")?;
                    }
                    self.clock.sleep(WAIT_FOR_RUN).await;
                }
                Err(cut) => self.pause(cut, &mut pauses).await?,
            }
        }
    }

    /// One attempt at the live stream: returns when the run is over.
    async fn print_live(&mut self, path: &str, follow: &mut Follow) -> Result<Status, Cut> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let response = self.client.stream(&format!("{path}/live?from={}", follow.offset), headers).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal_of(response).await);
        }
        let mut body = response.into_body();
        let (mut reader, mut events) = (SseReader::default(), Vec::new());
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = self.clock.sleep(SILENCE_MAX) => return Err(Cut::Again("the server fell silent".into(), None)),
            };
            let frame = match frame {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(Cut::Again(error.to_string(), None)),
                None => return Err(Cut::Again("the stream was cut".into(), None)),
            };
            reader.push(frame.data_ref().map(AsRef::as_ref).unwrap_or_default(), &mut events)?;
            for event in events.drain(..) {
                match follow.take(&event)? {
                    Step::Text { missing, text } => self.print(missing, text)?,
                    Step::End(status) => {
                        self.out.flush()?;
                        return Ok(status);
                    }
                    Step::Status(_) | Step::Nothing => {}
                }
            }
            self.out.flush()?;
        }
    }

    /// Prints what is stored. Returns the run's status if it is final.
    async fn print_stored(&mut self, path: &str, follow: &mut Follow) -> Result<Option<Status>, Cut> {
        loop {
            let from = follow.offset;
            let body = self.get(&format!("{path}/logs?from={from}&limit={PAGE_UNITS}")).await?;
            let number = |name: &str| body.pointer(&format!("/data/{name}")).and_then(Value::as_u64);
            let text = body.pointer("/data/output").and_then(Value::as_str);
            let (Some(text), Some(start), Some(next), Some(length)) =
                (text, number("from"), number("next"), number("length"))
            else {
                return Err(Cut::Final(TailError::Foreign("no text in the answer".into())));
            };
            self.print(start.saturating_sub(from), text)?;
            follow.offset = next;
            if next >= length || next <= from {
                break;
            }
        }
        self.out.flush()?;
        let body = self.get(&format!("{path}/status")).await?;
        let status = body.pointer("/data/status").cloned().unwrap_or_default();
        let status: Status = serde_json::from_value(status)?;
        Ok(status.is_final().then_some(status))
    }

    fn print(&mut self, missing: u64, text: &str) -> io::Result<()> {
        if missing > 0 {
            writeln!(self.notes, "[{missing} units of text are not kept by the server]")?;
        }
        self.out.write_all(text.as_bytes())
    }

    async fn get(&mut self, path: &str) -> Result<Value, Cut> {
        let answer = self.client.call(Method::GET, path, None).await?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(judge(&answer)) }
    }

    /// Waits before the next attempt, or gives up if there is no point in one.
    async fn pause(
        &mut self,
        cut: Cut,
        pauses: &mut impl Iterator<Item = Duration>,
    ) -> Result<(), TailError> {
        let (reason, asked) = match cut {
            Cut::Final(error) => return Err(error),
            Cut::Again(reason, asked) => (reason, asked.unwrap_or_default()),
        };
        let pause = pauses.next().unwrap_or(RETRY_MAX).max(asked);
        writeln!(self.notes, "{reason}; trying again in {:.1} s", pause.as_secs_f64())?;
        self.clock.sleep(pause).await;
        Ok(())
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(RETRY_MIN)
        .with_max_delay(RETRY_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

/// What an answer with an error status means for the next attempt.
fn judge(answer: &Answer) -> Cut {
    let member = |name: &str| answer.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (error, message) = (member("error"), member("message"));
    let passing = answer.status.is_server_error()
        || matches!(answer.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    if passing {
        let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Cut::Again(format!("{error} ({})", answer.status), after.map(Duration::from_secs))
    } else {
        Cut::Final(TailError::Refused { status: answer.status, error, message })
    }
}

/// Reads the rest of a refused stream's answer.
async fn refusal_of(response: http::Response<Incoming>) -> Cut {
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, REFUSAL_BYTES_MAX).collect().await;
    let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    judge(&Answer { status: parts.status, headers: parts.headers, body })
}

/// `text` as one segment of a URL's path.
fn path_segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_stays_one_segment() {
        assert_eq!(path_segment("ingest-1774-b1d6"), "ingest-1774-b1d6");
        assert_eq!(path_segment("../a b?é"), "..%2Fa%20b%3F%C3%A9");
    }

    #[test]
    fn only_passing_trouble_is_tried_again() {
        let answer = |status: StatusCode| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, 7.into());
            Answer { status, headers, body: serde_json::json!({"error": "No", "message": "never"}) }
        };
        for status in
            [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS, StatusCode::BAD_GATEWAY]
        {
            let Cut::Again(reason, after) = judge(&answer(status)) else {
                panic!("{status} should be tried again")
            };
            assert!(reason.starts_with("No ("), "{reason}");
            assert_eq!(after, Some(Duration::from_secs(7)));
        }
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
            let Cut::Final(error) = judge(&answer(status)) else { panic!("{status} should be final") };
            assert!(error.to_string().contains("No: never"), "{error}");
        }
    }

    #[test]
    fn every_status_has_its_exit_code() {
        let codes = Status::ALL.map(|status| exit_code(Some(status)));
        assert_eq!(codes, [0, 0, 0, 0, 10, 11, 12, 13]);
        assert_eq!(exit_code(None), 0);
    }
}
