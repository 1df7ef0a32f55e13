//! Brings a viewer on an upgraded connection what it is behind, window after window, as fast as it takes them. Runs only
//! while it is behind; a viewer that does not read costs its task and the rest of one frame.

use std::sync::Arc;

use super::viewers::Viewer;
use super::wire::{Offered, Patience, Wire};
use crate::actors::feed::FeedError;
use crate::limits;

/// Runs until the viewer is up to date, or gone.
pub(super) async fn run(viewer: Arc<Viewer>, wire: Arc<Wire>) {
    if bring(&viewer, &wire).await.is_none() {
        viewer.seat.pump_ended();
    }
}

/// `None` if it ended early.
async fn bring(viewer: &Viewer, wire: &Arc<Wire>) -> Option<()> {
    let mut patience = Patience::default();
    wire.until_rested(&mut patience).await.ok()?;
    while let Some(cursor) = viewer.seat.wanted(wire) {
        match viewer.audience.next(&cursor).await {
            Ok(Some(window)) => {
                let (offered, went) = viewer.seat.offer(wire, &window)?;
                let frames_in_all = window.len();
                // Whoever has to wait holds no window meanwhile.
                drop(window);
                viewer.audience.count(went);
                match offered {
                    Offered::Begun { frames, .. } if frames >= frames_in_all => {
                        wire.until_rested(&mut patience).await.ok()?;
                        patience.reset();
                    }
                    Offered::Begun { .. } => wire.until_writable(&mut patience).await.ok()?,
                    Offered::LibrarysTurn => wire.until_librarys_turn_is_over().await,
                    Offered::Closed => return None,
                }
            }
            Ok(None) => {
                if viewer.seat.nothing_after(&cursor) {
                    tokio::time::sleep(limits::FEED_TICK).await;
                }
            }
            // It comes back, is refused its cursor, and knows that it has to fetch.
            Err(FeedError::Unusable(_)) => {
                wire.cut();
                return None;
            }
            Err(FeedError::Unavailable(_)) => {
                viewer.seat.ask_again();
                tokio::time::sleep(limits::LIVE_FEED_RETRY).await;
            }
        }
        // A peer that takes everything at once must not keep others from being served.
        tokio::task::yield_now().await;
    }
    Some(())
}
