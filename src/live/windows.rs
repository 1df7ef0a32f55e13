//! Encoded windows of one organization while somebody is watching it: made once, shared by all who need the range, and
//! bounded in bytes (unless a single one is larger).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cursor::Cursor;
use super::encoding::Encoded;
use crate::actors::feed::{FeedError, Feeds, Window};
use crate::domain::id::OrgId;
use crate::{limits, telemetry};

/// See the module.
#[derive(Default)]
pub(super) struct Windows {
    kept: Mutex<Kept>,
    /// One window is fetched at a time: those who want the same one find it kept when it is their turn.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    by_range: BTreeMap<(u64, u64), Kind>,
    oldest_first: VecDeque<(u64, u64)>,
    cost: usize,
    /// Where the newest tick ended.
    newest: u64,
}

#[derive(Clone)]
enum Kind {
    /// What became durable within one tick.
    Tick(Arc<Encoded>),
    /// What was fetched for those who were behind.
    Fetched(Arc<Encoded>),
}

impl Windows {
    /// Encodes the window of a tick.
    pub(super) fn add(&self, window: &Window) -> Arc<Encoded> {
        let encoded = encode(window);
        let mut kept = self.kept();
        kept.newest = kept.newest.max(encoded.upto);
        kept.keep(Kind::Tick(Arc::clone(&encoded)));
        encoded
    }

    /// The window that somebody at `cursor` needs next; `None` if there is none yet.
    ///
    /// # Errors
    /// Those of [`Feeds::window`].
    pub(super) async fn next(
        &self,
        feeds: &dyn Feeds,
        org: OrgId,
        cursor: &Cursor,
    ) -> Result<Option<Arc<Encoded>>, FeedError> {
        if let Some(found) = self.kept().find(cursor) {
            return Ok(Some(found));
        }
        let _turn = self.fetching.lock().await;
        if let Some(found) = self.kept().find(cursor) {
            return Ok(Some(found));
        }
        let Some(window) = feeds.window(org, cursor.after, cursor.upto()).await? else { return Ok(None) };
        let encoded = encode(&window);
        self.kept().keep(Kind::Fetched(Arc::clone(&encoded)));
        Ok(Some(encoded))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(window: &Window) -> Arc<Encoded> {
    metrics::counter!(telemetry::name::LIVE_WINDOWS).increment(1);
    Arc::new(Encoded::of(window))
}

impl Kind {
    fn encoded(&self) -> &Arc<Encoded> {
        match self {
            Self::Tick(encoded) | Self::Fetched(encoded) => encoded,
        }
    }
}

impl Kept {
    fn find(&self, cursor: &Cursor) -> Option<Arc<Encoded>> {
        let after = cursor.after;
        let found = match cursor.upto() {
            Some(upto) => self.by_range.get(&(after, upto))?,
            None => self.by_range.range((after, 0)..=(after, u64::MAX)).next_back()?.1,
        };
        // Somebody far behind would need many small ticks; one window that spans them costs less.
        let small = match found {
            Kind::Tick(tick) => tick.upto < self.newest && tick.size() < limits::LIVE_WINDOW_BYTES / 2,
            Kind::Fetched(_) => false,
        };
        (!small || cursor.upto().is_some()).then(|| Arc::clone(found.encoded()))
    }

    fn keep(&mut self, kind: Kind) {
        let encoded = kind.encoded();
        let (range, cost) = ((encoded.from, encoded.upto), encoded.cost());
        if self.by_range.contains_key(&range) {
            return;
        }
        self.by_range.insert(range, kind);
        self.oldest_first.push_back(range);
        self.cost += cost;
        // One is kept however large it is: those who have to wait in the middle of it come back for the rest.
        while self.cost > limits::LIVE_CACHE_BYTES_MAX && self.by_range.len() > 1 {
            let Some(oldest) = self.oldest_first.pop_front() else { return };
            if let Some(dropped) = self.by_range.remove(&oldest) {
                self.cost -= dropped.encoded().cost();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use bytes::Bytes;

    use super::*;
    use crate::actors::feed::{Frame, Head};

    /// A feed of one character per boundary, up to 10 000; windows of 100 boundaries.
    #[derive(Default)]
    struct Source {
        asked: AtomicUsize,
    }

    fn window(from: u64, upto: u64, size: usize) -> Window {
        let text = Bytes::from(vec![b'x'; size]);
        Window { from, upto, frames: vec![Frame::Log { task: "a".into(), offset: from, text }] }
    }

    #[async_trait]
    impl Feeds for Source {
        async fn head(&self, _: OrgId) -> Result<Head, FeedError> {
            unreachable!()
        }

        async fn check(&self, _: OrgId, _: u64) -> Result<(), FeedError> {
            unreachable!()
        }

        async fn window(
            &self,
            _: OrgId,
            after: u64,
            upto: Option<u64>,
        ) -> Result<Option<Arc<Window>>, FeedError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            let upto = upto.unwrap_or(10_000.min(after + 100));
            Ok((upto > after).then(|| Arc::new(window(after, upto, 100))))
        }
    }

    #[tokio::test]
    async fn a_herd_of_equal_cursors_costs_one_fetch_per_window() {
        let (windows, source, org) = (Windows::default(), Source::default(), OrgId::generate(1));
        let herd = (0..200).map(|_| async {
            let mut cursor = Cursor::at(0);
            let mut seen = Vec::new();
            while let Some(window) = windows.next(&source, org, &cursor).await.unwrap() {
                seen.push((window.from, window.upto));
                cursor = Cursor::at(window.upto);
            }
            seen
        });
        let seen = futures_util::future::join_all(herd).await;
        assert!(seen.iter().all(|ranges| *ranges == seen[0] && ranges.len() == 100));
        // Each found the end by asking.
        assert_eq!(source.asked.load(Ordering::Relaxed), 100 + 200);
    }

    #[tokio::test]
    async fn ticks_serve_those_who_are_close_and_not_those_far_behind() {
        let (windows, source, org) = (Windows::default(), Source::default(), OrgId::generate(1));
        for tick in 0..50 {
            windows.add(&window(tick, tick + 1, 10));
        }
        let newest = windows.next(&source, org, &Cursor::at(49)).await.unwrap().unwrap();
        assert_eq!((newest.upto, source.asked.load(Ordering::Relaxed)), (50, 0));
        let spanning = windows.next(&source, org, &Cursor::at(0)).await.unwrap().unwrap();
        assert_eq!((spanning.upto, source.asked.load(Ordering::Relaxed)), (100, 1));
        // Whoever was cut within a tick needs that very window.
        let within = Cursor::within(3, 4, 1, 2);
        assert_eq!(windows.next(&source, org, &within).await.unwrap().unwrap().upto, 4);
        assert_eq!(source.asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_newest() {
        let windows = Windows::default();
        let size = limits::LIVE_WINDOW_BYTES;
        for tick in 0..1_000 {
            windows.add(&window(tick, tick + 1, size));
        }
        let kept = windows.kept();
        assert!(kept.cost <= limits::LIVE_CACHE_BYTES_MAX && kept.cost > limits::LIVE_CACHE_BYTES_MAX / 2);
        assert_eq!(kept.by_range.len(), kept.oldest_first.len());
        assert!(kept.find(&Cursor::at(999)).is_some() && kept.find(&Cursor::at(0)).is_none());
    }
}
