//! `runstream key`: API keys.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::AdminError;
use super::shown::{Shown, text};
use super::{EVERYTHING, Place, Reach, run};

/// API keys: list, create, revoke.
///
/// Through a server a key belongs to who is signed in. With --offline it is made for the member that --user names.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  done
  1  refused, or not reached; the reason is on standard error
  2  wrong usage or configuration

Examples:
  KEY=$(runstream key create --name nightly)
  runstream key list --json
  runstream key revoke 69a7d4482f4b8e1190ab3512
  runstream key create --offline --user rosa@pinewood.example")]
pub(in crate::cli) struct KeyArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List keys: one's own, or with --offline everybody's.
    List {
        /// With --offline: the owner's id or e-mail address.
        #[arg(long, value_name = "MEMBER")]
        user: Option<String>,
    },
    /// Create a key and print it; it is not shown again.
    Create {
        /// What it is called.
        #[arg(long)]
        name: Option<String>,
        /// With --offline: the owner's id or e-mail address.
        #[arg(long, value_name = "MEMBER")]
        user: Option<String>,
    },
    /// Revoke a key; an administrator may revoke any of the organization.
    Revoke {
        /// Its id.
        id: String,
    },
}

const COLUMNS: [(&str, &str); 5] = [
    ("ID", "/id"),
    ("PREFIX", "/prefix"),
    ("CREATED", "/createdAt"),
    ("LAST USED", "/lastUsed"),
    ("NAME", "/name"),
];
const OWN_KEYS: AdminError = AdminError::Usage("--user is for --offline: a key belongs to who is signed in");

impl KeyArgs {
    /// Does it.
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Self { reach, command } = self;
        run(reach, EVERYTHING, async move |place, _| match command {
            Command::List { user } => match place {
                Place::Server(_) if user.is_some() => Err(OWN_KEYS),
                Place::Server(api) => Shown::list(api.get("/api/auth/api-keys").await?, "/data", &COLUMNS),
                Place::Store(alone) => {
                    let org = alone.organization().await?.id;
                    let keys = alone.operator().keys(org, user.as_deref()).await?;
                    let columns: Vec<_> = COLUMNS.into_iter().chain([("OWNER", "/owner")]).collect();
                    Shown::list(keys, "/data", &columns)
                }
            },
            Command::Create { name, user } => {
                let body = json!({ "name": name.unwrap_or_default() });
                let made = match (place, user) {
                    (Place::Server(_), Some(_)) => return Err(OWN_KEYS),
                    (Place::Server(api), None) => api.post("/api/auth/api-keys", body).await?,
                    (Place::Store(_), None) => {
                        return Err(AdminError::Usage("--user names the member that the key acts as"));
                    }
                    (Place::Store(alone), Some(user)) => {
                        let org = alone.organization().await?.id;
                        alone.operator().create_key(org, &user, body).await?
                    }
                };
                let (key, id) = (text(&made, "/apiKey")?, text(&made, "/data/id")?);
                let note = format!("key {id} ({}): it is not shown again", text(&made, "/data/name")?);
                Ok(Shown::new(made, key, note))
            }
            Command::Revoke { id } => {
                let revoked = match place {
                    Place::Server(api) => {
                        api.delete(&format!("/api/auth/api-keys/{}", segment(&id)?)).await?
                    }
                    Place::Store(alone) => {
                        let org = alone.organization().await?.id;
                        alone.operator().revoke_key(org, &id).await?
                    }
                };
                Ok(Shown::new(revoked, "", format!("key {id} is no key any more")))
            }
        })
    }
}

/// An id as a segment of a path.
pub(super) fn segment(id: &str) -> Result<&str, AdminError> {
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_plain { Ok(id) } else { Err(AdminError::Usage("an id is 24 lower-case hex characters")) }
}
