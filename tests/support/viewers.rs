//! Stock clients that only append what they get (`viewers.mjs`), and what they have in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::node::Script;

/// Nothing takes this long, unless it is broken or the machine is badly overloaded.
const PATIENCE: Duration = Duration::from_secs(60);

/// Several of them in one program.
pub(crate) struct StockViewers {
    script: Script,
}

/// What one of them has seen.
#[derive(Debug, Deserialize)]
pub(crate) struct Seen {
    /// The text of each run, or its length.
    pub(crate) outputs: BTreeMap<String, Value>,
    /// The last status of each run.
    pub(crate) statuses: BTreeMap<String, Value>,
    /// Events that no dashboard knows.
    pub(crate) unknown: Vec<String>,
    /// Why it was disconnected, each time.
    pub(crate) reasons: Vec<String>,
    pub(crate) connects: usize,
    /// How many of these say that nothing was missed.
    pub(crate) recovered: usize,
    /// `auth-success`.
    pub(crate) welcomes: usize,
    /// `auth-error`.
    pub(crate) refusals: usize,
    pub(crate) connected: bool,
    /// What it uses now.
    pub(crate) transport: String,
}

impl StockViewers {
    /// Starts them; `viewers` are those of `viewers.mjs`.
    pub(crate) fn start(url: &str, viewers: &[Value]) -> Self {
        Self::of_script("viewers.mjs", &json!({ "url": url, "viewers": viewers }))
    }

    /// Starts those of another program that takes the same orders.
    pub(crate) fn of_script(script: &str, options: &Value) -> Self {
        Self { script: Script::start(script, options) }
    }

    /// Gives an order to one of them.
    pub(crate) async fn order(&mut self, viewer: usize, mut order: Value) {
        order["viewer"] = json!(viewer);
        self.script.said.clear();
        self.script.order(order).await;
        self.script.until_event("done", 1).await;
    }

    /// What they have now.
    pub(crate) async fn seen(&mut self) -> Vec<Seen> {
        self.ask("report").await
    }

    async fn ask(&mut self, what: &str) -> Vec<Seen> {
        self.script.said.clear();
        self.script.order(json!({ "do": what })).await;
        let mut report = self.script.until_event(what, 1).await;
        serde_json::from_value(report["viewers"].take()).unwrap()
    }

    /// Waits until `wanted` is true of what they have; lengths stand for texts.
    pub(crate) async fn until(&mut self, what: &str, mut wanted: impl FnMut(&[Seen]) -> bool) {
        let begun = Instant::now();
        loop {
            let seen = self.ask("lengths").await;
            if wanted(&seen) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    /// Waits until all have been let in.
    pub(crate) async fn until_welcome(&mut self) {
        self.until("all to be let in", |seen| seen.iter().all(|one| one.welcomes > 0)).await;
    }

    /// Waits until each of them has at least as much of each text as it should, and returns what they have then.
    pub(crate) async fn until_complete(&mut self, texts: &[(usize, &BTreeMap<String, String>)]) -> Vec<Seen> {
        let units = |text: &str| text.encode_utf16().count() as u64;
        self.until("all text", |seen| {
            texts.iter().all(|(viewer, texts)| {
                texts.iter().all(|(task, text)| {
                    seen[*viewer].outputs.get(task).and_then(Value::as_u64).unwrap_or(0) >= units(text)
                })
            })
        })
        .await;
        // Whatever would come twice has a moment to come.
        tokio::time::sleep(Duration::from_millis(150)).await;
        self.seen().await
    }
}

impl Seen {
    /// Compares with what there is, character by character.
    ///
    /// # Panics
    /// If anything is missing, repeated or foreign.
    pub(crate) fn must_have(&self, texts: &BTreeMap<String, String>) {
        assert!(self.unknown.is_empty(), "events that nobody knows: {:?}", self.unknown);
        let tasks: Vec<_> = self.outputs.keys().collect();
        assert_eq!(tasks, texts.keys().collect::<Vec<_>>(), "the runs it has seen");
        for (task, text) in texts {
            let seen = self.outputs[task].as_str().unwrap();
            if seen != text {
                let same = seen.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
                let counts = (seen.len(), text.len(), self.connects, self.recovered);
                panic!(
                    "{task} differs from byte {same} on; bytes seen and there, connects, recovered: {counts:?}"
                );
            }
        }
    }
}
