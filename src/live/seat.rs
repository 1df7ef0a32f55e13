//! Where one viewer stands, and how frames reach it now. At any moment at most one party brings it frames: the delivery
//! (a tick, written at once), its pump, or the answer to its poll.
//!
//! Locks: the seat's before the wire's. The library is never called under either.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bell::Bell;
use super::cursor::Cursor;
use super::encoding::Encoded;
use super::wire::{Offered, Wire};

/// See the module.
pub(super) struct Seat {
    state: Mutex<State>,
}

struct State {
    cursor: Cursor,
    /// The newest boundary that it was told of.
    newest: u64,
    /// There may be more than it was told of.
    ask: bool,
    /// `auth-success` has gone out: frames may follow.
    welcome: bool,
    /// Where frames go; without one it is polling.
    wire: Option<Arc<Wire>>,
    /// A pump or a poll is bringing frames.
    busy: bool,
    /// A bell is in the library's queue, for a poll to find.
    rung: bool,
    /// It has lost its right, or has left.
    over: bool,
}

/// What is to be done for a viewer now.
#[must_use]
pub(super) enum Due {
    /// Nothing.
    Nothing,
    /// A pump has to run on this connection.
    Pump(Arc<Wire>),
    /// A bell has to be put into the library's queue.
    Ring,
}

impl State {
    fn behind(&self) -> bool {
        self.ask || self.newest > self.cursor.after || self.cursor.partly.is_some()
    }

    fn due(&mut self) -> Due {
        if self.over || !self.welcome || self.busy || !self.behind() {
            return Due::Nothing;
        }
        match &self.wire {
            Some(wire) => {
                self.busy = true;
                Due::Pump(Arc::clone(wire))
            }
            None if self.rung => Due::Nothing,
            None => {
                self.rung = true;
                Due::Ring
            }
        }
    }

    /// Offers what is missing of `window`; `None` if there is nobody to offer it to. Counts the frames that went.
    fn offer(&mut self, wire: &Arc<Wire>, window: &Encoded) -> Option<(Offered, u64)> {
        if self.over || !self.is_at(wire) {
            return None;
        }
        self.newest = self.newest.max(window.upto);
        let first = self.cursor.frames().min(window.len());
        let offered = wire.offer(window, first);
        let mut went = 0;
        if let Offered::Begun { frames, .. } = offered {
            went = frames.saturating_sub(first) as u64;
            self.cursor = Cursor::within(window.from, window.upto, frames, window.len());
        }
        Some((offered, went))
    }

    fn is_at(&self, wire: &Arc<Wire>) -> bool {
        self.wire.as_ref().is_some_and(|own| Arc::ptr_eq(own, wire))
    }
}

impl Seat {
    pub(super) fn at(cursor: Cursor) -> Self {
        let state = State {
            cursor,
            newest: 0,
            ask: true,
            welcome: false,
            wire: None,
            busy: false,
            rung: false,
            over: false,
        };
        Self { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tick is over: writes it at once if nothing is in the way. Returns also how many frames went out.
    pub(super) fn tick(&self, window: &Encoded) -> (Due, u64) {
        let mut state = self.state();
        state.newest = state.newest.max(window.upto);
        let at_hand = state.welcome && !state.busy && !state.ask && state.cursor == Cursor::at(window.from);
        let Some(wire) = state.wire.clone().filter(|_| at_hand) else { return (state.due(), 0) };
        match state.offer(&wire, window) {
            Some((Offered::Begun { frames, whole: false }, went)) if frames == window.len() => {
                state.busy = true;
                (Due::Pump(wire), went)
            }
            Some((_, went)) => (state.due(), went),
            None => (Due::Nothing, 0),
        }
    }

    /// The feed has come as far as `newest`, whoever said so.
    pub(super) fn told(&self, newest: u64) -> Due {
        let mut state = self.state();
        state.newest = state.newest.max(newest);
        state.due()
    }

    /// The bell did not get into the library's queue.
    pub(super) fn not_rung(&self) {
        self.state().rung = false;
    }

    /// A bell came out of the library's queue on an upgraded connection.
    pub(super) fn heard_on(&self, bell: Bell, wire: &Arc<Wire>) -> Due {
        let mut state = self.state();
        state.welcome |= bell == Bell::Welcome;
        state.rung = false;
        if state.welcome && !state.over && !state.is_at(wire) {
            state.wire = Some(Arc::clone(wire));
            state.ask = true;
        }
        state.due()
    }

    /// A bell came out in the answer to a poll: returns where to go on, if it is this poll's turn. Then
    /// [`Seat::polled`] or [`Seat::not_polled`] has to follow.
    pub(super) fn heard_in_poll(&self, bell: Bell) -> Option<Cursor> {
        let mut state = self.state();
        state.welcome |= bell == Bell::Welcome;
        state.rung = false;
        if state.over || !state.welcome || state.busy || state.wire.is_some() {
            return None;
        }
        (state.busy, state.ask) = (true, false);
        Some(state.cursor)
    }

    /// The answer to a poll carries everything up to `cursor`; `None` if it must not go out.
    pub(super) fn polled(&self, cursor: Cursor) -> Option<Due> {
        let mut state = self.state();
        state.busy = false;
        if state.over {
            return None;
        }
        state.cursor = cursor;
        Some(state.due())
    }

    /// The poll was given up.
    pub(super) fn not_polled(&self) {
        let mut state = self.state();
        (state.busy, state.ask) = (false, true);
    }

    /// What a pump on `wire` has to fetch next; `None` when its work is done, and it has to end.
    pub(super) fn wanted(&self, wire: &Arc<Wire>) -> Option<Cursor> {
        let mut state = self.state();
        if state.over || !state.is_at(wire) || !state.behind() {
            state.busy = false;
            return None;
        }
        state.ask = false;
        Some(state.cursor)
    }

    /// The feed has nothing after `cursor`; returns whether it said otherwise before.
    pub(super) fn nothing_after(&self, cursor: &Cursor) -> bool {
        self.state().newest > cursor.after
    }

    /// It is not known what there is.
    pub(super) fn ask_again(&self) {
        self.state().ask = true;
    }

    /// Writes what `wire` takes now of what is missing of `window`; `None` if its pump has to end.
    pub(super) fn offer(&self, wire: &Arc<Wire>, window: &Encoded) -> Option<(Offered, u64)> {
        self.state().offer(wire, window)
    }

    /// A pump has ended early.
    pub(super) fn pump_ended(&self) {
        let mut state = self.state();
        (state.busy, state.ask) = (false, true);
    }

    /// Its connection is gone.
    pub(super) fn detach(&self, wire: &Arc<Wire>) {
        let mut state = self.state();
        if state.is_at(wire) {
            state.wire = None;
        }
    }

    /// Nothing more for it, from now on: what is begun is written to the end of its frame.
    pub(super) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        state.wire = None;
    }
}
