//! The layers against each other, and the document against the keys.

use std::collections::HashSet;

use super::*;
use crate::access::ConfiguredSecrets;

fn with_file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, text).unwrap();
    (folder, Sources { file: Some(path), ..Sources::default() })
}

fn variable(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn flag(key: &str, value: &str) -> Flag {
    Flag { key: key.to_owned(), value: value.to_owned(), shown: format!("--set {key}") }
}

fn origin_of(configuration: &Configuration, key: &str) -> String {
    let lines = configuration.effective();
    lines.into_iter().find(|line| line.key == key).unwrap().origin.to_string()
}

#[test]
fn the_document_holds_every_key_once_with_a_comment_and_the_default_of_its_room() {
    let defaults = Settings::default();
    let configuration = Configuration::load(&Sources::default()).unwrap();
    for line in configuration.effective() {
        let key = keys().into_iter().find(|key| key.name == line.key).unwrap();
        assert_eq!(line.value, key.show(&defaults), "{} differs from the default in the code", line.key);
    }
    let mut documented = HashSet::new();
    let (mut section, mut commented) = (String::new(), false);
    for line in DEFAULTS.lines() {
        match line {
            comment if comment.starts_with('#') => commented = true,
            header if header.starts_with('[') => section = header.trim_matches(['[', ']']).to_owned(),
            "" => commented = false,
            value => {
                let name = value.split(" = ").next().unwrap();
                assert!(commented, "{name} has no comment of its own");
                assert!(documented.insert(format!("{section}.{name}")), "{name} stands twice");
                commented = false;
            }
        }
    }
    let known: HashSet<_> = keys().iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(documented, known);
}

#[test]
fn later_layers_win_and_every_value_knows_where_it_came_from() {
    let (_folder, mut sources) =
        with_file("[server]\nport = 1\nbase_path = \"/a\"\n\n[log]\nformat = \"json\"\n");
    sources.environment =
        vec![variable("RUNSTREAM_SERVER_PORT", "2"), variable("RUNSTREAM_DATA_FOLDER", "/d")];
    sources.flags = vec![flag("server.port", "3")];
    let configuration = Configuration::load(&sources).unwrap();
    assert_eq!(configuration.settings.server.port, 3);
    assert_eq!(configuration.settings.server.base_path, "/a");
    assert_eq!(origin_of(&configuration, "server.port"), "--set server.port");
    assert_eq!(origin_of(&configuration, "data.folder"), "RUNSTREAM_DATA_FOLDER");
    assert!(origin_of(&configuration, "server.base_path").ends_with("my.toml:3"));
    assert!(origin_of(&configuration, "log.format").ends_with("my.toml:6"));
    assert_eq!(origin_of(&configuration, "log.filter"), "default");
}

#[test]
fn every_problem_is_named_at_once_with_its_place() {
    let (_folder, mut sources) = with_file(
        "top = 1\n[server]\nprot = 80\naddress = \"localhost\"\nport = 70000\n[connections]\nhead_timeout_s = 1.5\n",
    );
    sources.environment = vec![
        variable("RUNSTREAM_SERVER_PORT", "many"),
        variable("RUNSTREAM_SEVER_PORT", "1"),
        variable("RUNSTREAM_ORGANIZATIONS_PLAN", "gold"),
        variable("RUNSTREAM_ACCESS_TOKEN_SECRET", "too short"),
        variable("RUNSTREAM_ACCESS_MONITOR_SECRET", "a monitor's of 31 is too short."),
    ];
    sources.flags =
        vec![flag("log.filter", "loud=loud"), flag("access.token_secret", "x"), flag("nothing.like_it", "1")];
    let problems = Configuration::load(&sources).unwrap_err();
    let told = problems.to_string();
    let expected = [
        "my.toml:1: top stands outside of a section",
        "my.toml:3: unknown key server.prot; did you mean server.port?",
        "my.toml:4: server.address: must be an IP address, not \"localhost\"",
        "my.toml:5: server.port: must be a whole number from 0 to 65535, not 70000",
        "my.toml:7: connections.head_timeout_s: must be a whole number from 1 to 600, not a fraction",
        "RUNSTREAM_SERVER_PORT: server.port: must be a whole number from 0 to 65535, not \"many\"",
        "RUNSTREAM_SEVER_PORT: unknown variable RUNSTREAM_SEVER_PORT; did you mean RUNSTREAM_SERVER_PORT?",
        "RUNSTREAM_ORGANIZATIONS_PLAN: organizations.plan: must be one of \"free\", \"starter\"",
        "RUNSTREAM_ACCESS_TOKEN_SECRET: access.token_secret: a secret must have at least 32 bytes",
        "RUNSTREAM_ACCESS_MONITOR_SECRET: access.monitor_secret: a secret must have at least 32 bytes",
        "--set log.filter: log.filter: must be",
        "--set access.token_secret: access.token_secret is a secret",
        "--set nothing.like_it: unknown key nothing.like_it",
    ];
    for text in expected {
        assert!(told.contains(text), "missing {text:?} in:\n{told}");
    }
    assert_eq!(problems.0.len(), expected.len(), "{told}");
    assert!(!told.contains("too short"), "a secret is not repeated");
}

#[test]
fn a_document_that_is_not_toml_is_named_by_line() {
    let (_folder, sources) = with_file("[server]\nport = 1\nbase_path = \n");
    let told = Configuration::load(&sources).unwrap_err().to_string();
    assert!(told.contains("my.toml:3: "), "{told}");
}

#[test]
fn a_file_that_was_named_must_exist() {
    let missing = Sources { file: Some("/nowhere/at/all.toml".into()), ..Sources::default() };
    let told = Configuration::load(&missing).unwrap_err().to_string();
    assert!(told.contains("--config: cannot read /nowhere/at/all.toml"), "{told}");
    let environment = vec![variable("RUNSTREAM_CONFIG", "/nowhere/at/all.toml")];
    let missing = Sources { environment, ..Sources::default() };
    let told = Configuration::load(&missing).unwrap_err().to_string();
    assert!(told.contains("RUNSTREAM_CONFIG: cannot read /nowhere/at/all.toml"), "{told}");
    let optional = Sources { optional_file: Some("/nowhere/at/all.toml".into()), ..Sources::default() };
    assert!(Configuration::load(&optional).is_ok());
}

#[test]
fn what_others_put_into_the_environment_is_left_alone() {
    let environment = vec![
        variable("RUNSTREAM_PORT", "tcp://10.0.0.7:3000"),
        variable("RUNSTREAM_PORT_3000_TCP_ADDR", "10.0.0.7"),
        variable("RUNSTREAM_SERVICE_HOST", "10.0.0.7"),
        variable("RUNSTREAM_SESSION_KEY", "nightly"),
    ];
    assert!(Configuration::load(&Sources { environment, ..Sources::default() }).is_ok());
}

#[test]
fn secrets_are_masked() {
    let secret = "correct-horse-battery-staple-0123456789";
    let environment = vec![variable("RUNSTREAM_ACCESS_TOKEN_SECRET", secret)];
    let configuration = Configuration::load(&Sources { environment, ..Sources::default() }).unwrap();
    let shown = format!("{configuration:?} {:?}", configuration.effective());
    assert!(!shown.contains(secret));
    let token = configuration.effective().into_iter().find(|line| line.key == "access.token_secret").unwrap();
    assert_eq!(token.value, "\"********\"");
}

#[test]
fn values_that_contradict_each_other_are_named() {
    let flags = vec![flag("connections.head_timeout_s", "100"), flag("connections.idle_timeout_s", "50")];
    let told = Configuration::load(&Sources { flags, ..Sources::default() }).unwrap_err().to_string();
    assert!(
        told.contains("--set connections.head_timeout_s: connections.head_timeout_s: must not be longer"),
        "{told}"
    );
}

#[test]
fn the_examples_of_a_cluster_are_settings_that_agree_with_each_other() {
    let example = include_str!("../../config/cluster.toml");
    let (_folder, sources) = with_file(example);
    let example = Configuration::load(&sources).unwrap().settings;

    let compose = include_str!("../../config/cluster.compose.yaml");
    let variables = compose.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(": ")?;
        name.starts_with("RUNSTREAM_").then(|| variable(name, value.trim_matches('"')))
    });
    // Secrets are handed on under the names they have here: a wrong one would be an unknown variable below.
    let variables: Vec<_> = variables.collect();
    assert_eq!(variables.len(), 8, "{variables:?}");
    let composed = Sources { environment: variables, ..Sources::default() };
    let composed = Configuration::load(&composed).unwrap().settings;
    assert_eq!((composed.store, &composed.scylla), (example.store, &example.scylla));
    assert_eq!(composed.keyspace.replication, example.keyspace.replication);
    // Whatever servers on a cluster have to share.
    let ConfiguredSecrets { token, key_hash, sealing } = composed.secrets;
    assert!(token.is_some() && key_hash.is_some() && sealing.len() == 1);
    for node in &composed.scylla.nodes {
        assert!(compose.contains(&format!("\n  {node}:\n    <<: *node\n")), "there is no service {node}");
    }
    assert_eq!(compose.matches("<<: *node").count(), composed.keyspace.replication[0].replicas);
    assert_eq!(composed.keyspace.replication[0].replicas, 3);
    assert_eq!(compose.matches("healthcheck:").count(), 2, "one for the nodes, one for the server");
    for (name, _) in compose.match_indices("image: ").filter_map(|(at, _)| compose[at + 7..].split_once('\n'))
    {
        let tag = name.split_once(':').map_or("", |(_, tag)| tag);
        assert!(
            tag.split('.').count() == 3 && tag.starts_with(|first: char| first.is_ascii_digit()),
            "{name}"
        );
    }
}
