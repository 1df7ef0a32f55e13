//! Two writers on one connection: frames of either side stay whole, and nobody waits for ever.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::*;
use crate::live::encoding::text_frame;
use crate::live::wire::{Offered, Patience};

const LONG: Duration = Duration::from_secs(60);

/// Writes all of a window, as a pump does.
async fn write(wire: &Wire, window: &Encoded) {
    let mut patience = Patience::default();
    let mut begun = 0;
    while begun < window.len() {
        match wire.offer(window, begun) {
            Offered::Begun { frames, .. } if frames == window.len() => begun = frames,
            Offered::Begun { frames, .. } => {
                begun = frames;
                wire.until_writable(&mut patience).await.unwrap();
            }
            Offered::LibrarysTurn => wire.until_librarys_turn_is_over().await,
            Offered::Closed => panic!("it is open"),
        }
    }
    wire.until_rested(&mut patience).await.unwrap();
}

/// Both sides write much at once, in frames and pieces of all sizes, to a peer that reads in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn frames_of_both_sides_arrive_whole_and_in_order() {
    let mut pair = pair(LONG, 1).await;
    pair.edge.write_all(&text_frame(br#"42["~",0]"#)).await.unwrap();
    let wire = pair.heard.lock().unwrap().wire.clone().unwrap();
    let rounds = 400_u64;
    let ours = tokio::spawn(async move {
        for round in 0..rounds {
            let size = usize::try_from(round * 37 % 9_000).unwrap();
            write(&wire, &window(round, &[size, 3, size / 2])).await;
            tokio::task::yield_now().await;
        }
    });
    let theirs = tokio::spawn(async move {
        for round in 0..rounds {
            let text = format!("theirs {round} {}", "y".repeat(usize::try_from(round * 53 % 3_000).unwrap()));
            let frame = text_frame(text.as_bytes());
            // In pieces, as a full buffer makes them.
            for piece in frame.chunks(1 + usize::try_from(round * 7 % 700).unwrap()) {
                pair.edge.write_all(piece).await.unwrap();
            }
            pair.edge.flush().await.unwrap();
        }
        pair.edge
    });
    let config = WebSocketConfig::default();
    let mut peer = WebSocketStream::from_raw_socket(pair.peer, Role::Client, Some(config)).await;
    let (mut ours_seen, mut theirs_seen) = (0, 0);
    while ours_seen < rounds * 3 || theirs_seen < rounds {
        let message = futures_util::StreamExt::next(&mut peer).await.unwrap().unwrap();
        let Message::Text(text) = message else { panic!("{message:?}") };
        if let Some(rest) = text.strip_prefix("theirs ") {
            assert_eq!(rest.split(' ').next().unwrap().parse(), Ok(theirs_seen));
            theirs_seen += 1;
        } else {
            let event: serde_json::Value = serde_json::from_str(text.strip_prefix("42").unwrap()).unwrap();
            assert_eq!(event[1]["offset"], ours_seen / 3);
            ours_seen += 1;
        }
    }
    ours.await.unwrap();
    theirs.await.unwrap();
}

#[tokio::test]
async fn the_library_gets_its_turn_between_two_windows() {
    let mut pair = pair(LONG, 1).await;
    pair.edge.write_all(&text_frame(br#"42["~",0]"#)).await.unwrap();
    let wire = pair.heard.lock().unwrap().wire.clone().unwrap();
    let large = window(0, &[200_000]);
    let Offered::Begun { frames: 1, whole: false } = wire.offer(&large, 0) else { panic!("it is large") };
    // A ping of the library waits behind the frame that is begun.
    let ping = text_frame(b"2");
    let waiting = polled_once(pair.edge.write(&ping)).await;
    assert!(waiting.is_none(), "it has to wait");
    let mut got = vec![0; large.size()];
    let (rested, read) = tokio::join!(
        async {
            let mut patience = Patience::default();
            wire.until_rested(&mut patience).await
        },
        pair.peer.read_exact(&mut got),
    );
    rested.unwrap();
    read.unwrap();
    assert_eq!(got, large.frames_from(0));
    // The next window has to wait in turn.
    assert_eq!(wire.offer(&large, 0), Offered::LibrarysTurn);
    let (_, written) = tokio::join!(wire.until_librarys_turn_is_over(), pair.edge.write(&ping));
    assert_eq!(written.unwrap(), ping.len());
    assert!(matches!(wire.offer(&large, 0), Offered::Begun { frames: 1, .. }));
}

/// One poll of a future; `None` if it is not ready.
async fn polled_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(done) => std::task::Poll::Ready(Some(done)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn the_pid_is_put_in_and_bells_are_taken_out_wherever_they_stand() {
    let mut pair = pair(LONG, 1).await;
    let frames = [
        text_frame(b"2"),
        text_frame(br#"42["~",1]"#),
        text_frame(br#"40{"sid":"x"}"#),
        text_frame(br#"42["auth-success",{}]"#),
        text_frame(br#"42["~",0]"#),
        text_frame(b"3probe"),
        text_frame(br#"42["~",1]"#),
    ];
    let expected = [
        text_frame(b"2"),
        text_frame(br#"40{"sid":"x","pid":"1-2"}"#),
        text_frame(br#"42["auth-success",{}]"#),
        text_frame(b"3probe"),
    ];
    pair.edge.write_all(&frames.concat()).await.unwrap();
    pair.edge.flush().await.unwrap();
    {
        let heard = pair.heard.lock().unwrap();
        assert_eq!(heard.bells, [Bell::Look, Bell::Welcome, Bell::Look]);
        assert!(heard.probed && !heard.gone);
    }
    drop(pair.edge);
    pair.heard.lock().unwrap().wire = None;
    let mut got = Vec::new();
    pair.peer.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, expected.concat());
}
