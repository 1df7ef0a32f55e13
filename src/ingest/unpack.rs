//! Compressed bodies: reporters behind proxies send them. Unpacked in small steps, so that whoever asks for them can
//! stop at any size. Source: RFC 9110 section 8.4, RFC 1952, RFC 8878.

use std::collections::VecDeque;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use crate::limits::ZSTD_WINDOW_BYTES_MAX;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not at all.
    Plain,
    /// `gzip`.
    Gzip,
    /// `zstd`.
    Zstd,
}

impl Encoding {
    /// The encoding that a `Content-Encoding` header names; `None` for one that is not understood.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Plain),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Unpacks a body that is all there.
pub(super) enum Unpacker {
    Plain(Frames),
    Gzip(Box<MultiGzDecoder<Frames>>),
    Zstd(Box<Zstd>),
}

impl Unpacker {
    pub(super) fn new(encoding: Encoding, frames: Vec<Bytes>) -> Self {
        let frames = Frames(frames.into());
        match encoding {
            Encoding::Plain => Self::Plain(frames),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(frames))),
            Encoding::Zstd => Self::Zstd(Box::new(Zstd::new(frames))),
        }
    }
}

impl Read for Unpacker {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(frames) => frames.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// A body as it came, read from its front.
pub(super) struct Frames(VecDeque<Bytes>);

impl Frames {
    fn is_empty(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    /// Leaves out `length` bytes, or what there is.
    fn skip(&mut self, mut length: usize) {
        while let Some(frame) = self.0.front_mut()
            && length > 0
        {
            let step = length.min(frame.len());
            frame.advance(step);
            length -= step;
            if frame.is_empty() {
                self.0.pop_front();
            }
        }
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(frame) = self.0.front_mut() {
            if frame.is_empty() {
                self.0.pop_front();
                continue;
            }
            let step = frame.len().min(buffer.len());
            frame.split_to(step).copy_to_slice(buffer.get_mut(..step).unwrap_or_default());
            return Ok(step);
        }
        Ok(0)
    }
}

/// A sequence of zstd frames.
pub(super) struct Zstd {
    decoder: FrameDecoder,
    source: Frames,
    begun: bool,
}

impl Zstd {
    fn new(source: Frames) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
        Self { decoder, source, begun: false }
    }

    /// Goes on to the next frame; `false` if there is none.
    fn next_frame(&mut self) -> io::Result<bool> {
        if self.begun && self.decoder.get_checksum_from_data().is_some() {
            let stated = self.decoder.get_checksum_from_data();
            if stated != self.decoder.get_calculated_checksum() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "checksum does not match"));
            }
        }
        while !self.source.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.begun = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => self.source.skip(usize::try_from(length).unwrap_or(usize::MAX)),
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
            }
        }
        if self.begun { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.begun && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.begun && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let decoded = self.decoder.decode_blocks(&mut self.source, one);
                decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            } else if !self.next_frame()? {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    pub(in crate::ingest) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    pub(in crate::ingest) fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn unpack(encoding: Encoding, packed: &[u8], frame: usize) -> io::Result<Vec<u8>> {
        let frames = packed.chunks(frame).map(Bytes::copy_from_slice).collect();
        let mut bytes = Vec::new();
        Unpacker::new(encoding, frames).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    type Pack = fn(&[u8]) -> Vec<u8>;
    const PACKERS: [(Encoding, Pack); 2] = [(Encoding::Gzip, gzip), (Encoding::Zstd, zstd)];

    #[test]
    fn names_are_read_as_http_writes_them() {
        for (name, encoding) in [
            ("", Some(Encoding::Plain)),
            ("identity", Some(Encoding::Plain)),
            (" GZIP ", Some(Encoding::Gzip)),
            ("x-gzip", Some(Encoding::Gzip)),
            ("Zstd", Some(Encoding::Zstd)),
            ("br", None),
            ("deflate", None),
            ("gzip, zstd", None),
        ] {
            assert_eq!(Encoding::named(name), encoding, "{name}");
        }
    }

    #[test]
    fn several_members_are_one_body_and_frames_to_skip_are_skipped() {
        for (encoding, pack) in PACKERS {
            let packed = [pack(b"one "), pack(b""), pack(b"two")].concat();
            assert_eq!(unpack(encoding, &packed, 3).unwrap(), b"one two", "{encoding:?}");
        }
        let skippable = [&[0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 9, 9, 9][..], &zstd(b"x")].concat();
        assert_eq!(unpack(Encoding::Zstd, &skippable, 2).unwrap(), b"x");
    }

    #[test]
    fn broken_bodies_are_errors() {
        for (encoding, pack) in PACKERS {
            let packed = pack(b"some text, some text, some text");
            for end in 0..packed.len() {
                assert!(unpack(encoding, &packed[..end], 7).is_err(), "{encoding:?} cut at {end}");
            }
            assert!(unpack(encoding, b"{\"plain\":1}", 7).is_err(), "{encoding:?}");
            assert!(unpack(encoding, &[&packed[..], b"garbage"].concat(), 7).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn a_window_beyond_the_bound_is_refused_before_memory_is_taken() {
        // A frame header that asks for a window of 2^31 bytes.
        let header = [0x28, 0xB5, 0x2F, 0xFD, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        assert!(unpack(Encoding::Zstd, &header, 16).is_err());
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(bytes in prop::collection::vec(any::<u8>(), 0..5_000), frame in 1usize..600) {
            for (encoding, pack) in PACKERS {
                prop_assert_eq!(&unpack(encoding, &pack(&bytes), frame).unwrap(), &bytes);
            }
        }

        #[test]
        fn damage_is_an_error_or_harmless(bytes in prop::collection::vec(0u8..4, 1..2_000), at: prop::sample::Index, bit in 0u8..8) {
            for (encoding, pack) in PACKERS {
                let mut packed = pack(&bytes);
                let at = at.index(packed.len());
                packed[at] ^= 1 << bit;
                let _ = unpack(encoding, &packed, 64);
            }
        }

        #[test]
        fn anything_is_taken(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(Encoding::Gzip, &bytes, 64);
            let _ = unpack(Encoding::Zstd, &[&[0x28, 0xB5, 0x2F, 0xFD][..], &bytes].concat(), 64);
        }
    }
}
