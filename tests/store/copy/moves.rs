//! Accounts that were about to change their organization when their server stopped.

use std::sync::Arc;

use runstream::clock::{Clock as _, SystemClock};
use runstream::domain::invitation::{Invitation, InvitationToken};
use runstream::domain::role::Role;
use runstream::store::contract::{Acceptance, Accounts, Invitations};
use runstream::store::scylla::Cold;

use super::{copied, folder, keyspace, open};
use crate::store::sample;
use crate::support::cql;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
async fn an_account_whose_move_was_stopped_anywhere_is_copied_into_exactly_one_organization() {
    let settings = cql::keyspace().await;
    let cql = Arc::new(cql::connect(&settings).await);
    let now_ms = SystemClock.now_ms();
    let first = Cold::open(Arc::clone(&cql)).await.unwrap();
    let (to, admin) = sample::member(&first, "joined").await;
    let mut moved = Vec::new();
    for writes in 0.. {
        let process = Cold::open(Arc::clone(&cql)).await.unwrap();
        let (from, user) = sample::member(&process, &format!("left-{writes}")).await;
        let token = InvitationToken::generate();
        let invitation = Invitation::new((to.id, admin.id), user.email.clone(), Role::Viewer, &token, now_ms);
        let audit = |org| sample::audit_at(org, "invitation.accepted", now_ms);
        process.invite(invitation.clone(), u64::MAX, None, audit(to.id)).await.unwrap();
        let (token, joined, left) = (invitation.token, audit(to.id), audit(from.id));
        let acceptance = Acceptance { token, user: user.id, now_ms, max_members: u64::MAX, joined, left };
        cql.faults().die_after(writes);
        let outcome = process.accept_invitation(acceptance).await;
        let stopped = cql.faults().is_dead();
        cql.faults().end();
        assert_eq!(outcome.is_ok(), !stopped, "after {writes}: {outcome:?}");
        moved.push((from.id, user, token));
        if !stopped {
            break;
        }
    }
    let data = tempfile::tempdir().unwrap();
    let target = folder(data.path());
    copied(&keyspace(&settings), &target).await.unwrap();
    let store = open(&target).await.unwrap();
    let joined = store.members(to.id).await.unwrap();
    assert!(joined.len() > 2, "only {} came", joined.len());
    assert!(joined.len() <= moved.len(), "all came, so none was stopped before it had left");
    assert_eq!(store.member_count(to.id).await, Ok(joined.len() as u64));
    for (from, user, token) in moved {
        let found = store.user(user.id).await.unwrap().unwrap();
        let has_joined = found.org == to.id;
        assert!(has_joined || found.org == from);
        assert_eq!(joined.contains(&found), has_joined);
        assert_eq!(store.member_count(from).await, Ok(u64::from(!has_joined)));
        assert_eq!(store.invitation(&token).await.unwrap().unwrap().accepted, has_joined);
        assert_eq!(store.user_by_email(&user.email).await, Ok(Some(found.clone())));
        assert_eq!(first.user(user.id).await, Ok(Some(found)), "as the cluster says it");
    }
    store.shut_down().await.unwrap();
}
