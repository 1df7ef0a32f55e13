//! Credentials against a real store, on a clock that is moved by hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderMap;

use super::token::tests::user;
use super::*;
use crate::clock::ManualClock;
use crate::domain::account::{ApiKey, Organization};
use crate::domain::id::AuditId;
use crate::domain::role::AccountStatus;
use crate::fs::OsFs;
use crate::store::contract::{Accounts as _, StoreError, Tokens as _};
use crate::store::lsm::{LsmSettings, LsmStore};

const NOW_MS: UnixMs = 1_774_000_000_789;

/// One organization with one developer, on a store of its own.
struct World {
    _data: tempfile::TempDir,
    store: Arc<LsmStore>,
    clock: ManualClock,
    secrets: Secrets,
    access: Access,
    user: User,
}

impl World {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = Arc::new(LsmStore::open(LsmSettings::at(data.path()), Arc::new(OsFs)).await.unwrap());
        let clock = ManualClock::at(NOW_MS);
        let (secrets, settings) = (Secrets::generate(), AccessSettings::default());
        let access = Access::new(store.clone(), Arc::new(clock.clone()), &secrets, settings);
        let user = user();
        let org = Organization {
            id: user.org,
            name: "Pinewood Labs".into(),
            slug: "pinewood-labs".into(),
            ai_analysis_enabled: true,
            created_ms: NOW_MS,
            updated_ms: NOW_MS,
        };
        let world = Self { _data: data, store, clock, secrets, access, user };
        world.store.sign_up(org, "x".into(), world.user.clone(), world.audit(), None).await.unwrap();
        world
    }

    fn audit(&self) -> AuditEntry {
        AuditEntry {
            id: AuditId::generate(NOW_MS),
            org: self.user.org,
            user: self.user.id,
            action: "test".into(),
            target_type: "user".into(),
            target_id: self.user.id.to_string(),
            details: "{}".into(),
            ip: "192.0.2.1".into(),
            timestamp_ms: NOW_MS,
        }
    }

    fn token(&self) -> String {
        self.access.issue_token(&self.user).unwrap().token
    }

    async fn key(&self) -> (ApiKeyId, NewKey) {
        let new = self.access.generate_key();
        let key = ApiKey {
            id: ApiKeyId::generate(NOW_MS),
            org: self.user.org,
            owner: self.user.id,
            name: "nightly".into(),
            prefix: new.prefix.clone(),
            hash: new.hash,
            created_ms: self.clock.now_ms(),
            last_used_ms: None,
        };
        let id = key.id;
        self.store.create_key(key, 50, self.audit()).await.unwrap();
        (id, new)
    }

    async fn identify(&self, headers: &[(&str, &str)], accept: Accept) -> Result<Caller, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::try_from(*name).unwrap();
            map.append(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let found = self.access.identify(&map, accept).await;
        found.map_err(|failure| format!("{} {}", failure.kind.status().as_u16(), failure.error))
    }

    async fn by_token(&self, token: &str) -> Result<Caller, String> {
        self.identify(&[("authorization", &format!("Bearer {token}"))], Accept::TokenOnly).await
    }

    async fn by_key(&self, key: &str) -> Result<Caller, String> {
        self.identify(&[("x-api-key", key)], Accept::TokenOrKey).await
    }

    async fn update(&mut self, change: impl FnOnce(&mut User)) {
        change(&mut self.user);
        assert_eq!(
            self.access.voiding(self.user.id, self.store.update_user(self.user.clone(), None)).await,
            Ok(true)
        );
    }
}

fn refused(error: &str) -> Result<Caller, String> {
    Err(error.to_owned())
}

#[tokio::test]
async fn what_a_request_carries_decides_and_a_key_goes_first() {
    let world = World::new().await;
    let (id, key) = world.key().await;
    let token = world.token();
    let bearer = format!("Bearer {token}");
    let caller = world.by_token(&token).await.unwrap();
    assert_eq!((caller.org, caller.user, caller.role), (world.user.org, world.user.id, Role::Developer));
    assert_eq!(world.by_key(&key.text).await.unwrap().credential, Credential::Key(id));

    let check = async |headers: &[(&str, &str)], accept, expected: Result<Caller, String>| {
        assert_eq!(world.identify(headers, accept).await, expected, "{headers:?} {accept:?}");
    };
    let required = || refused("401 Authentication required");
    for accept in [Accept::TokenOnly, Accept::TokenOrKey] {
        check(&[], accept, required()).await;
        for value in ["", "Bearer", "Bearer ", "Bearer   ", "Basic cm9zYTp4", &token, "Bearerx y"] {
            check(&[("authorization", value)], accept, required()).await;
        }
        for value in ["Bearer x", "Bearer é", &format!("Bearer {}", key.text), &format!("{bearer} x")] {
            check(&[("authorization", value)], accept, refused("401 Invalid token")).await;
        }
        check(&[("authorization", &format!("bearer {token}"))], accept, Ok(caller.clone())).await;
    }
    check(&[("x-api-key", &key.text)], Accept::TokenOnly, required()).await;
    let both = |key| [("x-api-key", key), ("authorization", bearer.as_str())];
    check(&both(&key.text), Accept::TokenOnly, Ok(caller)).await;
    let by_key = world.by_key(&key.text).await;
    check(&both(&key.text), Accept::TokenOrKey, by_key).await;
    let long = "k".repeat(5_000);
    for wrong in ["", "pk_live_", "pk_live_000000000000000000000000000000000000000000000000", &long] {
        check(&both(wrong), Accept::TokenOrKey, refused("401 Invalid API key")).await;
    }
}

#[tokio::test]
async fn a_token_is_over_at_its_last_second_and_at_logout() {
    let world = World::new().await;
    let (first, second) = (world.token(), world.access.issue_token(&world.user).unwrap());
    let mut heard = world.access.revocations();
    let caller = world.by_token(&second.token).await.unwrap();
    assert!(world.access.still_valid(&caller).await.is_ok());
    world.access.revoke_token(&second.id, second.expires_ms, world.audit()).await.unwrap();
    assert_eq!(world.by_token(&second.token).await, refused("401 Invalid token"));
    assert!(world.access.still_valid(&caller).await.is_err());
    assert_eq!(heard.recv().await, Ok(Revocation::Token(second.id)));

    let caller = world.by_token(&first).await.expect("another token of the same second stays");
    world.clock.advance(Duration::from_secs(24 * 3600) - Duration::from_millis(790));
    assert!(world.by_token(&first).await.is_ok());
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.by_token(&first).await, refused("401 Invalid token"));
    assert!(world.access.still_valid(&caller).await.is_err());
}

#[tokio::test]
async fn the_stored_account_decides_at_once_for_both_credentials() {
    let mut world = World::new().await;
    let ((_, key), token) = (world.key().await, world.token());
    let mut heard = world.access.revocations();
    let caller = world.by_token(&token).await.unwrap();

    world.update(|user| user.role = Role::Viewer).await;
    assert_eq!(heard.recv().await, Ok(Revocation::User(world.user.id)));
    assert_eq!(world.by_token(&token).await.unwrap().role, Role::Viewer);
    assert_eq!(world.by_key(&key.text).await.unwrap().role, Role::Viewer);
    assert_eq!(world.access.still_valid(&caller).await.unwrap().role, Role::Viewer);

    world.update(|user| user.status = AccountStatus::Suspended).await;
    assert_eq!(world.by_token(&token).await, refused("403 Account suspended"));
    assert_eq!(world.by_key(&key.text).await, refused("401 Invalid API key"));
    assert!(world.access.still_valid(&caller).await.is_err());
    world.update(|user| user.status = AccountStatus::Active).await;
    assert!(world.by_token(&token).await.is_ok() && world.by_key(&key.text).await.is_ok());

    let home = world.user.org;
    world.update(|user| user.org = OrgId::generate(NOW_MS)).await;
    assert_eq!(world.by_token(&token).await, refused("401 Invalid token"));
    assert_eq!(world.by_key(&key.text).await, refused("401 Invalid API key"));
    assert!(world.access.still_valid(&caller).await.is_err());
    world.update(|user| user.org = home).await;

    world.clock.advance(Duration::from_millis(1));
    let now_ms = world.clock.now_ms();
    world.update(|user| user.credentials_valid_from_ms = now_ms).await;
    assert_eq!(world.by_token(&token).await, refused("401 Invalid token"));
    assert_eq!(world.by_key(&key.text).await, refused("401 Invalid API key"));
    assert!(world.access.still_valid(&caller).await.is_err());
    let (_, key) = world.key().await;
    assert!(world.by_token(&world.token()).await.is_ok() && world.by_key(&key.text).await.is_ok());
}

#[tokio::test]
async fn changes_behind_its_back_are_seen_within_five_seconds() {
    let world = World::new().await;
    let ((id, key), token) = (world.key().await, world.access.issue_token(&world.user).unwrap());
    assert!(world.by_token(&token.token).await.is_ok() && world.by_key(&key.text).await.is_ok());
    let caller = world.by_token(&token.token).await.unwrap();
    let through_key = world.by_key(&key.text).await.unwrap();
    // As another node would: past this one's caches.
    let suspended = User { status: AccountStatus::Suspended, ..world.user.clone() };
    world.store.update_user(suspended, None).await.unwrap();
    let heard = (world.access.still_valid(&caller).await, world.access.still_valid(&through_key).await);
    assert_eq!(heard.0.unwrap_err().error, "Account suspended");
    assert_eq!(heard.1.unwrap_err().error, "Invalid API key", "the owner is read anew too");
    assert!(world.by_key(&key.text).await.is_ok(), "cached");
    world.store.update_user(world.user.clone(), None).await.unwrap();
    assert!(world.access.still_valid(&through_key).await.is_ok());
    world.store.revoke_token(&token.id, token.expires_ms, world.audit()).await.unwrap();
    world.store.revoke_key(world.user.org, id, world.audit()).await.unwrap();
    assert!(world.by_token(&token.token).await.is_ok() && world.by_key(&key.text).await.is_ok(), "cached");
    assert!(world.access.still_valid(&caller).await.is_err(), "an open connection hears the truth");
    assert!(world.access.still_valid(&through_key).await.is_err(), "an open connection hears the truth");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(world.by_token(&token.token).await, refused("401 Invalid token"));
    assert_eq!(world.by_key(&key.text).await, refused("401 Invalid API key"));
}

/// A store that answers nothing while it is broken.
struct Breakable<S: ?Sized> {
    is_broken: AtomicBool,
    inner: Arc<S>,
}

impl<S: ?Sized> Breakable<S> {
    fn inner(&self) -> &S {
        &self.inner
    }

    async fn around<T>(
        &self,
        _method: &'static str,
        call: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        if self.is_broken.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("broken by a test".into()));
        }
        call.await
    }
}

crate::decorate_store!(Breakable);

#[tokio::test]
async fn who_cannot_be_checked_is_not_let_in() {
    let mut world = World::new().await;
    let ((_, key), token) = (world.key().await, world.token());
    let store = Arc::new(Breakable { is_broken: AtomicBool::new(false), inner: world.store.clone() });
    let clock = Arc::new(world.clock.clone());
    world.access = Access::new(store.clone(), clock, &world.secrets, AccessSettings::default());
    let caller = world.by_token(&token).await.unwrap();
    assert!(world.by_key(&key.text).await.is_ok());

    store.is_broken.store(true, Ordering::SeqCst);
    assert!(world.by_token(&token).await.is_ok(), "known well enough for five seconds");
    world.clock.advance(Duration::from_secs(5));
    assert_eq!(world.by_token(&token).await, refused("503 Service unavailable"));
    assert_eq!(world.by_key(&key.text).await, refused("503 Service unavailable"));
    let failure = world.access.still_valid(&caller).await.unwrap_err();
    assert_eq!((failure.kind, failure.retry_after_s), (Kind::Unavailable, Some(1)));
    assert!(!failure.message.contains("broken by a test"), "causes stay inside");

    store.is_broken.store(false, Ordering::SeqCst);
    assert!(world.by_token(&token).await.is_ok() && world.by_key(&key.text).await.is_ok());
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once_and_only_it() {
    let world = World::new().await;
    let ((first_id, first), (_, second)) = (world.key().await, world.key().await);
    let caller = world.by_key(&first.text).await.unwrap();
    assert!(world.by_key(&second.text).await.is_ok() && world.access.still_valid(&caller).await.is_ok());
    let mut heard = world.access.revocations();
    assert_eq!(world.access.revoke_key(OrgId::generate(1), first_id, world.audit()).await, Ok(false));
    assert!(world.by_key(&first.text).await.is_ok(), "a foreign organization revokes nothing");
    assert_eq!(world.access.revoke_key(world.user.org, first_id, world.audit()).await, Ok(true));
    assert_eq!(world.by_key(&first.text).await, refused("401 Invalid API key"));
    assert!(world.access.still_valid(&caller).await.is_err());
    assert!(world.by_key(&second.text).await.is_ok());
    heard.recv().await.unwrap();
    assert_eq!(heard.recv().await, Ok(Revocation::Key(first_id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn once_a_revocation_has_returned_no_racing_request_brings_the_credential_back() {
    let mut world = World::new().await;
    for race in 0..100 {
        let ((key_id, key), token) = (world.key().await, world.access.issue_token(&world.user).unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        let requests: Vec<_> = (0..3)
            .map(|_| {
                let (access, is_over) = (world.access.clone(), is_over.clone());
                let (key, token) = (key.text.clone(), token.token.clone());
                tokio::spawn(async move {
                    while !is_over.load(Ordering::SeqCst) {
                        let _either = access.identify_token(&token).await;
                        let mut headers = HeaderMap::new();
                        headers.insert(API_KEY_HEADER, key.parse().unwrap());
                        let _either = access.identify(&headers, Accept::TokenOrKey).await;
                        // Cached answers wait for nothing, and a loop without a pause cannot be ended from outside.
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        world.access.revoke_token(&token.id, token.expires_ms, world.audit()).await.unwrap();
        world.access.revoke_key(world.user.org, key_id, world.audit()).await.unwrap();
        let role = if race % 2 == 0 { Role::Viewer } else { Role::Admin };
        world.update(|user| user.role = role).await;
        let fresh = world.token();
        for _ in 0..3 {
            assert_eq!(world.by_token(&token.token).await, refused("401 Invalid token"), "race {race}");
            assert_eq!(world.by_key(&key.text).await, refused("401 Invalid API key"), "race {race}");
            assert_eq!(world.by_token(&fresh).await.unwrap().role, role, "race {race}");
            tokio::task::yield_now().await;
        }
        is_over.store(true, Ordering::SeqCst);
        for request in requests {
            request.await.unwrap();
        }
    }
}

#[tokio::test]
async fn use_is_marked_once_a_minute_beside_the_requests() {
    let world = World::new().await;
    let (id, key) = world.key().await;
    let marking = tokio::spawn({
        let access = world.access.clone();
        async move { access.mark_used_keys().await }
    });
    let last_used = async || world.store.key(world.user.org, id).await.unwrap().unwrap().last_used_ms;
    let until_marked = async |expected| {
        let marked = async {
            while last_used().await != expected {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(Duration::from_secs(10), marked).await.unwrap();
    };
    world.by_key(&key.text).await.unwrap();
    until_marked(Some(NOW_MS)).await;
    // Past the cache's lifetime, so that the mark is read back from the store.
    world.clock.advance(Duration::from_millis(59_999));
    world.by_key(&key.text).await.unwrap();
    world.by_key(&key.text).await.unwrap();
    world.clock.advance(Duration::from_millis(1));
    world.by_key(&key.text).await.unwrap();
    // Marks are written in order: had the earlier ones been sent, they would have stood here first.
    until_marked(Some(NOW_MS + 60_000)).await;
    assert_eq!(world.access.inner.used_keys.capacity(), world.access.inner.used_keys.max_capacity());
    marking.abort();
}

#[test]
fn a_role_that_is_not_allowed_is_told_both() {
    let (org, user) = (OrgId::generate(1), UserId::generate(1));
    let credential = Credential::Key(ApiKeyId::generate(1));
    let caller = Caller { org, user, role: Role::Viewer, credential };
    assert!(caller.require(&[Role::Admin, Role::Viewer]).is_ok());
    let failure = caller.require(&[Role::Admin, Role::Developer]).unwrap_err();
    assert_eq!((failure.kind, failure.error.as_ref()), (Kind::Forbidden, "Insufficient permissions"));
    assert_eq!(failure.message, "This needs the role admin or developer; yours is viewer");
}
