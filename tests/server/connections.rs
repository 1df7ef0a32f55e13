//! Connections: kept, counted, bounded in time, and ended in order.

use std::time::Duration;

use super::wire::Site;

const REQUEST: &str = "GET /nowhere HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let site = Site::start().await;
    let mut wire = site.connect().await;
    for _ in 0..3 {
        wire.send(REQUEST).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status(), 404);
        assert!(answer.body.contains("\"success\":false"), "{answer:?}");
    }
    // Two in one write are answered in order.
    wire.send(&REQUEST.repeat(2)).await;
    assert_eq!((wire.answer().await.status(), wire.answer().await.status()), (404, 404));
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let site = Site::start().await;
    let stream = tokio::net::TcpStream::connect(site.server.address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    tokio::spawn(connection);
    let request = || {
        let uri = format!("{}/nowhere", site.server.base_url());
        http::Request::get(uri).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()
    };
    let (first, second) = (sender.send_request(request()), sender.send_request(request()));
    for response in [first.await.unwrap(), second.await.unwrap()] {
        assert_eq!((response.version(), response.status().as_u16()), (http::Version::HTTP_2, 404));
    }
}

#[tokio::test]
async fn everything_stands_under_the_base_path() {
    let site = Site::start_with(|settings| settings.server.base_path = "/ci".to_owned()).await;
    for path in ["/nowhere", "/cigar", "/ci/nowhere"] {
        let answer =
            site.exchange(&format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_or_trickles_loses_its_connection() {
    let site = Site::start_with(|settings| {
        settings.connections.head_timeout = Duration::from_millis(400);
        settings.connections.idle_timeout = Duration::from_secs(60);
    })
    .await;
    let mut silent = site.connect().await;
    let mut slow = site.connect().await;
    let mut slow_again = site.connect().await;
    slow.send("GET / HT").await;
    slow_again.send(REQUEST).await;
    assert_eq!(slow_again.answer().await.status(), 404);
    slow_again.send("GET /").await;
    let trickle = async {
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            slow.send("x").await;
            slow_again.send("x").await;
        }
    };
    tokio::join!(trickle, silent.closed());
    slow.closed().await;
    slow_again.closed().await;
}

#[tokio::test]
async fn a_kept_connection_is_let_go_after_the_idle_time() {
    let site = Site::start_with(|settings| {
        settings.connections.head_timeout = Duration::from_millis(100);
        settings.connections.idle_timeout = Duration::from_millis(600);
    })
    .await;
    let mut wire = site.connect().await;
    wire.send(REQUEST).await;
    assert_eq!(wire.answer().await.status(), 404);
    assert!(wire.is_silent_for(Duration::from_millis(300)).await);
    wire.send(REQUEST).await;
    assert_eq!(wire.answer().await.status(), 404);
    wire.closed().await;
}

#[tokio::test]
async fn over_the_cap_clients_wait_for_a_place() {
    let site = Site::start_with(|settings| settings.connections.max = 2).await;
    let (mut first, mut second) = (site.connect().await, site.connect().await);
    for wire in [&mut first, &mut second] {
        wire.send(REQUEST).await;
        assert_eq!(wire.answer().await.status(), 404);
    }
    let mut third = site.connect().await;
    third.send(REQUEST).await;
    assert!(third.is_silent_for(Duration::from_millis(200)).await, "there is no place for a third");
    drop(first);
    assert_eq!(third.answer().await.status(), 404);
}

#[tokio::test]
async fn a_drain_closes_idle_connections_at_once_and_refuses_new_ones() {
    let site = Site::start().await;
    let address = site.server.address();
    let (mut used, mut unused) = (site.connect().await, site.connect().await);
    used.send(REQUEST).await;
    assert_eq!(used.answer().await.status(), 404);
    let begun = std::time::Instant::now();
    site.server.shut_down().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3), "nothing was in flight");
    used.closed().await;
    unused.closed().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
