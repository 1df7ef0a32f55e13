//! What the distributed store has of its own, on a real CQL server.

mod connect;
mod crash;
mod schema;
