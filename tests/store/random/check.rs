//! Everything that can be read, held against the model.

use std::cmp::Reverse;

use runstream::domain::account::AuditEntry;
use runstream::domain::id::{AuditId, OrgId};

use super::model::Model;
use crate::store::ColdStore;
use crate::store::sample::NOW_MS;

impl Model {
    /// Reads everything that the model holds from `store` too.
    pub(super) async fn check(&self, store: &dyn ColdStore, name: &str) {
        for (id, org) in &self.orgs {
            assert_eq!(store.organization_state(*id).await, Ok(Some(org.clone())), "{name}");
            let org = &org.organization;
            assert_eq!(store.organization(*id).await.as_ref(), Ok(&Some(org.clone())), "{name}");
            assert_eq!(
                store.member_count(*id).await,
                Ok(self.members(*id)),
                "{name}: members of {}",
                org.slug
            );
            let mut members: Vec<_> = self.users.values().filter(|user| user.org == *id).cloned().collect();
            members.sort_by_key(|user| Reverse((user.created_ms, user.id)));
            assert_eq!(store.members(*id).await, Ok(members), "{name}: members of {}", org.slug);
            let mut projects: Vec<_> = self.projects.iter().filter(|one| one.org == *id).cloned().collect();
            projects.sort_by_key(|project| Reverse((project.created_ms, project.id)));
            assert_eq!(store.projects(*id).await, Ok(projects), "{name}");
            self.check_settings(*id, store, name).await;
            self.check_audit(*id, store, name).await;
        }
        for (id, user) in &self.users {
            assert_eq!(store.user(*id).await, Ok(Some(user.clone())), "{name}");
            assert_eq!(store.user_by_email(&user.email).await, Ok(Some(user.clone())), "{name}");
            for org in self.orgs.keys() {
                let owned = self.keys.iter().filter(|key| (key.org, key.owner) == (*org, *id));
                let mut keys: Vec<_> = owned.cloned().collect();
                keys.sort_by_key(|key| Reverse((key.created_ms, key.id)));
                assert_eq!(store.keys_of(*org, *id).await, Ok(keys), "{name}");
            }
        }
        for key in &self.keys {
            assert_eq!(store.key_by_hash(&key.hash).await, Ok(Some(key.clone())), "{name}");
        }
        for token in 0..6 {
            let token = token.to_string();
            assert_eq!(store.is_token_revoked(&token).await, Ok(self.tokens.contains(&token)), "{name}");
        }
        for invitation in &self.invitations {
            // Nobody is invited to where nobody is.
            let found = (self.members(invitation.org) > 0).then(|| invitation.clone());
            assert_eq!(store.invitation(&invitation.token).await, Ok(found), "{name}");
        }
        for token in &self.revoked {
            assert_eq!(store.invitation(token).await, Ok(None), "{name}");
        }
        for hash in &self.hashes {
            assert_eq!(store.reset_of(hash, NOW_MS).await, Ok(self.reset_of(hash, NOW_MS)), "{name}");
        }
    }

    /// What an organization has set, for itself and for its projects, and whom it invites.
    async fn check_settings(&self, org: OrgId, store: &dyn ColdStore, name: &str) {
        let pending = self.invitations.iter().filter(|one| one.org == org && one.is_pending(NOW_MS));
        let mut pending: Vec<_> = pending.filter(|_| self.members(org) > 0).cloned().collect();
        pending.sort_by_key(|one| Reverse((one.created_ms, one.id)));
        assert_eq!(store.invitations(org, NOW_MS).await, Ok(pending), "{name}");

        let settings = self.orgs[&org].settings.sealed();
        let mut sealed: Vec<_> =
            settings.into_iter().map(|(place, value)| (place.to_owned(), value.clone())).collect();
        for project in self.projects.iter().filter(|project| project.org == org) {
            let settings = self.project_settings(org, project.id);
            assert_eq!(store.project_settings(org, project.id).await, Ok(settings), "{name}");
            let mut variables: Vec<_> = self.variables_of(project.id).cloned().collect();
            variables.sort_by_key(|variable| (variable.created_ms, variable.id));
            assert_eq!(store.variables(org, project.id).await, Ok(variables), "{name}");
        }
        let secrets = self.variables.iter().filter(|(variable, _)| variable.org == org);
        sealed.extend(secrets.filter_map(|(variable, value)| Some((variable.secret_name(), value.clone()?))));
        sealed.sort_by(|(one, _), (other, _)| one.cmp(other));
        assert_eq!(store.sealed_values(org, "", 1_000).await, Ok(sealed), "{name}");
    }

    async fn check_audit(&self, org: OrgId, store: &dyn ColdStore, name: &str) {
        let (entries, total) = store.audit_entries(org, 1_000, 0).await.unwrap();
        let newest_first = entries.is_sorted_by_key(|entry| Reverse((entry.timestamp_ms, entry.id)));
        assert!(newest_first, "{name}: {entries:?}");
        let expected: Vec<_> = self.audit.iter().filter(|entry| entry.org == org).cloned().collect();
        assert_eq!(total, expected.len() as u64, "{name}");
        assert_eq!(told(entries), told(expected), "{name}");
    }
}

/// Entries without the ids that stores give: each to those of a change of settings.
fn told(mut entries: Vec<AuditEntry>) -> Vec<AuditEntry> {
    for entry in entries.iter_mut().filter(|entry| entry.action.starts_with("org.")) {
        entry.id = AuditId::from_bytes([0; 12]);
    }
    entries.sort_by(|one, other| {
        (one.timestamp_ms, one.id, &one.action).cmp(&(other.timestamp_ms, other.id, &other.action))
    });
    entries
}
