//! Mail as the configuration has it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Seams, local_url};
use crate::config::Settings;
use crate::domain::seal::Sealer;
use crate::jobs::mail::{Mail, MailParts, Postman};
use crate::outbound::mail::{Composer, Links, Smtp, SmtpSettingsError};
use crate::store::contract::Store;

/// Who takes letters over, if anybody. Connects to nobody yet.
pub(super) fn postman(settings: &Settings) -> Result<Option<Postman>, SmtpSettingsError> {
    let mail = &settings.mail;
    // That there is no host without a sender was checked with the other settings.
    let (Some(host), Some(sender)) = (&mail.host, &mail.from) else { return Ok(None) };
    let transport = Box::new(Smtp::new(host, mail, sender)?);
    let composer = Composer::new(sender, &mail.from_name, links(settings));
    Ok(Some(Postman { transport, composer, timeout: mail.timeout }))
}

/// Mail that waits in `store`.
pub(super) fn open(
    settings: &Settings,
    seams: &Seams,
    store: &Arc<dyn Store>,
    sealer: Sealer,
    postman: Option<Postman>,
) -> Mail {
    let (outbox, clock) = (Arc::clone(store) as _, Arc::clone(&seams.clock));
    Mail::new(MailParts { outbox, clock, sealer, links: links(settings), postman })
}

/// Links into the dashboard as configured: nothing that a request says decides where a letter leads.
pub(super) fn links(settings: &Settings) -> Links {
    let configured = settings.mail.dashboard_url.as_ref().or(settings.ingest.public_url.as_ref());
    let address = SocketAddr::new(settings.server.address, settings.server.port);
    let own = || local_url(address, &settings.server.base_path);
    Links::new(&configured.cloned().unwrap_or_else(own))
}
