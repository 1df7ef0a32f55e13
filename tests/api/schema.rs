//! `schema/ingest-event.schema.json` against the bodies that reporters send and against the parser that reads them.

use std::io::Read;

use bytes::Bytes;
use runstream::ingest::parse;
use ruzstd::decoding::StreamingDecoder;
use serde_json::{Value, json};

/// The part of JSON Schema 2020-12 that the file uses; another keyword is a failed test, not a rule unheeded.
fn violation(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let length = value.as_str().map(|text| text.chars().count() as u64);
    let items = value.as_array().map(Vec::as_slice);
    for (keyword, rule) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                if let Some(found) = violation(root, target, value, at) {
                    return Some(found);
                }
                true
            }
            "type" => match rule.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                other => panic!("type {other} is not known here"),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "minLength" => length.is_none_or(|length| length >= rule.as_u64().unwrap()),
            "maxLength" => length.is_none_or(|length| length <= rule.as_u64().unwrap()),
            "minItems" => items.is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "maxItems" => items.is_none_or(|items| items.len() as u64 <= rule.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "required" => {
                let names = rule.as_array().unwrap();
                value.as_object().is_none_or(|members| {
                    names.iter().all(|name| members.contains_key(name.as_str().unwrap()))
                })
            }
            "properties" => {
                for (name, property) in rule.as_object().unwrap() {
                    let member = value.get(name);
                    if let Some(found) =
                        member.and_then(|member| violation(root, property, member, &format!("{at}.{name}")))
                    {
                        return Some(found);
                    }
                }
                true
            }
            "items" => {
                let mut found = items.unwrap_or_default().iter().enumerate();
                if let Some(found) =
                    found.find_map(|(n, item)| violation(root, rule, item, &format!("{at}[{n}]")))
                {
                    return Some(found);
                }
                true
            }
            "oneOf" => {
                rule.as_array()
                    .unwrap()
                    .iter()
                    .filter(|one| violation(root, one, value, at).is_none())
                    .count()
                    == 1
            }
            other => panic!("keyword {other} is not known here"),
        };
        if !holds {
            return Some(format!("{at}: {keyword} {rule}"));
        }
    }
    None
}

/// The two patterns of the file, by their parts: hex digits in groups, and a number.
fn matches(pattern: &str, text: &str) -> bool {
    let hex = |part: &str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    if pattern == "^[0-9a-fA-F]{8}:[0-9]{1,19}$" {
        let Some((writer, n)) = text.split_once(':') else { return false };
        return hex(writer, 8) && (1..=19).contains(&n.len()) && n.bytes().all(|byte| byte.is_ascii_digit());
    }
    let h = "[0-9a-fA-F]";
    assert_eq!(pattern, format!("^{h}{{8}}-{h}{{4}}-{h}{{4}}-{h}{{4}}-{h}{{12}}$"));
    let parts: Vec<_> = text.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| hex(part, length))
}

fn schema() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/ingest-event.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn check(schema: &Value, body: &Value) -> Option<String> {
    violation(schema, schema, body, "body")
}

const SESSION: &str = "b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6";

fn body(event: &Value) -> Value {
    json!({ "sessionId": SESSION, "events": [event] })
}

/// Received, cut, rejected.
fn parsed(body: &Value) -> Result<(u32, u32, u32), parse::ParseError> {
    let read = parse::events(&[Bytes::from(body.to_string())], 1_774_000_000_123)?;
    Ok((read.batch.received, read.batch.truncated, read.batch.rejected))
}

/// One of each kind, with everything that may be in it.
fn full_events() -> [Value; 4] {
    let context = json!({
        "failureUrl": "about:blank", "pageTitle": "Cart", "consoleErrors": ["no"], "retryIndex": 1,
        "networkErrors": [{ "url": "https://shop.test/a", "status": 500, "method": "GET", "resourceType": "xhr" }],
        "domSnapshot": "<main>", "viewportSize": { "width": 1280, "height": 720.5 },
    });
    [
        json!({ "type": "log", "testId": "a", "chunk": "", "timestamp": 1, "stream": "stderr" }),
        json!({ "type": "test-begin", "testId": "a", "title": "adds", "file": "cart.spec.ts", "timestamp": 1 }),
        json!({
            "type": "test-end", "testId": "a", "status": "timedOut", "duration": 4211, "error": "no", "timestamp": 1,
            "runtimeContext": context, "attempt": 0, "startedAt": 1, "worker": "gw0", "line": 7, "tags": ["@smoke"],
            "suite": ["cart"], "flaky": false,
        }),
        json!({ "type": "status", "status": "ANALYZING", "timestamp": 1 }),
    ]
}

#[test]
fn a_recorded_run_fits_the_schema_and_is_stored_whole() {
    let schema = schema();
    let packed = include_bytes!("../../src/cli/demo/recording.ndjson.zst").as_slice();
    let mut text = String::new();
    StreamingDecoder::new(packed).unwrap().read_to_string(&mut text).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<_> = lines
        .filter_map(|line| {
            let mut event = line.get("event")?.clone();
            event["timestamp"] = line["at"].clone();
            Some(event)
        })
        .collect();
    assert!(events.len() > 1_000);
    for (n, batch) in events.chunks(50).enumerate() {
        let body = json!({ "sessionId": SESSION, "batch": format!("0a1b2c3d:{n}"), "events": batch });
        assert_eq!(check(&schema, &body), None);
        assert_eq!(parsed(&body), Ok((batch.len() as u32, 0, 0)));
    }
}

#[test]
fn what_fits_the_schema_is_stored_whole() {
    let schema = schema();
    for event in full_events() {
        assert_eq!((check(&schema, &body(&event)), parsed(&body(&event))), (None, Ok((1, 0, 0))), "{event}");
    }
    let many = json!({ "sessionId": SESSION.to_uppercase(), "events": vec![&full_events()[0]; 1_000] });
    assert_eq!((check(&schema, &many), parsed(&many)), (None, Ok((1_000, 0, 0))));
    // Every text at its longest.
    for (kind, field, chars) in
        [(0, "chunk", 8_192), (0, "testId", 500), (1, "title", 1_000), (1, "file", 500), (2, "error", 8_192)]
    {
        let mut event = full_events()[kind].clone();
        event[field] = "é".repeat(chars).into();
        assert_eq!((check(&schema, &body(&event)), parsed(&body(&event))), (None, Ok((1, 0, 0))), "{field}");
        event[field] = "é".repeat(chars + 1).into();
        assert!(check(&schema, &body(&event)).is_some(), "{field} may not be longer");
    }
}

#[test]
fn what_the_parser_refuses_does_not_fit_the_schema() {
    let schema = schema();
    let refused = |body: &Value| {
        assert!(check(&schema, body).is_some(), "the schema lets {body} pass");
        assert!(parsed(body).is_err() || parsed(body).is_ok_and(|(_, _, rejected)| rejected > 0), "{body}");
    };
    let events = json!([&full_events()[0]]);
    refused(&json!([]));
    refused(&json!({ "events": events }));
    refused(&json!({ "sessionId": "x", "events": events }));
    refused(&json!({ "sessionId": SESSION }));
    refused(&json!({ "sessionId": SESSION, "events": {} }));
    refused(&json!({ "sessionId": SESSION, "events": [] }));
    refused(&json!({ "sessionId": SESSION, "events": vec![&full_events()[0]; 1_001] }));
    refused(&body(&json!({ "type": "plan", "total": 3, "timestamp": 1 })));
    for (kind, required) in [
        (0, ["type", "chunk"].as_slice()),
        (1, &["type", "testId", "title", "file"]),
        (2, &["type", "testId", "status"]),
    ] {
        for name in required {
            let mut event = full_events()[kind].clone();
            event.as_object_mut().unwrap().remove(*name);
            refused(&body(&event));
            event[*name] = 7.into();
            refused(&body(&event));
        }
    }
}
