//! The live channel: stock Socket.IO clients and raw sockets against the door alone, with tokens and frames made by
//! the test; and the whole server, with real reporters, that is cut off, killed and overrun.

mod behind;
mod browser;
mod channel;
mod crowd;
mod faults;
mod frames;
mod handshake;
mod membership;
mod recovery;
mod restarts;
mod returning;
mod rights;
mod rows;
mod served;
mod slow;
mod stops;
