//! One actor per organization that is active. It opens runs one after another, so that a plan's limit is checked and
//! used up in one step, and it starts and supervises the actors of its runs. The buckets it owns are handed
//! out as shared values, so that admission does not wait for its mailbox.

mod actor;
pub(in crate::actors) mod message;
mod setup;

pub(in crate::actors) use actor::{OrgActor, OrgArgs, give_back};
