//! What it costs to find out who calls: a key and a token that are known, one that has to be read, and both with 10 000
//! organizations and 100 000 keys. Prints what the store and the caches of those weigh.
//!
//! Back of the envelope: two hashes of a short text (10 ns each), two look-ups in locked maps (20 ns each), a comparison
//! of 56 bytes: about 100 ns. A token costs an HMAC over 300 bytes and the parsing of its claims on top: 2 µs.

#![allow(missing_docs, clippy::unwrap_used, reason = "a bench is not part of the interface")]

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use mimalloc::MiMalloc;
use runstream::access::{API_KEY_HEADER, Accept, Access, AccessSettings, Secrets};
use runstream::clock::ManualClock;
use runstream::domain::account::{ApiKey, AuditEntry, Organization, User};
use runstream::domain::id::{ApiKeyId, AuditId, OrgId, UserId};
use runstream::domain::role::{AccountStatus, Role};
use runstream::fs::OsFs;
use runstream::store::contract::{Accounts as _, StoreError};
use runstream::store::lsm::{LsmSettings, LsmStore};
use tokio::runtime::Runtime;

/// As the server has it: what things weigh depends on it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const NOW_MS: i64 = 1_774_000_000_123;
/// Writes under way while the store is filled.
const AT_ONCE: usize = 256;
const KEYS_EACH: usize = 10;

/// A store with organizations of one member and `KEYS_EACH` keys each.
struct World {
    runtime: Runtime,
    clock: ManualClock,
    access: Access,
    keys: Vec<HeaderMap>,
    token: HeaderMap,
    _data: tempfile::TempDir,
}

impl World {
    fn of(organizations: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let data = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(NOW_MS);
        let (access, keys, token) = runtime.block_on(async {
            let open = LsmStore::open(LsmSettings::at(data.path()), Arc::new(OsFs));
            let store: Arc<LsmStore> = Arc::new(open.await.unwrap());
            let secrets = Secrets::generate();
            let settings = AccessSettings::default();
            let access = Access::new(store.clone(), Arc::new(clock.clone()), &secrets, settings);
            let people: Vec<User> = stream::iter(0..organizations)
                .map(|number| sign_up(&store, number))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await
                .unwrap();
            let owners = people.iter().flat_map(|owner| std::iter::repeat_n(owner, KEYS_EACH));
            let keys = stream::iter(owners)
                .map(|owner| create_key(&store, &access, owner))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await
                .unwrap();
            let token = format!("Bearer {}", access.issue_token(people.first().unwrap()).unwrap().token);
            (access, keys, HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(token).unwrap())]))
        });
        Self { runtime, clock, access, keys, token, _data: data }
    }

    /// Every key, once.
    fn use_every_key(&self) {
        self.runtime.block_on(async {
            for key in &self.keys {
                self.access.identify(key, Accept::TokenOrKey).await.unwrap();
            }
        });
    }
}

fn audit(org: OrgId, user: UserId, action: &str) -> AuditEntry {
    AuditEntry {
        id: AuditId::generate(NOW_MS),
        org,
        user,
        action: action.into(),
        target_type: "user".into(),
        target_id: user.to_string(),
        details: "{}".into(),
        ip: "192.0.2.1".into(),
        timestamp_ms: NOW_MS,
    }
}

async fn sign_up(store: &LsmStore, number: usize) -> Result<User, StoreError> {
    let org = Organization {
        id: OrgId::generate(NOW_MS),
        name: format!("Pinewood {number}"),
        slug: format!("pinewood-{number}"),
        ai_analysis_enabled: true,
        created_ms: NOW_MS,
        updated_ms: NOW_MS,
    };
    let user = User {
        id: UserId::generate(NOW_MS),
        org: org.id,
        email: format!("rosa{number}@pinewood.test"),
        name: "Rosa Linde".into(),
        password_hash:
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIGl0$Q0hFQ0sgVEhJUyBPVVQgUExFQVNFIE5PVw".into(),
        role: Role::Admin,
        status: AccountStatus::Active,
        credentials_valid_from_ms: 0,
        last_login_ms: None,
        created_ms: NOW_MS,
        updated_ms: NOW_MS,
    };
    let audit = audit(org.id, user.id, "auth.signup");
    store.sign_up(org, "x".into(), user.clone(), audit, None).await?;
    Ok(user)
}

async fn create_key(store: &LsmStore, access: &Access, owner: &User) -> Result<HeaderMap, StoreError> {
    let new = access.generate_key();
    let key = ApiKey {
        id: ApiKeyId::generate(NOW_MS),
        org: owner.org,
        owner: owner.id,
        name: "nightly".into(),
        prefix: new.prefix,
        hash: new.hash,
        created_ms: NOW_MS,
        last_used_ms: None,
    };
    store.create_key(key, 50, audit(owner.org, owner.id, "apikey.created")).await?;
    Ok(HeaderMap::from_iter([(
        HeaderName::from_static(API_KEY_HEADER),
        HeaderValue::try_from(new.text).unwrap(),
    )]))
}

/// KiB of this process that are in memory.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn checks(criterion: &mut Criterion) {
    let before = resident_kib();
    let few = World::of(1);
    let with_few = resident_kib();
    let many = World::of(10_000);
    let with_many = resident_kib();
    many.use_every_key();
    let used = resident_kib();
    println!(
        "resident KiB: {before} at first, +{} for 1 organization with {KEYS_EACH} keys, +{} for {} keys of 10000 \
         organizations (their texts included, {} B a key), +{} once each was used",
        with_few - before,
        with_many - with_few,
        many.keys.len(),
        many.keys.iter().map(|key| key.values().map(HeaderValue::len).sum::<usize>()).sum::<usize>()
            / many.keys.len(),
        used.saturating_sub(with_many),
    );

    let mut group = criterion.benchmark_group("credential");
    for (name, world) in [("1 organization", &few), ("10000 organizations", &many)] {
        let key = world.keys.first().unwrap();
        group.bench_function(format!("known key, {name}"), |bencher| {
            bencher.to_async(&world.runtime).iter(|| async {
                black_box(world.access.identify(black_box(key), Accept::TokenOrKey).await.is_ok())
            });
        });
        group.bench_function(format!("known token, {name}"), |bencher| {
            bencher.to_async(&world.runtime).iter(|| async {
                black_box(world.access.identify(black_box(&world.token), Accept::TokenOrKey).await.is_ok())
            });
        });
        // After a lifetime of the caches, with a key that was not asked for lately.
        group.bench_function(format!("key that is read, {name}"), |bencher| {
            bencher.to_async(&world.runtime).iter_custom(|times| async move {
                let mut spent = Duration::ZERO;
                for (_, key) in (0..times).zip(world.keys.iter().cycle()) {
                    world.clock.advance(Duration::from_secs(6));
                    let start = Instant::now();
                    black_box(world.access.identify(key, Accept::TokenOrKey).await.is_ok());
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group!(benches, checks);
criterion_main!(benches);
