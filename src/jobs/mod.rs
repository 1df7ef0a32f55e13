//! Work that no request waits for, safe to do twice: sending what waits in the outbox ([`mail`]), telling administrators
//! how much of their plan is used ([`usage`], [`watch`]), and greeting new accounts (`welcome`).

pub mod mail;
pub mod usage;
pub mod watch;
mod welcome;
