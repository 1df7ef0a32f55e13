//! The Dockerfile and the README against the tree: paths, commands and the port they name are there.

use std::collections::BTreeSet;

use clap::CommandFactory;
use runstream::cli::Cli;
use runstream::config::Settings;

use super::{read, root};

/// Lines of the Dockerfile that begin with this instruction, without it, continued lines joined.
fn instructions(name: &str) -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The words of an instruction in JSON form.
fn words(instruction: &str) -> Vec<String> {
    serde_json::from_str(instruction).unwrap_or_else(|_| panic!("not in JSON form: {instruction}"))
}

fn assert_subcommand(name: &str, place: &str) {
    assert!(Cli::command().find_subcommand(name).is_some(), "{place} runs `runstream {name}`, which is none");
}

#[test]
fn the_dockerfile_fits_the_tree() {
    let binary = env!("CARGO_PKG_NAME");
    let run = instructions("RUN").join("\n");
    assert!(run.contains(&format!("cargo build --release --locked --bin {binary}")), "{run}");
    let copies = instructions("COPY");
    let taken = format!("--from=build /src/target/release/{binary} /usr/local/bin/{binary}");
    assert!(copies.contains(&taken), "{copies:?}");
    for copy in copies.iter().filter(|copy| !copy.starts_with("--from")) {
        let mut paths: Vec<_> = copy.split(' ').collect();
        paths.pop();
        for path in paths {
            assert!(root().join(path).exists(), "COPY {path}: no such path");
        }
    }
    assert_eq!(instructions("ENTRYPOINT").iter().map(|line| words(line)).collect::<Vec<_>>(), [[binary]]);
    let command = instructions("CMD").iter().flat_map(|line| words(line)).collect::<Vec<_>>();
    assert_subcommand(&command[0], "CMD");
    let health = instructions("HEALTHCHECK").join(" ");
    let probe = words(&health[health.find('[').unwrap()..]);
    assert_eq!(probe[0], binary);
    assert_subcommand(&probe[1], "HEALTHCHECK");
    assert_eq!(instructions("EXPOSE"), [Settings::default().server.port.to_string()]);
    assert_eq!(instructions("STOPSIGNAL"), ["SIGTERM"]);
    let user = instructions("USER");
    assert!(user.len() == 1 && user[0] != "root" && user[0] != "0", "{user:?}");
    assert!(read("Cargo.toml").contains(&format!("rust-version = \"{}\"", rust_of_the_image())));
    let known: BTreeSet<_> = runstream::config::keys().iter().map(runstream::config::Key::variable).collect();
    for setting in instructions("ENV").join(" ").split(' ').filter_map(|pair| pair.split('=').next()) {
        assert!(known.contains(setting), "ENV {setting} is no setting");
    }
    let kept = instructions("VOLUME").iter().flat_map(|line| words(line)).collect::<Vec<_>>();
    assert!(instructions("ENV").join(" ").contains(&format!("RUNSTREAM_DATA_FOLDER={}", kept[0])));
}

/// `1.95` of `FROM rust:1.95-slim-…`.
fn rust_of_the_image() -> String {
    let from = instructions("FROM");
    let tag = from[0].strip_prefix("rust:").expect("the first stage builds with a rust image");
    tag.split('-').next().unwrap().to_owned()
}

#[test]
fn what_the_docker_context_leaves_out_is_not_needed() {
    let ignored = read(".dockerignore");
    for needed in ["src", "config", "schema", "Cargo.toml", "Cargo.lock"] {
        assert!(!ignored.lines().any(|line| line.trim_matches('/') == needed), "{needed} is left out");
    }
    for left_out in ["target", "tests/clients/node_modules"] {
        assert!(ignored.lines().any(|line| line.trim_matches('/') == left_out), "{left_out} is not left out");
    }
}

#[test]
fn the_readme_names_commands_settings_and_files_that_exist() {
    let readme = read("README.md");
    let first = readme.find("cargo run --release -- demo --once").expect("the README opens with the demo");
    let second = readme.find("tests/run").expect("the README names the test command");
    assert!(first < second && readme[..second].lines().count() < 15, "the two commands open the README");
    for (at, name) in readme.match_indices("runstream ") {
        // Commands stand at the start of a line, after `$ ` or a backquote, or after an assignment.
        let before = &readme[..at];
        let begins = before.ends_with(['\n', '`']) || before.ends_with("$ ") || before.ends_with("    ");
        let word: String = readme[at + name.len()..].chars().take_while(char::is_ascii_lowercase).collect();
        if begins && !word.is_empty() && readme[at + name.len() + word.len()..].starts_with([' ', '\n', '`'])
        {
            assert_subcommand(&word, "the README");
        }
    }
    let known: BTreeSet<_> = runstream::config::keys().iter().map(runstream::config::Key::variable).collect();
    for (at, prefix) in readme.match_indices("RUNSTREAM_") {
        let rest = &readme[at + prefix.len()..];
        let rest: String =
            rest.chars().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').collect();
        let name = format!("RUNSTREAM_{rest}");
        let of_commands = ["", "CONFIG", "API_KEY", "EMAIL", "PASSWORD", "TOKEN", "URL"]
            .map(|name| format!("RUNSTREAM_{name}"));
        assert!(known.contains(&name) || of_commands.contains(&name), "{name} is no setting");
    }
    for folder in ["`tests/", "`src/", "`config/"] {
        for (at, _) in readme.match_indices(folder) {
            let path: String =
                readme[at + 1..].chars().take_while(|letter| !"` ".contains(*letter)).collect();
            let (file, test) = path.split_once("::").unwrap_or((&path, ""));
            assert!(root().join(file).exists(), "the README names {file}, which is not there");
            let there = test.is_empty() || read(file).contains(&format!("fn {test}("));
            assert!(there, "the README names the test {test}, which is not in {file}");
        }
    }
}

#[test]
fn the_command_lines_of_the_readme_are_understood() {
    let readme = read("README.md");
    let lines: Vec<_> = readme.lines().filter(|line| line.starts_with("runstream ")).collect();
    assert!(lines.len() > 9, "{lines:?}");
    for line in lines {
        // Up to a comment, a redirection, a pipe or the `&` of something in the background.
        let words = line.split_whitespace().take_while(|word| !["#", ">", "<", "|", "&"].contains(word));
        let parsed = Cli::command().try_get_matches_from(words);
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
}
