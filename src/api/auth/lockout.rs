//! How often an address may be tried. The count is taken before the password is looked at, and taken back if the try
//! was no wrong guess. Source: API reference, identity 2.6.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;

use crate::api::App;
use crate::api::audit::Actor;
use crate::api::reply::failed;
use crate::domain::account::User;
use crate::domain::id::{OrgId, UserId};
use crate::domain::text::at_most;
use crate::http::{Failure, Kind};
use crate::limits::{AUDIT_RETENTION, LOGIN_FAILURES_MAX, LOGIN_LOCK, LOGIN_WINDOW};
use crate::store::contract::LoginGate;

/// Characters of an address that are told apart; no account has a longer one.
const SUBJECT_CHARS_MAX: usize = 254;
/// How long what is written of nobody is kept.
const DECOY_RETENTION: Duration = Duration::from_secs(3_600);

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

/// Writes down that the password was wrong. An address that nobody has costs the same, or time would tell who has an
/// account: an entry of an organization that does not exist, so old that it is soon forgotten.
///
/// # Errors
/// `error` if that cannot be written down.
pub(super) async fn audit(
    app: &App,
    ip: IpAddr,
    user: Option<&User>,
    tried: &Try,
    error: &'static str,
) -> Result<(), Failure> {
    let now_ms = app.now_ms();
    let (actor, email) = match user {
        Some(user) => (Actor { org: user.org, user: user.id, ip, now_ms }, user.email.as_str()),
        None => {
            let old_ms = now_ms.saturating_sub(millis(AUDIT_RETENTION.saturating_sub(DECOY_RETENTION)));
            let (org, user) = (OrgId::generate(now_ms), UserId::generate(now_ms));
            (Actor { org, user, ip, now_ms: old_ms }, "")
        }
    };
    let actions = ["auth.login_failed", "auth.account_locked"];
    for action in actions.into_iter().take(if tried.last { 2 } else { 1 }) {
        let entry = actor.did(action, ("user", actor.user), &json!({ "email": email }));
        app.store.audit(entry).await.map_err(failed(error))?;
    }
    Ok(())
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
