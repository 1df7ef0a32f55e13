//! Subjects measured in turns: what disturbs the machine disturbs all of them, and each round has its own ratios.

use std::fmt;
use std::time::Duration;

use crate::load::{Load, Outcome, Pace};
use crate::machine::Process;

/// How long and how often.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) is_full: bool,
}

impl Effort {
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        round: Duration::from_secs(1),
        warm_up: Duration::from_millis(300),
        is_full: false,
    };
    pub(crate) const FULL: Self =
        Self { rounds: 7, round: Duration::from_secs(3), warm_up: Duration::from_secs(1), is_full: true };
}

/// One subject under load.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) process: &'a Process,
    pub(crate) load: Load,
    pub(crate) pace: Pace,
}

/// One stretch of one subject.
pub(crate) struct Sample {
    pub(crate) outcome: Outcome,
    /// CPU time of the subject for each accepted request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Share of the time that the subject was running.
    pub(crate) busy: f64,
}

impl Contender<'_> {
    /// Puts it under load for `duration`.
    pub(crate) fn sample(&mut self, duration: Duration) -> Sample {
        let before = self.process.cpu();
        let outcome = self.load.run(self.pace, duration);
        let used = self.process.cpu() - before;
        Sample {
            cpu_us: used.as_secs_f64() * 1e6 / outcome.accepted.max(1) as f64,
            busy: used.as_secs_f64() / outcome.took.as_secs_f64(),
            outcome,
        }
    }
}

/// Every round's sample of each contender, in their order.
pub(crate) struct Rounds {
    samples: Vec<Vec<Sample>>,
}

impl Rounds {
    /// Warms each contender up and measures them in turns. Prints what each did, and whether the load was the limit.
    pub(crate) fn run(effort: &Effort, contenders: &mut [Contender<'_>]) -> Self {
        for contender in &mut *contenders {
            contender.sample(effort.warm_up);
        }
        let mut rounds = Self { samples: Vec::new() };
        for _ in 0..effort.rounds {
            rounds
                .samples
                .push(contenders.iter_mut().map(|contender| contender.sample(effort.round)).collect());
        }
        for (n, contender) in contenders.iter().enumerate() {
            let of = |figure: fn(&Sample) -> f64| rounds.spread(n, figure).median;
            let load = of(|sample| sample.outcome.busy);
            assert!(
                of(|sample| sample.outcome.rate()) > 0.0,
                "{} took nothing in most rounds",
                contender.name
            );
            println!(
                "  {:<28} {:>9.0} requests/s  {:>8.2} µs CPU/request  server {:>3.0} %, load {:>3.0} % of a core, waiting {:>2.0} %{}",
                contender.name,
                of(|sample| sample.outcome.rate()),
                of(|sample| sample.cpu_us),
                of(|sample| sample.busy) * 100.0,
                load * 100.0,
                of(|sample| sample.outcome.waited) * 100.0,
                if load > 0.95 { "  THE LOAD WAS THE LIMIT" } else { "" },
            );
        }
        rounds
    }

    /// A figure of one contender over the rounds.
    pub(crate) fn spread(&self, of: usize, figure: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(|round| figure(&round[of])))
    }

    /// A figure of contender `of` divided by that of contender `by`, round by round.
    pub(crate) fn ratio(&self, of: usize, by: usize, figure: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(|round| figure(&round[of]) / figure(&round[by])))
    }

    /// The sum of a figure of one contender over the rounds.
    pub(crate) fn total(&self, of: usize, figure: impl Fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(|round| figure(&round[of])).sum()
    }

    /// The samples, round by round.
    pub(crate) fn samples(&mut self) -> &mut [Vec<Sample>] {
        &mut self.samples
    }
}

/// Median and range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        Self { median: values[values.len() / 2], low: values[0], high: values[values.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}-{:.2})", self.median, self.low, self.high)
    }
}

impl From<f64> for Spread {
    fn from(value: f64) -> Self {
        Self { median: value, low: value, high: value }
    }
}
