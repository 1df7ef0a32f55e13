//! The world of the rules: nodes with clocks of their own, a store with conditional writes and quorum writes, clients
//! that send again what was not answered, and one reader.

/// Nodes: one that owns every run at first, two that may take them over.
pub(super) const NODES: usize = 3;
/// Runs.
pub(super) const RUNS: usize = 2;
/// How far each node's clock moves in a step of time. The rates differ by less than `T` to `S`.
pub(super) const RATES: [u8; NODES] = [2, 3, 3];
/// The lease, on the owner's clock.
pub(super) const S: u8 = 4;
/// How long an observer must have seen the same heartbeat, on its clock.
pub(super) const T: u8 = 8;

/// What must be possible.
pub(super) const GOES_ON: &str = "a run goes on under its second owner";

/// A batch of a run, by number.
pub(super) type Batch = u8;

/// A segment, by epoch and number.
pub(super) type Key = (u8, u8);

/// Where a segment's write has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Under way: it may land whole, on one replica, or never.
    Sent,
    /// One replica has it: a read may see it or not. It may still land whole.
    Partial,
    /// A quorum has it.
    Whole,
}

/// One segment in the store or on its way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stored {
    pub(super) key: Key,
    pub(super) batch: Batch,
    pub(super) reach: Reach,
}

/// The row of a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    pub(super) owner: usize,
    pub(super) epoch: u8,
    /// The epoch whose end is being found out.
    pub(super) sealing: Option<u8>,
    /// Epochs that are over, and their last number.
    pub(super) sealed: Vec<Key>,
}

/// What the store holds of a run, and what is on its way there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RunRow {
    pub(super) claim: Claim,
    pub(super) segments: Vec<Stored>,
}

/// The row of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct NodeRow {
    pub(super) heartbeat: u8,
    pub(super) fenced: bool,
}

/// A run as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Owned {
    pub(super) epoch: u8,
    pub(super) next: u8,
    /// Batches that are stored for sure.
    pub(super) known: Vec<Batch>,
    /// Writes that are under way, in order.
    pub(super) flight: Vec<(u8, Batch)>,
}

/// A takeover that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Taking {
    pub(super) run: usize,
    pub(super) epoch: u8,
    /// The epoch before it.
    pub(super) before: u8,
    /// What is known of the run: its last number in that epoch and its batches, once they are read.
    pub(super) found: Option<(u8, Vec<Batch>)>,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    /// It has noticed that its lease is over and does nothing any more: it would come back as another node.
    pub(super) lapsed: bool,
    /// Since the last heartbeat that succeeded began, on its clock.
    pub(super) lease_age: u8,
    /// A heartbeat that was applied, whose answer is on its way: since it began.
    pub(super) answer_age: Option<u8>,
    /// Whose heartbeat it looks at, what it saw, and for how long that has been the same, on its clock.
    pub(super) watch: Option<(usize, u8, u8)>,
    pub(super) runs: [Option<Owned>; RUNS],
    pub(super) taking: Option<Taking>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) steps: u8,
    pub(super) nodes: [Node; NODES],
    pub(super) rows: [NodeRow; NODES],
    pub(super) runs: [RunRow; RUNS],
    /// Batches that were acknowledged.
    pub(super) acked: [Vec<Batch>; RUNS],
    /// Who acknowledged in which epoch.
    pub(super) ackers: [Vec<(u8, usize)>; RUNS],
    /// What the reader read last.
    pub(super) read: [Vec<Batch>; RUNS],
    pub(super) takeovers: u8,
}

impl World {
    /// A node tells a client that its batch is stored.
    pub(super) fn acknowledge(&mut self, node: usize, run: usize, epoch: u8, batch: Batch) {
        self.acked[run].push(batch);
        self.acked[run].sort_unstable();
        if !self.ackers[run].contains(&(epoch, node)) {
            self.ackers[run].push((epoch, node));
            self.ackers[run].sort_unstable();
        }
    }

    /// The runs were just set up by the first node.
    pub(super) fn new() -> Self {
        let node = |number: usize| Node {
            lapsed: false,
            lease_age: 0,
            answer_age: None,
            watch: None,
            runs: std::array::from_fn(|_| {
                (number == 0).then(|| Owned { epoch: 1, next: 1, known: Vec::new(), flight: Vec::new() })
            }),
            taking: None,
        };
        let run = || RunRow {
            claim: Claim { owner: 0, epoch: 1, sealing: None, sealed: Vec::new() },
            segments: Vec::new(),
        };
        Self {
            steps: 0,
            nodes: std::array::from_fn(node),
            rows: [NodeRow { heartbeat: 0, fenced: false }; NODES],
            runs: std::array::from_fn(|_| run()),
            acked: std::array::from_fn(|_| Vec::new()),
            ackers: std::array::from_fn(|_| Vec::new()),
            read: std::array::from_fn(|_| Vec::new()),
            takeovers: 0,
        }
    }
}

impl RunRow {
    /// Notes a write of `key`; the same write again changes nothing.
    pub(super) fn send(&mut self, key: Key, batch: Batch) {
        if !self.segments.iter().any(|stored| (stored.key, stored.batch) == (key, batch)) {
            self.segments.push(Stored { key, batch, reach: Reach::Sent });
            self.segments.sort_unstable();
        }
    }

    fn at(&self, key: Key, sees_partial: bool) -> Option<Batch> {
        let seen = |stored: &&Stored| match stored.reach {
            Reach::Sent => false,
            Reach::Partial => sees_partial,
            Reach::Whole => true,
        };
        self.segments.iter().filter(seen).find(|stored| stored.key == key).map(|stored| stored.batch)
    }

    /// The batches of an epoch up to the first gap, at most up to `last`.
    pub(super) fn epoch(&self, epoch: u8, last: u8, sees_partial: bool) -> Vec<Batch> {
        (1..=last).map_while(|seq| self.at((epoch, seq), sees_partial)).collect()
    }

    /// Everything there is of the run for a reader. `ignores_seals` breaks the fifth rule.
    pub(super) fn text(&self, sees_partial: bool, ignores_seals: bool) -> Vec<Batch> {
        let mut text = Vec::new();
        for (epoch, last) in &self.claim.sealed {
            let last = if ignores_seals { u8::MAX } else { *last };
            text.extend(self.epoch(*epoch, last, sees_partial));
        }
        text.extend(self.epoch(self.claim.epoch, u8::MAX, sees_partial));
        text
    }

    /// Makes whole what a read has seen, or what a successor writes again.
    pub(super) fn repair(&mut self, epochs: impl Fn(Key) -> bool) {
        for stored in &mut self.segments {
            if stored.reach == Reach::Partial && epochs(stored.key) {
                stored.reach = Reach::Whole;
            }
        }
    }
}
