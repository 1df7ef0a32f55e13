//! The REST door over real sockets, and the table that drives it.

mod document;
