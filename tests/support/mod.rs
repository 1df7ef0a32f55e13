//! What several test modules use.

pub(crate) mod node;
