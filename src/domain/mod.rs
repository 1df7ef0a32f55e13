//! Nouns and rules, without I/O. Nothing here waits, reads a clock, or knows HTTP or a database.

pub mod account;
pub mod batch;
pub mod execution;
pub mod id;
pub mod plan;
pub mod project;
pub mod result;
pub mod role;
pub mod segment;
pub mod time;
pub mod view;
