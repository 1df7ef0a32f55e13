//! Why a command was not done.

use std::io;
use std::path::PathBuf;

use http::StatusCode;

use crate::cli::client::ClientError;
use crate::http::Failure;
use crate::server::{DataFolderError, StartError};
use crate::store::contract::StoreError;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    /// The arguments do not fit together.
    #[error("{0}")]
    Usage(&'static str),
    /// A secret cannot be read.
    #[error("cannot read a password from {}: {source}", from.display())]
    Secret {
        /// The file.
        from: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The server cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server does not want to.
    #[error("the server refused: {error}: {message} ({status})")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The envelope's `error`.
        error: String,
        /// The envelope's `message`.
        message: String,
    },
    /// What answers is no server of this kind.
    #[error("the answer is not what this command understands: it has no {0}")]
    Foreign(&'static str),
    /// The organization has no such record.
    #[error("{0}")]
    Absent(String),
    /// The store does not want to.
    #[error("refused: {}", with_cause(.0))]
    Decided(Failure),
    /// A server uses the store.
    #[error("{0}; stop the server first, or leave --offline out")]
    InUse(DataFolderError),
    /// The store cannot be opened.
    #[error(transparent)]
    Start(StartError),
    /// The store was not closed in order.
    #[error("done, but the store could not be closed: {0}")]
    Close(StoreError),
    /// Nobody reads what is printed.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

impl From<Failure> for AdminError {
    fn from(failure: Failure) -> Self {
        Self::Decided(failure)
    }
}

impl From<StartError> for AdminError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::DataFolder(in_use @ DataFolderError::InUse { .. }) => Self::InUse(in_use),
            error => Self::Start(error),
        }
    }
}

/// A failure and its cause, which a client is not told and an operator is.
fn with_cause(failure: &Failure) -> String {
    match &failure.source {
        Some(cause) => format!("{failure} ({cause})"),
        None => failure.to_string(),
    }
}
