//! The machine: which core a process runs on, what it used, what it waited for. All from the kernel's own accounting.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Clock ticks a second in `/proc/<pid>/stat`: fixed on Linux, whatever the kernel's own rate.
const TICKS: u64 = 100;
const PAGE_BYTES: u64 = 4 << 10;

/// Where something may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// The core of what is measured.
    Server,
    /// The core of the load.
    Load,
    /// Both: for comparisons of what a whole machine does.
    Both,
}

/// Moves the calling thread, and whatever it starts from now on, to `core`.
pub(crate) fn run_on(core: Core) {
    let mut cores = CpuSet::new();
    match core {
        Core::Server => cores.set(0),
        Core::Load => cores.set(1),
        Core::Both => {
            cores.set(0);
            cores.set(1);
        }
    }
    sched_setaffinity(None, &cores).expect("this comparison needs two cores");
    let now = sched_getaffinity(None).unwrap();
    assert_eq!(now.count(), cores.count());
}

/// A process that is measured. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Process {
    /// Starts `command` on `core` and waits until it says on standard output where it listens: the first line that ends
    /// with `:<port>`, or has it before a space.
    pub(crate) fn start(mut command: Command, core: Core) -> Self {
        run_on(core);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        run_on(Core::Load);
        let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            let bytes = said.read_line(&mut line).unwrap();
            assert!(bytes > 0, "{command:?} ended before it listened");
            if let Some(port) = port_in(&line) {
                break port;
            }
        };
        // What else it says is nobody's business, but a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, port }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time used so far by all its threads, user and system, those that ended included.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // Fields after the command's name, which may hold anything but is the last thing in parentheses.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1_000 / TICKS)
    }

    /// Resident memory, bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * PAGE_BYTES
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn port_in(line: &str) -> Option<u16> {
    line.split_whitespace().find_map(|word| word.rsplit_once(':')?.1.parse().ok())
}

/// What the calling thread used and waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadTimes {
    /// Time on a core.
    pub(crate) ran: Duration,
    /// Time it wanted to run while somebody else had the core.
    pub(crate) waited: Duration,
}

impl ThreadTimes {
    /// Those of the calling thread until now.
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        let mut fields = text.split_whitespace().map(|field| Duration::from_nanos(field.parse().unwrap()));
        Self { ran: fields.next().unwrap(), waited: fields.next().unwrap() }
    }

    /// Those since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { ran: self.ran - earlier.ran, waited: self.waited - earlier.waited }
    }
}
