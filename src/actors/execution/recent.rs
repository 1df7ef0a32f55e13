//! The requests that a run has taken in of late, to recognise one that is sent again by its bytes.
//!
//! They are many, thousands where a run is fed fast, and nearly none is asked for again. So what is asked is a filter that
//! knows for certain of most digests that they are not there, one cache line of a few kilobytes; and what is too old goes
//! when the filter is made anew, all at once, and not one by one with every request.

use super::state::millis;
use crate::clock::UnixMs;
use crate::domain::batch::Receipt;
use crate::limits;

/// Requests that are looked through without a filter.
const FEW: usize = 4;
/// Digests for each word of the filter: at three bits each, one of some hundred that are not there passes.
const DIGESTS_PER_WORD: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// In the order in which they were taken in.
    seen: Vec<Seen>,
    /// A power of two of words, or none for few requests.
    filter: Box<[u64]>,
    /// Room in `seen` until what is too old is let go.
    full_at: usize,
}

/// What tells a request from others, and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    digest: u128,
    /// Random for each arrival.
    pub(super) nonce: u64,
    /// Unix milliseconds.
    pub(super) received_ms: UnixMs,
}

impl Recent {
    /// The requests with this digest.
    pub(super) fn with(&self, digest: u128) -> impl Iterator<Item = &Seen> {
        let seen = if self.may_have(digest) { self.seen.as_slice() } else { &[] };
        seen.iter().filter(move |seen| seen.digest == digest)
    }

    /// Whether there may be one with this digest; mostly it is certain that there is none.
    fn may_have(&self, digest: u128) -> bool {
        let bits = bits(digest);
        self.filter.is_empty() || self.filter.get(self.word(digest)).is_some_and(|word| word & bits == bits)
    }

    /// Takes one in.
    pub(super) fn push(&mut self, receipt: &Receipt) {
        if self.seen.len() >= self.full_at.max(FEW) {
            self.let_go(receipt.received_ms - millis(limits::REPLAY_MAX));
        }
        let Receipt { digest, nonce, received_ms, .. } = *receipt;
        self.seen.push(Seen { digest, nonce, received_ms });
        self.note(digest);
    }

    /// Forgets what came before `oldest_ms`, and makes room for as many as are left.
    fn let_go(&mut self, oldest_ms: UnixMs) {
        let old = self.seen.iter().take_while(|seen| seen.received_ms < oldest_ms).count();
        self.seen.drain(..old);
        let words = (2 * self.seen.len().max(FEW)).div_ceil(DIGESTS_PER_WORD).next_power_of_two();
        self.full_at = words * DIGESTS_PER_WORD;
        self.seen.shrink_to(self.full_at);
        self.filter = vec![0; words].into();
        let kept = std::mem::take(&mut self.seen);
        kept.iter().for_each(|seen| self.note(seen.digest));
        self.seen = kept;
    }

    fn note(&mut self, digest: u128) {
        let word = self.word(digest);
        if let Some(word) = self.filter.get_mut(word) {
            *word |= bits(digest);
        }
    }

    /// Which word of the filter a digest has.
    fn word(&self, digest: u128) -> usize {
        let mask = self.filter.len().saturating_sub(1) as u128;
        usize::try_from(digest >> 64 & mask).unwrap_or_default()
    }
}

/// The three bits of its word that a digest sets.
fn bits(digest: u128) -> u64 {
    let bit = |shift: u32| 1_u64 << (digest >> shift & 63);
    bit(0) | bit(6) | bit(12)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn receipt(digest: u128, nonce: u64, received_ms: UnixMs) -> Receipt {
        Receipt { received_ms, digest, nonce, body_bytes: 10, number: None }
    }

    /// As random as the digests of bodies are.
    fn digest(n: u64) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes())
    }

    proptest! {
        #[test]
        fn all_of_the_last_half_minute_are_found_and_no_others(
            requests in prop::collection::vec((0_u64..40, 0_i64..400), 1..600)
        ) {
            let (mut recent, mut all, mut now_ms) = (Recent::default(), Vec::new(), 0);
            for (nonce, (body, pause_ms)) in (0..).zip(requests) {
                now_ms += pause_ms;
                recent.push(&receipt(digest(body), nonce, now_ms));
                all.push((body, nonce, now_ms));
                for body in 0..42 {
                    let found: Vec<_> =
                        recent.with(digest(body)).map(|seen| (body, seen.nonce, seen.received_ms)).collect();
                    let same = all.iter().filter(|(other, ..)| *other == body);
                    let (due, old): (Vec<_>, Vec<_>) = same.partition(|(.., at_ms)| now_ms - at_ms <= 30_000);
                    prop_assert!(found.ends_with(&due), "{found:?} lacks some of {due:?}");
                    prop_assert!(old.ends_with(&found[..found.len() - due.len()]), "{found:?} were not sent");
                }
            }
        }
    }

    #[test]
    fn what_is_too_old_goes_and_takes_its_memory_along() {
        let mut recent = Recent::default();
        let kept = |recent: &Recent| recent.seen.capacity() * size_of::<Seen>() + recent.filter.len() * 8;
        // A thousand a second for five minutes, then one a second.
        for n in 0..300_000_u64 {
            recent.push(&receipt(digest(n), n, n as UnixMs));
        }
        assert!(recent.seen.len() < 4 * 30_000, "{} are kept", recent.seen.len());
        assert!(kept(&recent) < 3 << 20, "{} bytes", kept(&recent));
        for n in 300_000..400_000_u64 {
            recent.push(&receipt(digest(n), n, (n * 1_000) as UnixMs));
        }
        assert!(kept(&recent) < 4 << 10, "{} bytes", kept(&recent));
    }

    #[test]
    fn nearly_none_of_those_that_are_not_there_are_looked_for() {
        let mut recent = Recent::default();
        for n in 0..30_000 {
            recent.push(&receipt(digest(n), n, 0));
            if !recent.filter.is_empty() && n % 1_000 == 999 {
                let passed = (1_000_000..1_010_000).filter(|other| recent.may_have(digest(*other))).count();
                assert!(passed < 300, "of 10 000 that are not there {passed} pass among {n}");
            }
        }
    }
}
