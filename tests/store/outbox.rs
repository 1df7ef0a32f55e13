//! Letters that wait to be sent.

use std::collections::BTreeSet;

use runstream::clock::UnixMs;
use runstream::domain::id::OrgId;
use runstream::domain::mail::{Letter, LetterEnd, LetterKind, LetterState, OutboxDepth, SealedContent};
use runstream::limits::{LETTER_END_KEPT, OUTBOX_LOOK_AFTER, OUTBOX_ORG_LETTERS_MAX};
use runstream::store::contract::Posting;

use super::sample::NOW_MS;
use super::{
    ColdHome, ColdStore, on_each_cold_store, on_each_cold_store_across_restarts, on_each_store, sample,
};

on_each_cold_store! {
    a_letter_is_taken_once_while_its_lease_lasts,
    a_letter_that_is_known_is_not_stored_again,
    an_organization_has_room_for_so_many,
    letters_are_taken_as_they_become_due,
    what_is_postponed_counts_a_failure_and_comes_back,
    who_took_a_letter_before_has_no_say_unless_it_was_sent,
    what_was_told_is_told_once,
    racing_takers_share_the_letters,
    the_depth_counts_all_and_names_the_oldest,
    letters_are_posted_when_nobody_had_any_for_long,
}
on_each_cold_store_across_restarts! { letters_survive_a_restart }
/// Only stores that forget on being told, not by themselves.
mod told_to_forget {
    use super::*;

    on_each_store! {
        a_purge_forgets_ends_and_marks,
    }
}

const LEASE_MS: i64 = 60_000;
const NEVER: UnixMs = NOW_MS + 1_000_000_000;

pub(crate) fn letter(org: OrgId, key: &str) -> Letter {
    Letter {
        org,
        key: key.into(),
        kind: LetterKind::Invitation,
        to: "ivo@pinewood.test".into(),
        content: SealedContent(key.as_bytes().to_vec()),
        created_ms: NOW_MS,
        expires_ms: NEVER,
    }
}

async fn post(store: &dyn ColdStore, letter: Letter) {
    assert_eq!(store.post_letter(letter).await, Ok(Posting::Stored));
}

/// The keys of the letters that are taken at this moment, in order.
async fn take(store: &dyn ColdStore, now_ms: UnixMs) -> Vec<String> {
    let taken = store.take_letters(now_ms, LEASE_MS, 100).await.unwrap();
    taken.into_iter().map(|taken| taken.letter.key).collect()
}

async fn a_letter_is_taken_once_while_its_lease_lasts(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    assert_eq!(store.take_letters(NOW_MS, LEASE_MS, 100).await, Ok(Vec::new()));
    post(store, letter(org, "one")).await;
    assert_eq!(store.letter_state(org, "one").await, Ok(Some(LetterState::Waiting { failures: 0 })));
    assert_eq!(store.letter_state(other, "one").await, Ok(None));
    assert_eq!(store.letter_state(org, "on").await, Ok(None));
    assert!(store.take_letters(NOW_MS - 1, LEASE_MS, 100).await.unwrap().is_empty());

    let taken = store.take_letters(NOW_MS, LEASE_MS, 100).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].letter, letter(org, "one"));
    assert_eq!((taken[0].taken, taken[0].failures, taken[0].due_ms), (1, 0, NOW_MS + LEASE_MS));
    assert!(take(store, NOW_MS + LEASE_MS - 1).await.is_empty());
    let again = store.take_letters(NOW_MS + LEASE_MS, LEASE_MS, 100).await.unwrap();
    assert_eq!(again.iter().map(|taken| taken.taken).collect::<Vec<_>>(), [2]);

    assert_eq!(store.end_letter(&again[0], LetterEnd::Sent, NOW_MS).await, Ok(true));
    assert_eq!(store.letter_state(org, "one").await, Ok(Some(LetterState::Ended(LetterEnd::Sent))));
    assert!(take(store, NEVER).await.is_empty());
    assert_eq!(store.end_letter(&again[0], LetterEnd::GivenUp, NOW_MS).await, Ok(false));
    assert_eq!(store.postpone_letter(&again[0], NOW_MS).await, Ok(false));
    assert_eq!(store.letter_state(org, "one").await, Ok(Some(LetterState::Ended(LetterEnd::Sent))));
}

async fn a_letter_that_is_known_is_not_stored_again(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    post(store, letter(org, "one")).await;
    let second = Letter { to: "rosa@pinewood.test".into(), ..letter(org, "one") };
    assert_eq!(store.post_letter(second.clone()).await, Ok(Posting::Known));
    post(store, letter(other, "one")).await;
    let taken = store.take_letters(NOW_MS, LEASE_MS, 100).await.unwrap();
    assert_eq!(taken.len(), 2);
    assert!(taken.iter().all(|taken| taken.letter.to == "ivo@pinewood.test"));
    for taken in &taken {
        assert_eq!(store.end_letter(taken, LetterEnd::GivenUp, NOW_MS).await, Ok(true));
    }
    assert_eq!(store.letter_state(org, "one").await, Ok(Some(LetterState::Ended(LetterEnd::GivenUp))));
    assert_eq!(store.post_letter(second).await, Ok(Posting::Known));
    assert!(take(store, NEVER).await.is_empty());
}

async fn an_organization_has_room_for_so_many(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    let key = |number: u64| format!("letter/{number}");
    // Many at a time, as a store whose every step is a round trip would take long.
    for some in (0..OUTBOX_ORG_LETTERS_MAX - 1).collect::<Vec<_>>().chunks(333) {
        let letters = some.iter().map(|number| letter(org, &key(*number))).collect();
        assert_eq!(store.tell_once(org, vec![key(some[0])], NEVER, letters).await, Ok(true));
    }
    let last =
        (OUTBOX_ORG_LETTERS_MAX - 1..OUTBOX_ORG_LETTERS_MAX + 2).map(|number| letter(org, &key(number)));
    // What has no room does not keep the change from happening.
    assert_eq!(store.tell_once(org, vec!["change".into()], NEVER, last.collect()).await, Ok(true));
    assert_eq!(store.tell_once(org, vec!["change".into()], NEVER, Vec::new()).await, Ok(false));
    let is_known = async |number: u64| store.letter_state(org, &key(number)).await.unwrap().is_some();
    assert!(is_known(OUTBOX_ORG_LETTERS_MAX - 1).await);
    assert!(!is_known(OUTBOX_ORG_LETTERS_MAX).await);
    assert_eq!(store.post_letter(letter(org, "more")).await, Ok(Posting::Full));
    post(store, letter(other, "more")).await;
    assert_eq!(store.outbox_depth().await.unwrap().letters, OUTBOX_ORG_LETTERS_MAX + 1);

    let taken = store.take_letters(NOW_MS, LEASE_MS, 10).await.unwrap();
    assert_eq!(taken.len(), 10);
    let of_org = taken.iter().find(|taken| taken.letter.org == org).unwrap();
    assert_eq!(store.end_letter(of_org, LetterEnd::Sent, NOW_MS).await, Ok(true));
    post(store, letter(org, "more")).await;
    assert_eq!(store.post_letter(letter(org, "even more")).await, Ok(Posting::Full));
}

async fn letters_are_taken_as_they_become_due(store: &dyn ColdStore) {
    let org = sample::org();
    for (key, created_ms) in [("c", NOW_MS), ("a", NOW_MS - 1), ("d", NOW_MS + 1), ("b", NOW_MS - 2)] {
        post(store, Letter { created_ms, ..letter(org, key) }).await;
    }
    let first = store.take_letters(NOW_MS, LEASE_MS, 2).await.unwrap();
    assert_eq!(first.iter().map(|taken| taken.letter.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(take(store, NOW_MS).await, ["c"]);
    assert_eq!(take(store, NOW_MS + 1).await, ["d"]);
}

async fn what_is_postponed_counts_a_failure_and_comes_back(store: &dyn ColdStore) {
    let org = sample::org();
    post(store, letter(org, "one")).await;
    let mut now_ms = NOW_MS;
    for failures in 1..4 {
        let taken = store.take_letters(now_ms, LEASE_MS, 100).await.unwrap();
        assert_eq!((taken.len(), taken[0].failures), (1, failures - 1));
        // Earlier or later than the lease ends.
        now_ms += if failures == 2 { LEASE_MS * 9 } else { 10 };
        assert_eq!(store.postpone_letter(&taken[0], now_ms).await, Ok(true));
        assert_eq!(store.letter_state(org, "one").await, Ok(Some(LetterState::Waiting { failures })));
        assert!(take(store, now_ms - 1).await.is_empty());
    }
    assert_eq!(take(store, now_ms).await, ["one"]);
}

async fn who_took_a_letter_before_has_no_say_unless_it_was_sent(store: &dyn ColdStore) {
    let org = sample::org();
    post(store, letter(org, "one")).await;
    let old = store.take_letters(NOW_MS, LEASE_MS, 100).await.unwrap().remove(0);
    let new = store.take_letters(NOW_MS + LEASE_MS, LEASE_MS, 100).await.unwrap().remove(0);
    assert_eq!(store.postpone_letter(&old, NOW_MS).await, Ok(false));
    assert_eq!(store.end_letter(&old, LetterEnd::GivenUp, NOW_MS).await, Ok(false));
    assert!(take(store, NOW_MS + LEASE_MS).await.is_empty());
    assert_eq!(store.end_letter(&old, LetterEnd::Sent, NOW_MS).await, Ok(true));
    assert_eq!(store.end_letter(&new, LetterEnd::GivenUp, NOW_MS).await, Ok(false));
    assert_eq!(store.letter_state(org, "one").await, Ok(Some(LetterState::Ended(LetterEnd::Sent))));
}

async fn what_was_told_is_told_once(store: &dyn ColdStore) {
    let (org, other) = (sample::org(), sample::org());
    let tell = async |org: OrgId, marks: &[&str], key: &str| {
        let marks = marks.iter().map(|mark| (*mark).to_owned()).collect();
        store.tell_once(org, marks, NEVER, vec![letter(org, key)]).await.unwrap()
    };
    assert!(tell(org, &["runs/80", "runs/50"], "80").await);
    assert!(!tell(org, &["runs/80", "runs/50"], "80 again").await);
    assert!(!tell(org, &["runs/50"], "50").await);
    assert!(tell(org, &["runs/90", "runs/80", "runs/50"], "90").await);
    assert!(tell(other, &["runs/80"], "80").await);
    let taken: BTreeSet<_> = take(store, NOW_MS).await.into_iter().collect();
    assert_eq!(taken, ["80", "90"].map(str::to_owned).into());
    for race in 0..super::races() {
        let mark = race.to_string();
        let marks = [mark.as_str()];
        let (one, two) = tokio::join!(tell(org, &marks, &mark), tell(org, &marks, &mark));
        assert!(one != two, "race {race}");
    }
}

async fn racing_takers_share_the_letters(store: &dyn ColdStore) {
    let org = sample::org();
    for race in 0..super::races() {
        let keys = BTreeSet::from([format!("{race}/1"), format!("{race}/2")]);
        let letters = keys.iter().map(|key| letter(org, key)).collect();
        assert_eq!(store.tell_once(org, vec![race.to_string()], NEVER, letters).await, Ok(true));
        let take = async || store.take_letters(NOW_MS, LEASE_MS, 100).await.unwrap();
        let (one, two) = tokio::join!(take(), take());
        let taken = [one, two].concat();
        assert_eq!(taken.len(), 2, "race {race}: {taken:?}");
        assert_eq!(taken.iter().map(|taken| taken.letter.key.clone()).collect::<BTreeSet<_>>(), keys);
        for taken in &taken {
            let end = async || store.end_letter(taken, LetterEnd::Sent, NOW_MS).await.unwrap();
            let (one, two) = tokio::join!(end(), end());
            assert!(one != two, "race {race}");
        }
    }
}

async fn the_depth_counts_all_and_names_the_oldest(store: &dyn ColdStore) {
    assert_eq!(store.outbox_depth().await, Ok(OutboxDepth { letters: 0, oldest_ms: None }));
    let (org, other) = (sample::org(), sample::org());
    post(store, Letter { created_ms: NOW_MS - 5, ..letter(org, "old") }).await;
    post(store, letter(other, "new")).await;
    let old = store.take_letters(NOW_MS - 5, LEASE_MS, 100).await.unwrap().remove(0);
    assert_eq!(store.outbox_depth().await, Ok(OutboxDepth { letters: 2, oldest_ms: Some(NOW_MS - 5) }));
    assert_eq!(store.postpone_letter(&old, NEVER).await, Ok(true));
    assert_eq!(store.outbox_depth().await, Ok(OutboxDepth { letters: 2, oldest_ms: Some(NOW_MS - 5) }));
    assert_eq!(store.end_letter(&old, LetterEnd::Sent, NOW_MS).await, Ok(true));
    assert_eq!(store.outbox_depth().await, Ok(OutboxDepth { letters: 1, oldest_ms: Some(NOW_MS) }));
}

async fn letters_are_posted_when_nobody_had_any_for_long(store: &dyn ColdStore) {
    let org = sample::org();
    let later_ms = NOW_MS + i64::try_from(OUTBOX_LOOK_AFTER.as_millis()).unwrap() + LEASE_MS;
    post(store, letter(org, "one")).await;
    let taken = store.take_letters(NOW_MS, LEASE_MS, 100).await.unwrap().remove(0);
    // What waits is found however long ago it was announced.
    assert_eq!(take(store, later_ms).await, ["one"]);
    assert_eq!(store.end_letter(&taken, LetterEnd::Sent, NOW_MS).await, Ok(true));
    assert!(take(store, later_ms).await.is_empty());
    assert!(take(store, later_ms).await.is_empty());
    let second = sample::org();
    post(store, letter(second, "two")).await;
    assert_eq!(take(store, later_ms).await, ["two"]);
}

async fn letters_survive_a_restart(home: &dyn ColdHome) {
    let org = sample::org();
    let store = home.open_cold().await;
    for key in ["posted", "taken", "ended"] {
        post(&*store, letter(org, key)).await;
    }
    let taken = store.take_letters(NOW_MS, LEASE_MS, 100).await.unwrap();
    let named = |key: &str| taken.iter().find(|taken| taken.letter.key == key).unwrap();
    assert_eq!(store.postpone_letter(named("posted"), NOW_MS).await, Ok(true));
    assert_eq!(store.end_letter(named("ended"), LetterEnd::Sent, NOW_MS).await, Ok(true));
    assert_eq!(store.tell_once(org, vec!["mark".into()], NEVER, Vec::new()).await, Ok(true));
    drop(store);
    let store = home.open_cold().await;
    assert_eq!(take(&*store, NOW_MS).await, ["posted"]);
    assert_eq!(store.letter_state(org, "ended").await, Ok(Some(LetterState::Ended(LetterEnd::Sent))));
    assert_eq!(store.tell_once(org, vec!["mark".into()], NEVER, Vec::new()).await, Ok(false));
    let after = take(&*store, NOW_MS + LEASE_MS).await;
    assert_eq!(after.into_iter().collect::<BTreeSet<_>>(), ["posted", "taken"].map(str::to_owned).into());
}

async fn a_purge_forgets_ends_and_marks(store: &dyn ColdStore) {
    let org = sample::org();
    let kept_ms = i64::try_from(LETTER_END_KEPT.as_millis()).unwrap();
    post(store, letter(org, "one")).await;
    let taken = store.take_letters(NOW_MS, LEASE_MS, 100).await.unwrap().remove(0);
    assert_eq!(store.end_letter(&taken, LetterEnd::Sent, NOW_MS).await, Ok(true));
    assert_eq!(store.tell_once(org, vec!["a".into(), "b".into()], NOW_MS + 5, Vec::new()).await, Ok(true));
    // Told again with another moment, the later counts alone.
    assert_eq!(store.tell_once(org, vec!["c".into(), "b".into()], NOW_MS + 9, Vec::new()).await, Ok(true));
    assert_eq!(store.purge_letters(NOW_MS + 5).await, Ok(0));
    assert_eq!(store.purge_letters(NOW_MS + 6).await, Ok(1));
    assert_eq!(store.tell_once(org, vec!["b".into()], NEVER, Vec::new()).await, Ok(false));
    assert_eq!(store.tell_once(org, vec!["a".into()], NEVER, Vec::new()).await, Ok(true));
    assert_eq!(store.purge_letters(NOW_MS + 10).await, Ok(2));
    assert_eq!(store.tell_once(org, vec!["b".into()], NEVER, Vec::new()).await, Ok(true));
    assert_eq!(store.purge_letters(NOW_MS + kept_ms).await, Ok(0));
    assert_eq!(store.post_letter(letter(org, "one")).await, Ok(Posting::Known));
    assert_eq!(store.purge_letters(NOW_MS + kept_ms + 1).await, Ok(1));
    assert_eq!(store.letter_state(org, "one").await, Ok(None));
    post(store, letter(org, "one")).await;

    let marks = |numbers: std::ops::Range<u32>| numbers.map(|number| format!("mark {number}")).collect();
    assert_eq!(store.tell_once(org, marks(0..1_001), NOW_MS, Vec::new()).await, Ok(true));
    assert_eq!(store.purge_letters(NOW_MS + 1).await, Ok(1_000));
    assert_eq!(store.purge_letters(NOW_MS + 1).await, Ok(1));
}
