//! How often an address may be tried. The count is taken before the password is looked at, and taken back if the try
//! was no wrong guess. Source: API reference, identity 2.6.

use std::time::Duration;

use crate::api::App;
use crate::api::reply::failed;
use crate::domain::text::at_most;
use crate::http::{Failure, Kind};
use crate::limits::{LOGIN_FAILURES_MAX, LOGIN_LOCK, LOGIN_WINDOW};
use crate::store::contract::LoginGate;

/// Characters of an address that are told apart; no account has a longer one.
const SUBJECT_CHARS_MAX: usize = 254;

/// A login that was counted and may be tried.
pub(super) struct Try {
    /// What is counted: the address in lower case, whether or not it has an account.
    pub(super) subject: String,
    /// Whether a wrong password now locks the address.
    pub(super) last: bool,
}

/// Counts a try for `address`.
///
/// # Errors
/// 429 while the address is locked.
pub(super) async fn begin(app: &App, address: &str, error: &'static str) -> Result<Try, Failure> {
    let subject = at_most(address.trim(), SUBJECT_CHARS_MAX).to_lowercase();
    let now_ms = app.now_ms();
    let gate = app
        .store
        .begin_login(&subject, now_ms, LOGIN_FAILURES_MAX, millis(LOGIN_WINDOW), millis(LOGIN_LOCK))
        .await
        .map_err(failed(error))?;
    match gate {
        LoginGate::Open => Ok(Try { subject, last: false }),
        LoginGate::Last => Ok(Try { subject, last: true }),
        LoginGate::LockedUntil(until_ms) => Err(locked(until_ms.saturating_sub(now_ms))),
    }
}

/// Takes back the count of a try that was no wrong guess.
///
/// # Errors
/// `error` if that cannot be written down.
pub(super) async fn take_back(app: &App, tried: &Try, error: &'static str) -> Result<(), Failure> {
    app.store.undo_login(&tried.subject).await.map_err(failed(error))
}

/// Not telling which of the two is wrong.
pub(super) fn invalid_credentials() -> Failure {
    let message = "The e-mail address or the password is wrong";
    Failure::new(Kind::Unauthenticated, "Invalid credentials", message)
}

fn locked(left_ms: i64) -> Failure {
    let seconds = u64::try_from(left_ms).unwrap_or(0).div_ceil(1000).max(1);
    let minutes = seconds.div_ceil(60);
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    let message = format!("Try again in {minutes} {unit}");
    Failure::new(Kind::TooManyRequests, "Account temporarily locked", message).retry_after(seconds)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
