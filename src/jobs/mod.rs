//! Work that no request waits for, safe to do twice: sending what waits in the outbox ([`mail`]), and telling
//! administrators how much of their plan is used ([`usage`]).

pub mod mail;
pub mod usage;
