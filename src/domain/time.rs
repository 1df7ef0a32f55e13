//! Times as text: out as ISO 8601 UTC with milliseconds, in as any ISO 8601 with an offset.
//! Source: API reference, identity 1.4.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use crate::clock::UnixMs;

/// A moment that prints as `2026-03-20T10:28:20.456Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsoMs(pub UnixMs);

impl fmt::Display for IsoMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Out of range (beyond the year 9999) shows the last moment there is rather than nothing.
        let moment = Timestamp::from_millisecond(self.0).unwrap_or(Timestamp::MAX);
        write!(f, "{moment:.3}")
    }
}

impl Serialize for IsoMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl utoipa::PartialSchema for IsoMs {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let format = utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime);
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .format(Some(format))
            .into()
    }
}

impl utoipa::ToSchema for IsoMs {}

/// The text is not a moment: no ISO 8601, or a time of day without `Z` or offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an ISO 8601 time with offset, nor a date")]
pub struct MalformedTime;

/// Reads a moment: ISO 8601 with `Z` or an offset, or a date alone, which means 00:00 UTC.
///
/// # Errors
/// [`MalformedTime`] for everything else.
pub fn parse_time(text: &str) -> Result<UnixMs, MalformedTime> {
    let text = text.trim();
    // A date alone is ten characters; anything longer has to name its offset.
    if text.len() == 10 {
        let date: Date = text.parse().map_err(|_| MalformedTime)?;
        let midnight = date.to_zoned_datetime(TimeZone::UTC).map_err(|_| MalformedTime)?;
        return Ok(midnight.timestamp().as_millisecond());
    }
    text.parse().map(Timestamp::as_millisecond).map_err(|_| MalformedTime)
}

/// The last millisecond (23:59:59.999 UTC) of the day that `moment` falls on.
#[must_use]
pub const fn end_of_day(moment: UnixMs) -> UnixMs {
    const DAY_MS: UnixMs = 24 * 3600 * 1000;
    (moment.div_euclid(DAY_MS)).saturating_mul(DAY_MS).saturating_add(DAY_MS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_with_exactly_three_decimals_and_z() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_774_002_500_456, "2026-03-20T10:28:20.456Z"),
            (1_774_002_500_000, "2026-03-20T10:28:20.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(IsoMs(ms).to_string(), text);
            assert_eq!(parse_time(text), Ok(ms));
        }
        assert!(IsoMs(UnixMs::MAX).to_string().starts_with("9999-12-"));
    }

    #[test]
    fn offsets_and_dates_are_read_and_the_rest_is_refused() {
        for (text, ms) in [
            ("2026-03-20", 1_773_964_800_000),
            (" 2026-03-20T12:28:20.456+02:00 ", 1_774_002_500_456),
            ("2026-03-20T10:28:20Z", 1_774_002_500_000),
        ] {
            assert_eq!(parse_time(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-03-20T10:28:20",
            "2026-02-30",
            "2026-3-20",
            "1774002500456",
            "2026-03-20x",
        ] {
            assert_eq!(parse_time(text), Err(MalformedTime), "{text}");
        }
    }

    #[test]
    fn a_day_ends_a_millisecond_before_the_next() {
        assert_eq!(IsoMs(end_of_day(1_774_002_500_456)).to_string(), "2026-03-20T23:59:59.999Z");
        assert_eq!(IsoMs(end_of_day(1_773_964_800_000)).to_string(), "2026-03-20T23:59:59.999Z");
        assert_eq!(IsoMs(end_of_day(-1)).to_string(), "1969-12-31T23:59:59.999Z");
    }
}
