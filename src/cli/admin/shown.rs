//! What a command prints: JSON for scripts, and for people the one thing that matters on standard output, with the rest
//! on standard error, so that `KEY=$(runstream key create)` works as it looks.

use std::io::{self, Write};

use serde_json::Value;

use super::failure::AdminError;

/// What came of a command.
#[derive(Debug)]
pub(super) struct Shown {
    /// For scripts.
    json: Value,
    /// For standard output.
    out: String,
    /// For standard error.
    note: String,
}

impl Shown {
    /// An answer of the API, or one of that shape, and how people see it.
    pub(super) fn new(mut json: Value, out: impl Into<String>, note: impl Into<String>) -> Self {
        if let Some(members) = json.as_object_mut() {
            members.remove("success");
            members.remove("message");
        }
        Self { json, out: out.into(), note: note.into() }
    }

    /// An answer with a list at `pointer`, as a table: each column's head and where its value stands.
    pub(super) fn list(
        json: Value,
        pointer: &'static str,
        columns: &[(&str, &str)],
    ) -> Result<Self, AdminError> {
        let rows = json.pointer(pointer).and_then(Value::as_array).ok_or(AdminError::Foreign(pointer))?;
        let cells = |row: &Value| columns.iter().map(|(_, at)| cell(row.pointer(at))).collect::<Vec<_>>();
        let heads = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        let table = table(heads, rows.iter().map(cells).collect());
        Ok(Self::new(json, table, String::new()))
    }

    /// An answer with a record at `pointer`, one member a line.
    pub(super) fn record(
        json: Value,
        pointer: &'static str,
        members: &[(&str, &str)],
    ) -> Result<Self, AdminError> {
        let record = json.pointer(pointer).filter(|record| record.is_object());
        let record = record.ok_or(AdminError::Foreign(pointer))?;
        let width = members.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let line = |(name, at): &(&str, &str)| format!("{name:<width$}  {}\n", cell(record.pointer(at)));
        let lines: String = members.iter().map(line).collect();
        Ok(Self::new(json, lines, String::new()))
    }

    /// Prints it.
    ///
    /// # Errors
    /// If nobody reads it.
    pub(super) fn print(&self, as_json: bool) -> Result<(), AdminError> {
        let mut out = io::stdout().lock();
        if as_json {
            writeln!(out, "{}", self.json)?;
        } else if !self.out.is_empty() {
            let end = if self.out.ends_with('\n') { "" } else { "\n" };
            write!(out, "{}{end}", self.out)?;
        }
        out.flush()?;
        if !self.note.is_empty() {
            writeln!(io::stderr(), "runstream: {}", printable(&self.note))?;
        }
        Ok(())
    }
}

/// The text at `pointer` of an answer.
pub(super) fn text(answer: &Value, pointer: &'static str) -> Result<String, AdminError> {
    let text = answer.pointer(pointer).and_then(Value::as_str);
    text.map(str::to_owned).ok_or(AdminError::Foreign(pointer))
}

/// A value on one line.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => printable(&other.to_string()),
    }
}

/// `text` without what would move a terminal's cursor: names are chosen by anybody.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

/// Lines of equally wide columns; the last one ends where its text ends.
fn table(heads: Vec<String>, rows: Vec<Vec<String>>) -> String {
    let mut widths = vec![0; heads.len()];
    let lines: Vec<_> = std::iter::once(heads).chain(rows).collect();
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let written = cells.collect::<Vec<_>>().join("  ");
        table.push_str(written.trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_becomes_columns_and_names_cannot_move_the_cursor() {
        let answer = json!({ "success": true, "users": [
            { "name": "Rosa", "role": "admin", "at": null },
            { "name": "\u{1b}[2JIvo", "role": "viewer", "at": "2026" },
        ] });
        let shown =
            Shown::list(answer, "/users", &[("NAME", "/name"), ("ROLE", "/role"), ("AT", "/at")]).unwrap();
        assert_eq!(shown.out, "NAME     ROLE    AT\nRosa     admin   -\n\u{fffd}[2JIvo  viewer  2026\n");
        assert_eq!(shown.json.get("success"), None);
        let foreign = Shown::list(json!({}), "/users", &[]);
        assert!(foreign.unwrap_err().to_string().contains("/users"));
    }
}
