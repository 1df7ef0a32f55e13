//! The real binary as a process: started, told to end, waited for, its output kept.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing a test waits for takes this long, unless it is broken or the machine is badly overloaded.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary with a clean environment, so that nothing of the machine reaches its settings.
pub(crate) fn runstream(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runstream"));
    command.args(arguments).current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    runstream(folder, arguments).output().unwrap()
}

/// What a process wrote, as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that runs in a process of its own. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// What it said on standard output until it listened.
    pub(crate) greeting: String,
    /// Where it listens.
    pub(crate) url: String,
    errors: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts `runstream serve` on a free port, with its data in `folder`, and waits until it listens.
    pub(crate) fn serve(folder: &Path, arguments: &[&str]) -> Self {
        let mut all = vec!["serve", "--port", "0", "--data", "data"];
        all.extend(arguments);
        let mut child =
            runstream(folder, &all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut said = Vec::new();
            // A pipe that breaks has said what it had to say.
            drop(stderr.read_to_end(&mut said));
            text(&said)
        });
        let stdout = child.stdout.take().unwrap();
        let (lines, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        let mut process = Self { child, greeting: String::new(), url: String::new(), errors: Some(errors) };
        while process.url.is_empty() {
            match said.recv_timeout(PATIENCE) {
                Ok(line) => process.hear(&line),
                Err(_) => panic!("it did not say where it listens: {:?}", process.kill()),
            }
        }
        // The greeting is printed in one go; what of it is not here yet is on its way.
        while let Ok(line) = said.recv_timeout(Duration::from_millis(300)) {
            process.hear(&line);
        }
        process
    }

    fn hear(&mut self, line: &str) {
        if let Some((_, rest)) = line.split_once(" listens on ")
            && self.url.is_empty()
        {
            self.url = rest.split(' ').next().unwrap().to_owned();
        }
        self.greeting.push_str(line);
        self.greeting.push('\n');
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by the name that `kill` knows.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; its exit code, how long it took, and what it said on standard error.
    pub(crate) fn wait(mut self) -> (i32, Duration, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let errors = self.errors.take().unwrap().join().unwrap();
                return (status.code().unwrap_or(-1), begun.elapsed(), errors);
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Tells it to end and expects that it does so in order.
    pub(crate) fn end(self) -> String {
        self.signal("TERM");
        let (code, took, errors) = self.wait();
        assert_eq!(code, 0, "{errors}");
        assert!(took < Duration::from_secs(10), "it took {took:?} to end");
        errors
    }

    fn kill(&mut self) -> String {
        drop(self.child.kill());
        drop(self.child.wait());
        self.errors.take().map(|errors| errors.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
