//! What is particular to the store on CQL.

mod connect;
mod crash;
mod engine;
mod frozen;
mod nodes;
mod schema;
mod served;
mod start;
mod stops;
mod takeover;
mod wire;
