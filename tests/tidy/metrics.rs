//! The list of metrics against what is recorded: nothing is recorded outside of it, and nothing in it is a promise only.

use super::{read, rust_files};

#[test]
fn every_metric_of_the_list_is_recorded_somewhere() {
    let list = read("src/telemetry.rs");
    let constants =
        list.lines().filter_map(|line| line.trim().strip_prefix("pub const ")?.split_once(": &str = "));
    let others = rust_files("src").into_iter().filter(|(file, _)| file != "src/telemetry.rs");
    let others: String = others.map(|(_, text)| text).collect();
    let (_, own_code) = list.split_once("fn record_process").unwrap();
    for (constant, _) in constants.filter(|(_, value)| value.contains('_')) {
        let used = others.contains(constant) || own_code.contains(constant);
        assert!(used, "{constant} is in the list of metrics, and nothing records it");
    }
}

#[test]
fn nothing_is_recorded_under_a_name_that_is_not_in_the_list() {
    for (file, text) in rust_files("src").into_iter().filter(|(file, _)| file != "src/telemetry.rs") {
        for kind in ["counter!(", "gauge!(", "histogram!("] {
            for (at, _) in text.match_indices(kind) {
                let argument = text[at + kind.len()..].trim_start();
                assert!(
                    !argument.starts_with('"'),
                    "{file} records under a literal: use a constant of telemetry::name"
                );
            }
        }
    }
}
