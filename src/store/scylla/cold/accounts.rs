//! Organizations and people.

use async_trait::async_trait;
use uuid::Uuid;

use super::Cold;
use super::change::Edit;
use super::claims::{Space, replaced};
use super::rows::{ORGANIZATION, USER, id_bytes};
use crate::clock::UnixMs;
use crate::domain::account::{ApiKey, AuditEntry, KeyHash, Organization, User};
use crate::domain::id::{ApiKeyId, OrgId, UserId};
use crate::domain::mail::Letter;
use crate::store::contract::{Accounts, Conflict, LoginGate, StoreError, StoreResult};
use crate::store::record;
use crate::store::tries::Bounds;

impl Cold {
    /// Claims the first of the wanted slugs that is free.
    async fn claim_slug(&self, org: &Organization, fallback: String) -> StoreResult<(String, Uuid)> {
        let last = format!("{fallback}-{}", org.id);
        for slug in [org.slug.clone(), fallback, last] {
            if let Some(claim) = self.claim(Space::Slug, &slug, org.id, &[]).await? {
                return Ok((slug, claim));
            }
        }
        // The last one holds the organization's own id.
        Err(StoreError::Unavailable(format!("organization {} was signed up already", org.id)))
    }
}

#[async_trait]
impl Accounts for Cold {
    async fn sign_up(
        &self,
        mut org: Organization,
        fallback_slug: String,
        user: User,
        audit: AuditEntry,
        letter: Option<Letter>,
    ) -> StoreResult<Organization> {
        let (org_bytes, id) = (org.id.as_bytes().as_slice().to_owned(), user.id.as_bytes().as_slice());
        let Some(email_claim) = self.claim(Space::Email, &user.email, org.id, id).await? else {
            return Err(StoreError::Conflict(Conflict::Email));
        };
        let (slug, slug_claim) = self.claim_slug(&org, fallback_slug).await?;
        org.slug = slug;
        self.cql.run(&self.statements.put_lookup, ("user", id, &org_bytes, id)).await?;
        let mut turns = self.turns(org.id).await;
        loop {
            turns.begin().await?;
            for claim in [email_claim, slug_claim] {
                if self.is_void(org.id, claim).await? {
                    return Err(replaced());
                }
            }
            let mut edits = vec![
                Edit::Put(ORGANIZATION, Vec::new(), record::encode(&org)?),
                Edit::Put(USER, id.to_vec(), record::encode(&user)?),
            ];
            edits.extend(self.letter_edits(letter.as_slice()).await?);
            if turns.commit(edits, Some(&audit)).await? {
                return Ok(org);
            }
        }
    }

    /// Sends as many statements for an address that nobody has: how long a login takes does not tell of accounts.
    async fn user_by_email(&self, email: &str) -> StoreResult<Option<User>> {
        let Some(claim) = self.claimed(Space::Email, email).await? else {
            let (nowhere, nobody): ([u8; 12], [u8; 12]) = rand::random();
            let _none: Option<User> = self.record(OrgId::from_bytes(nowhere), USER, &nobody).await?;
            return Ok(None);
        };
        let id = UserId::from_bytes(id_bytes(&claim.record)?);
        let found = self.user_from(claim.org, id).await?;
        Ok(found.filter(|user| user.email == email))
    }

    async fn user(&self, user: UserId) -> StoreResult<Option<User>> {
        self.user_of_id(user).await
    }

    async fn update_user(&self, mut user: User, audit: Option<AuditEntry>) -> StoreResult<bool> {
        let given_login_ms = user.last_login_ms;
        loop {
            let Some(stored) = self.user_of_id(user.id).await? else { return Ok(false) };
            user.email.clone_from(&stored.email);
            user.last_login_ms = given_login_ms.max(stored.last_login_ms);
            if stored.org != user.org {
                if self.move_user(stored.org, &user, audit.as_ref()).await? {
                    return Ok(true);
                }
                continue;
            }
            let mut turns = self.turns(user.org).await;
            loop {
                turns.begin().await?;
                let stored: Option<User> = self.record(user.org, USER, user.id.as_bytes()).await?;
                // It has moved on since it was looked for.
                let Some(stored) = stored else { break };
                user.last_login_ms = given_login_ms.max(stored.last_login_ms);
                let edits = vec![Edit::Put(USER, user.id.as_bytes().to_vec(), record::encode(&user)?)];
                if turns.commit(edits, audit.as_ref()).await? {
                    return Ok(true);
                }
            }
        }
    }

    async fn organization(&self, org: OrgId) -> StoreResult<Option<Organization>> {
        self.record(org, ORGANIZATION, &[]).await
    }

    async fn member_count(&self, org: OrgId) -> StoreResult<u64> {
        self.count_members(org).await
    }

    async fn begin_login(
        &self,
        email: &str,
        now_ms: UnixMs,
        threshold: u32,
        window_ms: i64,
        lock_ms: i64,
    ) -> StoreResult<LoginGate> {
        self.count_try(email, now_ms, Bounds { threshold, window_ms, lock_ms }).await
    }

    async fn undo_login(&self, email: &str) -> StoreResult<()> {
        self.take_back_try(email).await
    }

    /// The tries are forgotten first: if the call ends in between, the password was right all the same.
    async fn login_succeeded(
        &self,
        user: UserId,
        email: &str,
        now_ms: UnixMs,
        audit: AuditEntry,
    ) -> StoreResult<()> {
        self.forget_tries(email).await?;
        loop {
            let found = self.user_of_id(user).await?;
            // An account that is gone, or has moved just now, has no part in the entry's organization.
            let Some(org) = found.map(|user| user.org).filter(|org| *org == audit.org) else {
                return self.audit_alone(&audit, user, now_ms).await;
            };
            let mut turns = self.turns(org).await;
            loop {
                turns.begin().await?;
                let Some(mut account) = self.record::<User>(org, USER, user.as_bytes()).await? else { break };
                account.last_login_ms = Some(now_ms);
                let edits = vec![Edit::Put(USER, user.as_bytes().to_vec(), record::encode(&account)?)];
                if turns.commit(edits, Some(&audit)).await? {
                    return Ok(());
                }
            }
        }
    }

    /// They go by TTL.
    async fn purge_logins(&self, _now_ms: UnixMs) -> StoreResult<u64> {
        Ok(0)
    }

    async fn create_key(&self, key: ApiKey, max_keys: u64, audit: AuditEntry) -> StoreResult<()> {
        self.put_key(&key, max_keys, &audit).await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> StoreResult<Option<ApiKey>> {
        self.find_key(hash).await
    }

    async fn key(&self, org: OrgId, key: ApiKeyId) -> StoreResult<Option<ApiKey>> {
        self.get_key(org, key).await
    }

    async fn keys_of(&self, org: OrgId, owner: UserId) -> StoreResult<Vec<ApiKey>> {
        self.owned_keys(org, owner).await
    }

    async fn revoke_key(&self, org: OrgId, key: ApiKeyId, audit: AuditEntry) -> StoreResult<bool> {
        self.remove_key(org, key, &audit).await
    }

    async fn mark_key_used(&self, org: OrgId, key: ApiKeyId, used_ms: UnixMs) -> StoreResult<()> {
        self.mark_used(org, key, used_ms).await
    }

    async fn audit(&self, entry: AuditEntry) -> StoreResult<()> {
        self.keep_entry(&entry).await
    }

    async fn audit_entries(
        &self,
        org: OrgId,
        limit: usize,
        offset: usize,
    ) -> StoreResult<(Vec<AuditEntry>, u64)> {
        self.audit_page(org, limit, offset).await
    }

    /// They go by TTL.
    async fn purge_audit(&self, _before_ms: UnixMs) -> StoreResult<u64> {
        Ok(0)
    }
}

impl Cold {
    /// A login whose account is not in the organization of its audit entry: each is stored where it belongs.
    async fn audit_alone(&self, audit: &AuditEntry, user: UserId, now_ms: UnixMs) -> StoreResult<()> {
        while let Some(found) = self.user_of_id(user).await? {
            let mut turns = self.turns(found.org).await;
            turns.begin().await?;
            let Some(mut account) = self.record::<User>(found.org, USER, user.as_bytes()).await? else {
                continue;
            };
            account.last_login_ms = Some(now_ms);
            let edits = vec![Edit::Put(USER, user.as_bytes().to_vec(), record::encode(&account)?)];
            if turns.commit(edits, None).await? {
                break;
            }
        }
        self.keep_entry(audit).await
    }
}
