//! What validation found: shared by the rules that check a request and the envelope that reports it.

use std::borrow::Cow;

use serde::Serialize;

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// Path of the field, as `summary.total`.
    pub field: String,
    /// What is wrong with it, for a person.
    pub message: String,
}

impl Finding {
    /// A finding about `field`.
    pub fn new(field: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into().into_owned(), message: message.into().into_owned() }
    }
}
