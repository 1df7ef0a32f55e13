//! Environment variables of projects.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::account::AuditEntry;
use crate::domain::id::{OrgId, ProjectId, VariableId};
use crate::domain::seal::Sealed;
use crate::domain::variable::Variable;

/// Environment variables of projects. The value of a secret one is a sealed value under its `secret_name`, which comes
/// and goes with it, see [`super::SealedValues`].
#[async_trait]
pub trait Variables: Send + Sync {
    /// Stores a new variable, its `sealed` value if it is secret, and `audit`. `false` if the organization has no such
    /// project; then nothing is stored.
    ///
    /// # Errors
    /// `Conflict(VariableLimit)` if the project has `max_variables` already, else `Conflict(VariableKey)` if it has one of
    /// this name; checks and creation are one step, races included.
    async fn create_variable(
        &self,
        variable: Variable,
        sealed: Option<Sealed>,
        max_variables: u64,
        audit: AuditEntry,
    ) -> StoreResult<bool>;

    /// The project's variables, oldest first (ties by id, ascending). Empty if the organization has no such project.
    async fn variables(&self, org: OrgId, project: ProjectId) -> StoreResult<Vec<Variable>>;

    /// The variable, or `None` if `org` has no such project or that no such variable.
    async fn variable(
        &self,
        org: OrgId,
        project: ProjectId,
        variable: VariableId,
    ) -> StoreResult<Option<Variable>>;

    /// Replaces a variable by `after`, and stores `audit`, if it is still `before`; `false` if it is not, and then nothing
    /// is stored. `sealed` replaces its sealed value; without one a variable that stays secret keeps it, and one that is
    /// secret no more loses it.
    ///
    /// # Errors
    /// `Conflict(VariableKey)` if the project has another variable of that name, races included.
    async fn update_variable(
        &self,
        before: &Variable,
        after: Variable,
        sealed: Option<Sealed>,
        audit: AuditEntry,
    ) -> StoreResult<bool>;

    /// Removes a variable and its sealed value, and stores `audit`, if it is still `before`; `false` if it is not, and then
    /// nothing is stored.
    async fn delete_variable(&self, before: &Variable, audit: AuditEntry) -> StoreResult<bool>;
}
