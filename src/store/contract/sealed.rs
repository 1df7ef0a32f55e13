//! Sealed values: every secret of an organization that the store keeps, whatever it belongs to.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::id::OrgId;
use crate::domain::seal::Sealed;

/// Sealed values by organization and name, wherever they are kept, so that a change of keys finds them all. They are written
/// by the changes of what they belong to ([`super::Variables`], [`super::Organizations`]), in the same step. What letters
/// say is among them while they wait ([`super::Outbox`]), under [`crate::domain::mail::letter_place`].
#[async_trait]
pub trait SealedValues: Send + Sync {
    /// The sealed value of this name, or `None`.
    async fn sealed(&self, org: OrgId, name: &str) -> StoreResult<Option<Sealed>>;

    /// The organization's sealed values and their names, by name, from the first one after `after` on; at most `limit`.
    async fn sealed_values(
        &self,
        org: OrgId,
        after: &str,
        limit: usize,
    ) -> StoreResult<Vec<(String, Sealed)>>;

    /// Replaces a sealed value if it is still `old`; `false` if it is not, and then nothing is changed.
    async fn replace_sealed(&self, org: OrgId, name: &str, old: &Sealed, new: Sealed) -> StoreResult<bool>;
}
