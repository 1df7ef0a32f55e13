//! Cuts a connection from outside.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// Works at any moment, once.
#[derive(Debug, Default)]
pub(super) struct Scissors {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Scissors {
    /// Ends the stream: its reader sees the end, its writer an error.
    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    /// Whether the reader's connection is cut; if not, a cut will wake it.
    pub(super) fn cut_for_reader(&self, context: &Context<'_>) -> bool {
        // Registered before the look, so that a cut between the two is not missed.
        self.reader.register(context.waker());
        self.cut.load(Ordering::Acquire)
    }

    /// The same for the writer.
    pub(super) fn cut_for_writer(&self, context: &Context<'_>) -> bool {
        self.writer.register(context.waker());
        self.cut.load(Ordering::Acquire)
    }
}

/// What the writer of a connection that was cut is told.
pub(super) fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")
}
