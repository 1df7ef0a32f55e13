//! One connection, from its first byte to its last: HTTP/1.1 or HTTP/2 by what the client sends first, a watchdog for
//! quiet ones, and an orderly end when the server drains.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior};

use super::activity::{Activity, Watchdog};
use super::body::Payload;
use super::dispatch::Site;
use super::socket::{Protocol, Socket};
use crate::config::ConnectionSettings;
use crate::limits;

/// How far a server's end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Requests are taken.
    Serving,
    /// Those in flight are finished, further ones are not taken.
    Draining,
    /// Time is up: connections are cut.
    Closing,
}

/// Serves `socket` until either side is done with it.
pub(super) async fn serve(
    mut socket: Socket,
    peer: SocketAddr,
    activity: Arc<Activity>,
    site: Arc<Site>,
    settings: ConnectionSettings,
    mut phase: watch::Receiver<Phase>,
) {
    let protocol = tokio::select! {
        protocol = tokio::time::timeout(settings.head_timeout, socket.protocol()) => match protocol {
            Ok(Ok(protocol)) => protocol,
            Ok(Err(_)) | Err(_) => return,
        },
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => return,
    };
    let watchdog = Watchdog::new(Arc::clone(&activity), settings.head_timeout, settings.idle_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let in_flight = activity.begin();
        let site = Arc::clone(&site);
        async move { Ok::<Response<Payload>, Infallible>(site.answer(request, peer, in_flight).await) }
    });
    let io = TokioIo::new(socket);
    let ended = match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                // The watchdog bounds the head's time, without a timer for each request.
                .header_read_timeout(None)
                // Head and body in one buffer: to write two of them at once costs more than to copy a short body.
                .writev(false)
                .max_headers(limits::HEADERS_MAX)
                .max_header_size(limits::HEADER_BYTES_MAX)
                .serve_connection(io, service)
                .with_upgrades();
            drive(connection, watchdog, false, phase).await
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(limits::HTTP2_STREAMS_MAX)
                .max_pending_accept_reset_streams(limits::HTTP2_PENDING_RESETS_MAX)
                .max_local_error_reset_streams(limits::HTTP2_ERROR_RESETS_MAX)
                .max_header_list_size(limits::HTTP2_HEADER_LIST_BYTES_MAX)
                .initial_stream_window_size(limits::HTTP2_STREAM_WINDOW_BYTES)
                .initial_connection_window_size(limits::HTTP2_CONNECTION_WINDOW_BYTES)
                .max_send_buf_size(limits::HTTP2_SEND_BUFFER_BYTES)
                .keep_alive_interval(limits::HTTP2_PING_INTERVAL)
                .keep_alive_timeout(limits::HTTP2_PING_TIMEOUT)
                .serve_connection(io, service);
            drive(connection, watchdog, true, phase).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// A connection that can be asked to end after the requests in flight.
trait Connection: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

impl<S> Connection for http1::UpgradeableConnection<TokioIo<Socket>, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Payload> + Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Connection for http2::Connection<TokioIo<Socket>, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming, ResBody = Payload>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::Future: Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive(
    connection: impl Connection,
    mut watchdog: Watchdog,
    multiplexed: bool,
    phase: watch::Receiver<Phase>,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let period = watchdog.period();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked_to_finish = false;
    // A set of one: what is in it is asked only when it has woken, and not whenever a request has.
    let mut control = FuturesUnordered::from_iter([next_event(ticks, phase)]);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return ended,
            Some((event, ticks, phase)) = control.next() => {
                match event {
                    Event::Tick => {
                        if watchdog.tick(multiplexed) {
                            // A quiet connection that was asked to finish and is still here is cut.
                            if asked_to_finish || !multiplexed {
                                return Ok(());
                            }
                            asked_to_finish = true;
                            connection.as_mut().finish();
                        }
                    }
                    Event::Phase if *phase.borrow() != Phase::Closing => {
                        if !asked_to_finish {
                            asked_to_finish = true;
                            connection.as_mut().finish();
                        }
                    }
                    Event::Phase | Event::Gone => return Ok(()),
                }
                control.push(next_event(ticks, phase));
            }
        }
    }
}

/// What happens to a connection from this side.
enum Event {
    /// It is time for the watchdog.
    Tick,
    /// The server is in another phase.
    Phase,
    /// There is no server any more.
    Gone,
}

/// Waits for the next event.
async fn next_event(
    mut ticks: Interval,
    mut phase: watch::Receiver<Phase>,
) -> (Event, Interval, watch::Receiver<Phase>) {
    let event = tokio::select! {
        changed = phase.changed() => changed.map_or(Event::Gone, |()| Event::Phase),
        _ = ticks.tick() => Event::Tick,
    };
    (event, ticks, phase)
}
