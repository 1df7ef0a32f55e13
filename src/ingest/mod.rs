//! The door for reporters: plain hyper, bytes in, borrowed parsing. It owns the three requests under `/api/ingest/`
//! and nothing of what they lead to: a batch is brought into its normal form here and handed to the engine.

//!
//! A request's way is in `door`: what may be refused by its head alone is refused first, then the byte budget is asked,
//! then the body is read (`body`, `unpack`), parsed (`parse`) and handed over. A run that nobody could be told of is
//! taken back (`rollback`). Nothing here writes a store or waits for one by itself.

mod body;
mod budget;
mod door;
mod endpoints;
mod failures;
mod glance;
mod meters;
pub mod parse;
mod reply;
mod rollback;
mod route;
mod settings;
mod unpack;

pub use budget::Budget;
pub use door::IngestDoor;
pub use endpoints::{EventBody, SetupBody, TeardownBody, endpoints};
pub use reply::{EventAnswer, EventReply, ReporterLimits, SetupReply, TeardownData, TeardownReply};
pub use settings::IngestSettings;
