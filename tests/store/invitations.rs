//! Invitations, and joining an organization through one.

use runstream::clock::UnixMs;
use runstream::domain::account::{AuditEntry, Organization, User};
use runstream::domain::id::{InvitationId, OrgId, UserId};
use runstream::domain::invitation::{Invitation, InvitationToken};
use runstream::domain::mail::{LetterEnd, LetterState};
use runstream::domain::role::{AccountStatus, Role};
use runstream::limits::OUTBOX_ORG_LETTERS_MAX;
use runstream::store::contract::{Acceptance, Conflict, StoreError, StoreResult};
use runstream::store::record;

use super::{
    ColdHome, ColdStore, ScyllaColdHome, on_each_cold_store, on_each_cold_store_across_restarts, outbox,
    races, sample,
};

on_each_cold_store! {
    an_invitation_is_stored_and_told_newest_first,
    a_letter_is_stored_with_its_invitation_or_not_at_all,
    the_letter_of_a_revoked_invitation_is_given_up,
    a_letter_is_stored_with_the_account_it_greets_or_not_at_all,
    who_is_invited_or_a_member_is_not_invited_again,
    an_invitation_that_has_expired_makes_way,
    a_full_organization_invites_nobody,
    a_revoked_invitation_is_gone,
    signing_up_by_an_invitation_makes_a_member,
    no_other_address_and_no_other_time,
    accepting_moves_the_account,
    the_last_administrator_stays_while_others_do,
    who_is_alone_may_leave_and_nobody_comes_after,
    the_former_organizations_keys_are_gone,
    an_account_may_come_back,
    of_racing_redemptions_exactly_one_wins,
    a_revocation_and_an_acceptance_do_not_both_happen,
    the_last_seat_is_taken_once,
    racing_invitations_of_one_address_are_one,
    two_administrators_do_not_leave_at_once,
}
on_each_cold_store_across_restarts! { invitations_survive_a_restart }
mod many {
    use super::*;

    super::super::on_each_store! { at_most_a_thousand_invitations_are_listed }

    /// A thousand turns are too many round trips: the rows of the list are put there by hand.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    #[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
    async fn at_most_a_thousand_invitations_are_listed_on_scylla() {
        let home = ScyllaColdHome::new();
        let store = home.open_cold().await;
        let (_, rosa) = sample::member(&*store, "pinewood").await;
        let oldest = invite(&*store, &rosa, "0@x.test").await;
        let later: Vec<Invitation> = (1..=1_000).map(|number| later_invitation(&rosa, number)).collect();
        let row = |one: &Invitation| {
            let moment = (one.created_ms.cast_unsigned() ^ 1 << 63).to_be_bytes();
            ([moment.as_slice(), one.id.as_bytes()].concat(), record::encode(one).unwrap())
        };
        home.put_rows(rosa.org, "invitation", later.iter().map(row).collect()).await;
        check_the_newest_thousand(&*store, &oldest, later).await;
    }
}

const NOW_MS: UnixMs = sample::NOW_MS;
const WEEK_MS: i64 = 7 * 24 * 3_600_000;
const MANY: u64 = u64::MAX;

/// An invitation of `email`, and nobody knows its token any more.
pub(crate) fn invitation(by: (OrgId, UserId), email: &str, now_ms: UnixMs) -> Invitation {
    Invitation::new(by, email.into(), Role::Developer, &InvitationToken::generate(), now_ms)
}

/// Invites `email` to the organization of `by`.
pub(crate) async fn invite(store: &dyn ColdStore, by: &User, email: &str) -> Invitation {
    let invitation = invitation((by.org, by.id), email, NOW_MS);
    let audit = sample::audit(by.org, "invitation.created");
    store.invite(invitation.clone(), MANY, None, audit).await.unwrap();
    invitation
}

async fn try_to_invite(store: &dyn ColdStore, by: &User, email: &str, max_members: u64) -> StoreResult<()> {
    let invitation = invitation((by.org, by.id), email, NOW_MS);
    store.invite(invitation, max_members, None, sample::audit(by.org, "invitation.created")).await
}

/// The two entries of a sign-up by invitation.
fn entries(org: OrgId) -> Vec<AuditEntry> {
    vec![sample::audit(org, "auth.signup"), sample::audit(org, "invitation.accepted")]
}

async fn sign_up(
    store: &dyn ColdStore,
    invitation: &Invitation,
    email: &str,
    max_members: u64,
) -> StoreResult<()> {
    let user = User { role: Role::Viewer, ..sample::user(invitation.org, email) };
    let audit = entries(invitation.org);
    store.sign_up_invited(&invitation.token, user, NOW_MS, max_members, audit, None).await
}

pub(crate) fn acceptance(invitation: &Invitation, user: &User, max_members: u64) -> Acceptance {
    Acceptance {
        token: invitation.token,
        user: user.id,
        now_ms: NOW_MS,
        max_members,
        joined: sample::audit(invitation.org, "invitation.accepted"),
        left: sample::audit(user.org, "user.left"),
    }
}

async fn accept(store: &dyn ColdStore, invitation: &Invitation, user: &User) -> StoreResult<Option<User>> {
    store.accept_invitation(acceptance(invitation, user, MANY)).await
}

/// A member of `org` who signed up by an invitation.
async fn member(store: &dyn ColdStore, admin: &User, email: &str) -> User {
    let invited = invite(store, admin, email).await;
    sign_up(store, &invited, email, MANY).await.unwrap();
    store.user_by_email(email).await.unwrap().unwrap()
}

/// Two organizations with an administrator each.
async fn two(store: &dyn ColdStore, name: &str) -> ((Organization, User), (Organization, User)) {
    let joined = sample::member(store, &format!("{name}-pinewood")).await;
    (joined, sample::member(store, &format!("{name}-oakwood")).await)
}

async fn pending(store: &dyn ColdStore, org: OrgId) -> Vec<Invitation> {
    store.invitations(org, NOW_MS).await.unwrap()
}

const fn refused<T>(conflict: Conflict) -> StoreResult<T> {
    Err(StoreError::Conflict(conflict))
}

async fn an_invitation_is_stored_and_told_newest_first(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    let (other, _) = sample::member(store, "oakwood").await;
    let mut sent = Vec::new();
    for (number, age_ms) in [5, 0, 9].into_iter().enumerate() {
        let one = invitation((org.id, rosa.id), &format!("{number}@x.test"), NOW_MS - age_ms);
        store.invite(one.clone(), MANY, None, sample::audit(org.id, "invitation.created")).await.unwrap();
        assert_eq!(store.invitation(&one.token).await, Ok(Some(one.clone())));
        sent.push(one);
    }
    assert_eq!(pending(store, org.id).await, [&sent[1], &sent[0], &sent[2]].map(Clone::clone));
    assert_eq!(pending(store, other.id).await, []);
    assert_eq!(store.invitation(&[7; 32]).await, Ok(None));
    let created = sample::actions(store, org.id).await;
    assert_eq!(created.iter().filter(|action| *action == "invitation.created").count(), 3);
    assert_eq!(store.member_count(org.id).await, Ok(1), "nobody has joined");
}

async fn at_most_a_thousand_invitations_are_listed(store: &dyn super::Store) {
    let (_, rosa) = sample::member(store, "pinewood").await;
    let oldest = invite(store, &rosa, "0@x.test").await;
    let later: Vec<Invitation> = (1..=1_000).map(|number| later_invitation(&rosa, number)).collect();
    for one in &later {
        store.invite(one.clone(), MANY, None, sample::audit(rosa.org, "invitation.created")).await.unwrap();
    }
    check_the_newest_thousand(store, &oldest, later).await;
}

/// An invitation that is so many milliseconds younger than those of [`invite`].
fn later_invitation(by: &User, number: i64) -> Invitation {
    invitation((by.org, by.id), &format!("{number}@x.test"), NOW_MS + number)
}

/// Of `oldest` and the thousand `later` ones the latter are listed; what is not listed is good all the same.
async fn check_the_newest_thousand(store: &dyn ColdStore, oldest: &Invitation, mut later: Vec<Invitation>) {
    later.reverse();
    let second = invitation((oldest.org, oldest.invited_by), "second@x.test", NOW_MS);
    let audit = sample::audit(oldest.org, "invitation.created");
    store.invite(second.clone(), MANY, None, audit).await.unwrap();
    assert_eq!(pending(store, oldest.org).await, later, "the newest thousand, the newest first");
    assert_eq!(sign_up(store, oldest, "0@x.test", MANY).await, Ok(()));
    let audit = sample::audit_at(oldest.org, "invitation.revoked", NOW_MS + 1);
    assert_eq!(store.revoke_invitation(oldest.org, second.id, NOW_MS, audit).await, Ok(true));
    let (newest, _) = store.audit_entries(oldest.org, 1, 0).await.unwrap();
    let told = [("email", "second@x.test"), ("role", second.role.as_str())];
    let expected: serde_json::Value = told.into_iter().collect();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&newest[0].details).unwrap(), expected);
}

async fn a_letter_is_stored_with_its_invitation_or_not_at_all(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    let invite = async |email: &str| {
        let one = invitation((org.id, rosa.id), email, NOW_MS);
        let key = one.letter_key();
        let (letter, audit) = (outbox::letter(org.id, &key), sample::audit(org.id, "invitation.created"));
        let stored = store.invite(one, MANY, Some(letter), audit).await;
        (stored, store.letter_state(org.id, &key).await.unwrap())
    };
    let waiting = Some(LetterState::Waiting { failures: 0 });
    assert_eq!(invite("ivo@x.test").await, (Ok(()), waiting));
    assert_eq!(invite("ivo@x.test").await, (refused(Conflict::Invited), None));
    assert_eq!(invite(&rosa.email).await, (refused(Conflict::Member), None));
    let taken = store.take_letters(NOW_MS, 60_000, 9).await.unwrap();
    assert_eq!(taken.len(), 1, "{taken:?}");
    // An outbox that is full takes no letter; people are invited all the same.
    for some in (1..OUTBOX_ORG_LETTERS_MAX).collect::<Vec<_>>().chunks(333) {
        let letters = some.iter().map(|number| outbox::letter(org.id, &format!("fill/{number}"))).collect();
        let until_ms = NOW_MS + WEEK_MS;
        assert_eq!(store.tell_once(org.id, vec![some[0].to_string()], until_ms, letters).await, Ok(true));
    }
    assert_eq!(invite("ada@x.test").await, (Ok(()), None));
    assert_eq!(pending(store, org.id).await.len(), 2);
}

async fn the_letter_of_a_revoked_invitation_is_given_up(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    let mut invited = Vec::new();
    for email in ["ivo@x.test", "ada@x.test"] {
        let one = invitation((org.id, rosa.id), email, NOW_MS);
        let letter = outbox::letter(org.id, &one.letter_key());
        let audit = sample::audit(org.id, "invitation.created");
        store.invite(one.clone(), MANY, Some(letter), audit).await.unwrap();
        invited.push(one);
    }
    let revoke = async |one: &Invitation| {
        store.revoke_invitation(org.id, one.id, NOW_MS, sample::audit(org.id, "invitation.revoked")).await
    };
    let state = async |one: &Invitation| store.letter_state(org.id, &one.letter_key()).await.unwrap();
    let given_up = Some(LetterState::Ended(LetterEnd::GivenUp));
    assert_eq!(revoke(&invited[0]).await, Ok(true));
    assert_eq!(state(&invited[0]).await, given_up);
    let taken = store.take_letters(NOW_MS, 60_000, 9).await.unwrap();
    assert_eq!(
        taken.iter().map(|taken| taken.letter.key.clone()).collect::<Vec<_>>(),
        [invited[1].letter_key()]
    );
    // Who is just sending it comes too late to say that it failed.
    assert_eq!(revoke(&invited[1]).await, Ok(true));
    assert_eq!(store.postpone_letter(&taken[0], NOW_MS).await, Ok(false));
    assert_eq!(state(&invited[1]).await, given_up);
    assert_eq!(store.outbox_depth().await.unwrap().letters, 0);
}

async fn a_letter_is_stored_with_the_account_it_greets_or_not_at_all(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    let invited = invite(store, &rosa, "ivo@x.test").await;
    let sign_up = async |email: &str, key: &str| {
        let user = User { role: Role::Viewer, ..sample::user(org.id, email) };
        let letter = Some(outbox::letter(org.id, key));
        let done = store.sign_up_invited(&invited.token, user, NOW_MS, MANY, entries(org.id), letter).await;
        (done, store.letter_state(org.id, key).await.unwrap())
    };
    assert_eq!(sign_up(&rosa.email, "one").await, (refused(Conflict::Email), None));
    assert_eq!(sign_up("other@x.test", "two").await, (refused(Conflict::Invitation), None));
    let waiting = Some(LetterState::Waiting { failures: 0 });
    assert_eq!(sign_up("ivo@x.test", "three").await, (Ok(()), waiting));
    assert_eq!(store.take_letters(NOW_MS, 60_000, 9).await.unwrap().len(), 1);
}

async fn who_is_invited_or_a_member_is_not_invited_again(store: &dyn ColdStore) {
    let ((org, rosa), (_, ada)) = two(store, "a").await;
    assert_eq!(try_to_invite(store, &rosa, &rosa.email, MANY).await, refused(Conflict::Member));
    let invited = invite(store, &rosa, "ivo@x.test").await;
    assert_eq!(try_to_invite(store, &rosa, "ivo@x.test", MANY).await, refused(Conflict::Invited));
    invite(store, &ada, "ivo@x.test").await;
    sign_up(store, &invited, "ivo@x.test", MANY).await.unwrap();
    assert_eq!(try_to_invite(store, &rosa, "ivo@x.test", MANY).await, refused(Conflict::Member));
    let actions = sample::actions(store, org.id).await;
    assert_eq!(actions.len(), 4, "what was refused is not in the log: {actions:?}");
    assert_eq!(pending(store, org.id).await, []);
    // A former member may be invited.
    let ivo = store.user_by_email("ivo@x.test").await.unwrap().unwrap();
    let moved = pending(store, ada.org).await.remove(0);
    accept(store, &moved, &ivo).await.unwrap().unwrap();
    assert_eq!(try_to_invite(store, &rosa, "ivo@x.test", MANY).await, Ok(()));
}

async fn an_invitation_that_has_expired_makes_way(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    let by = (org.id, rosa.id);
    let old = invitation(by, "ivo@x.test", NOW_MS - WEEK_MS);
    store.invite(old.clone(), MANY, None, sample::audit(org.id, "invitation.created")).await.unwrap();
    assert_eq!(store.invitations(org.id, NOW_MS - 1).await, Ok(vec![old.clone()]));
    assert_eq!(pending(store, org.id).await, []);
    let new = invite(store, &rosa, "ivo@x.test").await;
    assert_eq!(pending(store, org.id).await, std::slice::from_ref(&new));
    assert_eq!(store.invitation(&old.token).await, Ok(Some(old.clone())), "it is still told apart");
    assert_eq!(sign_up(store, &old, "ivo@x.test", MANY).await, refused(Conflict::Invitation));
    let audit = || sample::audit(org.id, "invitation.revoked");
    assert_eq!(store.revoke_invitation(org.id, old.id, NOW_MS, audit()).await, Ok(false));
    assert_eq!(sign_up(store, &new, "ivo@x.test", MANY).await, Ok(()));
}

async fn a_full_organization_invites_nobody(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    let invited = invite(store, &rosa, "ivo@x.test").await;
    let second = invite(store, &rosa, "ada@x.test").await;
    assert_eq!(try_to_invite(store, &rosa, &rosa.email, 1).await, refused(Conflict::MemberLimit), "first");
    assert_eq!(try_to_invite(store, &rosa, "eve@x.test", 2).await, Ok(()), "pending ones take no seat");
    assert_eq!(sign_up(store, &invited, "ivo@x.test", 2).await, Ok(()));
    assert_eq!(sign_up(store, &second, "ada@x.test", 2).await, refused(Conflict::MemberLimit));
    assert_eq!(store.user_by_email("ada@x.test").await, Ok(None));
    let (_, bob) = sample::member(store, "oakwood").await;
    let third = invite(store, &rosa, &bob.email).await;
    let full = store.accept_invitation(acceptance(&third, &bob, 2)).await;
    assert_eq!(full, refused(Conflict::MemberLimit));
    assert_eq!(store.user(bob.id).await, Ok(Some(bob.clone())));
    assert_eq!(store.invitation(&third.token).await, Ok(Some(third.clone())), "it is still pending");
    let joined = store.accept_invitation(acceptance(&third, &bob, 3)).await.unwrap().unwrap();
    assert_eq!((joined.org, store.member_count(org.id).await), (org.id, Ok(3)));
}

async fn a_revoked_invitation_is_gone(store: &dyn ColdStore) {
    let ((org, rosa), (other, bob)) = two(store, "a").await;
    let invited = invite(store, &rosa, &bob.email).await;
    let audit = || sample::audit(org.id, "invitation.revoked");
    let revoke = async |org, id| store.revoke_invitation(org, id, NOW_MS, audit()).await;
    assert_eq!(revoke(other.id, invited.id).await, Ok(false), "another organization has none such");
    assert_eq!(revoke(org.id, InvitationId::generate(1)).await, Ok(false));
    assert_eq!(revoke(org.id, invited.id).await, Ok(true));
    assert_eq!(revoke(org.id, invited.id).await, Ok(false));
    assert_eq!(store.invitation(&invited.token).await, Ok(None));
    assert_eq!(accept(store, &invited, &bob).await, refused(Conflict::Invitation));
    assert_eq!(sign_up(store, &invited, "new@x.test", MANY).await, refused(Conflict::Invitation));
    assert_eq!(pending(store, org.id).await, []);
    let again = invite(store, &rosa, &bob.email).await;
    assert!(accept(store, &again, &bob).await.unwrap().is_some());
    assert_eq!(revoke(org.id, again.id).await, Ok(false), "what was accepted stays");
    let revoked = sample::actions(store, org.id).await.into_iter().filter(|one| one == "invitation.revoked");
    assert_eq!(revoked.count(), 1);
}

async fn signing_up_by_an_invitation_makes_a_member(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    let invited = invite(store, &rosa, "ivo@x.test").await;
    let user = User { role: Role::Admin, ..sample::user(OrgId::generate(1), "ivo@x.test") };
    let audit = entries(org.id);
    store.sign_up_invited(&invited.token, user.clone(), NOW_MS, 2, audit, None).await.unwrap();
    let expected = User { org: org.id, role: Role::Developer, ..user };
    assert_eq!(store.user_by_email("ivo@x.test").await, Ok(Some(expected.clone())), "as the invitation says");
    assert_eq!(store.user(expected.id).await, Ok(Some(expected.clone())));
    assert_eq!(store.member_count(org.id).await, Ok(2));
    let redeemed = Invitation { accepted: true, ..invited.clone() };
    assert_eq!(store.invitation(&invited.token).await, Ok(Some(redeemed)));
    assert_eq!(pending(store, org.id).await, []);
    let mut actions = sample::actions(store, org.id).await;
    actions.sort();
    assert_eq!(actions, ["auth.signup", "auth.signup", "invitation.accepted", "invitation.created"]);
    // Nothing is lost when more is written after several entries of one change.
    store.audit(sample::audit(org.id, "auth.login_failed")).await.unwrap();
    invite(store, &rosa, "ada@x.test").await;
    assert_eq!(sample::actions(store, org.id).await.len(), 6);
    assert_eq!(sign_up(store, &invited, "ivo@x.test", MANY).await, refused(Conflict::Email), "first");
    assert_eq!(sign_up(store, &invited, "new@x.test", MANY).await, refused(Conflict::Invitation));
    assert_eq!(accept(store, &invited, &expected).await, refused(Conflict::Invitation));
}

async fn no_other_address_and_no_other_time(store: &dyn ColdStore) {
    let ((org, rosa), (_, bob)) = two(store, "a").await;
    let invited = invite(store, &rosa, "ivo@x.test").await;
    assert_eq!(sign_up(store, &invited, "eve@x.test", MANY).await, refused(Conflict::Invitation));
    assert_eq!(store.user_by_email("eve@x.test").await, Ok(None));
    assert_eq!(accept(store, &invited, &bob).await, refused(Conflict::Invitation));
    let late = sample::user(org.id, "ivo@x.test");
    let late =
        store.sign_up_invited(&invited.token, late, NOW_MS + WEEK_MS, MANY, entries(org.id), None).await;
    assert_eq!(late, refused(Conflict::Invitation));
    let invited = invite(store, &rosa, &bob.email).await;
    let late = Acceptance { now_ms: NOW_MS + WEEK_MS, ..acceptance(&invited, &bob, MANY) };
    assert_eq!(store.accept_invitation(late).await, refused(Conflict::Invitation));
    let unknown = Acceptance { token: [7; 32], ..acceptance(&invited, &bob, MANY) };
    assert_eq!(store.accept_invitation(unknown).await, refused(Conflict::Invitation));
    assert_eq!(store.user(bob.id).await, Ok(Some(bob.clone())));
    let nobody = Acceptance { user: UserId::generate(1), ..acceptance(&invited, &bob, MANY) };
    assert_eq!(store.accept_invitation(nobody).await, Ok(None));
    let elsewhere =
        Acceptance { left: sample::audit(org.id, "user.left"), ..acceptance(&invited, &bob, MANY) };
    assert_eq!(store.accept_invitation(elsewhere).await, Ok(None), "it is not in that organization");
    let last = Acceptance { now_ms: NOW_MS + WEEK_MS - 1, ..acceptance(&invited, &bob, MANY) };
    assert!(store.accept_invitation(last).await.unwrap().is_some());
}

async fn accepting_moves_the_account(store: &dyn ColdStore) {
    let ((to, rosa), (from, bob)) = two(store, "a").await;
    let invited = invite(store, &rosa, &bob.email).await;
    let joined = accept(store, &invited, &bob).await.unwrap().unwrap();
    let expected = User {
        org: to.id,
        role: Role::Developer,
        credentials_valid_from_ms: NOW_MS.max(bob.credentials_valid_from_ms + 1),
        updated_ms: NOW_MS,
        ..bob.clone()
    };
    assert_eq!(joined, expected);
    assert_eq!(store.user(bob.id).await, Ok(Some(expected.clone())));
    assert_eq!(store.user_by_email(&bob.email).await, Ok(Some(expected.clone())));
    assert_eq!((store.member_count(from.id).await, store.member_count(to.id).await), (Ok(0), Ok(2)));
    assert_eq!(store.organization(from.id).await, Ok(Some(from.clone())), "it stays");
    for (org, action) in [(&from, "user.left"), (&to, "invitation.accepted")] {
        let actions = sample::actions(store, org.id).await;
        assert_eq!(actions.iter().filter(|one| *one == action).count(), 1, "{actions:?}");
    }
    let redeemed = store.invitation(&invited.token).await.unwrap().unwrap();
    assert!(redeemed.accepted);
    assert_eq!(accept(store, &invited, &bob).await, Ok(None));
    assert_eq!(accept(store, &invited, &expected).await, refused(Conflict::Invitation));
    // Invited, and put there in another way meanwhile.
    let (_, eve) = sample::member(store, "elm").await;
    let invited = invite(store, &rosa, &eve.email).await;
    let eve = User { org: to.id, ..eve };
    assert_eq!(store.update_user(eve.clone(), None).await, Ok(true));
    assert_eq!(accept(store, &invited, &eve).await, refused(Conflict::Member));
    let full = store.accept_invitation(acceptance(&invited, &eve, 3)).await;
    assert_eq!(full, refused(Conflict::MemberLimit), "the limit comes first");
}

async fn the_last_administrator_stays_while_others_do(store: &dyn ColdStore) {
    let ((_, rosa), (from, bob)) = two(store, "a").await;
    let ivo = member(store, &bob, "ivo@x.test").await;
    let (for_bob, for_ivo) =
        (invite(store, &rosa, &bob.email).await, invite(store, &rosa, "ivo@x.test").await);
    assert_eq!(accept(store, &for_bob, &bob).await, refused(Conflict::LastAdmin));
    assert_eq!(store.user(bob.id).await, Ok(Some(bob.clone())));
    assert_eq!(store.member_count(rosa.org).await, Ok(1), "no seat is held for who was refused");
    assert_eq!(store.invitation(&for_bob.token).await, Ok(Some(for_bob.clone())));
    // Another administrator who is suspended runs nothing.
    let suspended = User { role: Role::Admin, status: AccountStatus::Suspended, ..ivo.clone() };
    store.update_user(suspended.clone(), None).await.unwrap();
    assert_eq!(accept(store, &for_bob, &bob).await, refused(Conflict::LastAdmin));
    store.update_user(User { status: AccountStatus::Active, ..suspended }, None).await.unwrap();
    assert!(accept(store, &for_bob, &bob).await.unwrap().is_some());
    assert_eq!(store.member_count(from.id).await, Ok(1));
    assert!(accept(store, &for_ivo, &ivo).await.unwrap().is_some(), "and now is alone");
}

async fn who_is_alone_may_leave_and_nobody_comes_after(store: &dyn ColdStore) {
    let ((_, rosa), (from, bob)) = two(store, "a").await;
    let (for_bob, dead) = (invite(store, &rosa, &bob.email).await, invite(store, &bob, "ivo@x.test").await);
    let (_, eve) = sample::member(store, "elm").await;
    let for_eve = invite(store, &bob, &eve.email).await;
    accept(store, &for_bob, &bob).await.unwrap().unwrap();
    assert_eq!(store.invitation(&dead.token).await, Ok(None));
    assert_eq!(sign_up(store, &dead, "ivo@x.test", MANY).await, refused(Conflict::Invitation));
    assert_eq!(accept(store, &for_eve, &eve).await, refused(Conflict::Invitation));
    assert_eq!(store.member_count(from.id).await, Ok(0));
}

async fn the_former_organizations_keys_are_gone(store: &dyn ColdStore) {
    let ((to, rosa), (from, bob)) = two(store, "a").await;
    let ivo = member(store, &bob, "ivo@x.test").await;
    let key = sample::key(from.id, ivo.id, NOW_MS);
    let others = sample::key(from.id, bob.id, NOW_MS);
    for key in [&key, &others] {
        store.create_key(key.clone(), 9, sample::audit(from.id, "apikey.created")).await.unwrap();
    }
    let invited = invite(store, &rosa, "ivo@x.test").await;
    accept(store, &invited, &ivo).await.unwrap().unwrap();
    assert_eq!(store.key_by_hash(&key.hash).await, Ok(None));
    assert_eq!(store.key(from.id, key.id).await, Ok(None));
    assert_eq!(store.keys_of(from.id, ivo.id).await, Ok(vec![]));
    assert_eq!(store.keys_of(to.id, ivo.id).await, Ok(vec![]));
    assert_eq!(store.key_by_hash(&others.hash).await, Ok(Some(others)), "others keep theirs");
}

async fn an_account_may_come_back(store: &dyn ColdStore) {
    let ((to, rosa), (from, bob)) = two(store, "a").await;
    let mut ivo = member(store, &bob, "ivo@x.test").await;
    let mut valid_from_ms = ivo.credentials_valid_from_ms;
    for _ in 0..2 {
        for by in [&rosa, &bob] {
            let invited = invite(store, by, "ivo@x.test").await;
            ivo = accept(store, &invited, &ivo).await.unwrap().unwrap();
            assert_eq!(ivo.org, by.org);
            assert_eq!(store.user_by_email("ivo@x.test").await, Ok(Some(ivo.clone())));
            assert!(ivo.credentials_valid_from_ms > valid_from_ms, "though the clock stands");
            valid_from_ms = ivo.credentials_valid_from_ms;
        }
    }
    assert_eq!((store.member_count(from.id).await, store.member_count(to.id).await), (Ok(2), Ok(1)));
}

async fn of_racing_redemptions_exactly_one_wins(store: &dyn ColdStore) {
    /// Races of one organization: what they leave in its log is one page.
    const AT_ONCE: usize = 50;
    for first in (0..races()).step_by(AT_ONCE) {
        let (org, rosa) = sample::member(store, &format!("pinewood-{first}")).await;
        let races = AT_ONCE.min(races() - first);
        for race in 0..races {
            race_redemptions(store, &rosa, first + race).await;
            let members = 1 + 2 * (race as u64 + 1);
            assert_eq!(store.member_count(org.id).await, Ok(members), "race {race} after {first}");
        }
        assert_eq!(pending(store, org.id).await, []);
        let actions = sample::actions(store, org.id).await;
        let accepted = actions.iter().filter(|action| *action == "invitation.accepted").count();
        assert_eq!(accepted, 2 * races);
    }
}

/// Two people join the organization of `rosa`, each once.
async fn race_redemptions(store: &dyn ColdStore, rosa: &User, race: usize) {
    // Two sign-ups.
    let email = format!("new-{race}@x.test");
    let invited = invite(store, rosa, &email).await;
    let (a, b) = tokio::join!(sign_up(store, &invited, &email, MANY), sign_up(store, &invited, &email, MANY));
    assert!([&a, &b].contains(&&Ok(())) && a != b, "race {race}: {a:?} {b:?}");
    assert!([a, b].contains(&refused(Conflict::Email)), "race {race}");
    // Two acceptances; and a sign-up with what an account may accept.
    let (_, bob) = sample::member(store, &format!("oak-{race}")).await;
    let invited = invite(store, rosa, &bob.email).await;
    let (a, b, c) = tokio::join!(
        accept(store, &invited, &bob),
        accept(store, &invited, &bob),
        sign_up(store, &invited, &bob.email, MANY)
    );
    let won = [&a, &b].into_iter().filter(|one| matches!(one, Ok(Some(_)))).count();
    assert_eq!(won, 1, "race {race}: {a:?} {b:?}");
    let lost = [&a, &b].into_iter().filter(|one| **one == Ok(None) || **one == refused(Conflict::Invitation));
    assert_eq!(lost.count(), 1, "race {race}: {a:?} {b:?}");
    assert_eq!(c, refused(Conflict::Email), "race {race}");
}

async fn a_revocation_and_an_acceptance_do_not_both_happen(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    for race in 0..races() {
        let (_, bob) = sample::member(store, &format!("oak-{race}")).await;
        let invited = invite(store, &rosa, &bob.email).await;
        let audit = sample::audit(org.id, "invitation.revoked");
        let (accepted, revoked) = tokio::join!(
            accept(store, &invited, &bob),
            store.revoke_invitation(org.id, invited.id, NOW_MS, audit)
        );
        let joined = store.user(bob.id).await.unwrap().unwrap().org == org.id;
        match (accepted, revoked) {
            (Ok(Some(user)), Ok(false)) => assert!(joined && user.org == org.id, "race {race}"),
            (Err(StoreError::Conflict(Conflict::Invitation)), Ok(true)) => assert!(!joined, "race {race}"),
            other => panic!("race {race}: {other:?}"),
        }
        assert_eq!(store.invitation(&invited.token).await.unwrap().is_some(), joined, "race {race}");
    }
}

async fn the_last_seat_is_taken_once(store: &dyn ColdStore) {
    for race in 0..races() {
        let (org, rosa) = sample::member(store, &format!("pine-{race}")).await;
        let (_, bob) = sample::member(store, &format!("oak-{race}")).await;
        let (_, eve) = sample::member(store, &format!("elm-{race}")).await;
        let for_bob = invite(store, &rosa, &bob.email).await;
        let for_eve = invite(store, &rosa, &eve.email).await;
        let email = format!("new-{race}@x.test");
        let for_new = invite(store, &rosa, &email).await;
        let (a, b, c) = tokio::join!(
            store.accept_invitation(acceptance(&for_bob, &bob, 2)),
            store.accept_invitation(acceptance(&for_eve, &eve, 2)),
            sign_up(store, &for_new, &email, 2)
        );
        let outcomes = [a.map(drop), b.map(drop), c];
        let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let full = outcomes.iter().filter(|outcome| **outcome == refused(Conflict::MemberLimit)).count();
        assert_eq!((won, full), (1, 2), "race {race}: {outcomes:?}");
        assert_eq!(store.member_count(org.id).await, Ok(2), "race {race}");
        assert_eq!(pending(store, org.id).await.len(), 2, "race {race}");
    }
}

async fn racing_invitations_of_one_address_are_one(store: &dyn ColdStore) {
    let (org, rosa) = sample::member(store, "pinewood").await;
    for race in 0..races() {
        let email = format!("{race}@x.test");
        let (a, b) = tokio::join!(
            try_to_invite(store, &rosa, &email, MANY),
            try_to_invite(store, &rosa, &email, MANY)
        );
        assert!([&a, &b].contains(&&Ok(())), "race {race}: {a:?} {b:?}");
        assert!([a, b].contains(&refused(Conflict::Invited)), "race {race}");
    }
    assert_eq!(pending(store, org.id).await.len(), races());
}

async fn two_administrators_do_not_leave_at_once(store: &dyn ColdStore) {
    let (_, rosa) = sample::member(store, "pinewood").await;
    for race in 0..races() {
        let (from, bob) = sample::member(store, &format!("oak-{race}")).await;
        let eve = member(store, &bob, &format!("eve-{race}@x.test")).await;
        let ivo = member(store, &bob, &format!("ivo-{race}@x.test")).await;
        let eve = User { role: Role::Admin, ..eve };
        store.update_user(eve.clone(), None).await.unwrap();
        let for_bob = invite(store, &rosa, &bob.email).await;
        // One leaves, one is demoted: never both, since somebody stays.
        let demoted = User { role: Role::Viewer, ..eve.clone() };
        let left = if race % 2 == 0 {
            let change =
                runstream::domain::member::MemberChange::Role { from: Role::Admin, to: Role::Viewer };
            let (left, demoted) = tokio::join!(
                accept(store, &for_bob, &bob),
                store.change_member(from.id, eve.id, change, NOW_MS, None)
            );
            match (&left, &demoted) {
                (Ok(Some(_)), Err(StoreError::Conflict(Conflict::LastAdmin))) => true,
                (Err(StoreError::Conflict(Conflict::LastAdmin)), Ok(Some(_))) => false,
                other => panic!("race {race}: {other:?}"),
            }
        } else {
            let for_eve = invite(store, &rosa, &eve.email).await;
            let (a, b) = tokio::join!(accept(store, &for_bob, &bob), accept(store, &for_eve, &eve));
            let won = [&a, &b].into_iter().filter(|one| matches!(one, Ok(Some(_)))).count();
            let kept = [&a, &b].into_iter().filter(|one| **one == refused(Conflict::LastAdmin)).count();
            assert_eq!((won, kept), (1, 1), "race {race}: {a:?} {b:?}");
            a.is_ok()
        };
        let admin = if left { &eve } else { &bob };
        let stays = store.user(admin.id).await.unwrap().unwrap();
        assert!(stays.org == from.id && stays.role == Role::Admin, "race {race}: {demoted:?}");
        assert_eq!(store.user(ivo.id).await.unwrap().unwrap().org, from.id);
    }
}

async fn invitations_survive_a_restart(home: &dyn ColdHome) {
    let store = home.open_cold().await;
    let ((org, rosa), (_, bob)) = two(&*store, "a").await;
    let open = invite(&*store, &rosa, "ivo@x.test").await;
    let redeemed = invite(&*store, &rosa, &bob.email).await;
    accept(&*store, &redeemed, &bob).await.unwrap().unwrap();
    drop(store);
    let store = home.open_cold().await;
    assert_eq!(pending(&*store, org.id).await, std::slice::from_ref(&open));
    assert!(store.invitation(&redeemed.token).await.unwrap().unwrap().accepted);
    assert_eq!(store.user(bob.id).await.unwrap().unwrap().org, org.id);
    assert_eq!(sign_up(&*store, &open, "ivo@x.test", MANY).await, Ok(()));
}
