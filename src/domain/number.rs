//! Numbers as clients send them: JSON knows no integers, clocks step back, divisions leave fractions. What is merely
//! odd is mended here instead of refused. Source: API reference, ingest 3 and 4.

use crate::clock::UnixMs;

/// The largest integer that every JSON reader keeps exact (2^53 - 1).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// The furthest moment, both ways, that a JavaScript date can show; Unix milliseconds.
const MOMENT_MAX: f64 = 8.64e15;

/// A count or duration: negative becomes 0, a fraction is rounded, too large becomes [`INTEGER_MAX`].
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "rounded before, and `as` saturates on both ends")]
#[expect(clippy::cast_sign_loss, reason = "`as` turns a negative number into 0, which is the rule")]
pub fn count(number: f64) -> u64 {
    (rounded(number) as u64).min(INTEGER_MAX)
}

/// The integer that `number` is, if it is one (`3` and `3.0`, not `3.5`) and not further from 0 than [`INTEGER_MAX`].
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "within 53 bits, and without a fraction")]
pub fn integer(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

/// A moment in Unix milliseconds: a fraction is rounded; `None` if it is not finite or no date can show it.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "checked against the range of dates, which is within 64 bits"
)]
pub fn moment(number: f64) -> Option<UnixMs> {
    (number.abs() <= MOMENT_MAX).then_some(rounded(number) as UnixMs)
}

/// Rounds half away from zero. Nearly all that is sent is whole already, and to see that costs less than a call of the
/// mathematical library.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "what does not come back the same is rounded by the library"
)]
fn rounded(number: f64) -> f64 {
    let whole = number as i64 as f64;
    if whole.total_cmp(&number).is_eq() { number } else { number.round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_mended() {
        for (sent, kept) in [
            (0.0, 0),
            (-1.0, 0),
            (-0.2, 0),
            (1.4, 1),
            (1.5, 2),
            (4211.0, 4211),
            (1e300, INTEGER_MAX),
            (f64::INFINITY, INTEGER_MAX),
            (f64::NEG_INFINITY, 0),
            (f64::NAN, 0),
        ] {
            assert_eq!(count(sent), kept, "{sent}");
        }
    }

    #[test]
    fn integers_have_no_fraction() {
        for (sent, read) in [
            (3.0, Some(3)),
            (-3.0, Some(-3)),
            (3.5, None),
            (9_007_199_254_740_991.0, Some(9_007_199_254_740_991)),
            (9_007_199_254_740_992.0, None),
            (f64::INFINITY, None),
            (f64::NAN, None),
        ] {
            assert_eq!(integer(sent), read, "{sent}");
        }
    }

    #[test]
    fn moments_are_what_a_date_can_show() {
        for (sent, read) in [
            (1_774_000_000_123.0, Some(1_774_000_000_123)),
            (1_774_000_000_123.6, Some(1_774_000_000_124)),
            (1_774_000_000_123.5, Some(1_774_000_000_124)),
            (-2.5, Some(-3)),
            (-0.0, Some(0)),
            (-5.0, Some(-5)),
            (8.64e15, Some(8_640_000_000_000_000)),
            (8.65e15, None),
            (f64::INFINITY, None),
            (f64::NAN, None),
        ] {
            assert_eq!(moment(sent), read, "{sent}");
        }
    }
}
