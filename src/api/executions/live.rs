//! `GET /api/executions/{taskId}/live`: a run's text as Server-Sent Events, snapshot then tail. The stream owns nothing
//! but an offset: it reads a bounded page from the store whenever the client has taken the one before, and waits for the
//! run's progress when there is no more. So a slow client costs one page, a cut is repaired by coming back with the
//! last id, and what is shown is what is stored.
//!
//! | event | data | when |
//! |---|---|---|
//! | `log` | `{"taskId","log","offset"}`, id = offset after the text | text, in order; an offset beyond the id before tells that the log cap removed what was between |
//! | `status` | `{"taskId","status"}` | first, and on every change, after the text that came before it |
//! | `end` | `{"taskId","status"}` | nothing more can come: final, and the time for late events is over |
//!
//! A stream whose credential is voided ends without `end`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use futures_util::Stream;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use super::read::Runs;
use crate::access::{Access, Caller, Credential, Revocation};
use crate::actors::Progress;
use crate::clock::{Clock, Sleep};
use crate::domain::execution::Status;
use crate::domain::id::{ExecutionId, OrgId, TaskId};
use crate::http::{Failure, Kind};
use crate::limits;
use crate::telemetry::name;

/// Counts live streams and ends them all when the server does.
#[derive(Clone)]
pub(in crate::api) struct LiveStreams {
    shared: Arc<Shared>,
}

struct Shared {
    per_org: DashMap<OrgId, usize>,
    per_org_max: usize,
    closing: watch::Sender<bool>,
}

impl Default for LiveStreams {
    fn default() -> Self {
        Self::new(limits::LIVE_STREAMS_PER_ORG_MAX)
    }
}

impl LiveStreams {
    /// At most `per_org_max` streams of one organization at the same time.
    fn new(per_org_max: usize) -> Self {
        let shared = Shared { per_org: DashMap::new(), per_org_max, closing: watch::Sender::new(false) };
        Self { shared: Arc::new(shared) }
    }

    /// Ends every stream, and lets no new one begin. Clients come back to the next server with their last id.
    pub(in crate::api) fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Takes a place for a stream of `org`.
    fn enter(&self, org: OrgId) -> Result<Place, Failure> {
        let mut count = self.shared.per_org.entry(org).or_default();
        if *count >= self.shared.per_org_max {
            let message = "This organization follows as many runs as allowed at the same time";
            return Err(Failure::new(Kind::TooManyRequests, "Too many live streams", message).retry_after(10));
        }
        *count += 1;
        metrics::gauge!(name::LIVE_STREAMS).increment(1.0);
        Ok(Place { shared: Arc::clone(&self.shared), org })
    }
}

/// One open stream.
struct Place {
    shared: Arc<Shared>,
    org: OrgId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.per_org.entry(self.org).and_modify(|count| *count = count.saturating_sub(1));
        self.shared.per_org.remove_if(&self.org, |_, count| *count == 0);
        metrics::gauge!(name::LIVE_STREAMS).decrement(1.0);
    }
}

/// What a live stream needs besides the run.
#[derive(Clone)]
pub(super) struct LiveDeps {
    pub(super) runs: Runs,
    pub(super) access: Access,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) streams: LiveStreams,
}

/// What is to be followed, from where, and for whom.
pub(super) struct Wanted {
    pub(super) caller: Caller,
    pub(super) execution: ExecutionId,
    pub(super) task: TaskId,
    pub(super) from: u64,
}

/// Opens a stream of events.
///
/// # Errors
/// 429 `Too many live streams`; 500 `Failed to fetch logs` or 503 if the run cannot be read now.
pub(super) async fn follow(
    deps: LiveDeps,
    wanted: Wanted,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + use<>, Failure> {
    let place = deps.streams.enter(wanted.caller.org)?;
    let (revocations, closing) = (deps.access.revocations(), deps.streams.shared.closing.subscribe());
    let heartbeat = deps.clock.sleep(limits::LIVE_HEARTBEAT);
    let check = deps.clock.sleep(limits::LIVE_RECHECK);
    let offset = wanted.from;
    let mut follower = Follower {
        deps,
        wanted,
        offset,
        shown: None,
        progress: None,
        revocations,
        closing,
        heartbeat,
        check,
        phase: Phase::Hello,
        _place: place,
    };
    follower.subscribe().await?;
    Ok(futures_util::stream::unfold(follower, async |mut follower| {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    }))
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent yet.
    Hello,
    /// Text may be there already.
    Reading,
    /// All text of the last known progress was sent.
    CaughtUp(Reached),
    /// `end` was sent.
    Over,
}

/// How far the run had come when its text was last read to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    status: Status,
    settled: bool,
}

struct Follower {
    deps: LiveDeps,
    wanted: Wanted,
    /// UTF-16 units sent, or not wanted.
    offset: u64,
    /// The status the client knows.
    shown: Option<Status>,
    /// `None` for a run that cannot change any more.
    progress: Option<watch::Receiver<Progress>>,
    revocations: broadcast::Receiver<Revocation>,
    closing: watch::Receiver<bool>,
    heartbeat: Sleep,
    check: Sleep,
    phase: Phase,
    _place: Place,
}

/// Why a waiting stream goes on.
enum Wake {
    Progress,
    Lost,
    Heartbeat,
    Check,
    Closing,
}

impl Follower {
    /// The next piece of the stream; `None` ends it.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.phase {
                Phase::Hello => {
                    self.phase = Phase::Reading;
                    return Some(Bytes::from_static(b"retry: 1000\n\n"));
                }
                Phase::Reading => {
                    if *self.closing.borrow() {
                        return None;
                    }
                    match self.read().await {
                        Ok(Some(event)) => return Some(event),
                        Ok(None) => {}
                        Err(failure) => {
                            tracing::warn!(execution.id = %self.wanted.execution, %failure, "a live stream ended early");
                            return None;
                        }
                    }
                }
                Phase::CaughtUp(Reached { status, settled }) => {
                    if self.shown != Some(status) {
                        self.shown = Some(status);
                        return Some(self.status_event("status", status));
                    }
                    if settled {
                        self.phase = Phase::Over;
                        return Some(self.status_event("end", status));
                    }
                    match self.wait().await {
                        Wake::Progress => self.phase = Phase::Reading,
                        Wake::Lost => self.resubscribe().await?,
                        Wake::Heartbeat => {
                            self.heartbeat = self.deps.clock.sleep(limits::LIVE_HEARTBEAT);
                            return Some(Bytes::from_static(b": still here\n\n"));
                        }
                        Wake::Check => self.check_caller().await?,
                        Wake::Closing => return None,
                    }
                }
                Phase::Over => return None,
            }
        }
    }

    /// Reads the next page of text. Without any the run's progress, as it was before the read, has been sent whole.
    async fn read(&mut self) -> Result<Option<Bytes>, Failure> {
        // A client that takes page after page without a pause must not outlive its credential either.
        if futures_util::FutureExt::now_or_never(&mut self.check).is_some()
            && self.check_caller().await.is_none()
        {
            self.phase = Phase::Over;
            return Ok(None);
        }
        let reached = self.reached().await?;
        let Wanted { caller, execution, .. } = &self.wanted;
        let read =
            self.deps.runs.store.text(caller.org, *execution, self.offset, limits::LIVE_PAGE_UNITS).await;
        let page = read.map_err(|cause| Failure::internal(ERROR, cause))?.unwrap_or_default();
        if page.text.is_empty() {
            self.phase = Phase::CaughtUp(reached);
            return Ok(None);
        }
        self.offset = page.next;
        let data = LogData { task_id: self.wanted.task.as_str(), log: &page.text, offset: page.from };
        Ok(Some(event("log", Some(page.next), &data)))
    }

    /// How far the run has come by now.
    async fn reached(&mut self) -> Result<Reached, Failure> {
        if let Some(progress) = &mut self.progress {
            let Progress { status, settled, .. } = *progress.borrow_and_update();
            return Ok(Reached { status, settled });
        }
        let Wanted { caller, execution, .. } = &self.wanted;
        let found = self.deps.runs.store.execution(caller.org, *execution).await;
        let found = found.map_err(|cause| Failure::internal(ERROR, cause))?;
        // A run that was taken back never had anything to show.
        let status = found.map_or(Status::Cancelled, |execution| execution.status);
        Ok(Reached { status, settled: true })
    }

    async fn wait(&mut self) -> Wake {
        let progress = async {
            let Some(progress) = &mut self.progress else { return Wake::Lost };
            if progress.changed().await.is_ok() { Wake::Progress } else { Wake::Lost }
        };
        let caller = &self.wanted.caller;
        let revoked = async {
            loop {
                match self.revocations.recv().await {
                    Ok(revocation) if !concerns(&revocation, caller) => {}
                    // Having missed some is a reason to ask; that nobody can void anything any more is none.
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return Wake::Check,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            biased;
            _closing = self.closing.wait_for(|closing| *closing) => Wake::Closing,
            wake = revoked => wake,
            () = &mut self.check => Wake::Check,
            wake = progress => wake,
            () = &mut self.heartbeat => Wake::Heartbeat,
        }
    }

    /// Whether the caller may still listen; `None` if not.
    async fn check_caller(&mut self) -> Option<()> {
        self.check = self.deps.clock.sleep(limits::LIVE_RECHECK);
        self.deps.access.still_valid(&self.wanted.caller).await.ok().map(drop)
    }

    async fn subscribe(&mut self) -> Result<(), Failure> {
        let Wanted { caller, execution, .. } = &self.wanted;
        let progress = self.deps.runs.engine.progress(caller.org, *execution).await;
        self.progress = progress.map_err(|cause| super::read::engine_failure(ERROR, cause))?;
        Ok(())
    }

    /// The run's actor is gone: the next one, or the store, knows the rest.
    async fn resubscribe(&mut self) -> Option<()> {
        self.phase = Phase::Reading;
        self.subscribe().await.ok()
    }

    fn status_event(&self, name: &str, status: Status) -> Bytes {
        event(name, None, &StatusData { task_id: self.wanted.task.as_str(), status })
    }
}

/// Whether what was voided may be what `caller` came with.
fn concerns(revocation: &Revocation, caller: &Caller) -> bool {
    match (revocation, &caller.credential) {
        (Revocation::User(user), _) => *user == caller.user,
        (Revocation::Token(voided), Credential::Token { id, .. }) => voided == id,
        (Revocation::Key(voided), Credential::Key(id)) => voided == id,
        (Revocation::Token(_), Credential::Key(_)) | (Revocation::Key(_), Credential::Token { .. }) => false,
    }
}

const ERROR: &str = "Failed to fetch logs";

/// The data of a `log` event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogData<'a> {
    task_id: &'a str,
    log: &'a str,
    offset: u64,
}

/// The data of `status` and `end` events.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusData<'a> {
    task_id: &'a str,
    status: Status,
}

/// One event in its wire form. JSON text has no newline in it, so the data is always one line.
fn event<T: Serialize>(name: &str, id: Option<u64>, data: &T) -> Bytes {
    let mut text = format!("event: {name}\n");
    if let Some(id) = id {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "id: {id}");
    }
    text.push_str("data: ");
    text.push_str(&serde_json::to_string(data).unwrap_or_default());
    text.push_str("\n\n");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_each_field() {
        let data = LogData { task_id: "t", log: "a\r\nb\u{2028}\0", offset: 3 };
        assert_eq!(
            event("log", Some(9), &data),
            "event: log\nid: 9\ndata: {\"taskId\":\"t\",\"log\":\"a\\r\\nb\u{2028}\\u0000\",\"offset\":3}\n\n"
        );
        let data = StatusData { task_id: "t", status: Status::Running };
        assert_eq!(
            event("status", None, &data),
            "event: status\ndata: {\"taskId\":\"t\",\"status\":\"RUNNING\"}\n\n"
        );
    }

    #[test]
    fn places_are_counted_per_organization_and_given_back() {
        let streams = LiveStreams::new(2);
        let (one, other) = (OrgId::generate(1), OrgId::generate(1));
        let first = streams.enter(one).unwrap();
        let second = streams.enter(one).unwrap();
        let refused = streams.enter(one).err().unwrap();
        assert_eq!((refused.kind, refused.retry_after_s), (Kind::TooManyRequests, Some(10)));
        let third = streams.enter(other).unwrap();
        assert_eq!(streams.shared.per_org.len(), 2);
        drop((first, third));
        assert_eq!(streams.shared.per_org.len(), 1);
        drop(streams.enter(one).unwrap());
        drop(second);
        assert!(streams.shared.per_org.is_empty(), "nothing is kept of organizations without streams");
    }
}
