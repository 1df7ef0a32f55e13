//! Audit entries: one per administrative action, stored with the change. Never a secret. Source: API reference,
//! identity 10.

use std::net::IpAddr;

use serde_json::Value;

use crate::access::Caller;
use crate::clock::UnixMs;
use crate::domain::account::{AuditEntry, OPERATOR};
use crate::domain::id::{AuditId, OrgId, UserId};

/// Who does something, from where and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Actor {
    pub(super) org: OrgId,
    pub(super) user: UserId,
    pub(super) ip: IpAddr,
    pub(super) now_ms: UnixMs,
}

impl Actor {
    /// The caller of a request.
    pub(super) const fn of(caller: &Caller, ip: IpAddr, now_ms: UnixMs) -> Self {
        Self { org: caller.org, user: caller.user, ip, now_ms }
    }

    /// The entry for `action` on `target`: its kind and id.
    pub(super) fn did(&self, action: &str, target: (&str, impl ToString), details: &Value) -> AuditEntry {
        let (target_type, target_id) = target;
        let mut details = details.clone();
        if self.user == OPERATOR
            && let Some(facts) = details.as_object_mut()
        {
            facts.insert("actor".to_owned(), "operator".into());
        }
        AuditEntry {
            id: AuditId::generate(self.now_ms),
            org: self.org,
            user: self.user,
            action: action.to_owned(),
            target_type: target_type.to_owned(),
            target_id: target_id.to_string(),
            details: details.to_string(),
            ip: self.ip.to_string(),
            timestamp_ms: self.now_ms,
        }
    }
}
