//! The server as its clients meet it on the wire: bytes in, bytes out, over real sockets.

pub(crate) mod wire;

mod connections;
mod drain;
mod failure;
mod heads;
mod process;
