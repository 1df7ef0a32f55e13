//! The command line.

mod tail;
