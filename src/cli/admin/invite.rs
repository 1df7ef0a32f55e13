//! `runstream invite`: invitations.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::AdminError;
use super::key::segment;
use super::shown::{Shown, text};
use super::{EVERYTHING, Place, Reach, run};
use crate::domain::email;
use crate::domain::role::Role;

/// Invitations: list, create, revoke.
///
/// A server that sends mail sends the link. One that does not, and --offline, print it: hand it on.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  done
  1  refused, or not reached; the reason is on standard error
  2  wrong usage or configuration

Examples:
  LINK=$(runstream invite create eve@pinewood.example --role viewer)
  runstream invite revoke eve@pinewood.example")]
pub(in crate::cli) struct InviteArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the invitations that can be accepted.
    List,
    /// Invite somebody, and print the link unless it is mailed.
    Create {
        /// E-mail address.
        email: String,
        /// Role: admin, developer or viewer.
        #[arg(long, value_parser = super::role)]
        role: Role,
    },
    /// Withdraw an invitation.
    Revoke {
        /// Its id, or the address that is invited.
        which: String,
    },
}

const COLUMNS: [(&str, &str); 5] = [
    ("ID", "/id"),
    ("EMAIL", "/email"),
    ("ROLE", "/role"),
    ("EXPIRES", "/expiresAt"),
    ("INVITED BY", "/invitedByName"),
];

impl InviteArgs {
    /// Does it.
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Self { reach, command } = self;
        run(reach, EVERYTHING, async move |place, _| match command {
            Command::List => {
                let pending = match place {
                    Place::Server(api) => api.get("/api/invitations").await?,
                    Place::Store(alone) => {
                        alone.operator().invitations(alone.organization().await?.id).await?
                    }
                };
                Shown::list(pending, "/invitations", &COLUMNS)
            }
            Command::Create { email, role } => {
                let body = json!({ "email": email, "role": role });
                let made = match place {
                    Place::Server(api) => api.post("/api/invitations", body).await?,
                    Place::Store(alone) => {
                        alone.operator().create_invitation(alone.organization().await?.id, body).await?
                    }
                };
                let link = made.pointer("/invitation/inviteUrl").and_then(Value::as_str).unwrap_or_default();
                let id = text(&made, "/invitation/id")?;
                let way = if link.is_empty() { "the link is mailed" } else { "hand the link on" };
                let (link, note) = (link.to_owned(), format!("invitation {id}: {way}"));
                Ok(Shown::new(made, link, note))
            }
            Command::Revoke { which } => {
                let revoked = match place {
                    Place::Server(api) => {
                        let id = pending_id(api, &which).await?;
                        api.delete(&format!("/api/invitations/{}", segment(&id)?)).await?
                    }
                    Place::Store(alone) => {
                        alone.operator().revoke_invitation(alone.organization().await?.id, &which).await?
                    }
                };
                Ok(Shown::new(revoked, "", format!("the invitation {which} is withdrawn")))
            }
        })
    }
}

/// The id of the pending invitation with this id or address.
async fn pending_id(api: &Api, which: &str) -> Result<String, AdminError> {
    let Some(address) = email::normalise(which) else { return Ok(which.to_owned()) };
    let pending = api.get("/api/invitations").await?;
    let pending = pending.get("invitations").and_then(Value::as_array);
    let found = pending
        .ok_or(AdminError::Foreign("/invitations"))?
        .iter()
        .find(|invitation| invitation.get("email").and_then(Value::as_str) == Some(address.as_str()));
    match found {
        Some(invitation) => text(invitation, "/id"),
        None => Err(AdminError::Absent(format!("there is no invitation to {address} that waits"))),
    }
}
