//! Peers that do not read.

use std::time::{Duration, Instant};

use socketioxide::extract::SocketRef;
use socketioxide::socket::DisconnectReason;
use tokio::sync::mpsc;

use super::{Library, PATIENCE, next, say, until};

/// Tells of every end of a session.
fn watched(library: &Library) -> mpsc::UnboundedReceiver<DisconnectReason> {
    let (ended, ends) = mpsc::unbounded_channel();
    library.io.ns("/", async move |socket: SocketRef| {
        socket.on_disconnect(async move |_: SocketRef, reason: DisconnectReason| ended.send(reason).unwrap());
    });
    ends
}

#[tokio::test]
async fn a_peer_that_stops_reading_is_never_removed() {
    let (interval, timeout) = (Duration::from_millis(100), Duration::from_secs(1));
    let library = Library::new(|builder| builder.ping_interval(interval).ping_timeout(timeout));
    let mut ends = watched(&library);
    let mut peer = library.websocket("").await;
    say(&mut peer, "40").await;
    until(&mut peer, "40{").await;
    library.io.emit("text", &"x".repeat(60_000)).await.unwrap();
    // It answers no heartbeat: after one interval and one timeout it counts as gone.
    tokio::time::sleep(3 * interval + timeout).await;
    assert!(
        ends.try_recv().is_err(),
        "the library's writer gives up with its session: the stall limit of src/live/wire.rs need not cut any more"
    );
    // It waits for nothing else than the connection's end.
    drop(peer);
    let reason = tokio::time::timeout(PATIENCE, ends.recv()).await.expect("now it ends").unwrap();
    assert_eq!(reason, DisconnectReason::HeartbeatTimeout);
}

#[tokio::test]
async fn a_full_queue_counts_as_a_missed_heartbeat() {
    let (interval, timeout) = (Duration::from_secs(1), Duration::from_secs(20));
    let library = Library::new(|builder| builder.ping_interval(interval).ping_timeout(timeout));
    let mut ends = watched(&library);
    let begun = Instant::now();
    let mut peer = library.websocket("").await;
    say(&mut peer, "40").await;
    // In time with its first heartbeat, it may take its time with the next.
    let (mut connected, mut beaten) = (false, false);
    while !(connected && beaten) {
        let text = next(&mut peer).await.unwrap();
        connected |= text.starts_with("40{");
        if text == "2" {
            say(&mut peer, "3").await;
            beaten = true;
        }
    }
    // The peer reads nothing for a moment, in which its queue fills up.
    while library.io.emit("text", &"x".repeat(1_000)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(interval + interval / 2).await;
    while next(&mut peer).await.is_some() {}
    let reason = tokio::time::timeout(PATIENCE, ends.recv()).await.expect("it ends").unwrap();
    let fixed =
        "a full queue is no heartbeat timeout any more: text may go through it again (src/live/mod.rs)";
    assert_eq!(reason, DisconnectReason::HeartbeatTimeout, "{fixed}");
    assert!(begun.elapsed() < timeout / 2, "{fixed}");
}
