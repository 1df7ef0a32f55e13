//! The command line.

mod demo;
mod tail;
