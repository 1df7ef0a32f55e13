//! The door behind the whole server: its answers carry what all answers carry, and what is no request never reaches it.

use runstream::config::Settings;
use runstream::server::{RunningServer, Seams, Server};
use serde_json::{Value, json};

use super::site::{Run, log, teardown};
use super::wire::{Answer, Wire};

/// A server with somebody who may send runs.
struct Whole {
    server: RunningServer,
    token: String,
    key: String,
    project: String,
    _folder: tempfile::TempDir,
}

impl Whole {
    async fn start(base_path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings { data_folder: folder.path().join("data"), ..Settings::default() };
        settings.server.port = 0;
        settings.server.base_path = base_path.to_owned();
        let server = Server::start(settings, Seams::default()).await.unwrap();
        let mut whole = Self {
            server,
            token: String::new(),
            key: String::new(),
            project: String::new(),
            _folder: folder,
        };
        let person = json!({ "email": "rosa@pinewood.test", "password": "correct-Horse-7-battery!", "name": "Rosa",
                             "organizationName": "Pinewood Labs" });
        let made = whole.call(base_path, "POST", "/api/auth/signup", "", Some(&person)).await;
        whole.token = format!(
            "authorization: Bearer {}\r\n",
            made.body["token"].as_str().unwrap_or_else(|| panic!("{made:?}"))
        );
        let key = whole
            .call(base_path, "POST", "/api/auth/api-keys", &whole.token, Some(&json!({ "name": "ci" })))
            .await;
        let text = key.body.to_string();
        let start = text.find("pk_live_").unwrap_or_else(|| panic!("no key in {text}"));
        whole.key = format!("x-api-key: {}\r\n", text[start..].split('"').next().unwrap());
        let project = json!({ "name": "Web Shop" });
        let made = whole.call(base_path, "POST", "/api/projects", &whole.token, Some(&project)).await;
        whole.project = made.body["project"]["id"].as_str().unwrap().to_owned();
        whole
    }

    async fn connect(&self) -> Wire {
        Wire::connect(self.server.address()).await
    }

    async fn call(
        &self,
        base: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mut wire = self.connect().await;
        let body = body.map_or(String::new(), Value::to_string);
        let request = format!(
            "{method} {base}{path} HTTP/1.1\r\nhost: ci.test\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.send(request.as_bytes()).await;
        wire.answer().await
    }

    async fn set_up(&self, base: &str) -> (Run, Answer) {
        let setup = json!({ "projectId": self.project, "framework": "jest", "reporterVersion": "1", "totalTests": 1 });
        let answer = self.call(base, "POST", "/api/ingest/setup", &self.key, Some(&setup)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let data = &answer.body["data"];
        let run = Run {
            session: data["sessionId"].as_str().unwrap().to_owned(),
            task: data["taskId"].as_str().unwrap().into(),
        };
        (run, answer)
    }

    async fn log(&self, base: &str, run: &Run) -> String {
        let path = format!("/api/executions/{}/logs", run.task);
        let answer = self.call(base, "GET", &path, &self.token, None).await;
        answer.body["data"]["output"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    }
}

#[tokio::test]
async fn a_run_goes_through_the_whole_server_below_a_path() {
    let whole = Whole::start("/ci").await;
    let (run, answer) = whole.set_up("/ci").await;
    assert_eq!(answer.body["data"]["url"], format!("http://ci.test/ci/ui/runs/{}", run.task));
    let batch = json!({ "sessionId": run.session, "events": [log("seen by all")] });
    let answer = whole.call("/ci", "POST", "/api/ingest/event", &whole.key, Some(&batch)).await;
    answer.accepted();
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-ratelimit-limit"), Some("500"));
    assert_eq!(whole.log("/ci", &run).await, "seen by all\n");
    let ended =
        whole.call("/ci", "POST", "/api/ingest/teardown", &whole.key, Some(&teardown(&run, "PASSED"))).await;
    assert_eq!((ended.status, &ended.body["status"]), (200, &json!("PASSED")));
    // Outside of the path there is nothing.
    whole.call("", "POST", "/api/ingest/event", &whole.key, Some(&batch)).await.refused(404, "Not Found");
    whole.server.shut_down().await.unwrap();
}

/// A body that is on its way for seconds, as over a slow line, is read to its end before the refusal is sent: whoever
/// sends first and reads then would else find a broken connection.
#[tokio::test]
async fn a_refused_client_on_a_slow_line_sees_why_and_keeps_its_connection() {
    let whole = Whole::start("").await;
    let slowly = async |path: &str| {
        let mut wire = whole.connect().await;
        let piece = vec![b'x'; 40_000];
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer nonsense\r\n\
             content-length: {}\r\n\r\n",
            7 * piece.len()
        );
        wire.send(head.as_bytes()).await;
        for _ in 0..7 {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            wire.send(&piece).await;
        }
        wire.answer().await.refused(401, "Invalid token");
        wire.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 200, "{path}");
    };
    tokio::join!(slowly("/api/ingest/event"), slowly("/api/projects"));
    whole.server.shut_down().await.unwrap();
}

/// Heads that a proxy in front and this server might read differently, or that are no heads at all.
#[tokio::test]
async fn nothing_is_smuggled_through_the_whole_server() {
    let whole = Whole::start("").await;
    let (run, _) = whole.set_up("").await;
    let inner = json!({ "sessionId": run.session, "events": [log("smuggled")] }).to_string();
    let head = format!(
        "POST /api/ingest/event HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{}",
        whole.key
    );
    let hidden = format!("{head}content-length: {}\r\n\r\n{inner}", inner.len());
    let flood = (0..500).map(|n| format!("x-flood-{n}: y\r\n")).collect::<String>();
    let long = format!("x-long: {}\r\n", "y".repeat(200_000));
    for framing in [
        // A length and chunks: the proxy may have gone by the length.
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", hidden.len() + 5),
        format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n\r\n0\r\n\r\n", hidden.len() + 5),
        "content-length: 2\r\ncontent-length: 0\r\n\r\n{}".to_owned(),
        "content-length: 2, 0\r\n\r\n{}".to_owned(),
        "content-length: -2\r\n\r\n{}".to_owned(),
        "content-length : 2\r\n\r\n{}".to_owned(),
        "transfer-encoding: xchunked\r\n\r\n{}".to_owned(),
        "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n".to_owned(),
        "transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n{}".to_owned(),
        "x y: 1\r\n\r\n".to_owned(),
        format!("{flood}content-length: 2\r\n\r\n{{}}"),
        format!("{long}content-length: 2\r\n\r\n{{}}"),
    ] {
        let mut wire = whole.connect().await;
        wire.send(format!("{head}{framing}{hidden}").as_bytes()).await;
        wire.finish().await;
        let answers = wire.rest().await;
        let shown: String = framing.chars().take(60).collect();
        assert!(!answers.contains("HTTP/1.1 200") && !answers.contains("HTTP/1.1 5"), "{shown:?}: {answers}");
    }
    assert_eq!(whole.log("", &run).await, "");
    let answer = whole
        .call("", "POST", "/api/ingest/event", &whole.key, Some(&serde_json::from_str(&inner).unwrap()))
        .await;
    answer.accepted();
    whole.server.shut_down().await.unwrap();
}
