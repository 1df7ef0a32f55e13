//! Who may acknowledge for a run, checked by going through every schedule of a small world: three nodes, two runs, writes
//! that are late, half done or lost in answer, pauses anywhere, clocks of different rates. The rules:
//!
//! 1. A batch is acknowledged when its segment and every earlier one of its epoch are durable and, looked at after that,
//!    the node's last heartbeat that succeeded began less than `S` ago.
//! 2. A node whose lease is over drops its runs and comes back only under another name.
//! 3. Whoever has seen the same heartbeat for `T` by its own clock fences the node, if the heartbeat still is that.
//! 4. A successor first says in the claim that it seals the epoch before, conditionally; then it reads that epoch up to
//!    the first gap and writes again what perhaps only one replica has; then it writes down the end, conditionally.
//! 5. A reader reads sealed epochs up to their ends and the open one up to the first gap, and waits while one is sealed.
//! 6. A write whose outcome is unknown is made again under the same key.
//!
//! Without the first step of rule 4, a reader may see a late segment between the successor's look and its seal, and miss
//! it afterwards; the checker finds that too.

mod rules;
mod world;

use rules::{Rules, Without};
use stateright::{Checker, HasDiscoveries, Model};

/// One run with two batches that may be under way together.
const ONE_RUN: [u8; world::RUNS] = [2, 0];
/// A run beside it.
const TWO_RUNS: [u8; world::RUNS] = [2, 1];
/// Schedules of two runs are looked at up to this many steps, unless there is time for all.
const STEPS_MAX: usize = 13;

/// Goes through the schedules until `until` is broken, or anything if that is not said.
fn check(rules: Rules, until: Option<&'static str>, steps_max: Option<usize>) -> (usize, Vec<&'static str>) {
    let until = until.map_or(HasDiscoveries::AnyFailures, |broken| HasDiscoveries::AnyOf([broken].into()));
    let checker = rules.checker().threads(2).finish_when(until);
    let checker = steps_max.into_iter().fold(checker, |checker, max| checker.target_max_depth(max));
    let checker = checker.spawn_bfs().join();
    let broken = checker.discoveries().into_keys().filter(|name| *name != world::GOES_ON).collect();
    if steps_max.is_none() && rules.without == Without::Nothing {
        checker.assert_any_discovery(world::GOES_ON);
    }
    (checker.unique_state_count(), broken)
}

#[test]
fn under_the_rules_nothing_acknowledged_is_lost_doubled_or_moved() {
    let rules = Rules { without: Without::Nothing, batches: ONE_RUN };
    let (states, broken) = check(rules, None, None);
    assert_eq!(broken, [""; 0], "{states} states");
    assert!(states > 50_000, "the world has shrunk to {states} states");
}

#[test]
fn two_runs_of_one_owner_do_not_harm_each_other() {
    let steps_max = (!crate::support::long_mode()).then_some(STEPS_MAX);
    let rules = Rules { without: Without::Nothing, batches: TWO_RUNS };
    let (states, broken) = check(rules, None, steps_max);
    assert_eq!(broken, [""; 0], "{states} states");
    assert!(states > 20_000, "the world has shrunk to {states} states");
}

/// Makes a test of each rule that is left out, and of what breaks then.
macro_rules! without {
    ($($name:ident: $rule:ident breaks $broken:literal;)*) => {$(
        #[test]
        fn $name() {
            let (states, broken) = check(Rules { without: Without::$rule, batches: ONE_RUN }, Some($broken), None);
            assert!(broken.contains(&$broken), "{broken:?} in {states} states");
        }
    )*};
}

without! {
    without_a_fresh_lease_an_acknowledgement_is_lost: FreshLease breaks "what is acknowledged is read";
    without_the_segments_before_an_acknowledgement_is_lost: EarlierSegments breaks "what is acknowledged is read";
    a_node_that_goes_on_after_its_lease_loses: Lapse breaks "what is acknowledged is read";
    an_owner_declared_dead_at_once_loses: Waiting breaks "what is acknowledged is read";
    a_fence_that_does_not_look_at_the_heartbeat_loses: SameHeartbeat breaks "what is acknowledged is read";
    a_tail_that_is_not_written_again_is_lost: WritingAgain breaks "what is acknowledged is read";
    two_successors_without_a_condition_take_text_away: Condition breaks "a text only grows";
    an_epoch_sealed_without_saying_so_takes_text_away: SealingMark breaks "a text only grows";
    what_lands_late_under_a_seal_is_there_twice: Seals breaks "no batch is there twice";
    a_new_key_for_an_unknown_write_doubles: SameKey breaks "no batch is there twice";
    clocks_further_apart_than_t_to_s_lose: LikeClocks breaks "what is acknowledged is read";
}
