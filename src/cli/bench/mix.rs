//! What is sent: the event of every sequence number. An event is a function of seed, run and number, so that nothing
//! of what was sent has to be remembered to know what must be stored. Every event carries its run, its number and a
//! checksum in a text that comes back in the run's log.

use std::io::Write;

use serde::Serialize;

use crate::clock::UnixMs;
use crate::domain::batch::TestStatus;
use crate::domain::text::{push_begin, push_chunk, push_end};

/// Bytes of an event's identity in its text: `@run.number.checksum`.
pub(super) const ID_BYTES: usize = 27;
/// Bytes of a log chunk: the identity and a space at least, at most the interface's bound.
pub(super) const LOG_BYTES: std::ops::RangeInclusive<u32> = 28..=8_192;
/// After so many events the kinds repeat; with it one percent of tests is one pair of begin and end.
const CYCLE: u32 = 200;
/// What a log line is filled with.
const FILLER: &str =
    "GET /api/cart/items 200 12 ms; rendered 3 rows; checkout step 2 of 5 took 48 ms on worker 1; ";
/// What an error says after its identity.
const ERROR: &str = " expect(received).toBe(expected): the total is 12, not 13";
/// File that every test says it is in.
const FILE: &str = "bench/cart.spec.ts";

/// What the events are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MixSettings {
    /// Bytes of the shortest and the longest log chunk.
    pub(super) log_bytes: (u32, u32),
    /// How many of a hundred events begin or end a test.
    pub(super) tests_percent: u32,
    /// How many of a hundred tests fail, with error and context.
    pub(super) failures_percent: u32,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Log text.
    Log,
    /// A test begins.
    Begin,
    /// The test that began with event `begin` ends.
    End {
        /// Number of its begin.
        begin: u32,
        /// Whether it fails.
        failed: bool,
    },
}

/// What an identity says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    /// Number of the run.
    pub(super) run: u32,
    /// Number of the event.
    pub(super) seq: u32,
    /// Over all of it.
    pub(super) checksum: u32,
}

impl Id {
    /// Reads the identity that `text` begins with.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.get(..ID_BYTES)?.strip_prefix('@')?.split('.');
        let mut number = || u32::from_str_radix(parts.next().filter(|part| part.len() == 8)?, 16).ok();
        Some(Self { run: number()?, seq: number()?, checksum: number()? })
    }

    /// The identity anywhere in `line`.
    pub(super) fn find(line: &str) -> Option<Self> {
        line.match_indices('@').find_map(|(at, _)| Self::parse(line.get(at..)?))
    }

    fn text(self) -> [u8; ID_BYTES] {
        let mut text = [b'.'; ID_BYTES];
        let mut places = text.iter_mut();
        if let Some(first) = places.next() {
            *first = b'@';
        }
        for (index, number) in [self.run, self.seq, self.checksum].into_iter().enumerate() {
            if index > 0 {
                places.next();
            }
            for shift in (0..32).step_by(4).rev() {
                let digit = char::from_digit((number >> shift) & 0xF, 16).unwrap_or('0');
                if let (Some(place), Ok(digit)) = (places.next(), u8::try_from(digit)) {
                    *place = digit;
                }
            }
        }
        text
    }
}

#[derive(Debug, Clone, Copy)]
enum Slot {
    Log,
    Begin,
    End { begin: u32, pair: u32 },
}

/// Makes events.
#[derive(Debug)]
pub(super) struct Mix {
    settings: MixSettings,
    seed: u32,
    slots: Vec<Slot>,
    filler: Vec<u8>,
    /// What follows the text of an event: its moment, and the end of the object.
    tail: Vec<u8>,
    context: Vec<u8>,
}

impl Mix {
    /// Events of `settings`; `seed` tells those of one bench from another's.
    pub(super) fn new(settings: MixSettings, seed: u32, now_ms: UnixMs) -> Self {
        let mut slots = vec![Slot::Log; CYCLE as usize];
        let pairs = settings.tests_percent.min(100);
        for pair in 0..pairs {
            let begin = pair * CYCLE / pairs;
            let end = (pair + 1) * CYCLE / pairs - 1;
            let mut put =
                |at: u32, slot| slots.get_mut(at as usize).into_iter().for_each(|place| *place = slot);
            put(begin, Slot::Begin);
            put(end, Slot::End { begin, pair });
        }
        let filler = FILLER.bytes().cycle().take(*LOG_BYTES.end() as usize).collect();
        let tail = format!(",\"timestamp\":{now_ms}}}").into_bytes();
        let snapshot = "- main:\\n  - heading \\\"Checkout\\\"\\n  - button \\\"Pay\\\"\\n".repeat(12);
        let context = format!(
            r#","runtimeContext":{{"failureUrl":"https://shop.test/checkout","pageTitle":"Checkout","consoleErrors":["TypeError: total is undefined"],"networkErrors":[{{"url":"https://shop.test/api/pay","status":500,"method":"POST","resourceType":"fetch"}}],"domSnapshot":"{snapshot}","viewportSize":{{"width":1280,"height":720}},"retryIndex":0}}"#
        );
        Self { settings, seed, slots, filler, tail, context: context.into_bytes() }
    }

    /// What event `seq` is.
    pub(super) fn kind(&self, seq: u32) -> Kind {
        let (cycle, slot) = (seq / CYCLE, seq % CYCLE);
        match self.slots.get(slot as usize).copied().unwrap_or(Slot::Log) {
            Slot::Log => Kind::Log,
            Slot::Begin => Kind::Begin,
            Slot::End { begin, pair } => {
                let test = u64::from(cycle) * u64::from(self.settings.tests_percent) + u64::from(pair);
                let failures = |tests: u64| tests * u64::from(self.settings.failures_percent) / 100;
                Kind::End { begin: cycle * CYCLE + begin, failed: failures(test + 1) > failures(test) }
            }
        }
    }

    /// Number of the end of the test that begins with event `begin`.
    pub(super) fn end_of(&self, begin: u32) -> Option<u32> {
        let ends = (begin + 1)..(begin + 1).saturating_add(CYCLE);
        ends.into_iter()
            .find(|seq| matches!(self.kind(*seq), Kind::End { begin: found, .. } if found == begin))
    }

    /// Milliseconds that the test which ends with event `seq` took.
    pub(super) fn duration_ms(seq: u32) -> u64 {
        u64::from(seq % 5_000)
    }

    /// Bytes that event `seq` adds to the run's log, about, and never less.
    pub(super) fn text_bytes(&self, seq: u32) -> u64 {
        match self.kind(seq) {
            Kind::Log => u64::from(self.log_bytes(seq)) + 1,
            Kind::Begin => 48,
            Kind::End { failed: false, .. } => 64,
            Kind::End { failed: true, .. } => 64 + 16 + (ID_BYTES + ERROR.len()) as u64,
        }
    }

    /// Appends event `seq` of run `run` as JSON.
    pub(super) fn render(&self, run: u32, seq: u32, out: &mut Vec<u8>) {
        match self.kind(seq) {
            Kind::Log => {
                out.extend_from_slice(br#"{"type":"log","chunk":""#);
                out.extend_from_slice(&self.id(run, seq).text());
                out.push(b' ');
                out.extend_from_slice(self.padding(seq));
                out.push(b'"');
            }
            Kind::Begin => {
                let id = self.id(run, seq).text();
                out.extend_from_slice(br#"{"type":"test-begin","testId":""#);
                out.extend_from_slice(&id);
                out.extend_from_slice(br#"","title":""#);
                out.extend_from_slice(&id);
                out.extend_from_slice(br#"","file":""#);
                out.extend_from_slice(FILE.as_bytes());
                out.push(b'"');
            }
            Kind::End { begin, failed } => {
                out.extend_from_slice(br#"{"type":"test-end","testId":""#);
                out.extend_from_slice(&self.id(run, begin).text());
                let status: &[u8] = if failed { b"failed" } else { b"passed" };
                out.extend_from_slice(br#"","status":""#);
                out.extend_from_slice(status);
                // Writing to memory cannot fail.
                drop(write!(out, r#"","duration":{}"#, Self::duration_ms(seq)));
                if failed {
                    out.extend_from_slice(br#","error":""#);
                    out.extend_from_slice(&self.id(run, seq).text());
                    out.extend_from_slice(ERROR.as_bytes());
                    out.push(b'"');
                    out.extend_from_slice(&self.context);
                }
            }
        }
        out.extend_from_slice(&self.tail);
    }

    /// Appends what event `seq` adds to the run's log, by the contract's rules.
    pub(super) fn push_text(&self, run: u32, seq: u32, log: &mut String) {
        match self.kind(seq) {
            Kind::Log => {
                let chunk =
                    format!("{} {}", self.shown(run, seq), String::from_utf8_lossy(self.padding(seq)));
                push_chunk(log, &chunk, false);
            }
            Kind::Begin => push_begin(log, &self.shown(run, seq)),
            Kind::End { begin, failed } => {
                let status = if failed { TestStatus::Failed } else { TestStatus::Passed };
                let error = if failed { self.error(run, seq) } else { String::new() };
                push_end(log, status, &self.shown(run, begin), Self::duration_ms(seq), &error);
            }
        }
    }

    /// Id and title of the test that begins with event `begin`.
    pub(super) fn shown(&self, run: u32, begin: u32) -> String {
        String::from_utf8_lossy(&self.id(run, begin).text()).into_owned()
    }

    /// What the failing end `seq` says.
    pub(super) fn error(&self, run: u32, seq: u32) -> String {
        format!("{}{ERROR}", self.shown(run, seq))
    }

    /// The identity of event `seq`.
    pub(super) fn id(&self, run: u32, seq: u32) -> Id {
        let mut hasher = crc32fast::Hasher::new();
        for number in [self.seed, run, seq] {
            hasher.update(&number.to_le_bytes());
        }
        if self.kind(seq) == Kind::Log {
            hasher.update(self.padding(seq));
        }
        Id { run, seq, checksum: hasher.finalize() }
    }

    fn log_bytes(&self, seq: u32) -> u32 {
        let (least, most) = self.settings.log_bytes;
        // Neighbours differ and every size is met: a multiplicative hash over the span.
        least + (seq.wrapping_mul(2_654_435_761) >> 8) % (most.saturating_sub(least) + 1)
    }

    fn padding(&self, seq: u32) -> &[u8] {
        let bytes = self.log_bytes(seq) as usize - ID_BYTES - 1;
        self.filler.get(..bytes).unwrap_or(&self.filler)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn mix(tests_percent: u32, failures_percent: u32) -> Mix {
        Mix::new(MixSettings { log_bytes: (40, 90), tests_percent, failures_percent }, 7, 1_774_000_000_000)
    }

    #[test]
    fn the_shares_are_those_asked_for() {
        for (tests, failures) in [(0, 0), (1, 100), (10, 25), (33, 50), (100, 7)] {
            let mix = mix(tests, failures);
            let kinds: Vec<_> = (0..20_000).map(|seq| mix.kind(seq)).collect();
            let count = |is: fn(&Kind) -> bool| kinds.iter().filter(|kind| is(kind)).count();
            let ends = count(|kind| matches!(kind, Kind::End { .. }));
            let failed = count(|kind| matches!(kind, Kind::End { failed: true, .. }));
            assert_eq!(ends, tests as usize * 100, "{tests} %");
            assert_eq!(failed, ends * failures as usize / 100, "{failures} % of {ends}");
            for (seq, kind) in (0..20_000_u32).zip(&kinds) {
                if let Kind::End { begin, .. } = kind {
                    assert_eq!(kinds[*begin as usize], Kind::Begin);
                    assert_eq!(mix.end_of(*begin), Some(seq));
                }
            }
        }
    }

    #[test]
    fn every_event_is_json_and_its_text_names_it() {
        let mix = mix(50, 50);
        for seq in 0..400 {
            let (mut json, mut text) = (Vec::new(), String::new());
            mix.render(3, seq, &mut json);
            mix.push_text(3, seq, &mut text);
            let event: Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(event["timestamp"], 1_774_000_000_000_i64);
            assert!(text.len() as u64 <= mix.text_bytes(seq), "{} {text}", mix.text_bytes(seq));
            let named = match mix.kind(seq) {
                Kind::End { begin, failed } => {
                    assert_eq!(event["status"] == "failed", failed);
                    assert_eq!(event["runtimeContext"].is_object(), failed);
                    begin
                }
                Kind::Log => {
                    assert_eq!(text, format!("{}\n", event["chunk"].as_str().unwrap()));
                    assert!((41..=91).contains(&text.len()));
                    seq
                }
                Kind::Begin => seq,
            };
            assert_eq!(Id::find(&text), Some(mix.id(3, named)));
        }
    }

    #[test]
    fn an_identity_differs_by_seed_run_and_number() {
        let other =
            Mix::new(MixSettings { log_bytes: (40, 90), tests_percent: 0, failures_percent: 0 }, 8, 0);
        let mix = mix(0, 0);
        let ids = [mix.id(1, 1), mix.id(1, 2), mix.id(2, 1), other.id(1, 1)].map(|id| id.checksum);
        assert!(ids.iter().enumerate().all(|(at, id)| !ids[..at].contains(id)), "{ids:?}");
        for bad in [
            "",
            "@",
            "@0000000100000002.00000003.",
            "@0000000g.00000002.00000003",
            "00000001.00000002.00000003x",
        ] {
            assert_eq!(Id::parse(bad), None, "{bad}");
        }
    }
}
