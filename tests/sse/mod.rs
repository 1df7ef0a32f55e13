//! The live stream of a run over sockets: snapshot, tail, and every character exactly once.

mod exactly_once;
mod lifetime;
