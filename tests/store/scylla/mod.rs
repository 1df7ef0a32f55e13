//! What is particular to the store on CQL.

mod connect;
mod cost;
mod crash;
mod engine;
mod frozen;
mod schema;
mod served;
mod start;
mod stops;
mod takeover;
