//! How the mail server is reached, and whom letters come from.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::domain::email;
use crate::limits::MAIL_TIMEOUT;
use crate::store::scylla::Password;

/// How mail is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailSettings {
    /// The mail server's name or address; without one no letter is sent.
    pub host: Option<String>,
    /// Its port.
    pub port: u16,
    /// How the connection is secured.
    pub tls: MailTls,
    /// PEM file of the authorities that sign its certificate; `None` trusts those that browsers trust.
    pub tls_authorities: Option<PathBuf>,
    /// Whom to sign in as, for a server that asks.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Password>,
    /// The address letters come from.
    pub from: Option<Sender>,
    /// The name beside it.
    pub from_name: String,
    /// Where links in letters lead, without a slash at the end; `None` for the server's own public address.
    pub dashboard_url: Option<String>,
    /// How long handing one letter over may take.
    pub timeout: Duration,
}

impl Default for MailSettings {
    fn default() -> Self {
        Self {
            host: None,
            port: 587,
            tls: MailTls::StartTls,
            tls_authorities: None,
            user: None,
            password: None,
            from: None,
            from_name: "Runstream".to_owned(),
            dashboard_url: None,
            timeout: MAIL_TIMEOUT,
        }
    }
}

impl MailSettings {
    /// What does not fit together: the key to change, and why.
    #[must_use]
    pub fn contradictions(&self, has_public_url: bool) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let mut check = |is_wrong: bool, key, why: &str| {
            if is_wrong {
                found.push((key, why.to_owned()));
            }
        };
        check(self.host.is_some() && self.from.is_none(), "mail.from", "is needed with mail.host");
        check(
            self.host.is_some() && self.dashboard_url.is_none() && !has_public_url,
            "mail.dashboard_url",
            "or server.public_url is needed with mail.host: links in letters lead there",
        );
        check(self.password.is_some() && self.user.is_none(), "mail.password", "needs mail.user");
        check(self.user.is_some() && self.password.is_none(), "mail.user", "needs mail.password");
        check(
            self.user.is_some() && self.tls == MailTls::None,
            "mail.tls",
            "must not be \"none\" with mail.user: the password would be sent in the clear",
        );
        check(
            self.tls_authorities.is_some() && self.tls == MailTls::None,
            "mail.tls_authorities",
            "needs TLS, and mail.tls is \"none\"",
        );
        found
    }
}

/// How the connection to the mail server is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// It begins in the clear and goes on in TLS before anything is said; a server that cannot is not used.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// In the clear, for a server on the same machine.
    None,
}

/// An address that letters come from.
#[derive(Clone, PartialEq, Eq)]
pub struct Sender(lettre::Address);

impl Sender {
    /// The address.
    #[must_use]
    pub fn address(&self) -> &lettre::Address {
        &self.0
    }
}

impl FromStr for Sender {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let address = email::normalise(text).ok_or(())?;
        address.parse().map(Self).map_err(drop)
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_needs_a_sender_a_dashboard_and_no_password_in_the_clear() {
        let check = |settings: &MailSettings, has_public_url: bool, keys: &[&str]| {
            let found = settings.contradictions(has_public_url);
            assert_eq!(found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys, "{settings:?}");
        };
        let none = MailSettings::default();
        check(&none, false, &[]);
        let bare = MailSettings { host: Some("mail.pinewood.test".into()), ..none };
        check(&bare, false, &["mail.from", "mail.dashboard_url"]);
        let whole = MailSettings { from: Some("runs@pinewood.test".parse().unwrap()), ..bare };
        check(&whole, true, &[]);
        let dashboard_url = Some("https://runs.pinewood.test".into());
        check(&MailSettings { dashboard_url, ..whole.clone() }, false, &[]);
        let user = MailSettings { user: Some("runs".into()), ..whole.clone() };
        check(&user, true, &["mail.user"]);
        let password = Some(Password("secret".into()));
        check(&MailSettings { password: password.clone(), ..whole }, true, &["mail.password"]);
        let clear = MailSettings { password, tls: MailTls::None, ..user };
        check(&clear, true, &["mail.tls"]);
        assert!(!format!("{clear:?}").contains("secret"));
    }

    #[test]
    fn a_sender_is_one_address() {
        assert_eq!("Runs@Pinewood.test".parse::<Sender>().unwrap().to_string(), "runs@pinewood.test");
        for bad in
            ["", "runs", "a@b.test, c@d.test", "Runs <runs@pinewood.test>", "a@b.test\r\nBcc: c@d.test"]
        {
            assert!(bad.parse::<Sender>().is_err(), "{bad:?}");
        }
    }
}
