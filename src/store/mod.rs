//! What is remembered. [`contract`] says what a store promises, one trait per noun; [`lsm`] keeps the promises on
//! this machine's disk, [`scylla`] on a cluster; [`fold`] is what any store makes of a run's segments. Nothing above this
//! room knows which store it talks to. [`copy`] moves everything from one store to another.

pub mod contract;
pub mod copy;
pub mod decorate;
mod failure;
mod fold;
mod letters;
pub mod lsm;
pub mod observed;
mod places;
pub mod record;
pub mod reseal;
pub mod scylla;
mod tries;
pub mod usage;
