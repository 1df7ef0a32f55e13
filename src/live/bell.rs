//! Packets of the library that do not reach clients as they are. A bell is an event that says "look here": it goes
//! through the library's queue like any other packet, so whatever was queued before it has passed when it comes out at
//! the wire, where it is taken away. The CONNECT answer gets the `pid` there.

use serde::Serialize;

use super::boundaries::Special;

/// The event that is no event.
pub(super) const NAME: &str = "~";

/// What a bell says; its only argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bell {
    /// The viewer was let in, and `auth-success` is in front of this.
    Welcome,
    /// There is something to fetch, or the transport is a new one.
    Look,
}

impl Serialize for Bell {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(match self {
            Self::Welcome => 0,
            Self::Look => 1,
        })
    }
}

impl Bell {
    /// Reads a packet that [`special`] took for a bell.
    pub(super) fn of(packet: &[u8]) -> Self {
        if packet == br#"42["~",0]"# { Self::Welcome } else { Self::Look }
    }
}

/// Tells the packets that are special from those that are not.
pub(super) fn special(packet: &[u8]) -> Option<Special> {
    if packet.starts_with(br#"42["~""#) {
        Some(Special::Bell)
    } else if packet.starts_with(b"40{") {
        Some(Special::Connected)
    } else if packet == b"3probe" {
        Some(Special::Probed)
    } else {
        None
    }
}

/// The CONNECT answer with `pid`.
pub(super) fn connected_with(packet: &[u8], pid: &str) -> Vec<u8> {
    match packet.strip_suffix(b"}") {
        // The pid has digits and letters only: nothing to escape.
        Some(head) => [head, br#","pid":""#, pid.as_bytes(), br#""}"#].concat(),
        None => packet.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connect_answer_gets_the_pid() {
        assert_eq!(connected_with(br#"40{"sid":"a"}"#, "1-2"), br#"40{"sid":"a","pid":"1-2"}"#);
        assert_eq!(special(br#"40{"sid":"a"}"#), Some(Special::Connected));
    }

    #[test]
    fn bells_are_told_from_events() {
        assert_eq!(special(br#"42["~",0]"#), Some(Special::Bell));
        assert_eq!((Bell::of(br#"42["~",0]"#), Bell::of(br#"42["~",1]"#)), (Bell::Welcome, Bell::Look));
        for packet in
            [&br#"42["execution-log",{"log":"42[\"~\""},"1"]"#[..], b"41", b"2probe", b"3", b"2", b"40"]
        {
            assert_eq!(special(packet), None);
        }
    }
}
