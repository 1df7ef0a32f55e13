//! What happens after a run has become final and its teardown has been answered: a named pipeline of steps. A step runs
//! once per closure, in order, never delays the answer, and a step that fails is logged and does not stop the next.
//! Root-cause analysis, notifications and test metrics take their place here, in this order, before the folding that
//! ends a run's time in memory. Source: API reference, ingest 4, processing order 7.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::execution::Execution;
use crate::store::contract::ClosedRun;

/// A run that has become final.
#[derive(Debug, Clone)]
pub struct FinishedRun {
    /// The run, with its final status.
    pub execution: Arc<Execution>,
    /// How it was closed.
    pub closed: Arc<ClosedRun>,
}

/// One step of the pipeline.
#[async_trait]
pub trait FinishStep: Send + Sync + 'static {
    /// Its name, for logs and metrics.
    fn name(&self) -> &'static str;

    /// Does it. Safe to run twice: a crash may repeat it.
    ///
    /// # Errors
    /// A text for the log.
    async fn run(&self, finished: &FinishedRun) -> Result<(), String>;
}

/// The steps, in order.
#[derive(Clone, Default)]
pub struct FinishPipeline {
    steps: Vec<Arc<dyn FinishStep>>,
}

impl FinishPipeline {
    /// A pipeline of these steps, in this order.
    #[must_use]
    pub fn new(steps: Vec<Arc<dyn FinishStep>>) -> Self {
        Self { steps }
    }

    /// Runs all steps.
    pub(super) async fn run(&self, finished: &FinishedRun) {
        for step in &self.steps {
            let started = std::time::Instant::now();
            let outcome = step.run(finished).await;
            metrics::histogram!(crate::telemetry::name::FINISH_STEP_SECONDS, "step" => step.name())
                .record(started.elapsed().as_secs_f64());
            if let Err(error) = outcome {
                tracing::warn!(step = step.name(), execution.id = %finished.execution.id, error, "finish step failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::actors::tests::fixtures as testing;

    struct Step(&'static str, Result<(), String>, Arc<Mutex<Vec<&'static str>>>);

    #[async_trait]
    impl FinishStep for Step {
        fn name(&self) -> &'static str {
            self.0
        }

        async fn run(&self, _finished: &FinishedRun) -> Result<(), String> {
            self.2.lock().unwrap().push(self.0);
            self.1.clone()
        }
    }

    #[tokio::test]
    async fn a_failed_step_does_not_stop_the_next() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let step = |name, outcome| Arc::new(Step(name, outcome, Arc::clone(&order))) as Arc<dyn FinishStep>;
        let pipeline = FinishPipeline::new(vec![step("first", Err("no".into())), step("second", Ok(()))]);
        pipeline.run(&testing::finished_run()).await;
        assert_eq!(*order.lock().unwrap(), ["first", "second"]);
    }
}
