//! What bodies become, and what every kind of bad input becomes.

use serde_json::{Value, json};

use super::*;
use crate::domain::batch::{Item, Stream, TestStatus};
use crate::domain::execution::Status;
use crate::domain::text::utf16_len;

mod properties;

const SESSION: &str = "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6";
const NOW: UnixMs = 1_774_000_000_999;

fn parse(body: &[u8]) -> Result<EventRequest, ParseError> {
    events(&[Bytes::copy_from_slice(body)], NOW)
}

fn batch_of(events: &[Value]) -> EventRequest {
    let body = json!({ "sessionId": SESSION, "events": events }).to_string();
    parse(body.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {body}"))
}

/// The batch of one event that has to be accepted, and whether it was cut.
fn accepted(event: Value) -> (Batch, bool) {
    let request = batch_of(std::slice::from_ref(&event));
    assert_eq!((request.batch.rejected, &request.findings), (0, &vec![]), "{event}");
    let cut = request.batch.truncated == 1;
    (request.batch, cut)
}

fn rejected(event: Value, field: &str) {
    let request = batch_of(std::slice::from_ref(&event));
    let fields: Vec<_> = request.findings.iter().map(|finding| finding.field.clone()).collect();
    assert_eq!((request.batch.rejected, fields), (1, vec![format!("events[0]{field}")]), "{event}");
    assert_eq!((request.batch.text.len(), request.batch.strings.len(), request.batch.items.len()), (0, 0, 0));
}

fn only(batch: &Batch) -> Item {
    assert_eq!(batch.items.len(), 1, "{batch:?}");
    batch.items[0]
}

fn log(chunk: &str) -> Value {
    json!({ "type": "log", "chunk": chunk, "timestamp": 1 })
}

fn end() -> Value {
    json!({ "type": "test-end", "testId": "8c-5e", "status": "failed", "duration": 4211, "timestamp": 1_774_000_000_123i64 })
}

fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

fn without(mut event: Value, field: &str) -> Value {
    event.as_object_mut().unwrap().remove(field);
    event
}

#[test]
fn the_contracts_example_reads_as_shown() {
    let id = "8c1f0a7be2d94c30aa11-5e7d90b3c2f14a68d0e2";
    let request = batch_of(&[
        json!({ "type": "test-begin", "testId": id, "title": " › chromium › cart.spec.ts › adds an item",
                "file": "cart.spec.ts", "timestamp": 1 }),
        json!({ "type": "log", "testId": id, "chunk": "cart total is 3\n", "timestamp": 2, "stream": "stdout" }),
        json!({ "type": "test-end", "testId": id, "status": "failed", "duration": 4211, "timestamp": 3,
                "error": "expect(received).toBe(expected)" }),
        json!({ "type": "test-end", "testId": id, "status": "passed", "duration": 1987, "timestamp": 4 }),
        json!({ "type": "status", "status": "ANALYZING", "timestamp": 5 }),
    ]);
    assert_eq!(
        request.batch.text(),
        "▶ RUNNING   › chromium › cart.spec.ts › adds an item\n\
         cart total is 3\n\
         ✘ FAILED   8c1f0a7be2d94c30aa11-5e7d90b3c2f14a68d0e2 (4211ms)\n\
         \u{20}\u{20}Error: expect(received).toBe(expected)\n\
         ✔ PASSED   8c1f0a7be2d94c30aa11-5e7d90b3c2f14a68d0e2 (1987ms)\n"
    );
    let batch = &request.batch;
    assert_eq!(batch.text_units, utf16_len(batch.text()));
    assert_eq!((batch.received, batch.truncated, batch.rejected), (5, 0, 0));
    let [begin, text, failed, passed, status] = batch.items[..] else { panic!("{batch:?}") };
    let Item::Begin { test, title, file, timestamp_ms: 1, text_end } = begin else { panic!("{begin:?}") };
    assert_eq!((batch.str(test), batch.str(file)), (id, "cart.spec.ts"));
    assert_eq!(batch.str(title), " › chromium › cart.spec.ts › adds an item");
    assert_eq!(&batch.text()[..text_end as usize], "▶ RUNNING   › chromium › cart.spec.ts › adds an item\n");
    let Item::Log { test: Some(log_test), stream: Some(Stream::Stdout), .. } = text else {
        panic!("{text:?}")
    };
    let Item::End {
        test: failed_test,
        status: TestStatus::Failed,
        duration_ms: 4211,
        error: Some(error),
        ..
    } = failed
    else {
        panic!("{failed:?}")
    };
    assert_eq!(batch.str(error), "expect(received).toBe(expected)");
    let Item::End { test: passed_test, error: None, timestamp_ms: 4, recorded: true, text_end, .. } = passed
    else {
        panic!("{passed:?}")
    };
    assert_eq!(text_end as usize, batch.text.len());
    // One copy of the id serves all events of the test.
    assert_eq!([log_test, failed_test, passed_test], [test; 3]);
    assert_eq!(status, Item::Status { status: Status::Analyzing, timestamp_ms: 5 });
}

#[test]
fn chunks_are_kept_up_to_a_mebibyte() {
    for (length, kept, cut) in [(8192, 8192, false), (8193, 8193, false), (1 << 20, 1 << 20, false)] {
        let (batch, was_cut) = accepted(log(&"x".repeat(length)));
        assert_eq!((batch.text.len(), was_cut), (kept + 1, cut));
    }
    let (batch, cut) = accepted(log(&"ä".repeat((1 << 19) + 1)));
    assert_eq!(batch.text(), format!("{}…[truncated]\n", "ä".repeat(1 << 19)));
    assert!(cut);
}

#[test]
fn other_texts_are_cut_by_characters() {
    let begin = json!({ "type": "test-begin", "testId": "t", "title": "a", "file": "f", "timestamp": 1 });
    for (field, chars) in [("title", 1000), ("file", 500)] {
        let kept = |length: usize| {
            let (batch, cut) = accepted(with(begin.clone(), field, json!("ä".repeat(length))));
            let Item::Begin { title, file, .. } = only(&batch) else { panic!("{batch:?}") };
            (batch.str(if field == "title" { title } else { file }).to_owned(), cut)
        };
        assert_eq!(kept(chars), ("ä".repeat(chars), false));
        assert_eq!(kept(chars + 1), ("ä".repeat(chars), true));
    }
    let (batch, _) = accepted(with(begin, "title", json!("x".repeat(1001))));
    assert_eq!(batch.text(), format!("▶ RUNNING  {}\n", "x".repeat(1000)));
}

#[test]
fn errors_are_cut_and_marked() {
    let kept = |error: Value| {
        let (batch, cut) = accepted(with(end(), "error", error));
        let Item::End { error, .. } = only(&batch) else { panic!("{batch:?}") };
        let text = batch.text().strip_prefix("✘ FAILED   8c-5e (4211ms)\n").unwrap().to_owned();
        (error.map(|error| batch.str(error).to_owned()), text, cut)
    };
    let whole = "ä".repeat(8192);
    assert_eq!(kept(json!(whole)), (Some(whole.clone()), format!("  Error: {whole}\n"), false));
    let marked = format!("{whole}…[truncated]");
    assert_eq!(
        kept(json!(format!("{whole}x"))),
        (Some(marked.clone()), format!("  Error: {marked}\n"), true)
    );
    assert_eq!(kept(json!("")), (Some(String::new()), String::new(), false));
    assert_eq!(kept(Value::Null), (None, String::new(), false));
    assert_eq!(kept(json!(5)), (None, String::new(), false));
}

#[test]
fn long_test_ids_are_replaced_the_same_way_everywhere() {
    let id = "ä".repeat(501);
    let (batch, cut) = accepted(with(end(), "testId", json!(id)));
    let Item::End { test, .. } = only(&batch) else { panic!("{batch:?}") };
    let kept = batch.str(test).to_owned();
    assert!(kept.starts_with(&format!("{}~", "ä".repeat(400))) && kept.chars().count() == 465 && cut);
    assert!(batch.text().starts_with(&format!("✘ FAILED   {kept} (4211ms)")));
    let (batch, _) = accepted(with(log("x"), "testId", json!(id)));
    let Item::Log { test: Some(test), .. } = only(&batch) else { panic!("{batch:?}") };
    assert_eq!(batch.str(test), kept);
}

#[test]
fn durations_are_mended() {
    for (sent, kept) in [
        (json!(-5), 0),
        (json!(1.5), 2),
        (json!(1e300), 9_007_199_254_740_991),
        (json!(u64::MAX), 9_007_199_254_740_991),
        (json!("12"), 0),
        (Value::Null, 0),
    ] {
        let (batch, cut) = accepted(with(end(), "duration", sent.clone()));
        let Item::End { duration_ms, .. } = only(&batch) else { panic!("{batch:?}") };
        assert_eq!((duration_ms, cut), (kept, false), "{sent}");
    }
    let (batch, _) = accepted(without(end(), "duration"));
    assert_eq!(batch.text(), "✘ FAILED   8c-5e (0ms)\n");
}

#[test]
fn times_that_are_none_become_the_time_of_receipt() {
    for (sent, kept) in [
        (json!(5), 5),
        (json!(5.6), 6),
        (json!(-5), -5),
        (json!("5"), NOW),
        (json!(1e300), NOW),
        (Value::Null, NOW),
    ] {
        let (batch, _) = accepted(with(end(), "timestamp", sent.clone()));
        let Item::End { timestamp_ms, .. } = only(&batch) else { panic!("{batch:?}") };
        assert_eq!(timestamp_ms, kept, "{sent}");
    }
    // Infinite for JavaScript, out of range for strict readers.
    let body = format!(
        r#"{{"sessionId":"{SESSION}","events":[{{"type":"test-end","testId":"t","status":"passed","timestamp":1e999,"duration":-1e400}}]}}"#
    );
    let request = parse(body.as_bytes()).unwrap();
    let Item::End { timestamp_ms, duration_ms, .. } = only(&request.batch) else { panic!("{request:?}") };
    assert_eq!((timestamp_ms, duration_ms), (NOW, 0));
}

#[test]
fn events_that_cannot_be_used_are_rejected_one_by_one() {
    let begin = json!({ "type": "test-begin", "testId": "t", "title": "a", "file": "f", "timestamp": 1 });
    for field in ["testId", "title", "file"] {
        for value in [Value::Null, json!(5), json!({})] {
            rejected(with(begin.clone(), field, value), &format!(".{field}"));
        }
        rejected(without(begin.clone(), field), &format!(".{field}"));
    }
    for (field, value) in [("testId", json!("")), ("status", json!("broken")), ("status", json!("Passed"))] {
        rejected(with(end(), field, value), &format!(".{field}"));
    }
    rejected(without(end(), "status"), ".status");
    rejected(without(log("x"), "chunk"), ".chunk");
    rejected(with(log("x"), "type", json!("plan")), ".type");
    rejected(with(log("x"), "type", Value::Null), ".type");
    for status in [json!("PASSED"), json!("running"), Value::Null] {
        rejected(json!({ "type": "status", "status": status, "timestamp": 1 }), ".status");
    }
    for event in [json!(5), json!("x"), json!([]), Value::Null] {
        rejected(event, "");
    }
}

#[test]
fn a_rejected_event_costs_only_itself() {
    let request =
        batch_of(&[log("one"), json!({ "type": "nothing" }), log("two"), with(end(), "status", json!(1))]);
    assert_eq!(request.batch.text(), "one\ntwo\n");
    assert_eq!((request.batch.received, request.batch.accepted(), request.batch.rejected), (4, 2, 2));
    let fields: Vec<_> = request.findings.iter().map(|finding| finding.field.as_str()).collect();
    assert_eq!(fields, ["events[1].type", "events[3].status"]);
}

#[test]
fn findings_are_named_up_to_a_bound() {
    let request = batch_of(&vec![json!({}); 100]);
    assert_eq!((request.batch.rejected, request.findings.len()), (100, FINDINGS_MAX));
}

#[test]
fn optional_fields_may_be_null_or_misshapen() {
    let odd =
        json!({ "type": "log", "chunk": "", "testId": 5, "stream": "stdin", "timestamp": null, "x": [{}] });
    let (batch, _) = accepted(odd);
    assert_eq!((batch.text(), only(&batch)), ("\n", Item::Log { test: None, stream: None, text_end: 1 }));
    let odd = with(with(end(), "runtimeContext", json!("x")), "tags", json!("x"));
    let (batch, _) = accepted(odd);
    let Item::End { runtime_context: None, extra, .. } = only(&batch) else { panic!("{batch:?}") };
    assert_eq!(extra, None);
}

#[test]
fn context_and_additions_come_along() {
    let event = with(with(end(), "runtimeContext", json!({ "pageTitle": "Cart" })), "attempt", json!(1));
    let (batch, cut) = accepted(event);
    let Item::End { runtime_context: Some(context), extra: Some(extra), .. } = only(&batch) else {
        panic!("{batch:?}")
    };
    assert_eq!(
        (batch.str(context), batch.str(extra), cut),
        (r#"{"pageTitle":"Cart"}"#, r#"{"attempt":1}"#, false)
    );
    let (_, cut) = accepted(with(end(), "runtimeContext", json!({ "pageTitle": "x".repeat(257) })));
    assert!(cut);
}

#[test]
fn a_cut_event_counts_once() {
    let long = "x".repeat(9000);
    let request = batch_of(&[
        with(with(end(), "error", json!(long)), "testId", json!(long)),
        log("fine"),
        json!({ "type": "test-begin", "testId": "t", "title": long, "file": long }),
    ]);
    assert_eq!((request.batch.truncated, request.batch.accepted()), (2, 3));
}

#[test]
fn the_envelope_is_checked() {
    let refused = |body: Value, field: &str, message: &str| {
        let findings = vec![Finding::new(field.to_owned(), message.to_owned())];
        assert_eq!(parse(body.to_string().as_bytes()), Err(ParseError::Envelope(findings)), "{body}");
    };
    for body in [json!([]), json!("x"), json!(5), Value::Null] {
        refused(body, "", "must be an object");
    }
    for id in [Value::Null, json!(5), json!(""), json!("b1d6c0f258a34e978c142f7a90e3d5b6")] {
        refused(json!({ "sessionId": id, "events": [log("x")] }), "sessionId", "must be a UUID");
    }
    for events in [Value::Null, json!({}), json!("x")] {
        refused(json!({ "sessionId": SESSION, "events": events }), "events", "must be an array");
    }
    let envelope = |count: usize| json!({ "sessionId": SESSION, "events": vec![log("x"); count] });
    refused(envelope(0), "events", "must have 1 to 1000 entries");
    refused(envelope(1001), "events", "must have 1 to 1000 entries");
    assert_eq!(parse(envelope(1000).to_string().as_bytes()).unwrap().batch.received, 1000);
    let upper = json!({ "sessionId": SESSION.to_uppercase(), "events": [log("x")] });
    assert_eq!(parse(upper.to_string().as_bytes()).unwrap().session.to_string(), SESSION);
}

#[test]
fn batch_numbers_are_read_or_ignored() {
    let number = |batch: Value| {
        let body = json!({ "batch": batch, "events": [log("x")], "sessionId": SESSION });
        parse(body.to_string().as_bytes()).unwrap().number
    };
    assert_eq!(number(json!("00c0ffee:7")), Some(BatchNumber { writer: 0x00c0_ffee, n: 7 }));
    assert_eq!(number(json!("FFFFFFFF:0")), Some(BatchNumber { writer: u32::MAX, n: 0 }));
    for odd in [
        "",
        ":",
        "c0ffee:7",
        "00c0ffee:",
        "00c0ffee:-1",
        "00c0ffee:+1",
        "+0c0ffee:1",
        "00c0ffee:99999999999999999999",
    ] {
        assert_eq!(number(json!(odd)), None, "{odd}");
    }
    assert_eq!(number(json!(7)), None);
}

#[test]
fn of_a_repeated_name_the_last_counts() {
    let body = format!(
        r#"{{"sessionId":"x","sessionId":"{SESSION}","events":[],
            "events":[{{"type":"status","type":"log","chunk":"a","chunk":"b","testId":"a","testId":"t",
                        "stream":"stdout","stream":"stderr"}},
                      {{"type":"log","testId":"a","testId":"t","title":"a","title":"b","file":"a","file":"f",
                        "type":"test-begin"}}]}}"#
    );
    let batch = parse(body.as_bytes()).unwrap().batch;
    assert_eq!(batch.text(), "b\n▶ RUNNING  b\n");
    let [Item::Log { test: Some(written), stream: Some(Stream::Stderr), .. }, Item::Begin { test, file, .. }] =
        batch.items[..]
    else {
        panic!("{batch:?}")
    };
    assert_eq!((batch.str(written), batch.str(test), batch.str(file)), ("t", "t", "f"));
}

#[test]
fn what_is_no_json_is_refused() {
    let good = json!({ "sessionId": SESSION, "events": [log("x")] }).to_string();
    let deep = |depth: usize| format!(r#"{{"x":{}{},{}"#, "[".repeat(depth), "]".repeat(depth), &good[1..]);
    assert!(parse(deep(100).as_bytes()).is_ok());
    for body in [
        "".to_owned(),
        " ".to_owned(),
        "{".to_owned(),
        format!("{good}x"),
        format!("{good}{good}"),
        good.replace('x', "\u{0}"),
        good.replace('x', "\n"),
        good.replace("\"x\"", "'x'"),
        good.replace("\"x\"", "NaN"),
        good.replace("\"x\"", "01"),
        good.replace("\"x\"", r#""\x""#),
        good.replace("\"x\"", r#""\ud8zz""#),
        deep(200),
        deep(1_000_000),
        "[".repeat(1_000_000),
    ] {
        let head: String = body.chars().take(60).collect();
        assert_eq!(parse(body.as_bytes()), Err(ParseError::NotJson), "{head}");
    }
    for end in 0..good.len() {
        assert_eq!(parse(&good.as_bytes()[..end]), Err(ParseError::NotJson), "{end}");
    }
    for invalid in [&b"\xff"[..], b"\xc3\x28", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80", b"\xe2\x82"]
    {
        let mut body = good.replace('x', "@").into_bytes();
        let at = body.iter().position(|byte| *byte == b'@').unwrap();
        body.splice(at..=at, invalid.iter().copied());
        assert_eq!(parse(&body), Err(ParseError::NotJson), "{invalid:?}");
    }
}

#[test]
fn what_javascript_sends_is_taken() {
    let text = |chunk: &str| {
        let body = format!(r#"{{"sessionId":"{SESSION}","events":[{{"type":"log","chunk":"{chunk}"}}]}}"#);
        let plain = parse(body.as_bytes()).unwrap().batch;
        let marked = parse(&[BYTE_ORDER_MARK, body.as_bytes()].concat()).unwrap().batch;
        assert_eq!(plain, marked);
        plain.text().to_owned()
    };
    assert_eq!(text(r"\u0000 null"), "\0 null\n");
    assert_eq!(text(r"\ud83d\ude00"), "😀\n");
    assert_eq!(text(r"cut \ud83d"), "cut \u{fffd}\n");
    assert_eq!(text(r"\ude00 cut"), "\u{fffd} cut\n");
    assert_eq!(text(r"\\ud83d \n"), "\\ud83d \n");
    assert_eq!(text(r"\u001b[31mred\u001b[0m"), "\u{1b}[31mred\u{1b}[0m\n");
}

#[test]
fn a_body_may_be_large_but_not_made_of_millions_of_values() {
    let large = |extra: &str| {
        format!(r#"{{"sessionId":"{SESSION}","events":[{{"type":"log","chunk":"x"}}],"x":{extra}}}"#)
    };
    let text = format!("\"{}\"", "[1,2],".repeat(500_000));
    assert!(parse(large(&text).as_bytes()).is_ok());
    let values = format!("[{}0]", "[],".repeat(500_000));
    assert_eq!(parse(large(&values).as_bytes()), Err(ParseError::NotJson));
}

#[test]
fn other_bodies_are_read_with_the_same_patience() {
    let read = |body: &[u8]| value(&[Bytes::copy_from_slice(body)]);
    assert_eq!(read(br#"{"a":"\ud83d","b":1e999}"#), Ok(json!({ "a": "\u{fffd}", "b": null })));
    assert_eq!(read("\u{feff}{}".as_bytes()), Ok(json!({})));
    assert_eq!(value(&[Bytes::from("{\"a\""), Bytes::from(":1}")]), Ok(json!({ "a": 1 })));
    for bad in [&b"{"[..], b"", b"{\"a\":\"\\ud83d\"", b"\xff"] {
        assert_eq!(read(bad), Err(ParseError::NotJson));
    }
}

#[test]
fn how_a_body_is_cut_into_frames_does_not_matter() {
    let body =
        json!({ "sessionId": SESSION, "events": [log("ä😀\u{1b}[1m\n"), end()] }).to_string().into_bytes();
    let whole = parse(&body).unwrap();
    for at in 0..=body.len() {
        let (head, tail) = body.split_at(at);
        let frames = [Bytes::copy_from_slice(head), Bytes::new(), Bytes::copy_from_slice(tail)];
        assert_eq!(events(&frames, NOW).unwrap(), whole, "{at}");
    }
    let bytewise: Vec<_> = body.chunks(1).map(Bytes::copy_from_slice).collect();
    assert_eq!(events(&bytewise, NOW).unwrap(), whole);
}

/// Promise of the header: the frames are read where they are and stay as they came; the batch is exactly as large as
/// it says.
#[test]
fn bodies_stay_as_they_came_and_batches_are_exact() {
    let body = Bytes::from(
        json!({ "sessionId": SESSION, "events": [log("a\nb\"c"), end()] }).to_string().into_bytes(),
    );
    let before = body.to_vec();
    let request = events(std::slice::from_ref(&body), NOW).unwrap();
    assert_eq!((&body[..], request.digest), (&before[..], xxh3_128(&before)));
    assert!(request.batch.items.len() == 2 && request.batch.items.capacity() == 2);
    let text = request.batch.text.clone().try_into_mut();
    drop(request);
    assert!(text.is_err(), "the batch is the only other owner of its text");
}

/// G21: at 100 events a request, at most 0.2 allocations an event; in fact a handful a request.
#[test]
fn an_event_allocates_nothing() {
    let requests: Vec<Bytes> = (0..3)
        .map(|round| {
            let events: Vec<Value> = (0..25)
                .flat_map(|test| {
                    let id = format!("8c1f0a7be2d94c30aa11-5e7d90b3c2f14a{round}{test:02}");
                    [
                        json!({ "type": "test-begin", "testId": id, "title": " › chromium › ä.spec.ts › adds", "file": "ä.spec.ts", "timestamp": 1 }),
                        json!({ "type": "log", "testId": id, "chunk": "cart \u{1b}[31mtotal\u{1b}[0m is 3\n", "timestamp": 2 }),
                        json!({ "type": "log", "testId": id, "chunk": "no newline", "timestamp": 2, "stream": "stderr" }),
                        json!({ "type": "test-end", "testId": id, "status": "failed", "duration": 7, "timestamp": 3, "error": "expected\n1", "attempt": 1, "tags": ["a"],
                                "runtimeContext": { "pageTitle": "Cart", "consoleErrors": ["x"], "retryIndex": 0 } }),
                    ]
                })
                .collect();
            Bytes::from(json!({ "sessionId": SESSION, "events": events, "batch": "00000001:1" }).to_string())
        })
        .collect();
    for body in &requests {
        let warm = events(std::slice::from_ref(body), NOW).unwrap();
        assert_eq!(warm.batch.accepted(), 100);
    }
    let count = allocation_counter::measure(|| {
        drop(events(std::slice::from_ref(&requests[0]), NOW));
    });
    assert!(count.count_total <= 4, "{count:?}");
}
