//! `runstream routes`: every endpoint on one line.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::failed;
use crate::domain::role::Role;
use crate::http::{Callers, Endpoint};
use crate::server::endpoints;

/// List every endpoint: method, path, who may call it, rate tier, name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  runstream routes
  runstream routes | grep executions")]
pub(super) struct RoutesArgs {}

pub(super) fn run(_args: &RoutesArgs) -> ExitCode {
    match io::stdout().write_all(table(&endpoints()).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn table(endpoints: &[Endpoint]) -> String {
    let path_width = endpoints.iter().map(|endpoint| endpoint.path.len()).max().unwrap_or(0);
    let callers: Vec<_> = endpoints.iter().map(|endpoint| who(endpoint.callers)).collect();
    let callers_width = callers.iter().map(String::len).max().unwrap_or(0);
    let line = |(endpoint, callers): (&Endpoint, &String)| {
        let Endpoint { path, id, .. } = endpoint;
        let method = endpoint.method.as_str();
        let tier = endpoint.tier.map_or("-", crate::http::Tier::name);
        format!("{method:<6}  {path:<path_width$}  {callers:<callers_width$}  {tier:<16}  {id}\n")
    };
    endpoints.iter().zip(&callers).map(line).collect()
}

fn who(callers: Callers) -> String {
    let least = |what: &str, role: Role| match role {
        Role::Viewer => what.to_owned(),
        Role::Developer | Role::Admin => format!("{what}, {role}"),
    };
    match callers {
        Callers::Public => "public".to_owned(),
        Callers::Token(role) => least("token", role),
        Callers::TokenOrKey(role) => least("token or key", role),
        Callers::Secret => "monitor's secret".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_a_line_with_its_facts() {
        let endpoints = endpoints();
        let table = table(&endpoints);
        assert_eq!(table.lines().count(), endpoints.len());
        let words = |name: &str| {
            let line = table.lines().find(|line| line.ends_with(&format!("  {name}"))).unwrap();
            line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(
            words("create_project"),
            ["POST", "/api/projects", "token or key, developer", "api", "create_project"]
        );
        assert_eq!(words("show_health"), ["GET", "/health", "public", "-", "show_health"]);
    }
}
