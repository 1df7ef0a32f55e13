//! The rules, as steps from one world to the next.

use stateright::{Model, Property};

use super::world::{Batch, GOES_ON, NODES, Owned, RATES, RUNS, Reach, S, T, Taking, World};

/// Steps of time that are looked at: enough for a lease to end and its owner to be declared dead.
const STEPS: u8 = 3;
/// Takeovers that are looked at.
const TAKEOVERS: u8 = 2;
/// Writes of one run that may be under way together.
const WINDOW: usize = 2;

/// What is left out of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// Rule 1: the lease is not looked at after the write.
    FreshLease,
    /// Rule 1: a segment is acknowledged although an earlier one of its epoch is not durable.
    EarlierSegments,
    /// Rule 2: a node whose lease is over registers again under its old name and goes on.
    Lapse,
    /// Rule 3: an owner is declared dead at once.
    Waiting,
    /// Rule 3: the fence does not look at the heartbeat.
    SameHeartbeat,
    /// Rule 4: what only one replica may have is not written again.
    WritingAgain,
    /// Rule 4: a claim is changed whoever has changed it before.
    Condition,
    /// Rule 4: the end of an epoch is read before the claim says that it is being sealed.
    SealingMark,
    /// Rule 5: what lands under a sealed epoch is read.
    Seals,
    /// Rule 6: a batch whose outcome is unknown gets a new key.
    SameKey,
    /// The clocks' rates differ by more than `T` to `S`.
    LikeClocks,
}

/// The rules, and how much of the world is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) without: Without,
    /// Batches that each run's client sends.
    pub(super) batches: [u8; RUNS],
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Time passes.
    Tick,
    /// A heartbeat is applied; its answer is on its way.
    BeatUnanswered(usize),
    /// That answer comes.
    BeatAnswered(usize),
    /// The node notices that its lease is over.
    Notice(usize),
    /// A node begins to look at another one's heartbeat.
    Watch(usize, usize),
    Fence(usize),
    TakeOver(usize, usize),
    ReadEnd {
        node: usize,
        sees_partial: bool,
    },
    Seal(usize),
    /// The client of a run sends a batch to a node, which writes it or recognises it.
    Send(usize, usize, Batch),
    /// The node does not know what became of its first write, and writes again.
    Again(usize, usize),
    /// A write on its way lands.
    Land {
        run: usize,
        index: usize,
        whole: bool,
    },
    /// A node hears that a write of its has succeeded.
    Done {
        node: usize,
        run: usize,
        index: usize,
    },
    Read {
        run: usize,
        sees_partial: bool,
    },
}

impl Rules {
    fn has(&self, rule: Without) -> bool {
        self.without != rule
    }

    /// Whether a successor says in the claim that it seals the epoch before.
    fn marks(&self) -> bool {
        self.has(Without::SealingMark) && self.has(Without::Condition)
    }

    fn rate(&self, node: usize) -> u8 {
        if self.has(Without::LikeClocks) || node == 0 { RATES[node] } else { T }
    }
}

impl Model for Rules {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.steps < STEPS {
            steps.push(Step::Tick);
        }
        for (number, node) in world.nodes.iter().enumerate().filter(|(_, node)| !node.lapsed) {
            let row = world.rows[number];
            if node.lease_age < S {
                // Right after another one it would change nothing.
                if !row.fenced && node.answer_age.is_none() && node.lease_age > 0 {
                    steps.push(Step::BeatUnanswered(number));
                }
                if node.answer_age.is_some_and(|age| age < S) {
                    steps.push(Step::BeatAnswered(number));
                }
            } else {
                steps.push(Step::Notice(number));
            }
            self.successor(world, number, steps);
            for (run, owned) in node.runs.iter().enumerate() {
                let Some(owned) = owned else { continue };
                for batch in 1..=self.batches[run] {
                    let is_needed = !world.acked[run].contains(&batch);
                    let is_under_way = owned.flight.iter().any(|(_, sent)| *sent == batch);
                    let in_order =
                        batch == 1 || world.runs[run].segments.iter().any(|stored| stored.batch < batch);
                    if is_needed && !is_under_way && in_order && owned.flight.len() < WINDOW {
                        steps.push(Step::Send(number, run, batch));
                    }
                }
                if !self.has(Without::SameKey) && !owned.flight.is_empty() && owned.next < 4 {
                    steps.push(Step::Again(number, run));
                }
                let whole = |(seq, batch): &(u8, Batch)| {
                    let key = (owned.epoch, *seq);
                    let mut segments = world.runs[run].segments.iter();
                    segments.any(|one| (one.key, one.batch, one.reach) == (key, *batch, Reach::Whole))
                };
                let waits = if self.has(Without::EarlierSegments) { 1 } else { WINDOW };
                for (index, _) in owned.flight.iter().enumerate().take(waits).filter(|(_, sent)| whole(sent))
                {
                    steps.push(Step::Done { node: number, run, index });
                }
            }
        }
        for (run, row) in world.runs.iter().enumerate() {
            for (index, stored) in row.segments.iter().enumerate() {
                match stored.reach {
                    Reach::Sent if run == 0 => steps.extend([
                        Step::Land { run, index, whole: true },
                        Step::Land { run, index, whole: false },
                    ]),
                    Reach::Sent => steps.push(Step::Land { run, index, whole: true }),
                    Reach::Partial => steps.push(Step::Land { run, index, whole: true }),
                    Reach::Whole => {}
                }
            }
            // Who finds a run being sealed waits.
            if row.claim.sealing.is_none() && run == 0 {
                let texts = [false, true].map(|partial| row.text(partial, !self.has(Without::Seals)));
                if texts[0] != world.read[run] {
                    steps.push(Step::Read { run, sees_partial: false });
                }
                if texts[1] != texts[0] {
                    steps.push(Step::Read { run, sees_partial: true });
                }
            }
        }
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::Tick => {
                world.steps += 1;
                for (number, node) in world.nodes.iter_mut().enumerate() {
                    let rate = self.rate(number);
                    if node.runs.iter().any(Option::is_some) || node.taking.is_some() {
                        node.lease_age = (node.lease_age + rate).min(S);
                    }
                    node.answer_age = node.answer_age.map(|age| (age + rate).min(S));
                    node.watch = node.watch.map(|(whom, seen, age)| (whom, seen, (age + rate).min(T)));
                }
            }
            Step::BeatUnanswered(node) => {
                world.rows[node].heartbeat += 1;
                world.nodes[node].answer_age = Some(0);
            }
            Step::BeatAnswered(node) => {
                let age = world.nodes[node].answer_age.take()?;
                world.nodes[node].lease_age = age;
            }
            Step::Notice(node) if self.has(Without::Lapse) => {
                world.nodes[node].lapsed = true;
                world.nodes[node].runs = Default::default();
                world.nodes[node].taking = None;
                world.nodes[node].watch = None;
                world.nodes[node].answer_age = None;
            }
            Step::Notice(node) => {
                world.rows[node].fenced = false;
                world.rows[node].heartbeat += 1;
                world.nodes[node].lease_age = 0;
                world.nodes[node].answer_age = None;
            }
            Step::Watch(node, whom) => {
                world.nodes[node].watch = Some((whom, world.rows[whom].heartbeat, 0));
            }
            Step::Fence(node) => {
                let (whom, _, _) = world.nodes[node].watch.take()?;
                world.rows[whom].fenced = true;
            }
            Step::TakeOver(node, run) => {
                world.takeovers += 1;
                let claim = &mut world.runs[run].claim;
                let before = claim.sealing.unwrap_or(claim.epoch);
                let epoch = claim.epoch + 1;
                if self.marks() {
                    (claim.epoch, claim.owner, claim.sealing) = (epoch, node, Some(before));
                }
                world.nodes[node].taking = Some(Taking { run, epoch, before, found: None });
            }
            Step::ReadEnd { node, sees_partial } => {
                let taking = world.nodes[node].taking.as_mut()?;
                let before = taking.before;
                let row = &mut world.runs[taking.run];
                let end = row.epoch(before, u8::MAX, sees_partial);
                let last = u8::try_from(end.len()).ok()?;
                if self.has(Without::WritingAgain) {
                    row.repair(|(epoch, seq)| epoch == before && seq <= last);
                }
                let sealed =
                    row.claim.sealed.iter().flat_map(|(epoch, last)| row.epoch(*epoch, *last, false));
                taking.found = Some((last, sealed.chain(end).collect()));
            }
            Step::Seal(node) => {
                let Taking { run, epoch, before, found } = world.nodes[node].taking.take()?;
                let (last, known) = found?;
                let claim = &mut world.runs[run].claim;
                let is_mine = if self.marks() {
                    (claim.epoch, claim.owner) == (epoch, node)
                } else {
                    claim.epoch + 1 == epoch || !self.has(Without::Condition)
                };
                if is_mine {
                    (claim.epoch, claim.owner, claim.sealing) = (epoch, node, None);
                    if claim.sealed.last().is_none_or(|last| last.0 != before) {
                        claim.sealed.push((before, last));
                    }
                    world.nodes[node].runs[run] = Some(Owned { epoch, next: 1, known, flight: Vec::new() });
                }
            }
            Step::Send(node, run, batch) => {
                let owned = world.nodes[node].runs[run].as_mut()?;
                if owned.known.contains(&batch) {
                    let epoch = owned.epoch;
                    world.acknowledge(node, run, epoch, batch);
                } else {
                    let seq = owned.next;
                    owned.next += 1;
                    owned.flight.push((seq, batch));
                    let key = (owned.epoch, seq);
                    world.runs[run].send(key, batch);
                }
            }
            Step::Again(node, run) => {
                let owned = world.nodes[node].runs[run].as_mut()?;
                let (_, batch) = owned.flight.remove(0);
                let seq = owned.next;
                owned.next += 1;
                owned.flight.push((seq, batch));
                let key = (owned.epoch, seq);
                world.runs[run].send(key, batch);
            }
            Step::Land { run, index, whole } => {
                let reach = if whole { Reach::Whole } else { Reach::Partial };
                world.runs[run].segments[index].reach = reach;
                world.runs[run].segments.sort_unstable();
            }
            Step::Done { node, run, index } => {
                let is_fresh = world.nodes[node].lease_age < S || !self.has(Without::FreshLease);
                let owned = world.nodes[node].runs[run].as_mut()?;
                let (_, batch) = owned.flight.remove(index);
                let epoch = owned.epoch;
                owned.known.push(batch);
                owned.known.sort_unstable();
                if is_fresh {
                    world.acknowledge(node, run, epoch, batch);
                } else {
                    // It answers "not yet", and drops the run.
                    world.nodes[node].runs[run] = None;
                }
            }
            Step::Read { run, sees_partial } => {
                let row = &mut world.runs[run];
                world.read[run] = row.text(sees_partial, !self.has(Without::Seals));
                if sees_partial {
                    // A quorum read that finds replicas apart makes them agree before it answers.
                    let claim = row.claim.clone();
                    row.repair(|(epoch, _)| {
                        epoch == claim.epoch || claim.sealed.iter().any(|one| one.0 == epoch)
                    });
                }
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("what is acknowledged is read", |rules: &Self, world: &World| {
                (0..RUNS).all(|run| {
                    let text = world.runs[run].text(false, !rules.has(Without::Seals));
                    world.runs[run].claim.sealing.is_some()
                        || world.acked[run].iter().all(|batch| text.contains(batch))
                })
            }),
            Property::always("no batch is there twice", |rules: &Self, world: &World| {
                (0..RUNS).all(|run| {
                    let text = world.runs[run].text(true, !rules.has(Without::Seals));
                    (1..=rules.batches[run])
                        .all(|batch| text.iter().filter(|one| **one == batch).count() <= 1)
                })
            }),
            Property::always("a text only grows", |rules: &Self, world: &World| {
                (0..RUNS).all(|run| {
                    world.runs[run].claim.sealing.is_some()
                        || world.runs[run]
                            .text(false, !rules.has(Without::Seals))
                            .starts_with(&world.read[run])
                })
            }),
            Property::always("one node acknowledges in an epoch", |_: &Self, world: &World| {
                world.ackers.iter().all(|ackers| {
                    ackers.iter().all(|(epoch, node)| {
                        ackers.iter().all(|(other_epoch, other)| epoch != other_epoch || node == other)
                    })
                })
            }),
            Property::sometimes(GOES_ON, |_: &Self, world: &World| {
                world.ackers[0].iter().any(|(epoch, _)| *epoch == 2) && world.acked[0].len() == 2
            }),
        ]
    }
}

impl Rules {
    /// What a node may do about another one's run.
    fn successor(&self, world: &World, number: usize, steps: &mut Vec<Step>) {
        let node = &world.nodes[number];
        for whom in (0..NODES).filter(|whom| *whom != number) {
            let row = world.rows[whom];
            let watches =
                node.watch.is_some_and(|(seen, heartbeat, _)| (seen, heartbeat) == (whom, row.heartbeat));
            let owns = world.runs.iter().any(|run| run.claim.owner == whom);
            if owns && !row.fenced && !watches && world.takeovers < TAKEOVERS {
                steps.push(Step::Watch(number, whom));
            }
        }
        if let Some((whom, heartbeat, age)) = node.watch {
            let is_due = age >= T || !self.has(Without::Waiting);
            let is_same = world.rows[whom].heartbeat == heartbeat || !self.has(Without::SameHeartbeat);
            if is_due && is_same && !world.rows[whom].fenced {
                steps.push(Step::Fence(number));
            }
        }
        match &node.taking {
            None => {
                for run in (0..RUNS).filter(|run| world.takeovers < TAKEOVERS && self.batches[*run] > 0) {
                    let owner = world.runs[run].claim.owner;
                    if owner != number && world.rows[owner].fenced {
                        steps.push(Step::TakeOver(number, run));
                    }
                }
            }
            Some(Taking { found: None, .. }) => steps.extend([
                Step::ReadEnd { node: number, sees_partial: false },
                Step::ReadEnd { node: number, sees_partial: true },
            ]),
            Some(_) => steps.push(Step::Seal(number)),
        }
    }
}
