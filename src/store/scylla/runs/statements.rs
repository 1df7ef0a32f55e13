//! Every statement about runs and the feed.

use crate::store::contract::{StoreError, StoreResult};
use crate::store::scylla::Cql;
use crate::store::scylla::statement::{Prepared, Purpose, Spec};

/// Declares the statements: a name, what it is for, its text.
macro_rules! statements {
    ($($name:ident: $purpose:ident = $text:expr;)*) => {
        /// Prepared statements.
        pub(super) struct Statements { $(pub(super) $name: Prepared,)* }

        impl Statements {
            /// Makes all of them known to the cluster, at once.
            pub(super) async fn prepare(cql: &Cql) -> StoreResult<Self> {
                let specs = [$(Spec { text: $text, purpose: Purpose::$purpose }),*];
                let mut prepared = cql.prepare_all(&specs).await?.into_iter();
                let mut next = || prepared.next().ok_or_else(|| StoreError::Unavailable("not prepared".into()));
                Ok(Self { $($name: next()?,)* })
            }
        }
    };
}

#[rustfmt::skip]
statements! {
    insert_run: Conditional = "INSERT INTO run (org, version, change, opened, closure, claim, settled, abandoned, execution) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
    change_run: Conditional = "UPDATE run SET org = ?, version = ?, change = ?, opened = ?, closure = ?, claim = ?, settled = ?, abandoned = ? WHERE execution = ? IF version = ?";
    run: Read = "SELECT org, version, change, opened, closure, claim, settled, abandoned FROM run WHERE execution = ?";
    run_now: SerialRead = "SELECT org, version, change, opened, closure, claim, settled, abandoned FROM run WHERE execution = ?";
    claim_task: Conditional = "INSERT INTO run_by_task (org, task, execution) VALUES (?, ?, ?) IF NOT EXISTS";
    change_task: Conditional = "UPDATE run_by_task SET execution = ? WHERE org = ? AND task = ? IF execution = ?";
    free_task: Conditional = "DELETE FROM run_by_task WHERE org = ? AND task = ? IF execution = ?";
    task: Read = "SELECT execution FROM run_by_task WHERE org = ? AND task = ?";
    task_now: SerialRead = "SELECT execution FROM run_by_task WHERE org = ? AND task = ?";
    put_session: Write = "INSERT INTO run_by_session (session, execution) VALUES (?, ?)";
    remove_session: Write = "DELETE FROM run_by_session WHERE session = ?";
    session: Read = "SELECT execution FROM run_by_session WHERE session = ?";
    put_unsettled: Write = "INSERT INTO run_unsettled (shard, execution, org, task, session, start_ms, owner) VALUES (?, ?, ?, ?, ?, ?, ?)";
    remove_unsettled: Write = "DELETE FROM run_unsettled WHERE shard = ? AND execution = ?";
    unsettled: Read = "SELECT execution, org, task, session, start_ms, owner FROM run_unsettled WHERE shard = ?";
    put_listed: Write = "INSERT INTO run_by_start (org, time_window, start_ms, execution, listed) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    confirm_listed: Write = "INSERT INTO run_by_start (org, time_window, start_ms, execution, is_confirmed) VALUES (?, ?, ?, ?, true) USING TIMESTAMP ?";
    put_stored: Write = "INSERT INTO run_by_start (org, time_window, start_ms, execution, stored_bytes) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
    remove_listed: Write = "DELETE FROM run_by_start USING TIMESTAMP ? WHERE org = ? AND time_window = ? AND start_ms = ? AND execution = ?";
    listed: Read = "SELECT start_ms, execution, listed, is_confirmed FROM run_by_start WHERE org = ? AND time_window = ? AND start_ms >= ? AND start_ms <= ?";
    listed_one: Read = "SELECT listed FROM run_by_start WHERE org = ? AND time_window = ? AND start_ms = ? AND execution = ?";
    stored_bytes: Read = "SELECT stored_bytes FROM run_by_start WHERE org = ? AND time_window = ?";
    put_window: Write = "INSERT INTO run_window (org, time_window) VALUES (?, ?)";
    windows: Read = "SELECT time_window FROM run_window WHERE org = ?";
    put_segment: Write = "INSERT INTO run_segment (execution, hour, epoch, seq, facts, data) VALUES (?, ?, ?, ?, ?, ?)";
    segment_facts: Read = "SELECT epoch, seq, facts FROM run_segment WHERE execution = ? AND hour = ?";
    segments: Read = "SELECT seq, data FROM run_segment WHERE execution = ? AND hour = ? AND epoch = ? AND seq >= ? AND seq <= ?";
    put_text: Write = "INSERT INTO run_text (execution, fold, start_units, start_bytes, piece) VALUES (?, ?, ?, ?, ?)";
    text_before: Read = "SELECT start_units, start_bytes, piece FROM run_text WHERE execution = ? AND fold = ? AND start_units <= ? ORDER BY start_units DESC LIMIT 1";
    text_between: Read = "SELECT start_units, start_bytes, piece FROM run_text WHERE execution = ? AND fold = ? AND start_units > ? AND start_units < ?";
    put_result: Write = "INSERT INTO run_result (execution, fold, part, seq, result) VALUES (?, ?, ?, ?, ?)";
    results: Read = "SELECT result FROM run_result WHERE execution = ? AND fold = ? AND part = ? AND seq > ?";
    put_expiry: Write = "INSERT INTO session_expiry (day, expires_ms, session, execution) VALUES (?, ?, ?, ?)";
    remove_expiry: Write = "DELETE FROM session_expiry WHERE day = ? AND expires_ms = ? AND session = ?";
    expiries: Read = "SELECT expires_ms, session, execution FROM session_expiry WHERE day = ? AND expires_ms < ?";
    any_expiry: Read = "SELECT session FROM session_expiry WHERE day = ? LIMIT 1";
    put_expiry_day: Write = "INSERT INTO session_expiry_day (zone, day) VALUES (?, ?)";
    remove_expiry_day: Write = "DELETE FROM session_expiry_day WHERE zone = ? AND day = ?";
    expiry_days: Read = "SELECT day FROM session_expiry_day WHERE zone = ?";
    insert_lane: Conditional = "INSERT INTO feed_lane (zone, lane, owner) VALUES (?, ?, ?) IF NOT EXISTS";
    take_lane: Conditional = "UPDATE feed_lane SET owner = ? WHERE zone = ? AND lane = ? IF owner = ?";
    lanes: SerialRead = "SELECT lane, owner FROM feed_lane WHERE zone = ?";
    put_told: Write = "INSERT INTO feed (org, lane, part, seq, told) VALUES (?, ?, ?, ?, ?)";
    told: Read = "SELECT seq, told FROM feed WHERE org = ? AND lane = ? AND part = ? AND seq > ?";
    last_told: Read = "SELECT seq FROM feed WHERE org = ? AND lane = ? AND part = ? ORDER BY seq DESC LIMIT 1";
    forget_told: Write = "DELETE FROM feed WHERE org = ? AND lane = ? AND part = ? AND seq <= ?";
    put_last_part: Write = "INSERT INTO feed_state (lane, org, last_part) VALUES (?, ?, ?) USING TIMESTAMP ?";
    put_head: Write = "INSERT INTO feed_state (lane, org, head) VALUES (?, ?, ?) USING TIMESTAMP ?";
    put_floor: Write = "INSERT INTO feed_state (lane, org, floor) VALUES (?, ?, ?) USING TIMESTAMP ?";
    feed_state: Read = "SELECT last_part, head, floor FROM feed_state WHERE lane = ? AND org = ?";
    all_runs: Scan = "SELECT execution, org, version, change, opened, closure, claim, settled, abandoned FROM run";
    all_texts: Scan = "SELECT execution, fold, start_units, start_bytes, piece FROM run_text";
    all_results: Scan = "SELECT execution, fold, result FROM run_result";
    all_told: Scan = "SELECT org, lane, seq, told FROM feed";
    feed_orgs: Read = "SELECT org, last_part, head, floor FROM feed_state WHERE lane = ?";
}
