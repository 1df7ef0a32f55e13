//! The reporters' door over real sockets: every row of its tables, every kind of bad input.

mod bodies;
mod events;
mod lifecycle;
mod pressure;
mod refusals;
mod server;
mod site;
mod tiers;
mod wire;
