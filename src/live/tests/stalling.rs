//! Peers that read slowly, or not at all; and connections that are cut.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::live::encoding::text_frame;
use crate::live::wire::{Offered, Patience};

/// Short, since it measures real time; what happens within it takes microseconds.
const WINDOW: Duration = Duration::from_millis(400);
/// More than the buffers of both sides take.
const MUCH: usize = 1 << 20;

#[tokio::test]
async fn a_peer_that_stops_reading_is_cut_after_one_window() {
    let pair = pair(WINDOW, 100).await;
    let started = Instant::now();
    let (mut reader, mut writer) = tokio::io::split(pair.edge);
    let mut seen = [0; 4];
    reader.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"seen", "what the server had read already");
    let reading = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
    let error = writer.write_all(&text_frame(&vec![b'x'; MUCH])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(started.elapsed() >= WINDOW);
    // The reading half ends too: that is what makes the library forget the session.
    assert_eq!(reading.await.unwrap().unwrap(), 0);
    drop((writer, pair.peer));
    assert!(pair.heard.lock().unwrap().gone);
}

#[tokio::test]
async fn a_peer_that_reads_slowly_but_steadily_stays() {
    let mut pair = pair(WINDOW, 1_000).await;
    let frame = text_frame(&vec![b'x'; MUCH]);
    let length = frame.len();
    let reading = tokio::spawn(async move {
        let mut read = 0;
        let mut buffer = vec![0; 64 << 10];
        while read < length {
            tokio::time::sleep(WINDOW / 10).await;
            read += pair.peer.read(&mut buffer).await.unwrap();
        }
        pair.peer
    });
    pair.edge.write_all(&frame).await.unwrap();
    pair.edge.flush().await.unwrap();
    reading.await.unwrap();
}

#[tokio::test]
async fn an_idle_peer_is_left_alone() {
    let mut pair = pair(WINDOW / 4, 100).await;
    pair.edge.write_all(&text_frame(b"x")).await.unwrap();
    tokio::time::sleep(WINDOW).await;
    pair.edge.write_all(&text_frame(b"y")).await.unwrap();
    let mut got = [0; 6];
    pair.peer.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"\x81\x01x\x81\x01y");
}

#[tokio::test]
async fn a_peer_that_stops_reading_the_feed_is_cut_too() {
    let mut pair = pair(WINDOW, 100).await;
    pair.edge.write_all(&text_frame(br#"42["~",0]"#)).await.unwrap();
    let wire = pair.heard.lock().unwrap().wire.clone().unwrap();
    let window = window(0, &[1_000; 1_000]);
    let mut patience = Patience::default();
    let started = Instant::now();
    let mut begun = 0;
    loop {
        match wire.offer(&window, begun) {
            Offered::Begun { frames, .. } => begun = frames,
            other => panic!("{other:?}"),
        }
        if wire.until_writable(&mut patience).await.is_err() {
            break;
        }
    }
    assert!(begun < window.len() && started.elapsed() >= WINDOW);
    // What the peer finds of it is whole frames, and the beginning of at most one more.
    assert_eq!(pair.edge.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    drop(pair.edge);
    assert_eq!(wire.offer(&window, begun), Offered::Closed);
}

#[tokio::test]
async fn scissors_wake_both_halves() {
    let pair = pair(Duration::from_secs(60), 1).await;
    let (mut reader, mut writer) = tokio::io::split(pair.edge);
    let reading = tokio::spawn(async move { reader.read_to_end(&mut Vec::new()).await });
    let writing = tokio::spawn(async move { writer.write_all(&text_frame(&vec![b'x'; MUCH])).await });
    tokio::time::sleep(WINDOW / 10).await;
    pair.scissors.cut();
    assert_eq!(reading.await.unwrap().unwrap(), 4);
    assert!(writing.await.unwrap().is_err());
    assert!(pair.heard.lock().unwrap().gone);
}
