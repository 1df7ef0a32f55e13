//! `runstream org`, `user`, `key`, `invite`, `project` and `audit`: what administrators do, from a shell. Each works through
//! a running server's API with an administrator's token, or with `--offline` on the store of a server that does not run.
//! Answers have the same shape both ways. No secret is taken from the command line, which others can read: they come from
//! files, standard input or the environment.

mod api;
mod audit;
mod failure;
mod invite;
mod key;
mod org;
mod project;
mod secret;
mod shown;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

pub(super) use self::audit::AuditArgs;
pub(super) use self::invite::InviteArgs;
pub(super) use self::key::KeyArgs;
pub(super) use self::org::OrgArgs;
pub(super) use self::project::ProjectArgs;
pub(super) use self::user::UserArgs;

use self::api::Api;
use self::failure::AdminError;
use self::shown::Shown;
use super::configuration::{SettingsArgs, wrong_settings};
use super::{WRONG_USAGE, failed, in_runtime};
use crate::api::operator::Operator;
use crate::domain::account::Organization;
use crate::domain::role::Role;
use crate::server::{Offline, Seams};

/// Where it is done, by whom, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// The server's URL.
    #[arg(long, env = "RUNSTREAM_URL", default_value = "http://localhost:3000", global = true)]
    url: String,
    /// Sign in with this e-mail address; without it the token in RUNSTREAM_TOKEN is used.
    #[arg(long = "as", value_name = "EMAIL", env = "RUNSTREAM_EMAIL", global = true)]
    signed_in_as: Option<String>,
    /// File with the password to sign in with, `-` for standard input; RUNSTREAM_PASSWORD holds one too.
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// Print JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    /// Work on the store that the settings below name; no server may use it.
    #[arg(long, global = true)]
    offline: bool,
    /// With --offline: the organization, by id or slug; needed if there are several.
    #[arg(long, value_name = "ORGANIZATION", global = true)]
    org: Option<String>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Where it is done.
enum Place {
    /// A server that runs.
    Server(Api),
    /// The store of one that does not.
    Store(Box<Alone>),
}

/// An operator, and which organization is meant.
struct Alone {
    offline: Offline,
    wanted: Option<String>,
}

impl Alone {
    fn operator(&self) -> &Operator {
        self.offline.operator()
    }

    /// The organization that is meant.
    async fn organization(&self) -> Result<Organization, AdminError> {
        Ok(self.operator().organization(self.wanted.as_deref()).await?)
    }
}

/// Does `act` where `reach` says, and prints what comes of it.
fn run(
    reach: Reach,
    Needs { token, deployment }: Needs,
    act: impl AsyncFnOnce(&Place, &Reach) -> Result<Shown, AdminError>,
) -> ExitCode {
    let settings = if reach.offline {
        match reach.settings.load() {
            Ok(configuration) => Some(configuration.settings),
            Err(problems) => return wrong_settings(&problems),
        }
    } else {
        None
    };
    // In a box: the futures of the stores are large.
    let work = Box::pin(async {
        let Some(settings) = settings else {
            if reach.org.is_some() {
                return Err(AdminError::Usage("--org is for --offline: a token belongs to one organization"));
            }
            let api = Api::at(&reach.url)?;
            let api = if token { api.signed_in(&reach).await? } else { api };
            return act(&Place::Server(api), &reach).await;
        };
        let offline = Offline::open(&settings, &Seams::default(), !deployment).await?;
        let place = Place::Store(Box::new(Alone { offline, wanted: reach.org.clone() }));
        let done = act(&place, &reach).await;
        if let Place::Store(alone) = place {
            alone.offline.close().await.map_err(AdminError::Close)?;
        }
        done
    });
    in_runtime(async {
        match work.await.and_then(|shown| shown.print(reach.json)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(AdminError::Usage(wrong)) => {
                eprintln!("runstream: {wrong}");
                ExitCode::from(WRONG_USAGE)
            }
            Err(error) => failed(&error),
        }
    })
}

/// A role, as it is typed.
fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|_unknown| "a role is admin, developer or viewer".to_owned())
}

/// What has to be there before a command is begun.
#[derive(Debug, Clone, Copy)]
struct Needs {
    /// Through a server: somebody who is signed in.
    token: bool,
    /// Offline: a data folder.
    deployment: bool,
}

/// Nearly every command.
const EVERYTHING: Needs = Needs { token: true, deployment: true };
