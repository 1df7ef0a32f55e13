//! The store's conformance suite: each sentence of `src/store/contract/` as a plain function over the contract, run by
//! every store. One file per noun, named as in the contract.

mod accounts;
mod audit;
pub(crate) mod copy;
mod executions;
mod feed;
mod golden;
pub(crate) mod invitations;
mod keys;
mod logins;
mod organizations;
mod outbox;
mod people;
mod project_settings;
mod projects;
mod random;
mod random_runs;
mod resets;
mod results;
pub(crate) mod runs;
mod scylla;
pub(crate) mod sealed;
mod segments;
mod settling;
mod texts;
mod tokens;
mod variables;

use std::sync::Arc;

use async_trait::async_trait;
use runstream::clock::ManualClock;
use runstream::domain::id::OrgId;
use runstream::fs::OsFs;
use runstream::store::contract::{
    Accounts, Executions, FeedLog, Invitations, Organizations, Outbox, PasswordResets, People, Projects,
    SealedValues, Tokens, Variables,
};
use runstream::store::lsm::{LsmSettings, LsmStore};
use runstream::store::observed::Observed;
use runstream::store::scylla::{Cold, Cql};

use crate::support::cql;

/// What the suite needs of a store's cold half.
pub(crate) trait ColdStore:
    Accounts
    + Invitations
    + Organizations
    + People
    + PasswordResets
    + Tokens
    + Projects
    + Outbox
    + Variables
    + SealedValues
{
}
impl<
    T: Accounts
        + Invitations
        + Organizations
        + People
        + PasswordResets
        + Tokens
        + Projects
        + Outbox
        + Variables
        + SealedValues
        + ?Sized,
> ColdStore for T
{
}

/// What the suite needs of a store.
pub(crate) trait Store: ColdStore + Executions + FeedLog {}
impl<T: ColdStore + Executions + FeedLog> Store for T {}

/// Where a store keeps its data: opening it twice, one after the other, is a restart.
#[async_trait]
pub(crate) trait Home: Send + Sync {
    /// Opens the store. The one opened before must be gone.
    async fn open(&self) -> Arc<dyn Store>;
}

/// As [`Home`], of a store's cold half.
#[async_trait]
pub(crate) trait ColdHome: Send + Sync {
    /// Opens the store. The one opened before must be gone.
    async fn open_cold(&self) -> Arc<dyn ColdStore>;
}

#[async_trait]
impl<H: Home> ColdHome for H {
    async fn open_cold(&self) -> Arc<dyn ColdStore> {
        self.open().await
    }
}

/// A folder of the embedded store.
pub(crate) struct LsmHome(tempfile::TempDir);

impl LsmHome {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl LsmHome {
    async fn open_store(&self) -> Arc<LsmStore> {
        Arc::new(LsmStore::open(LsmSettings::at(self.0.path()), Arc::new(OsFs)).await.unwrap())
    }
}

#[async_trait]
impl Home for LsmHome {
    async fn open(&self) -> Arc<dyn Store> {
        self.open_store().await
    }
}

/// The same under the timing decorator, which must not change anything.
pub(crate) struct ObservedHome(LsmHome);

impl ObservedHome {
    pub(crate) fn new() -> Self {
        Self(LsmHome::new())
    }
}

impl ObservedHome {
    async fn open_store(&self) -> Arc<Observed<LsmStore>> {
        Arc::new(Observed::new(self.0.open_store().await))
    }
}

#[async_trait]
impl Home for ObservedHome {
    async fn open(&self) -> Arc<dyn Store> {
        self.open_store().await
    }
}

/// A keyspace of the CQL server that the tests share.
pub(crate) struct ScyllaColdHome(tokio::sync::OnceCell<cql::Keyspace>);

impl ScyllaColdHome {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::OnceCell::new())
    }

    /// Writes rows of one kind into the partition of an organization, past the store: keys and values.
    async fn put_rows(&self, org: OrgId, kind: &str, rows: Vec<(Vec<u8>, Vec<u8>)>) {
        cql::put_rows(self.0.get().unwrap(), org.as_bytes(), kind, rows).await;
    }
}

#[async_trait]
impl ColdHome for ScyllaColdHome {
    async fn open_cold(&self) -> Arc<dyn ColdStore> {
        let keyspace = self.0.get_or_init(cql::keyspace).await;
        // The samples' time, so that what is kept for a time is kept now.
        let clock = Arc::new(ManualClock::at(sample::NOW_MS));
        let cql = Cql::connect(&keyspace.0, clock).await.unwrap();
        Arc::new(Cold::open(Arc::new(cql)).await.unwrap())
    }
}

/// Makes `on_lsm::name` and `on_observed_lsm::name` of each `async fn name(store: &dyn Store)`.
macro_rules! on_each_store {
    ($($name:ident),* $(,)?) => {
        crate::store::on_each_store! { @on on_lsm LsmHome $($name),* }
        crate::store::on_each_store! { @on on_observed_lsm ObservedHome $($name),* }
    };
    (@on $module:ident $home:ident $($name:ident),*) => {
        mod $module {
            use crate::store::Home as _;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name(&*crate::store::$home::new().open().await).await;
                }
            )*
        }
    };
}

/// As [`on_each_store`], of each `async fn name(home: &dyn Home)`, which may restart the store.
macro_rules! on_each_store_across_restarts {
    ($($name:ident),* $(,)?) => {
        mod on_lsm_across_restarts {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name(&crate::store::LsmHome::new()).await;
                }
            )*
        }
    };
}

/// Makes `on_lsm::name`, `on_observed_lsm::name` and `on_scylla::name` of each `async fn name(store: &dyn ColdStore)`.
macro_rules! on_each_cold_store {
    ($($name:ident),* $(,)?) => {
        crate::store::on_each_store! { @on on_lsm LsmHome $($name),* }
        crate::store::on_each_store! { @on on_observed_lsm ObservedHome $($name),* }
        mod on_scylla {
            use crate::store::ColdHome as _;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                #[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
                async fn $name() {
                    let home = crate::store::ScyllaColdHome::new();
                    let store = home.open_cold().await;
                    crate::store::RACES.scope(crate::store::races_on_scylla(), super::$name(&*store)).await;
                }
            )*
        }
    };
}

/// As [`on_each_cold_store`], of each `async fn name(home: &dyn ColdHome)`, which may restart the store.
macro_rules! on_each_cold_store_across_restarts {
    ($($name:ident),* $(,)?) => {
        crate::store::on_each_store_across_restarts! { $($name),* }
        mod on_scylla_across_restarts {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                #[cfg_attr(feature = "tests-without-cql-server", ignore = "needs Java 17 and Maven")]
                async fn $name() {
                    super::$name(&crate::store::ScyllaColdHome::new()).await;
                }
            )*
        }
    };
}

use {on_each_cold_store, on_each_cold_store_across_restarts, on_each_store, on_each_store_across_restarts};

tokio::task_local! {
    /// How often a race is run, if not [`RACES_ON_DISK`] times.
    pub(crate) static RACES: usize;
}
/// Races on a store in this process.
const RACES_ON_DISK: usize = 200;
/// Races on a store whose every step is a round trip: as many in the longer modes, and a few otherwise.
pub(crate) fn races_on_scylla() -> usize {
    if crate::support::long_mode() { RACES_ON_DISK } else { 20 }
}

/// How often a race is run.
pub(crate) fn races() -> usize {
    RACES.try_with(|races| *races).unwrap_or(RACES_ON_DISK)
}

/// Records that differ from each other only where a test says so.
pub(crate) mod sample {
    use runstream::clock::UnixMs;
    use runstream::domain::account::{ApiKey, AuditEntry, Organization, User};
    use runstream::domain::id::{ApiKeyId, AuditId, OrgId, ProjectId, UserId};
    use runstream::domain::project::Project;
    use runstream::domain::role::{AccountStatus, Role};

    use super::ColdStore;

    pub(crate) const NOW_MS: UnixMs = 1_774_000_000_123;

    pub(crate) fn org() -> OrgId {
        OrgId::generate(NOW_MS)
    }

    pub(crate) fn organization(slug: &str) -> Organization {
        Organization {
            id: org(),
            name: "Pinewood Labs".into(),
            slug: slug.into(),
            ai_analysis_enabled: true,
            created_ms: NOW_MS,
            updated_ms: NOW_MS,
        }
    }

    pub(crate) fn user(org: OrgId, email: &str) -> User {
        User {
            id: UserId::generate(NOW_MS),
            org,
            email: email.into(),
            name: "Rosa Linde".into(),
            password_hash: "$argon2id$x".into(),
            role: Role::Admin,
            status: AccountStatus::Active,
            credentials_valid_from_ms: 0,
            last_login_ms: None,
            created_ms: NOW_MS,
            updated_ms: NOW_MS,
        }
    }

    /// A key of `owner` made at `created_ms`; its hash is random.
    pub(crate) fn key(org: OrgId, owner: UserId, created_ms: UnixMs) -> ApiKey {
        ApiKey {
            id: ApiKeyId::generate(created_ms),
            org,
            owner,
            name: "nightly pipeline".into(),
            prefix: "pk_live_7c1d...".into(),
            hash: rand::random(),
            created_ms,
            last_used_ms: None,
        }
    }

    pub(crate) fn project(org: OrgId, slug: &str, created_ms: UnixMs) -> Project {
        Project {
            id: ProjectId::generate(created_ms),
            org,
            name: "Web Shop".into(),
            slug: slug.into(),
            auto_quarantine: false,
            created_ms,
            updated_ms: created_ms,
        }
    }

    /// A project of `org`, created.
    pub(crate) async fn new_project(store: &dyn ColdStore, org: OrgId) -> Project {
        let project = project(org, &format!("p{:x}", rand::random::<u64>()), NOW_MS);
        store.create_project(project.clone(), u64::MAX, audit(org, "project.created")).await.unwrap();
        project
    }

    pub(crate) fn audit(org: OrgId, action: &str) -> AuditEntry {
        audit_at(org, action, NOW_MS)
    }

    pub(crate) fn audit_at(org: OrgId, action: &str, timestamp_ms: UnixMs) -> AuditEntry {
        AuditEntry {
            id: AuditId::generate(timestamp_ms),
            org,
            user: UserId::generate(NOW_MS),
            action: action.into(),
            target_type: "user".into(),
            target_id: "69a7e2742f4b8e1190ab3d2c".into(),
            details: "{}".into(),
            ip: "203.0.113.9".into(),
            timestamp_ms,
        }
    }

    /// Signs up an organization with one member.
    pub(crate) async fn member(store: &dyn ColdStore, name: &str) -> (Organization, User) {
        let org = organization(name);
        let user = user(org.id, &format!("{name}@pinewood.test"));
        let audit = audit(org.id, "auth.signup");
        let org = store.sign_up(org, format!("{name}-0a1b2c"), user.clone(), audit, None).await.unwrap();
        (org, user)
    }

    /// A member more, as an invitation would make one; created at `created_ms`.
    pub(crate) async fn joined(
        store: &dyn ColdStore,
        org: OrgId,
        name: &str,
        role: Role,
        created_ms: UnixMs,
    ) -> User {
        let own = organization(&format!("left-by-{name}"));
        let email = format!("{name}@pinewood.test");
        let new = User { id: UserId::generate(created_ms), role, created_ms, ..user(own.id, &email) };
        let audit = audit(own.id, "auth.signup");
        store.sign_up(own, format!("left-by-{name}-x"), new.clone(), audit, None).await.unwrap();
        let moved = User { org, ..new };
        assert_eq!(store.update_user(moved.clone(), None).await, Ok(true));
        moved
    }

    /// The actions of an organization's audit log, newest first.
    pub(crate) async fn actions(store: &dyn ColdStore, org: OrgId) -> Vec<String> {
        let (entries, total) = store.audit_entries(org, 1_000, 0).await.unwrap();
        assert_eq!(entries.len() as u64, total);
        entries.into_iter().map(|entry| entry.action).collect()
    }
}
