//! What several test modules use.

pub(crate) mod account;
pub(crate) mod alike;
pub(crate) mod alone;
pub(crate) mod beneath;
pub(crate) mod cql;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod held;
pub(crate) mod line;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod reports;
pub(crate) mod runs;
pub(crate) mod shell;
pub(crate) mod site;
pub(crate) mod stage;
pub(crate) mod viewers;

/// Whether the longer modes were asked for.
#[expect(clippy::disallowed_methods, reason = "a switch of the test run, not of the program")]
pub(crate) fn long_mode() -> bool {
    std::env::var("RUNSTREAM_TEST_LONG").is_ok_and(|value| value == "1")
}
