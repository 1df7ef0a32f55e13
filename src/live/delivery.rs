//! How frames reach viewers: one emission per frame to the organization's room, encoded once however many watch.
//! A socket whose queue is full misses the frame and is counted; nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use serde::Serialize;
use serde_json::value::RawValue;
use socketioxide::BroadcastError;

use super::viewers::room;
use super::{Live, Shared};
use crate::actors::feed::{Delivery, Frame, Window};
use crate::domain::id::OrgId;
use crate::telemetry;

/// Frames times sockets since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameCounts {
    /// Handed to a socket's queue.
    pub sent: u64,
    /// Missed by a socket whose queue was full, or that was going away.
    pub dropped: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> FrameCounts {
        FrameCounts { sent: self.sent.load(Ordering::Relaxed), dropped: self.dropped.load(Ordering::Relaxed) }
    }

    fn count(&self, sent: u64, dropped: u64) {
        self.sent.fetch_add(sent, Ordering::Relaxed);
        metrics::counter!(telemetry::name::LIVE_FRAMES, "outcome" => "sent").increment(sent);
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            metrics::counter!(telemetry::name::LIVE_FRAMES, "outcome" => "dropped").increment(dropped);
        }
    }
}

/// `execution-log`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogEvent<'a> {
    task_id: &'a str,
    log: &'a str,
    offset: u64,
}

impl Delivery for Live {
    fn has_viewers(&self, org: OrgId) -> bool {
        self.shared.viewers.watching(org) > 0
    }

    fn sealed(&self, org: OrgId, window: &Arc<Window>) {
        for frame in &window.frames {
            let watching = self.shared.viewers.watching(org);
            if watching == 0 {
                return;
            }
            match self.shared.emit(org, frame) {
                Ok(missed) => {
                    let missed = missed.min(watching);
                    self.shared.counts.count((watching - missed) as u64, missed as u64);
                }
                // The feed made something that is not JSON or not text: a fault of ours, and no viewer's.
                Err(error) => {
                    tracing::error!(%error, org.id = %org, "dropped a live frame that cannot be encoded")
                }
            }
        }
    }
}

impl Shared {
    /// Emits one frame to the room; returns how many sockets missed it.
    fn emit(&self, org: OrgId, frame: &Frame) -> Result<usize, Box<dyn std::error::Error>> {
        let room = self.io.to(room(org));
        // A room of this process is served within the call: the future is ready at once.
        let outcome = match frame {
            Frame::Log { task, offset, text } => {
                let log = std::str::from_utf8(text)?;
                let event = LogEvent { task_id: task.as_str(), log, offset: *offset };
                room.emit("execution-log", &event).now_or_never()
            }
            Frame::Updated { body, .. } => {
                // Checked once and copied as it is: the body is never built anew.
                let body: &RawValue = serde_json::from_slice(body)?;
                room.emit("execution-updated", body).now_or_never()
            }
        };
        match outcome {
            None | Some(Ok(())) => Ok(0),
            Some(Err(BroadcastError::Socket(missed))) => Ok(missed.len()),
            Some(Err(error)) => Err(error.into()),
        }
    }
}
