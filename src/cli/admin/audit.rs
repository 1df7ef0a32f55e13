//! `runstream audit`: the audit log.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use url::form_urlencoded::Serializer;

use super::shown::Shown;
use super::{EVERYTHING, Place, Reach, run};

/// The audit log, newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
What an operator did with --offline has the author 000000000000000000000000.

Exit codes:
  0  done
  1  refused, or not reached; the reason is on standard error
  2  wrong usage or configuration

Examples:
  runstream audit list --action user.role_changed
  runstream audit list --since 2026-03-01 --limit 100 --json")]
pub(in crate::cli) struct AuditArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List entries.
    List {
        /// Exactly this action, as user.role_changed.
        #[arg(long)]
        action: Option<String>,
        /// Only what this member did: an id.
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// Only what was done to this kind of thing, as user or apiKey.
        #[arg(long, value_name = "KIND")]
        target_type: Option<String>,
        /// Not before this time, as 2026-03-09 or 2026-03-09T08:00:00Z.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Not after this time.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Entries at most, up to 100.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Entries to skip.
        #[arg(long, default_value_t = 0)]
        offset: usize,
    },
}

const COLUMNS: [(&str, &str); 6] = [
    ("TIME", "/timestamp"),
    ("ACTION", "/action"),
    ("BY", "/userId"),
    ("FROM", "/ip"),
    ("TARGET", "/targetId"),
    ("DETAILS", "/details"),
];

impl AuditArgs {
    /// Does it.
    pub(in crate::cli) fn run(self) -> ExitCode {
        let Self { reach, command } = self;
        run(reach, EVERYTHING, async move |place, _| {
            let query = query_of(command);
            let page = match place {
                Place::Server(api) => api.get(&format!("/api/organization/audit-logs?{query}")).await?,
                Place::Store(alone) => {
                    alone.operator().audit_log(alone.organization().await?.id, &query).await?
                }
            };
            Shown::list(page, "/data/logs", &COLUMNS)
        })
    }
}

/// The query that the API takes.
fn query_of(command: Command) -> String {
    let Command::List { action, user, target_type, since, until, limit, offset } = command;
    let given = [
        ("action", action),
        ("userId", user),
        ("targetType", target_type),
        ("startDate", since),
        ("endDate", until),
        ("limit", Some(limit.to_string())),
        ("offset", Some(offset.to_string())),
    ];
    let mut query = Serializer::new(String::new());
    for (name, value) in given {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    query.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stands_in_the_query() {
        let command = Command::List {
            action: Some("user.removed&x".into()),
            user: None,
            target_type: None,
            since: Some("2026-03-09T08:00:00+01:00".into()),
            until: None,
            limit: 7,
            offset: 0,
        };
        let expected = "action=user.removed%26x&startDate=2026-03-09T08%3A00%3A00%2B01%3A00&limit=7&offset=0";
        assert_eq!(query_of(command), expected);
    }
}
