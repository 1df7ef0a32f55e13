//! Nouns and rules, without I/O. Nothing here waits, reads a clock, or knows HTTP or a database.

pub mod account;
pub mod batch;
pub mod collapse;
pub mod email;
pub mod error_hash;
pub mod execution;
pub mod finding;
pub mod gate;
pub mod id;
pub mod invitation;
#[cfg(test)]
mod lacks;
pub mod mail;
pub mod member;
pub mod number;
pub mod organization;
pub mod password;
pub mod plan;
pub mod project;
pub mod redact;
pub mod reset;
pub mod result;
pub mod role;
pub mod seal;
pub mod segment;
pub mod setup;
pub mod slug;
pub mod teardown;
pub mod test_id;
pub mod text;
pub mod time;
pub mod usage;
pub mod variable;
pub mod view;
pub mod webhook;
