//! What an operator does to the store of a server that does not run: the same changes as the endpoints make, in the same
//! steps of the store and with the same audit entries, whose author is [`OPERATOR`]. Answers have the shapes of the
//! endpoints' answers. Nobody is signed in here, so every method is told the organization, which comes from
//! [`Operator::organization`] and so from the store.
//!
//! Nothing is mailed from here: whoever asked for a link hands it on.

mod invitations;
mod keys;
mod organizations;
mod people;

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::audit::Actor;
use super::extract::FromMembers;
use crate::access::{Access, Passwords};
use crate::clock::Clock;
use crate::domain::account::{OPERATOR, User};
use crate::domain::email;
use crate::domain::id::OrgId;
use crate::domain::plan::Plan;
use crate::http::Failure;
use crate::outbound::mail::Links;
use crate::store::contract::Records;

/// The API reference gives most of this no failure of its own.
const FAILED: &str = "Internal Server Error";

/// What an operator works with.
pub struct OperatorParts {
    /// What is remembered; no server uses it.
    pub store: Arc<dyn Records>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Makes tokens and keys.
    pub access: Access,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Where links lead.
    pub links: Links,
    /// The plan of every organization of this deployment.
    pub plan: Plan,
}

/// An operator at a store.
pub struct Operator {
    parts: OperatorParts,
}

/// A member of an organization as an operator names one.
pub type Who<'a> = &'a str;

impl Operator {
    /// An operator with these parts.
    #[must_use]
    pub const fn new(parts: OperatorParts) -> Self {
        Self { parts }
    }

    fn store(&self) -> &dyn Records {
        &*self.parts.store
    }

    /// The operator at work in `org`, now.
    fn actor(&self, org: OrgId) -> Actor {
        // Done on the machine itself.
        Actor { org, user: OPERATOR, ip: Ipv4Addr::LOCALHOST.into(), now_ms: self.parts.clock.now_ms() }
    }

    /// The member with this id or e-mail address.
    async fn find(&self, org: OrgId, who: Who<'_>) -> Result<User, Failure> {
        let found = match (who.parse(), email::normalise(who)) {
            (Ok(id), _) => self.store().member(org, id).await,
            (Err(_), Some(address)) => self.store().user_by_email(&address).await,
            (Err(_), None) => Ok(None),
        };
        let found = found.map_err(super::reply::failed(FAILED))?.filter(|user| user.org == org);
        found.ok_or_else(|| {
            let message = "The organization has no member with this id or e-mail address";
            Failure::not_found("User not found", message)
        })
    }
}

/// A checked body.
fn read<T: FromMembers>(body: Value) -> Result<T, Failure> {
    match body {
        Value::Object(members) => T::from_members(members),
        _ => Err(T::absent()),
    }
}

/// `shown` under `name`.
fn under(name: &str, shown: &impl serde::Serialize) -> Result<Value, Failure> {
    let shown = serde_json::to_value(shown).map_err(|error| Failure::internal(FAILED, error))?;
    Ok(Value::Object(Map::from_iter([(name.to_owned(), shown)])))
}
