//! Stock clients over a bad line: however often they are cut off, delayed and refused, each ends with exactly the text
//! that there is. The door alone; the whole server is in `restarts`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use runstream::actors::feed::Frame;
use runstream::domain::id::OrgId;
use serde_json::{Value, json};

use super::channel::{Channel, HOUR, an_org, log, transports};
use crate::support::line::Line;
use crate::support::long_mode;
use crate::support::viewers::StockViewers;

/// Text that is hard on encodings.
const HARD: [&str; 6] = [
    "👩‍👩‍👧‍👦 \"quoted\" \\ back\\slash\n",
    "\u{0}\u{1}\u{1e}\u{1f}\u{7f}\u{2028}\r\n",
    "𝒳 日本語 \u{10ffff} e\u{301}",
    "plain text of a line that is a little longer than the others are\n",
    "\u{1b}[31mred\u{1b}[39m",
    "x",
];

/// An organization with runs that print, and what they have printed.
struct Printer {
    org: OrgId,
    name: &'static str,
    texts: BTreeMap<String, String>,
    turn: usize,
}

impl Printer {
    fn new(org: OrgId, name: &'static str) -> Self {
        Self { org, name, texts: BTreeMap::new(), turn: 0 }
    }

    /// Text of one of six runs.
    fn print(&mut self) -> Frame {
        self.turn += 1;
        let task = format!("{}-{}", self.name, self.turn * 7 % 6);
        let text = self.texts.entry(task.clone()).or_default();
        let offset = text.encode_utf16().count() as u64;
        let chunk = HARD[self.turn % HARD.len()].repeat(1 + self.turn % 5);
        text.push_str(&chunk);
        log(&task, offset, &chunk)
    }

    /// A tick of one to five frames.
    fn tick(&mut self, channel: &Channel) {
        let frames: Vec<_> = (0..=self.turn % 5).map(|_| self.print()).collect();
        channel.tick(self.org, &frames);
    }
}

/// Six clients of one token, and one of another organization, through a storm.
async fn kill_matrix(seed: u64) {
    let channel = Channel::open().await;
    let (ours, theirs) = (an_org(), an_org());
    channel.tokens.issue("ours", ours, HOUR);
    channel.tokens.issue("theirs", theirs, HOUR);
    let line = Line::to(channel.address.port(), seed).await;
    let mut wanted = Vec::new();
    for client in ["4.6", "4.8"] {
        for transports in transports() {
            wanted.push(json!({ "client": client, "transports": transports, "token": "ours" }));
        }
    }
    wanted.push(json!({ "token": "theirs" }));
    let mut viewers = StockViewers::start(&line.url, &wanted);
    viewers.until_welcome().await;
    let mut printers = [Printer::new(ours, "ours"), Printer::new(theirs, "theirs")];
    line.storm(true);
    for tick in 0..220 {
        printers[0].tick(&channel);
        if tick % 3 == 0 {
            printers[1].tick(&channel);
        }
        tokio::time::sleep(Duration::from_millis(8)).await;
    }
    line.storm(false);
    let [ours, theirs] = &printers;
    let mut texts: Vec<_> = (0..6).map(|viewer| (viewer, &ours.texts)).collect();
    texts.push((6, &theirs.texts));
    let seen = viewers.until_complete(&texts).await;
    for (viewer, texts) in texts {
        seen[viewer].must_have(texts);
        assert_eq!(
            seen[viewer].recovered + 1,
            seen[viewer].connects,
            "seed {seed}: {:?}",
            seen[viewer].reasons
        );
    }
    let connects: usize = seen.iter().map(|one| one.connects).sum();
    assert!(line.cuts() > 20 && connects > 14, "seed {seed}: {} cuts, {connects} connects", line.cuts());
    println!("seed {seed}: {} cuts, {connects} connects of 7 clients", line.cuts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_clients_over_a_bad_line_end_with_exactly_the_text() {
    let rounds = if long_mode() { 100 } else { 5 };
    // They mostly wait for the weather: several at a time, each with a server and a line of its own.
    stream::iter(1..=rounds).for_each_concurrent(3, kill_matrix).await;
}

/// Each connection is cut after a few more bytes than the one before: within headers, cursors, characters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_at_any_byte_loses_nothing() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let line = Line::to(channel.address.port(), 1).await;
    let mut viewers = StockViewers::start(
        &line.url,
        &[
            json!({ "token": "good", "transports": ["websocket"], "extra": { "reconnectionDelay": 5, "reconnectionDelayMax": 10 } }),
            json!({ "token": "good", "transports": ["polling"], "extra": { "reconnectionDelay": 5, "reconnectionDelayMax": 10 } }),
        ],
    );
    viewers.until_welcome().await;
    let mut printer = Printer::new(org, "run");
    // One merged window that nobody gets whole.
    let frames: Vec<_> = (0..40).map(|_| printer.print()).collect();
    line.cut_after(700);
    line.cut();
    channel.tick(org, &frames);
    // A client on a busy machine is slow to come back: it is cut so often all the same.
    let mut step = 0;
    let begun = Instant::now();
    while step < 60 || viewers.seen().await[0].connects <= 20 {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "after {step} steps the client came back too seldom"
        );
        line.cut_after(701 + step % 60 * 23);
        if step % 6 == 0 {
            printer.tick(&channel);
        }
        step += 1;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    line.cut_after(0);
    line.cut();
    let seen = viewers.until_complete(&[(0, &printer.texts), (1, &printer.texts)]).await;
    for one in &seen {
        one.must_have(&printer.texts);
        assert_eq!(one.recovered + 1, one.connects);
    }
}

/// Large texts wait while the transport changes: the library loses a packet there that it has looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_text_during_the_upgrade_is_not_lost() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let clients = 20;
    let mut viewers = StockViewers::start(
        &format!("http://{}", channel.address),
        &vec![json!({ "token": "good" }); clients],
    );
    let mut texts = BTreeMap::new();
    let text: &mut String = texts.entry("run".to_owned()).or_default();
    // Let in, and in the middle of their upgrades.
    viewers.until_welcome().await;
    for round in 0..5_u8 {
        let chunk = char::from(b'a' + round).to_string().repeat(60_000);
        channel.log(org, "run", text.len() as u64, &chunk);
        text.push_str(&chunk);
    }
    let all: Vec<_> = (0..clients).map(|viewer| (viewer, &texts)).collect();
    let seen = viewers.until_complete(&all).await;
    for one in &seen {
        one.must_have(&texts);
        assert_eq!(one.connects, 1, "{:?}", one.reasons);
    }
    viewers.until("all to be upgraded", |seen| seen.iter().all(|one| one.transport == "websocket")).await;
}

/// Everything that is no recovery works for those who cannot recover.
#[tokio::test]
async fn clients_before_4_6_see_the_same_text_while_they_are_connected() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let mut wanted = Vec::new();
    for client in ["3.1", "4.0", "4.5"] {
        for transports in transports() {
            wanted.push(json!({ "client": client, "transports": transports, "token": "good" }));
        }
    }
    let mut viewers = StockViewers::start(&format!("http://{}", channel.address), &wanted);
    viewers.until_welcome().await;
    let mut printer = Printer::new(org, "run");
    for _ in 0..60 {
        printer.tick(&channel);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let all: Vec<_> = (0..wanted.len()).map(|viewer| (viewer, &printer.texts)).collect();
    for (one, wanted) in viewers.until_complete(&all).await.iter().zip(&wanted) {
        one.must_have(&printer.texts);
        assert_eq!((one.connects, one.recovered), (1, 0), "{wanted}");
    }
}

/// A client whose connection goes again and again before anything was printed, and which goes by itself.
#[tokio::test]
async fn drops_without_text_and_goodbyes_lose_nothing() {
    let channel = Channel::open().await;
    let org = an_org();
    channel.tokens.issue("good", org, HOUR);
    let line = Line::to(channel.address.port(), 1).await;
    let wanted: Vec<Value> = transports()
        .into_iter()
        .map(|transports| json!({ "token": "good", "transports": transports }))
        .collect();
    let mut viewers = StockViewers::start(&line.url, &wanted);
    viewers.until_welcome().await;
    let mut printer = Printer::new(org, "run");
    for drop in 1..=3 {
        // Nobody has had an event yet: the first text is printed while all are away.
        line.refuse(drop == 2);
        // A cut that falls between two polls touches nothing of a client, which goes on as if nothing had been.
        viewers
            .until("all to have lost their connection", |seen| {
                let lost = seen.iter().all(|one| one.reasons.len() >= drop);
                if !lost {
                    line.cut();
                }
                lost
            })
            .await;
        if drop == 2 {
            viewers.until("all to be away", |seen| seen.iter().all(|one| !one.connected)).await;
            printer.tick(&channel);
            line.refuse(false);
        }
        viewers
            .until("all to be back", |seen| seen.iter().all(|one| one.connected && one.welcomes > drop))
            .await;
    }
    for viewer in 0..wanted.len() {
        viewers.order(viewer, json!({ "do": "disconnect" })).await;
    }
    viewers.until("all to be away", |seen| seen.iter().all(|one| !one.connected)).await;
    printer.tick(&channel);
    for viewer in 0..wanted.len() {
        viewers.order(viewer, json!({ "do": "connect" })).await;
    }
    let all: Vec<_> = (0..wanted.len()).map(|viewer| (viewer, &printer.texts)).collect();
    for one in viewers.until_complete(&all).await {
        one.must_have(&printer.texts);
        assert_eq!(one.recovered + 1, one.connects);
    }
}
