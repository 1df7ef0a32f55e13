//! Where links in letters lead. Source: API reference, identity 4.9 and 11.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What somebody who is invited does with the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InvitationAction {
    /// Makes an account.
    Signup,
    /// Takes an account along.
    Join,
}

impl InvitationAction {
    /// The name on the wire, and the path of its page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signup => "signup",
            Self::Join => "join",
        }
    }
}

/// Makes links into the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    dashboard: String,
}

/// A text as a value of a query.
struct Value<'a>(&'a str);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        url::form_urlencoded::byte_serialize(self.0.as_bytes()).try_for_each(|part| f.write_str(part))
    }
}

impl Links {
    /// Links that begin with `dashboard`, an address without a slash at the end.
    #[must_use]
    pub fn new(dashboard: &str) -> Self {
        Self { dashboard: dashboard.trim_end_matches('/').to_owned() }
    }

    /// The dashboard itself.
    #[must_use]
    pub fn dashboard(&self) -> &str {
        &self.dashboard
    }

    /// Where an invitation is taken up.
    #[must_use]
    pub fn invitation(&self, action: InvitationAction, token: &str) -> String {
        format!("{}/{}?token={}", self.dashboard, action.as_str(), Value(token))
    }

    /// Where a new password is chosen.
    #[must_use]
    pub fn password_reset(&self, token: &str) -> String {
        format!("{}/reset-password?token={}", self.dashboard, Value(token))
    }

    /// Where the plan is looked at.
    #[must_use]
    pub fn billing(&self) -> String {
        format!("{}/settings?tab=billing", self.dashboard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_those_of_the_contract() {
        let links = Links::new("https://runs.pinewood.test/");
        assert_eq!(links.dashboard(), "https://runs.pinewood.test");
        let token = "0f".repeat(32);
        assert_eq!(
            links.invitation(InvitationAction::Signup, &token),
            format!("https://runs.pinewood.test/signup?token={token}")
        );
        assert_eq!(
            links.invitation(InvitationAction::Join, "a&b=c d"),
            "https://runs.pinewood.test/join?token=a%26b%3Dc+d"
        );
        assert_eq!(
            links.password_reset(&token),
            format!("https://runs.pinewood.test/reset-password?token={token}")
        );
        assert_eq!(links.billing(), "https://runs.pinewood.test/settings?tab=billing");
    }
}
