//! `kill -9` at random moments while administrators change what their organization has: invitations, roles, suspensions,
//! keys, projects, variables and settings. What was acknowledged is there, what is there has its one entry in the audit
//! log, and every entry what it tells of.

mod office;
mod writer;

use std::collections::HashMap;
use std::time::Duration;

use office::{Entry, Office};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use writer::{Change, Thing, Things, Writer};

use super::process::Deployment;
use crate::support::beneath::Beneath;

/// Kills in the suite, and with `RUNSTREAM_TEST_LONG=1`.
const KILLS: usize = 4;
const KILLS_LONG: usize = 200;
/// Who change things at the same time.
const WRITERS: usize = 4;
/// More new things than a writer makes between two kills.
const NUMBERS: usize = 10_000;

/// Nobody asks too often; passwords are none of this test's business.
const CONFIGURATION: &str = "[access]\npassword_memory_mib = 8\n[rates]\nauth_per_minute = 1000000\n\
                             strict_per_minute = 1000000\nfailed_credentials_per_minute = 1000000\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_of_accounts_stay_each_with_its_entry_when_the_server_is_killed() {
    let kills = if crate::support::long_mode() { KILLS_LONG } else { KILLS };
    let seed: u64 = rand::random();
    println!("seed {seed}, {kills} kills");
    let mut dice = StdRng::seed_from_u64(seed);
    let mut deployment = Deployment::configured(CONFIGURATION).await;
    let mut office = Office::open(&deployment, WRITERS).await;
    let mut things = office.things().await;
    let mut totals = Totals::default();
    for kill in 0..kills {
        let writing = (0..WRITERS).map(|writer| {
            let numbers_from = kill * NUMBERS;
            tokio::spawn(Writer::new(office.client(), writer, &things, numbers_from, dice.random()).run())
        });
        let writing: Vec<_> = writing.collect();
        tokio::time::sleep(Duration::from_millis(dice.random_range(20..500))).await;
        deployment.kill().await;
        let mut ledger = Vec::new();
        for writer in writing {
            ledger.extend(writer.await.unwrap());
        }
        deployment.restart().await;
        deployment.until_healthy().await;
        let entries = office.new_entries().await;
        let found = office.things().await;
        things = held_against(things, &ledger, entries, &found, &mut totals);
        let (missing, others) = (beyond(&things, &found), beyond(&found, &things));
        assert!(
            missing.is_empty() && others.is_empty(),
            "kill {kill}: should be {missing:?} and is {others:?}"
        );
        office.check_keys(&ledger, &things).await;
    }
    println!("{totals:?}");
    assert!(totals.acknowledged > kills * WRITERS, "too little happened to mean anything: {totals:?}");
    let folder = deployment.terminate().await;
    office.check_store(&*Beneath::Lsm.open(folder.path()).await, &things).await;
}

/// What is in `these` and not, or otherwise, in `those`.
fn beyond<'t>(these: &'t Things, those: &Things) -> Vec<(&'t String, &'t Thing)> {
    these.iter().filter(|(name, thing)| those.get(*name) != Some(*thing)).collect()
}

/// What was compared.
#[derive(Debug, Default)]
struct Totals {
    acknowledged: usize,
    unknown: usize,
    unknown_but_stored: usize,
    by_action: HashMap<&'static str, usize>,
}

/// What `ledger` makes of `things`: every change that was acknowledged, and of those that were not the ones with an entry.
/// Each takes its entry from `entries`; the ids of new things that nobody was told are those in `found`.
fn held_against(
    mut things: Things,
    ledger: &[Change],
    mut entries: Vec<Entry>,
    found: &Things,
    totals: &mut Totals,
) -> Things {
    // Of two changes that leave the same entry the one that was acknowledged has it.
    let (acknowledged, unknown): (Vec<_>, Vec<_>) = ledger.iter().partition(|change| change.is_acknowledged);
    totals.acknowledged += acknowledged.len();
    totals.unknown += unknown.len();
    for change in acknowledged.into_iter().chain(unknown) {
        let entry = entries.iter().position(|entry| entry.tells_of(change));
        assert!(entry.is_some() || !change.is_acknowledged, "no entry: {change:?}");
        let Some(entry) = entry else { continue };
        entries.swap_remove(entry);
        totals.unknown_but_stored += usize::from(!change.is_acknowledged);
        *totals.by_action.entry(change.action).or_default() += 1;
        match &change.value {
            None => drop(things.remove(&change.thing)),
            Some(value) => {
                let of_found = || found.get(&change.thing).map(|thing| thing.id.clone());
                let id = change.id.clone().or_else(of_found);
                let id = id.unwrap_or_else(|| panic!("an entry, and nothing that it tells of: {change:?}"));
                things.insert(change.thing.clone(), Thing { value: value.clone(), id });
            }
        }
    }
    assert!(entries.is_empty(), "entries of nothing that was asked for: {entries:?}");
    things
}
