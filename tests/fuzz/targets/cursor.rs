//! What clients say of where a list or a text goes on: page cursors, offsets, times. Whatever comes is read within
//! bounds or refused.

use runstream::http::query::{Paging, Query};

/// Query strings to start from.
pub(crate) const SEEDS: [&str; 4] = [
    "limit=25&offset=100&status=passed,FAILED",
    "from=18446744073709551616&limit=-1&after=%31%32",
    "startAfter=2026-03-20T10%3A26%3A40.123%2B02%3A00&startBefore=2026-03-20",
    "offset=1e9&limit=&limit=7&startAfter=-9999-12-31T23:59:59Z",
];

/// Reads `data` as a query string.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = Query::parse(Some(text));
    for paging in [Paging::default(), Paging { default: 10, max: 1_000 }] {
        let page = query.page(paging);
        assert!((1..=paging.max).contains(&page.limit), "{text:?}: {page:?}");
    }
    for name in ["from", "after", "limit", "offset"] {
        let count = query.count(name);
        assert!(count.is_none() || query.get(name).is_some(), "{text:?}: a number out of nothing");
    }
    for name in ["startAfter", "startBefore"] {
        if let Err(failure) = query.time(name, "Invalid time") {
            assert_eq!(failure.error, "Invalid time", "{text:?}");
        }
    }
}
