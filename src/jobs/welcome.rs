//! Greets new accounts. Source: API reference, identity 4.1 and 11.

use super::mail::Mail;
use crate::domain::account::User;
use crate::domain::mail::Letter;
use crate::limits::WELCOME_LETTER_LIFETIME;
use crate::outbound::mail::Content;

impl Mail {
    /// The letter that greets `user`, a new account, in the organization called `organization`; `None` if no mail server
    /// is configured.
    #[must_use]
    pub fn welcome(&self, user: &User, organization: &str) -> Option<Letter> {
        let key = format!("welcome/{}", user.id);
        let content = Content::Welcome { name: user.name.clone(), organization: organization.to_owned() };
        let lifetime_ms = i64::try_from(WELCOME_LETTER_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = user.created_ms.saturating_add(lifetime_ms);
        self.write(user.org, key, &user.email, &content, expires_ms)
    }
}
