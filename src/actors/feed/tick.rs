//! One organization's feed in memory: it gives out numbers, gathers what became durable, and seals it tick by tick.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::{Notify, OnceCell};

use super::frames::{self, RunPart};
use super::ledger::{Ledger, text_bytes};
use super::{Delivery, FeedError, Window, stored};
use crate::domain::id::{ExecutionId, OrgId, TaskId};
use crate::limits;
use crate::store::contract::{FeedRow, Store, StoreError};

/// One organization's feed. There is one of each organization in an engine; clones are the same feed.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    org: OrgId,
    store: Arc<dyn Store>,
    delivery: Arc<dyn Delivery>,
    /// The epoch, once the numbering is known.
    awake: OnceCell<u64>,
    state: Mutex<State>,
    /// One window after the other.
    sealing: tokio::sync::Mutex<()>,
    /// Much is waiting: the tick ends early.
    hurry: Arc<Notify>,
}

struct State {
    ledger: Ledger,
    /// What viewers are told with rows that are not sealed, as far as it is kept.
    parts: BTreeMap<u64, Part>,
    /// Bytes of text in `parts`.
    bytes: usize,
    ticking: bool,
    /// How long handing a window over takes, as far as can be foreseen.
    hand_over: Duration,
}

/// What is told with one row.
struct Part {
    text: Pieces,
    body: Option<Bytes>,
}

/// What is being sealed.
struct Sealing {
    from: u64,
    upto: u64,
    rows: Vec<FeedRow>,
    parts: BTreeMap<u64, Part>,
}

/// Text in pieces, mostly in one.
pub type Pieces = SmallVec<[Bytes; 1]>;

/// A run's document that has changed durably.
pub struct Told {
    /// The run.
    pub execution: ExecutionId,
    /// Its public name.
    pub task: TaskId,
    /// Where the run's text stands: UTF-16 units, bytes.
    pub at: (u64, u64),
    /// What is told of it, if it is at hand: the text of a JSON object.
    pub body: Option<String>,
}

/// A run's text that has become durable.
pub struct Appended {
    /// The run.
    pub execution: ExecutionId,
    /// Where the run's text stood before: UTF-16 units, bytes.
    pub start: (u64, u64),
    /// Where it stands now.
    pub end: (u64, u64),
    /// Whether the run's document has changed with it.
    pub updated: bool,
}

/// What viewers are told of it.
pub struct Telling {
    /// The run's public name.
    pub task: TaskId,
    /// The text, in pieces.
    pub text: Pieces,
    /// What is told of the changed document, if it has changed: the text of a JSON object.
    pub body: Option<Bytes>,
}

/// A feed that gives out numbers without asking the store. As long as there is one, the feed stays in memory.
pub struct Numbering {
    shared: Arc<Shared>,
}

impl Numbering {
    /// Gives out a number for something that is about to be stored.
    #[must_use]
    pub fn reserve(&self) -> Ticket {
        let seq = self.shared.state().ledger.reserve();
        Ticket { shared: Arc::clone(&self.shared), seq, is_open: true }
    }
}

/// A number that was given out. One that is neither [`Ticket::durable`] nor [`Ticket::void`] in the end is looked up in
/// the store: until it is known what has it, nothing above it is sealed. What was written under it must have come to its
/// end by then.
pub struct Ticket {
    shared: Arc<Shared>,
    seq: u64,
    is_open: bool,
}

impl Ticket {
    /// The number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// A changed document has the number, and is durable.
    pub fn durable(mut self, told: Told) {
        self.is_open = false;
        let Told { execution, task, at, body } = told;
        // With its name: it may be all that is left of a run that was taken back.
        let row =
            FeedRow { seq: self.seq, execution, start: at, end: at, updated: true, task: Some(task.clone()) };
        let telling = Telling { task, text: Pieces::new(), body: body.map(Bytes::from) };
        self.shared.resolve(row, || Some(telling));
    }

    /// Text has the number, and is durable. What viewers are told is only asked for if there are any.
    pub fn appended(mut self, appended: &Appended, tell: impl FnOnce() -> Option<Telling>) {
        self.is_open = false;
        let Appended { execution, start, end, updated } = *appended;
        self.shared.resolve(FeedRow { seq: self.seq, execution, start, end, updated, task: None }, tell);
    }

    /// Nothing has the number, and nothing will.
    pub fn void(mut self) {
        self.is_open = false;
        self.shared.resolve_found(self.seq, None);
    }

    /// The write has failed: nothing has the number, or it is not known whether something has.
    pub fn failed(self, error: &StoreError) {
        match error {
            StoreError::Full(_) | StoreError::Conflict(_) => self.void(),
            StoreError::Unavailable(_) | StoreError::Damaged(_) => drop(self),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_open
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(look_up(Arc::downgrade(&self.shared), self.seq));
        }
    }
}

/// Asks the store what has become of a number until it knows.
async fn look_up(feed: Weak<Shared>, seq: u64) {
    while let Some(shared) = feed.upgrade() {
        // A store that has failed may hold more than it says.
        let found = match shared.store.probe().await {
            Ok(()) => shared.store.feed_rows(shared.org, seq.saturating_sub(1), 1).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(rows) => {
                let row = rows.into_iter().find(|row| row.seq == seq);
                return shared.resolve_found(seq, row);
            }
            Err(error) => tracing::warn!(%error, org.id = %shared.org, "a number of the feed is undecided"),
        }
        drop(shared);
        tokio::time::sleep(limits::FEED_LOOK_UP_PAUSE).await;
    }
}

impl Feed {
    /// The feed of `org`, whose numbers are kept in `store` and whose windows go to `delivery`.
    #[must_use]
    pub fn new(org: OrgId, store: Arc<dyn Store>, delivery: Arc<dyn Delivery>) -> Self {
        let ledger = Ledger::at(0);
        let (parts, hand_over) = (BTreeMap::new(), Duration::ZERO);
        let state = State { ledger, parts, bytes: 0, ticking: false, hand_over };
        let (state, sealing) = (Mutex::new(state), tokio::sync::Mutex::new(()));
        let (awake, hurry) = (OnceCell::new(), Arc::default());
        Self { shared: Arc::new(Shared { org, store, delivery, awake, state, sealing, hurry }) }
    }

    /// Whether anybody is watching.
    #[must_use]
    pub fn has_viewers(&self) -> bool {
        self.shared.delivery.has_viewers(self.shared.org)
    }

    /// Gives out a number for something that is about to be stored.
    ///
    /// # Errors
    /// Those of the store, which is asked the first time where the numbering stands.
    pub async fn reserve(&self) -> Result<Ticket, StoreError> {
        Ok(self.numbering().await?.reserve())
    }

    /// The feed once it is known where its numbering stands.
    ///
    /// # Errors
    /// Those of the store, which is asked the first time.
    pub async fn numbering(&self) -> Result<Numbering, StoreError> {
        self.shared.wake().await?;
        Ok(Numbering { shared: Arc::clone(&self.shared) })
    }

    /// Hands over now what can be sealed.
    pub async fn flush(&self) {
        self.shared.seal().await;
    }

    /// The feed's epoch, with its numbering known.
    pub(super) async fn wake(&self) -> Result<u64, StoreError> {
        self.shared.wake().await
    }

    pub(super) fn org(&self) -> OrgId {
        self.shared.org
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.shared.store.as_ref()
    }

    pub(super) fn sealed(&self) -> u64 {
        self.shared.state().ledger.sealed()
    }

    /// Whether the rows above this position are in memory.
    pub(super) fn remembers(&self, after: u64) -> bool {
        self.shared.state().ledger.rows(after, after, 0).is_some()
    }

    pub(super) fn recent_rows(&self, after: u64, upto: u64, limit: usize) -> Option<Vec<FeedRow>> {
        self.shared.state().ledger.rows(after, upto, limit)
    }

    pub(super) fn boundary(&self, after: u64, upto: u64) -> Option<u64> {
        self.shared.state().ledger.boundary(after, upto)
    }

    /// Whether a number was given out of which nothing is known yet.
    #[cfg(test)]
    pub(in crate::actors) fn is_undecided(&self) -> bool {
        self.shared.state().ledger.is_busy()
    }

    /// Whether nobody needs it in memory: what it knows is in the store. Ask only where nobody can take it meanwhile.
    pub(in crate::actors) fn is_idle(&self) -> bool {
        let state = self.shared.state();
        Arc::strong_count(&self.shared) == 1
            && !state.ticking
            && !self.has_viewers()
            && !state.ledger.is_busy()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wake(&self) -> Result<u64, StoreError> {
        let wake = || async {
            let epoch = self.store.feed_epoch().await?;
            let head = self.store.feed_head(self.org).await?;
            self.state().ledger = Ledger::at(head);
            Ok(epoch)
        };
        self.awake.get_or_try_init(wake).await.copied()
    }

    /// What has a number, if anything has; what is told with it is read from the store.
    fn resolve_found(self: &Arc<Self>, seq: u64, row: Option<FeedRow>) {
        let mut state = self.state();
        state.ledger.resolve(seq, row);
        let is_watched = self.delivery.has_viewers(self.org);
        self.tick(state, is_watched);
    }

    /// A durable row, and what is told with it.
    fn resolve(self: &Arc<Self>, mut row: FeedRow, tell: impl FnOnce() -> Option<Telling>) {
        let mut state = self.state();
        let is_watched = self.delivery.has_viewers(self.org);
        let bytes = usize::try_from(text_bytes(&row)).unwrap_or(usize::MAX);
        // Behind a number that stays undecided much may gather: its text is then read from the store.
        if is_watched
            && state.bytes.saturating_add(bytes) <= limits::FEED_HELD_BYTES_MAX
            && let Some(Telling { task, text, body }) = tell()
        {
            row.task = Some(task);
            state.bytes += bytes;
            state.parts.insert(row.seq, Part { text, body });
        }
        state.ledger.resolve(row.seq, Some(row));
        if state.bytes >= limits::FEED_PENDING_BYTES_MAX {
            self.hurry.notify_one();
        }
        self.tick(state, is_watched);
    }

    /// Sees to it that what can be sealed will be. `is_watched` was asked while the boundary was held: a viewer that comes
    /// now asks for the head afterwards.
    fn tick(self: &Arc<Self>, mut state: MutexGuard<'_, State>, is_watched: bool) {
        if state.ticking {
            return;
        }
        if !is_watched && state.parts.is_empty() {
            return state.ledger.skip();
        }
        state.ticking = true;
        let wait = wait(state.hand_over);
        let (feed, hurry) = (Arc::downgrade(self), Arc::clone(&self.hurry));
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = hurry.notified() => {}
            }
            let Some(shared) = feed.upgrade() else { return };
            shared.state().ticking = false;
            shared.seal().await;
        });
    }

    /// Seals everything that can be, in windows of bounded size.
    async fn seal(&self) {
        let _turn = self.sealing.lock().await;
        while let Some(sealing) = self.take() {
            let begun = Instant::now();
            match self.window(sealing).await {
                Ok(window) => self.delivery.sealed(self.org, &Arc::new(window)),
                Err(error) => tracing::warn!(%error, org.id = %self.org, "a window could not be handed over"),
            }
            let mut state = self.state();
            state.hand_over = foreseen(state.hand_over, begun.elapsed());
        }
    }

    /// Moves the boundary and takes what lies up to it; without viewers nothing is taken. The boundary moves first:
    /// whoever asks for the head from now on is not sent this window.
    fn take(&self) -> Option<Sealing> {
        let mut state = self.state();
        if !self.delivery.has_viewers(self.org) {
            state.ledger.skip();
            state.parts.clear();
            state.bytes = 0;
            return None;
        }
        let from = state.ledger.sealed();
        let rows = state.ledger.sealable(limits::FEED_PENDING_BYTES_MAX as u64);
        let upto = rows.last()?.seq;
        tracing::trace!(org.id = %self.org, from, upto, "sealing a window");
        state.ledger.seal(upto);
        let rest = state.parts.split_off(&upto.saturating_add(1));
        let parts = std::mem::replace(&mut state.parts, rest);
        let taken: usize = parts.values().flat_map(|part| &part.text).map(Bytes::len).sum();
        state.bytes = state.bytes.saturating_sub(taken);
        Some(Sealing { from, upto, rows, parts })
    }

    async fn window(&self, sealing: Sealing) -> Result<Window, FeedError> {
        let Sealing { from, upto, rows, mut parts } = sealing;
        let is_whole = |row: &FeedRow| parts.contains_key(&row.seq) || (text_bytes(row) == 0 && !row.updated);
        if !rows.iter().all(is_whole) {
            return stored::window(self.store.as_ref(), self.org, from, upto, &rows).await;
        }
        let mut runs: BTreeMap<ExecutionId, (RunPart, u32)> = BTreeMap::new();
        for FeedRow { seq, execution, start, updated, task, .. } in rows {
            let (Some(part), Some(task)) = (parts.remove(&seq), task) else { continue };
            let (run, updates) = runs.entry(execution).or_insert_with(|| {
                (RunPart { task, offset: start.0, text: Vec::new(), body: None, is_deleted: false }, 0)
            });
            run.text.extend(part.text);
            if updated {
                *updates += 1;
                run.body = part.body;
            }
        }
        let mut whole = BTreeMap::new();
        for (execution, (mut run, updates)) in runs {
            // One update that stands for several, or of which nothing is at hand, tells everything.
            if updates > 1 || (updates == 1 && run.body.is_none()) {
                run.body = Some(stored::state_of(self.store.as_ref(), self.org, execution, &run.task).await?);
            }
            whole.insert(execution, run);
        }
        Ok(frames::window(from, upto, whole))
    }
}

/// How long to wait before sealing, so that text has reached the last viewer a tick after it became durable: shorter by
/// what a timer may be late, and by what handing over takes.
fn wait(hand_over: Duration) -> Duration {
    let wait = limits::FEED_TICK.saturating_sub(limits::TIMER_LATENESS + hand_over);
    wait.max(limits::FEED_TICK / 2)
}

/// What to expect of the next hand-over: as long as the last one, or, since most of them have to be in time, nearly as
/// long as the longest of late.
fn foreseen(before: Duration, last: Duration) -> Duration {
    last.max(before - before / 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_ends_when_its_window_has_been_handed_over() {
        let ms = Duration::from_millis;
        assert_eq!(wait(Duration::ZERO), limits::FEED_TICK - limits::TIMER_LATENESS);
        assert_eq!(wait(ms(3)), limits::FEED_TICK - limits::TIMER_LATENESS - ms(3));
        assert_eq!(wait(ms(500)), limits::FEED_TICK / 2, "text is gathered however long that takes");
    }

    #[test]
    fn long_hand_overs_are_remembered_for_a_while() {
        let ms = Duration::from_millis;
        assert_eq!(foreseen(Duration::ZERO, ms(4)), ms(4));
        assert_eq!(foreseen(ms(16), ms(4)), ms(15));
        assert_eq!((0..64).fold(ms(16), |before, _| foreseen(before, ms(4))), ms(4));
    }
}
