//! Who takes a message over.

use async_trait::async_trait;

use super::composer::Message;

/// Why a message was not taken over. The text is for the log and names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may go well later: the server is not reached, is busy, or does not know us.
    #[error("{0}")]
    ForNow(String),
    /// It never will: the server refuses the recipient or the message.
    #[error("{0}")]
    ForGood(String),
}

/// Takes messages over.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Hands one message over. `Ok` means that the other side has promised to deliver it. Whoever calls bounds the time.
    async fn send(&self, message: Message) -> Result<(), SendError>;
}
