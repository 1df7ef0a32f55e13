//! The command line: one file per subcommand. A subcommand turns its arguments into calls of the rooms above and their
//! outcome into lines for a person; it holds no rule of its own.

pub mod client;
pub mod demo;
pub mod socket;
pub mod sse;
pub mod tail;
