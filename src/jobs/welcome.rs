//! Greets new accounts. Source: API reference, identity 4.1 and 11.

use super::mail::Mail;
use crate::domain::account::User;
use crate::limits::WELCOME_LETTER_LIFETIME;
use crate::outbound::mail::Content;

impl Mail {
    /// Has a letter sent that greets `user` in the organization called `organization`, once per account. Nobody waits for
    /// it: the account is stored already, and a greeting that is lost with a process or a store that fails is only logged.
    pub async fn greet(&self, user: &User, organization: &str) {
        let key = format!("welcome/{}", user.id);
        let content = Content::Welcome { name: user.name.clone(), organization: organization.to_owned() };
        let lifetime_ms = i64::try_from(WELCOME_LETTER_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = user.created_ms.saturating_add(lifetime_ms);
        let Some(letter) = self.write(user.org, key, &user.email, &content, expires_ms) else { return };
        match self.outbox().post_letter(letter).await {
            Ok(_) => self.wake(),
            Err(error) => tracing::warn!(org.id = %user.org, %error, "a new account is not greeted"),
        }
    }
}
