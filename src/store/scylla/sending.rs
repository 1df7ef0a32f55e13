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
        decide(request.error)
    }

    fn reset(&mut self) {}
}

/// Another node may do better, unless each would say the same.
const fn decide(error: &RequestAttemptError) -> RetryDecision {
    match error {
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

#[cfg(test)]
mod tests {
    use scylla::errors::{BrokenConnectionErrorKind, OperationType, WriteType};

    use super::*;

    /// What passes by itself, or where another node may do better.
    fn passing() -> Vec<RequestAttemptError> {
        let consistency = Consistency::LocalQuorum;
        let (received, required, numfailures) = (1, 2, 1);
        let (data_present, write_type) = (false, WriteType::Simple);
        let said = [
            DbError::Unavailable { consistency, required, alive: 1 },
            DbError::Overloaded,
            DbError::IsBootstrapping,
            DbError::TruncateError,
            DbError::ServerError,
            DbError::ReadTimeout { consistency, received, required, data_present },
            DbError::WriteTimeout { consistency, received, required, write_type: write_type.clone() },
            DbError::ReadFailure { consistency, received, required, numfailures, data_present },
            DbError::WriteFailure { consistency, received, required, numfailures, write_type },
        ];
        let mut all: Vec<_> =
            said.map(|error| RequestAttemptError::DbError(error, String::new())).into_iter().collect();
        all.push(RequestAttemptError::BrokenConnectionError(
            BrokenConnectionErrorKind::UnexpectedStreamId(1).into(),
        ));
        all.push(RequestAttemptError::UnableToAllocStreamId);
        all
    }

    /// What each node would say.
    fn lasting() -> Vec<RequestAttemptError> {
        let limited =
            DbError::RateLimitReached { op_type: OperationType::Write, rejected_by_coordinator: true };
        let said = [
            DbError::SyntaxError,
            DbError::Invalid,
            DbError::AuthenticationError,
            DbError::Unauthorized,
            DbError::ConfigError,
            DbError::ProtocolError,
            DbError::Other(7),
            limited,
        ];
        let mut all: Vec<_> =
            said.map(|error| RequestAttemptError::DbError(error, String::new())).into_iter().collect();
        all.push(RequestAttemptError::NonfinishedPagingState);
        all
    }

    /// The name of the policy by which a profile tries again.
    fn policy(profile: &ExecutionProfileHandle) -> String {
        format!("{:?}", profile.to_profile().get_retry_policy())
    }

    #[test]
    fn what_may_be_repeated_goes_to_the_next_node_unless_every_node_would_say_the_same() {
        for error in passing() {
            assert_eq!(decide(&error), RetryDecision::RetryNextTarget(None), "{error}");
        }
        for error in lasting() {
            assert_eq!(decide(&error), RetryDecision::DontRetry, "{error}");
        }
        let repeatable = Sending::to("datacenter1").repeatable;
        assert_eq!(policy(&repeatable), "NextNode");
        let speculation = repeatable.to_profile().get_speculative_execution_policy().cloned();
        assert!(speculation.is_some(), "a node that stays silent would be waited for");
    }

    #[test]
    fn a_conditional_statement_is_sent_once_whatever_becomes_of_it() {
        let once = Sending::to("datacenter1").once;
        // The driver's own that never tries again. What it is asked with nobody but the driver can make.
        assert_eq!(policy(&once), "FallthroughRetryPolicy");
        let speculation = once.to_profile().get_speculative_execution_policy().cloned();
        assert!(speculation.is_none(), "two of it would be under way");
    }
}
