//! The engine on the embedded store, a clock that is moved by hand and a disk with switches.

mod disk;
mod feed;
pub(crate) mod fixtures;
mod harness;
mod life;
mod load;
mod lossy;
mod replay;
mod unsure;
