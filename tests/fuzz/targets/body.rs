//! Request bodies: whatever comes, in whatever frames, is taken or refused, and a batch that is taken is sound.

use bytes::Bytes;
use runstream::domain::batch::{Batch, Item, Span};
use runstream::ingest::parse;

/// Bodies to start from.
pub(crate) const SEEDS: [&str; 4] = [
    r#"{"sessionId":"b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6","events":[{"type":"log","chunk":"\u001b[31mred \ud83d\ude00\n","testId":"a","stream":"stderr","timestamp":1}]}"#,
    r#"{"batch":"00c0ffee:7","events":[{"type":"test-begin","testId":"a","title":" › x › ä","file":"f","timestamp":1},{"type":"test-end","testId":"a","status":"failed","duration":1.5,"error":"no","timestamp":1e3,"attempt":1,"tags":["a"],"runtimeContext":{"failureUrl":"https://a:b@c.test/?token=x","networkErrors":[{"url":"u","status":5}],"viewportSize":{"width":1,"height":2}}}],"sessionId":"b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6"}"#,
    r#"{"sessionId":"b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6","events":[{"type":"status","status":"ANALYZING"},{},[],null,{"type":"plan","total":3},{"chunk":"\ud83d","type":"log"},{"duration":1e999,"type":"test-end","status":"passed","testId":"b"}]}"#,
    r#"{"sessionId":"b1d6c0f2-58a3-4e97-8c14-2f7a90e3d5b6","status":"PASSED","summary":{"total":1,"passed":1,"failed":0,"skipped":0,"duration":-1}}"#,
];

/// Reads `data` as a body; its first byte says where the body is cut into two frames.
pub(crate) fn run(data: &[u8]) {
    let Some((cut, body)) = data.split_first() else { return };
    let (head, tail) = body.split_at(usize::from(*cut).min(body.len()));
    let frames = [Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)];
    let whole = parse::events(&[Bytes::copy_from_slice(body)], 7);
    assert_eq!(parse::events(&frames, 7), whole, "how a body is cut does not matter");
    if let Ok(request) = whole {
        check(&request.batch);
    }
    assert_eq!(parse::value(&frames), parse::value(&[Bytes::copy_from_slice(body)]));
}

/// Everything that must hold of any batch.
fn check(batch: &Batch) {
    let text = std::str::from_utf8(&batch.text).expect("log text is UTF-8");
    let strings = std::str::from_utf8(&batch.strings).expect("strings are UTF-8");
    assert_eq!(batch.text_units, text.encode_utf16().count() as u64);
    assert!(batch.rejected <= batch.received && batch.truncated <= batch.accepted());
    let inside = |span: Span| {
        let start = span.start as usize;
        assert!(
            strings.get(start..start + span.len as usize).is_some(),
            "{span:?} is not within the strings"
        );
    };
    let mut last_end = 0;
    for item in &batch.items {
        let end = match *item {
            Item::Log { test, text_end, .. } => {
                test.into_iter().for_each(inside);
                text_end
            }
            Item::Begin { test, title, file, text_end, .. } => {
                [test, title, file].into_iter().for_each(inside);
                text_end
            }
            Item::End { test, error, runtime_context, extra, text_end, .. } => {
                [Some(test), error, runtime_context, extra].into_iter().flatten().for_each(inside);
                text_end
            }
            Item::Status { .. } => last_end,
        };
        assert!(end >= last_end && text.is_char_boundary(end as usize), "texts of items are in order");
        last_end = end;
    }
    assert_eq!(last_end as usize, text.len(), "all text belongs to an item");
}
