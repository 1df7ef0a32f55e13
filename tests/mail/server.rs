//! The mail server of the tests.

use std::path::PathBuf;
use std::time::Duration;

use runstream::outbound::mail::{MailSettings, MailTls};
use runstream::store::scylla::Password;
use serde_json::{Value, json};

use crate::support::node::Script;

/// A mail server in a process of its own.
pub(super) struct MailServer {
    script: Script,
    pub(super) port: u16,
    options: Value,
}

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mail").join(name)
}

impl MailServer {
    /// One that takes everything, in the clear.
    pub(super) async fn start() -> Self {
        Self::start_with(json!({ "secure": "none" })).await
    }

    /// See `mail.mjs` for the options.
    pub(super) async fn start_with(mut options: Value) -> Self {
        if options["secure"] != "none" {
            options["key"] = json!(std::fs::read_to_string(fixture("server.key")).unwrap());
            options["certificate"] = json!(std::fs::read_to_string(fixture("server.pem")).unwrap());
        }
        let mut script = Script::start("mail.mjs", &options);
        let started = script.until_event("started", 1).await;
        let port = u16::try_from(started["port"].as_u64().unwrap()).unwrap();
        Self { script, port, options }
    }

    /// Settings that reach it as it wants to be reached.
    pub(super) fn settings(&self) -> MailSettings {
        let tls = match self.options["secure"].as_str().unwrap() {
            "implicit" => MailTls::Implicit,
            "starttls" => MailTls::StartTls,
            _ => MailTls::None,
        };
        let text = |name: &str| self.options[name].as_str().map(ToOwned::to_owned);
        MailSettings {
            host: Some("localhost".into()),
            port: self.port,
            tls,
            tls_authorities: (tls != MailTls::None).then(|| fixture("authority.pem")),
            user: text("user"),
            password: text("password").map(Password),
            from: Some("runs@pinewood.test".parse().unwrap()),
            from_name: "Runs of Pinewood".into(),
            dashboard_url: Some("https://runs.pinewood.test".into()),
            timeout: Duration::from_secs(10),
        }
    }

    /// From now on it answers so.
    pub(super) async fn answer(&mut self, how: &str) {
        let times = self.count("done") + 1;
        self.script.order(json!({ "do": "answer", "how": how })).await;
        self.script.until_event("done", times).await;
    }

    /// The `times`-th mail since it started.
    pub(super) async fn mail(&mut self, times: usize) -> Value {
        self.script.until_event("mail", times).await
    }

    /// The mails so far, as far as was read.
    pub(super) fn mails(&self) -> Vec<Value> {
        self.script.said.iter().filter(|line| line["event"] == "mail").cloned().collect()
    }

    /// Waits until it has said `event` so often.
    pub(super) async fn until(&mut self, event: &str, times: usize) -> Value {
        self.script.until_event(event, times).await
    }

    /// How often it has said `event`, as far as was read.
    pub(super) fn count(&self, event: &str) -> usize {
        self.script.said.iter().filter(|line| line["event"] == event).count()
    }

    /// Reads what it said meanwhile.
    pub(super) async fn listen(&mut self) {
        self.script.listen(Duration::from_millis(200)).await;
    }
}
