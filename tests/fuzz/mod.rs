//! The fuzz targets, run briefly with a mutator of our own: always the same inputs, so a failure can be run again. For
//! more of them see `Cargo.toml` beside this file.

mod targets {
    pub(super) mod body;
    pub(super) mod cursor;
    pub(super) mod journal;
}

use targets::{body, cursor, journal};

/// Inputs tried for each seed.
const ROUNDS: u64 = 2_000;

/// A small generator of numbers (SplitMix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}

/// Changes `input` in one to four places: bits, bytes, cuts, repetitions, and pieces that mean something in JSON.
pub(crate) fn mutate(input: &mut Vec<u8>, numbers: &mut Numbers) {
    const PIECES: [&[u8]; 16] = [
        b"\"",
        b"\\",
        b"\\u",
        b"\\ud83d",
        b"\\ude00",
        b"{",
        b"}",
        b"[",
        b"]",
        b"null",
        b"1e999",
        b"-",
        b"\x00",
        b"\xff",
        b"\"type\":\"log\",",
        b",",
    ];
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len());
        match numbers.below(6) {
            0 if !input.is_empty() => input[at] ^= 1 << numbers.below(8),
            1 if !input.is_empty() => input[at] = u8::try_from(numbers.below(256)).unwrap(),
            2 => input.truncate(at),
            3 => {
                let end = (at + numbers.below(40)).min(input.len());
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            4 => {
                let end = (at + numbers.below(20)).min(input.len());
                input.drain(at..end);
            }
            _ => {
                let piece = PIECES[numbers.below(PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
}

/// Runs `target` on mutations of each seed, and on the seed cut off at every byte.
fn run(seeds: &[&[u8]], target: fn(&[u8])) {
    for (index, seed) in seeds.iter().enumerate() {
        for end in 0..=seed.len() {
            target(&seed[..end]);
        }
        for round in 0..ROUNDS {
            let mut numbers = Numbers(round ^ ((index as u64) << 32));
            let mut input = seed.to_vec();
            mutate(&mut input, &mut numbers);
            target(&input);
        }
    }
}

#[test]
fn bodies() {
    let seeds: Vec<Vec<u8>> = body::SEEDS.iter().map(|seed| [&[40], seed.as_bytes()].concat()).collect();
    run(&seeds.iter().map(Vec::as_slice).collect::<Vec<_>>(), body::run);
}

#[test]
fn cursors() {
    run(&cursor::SEEDS.map(str::as_bytes), cursor::run);
}

/// A store is opened for each input, so there are few; the reader alone meets more of them in `power::damage`.
#[test]
fn journals() {
    let golden = include_str!("../golden/journal.v1.hex");
    let (pairs, _) = golden.trim().as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    let seed: Vec<u8> = pairs.iter().map(byte).collect();
    journal::run(&seed);
    for round in 0..40 {
        let mut numbers = Numbers(round);
        let mut input = seed.clone();
        mutate(&mut input, &mut numbers);
        journal::run(&input);
    }
}
