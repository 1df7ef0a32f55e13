//! Between counts and rates: the only conversions from floating point of this folder.

use std::time::Duration;

/// The whole part of `number`; zero for what is negative or no number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates at both ends, which is what is wanted"
)]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

/// How many a second.
#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^52")]
pub(super) fn per_second(count: u64, window: Duration) -> f64 {
    if window.is_zero() { 0.0 } else { count as f64 / window.as_secs_f64() }
}

/// Microseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 µs")]
pub(super) fn micros_as_ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

/// Microseconds of a duration.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A rate for people: `12 345`, and with a decimal below a hundred.
pub(super) fn shown_rate(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { crate::cli::demo::grouped(whole(rate.round())) }
}
