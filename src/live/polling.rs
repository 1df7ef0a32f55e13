//! What a polling client gets: the library's answer, with the `pid` put into the CONNECT answer, and with the window
//! after the viewer's position in place of a bell.

use std::sync::Arc;

use bytes::Bytes;

use super::bell::{self, Bell};
use super::boundaries::Special;
use super::cursor::Cursor;
use super::seat::Due;
use super::session::Session;
use super::viewers::Viewer;
use crate::actors::feed::FeedError;
use crate::limits;

/// Stands between two packets of an answer.
const SEPARATOR: u8 = 0x1e;
/// The packet that says nothing. An answer must have one.
const NOOP: &[u8] = b"6";

/// The answer as the client gets it.
///
/// # Errors
/// If the feed cannot go on where the viewer stands.
pub(super) async fn rewritten(session: &Session, answer: Bytes) -> Result<Bytes, FeedError> {
    let packets = || answer.split(|byte| *byte == SEPARATOR);
    if packets().all(|packet| bell::special(packet).is_none()) {
        return Ok(answer);
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut heard = None;
    for packet in packets() {
        match (bell::special(packet), session.pid()) {
            (Some(Special::Bell), _) => {
                heard = heard.filter(|bell| *bell == Bell::Welcome).or(Some(Bell::of(packet)))
            }
            (Some(Special::Connected), Some(pid)) => kept.push(bell::connected_with(packet, &pid)),
            _ => kept.push(packet.to_vec()),
        }
    }
    if let (Some(bell), Some(viewer)) = (heard, session.viewer()) {
        bring(&viewer, bell, &mut kept).await?;
    }
    if kept.is_empty() {
        return Ok(Bytes::from_static(NOOP));
    }
    Ok(kept.join(&SEPARATOR).into())
}

/// Adds what the viewer is behind, as much as one answer carries; rings again if that is not all.
async fn bring(viewer: &Arc<Viewer>, bell: Bell, kept: &mut Vec<Vec<u8>>) -> Result<(), FeedError> {
    let Some(mut cursor) = viewer.seat.heard_in_poll(bell) else { return Ok(()) };
    let turn = Turn { viewer, done: false };
    let (mut packets, mut size, mut answers) = (Vec::new(), 0, true);
    while size < limits::LIVE_WINDOW_BYTES {
        let window = match viewer.audience.next(&cursor).await {
            Ok(Some(window)) => window,
            Ok(None) => break,
            // It is rung again when the feed is looked at the next time.
            Err(FeedError::Unavailable(_)) => {
                answers = false;
                break;
            }
            // What comes before it is delivered first, so that the client does not come back to the same place.
            Err(_) if !packets.is_empty() => break,
            Err(unusable) => return Err(unusable),
        };
        let mut frames = cursor.frames();
        while size < limits::LIVE_WINDOW_BYTES
            && let Some(packet) = window.packet(frames)
        {
            packets.push(packet.to_vec());
            size += packet.len();
            frames += 1;
        }
        cursor = Cursor::within(window.from, window.upto, frames, window.len());
    }
    if let Some(due) = turn.finish(cursor) {
        viewer.audience.count(packets.len() as u64);
        kept.append(&mut packets);
        if answers {
            viewer.act(due);
        }
    }
    Ok(())
}

/// A poll's turn. Ends also when the request is given up in the middle.
struct Turn<'a> {
    viewer: &'a Viewer,
    done: bool,
}

impl Turn<'_> {
    /// What is due next, if what was fetched may go out.
    fn finish(mut self, cursor: Cursor) -> Option<Due> {
        self.done = true;
        self.viewer.seat.polled(cursor)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.viewer.seat.not_polled();
        }
    }
}
