//! With what a viewer comes, and what that comes to. Its token says whose feed it watches; its `pid` and cursor say from
//! where, if they are usable. The two have nothing to do with each other.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::Shared;
use super::cursor::{Cursor, Pid, numbering};
use super::handshake::Refusal;
use super::windows::Windows;
use crate::access::Caller;
use crate::actors::feed::{FeedError, Feeds, Unusable};
use crate::domain::id::OrgId;
use crate::{limits, telemetry};

/// `auth` of the CONNECT packet. `pid` and `offset` are put in by clients that were connected before.
#[derive(Default, Deserialize)]
pub(super) struct Auth {
    #[serde(default)]
    token: Option<Value>,
    #[serde(default)]
    pid: Option<Value>,
    #[serde(default)]
    offset: Option<Value>,
}

/// What a CONNECT came to.
pub(super) struct Entry {
    /// Goes into the CONNECT answer. That of the client if its cursor was accepted, and also if the token was not: the
    /// client then keeps its place until it has a better one.
    pub(super) pid: Option<Pid>,
    /// Who it is and where it starts.
    pub(super) verdict: Result<(Caller, Cursor), NoEntry>,
    /// What was fetched to look at its cursor is there when it comes in.
    #[expect(dead_code, reason = "held until its audience holds them")]
    pub(super) windows: Option<Arc<Windows>>,
}

/// Why a viewer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoEntry {
    /// It has no token.
    NoToken,
    /// Its token is not taken.
    BadToken,
    /// The token, or where the feed stands, cannot be looked up now.
    Unavailable,
}

impl Shared {
    /// Looks at what a viewer came with. Takes [`limits::LIVE_HANDSHAKE`] at most.
    pub(super) async fn entry(&self, auth: &Auth) -> Entry {
        let claimed = auth.pid.as_ref().and_then(Value::as_str).and_then(Pid::parse);
        let looking = tokio::time::timeout(limits::LIVE_HANDSHAKE, self.look(auth, claimed));
        match looking.await.unwrap_or(Err(NoEntry::Unavailable)) {
            Ok((caller, windows, pid, cursor)) => {
                Entry { pid: Some(pid), verdict: Ok((caller, cursor)), windows: Some(windows) }
            }
            Err(no) => Entry { pid: claimed, verdict: Err(no), windows: None },
        }
    }

    async fn look(
        &self,
        auth: &Auth,
        claimed: Option<Pid>,
    ) -> Result<(Caller, Arc<Windows>, Pid, Cursor), NoEntry> {
        let token = auth.token.as_ref().filter(|token| !token.is_null() && token.as_str() != Some(""));
        let token = token.ok_or(NoEntry::NoToken)?.as_str().ok_or(NoEntry::BadToken)?;
        let caller = self.doorkeeper.verify(token).await.map_err(|refusal| match refusal {
            Refusal::Invalid => NoEntry::BadToken,
            Refusal::Unavailable => NoEntry::Unavailable,
        })?;
        let windows = self.viewers.windows(caller.org);
        let place = self.place(caller.org, auth, claimed, &windows).await.map_err(|error| {
            tracing::warn!(%error, org.id = %caller.org, "no feed for a live viewer");
            NoEntry::Unavailable
        })?;
        Ok((caller, windows, place.0, place.1))
    }

    /// Where in the feed of `org` a viewer starts: where its cursor says, or else at the head.
    async fn place(
        &self,
        org: OrgId,
        auth: &Auth,
        claimed: Option<Pid>,
        windows: &Windows,
    ) -> Result<(Pid, Cursor), FeedError> {
        let feeds = self.source.feeds()?;
        let head = feeds.head(org).await?;
        let numbering = numbering(head.epoch, org);
        if auth.pid.is_none() {
            return Ok((Pid { numbering, start: head.sealed }, Cursor::at(head.sealed)));
        }
        let checked = match claim(claimed, auth.offset.as_ref(), numbering, head.sealed) {
            Ok((pid, cursor)) => match usable(&*feeds, windows, org, &cursor, head.sealed).await {
                Ok(()) => Ok((pid, cursor)),
                Err(FeedError::Unusable(reason)) => Err(unusable(reason)),
                Err(unavailable) => return Err(unavailable),
            },
            Err(reason) => Err(reason),
        };
        let outcome = *checked.as_ref().err().unwrap_or(&"recovered");
        metrics::counter!(telemetry::name::LIVE_RETURNS, "outcome" => outcome).increment(1);
        Ok(checked.unwrap_or((Pid { numbering, start: head.sealed }, Cursor::at(head.sealed))))
    }
}

/// Whether a viewer at `cursor` can be sent what it has missed. Its first window is fetched for that: the replay as a
/// whole may be possible and this part of it not (text that a run's log cap has taken out), and a client that was told
/// otherwise would come back with the same cursor for ever.
async fn usable(
    feeds: &dyn Feeds,
    windows: &Windows,
    org: OrgId,
    cursor: &Cursor,
    sealed: u64,
) -> Result<(), FeedError> {
    feeds.check(org, cursor.after).await?;
    if cursor.after < sealed {
        drop(windows.next(feeds, org, cursor).await?);
    }
    Ok(())
}

/// What a client says of itself, if it can be true.
fn claim(
    pid: Option<Pid>,
    offset: Option<&Value>,
    numbering: u64,
    sealed: u64,
) -> Result<(Pid, Cursor), &'static str> {
    let pid = pid.ok_or("malformed")?;
    if pid.numbering != numbering {
        return Err("other_numbering");
    }
    let cursor = match offset {
        None | Some(Value::Null) => Cursor::at(pid.start),
        Some(offset) => offset.as_str().and_then(Cursor::parse).ok_or("malformed")?,
    };
    if cursor.reach() > sealed {
        return Err(unusable(Unusable::Forged));
    }
    Ok((pid, cursor))
}

const fn unusable(reason: Unusable) -> &'static str {
    match reason {
        Unusable::Forged => "forged",
        Unusable::TooOld => "too_old",
        Unusable::TooLong => "too_long",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_claim_that_can_be_true_is_taken() {
        let pid = Pid { numbering: 7, start: 5 };
        let check = |pid, offset: Option<Value>, expected| {
            let found = claim(pid, offset.as_ref(), 7, 40).map(|(_, cursor)| cursor.to_string());
            assert_eq!(found.as_deref().map_err(|reason| *reason), expected, "{offset:?}");
        };
        check(Some(pid), None, Ok("5"));
        check(Some(pid), Some(json!(null)), Ok("5"));
        check(Some(pid), Some(json!("14")), Ok("14"));
        check(Some(pid), Some(json!("1.14.3")), Ok("1.14.3"));
        check(Some(pid), Some(json!("15")), Err("forged"));
        check(Some(pid), Some(json!("1.15.3")), Err("forged"));
        check(Some(pid), Some(json!("hello")), Err("forged"));
        for offset in
            [json!("Hello!"), json!(""), json!(7), json!(["1"]), json!("1.1.1"), json!("1".repeat(5_000))]
        {
            check(Some(pid), Some(offset), Err("malformed"));
        }
        check(Some(Pid { start: 41, ..pid }), None, Err("forged"));
        check(Some(Pid { numbering: 8, ..pid }), None, Err("other_numbering"));
        check(None, Some(json!("14")), Err("malformed"));
    }
}
