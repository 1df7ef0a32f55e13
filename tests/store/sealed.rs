//! Sealed values, and sealing all of them anew.

use std::collections::BTreeSet;

use runstream::domain::id::{OrgId, UserId, VariableId};
use runstream::domain::mail::{Letter, LetterEnd, letter_place};
use runstream::domain::organization::{Author, Patch, SettingsPatch, place};
use runstream::domain::seal::{OpenError, Sealed, Sealer, SealingKey};
use runstream::domain::variable::Variable;
use runstream::outbound::mail::{self, Content};
use runstream::store::contract::Posting;
use runstream::store::reseal::reseal_all;

use super::sample::{NOW_MS, audit};
use super::{ColdStore, on_each_cold_store, outbox, sample};

on_each_cold_store! {
    values_are_told_by_name_a_page_at_a_time,
    only_what_was_read_is_replaced,
    the_settings_of_an_organization_are_among_them,
    everything_is_sealed_anew_and_a_second_time_changes_nothing,
    what_cannot_be_opened_is_told_and_its_key_counts_as_used,
    what_letters_say_is_sealed_anew_while_they_wait,
}

fn key(letter: u8) -> SealingKey {
    SealingKey::from_secret(&[letter; 32])
}

fn sealer(current: u8, older: &[u8]) -> Sealer {
    Sealer::new(key(current), older.iter().map(|letter| key(*letter)).collect())
}

/// An organization with a project of so many secret variables, each sealed with `sealer` and holding its own name.
pub(crate) async fn secrets(store: &dyn ColdStore, sealer: &Sealer, count: usize) -> (OrgId, Vec<Variable>) {
    let (org, _) = sample::member(store, &format!("m{:x}", rand::random::<u64>())).await;
    let project = sample::new_project(store, org.id).await.id;
    let mut variables = Vec::new();
    for number in 0..count {
        let variable = Variable {
            id: VariableId::generate(NOW_MS),
            org: org.id,
            project,
            key: format!("SECRET_{number}"),
            value: None,
            created_ms: NOW_MS,
            updated_ms: NOW_MS,
        };
        let sealed = sealer.seal(org.id, &variable.secret_name(), &variable.key.as_str().into());
        let made = audit(org.id, "envvar.created");
        assert_eq!(store.create_variable(variable.clone(), Some(sealed), 50, made).await, Ok(true));
        variables.push(variable);
    }
    (org.id, variables)
}

async fn read(store: &dyn ColdStore, variable: &Variable) -> Sealed {
    store.sealed(variable.org, &variable.secret_name()).await.unwrap().unwrap()
}

async fn values_are_told_by_name_a_page_at_a_time(store: &dyn ColdStore) {
    let sealer = sealer(1, &[]);
    let (org, variables) = secrets(store, &sealer, 7).await;
    secrets(store, &sealer, 2).await;
    let mut names: Vec<_> = variables.iter().map(Variable::secret_name).collect();
    names.sort();
    let mut told: Vec<String> = Vec::new();
    loop {
        let after = told.last().cloned().unwrap_or_default();
        let page = store.sealed_values(org, &after, 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        for (name, sealed) in page {
            assert_eq!(store.sealed(org, &name).await, Ok(Some(sealed)));
            told.push(name);
        }
    }
    assert_eq!(told, names);
    // What is removed between two pages does not hide what follows it.
    let gone = variables.iter().find(|variable| variable.secret_name() == names[2]).unwrap();
    store.delete_variable(gone, audit(org, "envvar.deleted")).await.unwrap();
    let page = store.sealed_values(org, &names[2], 3).await.unwrap();
    assert_eq!(page.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), names[3..6]);
}

async fn only_what_was_read_is_replaced(store: &dyn ColdStore) {
    let sealer = sealer(1, &[]);
    let (org, variables) = secrets(store, &sealer, 1).await;
    let (name, old) = (variables[0].secret_name(), read(store, &variables[0]).await);
    let new = sealer.seal(org, &name, &"new".into());
    assert_eq!(store.replace_sealed(org, &name, &new, old.clone()).await, Ok(false));
    assert_eq!(store.replace_sealed(org, "variable/none", &old, new.clone()).await, Ok(false));
    assert_eq!(store.replace_sealed(sample::org(), &name, &old, new.clone()).await, Ok(false));
    assert_eq!(read(store, &variables[0]).await, old);
    assert_eq!(store.replace_sealed(org, &name, &old, new.clone()).await, Ok(true));
    assert_eq!(read(store, &variables[0]).await, new);
}

async fn the_settings_of_an_organization_are_among_them(store: &dyn ColdStore) {
    let before = sealer(1, &[]);
    let (org, variables) = secrets(store, &before, 1).await;
    let patch = SettingsPatch {
        slack_url: Patch::Set(before.seal(org, place::SLACK_URL, &"slack".into())),
        ms_teams_url: Patch::Set(before.seal(org, place::MS_TEAMS_URL, &"teams".into())),
        outbound_url: Patch::Set(before.seal(org, place::OUTBOUND_URL, &"outbound".into())),
        outbound_secret: Patch::Set(before.seal(org, place::OUTBOUND_SECRET, &"signs".into())),
        webhook_secret: Patch::Set(before.seal(org, place::WEBHOOK_SECRET, &"routes".into())),
        ..SettingsPatch::default()
    };
    let author = Author { user: UserId::generate(NOW_MS), ip: [203, 0, 113, 9].into(), now_ms: NOW_MS };
    store.change_organization(org, patch.into(), author).await.unwrap().unwrap();
    let texts = [
        (place::MS_TEAMS_URL.to_owned(), "teams"),
        (place::OUTBOUND_SECRET.to_owned(), "signs"),
        (place::OUTBOUND_URL.to_owned(), "outbound"),
        (place::SLACK_URL.to_owned(), "slack"),
        (variables[0].secret_name(), variables[0].key.as_str()),
        (place::WEBHOOK_SECRET.to_owned(), "routes"),
    ];
    let (mut told, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.sealed_values(org, &after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        assert!(page.len() <= 2);
        told.extend(page.into_iter().map(|(name, _)| name));
    }
    assert_eq!(told, texts.clone().map(|(name, _)| name));
    let old = store.sealed(org, place::SLACK_URL).await.unwrap().unwrap();
    let done = reseal_all(store, &sealer(2, &[1])).await.unwrap();
    assert_eq!((done.total(), done.values), (6, 6));
    let alone = sealer(2, &[]);
    for (name, text) in texts {
        let sealed = store.sealed(org, &name).await.unwrap().unwrap();
        assert!(alone.open(org, &name, &sealed).unwrap().matches(text), "{name}");
    }
    assert_eq!(store.replace_sealed(org, place::SLACK_URL, &old, old.clone()).await, Ok(false));
    let state = store.organization_state(org).await.unwrap().unwrap();
    assert_eq!(state.settings.slack.url.map(|sealed| sealed.key()), Some(key(2).id()));
}

async fn everything_is_sealed_anew_and_a_second_time_changes_nothing(store: &dyn ColdStore) {
    let (_, mut variables) = secrets(store, &sealer(1, &[]), 4).await;
    variables.extend(secrets(store, &sealer(2, &[]), 3).await.1);
    variables.extend(secrets(store, &sealer(3, &[]), 2).await.1);
    let mut old = Vec::new();
    for variable in &variables[..7] {
        old.push(read(store, variable).await);
    }
    let sealer = sealer(3, &[2, 1]);
    let done = reseal_all(store, &sealer).await.unwrap();
    assert_eq!((done.total(), done.values, done.by_kind["variable"]), (7, 9, 7));
    assert_eq!(done.keys_in_use, BTreeSet::from([key(3).id()]));
    let alone = Sealer::new(key(3), Vec::new());
    for variable in &variables {
        let sealed = read(store, variable).await;
        assert!(alone.open(variable.org, &variable.secret_name(), &sealed).unwrap().matches(&variable.key));
        assert!(!old.contains(&sealed), "the old value is gone");
    }
    let again = reseal_all(store, &sealer).await.unwrap();
    assert_eq!((again.total(), again.values), (0, 9));
}

async fn what_cannot_be_opened_is_told_and_its_key_counts_as_used(store: &dyn ColdStore) {
    let (_, lost) = secrets(store, &sealer(1, &[]), 1).await;
    let (org, swapped) = secrets(store, &sealer(2, &[]), 2).await;
    // Somebody with a hand in the store puts one's value into the other's place.
    let [first, second] = [read(store, &swapped[0]).await, read(store, &swapped[1]).await];
    assert!(store.replace_sealed(org, &swapped[1].secret_name(), &second, first.clone()).await.unwrap());
    let done = reseal_all(store, &sealer(3, &[2])).await.unwrap();
    let mut why = done.unreadable.clone();
    why.sort_by_key(|(org, ..)| *org != lost[0].org);
    assert_eq!(why[0], (lost[0].org, lost[0].secret_name(), OpenError::UnknownKey(key(1).id())));
    assert_eq!(why[1], (org, swapped[1].secret_name(), OpenError::Refused));
    assert_eq!((why.len(), done.total()), (2, 1));
    assert_eq!(done.keys_in_use, BTreeSet::from([key(1).id(), key(2).id(), key(3).id()]));
    assert_eq!(read(store, &swapped[1]).await, first, "left as it is");
}

async fn what_letters_say_is_sealed_anew_while_they_wait(store: &dyn ColdStore) {
    let before = sealer(1, &[]);
    let (org, variables) = secrets(store, &before, 1).await;
    let content = |text: &str| Content::Welcome { name: text.into(), organization: "Pinewood".into() };
    let mut keys = Vec::new();
    for number in 0..5 {
        let key = format!("welcome/{number}");
        let content = mail::seal(&before, org, &key, &content(&key)).unwrap();
        let letter = Letter { content, ..outbox::letter(org, &key) };
        assert_eq!(store.post_letter(letter).await, Ok(Posting::Stored));
        keys.push(key);
    }
    // One that is no sealed value is left as it is.
    assert_eq!(store.post_letter(outbox::letter(org, "z/plain")).await, Ok(Posting::Stored));
    // Two are being sent, and one of these has been.
    let taken = store.take_letters(NOW_MS, 60_000, 2).await.unwrap();
    assert_eq!(store.end_letter(&taken[0], LetterEnd::Sent, NOW_MS).await, Ok(true));
    let mut names: Vec<_> =
        keys.iter().filter(|key| **key != taken[0].letter.key).map(|key| letter_place(key)).collect();
    names.push(variables[0].secret_name());
    let (mut told, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.sealed_values(org, &after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after.clone_from(last);
        assert!(page.len() <= 2);
        told.extend(page.into_iter().map(|(name, _)| name));
    }
    assert_eq!(told, names);
    let old = store.sealed(org, &names[0]).await.unwrap().unwrap();

    let done = reseal_all(store, &sealer(2, &[1])).await.unwrap();
    assert_eq!((done.total(), done.by_kind["letter"], done.values), (5, 4, 5));
    assert_eq!(done.keys_in_use, BTreeSet::from([key(2).id()]));
    assert_eq!(store.replace_sealed(org, &names[0], &old, old.clone()).await, Ok(false), "it is another one");
    // Who has taken one has a say in it as before, and the next one reads it with the new key alone.
    assert_eq!(store.postpone_letter(&taken[1], NOW_MS).await, Ok(true));
    let alone = sealer(2, &[]);
    let mut read = BTreeSet::new();
    for waiting in store.take_letters(NOW_MS, 60_000, 9).await.unwrap() {
        if waiting.letter.key != "z/plain" {
            assert_eq!(mail::open(&alone, &waiting.letter).unwrap(), content(&waiting.letter.key));
            read.insert(waiting.letter.key);
        }
    }
    assert_eq!(read.len(), 4, "{read:?}");
}

/// Whether any file below `folder` holds these bytes.
pub(crate) fn is_on_disk(folder: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return is_on_disk(&path, bytes);
        }
        memchr::memmem::find(&std::fs::read(&path).unwrap(), bytes).is_some()
    })
}
