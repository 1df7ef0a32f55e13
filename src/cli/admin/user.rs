//! `runstream user`: members of an organization.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::Api;
use super::failure::AdminError;
use super::shown::{Shown, text};
use super::{Alone, EVERYTHING, Needs, Place, Reach, run, secret};
use crate::domain::role::{AccountStatus, Role};

/// Members: list, create, give a role, suspend, restore, reset a password, remove; sign in and out.
///
/// A member is named by id or e-mail address.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  done
  1  refused, or not reached; the reason is on standard error
  2  wrong usage or configuration

Examples:
  runstream user create eve@pinewood.example --name Eve --role viewer < password
  runstream user suspend eve@pinewood.example
  TOKEN=$(runstream user sign-in eve@pinewood.example < password)
  runstream user reset-password rosa@pinewood.example --offline --data /var/lib/runstream < password")]
pub(in crate::cli) struct UserArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the members.
    List,
    /// Show a member.
    Show {
        /// Id or e-mail address.
        who: String,
    },
    /// Create a member with a password, and print the id.
    ///
    /// Through a server this is an invitation and the sign-up that redeems it. A server that mails invitations keeps the
    /// link to itself: then the invitation is all that is made, and the account comes to be when it is accepted.
    Create {
        /// E-mail address.
        email: String,
        /// Name.
        #[arg(long)]
        name: String,
        /// Role: admin, developer or viewer.
        #[arg(long, value_parser = super::role)]
        role: Role,
        /// File with the password; standard input without it.
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Give a member a role: admin, developer or viewer.
    Role {
        /// Id or e-mail address.
        who: String,
        /// The role.
        #[arg(value_parser = super::role)]
        role: Role,
    },
    /// Lock a member out: no request is served any more, and open connections end.
    Suspend {
        /// Id or e-mail address.
        who: String,
    },
    /// Let a suspended member in again.
    Restore {
        /// Id or e-mail address.
        who: String,
    },
    /// Give a member another password.
    ///
    /// Through a server the member gets a letter with a link, if the server sends mail. With --offline the password is
    /// read from standard input, tokens and API keys of the account are void, and a lock is lifted.
    ResetPassword {
        /// Id or e-mail address.
        who: String,
        /// With --offline: file with the password; standard input without it.
        #[arg(long, value_name = "FILE")]
        new_password_file: Option<PathBuf>,
    },
    /// Remove a member's account, with its tokens and API keys.
    Remove {
        /// Id or e-mail address.
        who: String,
    },
    /// Sign in, and print a token for RUNSTREAM_TOKEN.
    ///
    /// The password comes from --password-file, RUNSTREAM_PASSWORD or standard input.
    SignIn {
        /// E-mail address.
        email: String,
    },
    /// Sign out: the token in RUNSTREAM_TOKEN is void.
    SignOut,
}

const COLUMNS: [(&str, &str); 6] = [
    ("ID", "/id"),
    ("EMAIL", "/email"),
    ("ROLE", "/role"),
    ("STATUS", "/status"),
    ("LAST LOGIN", "/lastLoginAt"),
    ("NAME", "/name"),
];

impl UserArgs {
    /// Does it.
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Self { reach, command } = self;
        let needs = Needs { token: !matches!(command, Command::SignIn { .. }), ..EVERYTHING };
        run(reach, needs, async move |place, reach| match command {
            Command::Create { email, name, role, new_password_file } => {
                let password = secret::new_password(new_password_file.as_deref(), reach)?;
                let body = json!({ "email": email, "name": name, "role": role, "password": password });
                match place {
                    Place::Server(api) => invite_and_sign_up(api, body).await,
                    Place::Store(alone) => {
                        let organization = alone.organization().await?;
                        created(alone.operator().create_user(&organization, body).await?)
                    }
                }
            }
            Command::SignIn { email } => match place {
                Place::Server(api) => sign_in(api, reach, &email).await,
                Place::Store(_) => Err(AdminError::Usage("signing in takes a server that runs")),
            },
            Command::SignOut => match place {
                Place::Server(api) => {
                    api.post("/api/auth/logout", json!({})).await?;
                    Ok(Shown::new(json!({}), "", "the token is void"))
                }
                Place::Store(_) => Err(AdminError::Usage("signing out takes a server that runs")),
            },
            command => match place {
                Place::Server(api) => at_server(api, command).await,
                Place::Store(alone) => at_store(alone, command, reach).await,
            },
        })
    }
}

async fn at_server(api: &Api, command: Command) -> Result<Shown, AdminError> {
    let set_status = async |who: &str, status: AccountStatus| {
        let path = format!("/api/users/{}/status", api.member_id(who).await?);
        changed(api.patch(&path, json!({ "status": status })).await?)
    };
    match command {
        Command::Show { who } => {
            let path = format!("/api/users/{}", api.member_id(&who).await?);
            Shown::record(api.get(&path).await?, "/user", &COLUMNS)
        }
        Command::Role { who, role } => {
            let path = format!("/api/users/{}/role", api.member_id(&who).await?);
            changed(api.patch(&path, json!({ "role": role })).await?)
        }
        Command::Suspend { who } => set_status(&who, AccountStatus::Suspended).await,
        Command::Restore { who } => set_status(&who, AccountStatus::Active).await,
        Command::ResetPassword { who, new_password_file: None } => {
            let user = api.member(&who).await?;
            let email = text(&user, "/email")?;
            api.post("/api/auth/password-reset/request", json!({ "email": email })).await?;
            let note =
                format!("{email} gets a letter with a link if the server sends mail; if not, use --offline");
            Ok(Shown::new(json!({ "user": user }), "", note))
        }
        Command::ResetPassword { .. } => Err(AdminError::Usage(
            "a password is set with --offline only: a server sends the member a letter",
        )),
        Command::Remove { who } => {
            let user = api.member(&who).await?;
            api.delete(&format!("/api/users/{}", text(&user, "/id")?)).await?;
            changed(json!({ "user": user }))
        }
        // The others have been dealt with.
        _ => Shown::list(api.get("/api/users").await?, "/users", &COLUMNS),
    }
}

async fn at_store(alone: &Alone, command: Command, reach: &Reach) -> Result<Shown, AdminError> {
    let (operator, org) = (alone.operator(), alone.organization().await?.id);
    let new_password = |file: Option<&Path>| secret::new_password(file, reach);
    match command {
        Command::Show { who } => Shown::record(operator.user(org, &who).await?, "/user", &COLUMNS),
        Command::Role { who, role } => changed(operator.set_role(org, &who, role).await?),
        Command::Suspend { who } => changed(operator.set_status(org, &who, AccountStatus::Suspended).await?),
        Command::Restore { who } => changed(operator.set_status(org, &who, AccountStatus::Active).await?),
        Command::ResetPassword { who, new_password_file } => {
            let password = new_password(new_password_file.as_deref())?;
            changed(operator.reset_password(org, &who, password).await?)
        }
        Command::Remove { who } => changed(operator.remove_user(org, &who).await?),
        // The others have been dealt with.
        _ => Shown::list(operator.users(org).await?, "/users", &COLUMNS),
    }
}

/// A member after a change: nothing for standard output, a sentence beside it.
fn changed(answer: Value) -> Result<Shown, AdminError> {
    let note = match answer.get("message").and_then(Value::as_str) {
        Some(message) => format!("{}: {message}", text(&answer, "/user/email")?),
        None => format!("{}: done", text(&answer, "/user/email")?),
    };
    Ok(Shown::new(answer, "", note))
}

fn created(answer: Value) -> Result<Shown, AdminError> {
    let (id, email) = (text(&answer, "/user/id")?, text(&answer, "/user/email")?);
    Ok(Shown::new(answer, id, format!("{email} is a member")))
}

async fn sign_in(api: &Api, reach: &Reach, email: &str) -> Result<Shown, AdminError> {
    let password = match secret::of_signing_in(reach)? {
        Some(password) => password,
        None => secret::read(Path::new("-"))?,
    };
    let answer = api.sign_in(email, &password).await?;
    let token = text(&answer, "/token")?;
    Ok(Shown::new(answer, token, ""))
}

/// Invites somebody and redeems the invitation for them, with the password that is given.
async fn invite_and_sign_up(api: &Api, body: Value) -> Result<Shown, AdminError> {
    let member = |name: &str| body.get(name).cloned().unwrap_or_default();
    let asked = json!({ "email": member("email"), "role": member("role") });
    let invited = api.post("/api/invitations", asked).await?;
    let path = format!("/api/invitations/{}", text(&invited, "/invitation/id")?);
    let email = text(&invited, "/invitation/email")?;
    if invited.pointer("/invitation/userExists") == Some(&Value::Bool(true)) {
        api.delete(&path).await?;
        let why = format!(
            "{email} has an account in another organization: ask them to join by `runstream invite create`"
        );
        return Err(AdminError::Absent(why));
    }
    let Some(link) = invited.pointer("/invitation/inviteUrl").and_then(Value::as_str) else {
        let note = format!("{email} is invited by mail, and a member once the invitation is accepted");
        return Ok(Shown::new(json!({ "user": null, "invitation": invited.get("invitation") }), "", note));
    };
    let token = link.rsplit_once("token=").map(|(_, token)| token).ok_or(AdminError::Foreign("token"))?;
    let sign_up = json!({
        "email": email, "name": member("name"), "password": member("password"), "inviteToken": token,
    });
    match api.post("/api/auth/signup", sign_up).await {
        Ok(answer) => created(json!({ "user": answer.get("user"), "invitation": invited.get("invitation") })),
        Err(refused) => {
            // Nothing is left of what did not work out. If that fails too, the first reason is the one to tell.
            drop(api.delete(&path).await);
            Err(refused)
        }
    }
}
