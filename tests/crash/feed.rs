//! The feed of a server that was killed: every piece of stored text has one number, in the order of the text.

use std::collections::HashMap;
use std::path::Path;

use runstream::domain::id::{ExecutionId, OrgId};
use runstream::store::contract::FeedRow;

use super::process::Account;
use super::reporter::Ledger;
use crate::support::beneath::Beneath;

/// The organization that the runs are of.
pub(super) async fn organization(account: &Account, ledgers: &[Ledger]) -> OrgId {
    let run = ledgers.iter().flatten().next().unwrap();
    let document = account.get(&format!("/api/executions/{}", run.task)).await;
    let text = document["data"]["execution"]["organizationId"].as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    OrgId::from_bytes(std::array::from_fn(byte))
}

/// Holds the feed in `data`, whose server has ended, against its runs.
pub(super) async fn check(beneath: &Beneath, data: &Path, org: OrgId, ledgers: &[Ledger]) {
    let store = beneath.open(data).await;
    let rows = store.feed_rows(org, 0, usize::MAX).await.unwrap();
    assert!(rows.is_sorted_by(|one, next| one.seq < next.seq), "a number was given twice");
    // On a cluster numbers are left out after a crash: one may be on its way still.
    let (head, last) = (store.feed_head(org).await.unwrap(), rows.last().unwrap().seq);
    assert!(head == last || (beneath.is_scylla() && head > last), "{head} after {last}");
    let mut runs: HashMap<ExecutionId, Vec<&FeedRow>> = HashMap::new();
    rows.iter().for_each(|row| runs.entry(row.execution).or_default().push(row));
    for run in ledgers.iter().flatten() {
        let execution = store.execution_by_task(org, &run.task.as_str().into()).await.unwrap().unwrap();
        let told = &runs[&execution.id];
        assert_eq!(told[0].task.as_ref(), Some(&execution.task_id), "{}: its opening comes first", run.task);
        let mut at = (0, 0);
        for row in told {
            assert_eq!(row.start, at, "{}: a gap before number {}", run.task, row.seq);
            at = row.end;
        }
        let end = store.position(org, execution.id).await.unwrap().unwrap();
        assert_eq!(at, (end.units, end.bytes), "{}: text without a number", run.task);
        if let Some(closure) = store.closure(org, execution.id).await.unwrap() {
            assert!(told.iter().any(|row| row.seq == closure.feed_seq && row.updated), "{}", run.task);
        }
    }
}
