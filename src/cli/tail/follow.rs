//! What a follower knows: how far it has come in a run's text, and what an event of the stream means for it.

use serde::Deserialize;

use crate::cli::sse::SseEvent;
use crate::domain::execution::Status;
use crate::domain::text::utf16_len;

/// What an event brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Text that is new, after `missing` units that the server no longer keeps.
    Text {
        /// Units between what was known and this text.
        missing: u64,
        /// The new text.
        text: &'a str,
    },
    /// The run's status changed.
    Status(Status),
    /// The run is over; nothing follows.
    End(Status),
    /// Nothing for this follower.
    Nothing,
}

/// The data of a `log` event.
#[derive(Debug, Deserialize)]
struct LogData {
    log: String,
    offset: u64,
}

/// The data of a `status` or `end` event.
#[derive(Debug, Deserialize)]
struct StatusData {
    status: Status,
}

/// A follower's position.
#[derive(Debug)]
pub(super) struct Follow {
    /// UTF-16 units that need not be sent any more.
    pub(super) offset: u64,
    text: String,
}

impl Follow {
    /// A follower that wants the text from `offset` (UTF-16 units) on.
    pub(super) const fn from(offset: u64) -> Self {
        Self { offset, text: String::new() }
    }

    /// Takes in an event of the stream. Text that is known already is cut off.
    ///
    /// # Errors
    /// When the data of a known event is not what the server documents.
    pub(super) fn take(&mut self, event: &SseEvent) -> Result<Step<'_>, serde_json::Error> {
        match event.name.as_str() {
            "log" => {
                let LogData { log, offset } = serde_json::from_str(&event.data)?;
                let missing = offset.saturating_sub(self.offset);
                let known = self.offset.saturating_sub(offset);
                let end = offset.saturating_add(utf16_len(&log));
                self.text = log;
                self.offset = self.offset.max(end);
                Ok(Step::Text { missing, text: skip_units(&self.text, known) })
            }
            "status" => {
                let StatusData { status } = serde_json::from_str(&event.data)?;
                Ok(Step::Status(status))
            }
            "end" => {
                let StatusData { status } = serde_json::from_str(&event.data)?;
                Ok(Step::End(status))
            }
            _ => Ok(Step::Nothing),
        }
    }
}

/// `text` without its first `units` UTF-16 units; a character that is only half known is kept.
fn skip_units(text: &str, units: u64) -> &str {
    let mut seen = 0;
    for (at, character) in text.char_indices() {
        seen += character.len_utf16() as u64;
        if seen > units {
            return text.get(at..).unwrap_or_default();
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str, offset: u64) -> SseEvent {
        let data = serde_json::json!({ "taskId": "t", "log": text, "offset": offset }).to_string();
        SseEvent { name: "log".into(), id: String::new(), data }
    }

    #[test]
    fn text_is_taken_once_and_gaps_are_seen() {
        let mut follow = Follow::from(0);
        assert_eq!(follow.take(&log("a🕯b\n", 0)).unwrap(), Step::Text { missing: 0, text: "a🕯b\n" });
        assert_eq!(follow.offset, 5);
        assert_eq!(follow.take(&log("b\nnew\n", 3)).unwrap(), Step::Text { missing: 0, text: "new\n" });
        assert_eq!(follow.take(&log("old", 1)).unwrap(), Step::Text { missing: 0, text: "" });
        assert_eq!(follow.offset, 9, "known text does not move a follower back");
        assert_eq!(follow.take(&log("end\n", 109)).unwrap(), Step::Text { missing: 100, text: "end\n" });
        assert_eq!(follow.offset, 113);
    }

    #[test]
    fn the_status_ends_it_and_strangers_are_ignored() {
        let event =
            |name: &str, data: &str| SseEvent { name: name.into(), data: data.into(), ..SseEvent::default() };
        let mut follow = Follow::from(7);
        assert_eq!(
            follow.take(&event("status", r#"{"taskId":"t","status":"RUNNING"}"#)).unwrap(),
            Step::Status(Status::Running)
        );
        assert_eq!(
            follow.take(&event("end", r#"{"taskId":"t","status":"PASSED"}"#)).unwrap(),
            Step::End(Status::Passed)
        );
        assert_eq!(follow.take(&event("gap", "{}")).unwrap(), Step::Nothing);
        assert!(follow.take(&event("end", "{}")).is_err());
        assert_eq!(follow.offset, 7);
    }
}
