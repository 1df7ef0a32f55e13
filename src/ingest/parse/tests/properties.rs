//! Properties: rendered text against a second, naive writing of the contract; nothing that is sent breaks anything.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{SESSION, batch_of, end, log, parse};
use crate::domain::batch::{Item, Span};
use crate::domain::text::utf16_len;
use crate::ingest::parse::EventRequest;

/// The contract's rendering and mending, written once more and as plainly as can be.
fn reference(events: &[Value]) -> (String, u32) {
    let (mut log, mut rejected) = (String::new(), 0);
    for event in events {
        let text = |field: &str| event[field].as_str();
        let id = text("testId").filter(|id| !id.is_empty());
        let line = match (text("type"), id, text("status")) {
            (Some("log"), ..) if text("chunk").is_some() => text("chunk").unwrap().to_owned(),
            (Some("test-begin"), Some(_), _) if text("title").is_some() && text("file").is_some() => {
                format!("▶ RUNNING  {}", text("title").unwrap().chars().take(1000).collect::<String>())
            }
            (Some("test-end"), Some(id), Some(status @ ("passed" | "failed" | "skipped" | "timedOut"))) => {
                let icon = match status {
                    "passed" => '✔',
                    "skipped" => '–',
                    _ => '✘',
                };
                let duration = event["duration"].as_f64().unwrap_or(0.0).max(0.0).round();
                let mut line = format!("{icon} {:8} {id} ({duration}ms)", status.to_uppercase());
                if let Some(error) = text("error").filter(|error| !error.is_empty()) {
                    line.push_str("\n  Error: ");
                    line.push_str(error);
                }
                line
            }
            (Some("status"), _, Some("RUNNING" | "ANALYZING")) => continue,
            _ => {
                rejected += 1;
                continue;
            }
        };
        log.push_str(&line);
        if !line.ends_with('\n') {
            log.push('\n');
        }
    }
    (log, rejected)
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => "[a-zä😀›\u{1b}\\\\\"\n\r\u{0}]{0,12}".prop_map(Value::String),
        1 => prop::sample::select(vec![json!(null), json!(5), json!({}), json!([1, [2]])]),
    ]
}

fn any_event() -> impl Strategy<Value = Value> {
    let kinds = vec!["log", "log", "test-begin", "test-end", "test-end", "status", "plan"];
    let statuses = vec!["passed", "failed", "skipped", "timedOut", "RUNNING", "ANALYZING", "other"];
    let duration = prop_oneof![
        Just(json!(null)),
        (-10i64..1_000_000).prop_map(|n| json!(n)),
        (0.0..1e6).prop_map(|n| json!(n))
    ];
    (
        prop::sample::select(kinds),
        prop::sample::select(statuses),
        duration,
        text(),
        text(),
        text(),
        text(),
        text(),
    )
        .prop_map(|(kind, status, duration, test, chunk, title, file, error)| {
            json!({ "type": kind, "status": status, "duration": duration, "testId": test, "chunk": chunk,
                    "title": title, "file": file, "error": error, "timestamp": 5 })
        })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,8}".prop_map(Value::String),
        prop::sample::select(vec!["log", "test-end", "test-begin", "passed", SESSION])
            .prop_map(|text| json!(text)),
    ];
    let names = || {
        prop_oneof![
            ".{0,4}",
            prop::sample::select(vec![
                "type",
                "testId",
                "chunk",
                "status",
                "runtimeContext",
                "networkErrors",
                "tags"
            ])
            .prop_map(str::to_owned),
        ]
    };
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((names(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Everything that holds of any batch.
fn assert_sound(request: &EventRequest) {
    let batch = &request.batch;
    let text = std::str::from_utf8(&batch.text).unwrap();
    assert_eq!(batch.text_units, utf16_len(text));
    let strings = std::str::from_utf8(&batch.strings).unwrap();
    let check = |span: Span| {
        let end = (span.start + span.len) as usize;
        assert!(strings.get(span.start as usize..end).is_some(), "{span:?}");
    };
    let mut last_end = 0;
    for item in &batch.items {
        let end = match *item {
            Item::Log { test, text_end, .. } => {
                test.into_iter().for_each(check);
                text_end
            }
            Item::Begin { test, title, file, text_end, .. } => {
                [test, title, file].into_iter().for_each(check);
                text_end
            }
            Item::End { test, error, runtime_context, extra, text_end, .. } => {
                check(test);
                [error, runtime_context, extra].into_iter().flatten().for_each(check);
                for object in [runtime_context, extra].into_iter().flatten() {
                    let value: Value = serde_json::from_str(batch.str(object)).unwrap();
                    assert!(value.is_object());
                }
                text_end
            }
            Item::Status { .. } => last_end,
        };
        assert!(end >= last_end && text.is_char_boundary(end as usize));
        last_end = end;
    }
    assert_eq!(last_end as usize, text.len());
    assert!(batch.rejected <= batch.received && batch.truncated <= batch.accepted());
}

proptest! {
    #[test]
    fn rendered_text_is_that_of_the_reference(events in prop::collection::vec(any_event(), 1..20)) {
        let request = batch_of(&events);
        assert_sound(&request);
        let (log, rejected) = reference(&events);
        prop_assert_eq!(request.batch.text(), log);
        prop_assert_eq!(request.batch.rejected, rejected);
    }

    #[test]
    fn any_json_is_taken_or_refused(events in prop::collection::vec(any_json(), 1..6)) {
        assert_sound(&batch_of(&events));
    }

    #[test]
    fn any_envelope_is_taken_or_refused(body in any_json()) {
        if let Ok(request) = parse(body.to_string().as_bytes()) {
            assert_sound(&request);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(mut body in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index) {
        prop_assert_eq!(parse(&body).is_ok(), false);
        let good = json!({ "sessionId": SESSION, "events": [log("ä😀\n"), end()] }).to_string().into_bytes();
        let at = at.index(good.len());
        body.truncate(4);
        let spliced = [&good[..at], &body, &good[(at + body.len()).min(good.len())..]].concat();
        if let Ok(request) = parse(&spliced) {
            assert_sound(&request);
        }
    }
}
