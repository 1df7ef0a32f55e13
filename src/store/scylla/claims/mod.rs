//! Who owns what: nodes with heartbeats, and what makes another one's claim void. The rules are checked by a model in
//! `tests/ownership/`; the claims themselves are in the rows of runs and of feeds' numberings.
//!
//! A node may acknowledge while the last heartbeat that succeeded *began* less than a lease ago, on a clock that runs
//! while the machine sleeps. Another one may declare it dead after it has seen the same heartbeat for longer than that,
//! by fencing its row: a fenced node cannot renew its lease. No wall clocks are compared.

mod lease;
mod nodes;
mod term;

pub(in crate::store::scylla) use lease::Lease;
pub use lease::LeaseSettings;
pub(in crate::store::scylla) use nodes::Nodes;
pub(in crate::store::scylla) use term::Term;
