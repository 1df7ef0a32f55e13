//! Content of every kind for the copies, and what a store answers about it.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use runstream::clock::UnixMs;
use runstream::domain::account::{Organization, User};
use runstream::domain::batch::TestStatus;
use runstream::domain::execution::Status;
use runstream::domain::id::{ExecutionId, OrgId, ProjectId, TaskId, UserId, VariableId};
use runstream::domain::invitation::{Invitation, InvitationToken, TokenHash};
use runstream::domain::mail::{Letter, LetterEnd, LetterKind, SealedContent};
use runstream::domain::organization::{Author, OrgChange, SettingsPatch};
use runstream::domain::project::ProjectSettings;
use runstream::domain::reset::{PasswordReset, ResetHash};
use runstream::domain::role::Role;
use runstream::domain::seal::{Sealer, SealingKey};
use runstream::domain::variable::Variable;
use runstream::limits::PASSWORD_RESET_LIFETIME;
use runstream::store::contract::{Acceptance, ExecutionFilter, Store};

use super::DAY_MS;
use crate::store::sample;
use crate::support::runs::{Event, Reporter, opened, words};

/// What a store was filled with, by what finds it again.
#[derive(Default)]
pub(crate) struct Filled {
    now_ms: UnixMs,
    pub(crate) orgs: Vec<OrgId>,
    users: Vec<(UserId, String)>,
    hashes: Vec<[u8; 32]>,
    tokens: Vec<String>,
    projects: Vec<(OrgId, ProjectId)>,
    invitations: Vec<TokenHash>,
    resets: Vec<ResetHash>,
    pub(crate) runs: Vec<(OrgId, ExecutionId, TaskId)>,
    open: Vec<Reporter>,
}

/// Random content of every kind that a server makes.
pub(crate) async fn fill(store: &dyn Store, seed: u64, now_ms: UnixMs) -> Filled {
    let mut random = StdRng::seed_from_u64(seed);
    let mut filled = Filled { now_ms, ..Filled::default() };
    let mut feed = BTreeMap::<OrgId, u64>::new();
    let at = |random: &mut StdRng| now_ms - random.random_range(0..100 * DAY_MS);
    for number in 0..3_u8 {
        let name = format!("org-{seed}-{number}");
        let org = Organization { id: OrgId::generate(now_ms), ..sample::organization(&name) };
        let user =
            User { id: UserId::generate(now_ms), ..sample::user(org.id, &format!("{name}@pinewood.test")) };
        let audit = sample::audit_at(org.id, "auth.signup", at(&mut random));
        store.sign_up(org.clone(), format!("{name}-x"), user.clone(), audit, None).await.unwrap();
        filled.orgs.push(org.id);
        filled.users.push((user.id, user.email.clone()));
        for _ in 0..random.random_range(0..20) {
            let mut entry = sample::audit_at(org.id, "user.changed", at(&mut random));
            entry.details = words(random.random_range(0..20), random.random());
            store.audit(entry).await.unwrap();
        }
        for number in 0..random.random_range(1..4) {
            let key = sample::key(org.id, user.id, at(&mut random));
            filled.hashes.push(key.hash);
            let audit = sample::audit_at(org.id, "key.created", at(&mut random));
            store.create_key(key.clone(), 99, audit).await.unwrap();
            if random.random() {
                store.mark_key_used(org.id, key.id, now_ms - 5).await.unwrap();
            }
            let mut project = sample::project(org.id, &format!("web-{number}"), at(&mut random));
            project.name = words(3, random.random());
            let audit = sample::audit_at(org.id, "project.created", at(&mut random));
            store.create_project(project.clone(), 99, audit).await.unwrap();
            configure(store, org.id, project.id, now_ms).await;
            filled.projects.push((org.id, project.id));
        }
        people(store, &mut filled, &user, now_ms).await;
        let token = format!("token-{seed}-{number}");
        let audit = sample::audit_at(org.id, "auth.logout", now_ms);
        store.revoke_token(&token, now_ms + DAY_MS, audit).await.unwrap();
        filled.tokens.push(token);
        let author = Author { user: user.id, ip: std::net::Ipv4Addr::LOCALHOST.into(), now_ms };
        let renamed = SettingsPatch { name: Some(words(2, random.random())), ..SettingsPatch::default() };
        store.change_organization(org.id, OrgChange::from(renamed), author).await.unwrap().unwrap();
        store.take_run_place(org.id, now_ms - DAY_MS, 9, u64::from(number), now_ms).await.unwrap();
        let letter = Letter {
            org: org.id,
            key: format!("welcome/{number}"),
            kind: LetterKind::Welcome,
            to: user.email.clone(),
            content: SealedContent(vec![1, 2, number]),
            created_ms: now_ms,
            expires_ms: now_ms + DAY_MS,
        };
        let late = Letter { key: format!("alert/{number}"), kind: LetterKind::UsageAlert, ..letter.clone() };
        store.post_letter(letter).await.unwrap();
        let taken = store.take_letters(now_ms, 1, 9).await.unwrap().pop().unwrap();
        assert!(store.end_letter(&taken, LetterEnd::Sent, now_ms).await.unwrap());
        let marks = vec![format!("usage/{number}")];
        assert!(store.tell_once(org.id, marks, now_ms + DAY_MS, vec![late]).await.unwrap());
        let mut waiting = store.take_letters(now_ms, DAY_MS, 9).await.unwrap();
        assert!(store.postpone_letter(&waiting.pop().unwrap(), now_ms + DAY_MS).await.unwrap());
        store
            .begin_login(&format!("guess-{seed}-{number}@pinewood.test"), now_ms, 3, DAY_MS, DAY_MS)
            .await
            .unwrap();
    }
    move_by_invitation(store, &mut filled, now_ms).await;
    // One member changes the organization.
    let (mover, _) = filled.users[5];
    let moved = User { org: filled.orgs[0], ..store.user(mover).await.unwrap().unwrap() };
    assert!(
        store.update_user(moved, Some(sample::audit_at(filled.orgs[0], "user.moved", now_ms))).await.unwrap()
    );

    for number in 0..9 {
        // The archive has forgotten the sessions of those before.
        if number == 4 && seed.is_multiple_of(2) {
            assert_eq!(store.purge_sessions(now_ms + 30 * DAY_MS).await, Ok(4));
        }
        let org = filled.orgs[random.random_range(0..3)];
        let mut seq = || {
            let next = feed.entry(org).or_default();
            *next += 1;
            *next
        };
        let mut run = opened(org, now_ms - random.random_range(0..DAY_MS));
        run.feed_seq = seq();
        let mut reporter = Reporter::new(run.clone());
        store.open_run(run).await.unwrap();
        for step in 0..random.random_range(1..6) {
            let text = words(random.random_range(0..9_000), random.random());
            let mut events =
                vec![Event::Log(text), Event::Begin("t1", "pays"), Event::End("t1", TestStatus::Passed)];
            if step == 0 {
                events.push(Event::Announce(Status::Running));
            }
            let mut segment = reporter.segment(&events);
            segment.feed_seq = seq();
            store.append(&segment).await.unwrap();
        }
        let (org, id, task) = (reporter.org(), reporter.id(), reporter.opened.execution.task_id.clone());
        if number == 8 {
            assert!(store.abandon_run(org, id, seq()).await.unwrap());
            continue;
        }
        filled.runs.push((org, id, task));
        if number < 6 {
            let mut closed = reporter.closed(1);
            closed.feed_seq = seq();
            assert!(store.close_run(closed).await.unwrap());
        }
        if number < 4 {
            store.settle(org, id).await.unwrap();
        }
        if number >= 6 {
            filled.open.push(reporter);
        }
    }
    filled
}

/// Settings of a project, and two variables, one of them secret.
async fn configure(store: &dyn Store, org: OrgId, project: ProjectId, now_ms: UnixMs) {
    let audit = || sample::audit_at(org, "project.changed", now_ms);
    let before = store.project_settings(org, project).await.unwrap().unwrap();
    let settings = ProjectSettings { default_test_folder: "tests/e2e".into(), ..before.clone() };
    assert!(store.save_project_settings(org, project, &before, settings, audit()).await.unwrap());
    let sealer = Sealer::new(SealingKey::from_secret(&[7; 32]), Vec::new());
    for (key, value) in [("BASE_URL", Some("https://shop.test".to_owned())), ("TOKEN", None)] {
        let id = VariableId::generate(now_ms);
        let key = key.to_owned();
        let variable = Variable { id, org, project, key, value, created_ms: now_ms, updated_ms: now_ms };
        let sealed = variable.is_secret().then(|| sealer.seal(org, &variable.secret_name(), &"hush".into()));
        assert!(store.create_variable(variable, sealed, 9, audit()).await.unwrap());
    }
}

/// Invitations that wait, have expired and were redeemed, and a password reset.
async fn people(store: &dyn Store, filled: &mut Filled, admin: &User, now_ms: UnixMs) {
    let (org, name) = (admin.org, admin.email.clone());
    let audit = || sample::audit_at(org, "invitation.created", now_ms);
    for (whom, age_ms) in [("waits", 0), ("expired", 60 * DAY_MS), ("joins", DAY_MS), ("over", 372 * DAY_MS)]
    {
        let (email, token) = (format!("{whom}-{name}"), InvitationToken::generate());
        let by = (org, admin.id);
        let invitation = Invitation::new(by, email.clone(), Role::Developer, &token, now_ms - age_ms);
        store.invite(invitation.clone(), 99, None, audit()).await.unwrap();
        if whom == "joins" {
            let user = User { id: UserId::generate(now_ms), ..sample::user(org, &email) };
            let user = User { role: Role::Developer, ..user };
            filled.users.push((user.id, email));
            store.sign_up_invited(&invitation.token, user, now_ms, 99, vec![audit()], None).await.unwrap();
        }
        // What is kept for hours only is left where it is.
        if whom != "over" {
            filled.invitations.push(invitation.token);
        }
    }
    let hash: ResetHash = rand::random();
    let lifetime_ms = i64::try_from(PASSWORD_RESET_LIFETIME.as_millis()).unwrap();
    let reset = PasswordReset {
        hash,
        expires_ms: now_ms + lifetime_ms,
        credentials_from_ms: admin.credentials_valid_from_ms,
    };
    assert!(store.begin_reset(org, admin.id, reset, None).await.unwrap());
    filled.resets.push(hash);
}

/// Who joined the second organization goes on to the third, and takes no password reset along.
async fn move_by_invitation(store: &dyn Store, filled: &mut Filled, now_ms: UnixMs) {
    let (user, email) = filled.users[3].clone();
    let [_, from, to] = filled.orgs[..] else { panic!("three organizations") };
    let hash = rand::random();
    let reset = PasswordReset { hash, expires_ms: now_ms + DAY_MS, credentials_from_ms: 0 };
    assert!(store.begin_reset(from, user, reset, None).await.unwrap());
    filled.resets.push(hash);
    let admin = filled.users[4].0;
    let invitation = Invitation::new((to, admin), email, Role::Viewer, &InvitationToken::generate(), now_ms);
    let audit = |org| sample::audit_at(org, "invitation.accepted", now_ms);
    store.invite(invitation.clone(), 99, None, audit(to)).await.unwrap();
    let (joined, left) = (audit(to), audit(from));
    let token = invitation.token;
    let moved =
        store.accept_invitation(Acceptance { token, user, now_ms, max_members: 99, joined, left }).await;
    assert_eq!(moved.unwrap().unwrap().org, to);
    filled.invitations.push(invitation.token);
}

/// Everything a store answers about what it was filled with.
pub(crate) async fn answers(store: &dyn Store, filled: &Filled) -> Vec<String> {
    let mut said = vec![format!("{:?}", store.feed_epoch().await)];
    for org in &filled.orgs {
        said.push(format!("{:?}", store.organization(*org).await));
        said.push(format!("{:?}", store.organization_state(*org).await));
        for number in 0..3 {
            for kind in ["welcome", "alert"] {
                said.push(format!("{:?}", store.letter_state(*org, &format!("{kind}/{number}")).await));
            }
        }
        said.push(format!("{:?} members", store.member_count(*org).await));
        said.push(format!("{:?}", store.invitations(*org, filled.now_ms).await));
        said.push(format!("{:?}", store.projects(*org).await));
        said.push(format!("{:?}", store.audit_entries(*org, 1_000, 0).await));
        said.push(format!("{:?}", store.executions(*org, &ExecutionFilter::default(), 1_000, 0).await));
        said.push(format!("{:?} bytes", store.storage_used(*org).await));
        said.push(format!("{:?} runs", store.count_runs(*org, 0, i64::MAX).await));
        let feed = (store.feed_floor(*org).await, store.feed_rows(*org, 0, 10_000).await);
        said.push(format!("{feed:?}"));
        assert!(store.feed_head(*org).await.unwrap() > 0 || feed.1.unwrap().is_empty());
    }
    said.push(format!("{:?} wait", store.outbox_depth().await));
    for (org, project) in &filled.projects {
        said.push(format!("{:?}", store.project_settings(*org, *project).await));
        let variables = store.variables(*org, *project).await.unwrap();
        for variable in &variables {
            said.push(format!("{:?}", store.sealed(*org, &variable.secret_name()).await));
        }
        said.push(format!("{variables:?}"));
    }
    for token in &filled.invitations {
        said.push(format!("{:?}", store.invitation(token).await));
    }
    for hash in &filled.resets {
        said.push(format!("{:?}", store.reset_of(hash, filled.now_ms).await));
    }
    for (user, email) in &filled.users {
        let user = store.user(*user).await.unwrap().unwrap();
        assert_eq!(store.user_by_email(email).await, Ok(Some(user.clone())));
        said.push(format!("{user:?} {:?}", store.keys_of(user.org, user.id).await));
    }
    for hash in &filled.hashes {
        said.push(format!("{:?}", store.key_by_hash(hash).await));
    }
    for token in &filled.tokens {
        said.push(format!("{:?}", store.is_token_revoked(token).await));
    }
    for (org, id, task) in &filled.runs {
        said.push(format!("{:?}", store.execution(*org, *id).await));
        said.push(format!(
            "{:?}",
            store.execution_by_task(*org, task).await.map(|run| run.map(|run| run.id))
        ));
        said.push(format!("{:?}", store.cycle_of(*org, *id).await));
        said.push(format!("{:?}", store.closure(*org, *id).await));
        said.push(format!("{:?}", store.run_state(*org, *id).await));
        said.push(format!("{:?}", store.whole_text(*org, *id).await));
        said.push(format!("{:?}", store.all_results(*org, *id).await));
        let session = store.execution(*org, *id).await.unwrap().unwrap().ingest.session;
        said.push(format!("{:?}", store.session(session).await));
        let segments = store.segments(*org, *id, (0, 0), usize::MAX).await.unwrap();
        said.push(format!("{:?}", segments.into_iter().map(|found| found.batches).collect::<Vec<_>>()));
    }
    said
}

/// The runs that were open go on.
pub(crate) async fn goes_on(store: &dyn Store, filled: &mut Filled) {
    for reporter in &mut filled.open {
        let (org, id) = (reporter.org(), reporter.id());
        let mut mine = reporter.clone();
        let claimed = store.claim(org, id).await;
        let claimed = claimed.unwrap().expect("the run is not settled");
        let last = store.segments(org, id, (0, 0), usize::MAX).await.unwrap().pop().unwrap();
        let next_seq = if last.epoch == claimed { last.seq + 1 } else { 1 };
        (mine.epoch, mine.next_seq) = (claimed, next_seq);
        let mut segment = mine.log("and on it goes\n");
        segment.feed_seq = store.feed_head(org).await.unwrap() + 1;
        store.append(&segment).await.unwrap();
        assert!(store.close_run(mine.closed(1)).await.unwrap());
        store.settle(org, id).await.unwrap();
        assert_eq!(store.whole_text(org, id).await.unwrap().unwrap().text, mine.text);
    }
}
