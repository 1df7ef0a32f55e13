//! Prepared statements: what each is for decides how it is sent, and every failure becomes a [`StoreError`] here.

use std::future::Future;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{
    DbError, ExecutionError, NextPageError, NextRowError, PagerExecutionError, PrepareError,
    RequestAttemptError, RequestError,
};
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency, Statement};
use scylla::value::{CqlValue, Row};

use super::connect::Cql;
use super::faults::{Fate, unanswered};
use crate::limits::{
    COPY_PAGE_ROWS_CQL, CQL_CONDITIONAL_TIMEOUT, CQL_PAGE_ROWS, CQL_REQUEST_TIMEOUT, CQL_WRITE_TIMEOUT,
};
use crate::store::contract::{StoreError, StoreResult};

/// What a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Reads what a quorum of the datacenter has. May be repeated.
    Read,
    /// Reads after finishing conditional changes that are under way: what it does not see never happens later.
    SerialRead,
    /// Writes the same whenever it is repeated; acknowledged by a quorum of the datacenter.
    Write,
    /// Reads a whole table page by page, for a copy. May be repeated.
    Scan,
    /// Changes one partition if a condition holds. Sent once: whoever does not learn its outcome has to look.
    Conditional,
}

impl Purpose {
    /// How long the cluster may take to answer, further tries included.
    const fn timeout(self) -> Duration {
        match self {
            Self::Read | Self::Scan | Self::SerialRead => CQL_REQUEST_TIMEOUT,
            Self::Write => CQL_WRITE_TIMEOUT,
            Self::Conditional => CQL_CONDITIONAL_TIMEOUT,
        }
    }
}

/// A statement, and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// CQL with `?` for the values; tables without a keyspace.
    pub text: &'static str,
    /// How it is sent.
    pub purpose: Purpose,
}

/// A statement that the cluster knows.
#[derive(Debug, Clone)]
pub struct Prepared(PreparedStatement);

/// A value of a conditional batch, whose statements differ in what they take.
pub type Value = Option<CqlValue>;

impl Cql {
    /// Makes a statement known to the cluster.
    ///
    /// # Errors
    /// `Unavailable`; also if it does not fit the schema.
    pub async fn prepare(&self, spec: Spec) -> StoreResult<Prepared> {
        let statement = Statement::new(spec.text).with_page_size(CQL_PAGE_ROWS);
        let mut prepared = self.session.prepare(statement).await.map_err(|error| unprepared(spec, &error))?;
        let (consistency, profile) = match spec.purpose {
            Purpose::Read | Purpose::Scan | Purpose::Write => {
                (Consistency::LocalQuorum, &self.sending.repeatable)
            }
            Purpose::SerialRead => (Consistency::LocalSerial, &self.sending.repeatable),
            Purpose::Conditional => (Consistency::LocalQuorum, &self.sending.once),
        };
        if spec.purpose == Purpose::Scan {
            prepared.set_page_size(COPY_PAGE_ROWS_CQL);
        }
        prepared.set_request_timeout(Some(spec.purpose.timeout()));
        prepared.set_consistency(consistency);
        prepared.set_serial_consistency(Some(SerialConsistency::LocalSerial));
        prepared.set_is_idempotent(spec.purpose != Purpose::Conditional);
        prepared.set_execution_profile_handle(Some(profile.clone()));
        Ok(Prepared(prepared))
    }

    /// Makes statements known to the cluster, at once; in the same order.
    ///
    /// # Errors
    /// As [`Cql::prepare`].
    pub(super) async fn prepare_all(&self, specs: &[Spec]) -> StoreResult<Vec<Prepared>> {
        // On the heap: side by side in one future they would fill a thread's stack.
        futures_util::future::try_join_all(specs.iter().map(|spec| self.prepare(*spec).boxed())).await
    }

    /// Sends a write whose result is of no interest.
    ///
    /// # Errors
    /// `Unavailable`; it may have happened, or may still.
    pub async fn run(&self, statement: &Prepared, values: impl SerializeRow) -> StoreResult<()> {
        self.faults.before_write().await?;
        self.session.execute_unpaged(&statement.0, values).await.map(drop).map_err(failed)
    }

    /// The first row a read finds.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged` if the row is none that this build knows.
    pub async fn first<R>(&self, statement: &Prepared, values: impl SerializeRow) -> StoreResult<Option<R>>
    where
        R: for<'frame> DeserializeRow<'frame, 'frame>,
    {
        self.faults.before_read()?;
        let result = self.session.execute_unpaged(&statement.0, values).await.map_err(failed)?;
        let rows = result.into_rows_result().map_err(damaged)?;
        rows.maybe_first_row().map_err(damaged)
    }

    /// All rows a read finds, page by page.
    ///
    /// # Errors
    /// `Unavailable`, at any row too; `Damaged` if a row is none that this build knows.
    pub async fn rows<R>(
        &self,
        statement: &Prepared,
        values: impl SerializeRow,
    ) -> StoreResult<BoxStream<'static, StoreResult<R>>>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + Send + 'static,
    {
        self.faults.before_read()?;
        let pager = self.session.execute_iter(statement.0.clone(), values).await.map_err(pager_failed)?;
        let rows = pager.rows_stream::<R>().map_err(damaged)?;
        Ok(rows.map_err(row_failed).boxed())
    }

    /// A page of a scan, and where the next one begins. `from` is empty for the first.
    ///
    /// # Errors
    /// As [`Cql::rows`].
    pub async fn page<R>(&self, statement: &Prepared, from: &[u8]) -> StoreResult<(Vec<R>, Option<Vec<u8>>)>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        self.faults.before_read()?;
        let state =
            if from.is_empty() { PagingState::start() } else { PagingState::new_from_raw_bytes(from) };
        let paged = self.session.execute_single_page(&statement.0, (), state).await.map_err(failed)?;
        let (result, next) = paged;
        let rows = result.into_rows_result().map_err(damaged)?;
        let rows = rows.rows::<R>().map_err(damaged)?.collect::<Result<Vec<R>, _>>().map_err(damaged)?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => state.as_bytes_slice().map(|state| state.to_vec()),
            PagingStateResponse::NoMorePages => None,
        };
        Ok((rows, next))
    }

    /// The first `limit` rows a read finds.
    ///
    /// # Errors
    /// As [`Cql::rows`].
    pub async fn first_rows<R>(
        &self,
        statement: &Prepared,
        values: impl SerializeRow,
        limit: usize,
    ) -> StoreResult<Vec<R>>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + Send + 'static,
    {
        self.rows(statement, values).await?.take(limit).try_collect().await
    }

    /// Whether a conditional statement was applied.
    ///
    /// # Errors
    /// `Unavailable`: whether it was, or still will be, is unknown.
    pub async fn applied(&self, statement: &Prepared, values: impl SerializeRow) -> StoreResult<bool> {
        self.conditional(self.session.execute_unpaged(&statement.0, values)).await
    }

    /// Whether several conditional statements on one partition were applied, all or none.
    ///
    /// # Errors
    /// As [`Cql::applied`].
    pub async fn applied_together(&self, statements: Vec<(&Prepared, Vec<Value>)>) -> StoreResult<bool> {
        let mut batch = Batch::new(BatchType::Logged);
        batch.set_consistency(Consistency::LocalQuorum);
        batch.set_serial_consistency(Some(SerialConsistency::LocalSerial));
        batch.set_is_idempotent(false);
        batch.set_execution_profile_handle(Some(self.sending.once.clone()));
        batch.set_request_timeout(Some(Purpose::Conditional.timeout()));
        let mut values = Vec::with_capacity(statements.len());
        for (statement, bound) in statements {
            batch.append_statement(statement.0.clone());
            values.push(bound);
        }
        self.conditional(self.session.batch(&batch, values)).await
    }

    async fn conditional(
        &self,
        sending: impl Future<Output = Result<QueryResult, ExecutionError>>,
    ) -> StoreResult<bool> {
        self.faults.before_write().await?;
        let fate = self.faults.fate();
        if fate == Fate::Unsent {
            return Err(unanswered());
        }
        let applied = was_applied(sending.await.map_err(failed)?)?;
        if fate == Fate::Unanswered { Err(unanswered()) } else { Ok(applied) }
    }
}

/// The first column of a conditional statement's answer; ScyllaDB answers a batch with a row per statement, which agree.
fn was_applied(result: QueryResult) -> StoreResult<bool> {
    let rows = result.into_rows_result().map_err(damaged)?;
    let row = rows.first_row::<Row>().map_err(damaged)?;
    match row.columns.into_iter().next() {
        Some(Some(CqlValue::Boolean(applied))) => Ok(applied),
        other => Err(StoreError::Damaged(format!("a conditional statement was answered {other:?}"))),
    }
}

fn unprepared(spec: Spec, error: &PrepareError) -> StoreError {
    StoreError::Unavailable(format!("cannot prepare {:?}: {error}", spec.text))
}

/// Nothing a cluster answers says for sure that there is no room and nothing was changed: it is never `Full`.
pub(super) fn failed(error: ExecutionError) -> StoreError {
    match &error {
        ExecutionError::LastAttemptError(attempt) => attempt_failed(attempt),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

fn pager_failed(error: PagerExecutionError) -> StoreError {
    match &error {
        PagerExecutionError::NextPageError(NextPageError::RequestFailure(
            RequestError::LastAttemptError(attempt),
        )) => attempt_failed(attempt),
        _ => StoreError::Unavailable(error.to_string()),
    }
}

/// A right that is missing is for an operator to give: it says so.
fn attempt_failed(error: &RequestAttemptError) -> StoreError {
    StoreError::Unavailable(match error {
        RequestAttemptError::DbError(DbError::Unauthorized, reason) => {
            format!("{reason}; grant ALL on the keyspace to the role of `scylla.user`")
        }
        other => other.to_string(),
    })
}

fn row_failed(error: NextRowError) -> StoreError {
    match error {
        NextRowError::RowDeserializationError(error) => StoreError::Damaged(error.to_string()),
        other => StoreError::Unavailable(other.to_string()),
    }
}

fn damaged(error: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(error.to_string())
}
