//! Forgotten passwords: a letter with a link, and the new password that the link's token sets. Source: API reference,
//! identity 4.9.

use std::time::Duration;

use axum::extract::State;
use serde_json::json;

use super::model::{ForgottenPassword, PasswordOfReset, invalid_reset};
use crate::api::App;
use crate::api::audit::Actor;
use crate::api::extract::{Client, Valid};
use crate::api::reply::{Reply, failed, ok};
use crate::clock::UnixMs;
use crate::domain::account::User;
use crate::domain::reset::{PasswordReset, ResetToken};
use crate::http::envelope::Message;
use crate::limits::{PASSWORD_RESET_ANSWER, PASSWORD_RESET_LIFETIME};
use crate::outbound::mail::Content;

/// The API reference gives these endpoints no failure of their own.
const FAILED: &str = "Internal Server Error";
/// Bytes of a hash that name a letter.
const NAME_BYTES: usize = 8;

/// Answers alike, in words and in time, whether or not the address has an account.
pub(super) async fn request_password_reset(
    State(app): State<App>,
    Valid(ForgottenPassword { email }): Valid<ForgottenPassword>,
) -> Reply<Message> {
    let least = app.clock.sleep(PASSWORD_RESET_ANSWER);
    let user = app.store.user_by_email(&email).await.map_err(failed(FAILED))?;
    if let Some(user) = user {
        begin(&app, &user).await;
    }
    least.await;
    Ok(ok(Message {
        message: "If there is an account with this address, a letter with a link is on its way",
    }))
}

pub(super) async fn confirm_password_reset(
    State(app): State<App>,
    Client(ip): Client,
    Valid(PasswordOfReset { token, password }): Valid<PasswordOfReset>,
) -> Reply<Message> {
    let hash = token.hash();
    // Looked at before, too: nobody has a password hashed for a token that is none.
    let user = app.store.reset_of(&hash, app.now_ms()).await.map_err(failed(FAILED))?;
    let user = user.ok_or_else(invalid_reset)?;
    let hashed = app.passwords.hash(password).await;
    let password_hash = hashed.map_err(|error| error.into_failure(FAILED))?;
    let actor = Actor { org: user.org, user: user.id, ip, now_ms: app.now_ms() };
    let audit = actor.did("auth.password_changed", ("user", user.id), &json!({ "email": user.email }));
    let finishing = app.store.finish_reset(&hash, password_hash, actor.now_ms, audit);
    let finished = app.access.voiding(user.id, finishing).await.map_err(failed(FAILED))?;
    finished.ok_or_else(invalid_reset)?;
    Ok(ok(Message { message: "Password changed; sign in with the new one" }))
}

/// Stores a reset with its letter. A failure is logged and not told: it would tell that there is an account.
async fn begin(app: &App, user: &User) {
    let (token, now_ms) = (ResetToken::of(rand::random()), app.now_ms());
    let reset = PasswordReset {
        hash: token.hash(),
        expires_ms: now_ms.saturating_add(millis(PASSWORD_RESET_LIFETIME)),
        credentials_from_ms: user.credentials_valid_from_ms,
    };
    let content = Content::PasswordReset {
        name: user.name.clone(),
        token: token.expose().to_owned(),
        expires_ms: reset.expires_ms,
    };
    let name: String = reset.hash.iter().take(NAME_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let key = format!("password_reset/{}/{name}", user.id);
    // A token that nobody hears of is of no use.
    let Some(letter) = app.mail.write(user.org, key, &user.email, &content, reset.expires_ms) else { return };
    match app.store.begin_reset(user.org, user.id, reset, Some(letter)).await {
        Ok(true) => app.mail.wake(),
        // Removed since it was looked for.
        Ok(false) => {}
        Err(error) => {
            tracing::error!(org.id = %user.org, user.id = %user.id, %error, "a password reset is not stored");
        }
    }
}

fn millis(duration: Duration) -> UnixMs {
    UnixMs::try_from(duration.as_millis()).unwrap_or(UnixMs::MAX)
}
