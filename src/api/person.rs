//! How a person is shown where little is told.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::account::User;
use crate::domain::role::Role;

/// Who somebody is.
#[derive(Serialize, ToSchema)]
pub(super) struct Person {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    id: String,
    email: String,
    name: String,
    role: Role,
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self { id: user.id.to_string(), email: user.email, name: user.name, role: user.role }
    }
}
