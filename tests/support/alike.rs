//! Whether time tells two kinds of request apart, on a machine that does other things, too.

use std::time::{Duration, Instant};

/// Asks both kinds `pairs` times, in turn, and says how they differ if one of them is nearly always the slower one, by half
/// and by more than `noise`.
pub(crate) async fn told_apart(
    pairs: usize,
    noise: Duration,
    mut ask: impl AsyncFnMut(usize, bool),
) -> Option<String> {
    let mut times: [Vec<Duration>; 2] = Default::default();
    for pair in 0..pairs {
        // Who is first changes, too: whatever else the machine does meets both.
        for second in [pair % 2 == 0, pair % 2 != 0] {
            let begun = Instant::now();
            ask(pair, second).await;
            times[usize::from(second)].push(begun.elapsed());
        }
    }
    let slower = times[0].iter().zip(&times[1]).filter(|(first, second)| first > second).count();
    let edge = (pairs / 8).max(1);
    let [first, second] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    let always = slower < edge || slower > pairs - edge;
    let ratio = first.max(second).as_secs_f64() / first.min(second).as_secs_f64();
    (always && ratio > 1.5 && first.abs_diff(second) > noise)
        .then(|| format!("{first:?} and {second:?}, {slower} of {pairs} times"))
}
