//! The journal's reader: whatever stands in a journal file, the store opens over it or says why not, and what it then
//! serves can be served.

use std::sync::Arc;

use runstream::fs::OsFs;
use runstream::store::contract::{Executions, StoreError};
use runstream::store::lsm::{LsmSettings, LsmStore};

/// Opens a store over a journal of one file that holds `data`, and reads everything in it.
pub(crate) fn run(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder for the store");
    let journal = folder.path().join("journal");
    std::fs::create_dir_all(&journal).expect("a folder for the journal");
    std::fs::write(journal.join("0000000001.journal"), data).expect("a journal file");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = match LsmStore::open(LsmSettings::at(folder.path()), Arc::new(OsFs)).await {
            Ok(store) => store,
            Err(StoreError::Damaged(_)) => return,
            Err(error) => panic!("it does not open: {error}"),
        };
        for run in store.unsettled_runs().await.expect("the runs are known") {
            let text = store.whole_text(run.org, run.execution).await;
            assert!(matches!(text, Ok(Some(_)) | Err(StoreError::Damaged(_))), "{text:?}");
        }
    });
}
