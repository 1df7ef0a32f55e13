//! `runstream project`: projects.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::shown::{Shown, text};
use super::{EVERYTHING, Place, Reach, run};

/// Projects: list, create.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0  done
  1  refused, or not reached; the reason is on standard error
  2  wrong usage or configuration

Examples:
  PROJECT=$(runstream project create 'Web shop')
  runstream project list")]
pub(in crate::cli) struct ProjectArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the projects.
    List,
    /// Create a project, and print the id that reporters need.
    Create {
        /// Its name.
        name: String,
    },
}

const COLUMNS: [(&str, &str); 4] =
    [("ID", "/id"), ("SLUG", "/slug"), ("CREATED", "/createdAt"), ("NAME", "/name")];

impl ProjectArgs {
    /// Does it.
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Self { reach, command } = self;
        run(reach, EVERYTHING, async move |place, _| match command {
            Command::List => {
                let projects = match place {
                    Place::Server(api) => api.get("/api/projects").await?,
                    Place::Store(alone) => alone.operator().projects(alone.organization().await?.id).await?,
                };
                Shown::list(projects, "/projects", &COLUMNS)
            }
            Command::Create { name } => {
                let body = json!({ "name": name });
                let made = match place {
                    Place::Server(api) => api.post("/api/projects", body).await?,
                    Place::Store(alone) => {
                        alone.operator().create_project(alone.organization().await?.id, body).await?
                    }
                };
                let (id, slug) = (text(&made, "/project/id")?, text(&made, "/project/slug")?);
                Ok(Shown::new(made, id, format!("project {slug}")))
            }
        })
    }
}
