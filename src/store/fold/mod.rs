//! What a run's facts and segments amount to: text with its cap and offsets, results, documents, rows of the feed, and
//! how each is stored. Free of any database, the same for every store; a store adds only where the bytes are.

pub(in crate::store) mod documents;
pub(in crate::store) mod feed;
pub(in crate::store) mod pieces;
pub(in crate::store) mod records;
pub(in crate::store) mod results;
pub(in crate::store) mod segment;
pub(in crate::store) mod text;
