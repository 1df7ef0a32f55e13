//! The frames of a window, out of what each run has in it. Only the runs, their text and which of them changed matter,
//! not in how many steps that came: so a window is the same whenever it is made.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Frame, Window};
use crate::domain::id::{ExecutionId, TaskId};
use crate::limits;

/// What a run has in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunPart {
    pub(super) task: TaskId,
    /// UTF-16 units of the run's text before this.
    pub(super) offset: u64,
    /// The text, in pieces.
    pub(super) text: Vec<Bytes>,
    /// The run's newest state, if it has changed.
    pub(super) body: Option<Bytes>,
    /// The run was deleted: its text is left out, and the frames that had it stay, since cursors count them.
    pub(super) is_deleted: bool,
}

/// The window between two positions.
pub(super) fn window(from: u64, upto: u64, runs: BTreeMap<ExecutionId, RunPart>) -> Window {
    let mut frames = Vec::new();
    let mut updates = Vec::new();
    for RunPart { task, offset, mut text, body, is_deleted } in runs.into_values() {
        let text = if text.len() == 1 { text.pop().unwrap_or_default() } else { text.concat().into() };
        let first = frames.len();
        push_logs(&mut frames, &task, offset, text);
        for frame in frames.iter_mut().skip(first).filter(|_| is_deleted) {
            if let Frame::Log { text, .. } = frame {
                *text = Bytes::new();
            }
        }
        updates.extend(body.map(|body| Frame::Updated { task, body }));
    }
    frames.append(&mut updates);
    Window { from, upto, frames }
}

fn push_logs(frames: &mut Vec<Frame>, task: &TaskId, mut offset: u64, mut text: Bytes) {
    while !text.is_empty() {
        let (head, units) = cut_head(&mut text);
        frames.push(Frame::Log { task: task.clone(), offset, text: head });
        offset += units;
    }
}

/// Cuts off what fits into one frame, between two characters, with its length in UTF-16 units if anything follows.
fn cut_head(text: &mut Bytes) -> (Bytes, u64) {
    let whole = std::str::from_utf8(text).unwrap_or_default();
    let end = whole.floor_char_boundary(limits::FRAME_TEXT_BYTES_MAX);
    // Text that is not UTF-8 does not come this far; if it did, the delivery would refuse it.
    if end == whole.len() {
        return (std::mem::take(text), 0);
    }
    let units = whole.get(..end).map_or(0, crate::domain::text::utf16_len);
    (text.split_to(end), units)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(task: &str, offset: u64, text: &[&str], body: Option<&'static str>) -> RunPart {
        let text = text.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect();
        RunPart { task: task.into(), offset, text, body: body.map(Bytes::from), is_deleted: false }
    }

    fn log(task: &str, offset: u64, text: &str) -> Frame {
        Frame::Log { task: task.into(), offset, text: Bytes::copy_from_slice(text.as_bytes()) }
    }

    #[test]
    fn text_comes_first_run_by_run_and_then_the_changed_runs() {
        let id = |n| ExecutionId::from_bytes([n; 12]);
        let runs = BTreeMap::from([
            (id(3), part("c", 0, &[], Some("{3}"))),
            (id(1), part("a", 4, &["one\n", "two\n"], Some("{1}"))),
            (id(2), part("b", 7, &["x\n"], None)),
        ]);
        let updated =
            |task: &str, body: &'static str| Frame::Updated { task: task.into(), body: body.into() };
        let expected =
            vec![log("a", 4, "one\ntwo\n"), log("b", 7, "x\n"), updated("a", "{1}"), updated("c", "{3}")];
        assert_eq!(window(5, 9, runs), Window { from: 5, upto: 9, frames: expected });
    }

    #[test]
    fn a_deleted_run_keeps_its_frames_and_loses_their_text() {
        let long = "x".repeat(limits::FRAME_TEXT_BYTES_MAX + 1);
        let deleted = RunPart { is_deleted: true, ..part("a", 4, &[&long], None) };
        let runs = BTreeMap::from([
            (ExecutionId::from_bytes([1; 12]), deleted),
            (ExecutionId::from_bytes([2; 12]), part("b", 0, &["seen"], None)),
        ]);
        let second = 4 + limits::FRAME_TEXT_BYTES_MAX as u64;
        let expected = vec![log("a", 4, ""), log("a", second, ""), log("b", 0, "seen")];
        assert_eq!(window(5, 9, runs).frames, expected);
    }

    proptest! {
        #[test]
        fn frames_depend_on_the_text_alone_and_are_cut_between_characters(
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            word in "[a-zé🦀]{1,7}",
            times in 0_usize..40_000,
        ) {
            let text = word.repeat(times);
            let mut at: Vec<usize> = cuts.iter().map(|cut| text.floor_char_boundary(cut.index(text.len() + 1))).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let pieces: Vec<&str> = at.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let made = |pieces: &[&str]| {
                window(0, 1, BTreeMap::from([(ExecutionId::from_bytes([1; 12]), part("a", 5, pieces, None))])).frames
            };
            let frames = made(&pieces);
            prop_assert_eq!(&frames, &made(&[&text]));
            let mut seen = String::new();
            for frame in frames {
                let Frame::Log { offset, text, .. } = frame else { panic!("{frame:?}") };
                prop_assert!(!text.is_empty() && text.len() <= limits::FRAME_TEXT_BYTES_MAX);
                prop_assert_eq!(offset, 5 + seen.encode_utf16().count() as u64);
                seen.push_str(std::str::from_utf8(&text).unwrap());
            }
            prop_assert_eq!(seen, text);
        }
    }
}
