//! What is particular to the store on CQL.

mod connect;
mod crash;
mod schema;
mod stops;
mod takeover;
