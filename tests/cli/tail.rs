//! `runstream tail` against a server that behaves as badly as a network can: cuts anywhere, refusals, silence.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use runstream::cli::client::Client;
use runstream::cli::tail::{Tail, TailArgs, TailError, with_credential};
use runstream::clock::{Clock, Sleep, SystemClock, UnixMs};
use runstream::dial::TcpDial;
use runstream::domain::execution::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::stage::Stage;

/// Pauses between attempts pass at once; the deadline for silence never comes.
struct Hasty;

impl Clock for Hasty {
    fn now_ms(&self) -> UnixMs {
        0
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        if duration > Duration::from_secs(30) {
            return Box::pin(std::future::pending());
        }
        Box::pin(tokio::task::yield_now())
    }
}

/// What the server does with one request for the live stream.
#[derive(Debug, Clone)]
enum Turn {
    /// Sends so many bytes of the right answer, then closes the connection.
    Cut(usize),
    /// Refuses for now.
    Away(u16),
    /// Closes without a word.
    Hangup,
}

#[derive(Debug, Clone)]
struct Script {
    text: String,
    /// UTF-16 units from which on text is sent in pages of this size.
    page: usize,
    turns: Vec<Turn>,
}

/// A server that follows the script, then behaves.
struct Stub {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

async fn serve(script: Script) -> Stub {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        let turn = AtomicUsize::new(0);
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, &script, &turn, &seen).await;
        }
    });
    Stub { url, asked }
}

async fn answer(mut stream: TcpStream, script: &Script, turn: &AtomicUsize, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    seen.lock()
        .unwrap()
        .push(head.lines().filter(|line| !line.starts_with("host")).collect::<Vec<_>>().join("|"));
    let json = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let Some((_, from)) = target.split_once("/live?from=") else {
        let body = if target.contains("limit=1") {
            r#"{"success":true,"data":{"executions":[{"taskId":"newest run"}]}}"#
        } else {
            r#"{"success":false,"error":"Execution not found","message":"no"}"#
        };
        let status = if target.contains("limit=1") { 200 } else { 404 };
        let _ = stream.write_all(json(status, body).as_bytes()).await;
        return;
    };
    let whole = events(script, from.parse().unwrap());
    let script = script.turns.get(turn.fetch_add(1, Ordering::Relaxed));
    let bytes = match script {
        Some(Turn::Hangup) => return,
        Some(Turn::Away(status)) => {
            json(*status, r#"{"success":false,"error":"Busy","message":"later"}"#).into_bytes()
        }
        Some(Turn::Cut(bytes)) => whole.into_bytes().into_iter().take(*bytes).collect(),
        None => whole.into_bytes(),
    };
    let _ = stream.write_all(&bytes).await;
}

/// The right answer: the text from `from` on, page by page, and the end.
fn events(script: &Script, from: usize) -> String {
    let mut answer =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\nretry: 1000\n\n"
            .to_owned();
    let (mut offset, mut page) = (0, String::new());
    let mut pages = Vec::new();
    for character in script.text.chars() {
        if offset >= from {
            page.push(character);
        }
        offset += character.len_utf16();
        if page.encode_utf16().count() >= script.page {
            pages.push((offset, std::mem::take(&mut page)));
        }
    }
    pages.push((offset, page));
    for (end, text) in pages.into_iter().filter(|(_, text)| !text.is_empty()) {
        let start = end - text.encode_utf16().count();
        let data = serde_json::json!({ "taskId": "t", "log": text, "offset": start });
        answer += &format!("event: log\nid: {end}\ndata: {data}\n\n: still here\n\n");
    }
    answer
        + "event: status\ndata: {\"taskId\":\"t\",\"status\":\"FAILED\"}\n\nevent: end\ndata: {\"taskId\":\"t\",\"status\":\"FAILED\"}\n\n"
}

fn args(url: &str, task_id: Option<&str>) -> TailArgs {
    TailArgs {
        task_id: task_id.map(str::to_owned),
        url: url.to_owned(),
        key: Some("pk_live_x".into()),
        token: None,
        from: 0,
        no_follow: false,
    }
}

async fn tail(args: &TailArgs) -> (Result<Option<Status>, TailError>, String, String) {
    let dial = Arc::new(TcpDial { timeout: Duration::from_secs(5) });
    let client = with_credential(Client::new(dial, &args.url).unwrap(), args).unwrap();
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let tail = Tail { client: &client, clock: &Hasty, out: &mut out, notes: &mut notes };
    let status = tail.run(args).await;
    (status, String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => (0_usize..3_000).prop_map(Turn::Cut),
        1 => prop_oneof![Just(503), Just(502), Just(429), Just(500)].prop_map(Turn::Away),
        1 => Just(Turn::Hangup),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_character_is_printed_once_wherever_the_stream_is_cut(
        text in "([a-z ]{0,20}|[\u{1b}\\[0-9m]{3}|[🕯é手]{1,3}|\n|\"){0,60}",
        page in 1_usize..40,
        turns in proptest::collection::vec(turn(), 0..12),
    ) {
        let script = Script { text: text.clone(), page, turns };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (status, out, notes) = runtime.block_on(async {
            let stub = serve(script).await;
            tail(&args(&stub.url, Some("t"))).await
        });
        prop_assert_eq!(status.unwrap(), Some(Status::Failed), "{}", notes);
        prop_assert_eq!(out, text);
    }
}

#[tokio::test]
async fn it_comes_back_with_its_offset_and_its_key() {
    let script = Script { text: "one\ntwo\n".into(), page: 4, turns: vec![Turn::Cut(220), Turn::Away(503)] };
    let stub = serve(script).await;
    let (_, out, notes) = tail(&args(&stub.url, None)).await;
    assert_eq!(out, "one\ntwo\n");
    let asked = stub.asked.lock().unwrap();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[0].contains("/api/executions?limit=1"), "{}", asked[0]);
    assert!(asked[1].contains("/api/executions/newest%20run/live?from=0 "), "{}", asked[1]);
    assert!(asked[3].contains("/live?from=4 "), "{}", asked[3]);
    assert!(asked.iter().all(|head| head.contains("x-api-key: pk_live_x")), "{asked:?}");
    assert!(notes.contains("following newest run") && notes.contains("trying again"), "{notes}");
}

#[tokio::test]
async fn a_refusal_ends_it() {
    let stub = serve(Script { text: String::new(), page: 1, turns: vec![Turn::Away(404)] }).await;
    let (status, ..) = tail(&args(&stub.url, Some("t"))).await;
    assert!(matches!(&status, Err(TailError::Refused { error, .. }) if error == "Busy"), "{status:?}");
    let (status, ..) = tail(&TailArgs { no_follow: true, ..args(&stub.url, Some("t")) }).await;
    assert!(
        matches!(&status, Err(TailError::Refused { error, .. }) if error == "Execution not found"),
        "{status:?}"
    );
}

#[test]
fn without_a_credential_it_says_what_to_give() {
    let dial = Arc::new(TcpDial { timeout: Duration::from_secs(5) });
    let client = Client::new(dial, "http://localhost:1").unwrap();
    let args = TailArgs { key: None, ..args("http://localhost:1", None) };
    let refused = with_credential(client, &args).err().unwrap();
    assert!(refused.to_string().contains("RUNSTREAM_API_KEY"), "{refused}");
}

/// Standard output that a test can look into while the command runs.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    async fn until(&self, wanted: &str) {
        for _ in 0..3_000 {
            if self.text() == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?} is not {wanted:?}", self.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_a_real_run_over_a_restart_of_the_server() {
    let mut stage = Stage::start_with(Arc::new(SystemClock), |settings| {
        settings.engine.late_events = Duration::from_millis(300);
    })
    .await;
    let organization = stage.organization("rosa").await;
    let (out, notes) = (Shared::default(), Shared::default());
    let following = tokio::spawn({
        let args = TailArgs { key: Some(organization.key.clone()), ..args(&stage.url(), None) };
        let (mut out, mut notes) = (out.clone(), notes.clone());
        async move {
            let dial = Arc::new(TcpDial { timeout: Duration::from_secs(5) });
            let client = with_credential(Client::new(dial, &args.url).unwrap(), &args).unwrap();
            let tail = Tail { client: &client, clock: &SystemClock, out: &mut out, notes: &mut notes };
            tail.run(&args).await.unwrap()
        }
    });
    // There is no run yet: it waits for the first.
    notes.until("no run yet, waiting for the first\n").await;
    let run = organization.open().await;
    run.log("\u{1b}[31mred\u{1b}[39m 🕯").await;
    out.until("\u{1b}[31mred\u{1b}[39m 🕯\n").await;
    stage.restart().await;
    run.log("after the restart").await;
    out.until("\u{1b}[31mred\u{1b}[39m 🕯\nafter the restart\n").await;
    run.end("FAILED").await;
    assert_eq!(following.await.unwrap(), Some(Status::Failed));
    assert_eq!(out.text(), "\u{1b}[31mred\u{1b}[39m 🕯\nafter the restart\n");
    assert!(notes.text().contains(&format!("following {}\n", run.task)), "{}", notes.text());

    let stored = TailArgs {
        key: Some(organization.key.clone()),
        no_follow: true,
        from: 13,
        ..args(&stage.url(), Some(&run.task))
    };
    let (status, printed, _) = tail(&stored).await;
    assert_eq!((status.unwrap(), printed.as_str()), (Some(Status::Failed), " 🕯\nafter the restart\n"));
}
