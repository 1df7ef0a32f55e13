//! A dashboard that watches while a load runs: one Socket.IO connection, and what it saw of each run. How long a batch
//! took from its acknowledgement to here is told by the numbers in its text.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::BenchError;
use super::acks::Acks;
use super::follow::{Digest, Followed};
use super::mix::{Id, Mix};
use super::numbers::{micros, per_second, shown_rate};
use super::report::{Bar, Latency, bars};
use super::stats::histogram;
use crate::cli::demo::grouped;
use crate::cli::socket::{LiveEvent, LiveSocket};

/// How long a viewer listens on after the load for what is still on its way.
const LINGER: Duration = Duration::from_millis(1_500);

/// What viewers saw together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LiveReport {
    /// Viewers.
    pub(super) viewers: u32,
    /// Milliseconds from the acknowledgement of a batch to the frame with its last event, over all viewers.
    pub(super) receipt_ms: Latency,
    /// How many took how long.
    pub(super) histogram: Vec<Bar>,
    /// Frames with log text, over all viewers.
    pub(super) frames: u64,
    /// Lines in them.
    pub(super) lines: u64,
    /// Lines a second that one viewer got, on average.
    pub(super) lines_per_second: f64,
    /// Lines of a frame, on average.
    pub(super) lines_per_frame: f64,
    /// Places where a viewer missed text.
    pub(super) gaps: u64,
    /// UTF-16 units missed there.
    pub(super) missed_units: u64,
    /// Places where a viewer got text twice.
    pub(super) doubles: u64,
    /// Viewers whose channel broke.
    pub(super) broken: u64,
    /// Share of its core that the viewers' thread used.
    pub(super) viewers_cpu: f64,
}

impl LiveReport {
    /// What is said of it in lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let receipt = &self.receipt_ms;
        let mut lines = vec![
            format!(
                "{} viewers: acknowledgement to receipt p50 {:.1} ms, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, longest {:.1}",
                self.viewers, receipt.p50, receipt.p90, receipt.p99, receipt.p999, receipt.max
            ),
            format!(
                "{} frames with {} lines, {:.1} lines a frame, {} lines/s per viewer; viewers' thread at {:.0} % of a core",
                grouped(self.frames),
                grouped(self.lines),
                self.lines_per_frame,
                shown_rate(self.lines_per_second),
                self.viewers_cpu * 100.0
            ),
            format!(
                "{} gaps ({} units of text missed), {} doubles",
                self.gaps,
                grouped(self.missed_units),
                self.doubles
            ),
        ];
        if self.broken > 0 {
            lines.push(format!("{} viewers were cut off", self.broken));
        }
        lines
    }
}

/// What one viewer saw.
#[derive(Debug)]
pub(super) struct Seen {
    receipts: Histogram<u64>,
    frames: u64,
    lines: u64,
    gaps: u64,
    missed_units: u64,
    doubles: u64,
    broken: Option<String>,
    runs: HashMap<String, RunSeen>,
}

/// What a viewer knows of one run.
#[derive(Debug, Default)]
struct RunSeen {
    number: Option<u32>,
    /// Acknowledgements that were matched with a receipt.
    matched: usize,
    /// Frames whose acknowledgement is still on its way to the sender: newest event, and when it was seen.
    early: Option<(u32, Instant)>,
    digest: Digest,
    offset: u64,
    had_gap: bool,
}

impl Seen {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            receipts: histogram(),
            frames: 0,
            lines: 0,
            gaps: 0,
            missed_units: 0,
            doubles: 0,
            broken: None,
            runs: HashMap::new(),
        }
    }

    /// Takes in an event of the channel that arrived at `now`.
    fn take(&mut self, event: &LiveEvent, mix: &Mix, acks: &Acks, now: Instant) {
        let member = |name: &str| event.body.get(name);
        let text = member("log").and_then(Value::as_str);
        let task = member("taskId").and_then(Value::as_str);
        let (Some(text), Some(task), "execution-log") = (text, task, event.name.as_str()) else { return };
        self.frames += 1;
        self.lines += text.bytes().filter(|byte| *byte == b'\n').count() as u64;
        if !self.runs.contains_key(task) {
            self.runs.insert(task.to_owned(), RunSeen::default());
        }
        let Some(run) = self.runs.get_mut(task) else { return };
        // A server that tells no offsets cannot be watched for gaps.
        let offset = member("offset").and_then(Value::as_u64).unwrap_or(run.offset);
        if offset > run.offset {
            self.gaps += 1;
            self.missed_units += offset - run.offset;
            run.had_gap = true;
        } else if offset < run.offset {
            self.doubles += 1;
            run.had_gap = true;
        }
        let before = run.digest.units;
        run.digest.add(text);
        run.offset = offset + (run.digest.units - before);
        if let Some((number, newest)) = newest_event(text, mix) {
            run.number = Some(number);
            run.settle(acks, &mut self.receipts);
            run.early = Some((newest, now));
            run.settle(acks, &mut self.receipts);
        }
    }

    /// Matches what was seen before its acknowledgement was noted.
    fn settle(&mut self, acks: &Acks) {
        for run in self.runs.values_mut() {
            run.settle(acks, &mut self.receipts);
        }
    }

    /// What it saw of run `task`, to be compared with what is stored: nothing to compare where frames were lost, which
    /// the protocol allows.
    pub(super) fn followed(&mut self, task: &str) -> Option<Followed> {
        let run = self.runs.remove(task)?;
        (!run.had_gap).then(|| Followed::Whole(Box::new(run.digest)))
    }
}

impl RunSeen {
    /// Books a receipt for every acknowledgement that the newest event seen covers.
    fn settle(&mut self, acks: &Acks, receipts: &mut Histogram<u64>) {
        let (Some(number), Some((newest, seen))) = (self.number, self.early) else { return };
        while let Some((_, acknowledged)) =
            acks.get(number, self.matched).filter(|(end, _)| *end <= newest + 1)
        {
            receipts.saturating_record(micros(seen.saturating_duration_since(acknowledged)));
            self.matched += 1;
        }
    }
}

/// Run and number of the newest event in a frame: that of its last line which begins with an identity or names a test.
fn newest_event(text: &str, mix: &Mix) -> Option<(u32, u32)> {
    text.lines().rev().find_map(|line| {
        let id = Id::find(line)?;
        let is_end = line.starts_with('✔') || line.starts_with('✘');
        Some((id.run, if is_end { mix.end_of(id.seq)? } else { id.seq }))
    })
}

/// Watches until the load is over, and a little longer. Reading a frame takes as long as several take to arrive at the
/// other viewers of this thread: what has come anywhere is noted first and read when nothing comes.
pub(super) async fn watch(
    mut socket: LiveSocket,
    mix: Arc<Mix>,
    acks: Arc<Acks>,
    mut over: watch::Receiver<bool>,
) -> Seen {
    let mut seen = Seen::new();
    let end = async {
        // An error means that the load is gone, and with it the reason to watch.
        drop(over.wait_for(|over| *over).await);
        tokio::time::sleep(LINGER).await;
    };
    let mut end = std::pin::pin!(end);
    let mut arrived = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            arrival = socket.arrive(), if seen.broken.is_none() => match arrival {
                Ok(arrival) => arrived.push_back(arrival),
                Err(error) => seen.broken = Some(error.to_string()),
            },
            () = tokio::task::yield_now(), if !arrived.is_empty() => {
                let Some(arrival) = arrived.pop_front() else { continue };
                match socket.read(&arrival).await {
                    Ok(Some(event)) => seen.take(&event, &mix, &acks, arrival.at),
                    Ok(None) => {}
                    Err(error) => seen.broken = Some(error.to_string()),
                }
            }
            () = &mut end, if seen.broken.is_none() => break,
            else => break,
        }
    }
    seen.settle(&acks);
    seen
}

/// What all viewers saw in `window`.
pub(super) fn together(seen: &[Seen], window: Duration, viewers_cpu: f64) -> Result<LiveReport, BenchError> {
    let mut receipts = histogram();
    for viewer in seen {
        receipts += &viewer.receipts;
    }
    let sum = |count: fn(&Seen) -> u64| seen.iter().map(count).sum::<u64>();
    let (frames, lines) = (sum(|seen| seen.frames), sum(|seen| seen.lines));
    let viewers = u32::try_from(seen.len()).map_err(|error| BenchError::Unexpected(error.to_string()))?;
    Ok(LiveReport {
        viewers,
        receipt_ms: Latency::of(&receipts),
        histogram: bars(&receipts),
        frames,
        lines,
        lines_per_second: per_second(lines, window) / f64::from(viewers.max(1)),
        lines_per_frame: if frames == 0 { 0.0 } else { per_second(lines, Duration::from_secs(frames)) },
        gaps: sum(|seen| seen.gaps),
        missed_units: sum(|seen| seen.missed_units),
        doubles: sum(|seen| seen.doubles),
        broken: seen.iter().filter(|seen| seen.broken.is_some()).count() as u64,
        viewers_cpu,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::bench::mix::MixSettings;

    fn frame(text: &str, offset: u64) -> LiveEvent {
        LiveEvent {
            name: "execution-log".into(),
            body: json!({ "taskId": "t", "log": text, "offset": offset }),
            cursor: None,
        }
    }

    #[test]
    fn receipts_gaps_and_doubles_are_told_apart() {
        let mix =
            Mix::new(MixSettings { log_bytes: (30, 30), tests_percent: 20, failures_percent: 100 }, 1, 0);
        let text = |first: u32, end: u32| {
            (first..end).fold(String::new(), |mut text, seq| {
                mix.push_text(4, seq, &mut text);
                text
            })
        };
        let units = |end| crate::domain::text::utf16_len(&text(0, end));
        let (acks, start) = (Acks::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let mut seen = Seen::new();
        acks.note(4, 10, at(100));
        seen.take(&frame(&text(0, 10), 0), &mix, &acks, at(130));
        // Seen before the sender knew: no time at all.
        seen.take(&frame(&text(10, 20), units(10)), &mix, &acks, at(140));
        acks.note(4, 20, at(150));
        seen.settle(&acks);
        assert_eq!((seen.receipts.len(), seen.receipts.min()), (2, 0));
        assert!((29_900..=30_100).contains(&seen.receipts.max()), "{}", seen.receipts.max());
        assert_eq!((seen.gaps, seen.doubles, seen.frames), (0, 0, 2));
        seen.take(&frame(&text(30, 40), units(30)), &mix, &acks, at(160));
        assert_eq!((seen.gaps, seen.missed_units), (1, units(30) - units(20)));
        seen.take(&frame(&text(30, 40), units(30)), &mix, &acks, at(170));
        assert_eq!((seen.gaps, seen.doubles), (1, 1));
        assert!(seen.followed("t").is_none(), "nothing to compare where text was missed");
    }
}
