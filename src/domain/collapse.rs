//! Attempts become tests: one entry per test id, of its last attempt. Two passes over a run's segments in order, so
//! that memory holds what is known of each test but not the texts of every attempt: [`Outline`] finds out which
//! attempt of a test is the last, [`Reader`] then picks those out. Source: API reference, ingest 6.1.
//!
//! The last attempt is the one that arrived last. Batches of one segment were under way together (none was
//! acknowledged before the others arrived), so among them the client's time decides instead.

use std::collections::{HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use super::batch::{Batch, Item, Span};
use super::error_hash::error_hash;
use super::result::TestResult;
use super::segment::Segment;
use crate::clock::UnixMs;

/// A test id's hash stands for it: 16 bytes instead of up to 500 characters.
type TestKey = u128;

/// Where an attempt stands: its segment's epoch and number, and the batch within it.
type BatchAt = (u32, u64, usize);

/// What is known of each test of a run; grows with the segments given to it.
#[derive(Debug, Default)]
pub struct Outline {
    tests: HashMap<TestKey, Track>,
    /// Tests that have ended at least once.
    ended: usize,
}

#[derive(Debug, Default)]
struct Track {
    name: Option<Box<str>>,
    file: Option<Box<str>>,
    attempts: u32,
    first_seq: u64,
    last: Last,
    /// The attempts whose `runtimeContext` and additions are shown.
    context_from: Option<Last>,
    extra_from: Option<Last>,
}

/// The attempt that counts, so far.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    seq: u64,
    at: BatchAt,
    timestamp_ms: UnixMs,
}

impl Last {
    /// Whether `newer`, which stands behind it, takes its place.
    fn gives_way_to(&self, newer: &Self) -> bool {
        let (epoch, segment, batch) = self.at;
        let concurrent = (epoch, segment) == (newer.at.0, newer.at.1) && batch != newer.at.2;
        !concurrent || newer.timestamp_ms >= self.timestamp_ms
    }
}

fn take_over(last: &mut Option<Last>, newer: Last) {
    if last.as_ref().is_none_or(|last| last.gives_way_to(&newer)) {
        *last = Some(newer);
    }
}

impl Outline {
    /// Takes in a segment. Segments come in order, each once, from the run's first one on.
    pub fn add(&mut self, segment: &Segment) {
        for_each_item(segment, |batch, item, at, seq| match *item {
            Item::Begin { test, title, file, .. } => {
                let track = self.tests.entry(key(batch, test)).or_default();
                track.name = Some(trim_path(batch.str(title)).into());
                track.file = Some(batch.str(file).into());
            }
            Item::End { test, timestamp_ms, runtime_context, extra, recorded: true, .. } => {
                let track = self.tests.entry(key(batch, test)).or_default();
                let newer = Last { seq, at, timestamp_ms };
                track.attempts += 1;
                if track.attempts == 1 {
                    track.first_seq = seq;
                    self.ended += 1;
                }
                if track.attempts == 1 || track.last.gives_way_to(&newer) {
                    track.last = newer;
                }
                if runtime_context.is_some() {
                    take_over(&mut track.context_from, newer);
                }
                if extra.is_some() {
                    take_over(&mut track.extra_from, newer);
                }
            }
            Item::End { .. } | Item::Log { .. } | Item::Status { .. } => {}
        });
    }

    /// Tests that have a result.
    #[must_use]
    pub fn tests(&self) -> usize {
        self.ended
    }

    /// The second pass. Everything that was given to [`Outline::add`] can be given to the reader again, in order.
    #[must_use]
    pub fn reader<'a>(&'a self, quarantined: &'a HashSet<String>) -> Reader<'a> {
        Reader { outline: self, quarantined, contexts: HashMap::new(), extras: HashMap::new() }
    }
}

/// Picks the attempts that count out of the segments an [`Outline`] was made of.
#[derive(Debug)]
pub struct Reader<'a> {
    outline: &'a Outline,
    quarantined: &'a HashSet<String>,
    /// What another attempt carried for a test whose last attempt carries none, until that comes by.
    contexts: HashMap<TestKey, String>,
    extras: HashMap<TestKey, String>,
}

impl Reader<'_> {
    /// Hands `each` the tests whose last attempt is in this segment, ordered by [`TestResult::seq`].
    pub fn results(&mut self, segment: &Segment, mut each: impl FnMut(TestResult)) {
        // What the last attempt borrows stands before it, or among batches that were under way together, behind it:
        // in either case not in a later segment.
        for_each_item(segment, |batch, item, _, seq| {
            if let Item::End { test, recorded: true, runtime_context, extra, .. } = *item {
                self.keep(batch, key(batch, test), seq, runtime_context, extra);
            }
        });
        for_each_item(segment, |batch, item, _, seq| {
            if let Some(result) = self.result(batch, item, seq) {
                each(result);
            }
        });
    }

    fn keep(&mut self, batch: &Batch, key: TestKey, seq: u64, context: Option<Span>, extra: Option<Span>) {
        let Some(track) = self.outline.tests.get(&key) else { return };
        let lends = |from: Option<Last>| from.is_some_and(|from| from.seq == seq && seq != track.last.seq);
        if let Some(context) = context.filter(|_| lends(track.context_from)) {
            self.contexts.insert(key, batch.str(context).to_owned());
        }
        if let Some(extra) = extra.filter(|_| lends(track.extra_from)) {
            self.extras.insert(key, batch.str(extra).to_owned());
        }
    }

    fn result(&mut self, batch: &Batch, item: &Item, seq: u64) -> Option<TestResult> {
        let &Item::End {
            test,
            status,
            duration_ms,
            error,
            timestamp_ms,
            runtime_context,
            extra,
            recorded: true,
            ..
        } = item
        else {
            return None;
        };
        let key = key(batch, test);
        let track = self.outline.tests.get(&key).filter(|track| track.last.seq == seq)?;
        let owned = |span: Option<Span>| span.map(|span| batch.str(span).to_owned());
        let (kept_context, kept_extra) = (self.contexts.remove(&key), self.extras.remove(&key));
        let test_id = batch.str(test).to_owned();
        let error = owned(error);
        Some(TestResult {
            seq,
            first_seq: track.first_seq,
            name: track.name.as_deref().map(str::to_owned),
            file: track.file.as_deref().map(str::to_owned),
            status,
            duration_ms,
            error_hash: error.as_deref().and_then(error_hash),
            error,
            timestamp_ms,
            attempt_count: track.attempts,
            // One kept from another attempt is there only because it is the later one.
            runtime_context: kept_context.or_else(|| owned(runtime_context)),
            extra: kept_extra.or_else(|| owned(extra)),
            is_quarantined: self.quarantined.contains(&test_id),
            test_id,
        })
    }
}

/// Calls `each` with every item of a segment, where it stands, and (for a recorded result) its number in the run.
fn for_each_item(segment: &Segment, mut each: impl FnMut(&Batch, &Item, BatchAt, u64)) {
    let mut seq = segment.start.results;
    for (index, entry) in segment.batches.iter().enumerate() {
        for item in &entry.batch.items {
            if let Item::End { recorded: true, .. } = item {
                seq += 1;
            }
            each(&entry.batch, item, (segment.epoch, segment.seq, index), seq);
        }
    }
}

fn key(batch: &Batch, test: Span) -> TestKey {
    xxh3_128(batch.str(test).as_bytes())
}

/// `title` without leading empty path segments: ` › chromium › a.spec.ts` becomes `chromium › a.spec.ts`. A title
/// that is nothing else stays.
#[must_use]
pub fn trim_path(title: &str) -> &str {
    let mut rest = title;
    while let Some(behind) = rest.trim_start().strip_prefix('›') {
        rest = behind;
    }
    if rest.len() == title.len() || rest.trim().is_empty() { title } else { rest.trim_start() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::batch::{Receipt, TestStatus};
    use crate::domain::id::{ExecutionId, OrgId, SessionId};
    use crate::domain::segment::{Position, Refusals, SegmentBatch};

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Begin(&'static str, &'static str),
        End(&'static str, TestStatus, UnixMs),
        /// As `End`, with a context and additions.
        Rich(&'static str, UnixMs, &'static str),
        /// Beyond the results cap.
        Dropped(&'static str),
        Log,
    }
    use Event::{Begin, Dropped, End, Log, Rich};
    use TestStatus::{Failed, Passed};

    fn push(strings: &mut Vec<u8>, text: &str) -> Span {
        let start = u32::try_from(strings.len()).unwrap();
        strings.extend_from_slice(text.as_bytes());
        Span { start, len: u32::try_from(text.len()).unwrap() }
    }

    fn item(strings: &mut Vec<u8>, event: Event) -> Item {
        let (test, status, timestamp_ms, context, recorded) = match event {
            Log => return Item::Log { test: None, stream: None, text_end: 0 },
            Begin(test, title) => {
                let (test, title, file) =
                    (push(strings, test), push(strings, title), push(strings, "a.spec.ts"));
                return Item::Begin { test, title, file, timestamp_ms: 0, text_end: 0 };
            }
            End(test, status, at) => (test, status, at, None, true),
            Rich(test, at, context) => (test, Failed, at, Some(context), true),
            Dropped(test) => (test, Passed, 0, None, false),
        };
        Item::End {
            test: push(strings, test),
            status,
            duration_ms: timestamp_ms.unsigned_abs(),
            error: (status == Failed).then(|| push(strings, "expected 1")),
            timestamp_ms,
            runtime_context: context.map(|text| push(strings, text)),
            extra: context.map(|text| push(strings, text)),
            attempt_count: 0,
            recorded,
            text_end: 0,
        }
    }

    fn batch(events: &[Event]) -> Batch {
        let mut strings = Vec::new();
        let items = events.iter().map(|event| item(&mut strings, *event)).collect();
        Batch { strings: strings.into(), items, ..Batch::default() }
    }

    /// A run of segments, each of batches, each of events.
    fn run(segments: &[&[&[Event]]]) -> Vec<Segment> {
        let mut start = Position::default();
        let mut made = Vec::new();
        let (org, execution) = (OrgId::from_bytes([1; 12]), ExecutionId::from_bytes([2; 12]));
        for (index, batches) in segments.iter().enumerate() {
            let receipt = Receipt { received_ms: 0, digest: 0, nonce: 0, body_bytes: 0, number: None };
            let batches = batches
                .iter()
                .map(|events| SegmentBatch {
                    session: SessionId(uuid::Uuid::nil()),
                    receipt,
                    batch: batch(events),
                })
                .collect();
            let seq = index as u64 + 1;
            let refusals = Refusals::default();
            let segment = Segment {
                org,
                execution,
                epoch: 1,
                seq,
                start,
                batches,
                refusals,
                feed_seq: 0,
                is_update: false,
            };
            start = segment.end();
            made.push(segment);
        }
        made
    }

    fn collapse(segments: &[Segment]) -> Vec<TestResult> {
        let mut outline = Outline::default();
        segments.iter().for_each(|segment| outline.add(segment));
        let quarantined = HashSet::from(["flaky".to_owned()]);
        let mut reader = outline.reader(&quarantined);
        let mut results = Vec::new();
        for segment in segments {
            reader.results(segment, |result| results.push(result));
        }
        assert!(results.is_sorted_by_key(|result| result.seq), "{results:?}");
        assert_eq!(results.len(), outline.tests());
        results
    }

    fn one(segments: &[&[&[Event]]]) -> TestResult {
        let mut results = collapse(&run(segments));
        assert_eq!(results.len(), 1, "{results:?}");
        results.remove(0)
    }

    #[test]
    fn a_test_without_retries_is_its_only_attempt() {
        let result = one(&[&[&[Begin("t", " › chromium › a.spec.ts › adds"), Log, End("t", Failed, 7)]]]);
        let expected = TestResult {
            seq: 1,
            first_seq: 1,
            test_id: "t".to_owned(),
            name: Some("chromium › a.spec.ts › adds".to_owned()),
            file: Some("a.spec.ts".to_owned()),
            status: Failed,
            duration_ms: 7,
            error: Some("expected 1".to_owned()),
            timestamp_ms: 7,
            attempt_count: 1,
            error_hash: error_hash("expected N"),
            runtime_context: None,
            extra: None,
            is_quarantined: false,
        };
        assert_eq!(result, expected);
    }

    #[test]
    fn the_attempt_that_arrived_last_counts() {
        // In one batch and over segments arrival decides, whatever the client's clock says.
        let apart: &[&[&[Event]]] = &[&[&[End("t", Failed, 9)]], &[&[End("t", Passed, 3)]]];
        let together: &[&[&[Event]]] = &[&[&[End("t", Failed, 9), End("t", Passed, 3)]]];
        for run in [apart, together] {
            let result = one(run);
            assert_eq!((result.status, result.seq, result.first_seq), (Passed, 2, 1));
            assert_eq!((result.attempt_count, result.error), (2, None));
        }
    }

    #[test]
    fn among_batches_under_way_together_time_decides() {
        let result = one(&[&[&[End("t", Passed, 9)], &[End("t", Failed, 3)]]]);
        assert_eq!((result.status, result.seq, result.attempt_count), (Passed, 1, 2));
        let equal = one(&[&[&[End("t", Failed, 3)], &[End("t", Passed, 3)]]]);
        assert_eq!((equal.status, equal.seq), (Passed, 2));
    }

    #[test]
    fn results_come_in_the_order_of_last_attempts_and_know_the_first() {
        let results = collapse(&run(&[
            &[&[End("a", Failed, 1), End("b", Passed, 2)]],
            &[&[End("c", Passed, 3), End("a", Passed, 4)]],
        ]));
        let order: Vec<_> =
            results.iter().map(|result| (result.test_id.as_str(), result.seq, result.first_seq)).collect();
        assert_eq!(order, [("b", 2, 2), ("c", 3, 3), ("a", 4, 1)]);
    }

    #[test]
    fn the_last_title_names_the_test_wherever_it_stands() {
        let before = one(&[&[&[Begin("t", "old"), End("t", Passed, 1)]], &[&[Begin("t", "new")]]]);
        assert_eq!(before.name.as_deref(), Some("new"));
        assert_eq!(one(&[&[&[End("t", Passed, 1)]]]).name, None);
    }

    #[test]
    fn a_begun_test_without_an_end_and_dropped_results_are_none() {
        assert_eq!(collapse(&run(&[&[&[Begin("t", "x"), Dropped("u"), Log]]])), []);
        let result = one(&[&[&[Dropped("t"), End("t", Failed, 1), Dropped("t")]]]);
        assert_eq!((result.seq, result.attempt_count), (1, 1));
    }

    #[test]
    fn the_context_of_the_last_attempt_that_carried_one_is_kept() {
        let shown = |segments: &[&[&[Event]]]| {
            let result = one(segments);
            assert_eq!(result.runtime_context, result.extra);
            result.runtime_context
        };
        assert_eq!(shown(&[&[&[Rich("t", 1, "one")]], &[&[Rich("t", 2, "two")]]]).as_deref(), Some("two"));
        assert_eq!(shown(&[&[&[Rich("t", 1, "one")]], &[&[End("t", Passed, 2)]]]).as_deref(), Some("one"));
        assert_eq!(shown(&[&[&[Rich("t", 1, "one"), End("t", Passed, 2)]]]).as_deref(), Some("one"));
        // Of batches under way together the one behind may carry it.
        assert_eq!(shown(&[&[&[End("t", Passed, 9)], &[Rich("t", 3, "late")]]]).as_deref(), Some("late"));
        assert_eq!(
            shown(&[&[&[Rich("t", 9, "by time")], &[Rich("t", 3, "late")]]]).as_deref(),
            Some("by time")
        );
        assert_eq!(shown(&[&[&[End("t", Passed, 2)]]]), None);
    }

    #[test]
    fn quarantined_tests_are_marked() {
        let results = collapse(&run(&[&[&[End("flaky", Failed, 1), End("solid", Failed, 2)]]]));
        let marked: Vec<_> = results.iter().map(|result| result.is_quarantined).collect();
        assert_eq!(marked, [true, false]);
    }

    #[test]
    fn titles_lose_leading_empty_segments_only() {
        for (title, name) in [
            (" › chromium › a", "chromium › a"),
            ("› a", "a"),
            (" › › a › ", "a › "),
            ("chromium › a", "chromium › a"),
            ("  plain", "  plain"),
            (" › ", " › "),
            ("", ""),
        ] {
            assert_eq!(trim_path(title), name, "{title:?}");
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        let test = prop::sample::select(vec!["a", "b", "c", "flaky"]);
        let status = prop::sample::select(vec![Passed, Failed, TestStatus::Skipped, TestStatus::TimedOut]);
        prop_oneof![
            test.clone().prop_map(|test| Begin(test, "x › y")),
            (test.clone(), status, 0i64..5).prop_map(|(test, status, at)| End(test, status, at)),
            (test.clone(), 0i64..5).prop_map(|(test, at)| Rich(test, at, "{}")),
            test.prop_map(Dropped),
            Just(Log),
        ]
    }

    proptest! {
        /// Against the rule read off the contract: attempts of sequential batches, last one wins.
        #[test]
        fn sequential_batches_collapse_as_the_contract_says(batches in prop::collection::vec(
            prop::collection::vec(event(), 0..8), 0..6,
        )) {
            let one_each: Vec<[&[Event]; 1]> = batches.iter().map(|batch| [batch.as_slice()]).collect();
            let segments: Vec<&[&[Event]]> = one_each.iter().map(|batch| batch.as_slice()).collect();
            let results = collapse(&run(&segments));
            let mut expected: Vec<(&str, UnixMs, u32)> = Vec::new();
            for event in batches.iter().flatten() {
                if let End(test, _, at) | Rich(test, at, _) = *event {
                    let attempts = expected.iter().position(|(seen, ..)| *seen == test)
                        .map_or(0, |index| expected.remove(index).2);
                    expected.push((test, at, attempts + 1));
                }
            }
            let found: Vec<_> = results
                .iter()
                .map(|result| (result.test_id.as_str(), result.timestamp_ms, result.attempt_count))
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
