//! Whether time tells two kinds of request apart, on a machine that does other things, too.

use std::time::{Duration, Instant};

/// How long it is looked for a difference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How often each kind is asked in a round.
    pub(crate) pairs: usize,
    /// Rounds at most: the next one is needed only while those before leave it open. At least [`PAIRS_MIN`] pairs in all.
    pub(crate) rounds: usize,
    /// What is noise even if it is always the same.
    pub(crate) noise: Duration,
}

/// In fewer pairs no difference is beyond chance.
const PAIRS_MIN: usize = 36;
/// Standard deviations of chance that a difference is beyond: once in two million comparisons.
const BEYOND_CHANCE: f64 = 5.0;
/// A share of [`dominance`] that is no difference.
const OPEN: f64 = 0.5;

/// Asks both kinds in turn, and says how they differ if one of them is the slower one, by more than the noise, so often
/// and by so much that other work of the machine, which meets both, is not the reason.
pub(crate) async fn told_apart(patience: Patience, mut ask: impl AsyncFnMut(usize, bool)) -> Option<String> {
    let Patience { pairs, rounds, noise } = patience;
    assert!(pairs * rounds >= PAIRS_MIN, "nothing could be told apart");
    let mut times: [Vec<Duration>; 2] = Default::default();
    for round in 0..rounds {
        for pair in round * pairs..(round + 1) * pairs {
            // Who is first changes, too.
            for second in [pair % 2 == 0, pair % 2 != 0] {
                let begun = Instant::now();
                ask(pair, second).await;
                times[usize::from(second)].push(begun.elapsed());
            }
        }
        if dominance(&times).abs() < OPEN || median(&times[0]).abs_diff(median(&times[1])) <= noise {
            return None;
        }
    }
    let count = number(pairs * rounds);
    // Of the signed ranks of pairs that differ by chance.
    let deviation = ((4.0 * count + 2.0) / (3.0 * count * (count + 1.0))).sqrt();
    let [first, second] = [median(&times[0]), median(&times[1])];
    (dominance(&times).abs() >= BEYOND_CHANCE * deviation)
        .then(|| format!("{first:?} and {second:?}, {:.2} of what always slower is", dominance(&times)))
}

/// How much more pairs tell that the first is slower than that the second is, the more the larger their difference
/// (Wilcoxon's signed ranks): 1 if the first always is, -1 if the second always is, about 0 if it is chance.
fn dominance(times: &[Vec<Duration>; 2]) -> f64 {
    let mut pairs: Vec<_> = times[0].iter().zip(&times[1]).collect();
    pairs.sort_by_key(|(first, second)| first.abs_diff(**second));
    let ranked =
        pairs.iter().zip(1_i32..).map(|((first, second), rank)| if first > second { rank } else { -rank });
    let count = number(pairs.len());
    f64::from(ranked.sum::<i32>()) / (count * (count + 1.0) / 2.0)
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}
