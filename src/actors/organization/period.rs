//! The billing period: the calendar month in UTC. Source: API reference, identity 5.4.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::clock::UnixMs;

/// The month that `now_ms` is in: its first millisecond and that of the next; Unix milliseconds.
pub(super) fn month(now_ms: UnixMs) -> (UnixMs, UnixMs) {
    let now = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned_datetime(TimeZone::UTC);
    let bounds = || {
        let start = now.first_of_month().ok()?.start_of_day().ok()?;
        let end = start.checked_add(1.month()).ok()?;
        Some((start.timestamp().as_millisecond(), end.timestamp().as_millisecond()))
    };
    // Only the last month of the year 9999 has no next one.
    bounds().unwrap_or((now_ms, UnixMs::MAX))
}

#[cfg(test)]
mod tests {
    use super::month;

    #[test]
    fn a_month_runs_from_its_first_millisecond_to_the_next_months() {
        let ms = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let march = (ms("2026-03-01T00:00:00Z"), ms("2026-04-01T00:00:00Z"));
        assert_eq!(month(ms("2026-03-01T00:00:00Z")), march);
        assert_eq!(month(ms("2026-03-31T23:59:59.999Z")), march);
        assert_eq!(month(ms("2026-12-15T12:00:00Z")).1, ms("2027-01-01T00:00:00Z"));
    }
}
