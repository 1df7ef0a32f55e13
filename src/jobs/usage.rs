//! Tells the administrators of an organization when it crosses a threshold of what its plan allows: once per threshold,
//! resource and period, remembered in the same step that stores the letters. Source: API reference, identity 11.

use super::mail::Mail;
use crate::clock::UnixMs;
use crate::domain::id::{OrgId, UserId};
use crate::outbound::mail::Content;
use crate::store::contract::StoreResult;

/// Percent at which administrators are told, the highest first.
const THRESHOLDS: [u8; 4] = [100, 90, 80, 50];
/// How long after its period it is remembered what was told: nodes' clocks may differ.
const REMEMBERED_LONGER_MS: i64 = 24 * 3_600 * 1_000;

/// What an organization uses of one thing that its plan limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The name on the wire, as `testRuns`.
    pub resource: String,
    /// In words, as `test runs`.
    pub words: String,
    /// How much of it, in words, as `41 of 50`.
    pub used: String,
    /// Percent of the limit; may exceed 100.
    pub percent: u64,
    /// First moment of the period that it is counted in; Unix milliseconds.
    pub period_start_ms: UnixMs,
    /// First moment after it; Unix milliseconds.
    pub period_end_ms: UnixMs,
}

/// An administrator who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The account.
    pub user: UserId,
    /// Its address.
    pub email: String,
}

/// The highest threshold that `percent` has reached, and all below it that need not be told any more.
pub(super) fn crossed(percent: u64) -> &'static [u8] {
    let first = THRESHOLDS.iter().position(|threshold| u64::from(*threshold) <= percent);
    first.and_then(|first| THRESHOLDS.get(first..)).unwrap_or_default()
}

impl Mail {
    /// Tells `admins` (the active ones) that `organization` uses so much, if it is the first to say so in the period. A
    /// threshold that was jumped over is not told afterwards. `true` if somebody was to be told; without a mail server that
    /// is only logged.
    ///
    /// # Errors
    /// Those of the store; the call may be repeated.
    pub async fn usage_crossed(
        &self,
        org: OrgId,
        organization: &str,
        used: &Use,
        admins: &[Admin],
    ) -> StoreResult<bool> {
        let thresholds = crossed(used.percent);
        let Some(threshold) = thresholds.first() else { return Ok(false) };
        let mark = |threshold: &u8| format!("usage/{}/{threshold}/{}", used.resource, used.period_start_ms);
        let content = Content::UsageAlert {
            organization: organization.to_owned(),
            resource: used.words.clone(),
            used: used.used.clone(),
            threshold: *threshold,
            is_exhausted: used.percent >= 100,
        };
        let write = |admin: &Admin| {
            let key = format!("{}/{}", mark(threshold), admin.user);
            self.write(org, key, &admin.email, &content, used.period_end_ms)
        };
        let letters =
            if self.is_configured() { admins.iter().filter_map(write).collect() } else { Vec::new() };
        let until_ms = used.period_end_ms.saturating_add(REMEMBERED_LONGER_MS);
        let marks = thresholds.iter().map(mark).collect();
        let is_first = self.outbox().tell_once(org, marks, until_ms, letters).await?;
        if is_first && self.is_configured() {
            self.wake();
        } else if is_first {
            // Says in the log what is not sent.
            admins.iter().for_each(|admin| drop(write(admin)));
        }
        Ok(is_first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_threshold_is_told_and_those_below_are_done() {
        let check = |percent, expected: &[u8]| assert_eq!(crossed(percent), expected, "{percent}");
        check(0, &[]);
        check(49, &[]);
        check(50, &[50]);
        check(79, &[50]);
        check(80, &[80, 50]);
        check(90, &[90, 80, 50]);
        check(99, &[90, 80, 50]);
        check(100, &[100, 90, 80, 50]);
        check(250, &[100, 90, 80, 50]);
    }
}
