//! What is to be sent to dashboards, apart from how it reaches sockets. The feed gathers what became durable, merges
//! text per run and tick, and hands frames to a [`Delivery`]; the delivery can be replaced without touching it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::domain::id::{OrgId, TaskId};
use crate::limits;

/// One Socket.IO event to an organization's room, encoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// `execution-log`: text appended to a run. `offset` and the text's length count UTF-16 code units.
    Log {
        /// The run.
        task: TaskId,
        /// Units appended to the run before this text.
        offset: u64,
        /// The text, UTF-8.
        text: Bytes,
    },
    /// `execution-updated`: a JSON object with at least `taskId`, `organizationId` and `status`.
    Updated {
        /// The run.
        task: TaskId,
        /// The object's text, UTF-8.
        body: Bytes,
    },
}

/// How frames reach viewers. Implemented by the `live` room.
pub trait Delivery: Send + Sync + 'static {
    /// Whether anybody of the organization is watching; if not, nothing needs to be encoded or delivered.
    fn has_viewers(&self, org: OrgId) -> bool;

    /// Hands over frames of one organization, in order. Never waits: a viewer that cannot take a frame now loses it
    /// and sees the gap from the next frame's offset.
    fn deliver(&self, org: OrgId, frames: &[Frame]);
}

/// One organization's feed. What is published must already be durable. Order is kept per run; text of one run that
/// was published in between two of its updates stays between them.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    org: OrgId,
    delivery: Arc<dyn Delivery>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    entries: Vec<Entry>,
    /// Per run, the entry that further text of it may join.
    open_logs: HashMap<TaskId, usize>,
    bytes: usize,
    ticking: bool,
}

enum Entry {
    Log { task: TaskId, offset: u64, parts: Vec<Bytes>, bytes: usize },
    Updated { task: TaskId, body: Bytes },
}

impl Feed {
    /// The feed of `org`, which hands its frames to `delivery`.
    #[must_use]
    pub fn new(org: OrgId, delivery: Arc<dyn Delivery>) -> Self {
        Self { shared: Arc::new(Shared { org, delivery, pending: Mutex::default() }) }
    }

    /// Whether anybody is watching.
    #[must_use]
    pub fn has_viewers(&self) -> bool {
        self.shared.delivery.has_viewers(self.shared.org)
    }

    /// Publishes text that was appended to a run at `offset` (UTF-16 units).
    pub fn log(&self, task: &TaskId, mut offset: u64, mut text: Bytes) {
        if text.is_empty() || !self.has_viewers() {
            return;
        }
        self.publish(|pending| {
            while let Some((head, units)) = cut_head(&mut text) {
                pending.add_log(task, offset, head);
                offset += units;
            }
            pending.add_log(task, offset, text);
        });
    }

    /// Publishes a run's update; `body` is the text of a JSON object.
    pub fn updated(&self, task: &TaskId, body: Bytes) {
        if self.has_viewers() {
            self.publish(|pending| {
                pending.open_logs.remove(task);
                pending.bytes += body.len();
                pending.entries.push(Entry::Updated { task: task.clone(), body });
            });
        }
    }

    fn publish(&self, add: impl FnOnce(&mut Pending)) {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut pending);
        if pending.bytes >= limits::FEED_PENDING_BYTES_MAX {
            self.shared.flush(&mut pending);
        } else if !pending.ticking {
            pending.ticking = true;
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move {
                tokio::time::sleep(limits::FEED_TICK).await;
                let mut pending = shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
                pending.ticking = false;
                shared.flush(&mut pending);
            });
        }
    }

    /// Hands over what is waiting now.
    pub fn flush(&self) {
        let mut pending = self.shared.pending.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.flush(&mut pending);
    }
}

impl Shared {
    /// Delivers under the lock: frames of two flushes must not overtake each other.
    fn flush(&self, pending: &mut Pending) {
        pending.open_logs.clear();
        pending.bytes = 0;
        let frames: Vec<Frame> = pending.entries.drain(..).map(Entry::into_frame).collect();
        if !frames.is_empty() {
            self.delivery.deliver(self.org, &frames);
        }
    }
}

impl Pending {
    fn add_log(&mut self, task: &TaskId, offset: u64, text: Bytes) {
        let length = text.len();
        self.bytes += length;
        let open = self.open_logs.get(task).and_then(|index| self.entries.get_mut(*index));
        match open {
            Some(Entry::Log { parts, bytes, .. }) if *bytes + length <= limits::FRAME_TEXT_BYTES_MAX => {
                parts.push(text);
                *bytes += length;
            }
            _ => {
                self.open_logs.insert(task.clone(), self.entries.len());
                let parts = vec![text];
                self.entries.push(Entry::Log { task: task.clone(), offset, parts, bytes: length });
            }
        }
    }
}

/// Cuts off what fits into one frame, between two characters, with its length in UTF-16 units. `None` if all of it
/// fits, or if it is not UTF-8 and cannot be cut.
fn cut_head(text: &mut Bytes) -> Option<(Bytes, u64)> {
    if text.len() <= limits::FRAME_TEXT_BYTES_MAX {
        return None;
    }
    let whole = std::str::from_utf8(text).ok()?;
    let end = whole.floor_char_boundary(limits::FRAME_TEXT_BYTES_MAX);
    let units = whole.get(..end)?.encode_utf16().count() as u64;
    Some((text.split_to(end), units))
}

impl Entry {
    fn into_frame(self) -> Frame {
        match self {
            Self::Log { task, offset, mut parts, .. } if parts.len() == 1 => {
                Frame::Log { task, offset, text: parts.pop().unwrap_or_default() }
            }
            Self::Log { task, offset, parts, .. } => Frame::Log { task, offset, text: parts.concat().into() },
            Self::Updated { task, body } => Frame::Updated { task, body },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Default)]
    struct Recorder {
        watching: AtomicBool,
        frames: Mutex<Vec<Vec<Frame>>>,
    }

    impl Delivery for Recorder {
        fn has_viewers(&self, _org: OrgId) -> bool {
            self.watching.load(Ordering::Relaxed)
        }

        fn deliver(&self, _org: OrgId, frames: &[Frame]) {
            self.frames.lock().unwrap().push(frames.to_vec());
        }
    }

    fn log(task: &str, offset: u64, text: &str) -> Frame {
        Frame::Log { task: task.into(), offset, text: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn feed() -> (Feed, Arc<Recorder>) {
        let recorder = Arc::new(Recorder::default());
        recorder.watching.store(true, Ordering::Relaxed);
        (Feed::new(OrgId::generate(0), Arc::clone(&recorder) as _), recorder)
    }

    #[tokio::test]
    async fn text_of_a_tick_is_merged_per_run_and_stays_on_its_side_of_an_update() {
        let (feed, recorder) = feed();
        let (a, b) = (TaskId::from("a"), TaskId::from("b"));
        feed.log(&a, 0, "one\n".into());
        feed.log(&b, 7, "x\n".into());
        feed.log(&a, 4, "two\n".into());
        feed.updated(&a, "{}".into());
        feed.log(&a, 8, "three\n".into());
        assert!(recorder.frames.lock().unwrap().is_empty(), "it waits for the tick");
        while recorder.frames.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let updated = Frame::Updated { task: a, body: "{}".into() };
        let expected = vec![log("a", 0, "one\ntwo\n"), log("b", 7, "x\n"), updated, log("a", 8, "three\n")];
        assert_eq!(*recorder.frames.lock().unwrap(), vec![expected]);
    }

    #[tokio::test]
    async fn nothing_is_kept_for_an_empty_room() {
        let (feed, recorder) = feed();
        recorder.watching.store(false, Ordering::Relaxed);
        feed.log(&"a".into(), 0, "one\n".into());
        feed.updated(&"a".into(), "{}".into());
        recorder.watching.store(true, Ordering::Relaxed);
        feed.flush();
        assert!(recorder.frames.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn long_text_goes_out_in_several_frames_cut_between_characters() {
        let (feed, recorder) = feed();
        let text = format!("x{}", "😀é".repeat(60_000));
        feed.log(&"a".into(), 5, text.clone().into());
        feed.flush();
        let frames = recorder.frames.lock().unwrap().concat();
        assert_eq!(frames.len(), text.len().div_ceil(limits::FRAME_TEXT_BYTES_MAX));
        let mut seen = String::new();
        for frame in frames {
            let Frame::Log { offset, text, .. } = frame else { panic!("{frame:?}") };
            assert!(text.len() <= limits::FRAME_TEXT_BYTES_MAX);
            assert_eq!(offset, 5 + seen.encode_utf16().count() as u64);
            seen.push_str(std::str::from_utf8(&text).unwrap());
        }
        assert_eq!(seen, text);
    }

    #[tokio::test]
    async fn much_text_goes_out_at_once_and_in_bounded_frames() {
        let (feed, recorder) = feed();
        let part = Bytes::from(vec![b'x'; 48 << 10]);
        let parts = limits::FEED_PENDING_BYTES_MAX.div_ceil(part.len());
        for n in 0..parts {
            feed.log(&"a".into(), (n * part.len()) as u64, part.clone());
        }
        let frames = recorder.frames.lock().unwrap().concat();
        assert_eq!(frames.len(), parts, "two parts do not fit into one frame");
    }
}
