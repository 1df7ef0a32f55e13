//! How statements are sent. One that may be repeated goes to the next node when one refuses, fails or loses its connection,
//! and to a second node when the first stays silent. A conditional one is sent once: whoever does not learn its outcome
//! has to look.

use std::sync::Arc;

use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::errors::{DbError, RequestAttemptError};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{
    FallthroughRetryPolicy, RequestInfo, RetryDecision, RetryPolicy, RetrySession,
};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::{Consistency, SerialConsistency};

use crate::limits::{CQL_REQUEST_TIMEOUT, CQL_SPECULATION_DELAY};

/// How statements are sent that may be repeated, and those that may not.
pub(super) struct Sending {
    /// Tried again elsewhere when a node refuses or stays silent.
    pub(super) repeatable: ExecutionProfileHandle,
    /// Sent once.
    pub(super) once: ExecutionProfileHandle,
}

impl Sending {
    /// Towards the nodes of `datacenter`.
    pub(super) fn to(datacenter: &str) -> Self {
        let policy = DefaultPolicy::builder().prefer_datacenter(datacenter.to_owned()).build();
        let common = || {
            ExecutionProfile::builder()
                .consistency(Consistency::LocalQuorum)
                .serial_consistency(Some(SerialConsistency::LocalSerial))
                .load_balancing_policy(Arc::clone(&policy))
                .request_timeout(Some(CQL_REQUEST_TIMEOUT))
        };
        let speculation =
            SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: CQL_SPECULATION_DELAY };
        let repeatable = common()
            .retry_policy(Arc::new(NextNode))
            .speculative_execution_policy(Some(Arc::new(speculation)))
            .build();
        let once = common()
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .speculative_execution_policy(None)
            .build();
        Self { repeatable: repeatable.into_handle(), once: once.into_handle() }
    }
}

/// Tries every node once. The driver's own policy gives up serial reads at the first failure, and writes at a time-out:
/// with one node gone they would fail although a quorum is there.
#[derive(Debug, Clone, Copy)]
struct NextNode;

impl RetryPolicy for NextNode {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Self)
    }
}

impl RetrySession for NextNode {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        match request.error {
            RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => {
                RetryDecision::RetryNextTarget(None)
            }
            RequestAttemptError::DbError(
                DbError::Unavailable { .. }
                | DbError::Overloaded
                | DbError::IsBootstrapping
                | DbError::TruncateError
                | DbError::ServerError
                | DbError::ReadTimeout { .. }
                | DbError::WriteTimeout { .. }
                | DbError::ReadFailure { .. }
                | DbError::WriteFailure { .. },
                _,
            ) => RetryDecision::RetryNextTarget(None),
            _ => RetryDecision::DontRetry,
        }
    }

    fn reset(&mut self) {}
}
