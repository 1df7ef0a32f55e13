//! A bounded cache whose entries are seconds old at most and can be dropped at once. What is read from the store
//! while an entry is being dropped is not kept: it may be the old state.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::clock::UnixMs;

/// Locks that share the entries.
const SHARDS: usize = 16;

/// Values with the moment they were read.
type Entries<K, V> = HashMap<K, (UnixMs, V), RandomState>;

/// Entries by key, each with the moment it was read.
pub(super) struct Cache<K, V> {
    shards: [Mutex<Entries<K, V>>; SHARDS],
    placement: RandomState,
    drops: AtomicU64,
    entries_per_shard_max: usize,
    lifetime_ms: i64,
}

/// The state of a [`Cache`] before a value was read from the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    drops: u64,
    at_ms: UnixMs,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn new(entries_max: usize, lifetime: Duration) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            placement: RandomState::default(),
            drops: AtomicU64::new(0),
            entries_per_shard_max: entries_max.div_ceil(SHARDS).max(1),
            lifetime_ms: i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// The value of `key` if it was read less than a lifetime ago.
    pub(super) fn get(&self, key: &K, now_ms: UnixMs) -> Option<V> {
        let shard = self.shard(key);
        let (read_ms, value) = shard.get(key)?;
        self.is_fresh(*read_ms, now_ms).then(|| value.clone())
    }

    /// To be called before a value is read from the store.
    pub(super) fn before_read(&self, now_ms: UnixMs) -> Before {
        Before { drops: self.drops.load(Ordering::SeqCst), at_ms: now_ms }
    }

    /// Keeps what was read since `before`, unless something was dropped meanwhile. If another call has kept a fresh
    /// value of the same key, that one stays and is returned.
    pub(super) fn keep(&self, key: K, value: V, before: Before) -> V {
        let mut shard = self.shard(&key);
        if self.drops.load(Ordering::SeqCst) != before.drops {
            return value;
        }
        if let Some((read_ms, kept)) = shard.get(&key)
            && self.is_fresh(*read_ms, before.at_ms)
        {
            return kept.clone();
        }
        if shard.len() >= self.entries_per_shard_max {
            shard.retain(|_, (read_ms, _)| self.is_fresh(*read_ms, before.at_ms));
        }
        if shard.len() >= self.entries_per_shard_max {
            // All fresh: beginning anew costs each of them one read, and needs no bookkeeping on the hot path.
            shard.clear();
        }
        shard.insert(key, (before.at_ms, value.clone()));
        value
    }

    /// Drops the entries for which `is_stale` says so.
    pub(super) fn drop_if(&self, is_stale: impl Fn(&K, &V) -> bool) {
        // Before the locks: whoever keeps a value after this either sees the count or is seen below.
        self.drops.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            lock(shard).retain(|key, (_, value)| !is_stale(key, value));
        }
    }

    /// Drops the entry of `key`.
    pub(super) fn drop_key(&self, key: &K) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        self.shard(key).remove(key);
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Entries<K, V>> {
        let at = usize::try_from(self.placement.hash_one(key) % (SHARDS as u64)).unwrap_or(0);
        let [first, ..] = &self.shards;
        lock(self.shards.get(at).unwrap_or(first))
    }

    /// An entry from the future (the clock was set back) is not fresh either.
    fn is_fresh(&self, read_ms: UnixMs, now_ms: UnixMs) -> bool {
        (0..self.lifetime_ms).contains(&now_ms.saturating_sub(read_ms))
    }
}

/// A poisoned lock means that a thread died between two steps on a map that stays whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries_max: usize) -> Cache<u32, u32> {
        Cache::new(entries_max, Duration::from_secs(5))
    }

    #[test]
    fn an_entry_lives_for_its_lifetime_on_the_given_clock() {
        let cache = cache(100);
        cache.keep(7, 70, cache.before_read(1_000));
        assert_eq!((cache.get(&7, 5_999), cache.get(&7, 6_000), cache.get(&7, 999)), (Some(70), None, None));
        assert_eq!(cache.keep(7, 71, cache.before_read(5_999)), 70, "a fresh one stays");
        assert_eq!(cache.keep(7, 71, cache.before_read(6_000)), 71);
        assert_eq!(cache.get(&7, 6_000), Some(71));
    }

    #[test]
    fn what_was_read_while_something_was_dropped_is_not_kept() {
        let cache = cache(100);
        let before = cache.before_read(0);
        cache.drop_key(&7);
        assert_eq!(cache.keep(7, 70, before), 70);
        assert_eq!(cache.get(&7, 0), None);
        let before = cache.before_read(0);
        cache.drop_if(|_, _| false);
        cache.keep(7, 70, before);
        assert_eq!(cache.get(&7, 0), None);
    }

    #[test]
    fn dropping_takes_the_entry_or_those_that_match() {
        let cache = cache(1_000);
        for key in 0..100 {
            cache.keep(key, key % 2, cache.before_read(0));
        }
        cache.drop_if(|_, value| *value == 1);
        cache.drop_key(&10);
        let left: Vec<_> = (0..100).filter(|key| cache.get(key, 0).is_some()).collect();
        assert_eq!(left, (0..100).filter(|key| key % 2 == 0 && *key != 10).collect::<Vec<_>>());
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let cache = cache(64);
        for key in 0..10_000 {
            cache.keep(key, key, cache.before_read(0));
            assert_eq!(cache.get(&key, 0), Some(key), "the newest is kept");
        }
        let held: usize = cache.shards.iter().map(|shard| lock(shard).len()).sum();
        assert!(held <= 64, "{held}");
    }
}
