//! Follows the WebSocket frames that the library writes: only between two of them may others be written, and a few of
//! them are not meant for the client as they are.

/// Opcode and final bit of a whole text frame.
const TEXT: u8 = 0x81;

/// A frame of the library that is more than bytes to carry. The payload is given by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    /// The answer to CONNECT.
    Connected,
    /// The answer to the probe of an upgrade.
    Probed,
    /// A bell; see [`super::bell`].
    Bell,
}

/// What comes next in what the library writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This many bytes to be carried as they are.
    Plain(usize),
    /// One whole frame of `length` bytes, whose payload starts at `payload`.
    Special(Special, usize, usize),
}

/// Where the library is within its frames.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Boundaries {
    header: [u8; 10],
    /// Bytes of the header so far.
    seen: usize,
    /// Bytes of payload to come.
    left: u64,
}

impl Boundaries {
    /// Whether the last frame is complete and no other has begun.
    pub(super) fn between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }

    /// Looks at what the library is about to write.
    pub(super) fn next(&self, bytes: &[u8]) -> Next {
        let mut ahead = *self;
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if ahead.between()
                && let Some((special, length, payload)) = special(rest)
            {
                return if at == 0 { Next::Special(special, length, payload) } else { Next::Plain(at) };
            }
            at += ahead.step(rest);
        }
        Next::Plain(bytes.len())
    }

    /// Notes that these bytes were written.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.step(rest);
            rest = rest.get(count..).unwrap_or_default();
        }
    }

    /// Takes one byte of a header, or as much of a payload as there is.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= count as u64;
            return count;
        }
        let (Some(byte), Some(slot)) = (bytes.first(), self.header.get_mut(self.seen)) else { return 1 };
        *slot = *byte;
        self.seen += 1;
        if let Some((length, payload)) = header(self.header.get(..self.seen).unwrap_or_default()) {
            debug_assert_eq!(length, self.seen);
            *self = Self { left: payload, ..Self::default() };
        }
        1
    }
}

/// The length of an unmasked frame's header and of its payload, once the header is complete.
fn header(bytes: &[u8]) -> Option<(usize, u64)> {
    match bytes {
        [_, 126, a, b, ..] => Some((4, u64::from(u16::from_be_bytes([*a, *b])))),
        [_, 127, a, b, c, d, e, f, g, h, ..] => {
            Some((10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])))
        }
        [_, short, ..] if *short < 126 => Some((2, u64::from(*short))),
        _ => None,
    }
}

/// The frame at the start of `bytes`, if it is a special one and complete. The library hands over whole frames.
fn special(bytes: &[u8]) -> Option<(Special, usize, usize)> {
    let (start, payload) = header(bytes)?;
    let end = start.checked_add(usize::try_from(payload).ok()?)?;
    let text = bytes.get(start..end)?;
    let special = super::bell::special(text).filter(|_| bytes.first() == Some(&TEXT))?;
    Some((special, end, start))
}

#[cfg(test)]
mod tests {
    use super::super::encoding::text_frame;
    use super::*;

    fn stream() -> (Vec<u8>, Vec<usize>) {
        let texts = [0, 1, 125, 126, 300, 65_535, 65_536, 70_000, 2];
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for length in texts {
            bytes.extend_from_slice(&text_frame(&vec![b'x'; length]));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn boundaries_are_found_however_the_bytes_are_cut() {
        let (bytes, ends) = stream();
        for piece in [1, 2, 3, 7, 1_000, 65_537, bytes.len()] {
            let mut boundaries = Boundaries::default();
            let mut at = 0;
            for part in bytes.chunks(piece) {
                boundaries.advance(part);
                at += part.len();
                assert_eq!(boundaries.between(), ends.contains(&at), "at {at} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn special_frames_are_found_between_others_and_nowhere_else() {
        let connected = br#"40{"sid":"x"}"#;
        let bytes = [
            &text_frame(b"2")[..],
            &text_frame(br#"42["execution-log",{"log":"40{"},"1"]"#),
            &text_frame(connected),
            &text_frame(b"6"),
        ]
        .concat();
        let mut boundaries = Boundaries::default();
        let Next::Plain(before) = boundaries.next(&bytes) else { panic!() };
        assert_eq!(before, bytes.len() - 3 - connected.len() - 2);
        boundaries.advance(&bytes[..before]);
        let rest = &bytes[before..];
        assert_eq!(boundaries.next(rest), Next::Special(Special::Connected, connected.len() + 2, 2));
        // In the middle of another frame the same bytes are text.
        let mut within = Boundaries::default();
        within.advance(&text_frame(&[b'x'; 50])[..20]);
        assert_eq!(within.next(rest), Next::Plain(rest.len()));
        // A binary frame is nobody's packet.
        let mut binary = text_frame(connected).to_vec();
        binary[0] = 0x82;
        assert_eq!(Boundaries::default().next(&binary), Next::Plain(binary.len()));
    }
}
