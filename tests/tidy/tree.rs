//! What lies at the top level, how long files are, and what no file may hold.

use super::{files, read, root, rust_files};

/// Everything at the top level but dot-files and what `.gitignore` names.
const TOP_LEVEL: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "benches",
    "config",
    "schema",
    "src",
    "tests",
    "target",
];
/// Past it a file holds a second room.
const LINES_MAX: usize = 650;
/// The other product's name stands in client-visible identifiers and in the compatibility section only.
const OTHER_PRODUCT: &str = "agnox";
const CLIENT_VISIBLE: [&str; 5] = [
    "agnox:runtimecontext",
    "agnox-hosted",
    "x-agnox-signature",
    "x-agnox-monitor-secret",
    "api-compatible with agnox",
];

#[test]
fn the_top_level_is_exactly_the_map() {
    let ignored = read(".gitignore");
    let ignored: Vec<_> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let mut unexpected = Vec::new();
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()) && !ignored.contains(&name.as_str())
        {
            unexpected.push(name);
        }
    }
    assert!(unexpected.is_empty(), "not part of the top level: {unexpected:?}");
    for name in TOP_LEVEL.iter().filter(|name| **name != "target") {
        assert!(root().join(name).exists(), "{name} is missing at the top level");
    }
}

#[test]
fn no_file_is_too_long() {
    for (file, text) in rust_files("src").into_iter().chain(rust_files("tests")).chain(rust_files("benches"))
    {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{file} has {lines} lines: look for the second room inside");
    }
}

#[test]
fn every_room_says_what_it_is() {
    for (file, text) in rust_files("src") {
        assert!(text.starts_with("//! "), "{file} has no header");
    }
}

#[test]
fn nothing_unfinished_and_no_machines_path_is_left() {
    // Written in halves, so that this file does not find itself.
    let banned = [
        ["todo", "!("].concat(),
        ["unimple", "mented!("].concat(),
        ["FIX", "ME"].concat(),
        ["dbg", "!("].concat(),
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
    ];
    let folders = ["src", "tests", "benches", "config", "schema"];
    let mut texts: Vec<_> = folders.iter().flat_map(|folder| files(folder)).collect();
    texts.extend(["Cargo.toml", "Dockerfile", "README.md"].map(Into::into));
    for path in texts {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for word in &banned {
            assert!(!text.contains(word.as_str()), "{} holds {word:?}", path.display());
        }
    }
}

#[test]
fn the_other_products_name_stands_where_clients_need_it_only() {
    for (file, text) in rust_files("src").into_iter().chain(rust_files("benches")) {
        let mut text = text.to_lowercase();
        for allowed in CLIENT_VISIBLE {
            text = text.replace(allowed, "");
        }
        assert!(!text.contains(OTHER_PRODUCT), "{file} names the other product beyond what clients see");
    }
}
