//! The buckets that requests are counted in. An organization's belong to its actor and are handed out as shared
//! atomics, so that admission costs a few nanoseconds and no mailbox round trip; those of client addresses belong to
//! the root and are bounded in number.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{PoisonError, RwLock};

use dashmap::DashMap;
use foldhash::fast::RandomState;

use super::bucket::{Bucket, Quota, Verdict};
use crate::clock::UnixMs;
use crate::domain::id::{ApiKeyId, SessionId, UserId};
use crate::limits;

/// The two ingest tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IngestTier {
    /// Event requests.
    Event,
    /// Setup and teardown together.
    Lifecycle,
}

/// Which of an organization's counters a request takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BucketKey {
    /// The `api` tier.
    Api,
    /// The `strict` tier.
    Strict,
    /// The `auth` tier where it counts per person.
    Auth(UserId),
    /// An ingest tier of one API key.
    Key(ApiKeyId, IngestTier),
    /// An ingest tier of callers with a token.
    Organization(IngestTier),
    /// Event requests of one session.
    Session(SessionId),
}

/// One organization's counters.
#[derive(Debug, Default)]
pub struct OrgBuckets {
    buckets: RwLock<HashMap<BucketKey, (Bucket, Quota), RandomState>>,
}

impl OrgBuckets {
    /// Counts one request at `now_ms` (Unix milliseconds) and says whether it passes.
    pub fn take(&self, key: BucketKey, quota: Quota, now_ms: UnixMs) -> Verdict {
        // A poisoned lock means that a thread died between two reads or writes of the map, which stay whole.
        let known = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((bucket, _)) = known.get(&key) {
            return bucket.take(quota, now_ms);
        }
        drop(known);
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        let (bucket, _) = buckets.entry(key).or_insert_with(|| (Bucket::default(), quota));
        bucket.take(quota, now_ms)
    }

    /// Forgets the counters whose window is over; returns how many are left.
    pub(super) fn forget_spent(&self, now_ms: UnixMs) -> usize {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        buckets.retain(|_, (bucket, quota)| !bucket.is_spent(quota.window_ms, now_ms));
        buckets.len()
    }
}

/// Counters per client address; IPv6 clients count per /64.
#[derive(Debug, Default)]
pub struct IpBuckets {
    buckets: DashMap<(&'static str, IpAddr), (Bucket, Quota)>,
}

impl IpBuckets {
    /// Counts one request of `ip` in the tier named `tier` at `now_ms` (Unix milliseconds) and says whether it passes.
    /// When the table is full of addresses whose windows still run, new addresses are refused: an attacker with many
    /// addresses must not be able to buy unlimited tries, nor unlimited memory.
    pub fn take(&self, tier: &'static str, ip: IpAddr, quota: Quota, now_ms: UnixMs) -> Verdict {
        let key = (tier, network(ip));
        if let Some(entry) = self.buckets.get(&key) {
            return entry.0.take(quota, now_ms);
        }
        if self.buckets.len() >= limits::IP_BUCKETS_MAX && self.forget_spent(now_ms) >= limits::IP_BUCKETS_MAX
        {
            let reset_ms = now_ms.saturating_add(i64::from(quota.window_ms));
            return Verdict { admitted: false, limit: quota.capacity, remaining: 0, reset_ms };
        }
        self.buckets.entry(key).or_insert_with(|| (Bucket::default(), quota)).0.take(quota, now_ms)
    }

    /// What a request of `ip` would be told, without counting it; `None` if nothing was counted yet.
    pub fn peek(&self, tier: &'static str, ip: IpAddr, quota: Quota, now_ms: UnixMs) -> Option<Verdict> {
        self.buckets.get(&(tier, network(ip))).map(|entry| entry.0.peek(quota, now_ms))
    }

    /// Forgets the counters whose window is over; returns how many are left.
    pub(super) fn forget_spent(&self, now_ms: UnixMs) -> usize {
        self.buckets.retain(|_, (bucket, quota)| !bucket.is_spent(quota.window_ms, now_ms));
        self.buckets.len()
    }
}

/// The address that counts: itself for IPv4 (mapped ones too), the /64 network for IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { capacity: 2, window_ms: 60_000 };

    #[test]
    fn addresses_of_one_ipv6_network_share_a_counter_and_mapped_ones_are_ipv4() {
        let buckets = IpBuckets::default();
        let admitted = |ip: &str| buckets.take("auth", ip.parse().unwrap(), QUOTA, 1_000).admitted;
        assert!(admitted("2001:db8::1") && admitted("2001:db8::2"));
        assert!(!admitted("2001:db8::ffff"));
        assert!(admitted("2001:db8:0:1::1"));
        assert!(admitted("::ffff:192.0.2.1") && admitted("192.0.2.1"));
        assert!(!admitted("192.0.2.1"));
    }

    #[test]
    fn a_full_table_refuses_new_addresses_until_windows_end() {
        let buckets = IpBuckets::default();
        let address = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(n));
        for n in 0..u32::try_from(limits::IP_BUCKETS_MAX).unwrap() {
            assert!(buckets.take("auth", address(n), QUOTA, 1_000).admitted);
        }
        assert!(!buckets.take("auth", address(u32::MAX), QUOTA, 1_000).admitted);
        assert!(buckets.take("auth", address(7), QUOTA, 1_000).admitted);
        assert!(buckets.take("auth", address(u32::MAX), QUOTA, 61_000).admitted);
    }

    #[test]
    fn spent_counters_are_forgotten() {
        let buckets = OrgBuckets::default();
        buckets.take(BucketKey::Api, QUOTA, 1_000);
        assert_eq!(buckets.forget_spent(60_999), 1);
        assert_eq!(buckets.forget_spent(61_000), 0);
    }
}
