//! The house's order, held by tests: which room may use which (`arrows`), what lies where and how long it is (`tree`),
//! that documents speak of what is there (`documents`), and that the checks are complete or fail (`complete`).

mod arrows;
mod complete;
mod copies;
mod documents;
mod metrics;
mod tree;

use std::path::{Path, PathBuf};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below `folder`, relative to the repository, without what tools leave behind.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().is_some_and(|name| name == "node_modules" || name == "test-results") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Rust files below `folder`, with their text.
fn rust_files(folder: &str) -> Vec<(String, String)> {
    let files = files(folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let named = files.map(|path| path.to_str().unwrap().to_owned());
    named.map(|path| (path.clone(), read(&path))).collect()
}
