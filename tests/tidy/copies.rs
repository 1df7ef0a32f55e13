//! That `runstream store copy` knows everything the stores keep: a table or a kind of row that is added has to be said
//! something about, or it would be left behind in silence.

use std::collections::BTreeSet;

use runstream::store::lsm::copied_keyspaces;
use runstream::store::lsm::runs::rows::Table;
use runstream::store::scylla::schema::STEPS;
use runstream::store::scylla::{copied_kinds, copied_tables};

use super::{read, rust_files};

/// Fails for what is kept and not known, and for what is known and not kept.
fn assert_known(kept: &BTreeSet<String>, known: &[(&str, &str)], place: &str) {
    assert!(!kept.is_empty(), "{place}: nothing was found, so nothing was checked");
    let known: BTreeSet<String> = known.iter().map(|(name, _)| (*name).to_owned()).collect();
    let forgotten: Vec<_> = kept.difference(&known).collect();
    assert!(
        forgotten.is_empty(),
        "`store copy` would leave {forgotten:?} behind: say in {place} what a copy does with it. A noun of its own gets a \
         variant of `Record` in src/store/copy/record.rs, and a line in `export` and `import` of both stores \
         (src/store/lsm/transfer.rs, src/store/scylla/cold/transfer.rs); what can be made from other records is made by \
         whoever takes those in."
    );
    let gone: Vec<_> = known.difference(kept).collect();
    assert!(gone.is_empty(), "{place} speaks of {gone:?}, which nobody keeps");
}

/// What stands between each `before` and the quote after it.
fn quoted(text: &str, before: &str) -> Vec<String> {
    let found =
        text.match_indices(before).filter_map(|(at, _)| text.get(at + before.len()..)?.split('"').next());
    found.map(ToOwned::to_owned).collect()
}

#[test]
fn a_copy_knows_every_keyspace_of_the_embedded_store() {
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for (path, text) in rust_files("src/store/lsm") {
        let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
        kept.extend(quoted(&code, "::named(\""));
        kept.extend(quoted(&code, "keyspace(\""));
        if path.ends_with("runs/rows.rs") {
            kept.extend(quoted(&code, "=> \""));
        }
    }
    // Those of runs are named by a match, that of sealed values by a constant.
    kept.extend(["runs", "run_contents", "run_segments", "sealed_values"].map(ToOwned::to_owned));
    assert_known(&kept, copied_keyspaces(), "KEYSPACES of src/store/lsm/transfer.rs");
    let said = read("src/store/lsm/runs/transfer.rs");
    for table in Table::ALL {
        assert!(
            said.contains(&format!("`{table:?}`")),
            "`store copy` would leave {table:?} behind: say in src/store/lsm/runs/transfer.rs what a copy does with it"
        );
    }
}

#[test]
fn a_copy_knows_every_table_of_a_cluster_and_every_kind_of_row_in_the_shared_one() {
    let statements = STEPS.iter().flat_map(|step| step.statements());
    let kept: BTreeSet<String> = statements
        .filter_map(|statement| {
            let name = statement.strip_prefix("CREATE TABLE IF NOT EXISTS ")?.split([' ', '(']).next()?;
            Some(name.to_owned())
        })
        .collect();
    assert_known(&kept, copied_tables(), "TABLES of src/store/scylla/transfer.rs");
    let rows = read("src/store/scylla/cold/rows.rs");
    let kinds: BTreeSet<String> = quoted(&rows, ": &str = \"").into_iter().collect();
    assert_known(&kinds, copied_kinds(), "KINDS of src/store/scylla/cold/transfer.rs");
}
