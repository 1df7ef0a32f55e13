//! One actor per run that is being fed. It alone changes its run: it judges each batch (new, or sent before), merges
//! the batches that arrive while an append is in flight into the next segment, answers when they are durable, and
//! publishes. It holds nothing that the store cannot rebuild: it may vanish between any two lines.

mod actor;
mod append;
mod close;
mod flight;
pub(in crate::actors) mod message;
mod numbers;
mod recent;
pub(in crate::actors) mod state;
pub(in crate::actors) mod update;

pub(in crate::actors) use actor::{ExecutionActor, ExecutionArgs};
