//! Which steps are run: one, a ramp, or a search for the highest rate that holds the limit.

use super::BenchError;
use super::args::{Pacing, Plan};
use super::load::{Load, StepPlan};
use super::stats::Step;

/// The search ends when what holds and what does not are so close.
const CLOSE_ENOUGH: f64 = 1.06;
/// Steps of a search after the first look.
const STEPS_MAX: usize = 20;
/// A step has to bring so much of what it offers.
const ACHIEVED_MIN: f64 = 0.97;
/// The first rate tried, as a share of what the closed loop reached.
const FIRST_TRY: f64 = 0.7;

/// The steps that were run.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// In order of time.
    pub(super) steps: Vec<Step>,
    /// Which of them is the result.
    pub(super) headline: Option<usize>,
}

/// Runs the steps of `plan`; those of a load that was stopped are what there is by then.
///
/// # Errors
/// See [`Load::step`].
pub(super) async fn run(
    load: &mut Load,
    plan: &Plan,
    is_stopped: impl Fn() -> bool,
) -> Result<Steps, BenchError> {
    let step_plan = |rate| StepPlan { rate, warm_up: plan.warm_up, duration: plan.duration };
    let mut all = Steps::default();
    match plan.pacing {
        Pacing::Closed => all.add(load.step(step_plan(None)).await?, plan.p99_ms),
        Pacing::Rate(rate) => all.add(load.step(step_plan(Some(rate))).await?, plan.p99_ms),
        Pacing::Ramp(ramp) => {
            for rate in ramp.rates() {
                all.add(load.step(step_plan(Some(rate))).await?, plan.p99_ms);
                if is_stopped() {
                    break;
                }
            }
        }
        Pacing::Saturate => {
            all.add(load.step(step_plan(None)).await?, None);
            let reached = all.steps.first().map_or(0.0, Step::achieved);
            let mut search = Search::from(reached, f64::from(plan.shape.events_per_batch));
            while let Some(rate) = search.next().filter(|_| !is_stopped()) {
                all.add(load.step(step_plan(Some(rate))).await?, plan.p99_ms);
                search.learn(rate, all.steps.last().and_then(|step| step.met).unwrap_or(false));
            }
        }
    }
    all.headline = all.choose(plan.pacing);
    Ok(all)
}

impl Steps {
    fn add(&mut self, mut step: Step, p99_ms: Option<f64>) {
        step.met = p99_ms.map(|limit| holds(&step, limit));
        self.steps.push(step);
    }

    /// The step that is the result: the fastest that held the limit where one was searched for, the fastest otherwise.
    fn choose(&self, pacing: Pacing) -> Option<usize> {
        let counts = |step: &Step| pacing != Pacing::Saturate || step.met == Some(true);
        let steps = self.steps.iter().enumerate().filter(|(_, step)| counts(step));
        steps.max_by(|one, other| one.1.achieved().total_cmp(&other.1.achieved())).map(|(index, _)| index)
    }
}

/// Whether a step held the limit: in time, complete, and nothing refused. A batch may lie on either side of the step's
/// end, which at a low rate is more than the share that may be missing.
fn holds(step: &Step, p99_ms: f64) -> bool {
    let batches = f64::from(u32::try_from(step.stats.batches).unwrap_or(u32::MAX)).max(1.0);
    let with_one_more = step.achieved() * (1.0 + 1.0 / batches);
    let enough = step.offered.is_none_or(|offered| with_one_more >= offered * ACHIEVED_MIN);
    step.quantile_ms(0.99) <= p99_ms && enough && step.is_clean() && !step.stats.latencies.is_empty()
}

/// Finds a border by halving, in proportion.
#[derive(Debug)]
struct Search {
    /// The highest rate that held.
    holds: Option<f64>,
    /// The lowest that did not.
    fails: Option<f64>,
    /// A rate that did not hold once. A machine has bad moments that are not its limit, so it gets a second try.
    doubtful: Option<f64>,
    first: f64,
    least: f64,
    tried: usize,
}

impl Search {
    /// A search around `reached`, where the closed loop came to; `least` is the rate below which it gives up.
    fn from(reached: f64, least: f64) -> Self {
        Self {
            holds: None,
            fails: None,
            doubtful: None,
            first: (reached * FIRST_TRY).max(least),
            least,
            tried: 0,
        }
    }

    /// The next rate to try.
    fn next(&self) -> Option<f64> {
        let next = match (self.holds, self.fails) {
            _ if self.doubtful.is_some() => return self.doubtful,
            (None, None) => self.first,
            (Some(holds), None) => holds * 1.3,
            (None, Some(fails)) => fails / 2.0,
            (Some(holds), Some(fails)) if fails / holds <= CLOSE_ENOUGH => return None,
            (Some(holds), Some(fails)) => (holds * fails).sqrt(),
        };
        (self.tried < STEPS_MAX && next >= self.least).then_some(next)
    }

    fn learn(&mut self, rate: f64, held: bool) {
        self.tried += 1;
        let was_doubtful = self.doubtful.take().is_some();
        match held {
            true => self.holds = Some(rate),
            false if was_doubtful => self.fails = Some(rate),
            false => self.doubtful = Some(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::bench::stats::Stats;

    #[test]
    fn the_search_comes_close_from_wherever_it_begins() {
        for border in [40.0, 700.0, 1_000.0, 5_000.0] {
            for reached in [500.0, 1_000.0, 2_000.0] {
                let mut search = Search::from(reached, 1.0);
                while let Some(rate) = search.next() {
                    search.learn(rate, rate <= border);
                }
                let found = search.holds.unwrap();
                assert!(
                    (border / CLOSE_ENOUGH..=border).contains(&found),
                    "{found} for {border} from {reached}"
                );
                assert!(search.tried <= STEPS_MAX);
            }
        }
    }

    #[test]
    fn a_batch_on_the_other_side_of_the_end_is_not_missing() {
        let held = |offered, batches| {
            let second = Duration::from_secs(1);
            let mut stats = Stats { batches, events: batches * 50, ..Stats::default() };
            stats.latencies.record(1_000).unwrap();
            let step = Step { offered: Some(offered), window: second, stats, generator_cpu: 0.1, met: None };
            holds(&step, 20.0)
        };
        assert!(held(155.0, 3) && held(155.0, 4));
        assert!(!held(155.0, 1), "two are missing");
        assert!(held(50_000.0, 971) && !held(50_000.0, 960));
    }

    #[test]
    fn a_server_that_holds_nothing_ends_the_search() {
        let mut search = Search::from(1_000.0, 100.0);
        while let Some(rate) = search.next() {
            search.learn(rate, false);
        }
        assert_eq!(search.holds, None);
        assert!(search.tried <= 8, "{}", search.tried);
    }

    #[test]
    fn one_bad_moment_does_not_mislead_the_search() {
        let (mut search, mut tries) = (Search::from(1_000.0, 1.0), 0);
        while let Some(rate) = search.next() {
            tries += 1;
            search.learn(rate, rate <= 600.0 && tries != 3);
        }
        let found = search.holds.unwrap();
        assert!((600.0 / CLOSE_ENOUGH..=600.0).contains(&found), "{found}");
    }
}
