//! The server that is measured: one of its own, or one that is named with a key and a project.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::BenchError;
use super::args::TargetArgs;
use super::own::OwnServer;
use crate::cli::client::Client;
use crate::cli::demo::with_key;
use crate::clock::Clock;
use crate::dial::TcpDial;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that can be measured.
pub(super) struct Target {
    /// Set if it was started for this.
    pub(super) own: Option<OwnServer>,
    /// Without a credential.
    pub(super) client: Client,
    /// The key.
    pub(super) key: HeaderValue,
    /// Id of the project.
    pub(super) project: String,
    /// Of the account that was made, if it was.
    pub(super) token: Option<String>,
}

impl Target {
    /// Prepares it.
    ///
    /// # Errors
    /// `Usage` if something has to be named and is not; otherwise if the server is not to be had.
    pub(super) async fn prepare(args: &TargetArgs, clock: Arc<dyn Clock>) -> Result<Self, BenchError> {
        let dial = Arc::new(TcpDial { timeout: CONNECT_TIMEOUT });
        if args.serve {
            let own = OwnServer::start(clock).await?;
            let client = Client::new(dial, &own.url())?;
            let account = OwnServer::account(&client).await?;
            let key = sensitive(&account.key)?;
            return Ok(Self {
                own: Some(own),
                client,
                key,
                project: account.project,
                token: Some(account.token),
            });
        }
        let missing = |what: &str| {
            BenchError::Usage(format!("give {what}, or --serve to measure a server that is started for it"))
        };
        let key = args.key.as_deref().ok_or_else(|| missing("an API key (--key or RUNSTREAM_API_KEY)"))?;
        let project =
            args.project.clone().ok_or_else(|| missing("a project (--project or RUNSTREAM_PROJECT)"))?;
        let client = Client::new(dial, &args.url).map_err(|error| BenchError::Usage(error.to_string()))?;
        Ok(Self { own: None, client, key: sensitive(key)?, project, token: None })
    }

    /// A client with the key.
    ///
    /// # Errors
    /// If no header can carry it.
    pub(super) fn reporter(&self) -> Result<Client, BenchError> {
        Ok(with_key(&self.client, self.key.to_str().unwrap_or_default())?)
    }

    /// Host, port and path, for the report.
    pub(super) fn name(&self) -> String {
        format!("{}{}", self.client.authority(), self.client.prefix())
    }

    /// Ends the server, if it was started for this.
    pub(super) async fn end(self) {
        if let Some(own) = self.own {
            own.end().await;
        }
    }
}

fn sensitive(key: &str) -> Result<HeaderValue, BenchError> {
    let value = HeaderValue::try_from(key);
    let mut value = value
        .map_err(|_error| BenchError::Usage("the API key has characters that no header can carry".into()))?;
    value.set_sensitive(true);
    Ok(value)
}
