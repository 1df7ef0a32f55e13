//! Query parameters of lists: pages by limit and offset, moments, plain text. Of a parameter given several times the
//! first counts; an empty one counts as absent. Source: API reference, identity 1.4 and 1.5.

use std::borrow::Cow;

use url::form_urlencoded;

use super::Failure;
use crate::clock::UnixMs;
use crate::domain::time::parse_time;

/// How long the pages of a list may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// Entries if the client does not say.
    pub default: usize,
    /// Most entries; at least one is always given.
    pub max: usize,
}

impl Default for Paging {
    fn default() -> Self {
        Self { default: 25, max: 100 }
    }
}

/// Which part of a list is wanted, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Most entries, at least 1.
    pub limit: usize,
    /// Entries to skip.
    pub offset: usize,
}

/// A query string, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Decodes the part of a request target after the `?`.
    #[must_use]
    pub fn parse(query: Option<&'a str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self { pairs: pairs.collect() }
    }

    /// The parameter's text, or `None` if it is absent or empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(given, _)| given == name)?;
        if value.is_empty() { None } else { Some(value) }
    }

    /// `limit` and `offset`: out of range is clamped, what is no number falls back to the default.
    #[must_use]
    pub fn page(&self, paging: Paging) -> Page {
        let limit = self.get("limit").and_then(integer).map_or(paging.default, |limit| limit.max(1));
        let offset = self.get("offset").and_then(integer).unwrap_or(0);
        Page { limit: limit.min(paging.max), offset }
    }

    /// A number of at least 0, clamped to what can be counted; `None` if it is absent or no number.
    #[must_use]
    pub fn count(&self, name: &str) -> Option<usize> {
        self.get(name).and_then(integer)
    }

    /// A moment: ISO 8601 with an offset, or a date.
    ///
    /// # Errors
    /// 400 with `error` for anything else.
    pub fn time(&self, name: &str, error: &'static str) -> Result<Option<UnixMs>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let wrong =
            |_| Failure::bad_request(error, format!("{name} must be an ISO 8601 date or a time with offset"));
        parse_time(text).map(Some).map_err(wrong)
    }
}

/// A decimal integer, negative ones as 0 and immense ones as the largest there is; `None` for anything else.
fn integer(text: &str) -> Option<usize> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if negative { 0 } else { digits.parse().unwrap_or(usize::MAX) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_clamped_and_fall_back() {
        let check = |query: &str, limit, offset| {
            let page = Query::parse(Some(query)).page(Paging::default());
            assert_eq!(page, Page { limit, offset }, "{query}");
        };
        check("", 25, 0);
        check("limit=1&offset=7", 1, 7);
        check("limit=0", 1, 0);
        check("limit=-3&offset=-3", 1, 0);
        check("limit=100", 100, 0);
        check("limit=101", 100, 0);
        check("limit=99999999999999999999999&offset=99999999999999999999999", 100, usize::MAX);
        check("limit=ten&offset=x", 25, 0);
        check("limit=1.5&offset=1e3", 25, 0);
        check("limit=&offset=", 25, 0);
        check("limit=5&limit=6", 5, 0);
        check("l%69mit=%35", 5, 0);
        assert_eq!(Query::parse(None).page(Paging { default: 50, max: 200 }).limit, 50);
    }

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse(Some("a=1%202+3&b&c=%F0%9F%98%80&from=12"));
        assert_eq!((query.get("a"), query.get("b"), query.get("c")), (Some("1 2 3"), None, Some("😀")));
        assert_eq!((query.get("d"), query.count("from"), query.count("a")), (None, Some(12), None));
    }

    #[test]
    fn moments_are_read_and_the_rest_is_the_given_error() {
        let query = Query::parse(Some("from=2026-03-20&to=2026-03-20T12%3A28%3A20%2B02%3A00&bad=soon"));
        assert_eq!(query.time("from", "Invalid from").unwrap(), Some(1_773_964_800_000));
        assert_eq!(query.time("to", "Invalid to").unwrap(), Some(1_774_002_500_000));
        assert_eq!(query.time("none", "Invalid none").unwrap(), None);
        assert_eq!(query.time("bad", "Invalid bad").unwrap_err().error, "Invalid bad");
    }
}
