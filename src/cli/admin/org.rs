//! `runstream org`: organizations.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::failure::AdminError;
use super::shown::{Shown, text};
use super::{EVERYTHING, Needs, Place, Reach, run, secret};

/// List, show and create organizations.
///
/// Through a server an administrator sees one organization, their own; anybody may create one, as signing up does. All
/// organizations of a deployment are listed with --offline only.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  done
  1  refused, or not reached; the reason is on standard error
  2  wrong usage or configuration

Examples:
  TOKEN=$(runstream org create 'Pinewood Labs' --email rosa@pinewood.example --name Rosa < password)
  RUNSTREAM_TOKEN=$TOKEN runstream org show
  runstream org list --offline --data /var/lib/runstream --json")]
pub(in crate::cli) struct OrgArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List all organizations; only with --offline.
    List,
    /// Show the organization.
    Show,
    /// Create an organization with its first administrator, and print a token of theirs.
    Create {
        /// The organization's name.
        organization: String,
        /// The administrator's e-mail address.
        #[arg(long)]
        email: String,
        /// The administrator's name.
        #[arg(long)]
        name: String,
        /// File with the administrator's password; standard input without it.
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
}

const COLUMNS: [(&str, &str); 5] =
    [("ID", "/id"), ("SLUG", "/slug"), ("PLAN", "/plan"), ("MEMBERS", "/userCount"), ("NAME", "/name")];

impl OrgArgs {
    /// Does it.
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Self { reach, command } = self;
        let needs = match &command {
            Command::Create { .. } => Needs { token: false, deployment: false },
            Command::List if !reach.offline => Needs { token: false, ..EVERYTHING },
            Command::List | Command::Show => EVERYTHING,
        };
        run(reach, needs, async move |place, reach| match command {
            Command::List => match place {
                Place::Server(_) => {
                    Err(AdminError::Usage("a server tells of one organization (`org show`); use --offline"))
                }
                Place::Store(alone) => {
                    Shown::list(alone.operator().organizations().await?, "/organizations", &COLUMNS)
                }
            },
            Command::Show => {
                let shown = match place {
                    Place::Server(api) => api.get("/api/organization").await?,
                    Place::Store(alone) => {
                        alone.operator().show_organization(alone.organization().await?).await?
                    }
                };
                Shown::record(shown, "/organization", &COLUMNS)
            }
            Command::Create { organization, email, name, new_password_file } => {
                let password = secret::new_password(new_password_file.as_deref(), reach)?;
                let body = json!({
                    "organizationName": organization, "email": email, "name": name, "password": password,
                });
                let made = match place {
                    Place::Server(api) => api.post("/api/auth/signup", body).await?,
                    Place::Store(alone) => alone.operator().create_organization(body).await?,
                };
                let token = text(&made, "/token")?;
                let (id, user) = (text(&made, "/user/organizationId")?, text(&made, "/user/id")?);
                let note =
                    format!("organization {id} with administrator {user}; the token is good for a day");
                Ok(Shown::new(made, token, note))
            }
        })
    }
}
