//! A server in a process of its own that ends itself, by `SIGKILL`, at one step between append and delivery. The program
//! knows nothing of it: the first steps are seen at its files, the later ones in its log.

use std::fmt::Debug;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::memmem;
use runstream::config::Settings;
use runstream::server::{Seams, Server};
use tokio::process::{Child, Command};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::disk::{Disk, Moment};

const ORDER: &str = "RUNSTREAM_TEST_STOP";

/// Where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The journal has the batch, its file has not.
    Handed,
    /// It is written and not synced.
    Written,
    /// It is durable, and nobody was told.
    Durable,
    /// The reporter has its answer, and the feed has not sealed the window.
    Answered,
    /// The window is sealed and encoded, and no viewer was written to.
    Sealed,
    /// The first viewer's connection has taken a part of a frame.
    Begun,
}

impl Stop {
    pub(super) const ALL: [Self; 6] =
        [Self::Handed, Self::Written, Self::Durable, Self::Answered, Self::Sealed, Self::Begun];

    /// What the program says of this step in its log.
    fn line(self) -> Option<&'static str> {
        match self {
            Self::Handed | Self::Written | Self::Durable => None,
            Self::Answered => Some("sealing a window"),
            Self::Sealed => Some("delivering a window"),
            Self::Begun => Some("a frame is written in part"),
        }
    }

    /// With this in its text a batch is the one that the server stops with.
    pub(super) fn mark(self) -> String {
        format!("stop with this: {self:?};")
    }

    /// Whether the reporter has its answer by then.
    pub(super) fn is_answered(self) -> bool {
        self.line().is_some()
    }
}

/// Starts it on a data folder and a port.
pub(super) fn spawn(stop: Stop, data: &Path, port: u16) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["live::stops::server::serve_until_the_stop", "--exact", "--ignored", "--nocapture"])
        .env(ORDER, format!("{stop:?} {port} {}", data.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The process that [`spawn`] starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "serves for another test, and ends its process"]
async fn serve_until_the_stop() {
    #[expect(clippy::disallowed_methods, reason = "an order to this process, not a setting of the program")]
    let Ok(order) = std::env::var(ORDER) else { return };
    let [stop, port, data] = order.splitn(3, ' ').collect::<Vec<_>>().try_into().unwrap();
    let stop = Stop::ALL.into_iter().find(|one| format!("{one:?}") == stop).unwrap();
    let switch = Arc::new(Switch { stop, armed: AtomicBool::new(false) });
    tracing::subscriber::set_global_default(Log(Arc::clone(&switch))).unwrap();
    let mut settings = Settings { data_folder: data.into(), ..Settings::default() };
    settings.server.port = port.parse().unwrap();
    let disk = Disk::watched(Arc::new(move |moment| switch.at(moment)));
    let _server = Server::start(settings, Seams { fs: Arc::new(disk), ..Seams::default() }).await.unwrap();
    std::future::pending::<()>().await;
}

struct Switch {
    stop: Stop,
    /// The journal was given the mark.
    armed: AtomicBool,
}

impl Switch {
    fn at(&self, moment: Moment<'_>) {
        if let Moment::Write(bytes) = moment
            && memmem::find(bytes, self.stop.mark().as_bytes()).is_some()
        {
            self.armed.store(true, Ordering::SeqCst);
        }
        let here = match moment {
            Moment::Write(_) => Stop::Handed,
            Moment::Sync => Stop::Written,
            Moment::Synced => Stop::Durable,
        };
        self.end_if(self.stop == here);
    }

    fn end_if(&self, here: bool) {
        if here && self.armed.load(Ordering::SeqCst) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            // Nothing after this step happens while the signal is on its way.
            loop {
                std::thread::park();
            }
        }
    }
}

/// Reads the program's log as it is written.
struct Log(Arc<Switch>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("runstream::")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message(&self.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of one line.
struct Message<'a>(&'a Switch);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0.end_if(self.0.stop.line() == Some(format!("{value:?}").as_str()));
        }
    }
}
