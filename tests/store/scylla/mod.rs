//! What is particular to the store on CQL.

mod connect;
mod cost;
mod crash;
mod datacenters;
mod engine;
mod frozen;
mod halted;
mod killed;
mod lives;
mod nodes;
mod pair;
mod schema;
mod served;
mod slow;
mod start;
mod stops;
mod takeover;
mod ttl;
mod whole;
mod wire;
