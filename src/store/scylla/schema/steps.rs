//! The steps of the schema: the files of `schema/scylla/`, in the order of their numbers, part of the binary.

/// One file of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Counts from 1 without gaps.
    pub number: i32,
    /// The file's name without number and ending.
    pub name: &'static str,
    /// CQL statements, each ended by `;`.
    pub text: &'static str,
}

/// All steps that this build knows. A step that was once released is never changed: a change is a further step.
pub const STEPS: &[Step] = &[
    Step { number: 1, name: "accounts", text: include_str!("../../../../schema/scylla/001_accounts.cql") },
    Step { number: 2, name: "runs", text: include_str!("../../../../schema/scylla/002_runs.cql") },
    Step { number: 3, name: "nodes", text: include_str!("../../../../schema/scylla/003_nodes.cql") },
    Step { number: 4, name: "feed", text: include_str!("../../../../schema/scylla/004_feed.cql") },
    Step { number: 5, name: "outbox", text: include_str!("../../../../schema/scylla/005_outbox.cql") },
];

impl Step {
    /// Its statements, without comments.
    #[must_use]
    pub fn statements(&self) -> Vec<String> {
        let code = self.text.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
        let code = code.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
        code.split(';').map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned).collect()
    }

    /// Tells apart what was applied from what this build would apply. Comments do not count.
    #[must_use]
    pub fn checksum(&self) -> i64 {
        i64::from(crc32fast::hash(self.statements().join(";").as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_from_one_and_are_named_as_their_files() {
        for (at, step) in STEPS.iter().enumerate() {
            assert_eq!(usize::try_from(step.number).unwrap(), at + 1);
            let file =
                format!("{}/schema/scylla/{:03}_{}.cql", env!("CARGO_MANIFEST_DIR"), step.number, step.name);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), step.text, "{file}");
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/scylla")).unwrap();
        assert_eq!(files.count(), STEPS.len(), "a file that is no step");
    }

    #[test]
    fn steps_may_be_repeated_and_hold_nothing_that_only_some_servers_know() {
        for statement in STEPS.iter().flat_map(Step::statements) {
            assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS "), "{statement}");
            let code = statement.to_lowercase();
            for banned in ["counter", "materialized", "index", "allow filtering", "scylla_", "simplestrategy"]
            {
                assert!(!code.contains(banned), "{banned} in {statement}");
            }
        }
    }

    #[test]
    fn comments_do_not_count() {
        let step = |text| Step { number: 1, name: "a", text };
        let plain = step("CREATE a;\nCREATE b\n  (c);\n");
        let commented = step("-- One; two\nCREATE a; -- x\n\nCREATE b\n  (c);\n-- end\n");
        assert_eq!(plain.statements(), ["CREATE a", "CREATE b\n  (c)"]);
        assert_eq!(plain.checksum(), commented.checksum());
        assert_ne!(plain.checksum(), step("CREATE a;").checksum());
    }
}
