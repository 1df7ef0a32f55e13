//! One event: read, mended, rendered, added to the batch; or refused without a trace. The table of what is mended how
//! is in the API reference, ingest 3 (validation policy); the additions are product E4 and E5.

use super::build::Builder;
use super::context::{self, Extra};
use super::json::Json;
use crate::clock::UnixMs;
use crate::domain::batch::{Item, Span, Stream, TestStatus};
use crate::domain::execution::Status;
use crate::domain::{number, text};
use crate::limits::{CHUNK_BYTES_MAX, FILE_CHARS_MAX, LONG_TEXT_CHARS_MAX, TITLE_CHARS_MAX};

/// Why an event is skipped: the field, and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) field: &'static str,
    pub(super) message: &'static str,
}

/// What kind of an event it is, and the fields of log text as they were sent; of a repeated name the last.
#[derive(Default)]
struct Line<'b> {
    kind: Option<&'b str>,
    test: Option<&'b str>,
    chunk: Option<&'b str>,
    stream: Option<&'b str>,
}

/// The fields of all other events as they were sent; of a repeated name the last.
#[derive(Default)]
struct Fields<'t, 'b> {
    test: Option<&'b str>,
    title: Option<&'b str>,
    file: Option<&'b str>,
    status: Option<&'b str>,
    error: Option<&'b str>,
    duration: Option<f64>,
    timestamp: Option<f64>,
    context: Option<Json<'t, 'b>>,
    extra: Extra<'t, 'b>,
}

/// Adds an event to the batch. `received_ms` (Unix milliseconds) stands for a time that is missing or odd. Whether
/// anything was cut is left in [`Builder::event_cut`].
///
/// # Errors
/// [`Rejected`] if it cannot be used; the batch is then as it was.
pub(super) fn read(builder: &mut Builder, event: Json<'_, '_>, received_ms: UnixMs) -> Result<(), Rejected> {
    builder.event_cut = false;
    // Most events are log text, and need few of the fields.
    let sent = || event.fields().ok_or(Rejected { field: "", message: "must be an object" });
    let line = Line::of(sent()?);
    if line.kind == Some("log") {
        return line.read(builder);
    }
    let fields = Fields::of(sent()?);
    let timestamp_ms = fields.timestamp.and_then(number::moment).unwrap_or(received_ms);
    match line.kind {
        Some("test-begin") => fields.begin(builder, timestamp_ms),
        Some("test-end") => fields.end(builder, timestamp_ms),
        Some("status") => fields.status(builder, timestamp_ms),
        _ => Err(Rejected { field: "type", message: "not one of the known types" }),
    }
}

impl<'b> Line<'b> {
    fn of<'t>(sent: impl Iterator<Item = (&'b str, Json<'t, 'b>)>) -> Self
    where
        'b: 't,
    {
        let mut line = Self::default();
        for (name, value) in sent {
            match name {
                "type" => line.kind = value.text(),
                "testId" => line.test = test_id(value),
                "chunk" => line.chunk = value.text(),
                "stream" => line.stream = value.text(),
                _ => {}
            }
        }
        line
    }

    fn read(&self, builder: &mut Builder) -> Result<(), Rejected> {
        let chunk = required("chunk", self.chunk)?;
        let head = text::cut_bytes(chunk, CHUNK_BYTES_MAX);
        let test = self.test.map(|id| builder.test(id));
        text::push_chunk(&mut builder.log, head.unwrap_or(chunk), head.is_some());
        builder.event_cut |= head.is_some();
        let stream = match self.stream {
            Some("stdout") => Some(Stream::Stdout),
            Some("stderr") => Some(Stream::Stderr),
            _ => None,
        };
        builder.push_log(test, stream);
        Ok(())
    }
}

impl<'t, 'b> Fields<'t, 'b> {
    fn of(sent: impl Iterator<Item = (&'b str, Json<'t, 'b>)>) -> Self {
        let mut fields = Self::default();
        for (name, value) in sent {
            match name {
                "testId" => fields.test = test_id(value),
                "title" => fields.title = value.text(),
                "file" => fields.file = value.text(),
                "status" => fields.status = value.text(),
                "error" => fields.error = value.text(),
                "duration" => fields.duration = value.number(),
                "timestamp" => fields.timestamp = value.number(),
                "runtimeContext" => fields.context = value.present(),
                "attempt" => fields.extra.attempt = value.present(),
                "startedAt" => fields.extra.started_at = value.present(),
                "worker" => fields.extra.worker = value.present(),
                "line" => fields.extra.line = value.present(),
                "tags" => fields.extra.tags = value.present(),
                "suite" => fields.extra.suite = value.present(),
                "flaky" => fields.extra.flaky = value.present(),
                _ => {}
            }
        }
        fields
    }

    fn begin(&self, builder: &mut Builder, timestamp_ms: UnixMs) -> Result<(), Rejected> {
        let id = required("testId", self.test)?;
        let title = required("title", self.title)?;
        let file = required("file", self.file)?;
        let test = builder.test(id);
        let title = builder.push_cut(title, TITLE_CHARS_MAX);
        let file = builder.push_cut(file, FILE_CHARS_MAX);
        builder.render_begin(title);
        builder.push_item(|text_end| Item::Begin { test, title, file, timestamp_ms, text_end });
        Ok(())
    }

    fn end(&self, builder: &mut Builder, timestamp_ms: UnixMs) -> Result<(), Rejected> {
        let id = required("testId", self.test)?;
        let status = match required("status", self.status)? {
            "passed" => TestStatus::Passed,
            "failed" => TestStatus::Failed,
            "skipped" => TestStatus::Skipped,
            "timedOut" => TestStatus::TimedOut,
            _ => {
                return Err(Rejected {
                    field: "status",
                    message: "must be passed, failed, skipped or timedOut",
                });
            }
        };
        let test = builder.test(id);
        let error = self.error.map(|error| push_error(builder, error));
        let runtime_context = self.context.and_then(|sent| context::push_runtime_context(builder, sent));
        let extra = context::push_extra(builder, self.extra);
        let duration_ms = self.duration.map_or(0, number::count);
        builder.render_end(status, test, duration_ms, error);
        builder.push_item(|text_end| Item::End {
            test,
            status,
            duration_ms,
            error,
            timestamp_ms,
            runtime_context,
            extra,
            attempt_count: 0,
            recorded: true,
            text_end,
        });
        Ok(())
    }

    fn status(&self, builder: &mut Builder, timestamp_ms: UnixMs) -> Result<(), Rejected> {
        let status = match required("status", self.status)? {
            "RUNNING" => Status::Running,
            "ANALYZING" => Status::Analyzing,
            _ => return Err(Rejected { field: "status", message: "must be RUNNING or ANALYZING" }),
        };
        builder.push_item(|_| Item::Status { status, timestamp_ms });
        Ok(())
    }
}

fn test_id<'b>(value: Json<'_, 'b>) -> Option<&'b str> {
    value.text().filter(|id| !id.is_empty())
}

fn required<'b>(field: &'static str, value: Option<&'b str>) -> Result<&'b str, Rejected> {
    value.ok_or(Rejected { field, message: "must be a string" })
}

/// Keeps an error text; one that is too long ends with a mark.
fn push_error(builder: &mut Builder, error: &str) -> Span {
    let head = builder.cut(error, LONG_TEXT_CHARS_MAX);
    builder.push_with(|strings| {
        strings.push_str(head);
        if head.len() < error.len() {
            strings.push_str(text::TRUNCATED);
        }
    })
}
