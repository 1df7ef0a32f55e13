//! The small helper of the cold nouns: a keyspace of records of one kind, and keys whose bytes sort like what they
//! are made of. Indexes are tables of `()` whose key says it all.

use std::marker::PhantomData;
use std::ops::Bound;

use fjall::{Readable, SingleWriterWriteTx};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::db::{Db, store_error};
use crate::clock::UnixMs;
use crate::store::contract::StoreResult;
use crate::store::record;

/// Builds a key out of columns, most significant first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// A key, or a prefix of one, without columns.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a column of fixed width: an id or a hash.
    pub(super) fn id(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a moment; earlier sorts first, moments before 1970 included.
    pub(super) fn moment(mut self, at_ms: UnixMs) -> Self {
        self.0.extend_from_slice(&(at_ms.cast_unsigned() ^ 1 << 63).to_be_bytes());
        self
    }

    /// Adds a text that ends the key.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a text that more columns follow; it starts with its length, so that no text is a prefix of another.
    pub(super) fn inner_text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.text(text)
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What a scan finds, in the order of keys.
pub(super) type Rows<T> = Box<dyn DoubleEndedIterator<Item = StoreResult<T>>>;

/// The records of one kind.
pub(super) struct Table<R> {
    keyspace: &'static str,
    record: PhantomData<fn() -> R>,
}

impl<R: Serialize + DeserializeOwned + 'static> Table<R> {
    /// The table kept in this keyspace.
    pub(super) const fn named(keyspace: &'static str) -> Self {
        Self { keyspace, record: PhantomData }
    }

    /// The record at `key` as `view` sees it.
    pub(super) fn get(&self, db: &Db, view: &impl Readable, key: &Key) -> StoreResult<Option<R>> {
        let found = view.get(db.keyspace(self.keyspace)?, key).map_err(store_error)?;
        found.map(|bytes| record::decode(&bytes)).transpose()
    }

    /// Whether there is a record at `key`.
    pub(super) fn has(&self, db: &Db, view: &impl Readable, key: &Key) -> StoreResult<bool> {
        view.contains_key(db.keyspace(self.keyspace)?, key).map_err(store_error)
    }

    /// Stores `record` at `key`, over what is there.
    pub(super) fn put(
        &self,
        db: &Db,
        change: &mut SingleWriterWriteTx<'_>,
        key: Key,
        record: &R,
    ) -> StoreResult<()> {
        change.insert(&db.keyspace(self.keyspace)?, key.0, record::encode(record)?);
        Ok(())
    }

    /// Removes the record at `key`, if there is one.
    pub(super) fn remove(&self, db: &Db, change: &mut SingleWriterWriteTx<'_>, key: Key) -> StoreResult<()> {
        change.remove(&db.keyspace(self.keyspace)?, key.0);
        Ok(())
    }

    /// The keys that begin with `prefix`, in order; the caller bounds how many it takes.
    pub(super) fn keys(&self, db: &Db, view: &impl Readable, prefix: &Key) -> StoreResult<Rows<Vec<u8>>> {
        let rows = view.prefix(db.keyspace(self.keyspace)?, prefix);
        Ok(Box::new(rows.map(|row| Ok(row.key().map_err(store_error)?.to_vec()))))
    }

    /// The records from the key `first` up to `last`, both included, in order; the caller bounds how many it takes.
    pub(super) fn range(
        &self,
        db: &Db,
        view: &impl Readable,
        first: &Key,
        last: &Key,
    ) -> StoreResult<Rows<R>> {
        let rows = view.range(db.keyspace(self.keyspace)?, first.0.clone()..=last.0.clone());
        Ok(Box::new(rows.map(|row| record::decode(&row.value().map_err(store_error)?))))
    }

    /// The first `limit` rows whose keys are above `after`.
    pub(super) fn page(
        &self,
        db: &Db,
        view: &impl Readable,
        after: &[u8],
        limit: usize,
    ) -> StoreResult<Vec<(Vec<u8>, R)>> {
        let first = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after.to_vec()) };
        let rows = view.range(db.keyspace(self.keyspace)?, (first, Bound::<Vec<u8>>::Unbounded));
        let read = rows.take(limit).map(|row| {
            let (key, value) = row.into_inner().map_err(store_error)?;
            Ok((key.to_vec(), record::decode(&value)?))
        });
        read.collect()
    }

    /// The records whose keys begin with `prefix`, in order; the caller bounds how many it takes.
    pub(super) fn records(&self, db: &Db, view: &impl Readable, prefix: &Key) -> StoreResult<Rows<R>> {
        let rows = view.prefix(db.keyspace(self.keyspace)?, prefix);
        Ok(Box::new(rows.map(|row| record::decode(&row.value().map_err(store_error)?))))
    }
}

impl Table<()> {
    /// The keys of an index that starts with a moment before `before_ms`, earliest first, at most `limit`.
    pub(super) fn keys_before(
        &self,
        db: &Db,
        view: &impl Readable,
        before_ms: UnixMs,
        limit: usize,
    ) -> StoreResult<Vec<Vec<u8>>> {
        let rows = view.range(db.keyspace(self.keyspace)?, ..Key::new().moment(before_ms).0);
        rows.take(limit).map(|row| Ok(row.key().map_err(store_error)?.to_vec())).collect()
    }
}

impl Table<u64> {
    /// The number at `key`; 0 if there is none.
    pub(super) fn count(&self, db: &Db, view: &impl Readable, key: &Key) -> StoreResult<u64> {
        Ok(self.get(db, view, key)?.unwrap_or(0))
    }

    /// Adds `by` to the number at `key`.
    pub(super) fn add(
        &self,
        db: &Db,
        change: &mut SingleWriterWriteTx<'_>,
        key: Key,
        by: i64,
    ) -> StoreResult<()> {
        let sum = self.count(db, change, &key)?.saturating_add_signed(by);
        self.put(db, change, key, &sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_like_their_columns() {
        let moments = [i64::MIN, -1, 0, 1, 1_774_000_000_123, i64::MAX];
        assert!(moments.map(|at| Key::new().moment(at).0).is_sorted());
        let texts = ["", "a", "aa", "b"].map(|text| Key::new().inner_text(text).text("x").0);
        for (at, text) in texts.iter().enumerate() {
            let others = texts.iter().enumerate().filter(|(other, _)| *other != at);
            assert!(others.clone().all(|(_, other)| !other.starts_with(text)), "{text:?}");
        }
    }
}
