//! The store's conformance suite: each sentence of `src/store/contract/` as a plain function over the contract, run by
//! every store. One file per noun, named as in the contract.

mod accounts;
mod audit;
mod executions;
mod feed;
mod golden;
mod keys;
mod logins;
mod projects;
mod results;
mod scylla;
mod segments;
mod settling;
mod texts;
mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use runstream::fs::OsFs;
use runstream::store::contract::{Accounts, Executions, FeedLog, Projects, Tokens};
use runstream::store::lsm::{LsmSettings, LsmStore};
use runstream::store::observed::Observed;

/// What the suite needs of a store.
pub(crate) trait Store: Accounts + Tokens + Projects + Executions + FeedLog {}
impl<T: Accounts + Tokens + Projects + Executions + FeedLog> Store for T {}

/// Where a store keeps its data: opening it twice, one after the other, is a restart.
#[async_trait]
pub(crate) trait Home: Send + Sync {
    /// Opens the store. The one opened before must be gone.
    async fn open(&self) -> Arc<dyn Store>;
}

/// A folder of the embedded store.
pub(crate) struct LsmHome(tempfile::TempDir);

impl LsmHome {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

#[async_trait]
impl Home for LsmHome {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(LsmStore::open(LsmSettings::at(self.0.path()), Arc::new(OsFs)).await.unwrap())
    }
}

/// The same under the timing decorator, which must not change anything.
pub(crate) struct ObservedHome(LsmHome);

impl ObservedHome {
    pub(crate) fn new() -> Self {
        Self(LsmHome::new())
    }
}

#[async_trait]
impl Home for ObservedHome {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Observed::new(self.0.open().await))
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

use {on_each_store, on_each_store_across_restarts};

/// How often a race is run.
pub(crate) const RACES: usize = 200;

/// Records that differ from each other only where a test says so.
pub(crate) mod sample {
    use runstream::clock::UnixMs;
    use runstream::domain::account::{ApiKey, AuditEntry, Organization, User};
    use runstream::domain::id::{ApiKeyId, AuditId, OrgId, ProjectId, UserId};
    use runstream::domain::project::Project;
    use runstream::domain::role::{AccountStatus, Role};

    use super::Store;

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
    pub(crate) async fn member(store: &dyn Store, name: &str) -> (Organization, User) {
        let org = organization(name);
        let user = user(org.id, &format!("{name}@pinewood.test"));
        let audit = audit(org.id, "auth.signup");
        let org = store.sign_up(org, format!("{name}-0a1b2c"), user.clone(), audit).await.unwrap();
        (org, user)
    }

    /// The actions of an organization's audit log, newest first.
    pub(crate) async fn actions(store: &dyn Store, org: OrgId) -> Vec<String> {
        let (entries, total) = store.audit_entries(org, 1_000, 0).await.unwrap();
        assert_eq!(entries.len() as u64, total);
        entries.into_iter().map(|entry| entry.action).collect()
    }
}
