//! A server of its own for a bench: a free port, a temporary folder, tiers out of the way, and an account with a project
//! and a key, made over HTTP as a person would.

use std::sync::Arc;

use super::BenchError;
use crate::actors::bucket::Quota;
use crate::cli::client::Client;
use crate::cli::demo::Account;
use crate::clock::Clock;
use crate::config::Settings;
use crate::server::{RunningServer, Seams, Server};

/// The server and its folder, which goes with it.
pub(super) struct OwnServer {
    server: RunningServer,
    _folder: tempfile::TempDir,
}

impl OwnServer {
    /// Starts it.
    ///
    /// # Errors
    /// If there is no place for its data, or it does not start.
    pub(super) async fn start(clock: Arc<dyn Clock>) -> Result<Self, BenchError> {
        let folder = tempfile::Builder::new().prefix("runstream-bench-").tempdir();
        let folder = folder.map_err(BenchError::DataFolder)?;
        let mut settings = Settings { data_folder: folder.path().to_owned(), ..Settings::default() };
        settings.server.port = 0;
        let tiers = &mut settings.access.tiers;
        for quota in [
            &mut tiers.auth,
            &mut tiers.api,
            &mut tiers.strict,
            &mut tiers.ingest_event,
            &mut tiers.ingest_lifecycle,
        ] {
            quota.capacity = Quota::CAPACITY_MAX;
        }
        let server = Server::start(settings, Seams { clock, ..Seams::default() }).await?;
        Ok(Self { server, _folder: folder })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        self.server.base_url()
    }

    /// Signs up and makes a project and a key.
    ///
    /// # Errors
    /// If the server refuses.
    pub(super) async fn account(client: &Client) -> Result<Account, BenchError> {
        Ok(Account::create(client).await?)
    }

    /// Ends it.
    pub(super) async fn end(self) {
        if let Err(error) = self.server.shut_down().await {
            tracing::warn!(%error, "the store was not closed in order");
        }
    }
}
