//! The binary as a shell script runs it: arguments, environment, something on standard input.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::process::{runstream, text};

/// A folder to work in and an environment that every command gets.
pub(crate) struct Shell<'a> {
    folder: &'a Path,
    environment: Vec<(&'static str, String)>,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl<'a> Shell<'a> {
    pub(crate) fn new(folder: &'a Path) -> Self {
        Self { folder, environment: Vec::new() }
    }

    /// With one more variable.
    pub(crate) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut environment = self.environment.clone();
        environment.push((name, value.to_owned()));
        Self { folder: self.folder, environment }
    }

    /// Runs `runstream` with what the line says, quoted parts as one argument, and `input` on its standard input.
    pub(crate) fn try_run(&self, line: &str, input: &str) -> Said {
        let arguments: Vec<_> = line
            .split('\'')
            .enumerate()
            .flat_map(|(part, text)| match part % 2 {
                0 => text.split_whitespace().map(str::to_owned).collect(),
                _ => vec![text.to_owned()],
            })
            .collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let mut command = runstream(self.folder, &arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        // A command that reads nothing closes its end.
        drop(process.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = process.wait_with_output().unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            errors: text(&output.stderr),
        }
    }

    /// What a command that succeeds prints, without the end of the line.
    pub(crate) fn run(&self, line: &str, input: &str) -> String {
        let said = self.try_run(line, input);
        assert_eq!(said.code, 0, "{line}: {said:?}");
        said.out.trim_end_matches('\n').to_owned()
    }

    /// What a command that succeeds prints with `--json`.
    pub(crate) fn json(&self, line: &str, input: &str) -> Value {
        let out = self.run(&format!("{line} --json"), input);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}"))
    }

    /// The code and the words of a command that fails: one sentence, and nothing on standard output.
    pub(crate) fn fail(&self, line: &str, input: &str) -> (i32, String) {
        let said = self.try_run(line, input);
        assert!(said.code != 0 && said.out.is_empty(), "{line}: {said:?}");
        (said.code, said.errors)
    }
}
