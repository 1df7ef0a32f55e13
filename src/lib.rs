//! Runstream takes test results and logs from test frameworks while the tests run, makes them durable before it
//! acknowledges them, and pushes them to dashboards at once.
//!
//! # The map
//!
//! A room is a folder (or a file) whose header is its front door. A room uses only rooms above it in this list, and the
//! three doors (`ingest`, `live`, `api`) never use each other; `tests/tidy/` reads the imports and names any arrow that
//! points the wrong way.
//!
//! - [`limits`]: every bound of the program, with unit and reason.
//! - [`clock`]: the only reader of wall time, replaceable in tests.
//! - [`fs`]: files of the journal, behind a seam that tests can make forgetful.
//! - [`dial`]: outgoing connections, behind a seam.
//! - [`telemetry`]: logs, and the list of all metrics.
//! - [`domain`]: nouns and rules without I/O.
//! - [`store`]: what is remembered: the contract, and the two stores that keep it: embedded, or on a cluster.
//! - [`outbound`]: what is asked of others, each behind a trait: mail.
//! - [`actors`]: what is alive now: root > organization > execution, and the feed of what they publish.
//! - [`jobs`]: work no request waits for, safe to do twice: sending letters, telling of usage, greeting.
//! - [`http`]: what the doors share: envelopes, failures, headers, endpoint descriptions.
//! - [`access`]: who calls and how often: tokens, API keys, rate tiers.
//! - [`ingest`]: door for reporters: plain hyper, bytes in, borrowed parsing.
//! - [`live`]: door for dashboards: Socket.IO handshake, organization rooms, fan-out of the feed.
//! - [`api`]: door for everything else: the endpoint table, one folder per category.
//! - [`config`]: defaults, file, environment and flags into typed settings, checked whole at start.
//! - [`server`]: the composition root: open the store, start what is alive, accept, hand to a door, drain.
//! - [`cli`]: one file per subcommand.
//!
//! # Where a request flows
//!
//! - Ingest: socket -> `server` (a place under the connection cap, path prefix) -> `access` (API key, tier) -> `ingest`
//!   (byte permit, body as one `Bytes`, borrowed parse) -> `actors`: organization -> execution (judge, one `append`,
//!   apply, publish) -> answer. The answer is sent when the journal has been synced.
//! - REST: socket -> `server` -> `api` -> `access::identify` -> tier -> handler -> store or actor handle -> envelope.
//! - Live: feed -> `live` encodes each window once -> sockets, each from its own place. What a dashboard sees is already durable.
//! - One writer per fact: state an actor owns changes only through that actor; every other record through the store.
//!
//! Start reading at [`server::Server::start`], which puts the rooms together.

pub mod access;
pub mod actors;
pub mod api;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dial;
pub mod domain;
pub mod fs;
pub mod http;
pub mod ingest;
pub mod jobs;
pub mod limits;
pub mod live;
pub mod outbound;
mod rank;
pub mod server;
pub mod store;
pub mod telemetry;
