//! What is alive now. The only public face is [`Engine`].
//!
//! ```text
//! root                       one per engine
//! └── organization           one per organization that is active: opens runs, supervises them, owns buckets
//!     └── execution          one per run that is being fed: judges, appends, answers, publishes
//! ```
//!
//! | child | ends by | its parent |
//! |---|---|---|
//! | execution | leaving when idle or settled | takes it off the list |
//! | execution | a panic, or a store that failed | takes it off the list; the request that met it is handed to the next one, which loads the run from the store and recognises what was stored after all |
//! | organization | leaving when idle | nothing |
//! | organization | a panic | forgets it; its runs end with it; the next request starts both anew |
//!
//! What viewers are told goes through [`feed`]: one per organization, in memory as long as anything hangs on it.
//!
//! Nothing here knows HTTP. What an actor knows follows from the store: it may vanish between any two lines.
//! Start reading at [`Engine::ingest`], then `execution/actor.rs`.

pub mod bucket;
pub mod buckets;
mod deps;
mod engine;
mod error;
mod execution;
pub mod feed;
pub mod finish;
mod housekeeping;
mod organization;
mod root;
#[cfg(test)]
mod tests;

pub use deps::EngineSettings;
pub use engine::{Engine, EngineStats};
pub use error::{EngineError, LimitedResource, PlanLimitHit};
pub use execution::message::{Applied, ByteShare, Delivered, Progress, Refusal, TornDown};
pub use execution::state::{Recognised, RunState};
pub use organization::message::Opened;
