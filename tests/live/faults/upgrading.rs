//! From polling to WebSocket.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use socketioxide::extract::SocketRef;
use tokio::sync::Notify;

use super::{Library, next, say, until};

#[tokio::test]
async fn a_packet_that_did_not_fit_into_a_poll_is_lost_at_the_upgrade() {
    let library = Library::new(|builder| builder);
    let connected = Arc::new(Notify::new());
    let told = Arc::clone(&connected);
    library.io.ns("/", async move |socket: SocketRef| {
        // Together more than an answer may have.
        for name in ["first", "second"] {
            socket.emit(name, &"x".repeat(60_000)).unwrap();
        }
        told.notify_one();
    });
    let sid = library.polling(&connected).await;
    let (_, answer) = library.http(Method::GET, &format!("transport=polling&{sid}"), "").await;
    assert!(answer.contains("[\"first\"") && !answer.contains("[\"second\""), "one fits: {}", answer.len());

    let mut peer = library.websocket(&format!("&{sid}")).await;
    say(&mut peer, "2probe").await;
    assert_eq!(next(&mut peer).await.as_deref(), Some("3probe"));
    say(&mut peer, "5").await;
    library.io.emit("third", &"y").await.unwrap();
    let after = until(&mut peer, "42").await;
    assert!(
        after.starts_with("42[\"third\""),
        "the library hands over what a poll has left: text may go through its queue again (src/live/mod.rs, third fault)"
    );
}

#[tokio::test]
async fn a_failed_upgrade_of_a_stream_leaves_the_session_polling_for_ever() {
    let library = Library::new(|builder| builder);
    let connected = Arc::new(Notify::new());
    let told = Arc::clone(&connected);
    library.io.ns("/", async move |_: SocketRef| told.notify_one());
    let sid = library.polling(&connected).await;
    let mut peer = library.websocket(&format!("&{sid}")).await;
    say(&mut peer, "2probe").await;
    assert_eq!(next(&mut peer).await.as_deref(), Some("3probe"));
    drop(peer);

    // No text comes any more, by whatever way.
    let fixed = "the library ends a session whose upgrade failed: the goodbye of src/live/session.rs can go";
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(library.io.emit("text", &"x").await.is_ok(), "{fixed}");
        let (status, answer) = library.http(Method::GET, &format!("transport=polling&{sid}"), "").await;
        assert_eq!((status.as_u16(), answer.as_str()), (200, "6"), "{fixed}");
    }
    assert_eq!(library.io.sockets().len(), 1, "{fixed}");
}
