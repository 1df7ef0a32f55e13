//! A run's log text, whole and in parts. Offsets are UTF-16 units. Source: API reference, executions 3.7, ingest 5; the
//! range is an addition of this product.

use serde_json::{Value, json};

use crate::support::stage::{Organization, Run, Stage, get, log, try_get};

async fn logs(organization: &Organization, run: &Run, query: &str) -> Value {
    get(&organization.member, &run.path(&format!("/logs{query}"))).await["data"].clone()
}

/// The text from `from` on as a JavaScript client would cut it, moved to the start of a character.
fn expected(text: &str, from: usize) -> (String, usize) {
    let mut offset = 0;
    for (at, character) in text.char_indices() {
        if offset + character.len_utf16() > from {
            return (text[at..].to_owned(), offset);
        }
        offset += character.len_utf16();
    }
    (String::new(), offset)
}

#[tokio::test]
async fn the_whole_text_and_every_part_of_it() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    assert_eq!(logs(&organization, &run, "").await, json!({"output": "", "length": 0}));
    assert_eq!(
        logs(&organization, &run, "?from=0").await,
        json!({"output": "", "from": 0, "next": 0, "length": 0})
    );
    run.send(json!([log("a🕯b"), log("\u{1b}[31mé手\u{1b}[39m\n"), log(""), log("🕯🕯\0")])).await;
    let text = "a🕯b\n\u{1b}[31mé手\u{1b}[39m\n\n🕯🕯\0\n";
    let length = text.encode_utf16().count();

    for over in [false, true] {
        assert_eq!(
            logs(&organization, &run, "").await,
            json!({"output": text, "length": length}),
            "over: {over}"
        );
        for from in 0..=length + 2 {
            let (wanted, start) = expected(text, from);
            let part = logs(&organization, &run, &format!("?from={from}")).await;
            assert_eq!(
                part,
                json!({"output": wanted, "from": start, "next": length, "length": length}),
                "from {from}"
            );
        }
        for limit in 1..=length {
            let (mut joined, mut from) = (String::new(), 0);
            while from < length {
                let part = logs(&organization, &run, &format!("?from={from}&limit={limit}")).await;
                assert_eq!(part["from"], from, "parts join");
                joined.push_str(part["output"].as_str().unwrap());
                let next = usize::try_from(part["next"].as_u64().unwrap()).unwrap();
                assert_eq!(next - from, part["output"].as_str().unwrap().encode_utf16().count());
                assert!(next > from, "no progress at {from} with limit {limit}");
                from = next;
            }
            assert_eq!(joined, text, "limit {limit}");
        }
        run.end("PASSED").await;
    }
    assert_eq!(
        logs(&organization, &run, "?limit=3").await["from"],
        0,
        "a limit alone asks for a part as well"
    );
}

#[tokio::test]
async fn an_offset_that_is_none_is_named_and_a_limit_is_clamped() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    run.log("0123456789").await;
    for from in ["-1", "1.5", "ten", "99999999999999999999", "1e3"] {
        let refused = try_get(&organization.member, &run.path(&format!("/logs?from={from}"))).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["error"]),
            (400, &json!("Invalid from")),
            "{from}"
        );
    }
    for (limit, output) in
        [("0", "0"), ("-4", "0"), ("4", "0123"), ("ten", "0123456789\n"), ("999999999999", "0123456789\n")]
    {
        assert_eq!(
            logs(&organization, &run, &format!("?from=0&limit={limit}")).await["output"],
            output,
            "{limit}"
        );
    }
}

#[tokio::test]
async fn beyond_the_cap_the_middle_is_gone_and_offsets_stay() {
    let stage = Stage::start().await;
    let organization = stage.organization("rosa").await;
    let run = organization.open().await;
    // 13 chunks of 1 MiB less one: each line is whole, and each chunk names itself.
    let chunk = |n: u8| char::from(b'a' + n).to_string().repeat((1 << 20) - 1);
    for n in 0..13 {
        run.log(&chunk(n)).await;
    }
    let sent: String = (0..13).map(|n| chunk(n) + "\n").collect();
    for over in [false, true] {
        let whole = logs(&organization, &run, "").await;
        let kept = whole["output"].as_str().unwrap();
        assert_eq!(whole["length"], sent.len(), "over: {over}");
        let (head, tail) = kept.split_once("[LOG TRUNCATED]\n").unwrap();
        assert_eq!((head.len(), tail.len()), (1 << 20, 9 << 20));
        assert!(sent.starts_with(head) && sent.ends_with(tail), "what is kept is what was sent");

        // Page by page the same text comes, with one step over the gap.
        let (mut from, mut parts, mut gaps) = (0, String::new(), Vec::new());
        loop {
            let part = logs(&organization, &run, &format!("?from={from}&limit=1048576")).await;
            let start = usize::try_from(part["from"].as_u64().unwrap()).unwrap();
            if start > from {
                gaps.push(start - from);
            }
            parts.push_str(part["output"].as_str().unwrap());
            let next = usize::try_from(part["next"].as_u64().unwrap()).unwrap();
            if next == from {
                break;
            }
            from = next;
        }
        assert_eq!(from, sent.len());
        assert_eq!(gaps, [3 << 20], "one gap of what is not kept");
        assert_eq!(parts.len(), 10 << 20);
        assert!(parts.starts_with(head) && parts.ends_with(tail));
        let completeness = get(&organization.member, &run.path("/completeness")).await["data"].clone();
        assert_eq!(completeness["logCapHit"], true, "{completeness}");
        run.end("PASSED").await;
    }
}
