//! The command line.

mod bench;
mod demo;
mod tail;
