//! The objects that come with a finished test, in their normal form: known fields only, bounded, secrets in addresses
//! masked, written as JSON straight into the batch. Source: API reference, ingest 3 (`runtimeContext`), 9 no. 22;
//! product E4.

use std::fmt::Write as _;

use super::build::Builder;
use super::json::Json;
use crate::domain::batch::Span;
use crate::domain::{number, redact, text};
use crate::limits::{
    ADDRESS_CHARS_MAX, CONSOLE_ERROR_CHARS_MAX, DOM_SNAPSHOT_AS_SENT_CHARS_MAX, LABEL_CHARS_MAX,
    LIST_ENTRIES_MAX, LONG_TEXT_CHARS_MAX, PAGE_TITLE_CHARS_MAX,
};

/// The fields of a `test-end` beyond the contract's own (addition E4), each as it was sent last.
#[derive(Clone, Copy, Default)]
pub(super) struct Extra<'t, 'b> {
    pub(super) attempt: Option<Json<'t, 'b>>,
    pub(super) started_at: Option<Json<'t, 'b>>,
    pub(super) worker: Option<Json<'t, 'b>>,
    pub(super) line: Option<Json<'t, 'b>>,
    pub(super) tags: Option<Json<'t, 'b>>,
    pub(super) suite: Option<Json<'t, 'b>>,
    pub(super) flaky: Option<Json<'t, 'b>>,
}

/// Keeps a `runtimeContext`; `None` if it is no object or nothing usable is in it.
pub(super) fn push_runtime_context(builder: &mut Builder, sent: Json<'_, '_>) -> Option<Span> {
    let (mut url, mut title, mut console, mut network) = (None, None, None, None);
    let (mut snapshot, mut viewport, mut retry) = (None, None, None);
    for (name, value) in sent.fields()? {
        match name {
            "failureUrl" => url = value.text(),
            "pageTitle" => title = value.text(),
            "consoleErrors" => console = value.present(),
            "networkErrors" => network = value.present(),
            "domSnapshot" => snapshot = value.text(),
            "viewportSize" => viewport = value.present(),
            "retryIndex" => retry = whole(value),
            _ => {}
        }
    }
    Object::push(builder, |object| {
        if let Some(url) = url {
            object.address("failureUrl", url);
        }
        if let Some(title) = title {
            object.text("pageTitle", title, PAGE_TITLE_CHARS_MAX);
        }
        if let Some(list) = console {
            object.texts("consoleErrors", list, CONSOLE_ERROR_CHARS_MAX);
        }
        if let Some(list) = network {
            object.list("networkErrors", list, network_error);
        }
        if let Some(snapshot) = snapshot {
            object.snapshot(snapshot);
        }
        if let Some((width, height)) = viewport.and_then(size) {
            object.name("viewportSize");
            object.out.push('{');
            let mut inner = Object { out: object.out, cut: object.cut, empty: true };
            inner.number("width", width);
            inner.number("height", height);
            object.out.push('}');
        }
        if let Some(retry) = retry {
            object.count("retryIndex", retry);
        }
    })
}

/// Keeps the additions of E4; `None` if there are none.
pub(super) fn push_extra(builder: &mut Builder, sent: Extra<'_, '_>) -> Option<Span> {
    Object::push(builder, |object| {
        if let Some(attempt) = sent.attempt.and_then(whole) {
            object.count("attempt", attempt);
        }
        if let Some(moment) = sent.started_at.and_then(Json::number).and_then(number::moment) {
            object.name("startedAt");
            // Writing to a string cannot fail, here and below.
            let _ = write!(object.out, "{moment}");
        }
        if let Some(worker) = sent.worker {
            match (whole(worker), worker.text()) {
                (Some(index), _) => object.count("worker", index),
                (None, Some(name)) => object.text("worker", name, LABEL_CHARS_MAX),
                (None, None) => {}
            }
        }
        if let Some(line) = sent.line.and_then(whole) {
            object.count("line", line);
        }
        if let Some(tags) = sent.tags {
            object.texts("tags", tags, LABEL_CHARS_MAX);
        }
        if let Some(suite) = sent.suite {
            object.texts("suite", suite, LABEL_CHARS_MAX);
        }
        if let Some(flaky) = sent.flaky.and_then(Json::boolean) {
            object.name("flaky");
            let _ = write!(object.out, "{flaky}");
        }
    })
}

/// An object that is being written.
struct Object<'a> {
    out: &'a mut String,
    cut: &'a mut bool,
    empty: bool,
}

impl Object<'_> {
    fn push(builder: &mut Builder, write: impl FnOnce(&mut Object<'_>)) -> Option<Span> {
        let (mut cut, mut empty) = (false, true);
        let span = builder.push_with(|out| {
            out.push('{');
            let mut object = Object { out, cut: &mut cut, empty: true };
            write(&mut object);
            empty = object.empty;
            object.out.push('}');
        });
        builder.event_cut |= cut;
        (!empty).then_some(span)
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    fn count(&mut self, name: &str, value: u64) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    fn number(&mut self, name: &str, value: f64) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, name: &str, text: &str, chars: usize) {
        let text = self.bounded(text, chars);
        self.name(name);
        push_json_text(self.out, text);
    }

    fn bounded<'t>(&mut self, text: &'t str, chars: usize) -> &'t str {
        let head = text::at_most(text, chars);
        *self.cut |= head.len() < text.len();
        head
    }

    /// Secrets go first: a cut address may no longer be recognised as one.
    fn address(&mut self, name: &str, address: &str) {
        self.text(name, &redact::address(address), ADDRESS_CHARS_MAX);
    }

    /// The client cuts snapshots itself and adds a mark behind the bound; such a one is kept as it was sent.
    fn snapshot(&mut self, snapshot: &str) {
        self.name("domSnapshot");
        if text::cut(snapshot, DOM_SNAPSHOT_AS_SENT_CHARS_MAX).is_none() {
            push_json_text(self.out, snapshot);
        } else {
            let head = self.bounded(snapshot, LONG_TEXT_CHARS_MAX);
            push_json_text(self.out, head);
            self.out.pop();
            self.out.push_str(text::TRUNCATED);
            self.out.push('"');
        }
    }

    /// The first entries of a list of texts; what is no text is left out.
    fn texts(&mut self, name: &str, list: Json<'_, '_>, chars: usize) {
        self.list(name, list, |object, entry| {
            let Some(text) = entry.text() else { return false };
            let text = object.bounded(text, chars);
            object.separate();
            push_json_text(object.out, text);
            true
        });
    }

    /// The first entries of a list that `write` can use; left out if it is no list.
    fn list(
        &mut self,
        name: &str,
        list: Json<'_, '_>,
        mut write: impl FnMut(&mut Object<'_>, Json<'_, '_>) -> bool,
    ) {
        let Some((_, entries)) = list.elements() else { return };
        self.name(name);
        self.out.push('[');
        let mut inner = Object { out: self.out, cut: self.cut, empty: true };
        let mut written = 0;
        for entry in entries {
            if written == LIST_ENTRIES_MAX {
                *inner.cut = true;
                break;
            }
            written += usize::from(write(&mut inner, entry));
        }
        self.out.push(']');
    }

    fn separate(&mut self) {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
    }
}

/// Writes one network error; one without an address is left out.
fn network_error(list: &mut Object<'_>, sent: Json<'_, '_>) -> bool {
    let (mut url, mut status, mut method, mut resource) = (None, None, None, None);
    let Some(fields) = sent.fields() else { return false };
    for (name, value) in fields {
        match name {
            "url" => url = value.text(),
            "status" => status = whole(value),
            "method" => method = value.text(),
            "resourceType" => resource = value.text(),
            _ => {}
        }
    }
    let Some(url) = url else { return false };
    list.separate();
    list.out.push('{');
    let mut entry = Object { out: list.out, cut: list.cut, empty: true };
    entry.address("url", url);
    if let Some(status) = status {
        entry.count("status", status);
    }
    if let Some(method) = method {
        entry.text("method", method, LABEL_CHARS_MAX);
    }
    if let Some(resource) = resource {
        entry.text("resourceType", resource, LABEL_CHARS_MAX);
    }
    list.out.push('}');
    true
}

/// A viewport's width and height, if both are there.
fn size(sent: Json<'_, '_>) -> Option<(f64, f64)> {
    let (mut width, mut height) = (None, None);
    for (name, value) in sent.fields()? {
        match name {
            "width" => width = value.number(),
            "height" => height = value.number(),
            _ => {}
        }
    }
    Some((width?, height?))
}

/// A number that is not negative, rounded.
fn whole(value: Json<'_, '_>) -> Option<u64> {
    value.number().filter(|number| *number >= 0.0).map(number::count)
}

/// Writes a JSON string.
fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    let mut done = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(text.get(done..at).unwrap_or_default());
        out.push_str(escape);
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        }
        done = at + 1;
    }
    out.push_str(text.get(done..).unwrap_or_default());
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What is kept of `sent`, and whether anything was cut.
    fn kept(sent: &Value) -> (Option<Value>, bool) {
        let mut body = sent.to_string().into_bytes();
        let tape = simd_json::to_tape(&mut body).unwrap();
        let mut builder = Builder::default();
        let span = push_runtime_context(&mut builder, Json::root(&tape.0));
        let cut = builder.event_cut;
        (span.map(|span| serde_json::from_str(builder.finish(1, 0, 0).str(span)).unwrap()), cut)
    }

    fn check(sent: Value, expected: Value, cut: bool) {
        assert_eq!(kept(&sent), (Some(expected), cut), "{sent}");
    }

    #[test]
    fn a_context_within_bounds_stays_as_it_is() {
        let context = json!({
            "failureUrl": "https://shop.test/cart?page=2", "pageTitle": "Cart \"new\" \\ \n\u{1}",
            "consoleErrors": ["a", "ü"],
            "networkErrors": [{ "url": "https://s.test/x", "status": 500, "method": "GET", "resourceType": "fetch" }],
            "domSnapshot": "<html>", "viewportSize": { "width": 1280, "height": 720.5 }, "retryIndex": 1,
        });
        check(context.clone(), context, false);
        check(json!({ "failureUrl": "about:blank" }), json!({ "failureUrl": "about:blank" }), false);
    }

    #[test]
    fn unknown_null_and_misshapen_fields_are_dropped() {
        for nothing in [
            json!({}),
            json!([]),
            json!("x"),
            json!({ "unknown": 1, "failureUrl": null, "pageTitle": 5, "consoleErrors": "x", "networkErrors": {} }),
            json!({ "viewportSize": { "width": 1 }, "retryIndex": -1, "domSnapshot": [] }),
        ] {
            assert_eq!(kept(&nothing), (None, false), "{nothing}");
        }
        check(
            json!({ "consoleErrors": [1, "a", null], "networkErrors": [{ "status": 1 }, 5, { "url": "u", "x": 1 }] }),
            json!({ "consoleErrors": ["a"], "networkErrors": [{ "url": "u" }] }),
            false,
        );
        check(json!({ "retryIndex": 1.4 }), json!({ "retryIndex": 1 }), false);
    }

    #[test]
    fn texts_and_lists_are_cut() {
        let long = |chars| "ä".repeat(chars);
        check(json!({ "pageTitle": long(257) }), json!({ "pageTitle": long(256) }), true);
        check(json!({ "pageTitle": long(256) }), json!({ "pageTitle": long(256) }), false);
        check(json!({ "consoleErrors": [long(501)] }), json!({ "consoleErrors": [long(500)] }), true);
        check(json!({ "consoleErrors": vec!["e"; 21] }), json!({ "consoleErrors": vec!["e"; 20] }), true);
        check(json!({ "consoleErrors": vec!["e"; 20] }), json!({ "consoleErrors": vec!["e"; 20] }), false);
        let errors = |count| json!({ "networkErrors": vec![json!({ "url": "u" }); count] });
        check(errors(21), errors(20), true);
        check(json!({ "failureUrl": long(2049) }), json!({ "failureUrl": long(2048) }), true);
    }

    #[test]
    fn the_clients_own_mark_behind_a_snapshot_is_kept() {
        let snapshot = |text: String| json!({ "domSnapshot": text });
        let own = format!("{}\n…[truncated]", "x".repeat(8192));
        assert_eq!(own.chars().count(), 8205);
        check(snapshot(own.clone()), snapshot(own), false);
        check(snapshot("x".repeat(8206)), snapshot("x".repeat(8206)), false);
        check(snapshot("x".repeat(8207)), snapshot(format!("{}…[truncated]", "x".repeat(8192))), true);
    }

    #[test]
    fn secrets_in_addresses_are_masked_before_they_are_cut() {
        check(
            json!({
                "failureUrl": "https://bob:pw@s.test/?token=abc",
                "networkErrors": [{ "url": "https://s.test/?api_key=abc" }],
            }),
            json!({
                "failureUrl": "https://s.test/?token=****",
                "networkErrors": [{ "url": "https://s.test/?api_key=****" }],
            }),
            false,
        );
        let (kept, _) = kept(&json!({ "failureUrl": format!("https://{}:pw@s.test/", "u".repeat(2048)) }));
        assert_eq!(kept.unwrap()["failureUrl"], "https://s.test/");
    }

    #[test]
    fn the_additions_are_kept_as_far_as_they_make_sense() {
        let mut body = json!([
            2,
            1_774_000_000_123i64,
            "gw0",
            17,
            ["smoke", 5, "x".repeat(201)],
            ["cart"],
            true,
            "odd",
            -1
        ])
        .to_string()
        .into_bytes();
        let tape = simd_json::to_tape(&mut body).unwrap();
        let values: Vec<_> = Json::root(&tape.0).elements().unwrap().1.map(Some).collect();
        let mut builder = Builder::default();
        let extra = Extra {
            attempt: values[0],
            started_at: values[1],
            worker: values[2],
            line: values[3],
            tags: values[4],
            suite: values[5],
            flaky: values[6],
        };
        let span = push_extra(&mut builder, extra).unwrap();
        assert!(builder.event_cut);
        let kept: Value = serde_json::from_str(builder.finish(1, 0, 0).str(span)).unwrap();
        assert_eq!(
            kept,
            json!({
                "attempt": 2, "startedAt": 1_774_000_000_123i64, "worker": "gw0", "line": 17,
                "tags": ["smoke", "x".repeat(200)], "suite": ["cart"], "flaky": true,
            })
        );
        let odd = Extra {
            attempt: values[8],
            started_at: values[7],
            worker: values[6],
            line: values[7],
            tags: values[7],
            suite: values[0],
            flaky: values[0],
        };
        assert_eq!(push_extra(&mut builder, odd), None);
        assert_eq!(push_extra(&mut builder, Extra::default()), None);
    }

    proptest! {
        #[test]
        fn written_texts_read_back(text in "(.|[\u{0}-\u{1f}\"\\\\]){0,40}") {
            let mut out = String::new();
            push_json_text(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
