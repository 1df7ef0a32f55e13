//! Counting and summing up records by kind. The sum of a kind is that of the XXH3-128 of each record's bytes, modulo 2^128:
//! the stores give their records in different orders, and one that is there twice must not cancel itself out.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128;

use super::record::{Kind, Record};
use crate::store::contract::StoreResult;

/// Records of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub records: u64,
    /// Their sum.
    pub checksum: u128,
}

/// Records by kind; kinds without any are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Kind, Count>);

impl Tally {
    /// Counts a record.
    pub(in crate::store) fn add(&mut self, record: &Record) -> StoreResult<()> {
        let digest = xxh3_128(&record.to_bytes()?);
        let count = self.0.entry(record.kind()).or_default();
        count.records += 1;
        count.checksum = count.checksum.wrapping_add(digest);
        Ok(())
    }

    /// The records of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Count {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// How many records there are of all kinds.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.values().map(|count| count.records).sum()
    }

    /// The kinds in which `other` differs, with what each has; empty if there is none.
    #[must_use]
    pub fn differences(&self, other: &Self) -> String {
        let differing = Kind::ALL.iter().filter(|kind| self.of(**kind) != other.of(**kind));
        let said = differing.map(|kind| {
            let (mine, others) = (self.of(*kind).records, other.of(*kind).records);
            if mine == others {
                format!("{} (as many, {mine}, but not the same)", kind.name())
            } else {
                format!("{} ({others} of {mine})", kind.name())
            }
        });
        said.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(token: &str, expires_ms: i64) -> Record {
        Record::Revocation { token: token.into(), expires_ms }
    }

    fn tally(records: &[Record]) -> Tally {
        let mut tally = Tally::default();
        records.iter().for_each(|record| tally.add(record).unwrap());
        tally
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        let (a, b) = (revocation("a", 1), revocation("b", 1));
        let both = tally(&[a.clone(), b.clone()]);
        assert_eq!(both, tally(&[b.clone(), a.clone()]));
        assert_eq!(both.differences(&both), "");
        assert_eq!(both.differences(&tally(std::slice::from_ref(&a))), "revoked tokens (1 of 2)");
        let changed = tally(&[a.clone(), revocation("b", 2)]);
        assert_eq!(both.differences(&changed), "revoked tokens (as many, 2, but not the same)");
        let doubled = tally(&[a.clone(), a.clone(), b.clone(), b]);
        assert_ne!(doubled.of(Kind::Revocation).checksum, 0, "pairs do not cancel out");
        assert_eq!((doubled.records(), both.of(Kind::User)), (4, Count::default()));
    }
}
