//! Handing messages over to a mail server: SMTP with TLS and authentication. One connection a message: letters are few.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::composer::Message;
use super::settings::{MailSettings, MailTls, Sender};
use super::transport::{SendError, Transport};

/// A server that answers this does not know us: that is for the operator to change, and no reason to drop a letter at once.
const NOT_SIGNED_IN: [&str; 4] = ["530", "534", "535", "538"];

/// A mail server.
#[derive(Debug)]
pub struct Smtp(AsyncSmtpTransport<Tokio1Executor>);

/// Why the mail server cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum SmtpSettingsError {
    /// The authorities cannot be read.
    #[error("mail.tls_authorities: {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("mail.tls: {0}")]
    Tls(String),
}

impl Smtp {
    /// The mail server `host` that `settings` describe; `sender` names the domain that greets it. Connects to nobody.
    ///
    /// # Errors
    /// If the authorities cannot be read. Blocks for reading them.
    pub fn new(host: &str, settings: &MailSettings, sender: &Sender) -> Result<Self, SmtpSettingsError> {
        let hello = ClientId::Domain(sender.address().domain().to_owned());
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(settings.port)
            .hello_name(hello)
            .timeout(Some(settings.timeout))
            .tls(match settings.tls {
                MailTls::None => Tls::None,
                MailTls::StartTls => Tls::Required(parameters(host, settings)?),
                MailTls::Implicit => Tls::Wrapper(parameters(host, settings)?),
            });
        if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
            server = server.credentials(Credentials::new(user.clone(), password.0.clone()));
        }
        Ok(Self(server.build()))
    }
}

fn parameters(host: &str, settings: &MailSettings) -> Result<TlsParameters, SmtpSettingsError> {
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(file) = &settings.tls_authorities {
        parameters =
            parameters.certificate_store(CertificateStore::None).add_root_certificate(authorities(file)?);
    }
    parameters.build_rustls().map_err(|error| SmtpSettingsError::Tls(error.to_string()))
}

fn authorities(file: &Path) -> Result<Certificate, SmtpSettingsError> {
    let wrong = |reason: String| SmtpSettingsError::Authorities { path: file.to_owned(), reason };
    let pem = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    if !pem.windows(5).any(|part| part == b"BEGIN") {
        return Err(wrong("holds no certificate".to_owned()));
    }
    Certificate::from_pem(&pem).map_err(|error| wrong(error.to_string()))
}

#[async_trait]
impl Transport for Smtp {
    async fn send(&self, message: Message) -> Result<(), SendError> {
        let Message(message) = message;
        self.0.send(message).await.map(drop).map_err(|error| judge(&error))
    }
}

/// Only the server's number is told: its words may name the recipient.
fn judge(error: &lettre::transport::smtp::Error) -> SendError {
    let Some(status) = error.status().map(|status| status.to_string()) else {
        // Text of a server is in none of these.
        return if error.is_client() {
            SendError::ForNow(
                "the mail server lacks what is wanted of it: TLS, a way to sign in, or such addresses"
                    .to_owned(),
            )
        } else if error.is_tls() {
            SendError::ForNow(format!("TLS with the mail server failed: {error}"))
        } else if error.is_response() {
            SendError::ForNow("the mail server's answer cannot be understood".to_owned())
        } else {
            SendError::ForNow(format!("the mail server is not reached: {error}"))
        };
    };
    let text = format!("the mail server answered {status}");
    if error.is_permanent() && !NOT_SIGNED_IN.contains(&status.as_str()) {
        SendError::ForGood(text)
    } else {
        SendError::ForNow(text)
    }
}
