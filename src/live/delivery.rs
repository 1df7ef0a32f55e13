//! How a tick reaches viewers: encoded once, written at once to those who have had everything before it, and left to
//! a pump or a poll for the others. Nobody waits for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Live;
use crate::actors::feed::{Delivery, Window};
use crate::domain::id::OrgId;
use crate::telemetry;

/// Frames times sockets since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: AtomicU64,
}

impl Counters {
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, frames: u64) {
        if frames > 0 {
            self.sent.fetch_add(frames, Ordering::Relaxed);
            metrics::counter!(telemetry::name::LIVE_FRAMES).increment(frames);
        }
    }
}

impl Delivery for Live {
    fn has_viewers(&self, org: OrgId) -> bool {
        self.shared.viewers.watched(org)
    }

    fn sealed(&self, org: OrgId, window: &Arc<Window>) {
        let Some(audience) = self.shared.viewers.audience(org) else { return };
        let encoded = audience.windows().add(window);
        tracing::trace!(org.id = %org, from = window.from, upto = window.upto, "delivering a window");
        let mut sent = 0;
        audience.for_each(|viewer| {
            let (due, went) = viewer.seat.tick(&encoded);
            sent += went;
            due
        });
        audience.count(sent);
    }
}
