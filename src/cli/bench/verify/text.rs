//! Checks a run's log against what was acknowledged: each event exactly once, in order, as it was sent.

use std::collections::{BTreeMap, HashSet};

use super::Verification;
use crate::cli::bench::ledger::Run;
use crate::cli::bench::mix::{Id, Kind, Mix};
use crate::limits;

/// The state of one run's check.
pub(super) struct TextCheck<'a> {
    mix: &'a Mix,
    run: &'a Run,
    /// Text that is not looked at yet.
    rest: String,
    /// The acknowledged event that comes next.
    next: Option<u32>,
    /// Its text.
    expected: String,
    /// Acknowledged events that were skipped: first to before the end, in numbers that may hold others in between.
    gaps: BTreeMap<u32, u32>,
    uncertain_seen: HashSet<u32>,
    /// The event of the line before, if its second line may follow.
    second_line_of: Option<u32>,
    found: Verification,
}

impl<'a> TextCheck<'a> {
    /// A check at the begin of the log.
    pub(super) fn new(mix: &'a Mix, run: &'a Run) -> Self {
        let mut check = Self {
            mix,
            run,
            rest: String::new(),
            next: None,
            expected: String::new(),
            gaps: BTreeMap::new(),
            uncertain_seen: HashSet::new(),
            second_line_of: None,
            found: Verification::default(),
        };
        check.expect_from(0);
        check
    }

    /// Takes in the next piece of the log.
    pub(super) fn push(&mut self, text: &str) {
        self.rest.push_str(text);
        self.advance(false);
    }

    /// The log is over: adds what was found to `found`.
    pub(super) fn finish(mut self, found: &mut Verification) {
        self.advance(true);
        if let Some(event) = self.second_line_of.take() {
            self.cut_short(event);
        }
        if let Some(next) = self.next {
            self.skip(next, self.run.next);
        }
        let gaps = std::mem::take(&mut self.gaps);
        for (first, end) in gaps {
            let missing = (first..end).filter(|seq| self.run.acknowledged.contains(*seq)).count() as u64;
            self.found.missing += missing;
            if missing > 0 {
                self.found.find(
                    self.run,
                    format!("{missing} acknowledged events of {first} to {} are missing", end - 1),
                );
            }
        }
        let Verification {
            in_order, missing, duplicated, reordered, wrong, uncertain_stored, findings, ..
        } = self.found;
        found.acknowledged += self.run.acknowledged.count();
        found.in_order += in_order;
        found.missing += missing;
        found.duplicated += duplicated;
        found.reordered += reordered;
        found.wrong += wrong;
        found.uncertain_stored += uncertain_stored;
        found.findings.extend(findings);
        found.findings.truncate(limits::BENCH_FINDINGS_MAX);
    }

    fn advance(&mut self, is_last: bool) {
        let mut at = 0;
        while at < self.rest.len() {
            let text = self.rest.get(at..).unwrap_or_default();
            if self.next.is_some() && text.starts_with(&self.expected) {
                at += self.expected.len();
                self.found.in_order += 1;
                if let Some(event) = self.second_line_of.take() {
                    self.cut_short(event);
                }
                self.expect_from(self.next.map_or(0, |next| next + 1));
                continue;
            }
            if self.expected.starts_with(text) && !is_last {
                break;
            }
            let line = match text.find('\n') {
                Some(end) => text.get(..=end).unwrap_or(text).to_owned(),
                None if is_last => text.to_owned(),
                None => break,
            };
            at += line.len();
            self.judge(&line);
            if self.gaps.len() > limits::BENCH_GAPS_MAX {
                self.found.find(self.run, "too many gaps to tell them apart");
                at = self.rest.len();
            }
        }
        self.rest.drain(..at);
    }

    /// A line that is not what comes next.
    fn judge(&mut self, line: &str) {
        if let Some(event) = self.second_line_of.take() {
            if line.starts_with("  Error: ") && Id::find(line) == Some(self.mix.id(self.run.number, event)) {
                return;
            }
            self.cut_short(event);
        }
        let Some(seq) = self.event_of(line) else {
            self.found.wrong += 1;
            let shown: String = line.trim_end().chars().take(120).collect();
            self.found.find(self.run, format!("a line that was not sent like this: {shown}"));
            return;
        };
        self.second_line_of = matches!(self.mix.kind(seq), Kind::End { failed: true, .. }).then_some(seq);
        if self.run.uncertain.contains(seq) {
            if self.uncertain_seen.insert(seq) {
                self.found.uncertain_stored += 1;
            } else {
                self.doubled(seq);
            }
        } else if !self.run.acknowledged.contains(seq) {
            self.found.wrong += 1;
            self.found.find(self.run, format!("event {seq} is stored although it was never acknowledged"));
        } else if self.next == Some(seq) {
            // Its first line is right, what follows is not: it counts as missing, the other line as wrong.
            self.skip(seq, seq + 1);
            self.expect_from(seq + 1);
        } else if let Some(next) = self.next.filter(|next| *next < seq) {
            self.skip(next, seq);
            self.found.in_order += 1;
            self.expect_from(seq + 1);
        } else if self.fill(seq) {
            self.found.reordered += 1;
            self.found.find(self.run, format!("event {seq} is stored behind later ones"));
        } else {
            self.doubled(seq);
        }
    }

    fn cut_short(&mut self, seq: u32) {
        self.found.wrong += 1;
        self.found.find(self.run, format!("the error text of event {seq} is missing or not as it was sent"));
    }

    fn doubled(&mut self, seq: u32) {
        self.found.duplicated += 1;
        self.found.find(self.run, format!("event {seq} is stored more than once"));
    }

    /// The event whose first line `line` is, if it is exactly that.
    fn event_of(&self, line: &str) -> Option<u32> {
        let id = Id::find(line)?;
        let is_end = line.starts_with('✔') || line.starts_with('✘');
        let seq = if is_end { self.mix.end_of(id.seq)? } else { id.seq };
        let mut text = String::new();
        self.mix.push_text(self.run.number, seq, &mut text);
        let kind_fits = is_end == matches!(self.mix.kind(seq), Kind::End { .. });
        let first_line = text.split_inclusive('\n').next()?;
        (id == self.mix.id(self.run.number, id.seq) && kind_fits && first_line == line).then_some(seq)
    }

    fn expect_from(&mut self, seq: u32) {
        self.next = self.run.acknowledged.at_or_after(seq);
        self.expected.clear();
        if let Some(next) = self.next {
            self.mix.push_text(self.run.number, next, &mut self.expected);
        }
    }

    fn skip(&mut self, first: u32, end: u32) {
        if first < end {
            self.gaps.insert(first, end);
        }
    }

    /// Takes `seq` out of the gap it is in; whether it was in one.
    fn fill(&mut self, seq: u32) -> bool {
        let Some((first, end)) = self.gaps.range(..=seq).next_back().map(|(first, end)| (*first, *end))
        else {
            return false;
        };
        if seq >= end {
            return false;
        }
        self.gaps.remove(&first);
        self.skip(first, seq);
        self.skip(seq + 1, end);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::mix::MixSettings;

    const EVENTS: u32 = 160;

    fn mix() -> Mix {
        Mix::new(MixSettings { log_bytes: (30, 60), tests_percent: 20, failures_percent: 50 }, 5, 0)
    }

    fn run() -> Run {
        let mut run = Run::new(9, "s".into(), "t".into());
        run.next = EVENTS;
        run.acknowledged.push(0, EVENTS);
        run
    }

    fn texts(mix: &Mix) -> Vec<String> {
        let text = |seq| {
            let mut text = String::new();
            mix.push_text(9, seq, &mut text);
            text
        };
        (0..EVENTS).map(text).collect()
    }

    /// Missing, duplicated, reordered, wrong, uncertain and stored; the log comes in pieces of `piece` bytes.
    fn checked(run: &Run, texts: &[String], piece: usize) -> [u64; 5] {
        let (mix, log, mut found) = (mix(), texts.concat(), Verification::default());
        let mut check = TextCheck::new(&mix, run);
        let mut rest = log.as_str();
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.ceil_char_boundary(piece.min(rest.len())));
            check.push(head);
            rest = tail;
        }
        check.finish(&mut found);
        let sum = found.in_order + found.reordered + found.missing;
        assert_eq!(sum, run.acknowledged.count(), "{found:?}");
        [found.missing, found.duplicated, found.reordered, found.wrong, found.uncertain_stored]
    }

    #[test]
    fn what_was_sent_passes_however_it_is_cut() {
        let texts = texts(&mix());
        for piece in [1, 2, 7, 100, 5_000, 1_000_000] {
            assert_eq!(checked(&run(), &texts, piece), [0; 5], "{piece}");
        }
    }

    #[test]
    fn every_single_fault_is_found_wherever_it_is() {
        let texts = texts(&mix());
        for at in 0..texts.len() {
            let changed = |change: &dyn Fn(&mut Vec<String>)| {
                let mut texts = texts.clone();
                change(&mut texts);
                checked(&run(), &texts, 4_096)
            };
            assert_eq!(changed(&|texts| drop(texts.remove(at))), [1, 0, 0, 0, 0], "lost {at}");
            assert_eq!(
                changed(&|texts| texts.insert(at, texts[at].clone())),
                [0, 1, 0, 0, 0],
                "doubled {at}"
            );
            if at > 0 {
                assert_eq!(changed(&|texts| texts.swap(at - 1, at)), [0, 0, 1, 0, 0], "swapped {at}");
            }
            let damaged = changed(&|texts| texts[at] = texts[at].replacen('.', ":", 1));
            assert_eq!((damaged[0], damaged[3] > 0), (1, true), "damaged {at}: {damaged:?}");
        }
        assert_eq!(checked(&run(), &[], 10)[0], u64::from(EVENTS), "nothing stored");
    }

    #[test]
    fn what_was_not_acknowledged_may_be_there_once_or_must_not_be() {
        let all = texts(&mix());
        let mut run = Run::new(9, "s".into(), "t".into());
        run.next = EVENTS;
        run.acknowledged.push(0, 100);
        run.acknowledged.push(150, EVENTS);
        run.uncertain.push(100, 120);
        let kept = |keep: &dyn Fn(usize) -> bool| -> Vec<String> {
            (0..all.len()).filter(|at| keep(*at)).map(|at| all[at].clone()).collect()
        };
        assert_eq!(checked(&run, &kept(&|at| !(100..150).contains(&at)), 999), [0; 5]);
        assert_eq!(checked(&run, &kept(&|at| !(110..150).contains(&at)), 999), [0, 0, 0, 0, 10]);
        let mut twice = kept(&|at| !(120..150).contains(&at));
        twice.push(all[101].clone());
        assert_eq!(checked(&run, &twice, 999), [0, 1, 0, 0, 20]);
        let refused = checked(&run, &kept(&|at| !(121..150).contains(&at)), 999);
        assert_eq!((refused[0], refused[3]), (0, 1), "{refused:?}");
    }
}
