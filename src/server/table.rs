//! The endpoints of all doors, joined: no door knows another.

use bytes::Bytes;

use crate::http::Endpoint;
use crate::{api, ingest};

/// Every endpoint of every door.
#[must_use]
pub fn endpoints() -> Vec<Endpoint> {
    let ingest = ingest::endpoints().into_iter().map(|row| Endpoint { category: "ingest", ..row });
    api::endpoints().into_iter().chain(ingest).collect()
}

/// The API document over all doors: what `schema/openapi.json` and `/openapi.json` hold.
#[must_use]
pub fn api_document() -> Bytes {
    api::document::render(&endpoints()).into()
}
