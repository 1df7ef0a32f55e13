//! Whose batch it is, without reading it: for requests that are refused before they are parsed, so that the refusal
//! shows up on its run. A session that is not found near the front stays unknown; nothing else depends on it.

use bytes::Bytes;
use http_body_util::BodyExt;
use memchr::memmem;

use crate::domain::id::SessionId;
use crate::limits::{GLANCE_BYTES_MAX, GLANCE_TIMEOUT};

/// The session that a body names near its front. In a text the quotes of the name would be escaped, so what is found
/// is a name.
pub(super) fn session(frames: &[Bytes]) -> Option<SessionId> {
    let mut front = Vec::with_capacity(GLANCE_BYTES_MAX.min(frames.iter().map(Bytes::len).sum()));
    for frame in frames {
        let room = GLANCE_BYTES_MAX.saturating_sub(front.len());
        front.extend_from_slice(frame.get(..room).unwrap_or(frame));
    }
    let name = b"\"sessionId\"";
    let at = memmem::find(&front, name)? + name.len();
    let value =
        front.get(at..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let (id, behind) = value.split_at_checked(36)?;
    if behind.first() != Some(&b'"') {
        return None;
    }
    std::str::from_utf8(id).ok()?.parse().ok()
}

/// The session that a body which is still to come names near its front; reads no further than that.
pub(super) async fn front<B>(body: &mut B) -> Option<SessionId>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let read = async {
        let mut frames = Vec::new();
        let mut bytes = 0;
        while bytes < GLANCE_BYTES_MAX
            && let Some(Ok(frame)) = body.frame().await
        {
            let Ok(data) = frame.into_data() else { continue };
            bytes += data.len().max(1);
            frames.push(data);
            if let Some(session) = session(&frames) {
                return Some(session);
            }
        }
        None
    };
    tokio::time::timeout(GLANCE_TIMEOUT, read).await.ok()?
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    const ID: &str = "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6";

    fn found(body: &str) -> Option<String> {
        let whole = session(&[Bytes::copy_from_slice(body.as_bytes())]);
        let halves = body.as_bytes().split_at(body.len() / 2);
        let cut = session(&[Bytes::copy_from_slice(halves.0), Bytes::copy_from_slice(halves.1)]);
        assert_eq!(whole, cut);
        whole.map(|session| session.to_string())
    }

    #[test]
    fn a_session_near_the_front_is_found() {
        let expected = Some(ID.to_owned());
        assert_eq!(found(&format!(r#"{{"sessionId":"{ID}","events":[]}}"#)), expected);
        assert_eq!(found(&format!("{{ \"x\": 1,\n \"sessionId\" : \"{}\" }}", ID.to_uppercase())), expected);
        let in_text = format!(
            r#"{{"events":[{{"chunk":"\"sessionId\":\"{}\""}}],"sessionId":"{ID}"}}"#,
            "0".repeat(36)
        );
        assert_eq!(found(&in_text), expected);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let far = format!(r#"{{"x":"{}","sessionId":"{ID}"}}"#, "y".repeat(GLANCE_BYTES_MAX));
        for body in ["", "{}", r#"{"sessionId":5}"#, r#"{"sessionId":"short"}"#, r#"{"sessionId":"#, &far] {
            assert_eq!(found(body), None, "{body}");
        }
        assert_eq!(found(&format!(r#"{{"sessionId":"{ID}0"}}"#)), None);
    }

    #[tokio::test]
    async fn a_body_to_come_is_read_as_far_as_needed() {
        let mut body = Full::new(Bytes::from(format!(r#"{{"sessionId":"{ID}"}}"#)));
        assert_eq!(front(&mut body).await.map(|session| session.to_string()), Some(ID.to_owned()));
        assert_eq!(front(&mut Full::new(Bytes::from("[]"))).await, None);
    }
}
