//! The wire between a server of ours and a node of the cluster, cut, slowed down and lied on as a test wants. Statements
//! are told apart by the ids under which the node knows them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runstream::limits::CQL_CONDITIONAL_TIMEOUT;
use runstream::store::scylla::ScyllaSettings;
use scylla::errors::{DbError, WriteType};
use scylla::statement::{Consistency, SerialConsistency};
use scylla_cql::frame::protocol_features::ProtocolFeatures;
use scylla_cql::frame::request::RequestV2;
use scylla_cql::frame::request::batch::BatchStatement;
use scylla_proxy::{
    Condition, Node, Proxy, Reaction as _, RequestFrame, RequestOpcode, RequestReaction, RequestRule,
    ResponseFrame, ResponseReaction, ResponseRule, RunningProxy, ShardAwareness,
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How much later what is late arrives: nobody waits so long for a write.
pub(crate) const LATE: Duration = Duration::from_millis(5_500);
const _: () = assert!(CQL_CONDITIONAL_TIMEOUT.as_millis() < LATE.as_millis());

/// What happens to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The node says that it has too much to do.
    Overloaded,
    /// The node says that too few replicas are alive.
    Unavailable,
    /// The node says that too few replicas answered in time.
    WriteTimeout,
    /// The node says that it does not know the statement.
    Unprepared,
    /// The statement arrives and all connections break at that moment: its answer is lost, mostly.
    Cut,
    /// The statement is lost, and nobody says so.
    Lost,
    /// The statement arrives when nobody waits for it any more.
    Late,
}

impl Fault {
    pub(crate) const ALL: [Self; 7] = [
        Self::Overloaded,
        Self::Unavailable,
        Self::WriteTimeout,
        Self::Unprepared,
        Self::Cut,
        Self::Lost,
        Self::Late,
    ];

    fn reaction(self) -> RequestReaction {
        let consistency = Consistency::LocalQuorum;
        match self {
            Self::Overloaded => RequestReaction::forge_with_error(DbError::Overloaded),
            Self::Unavailable => {
                let error = DbError::Unavailable { consistency, required: 2, alive: 1 };
                RequestReaction::forge_with_error(error)
            }
            Self::WriteTimeout => {
                let write_type = WriteType::Simple;
                let error = DbError::WriteTimeout { consistency, received: 1, required: 2, write_type };
                RequestReaction::forge_with_error(error)
            }
            Self::Unprepared => RequestReaction::forge_response(Arc::new(unprepared)),
            Self::Cut => RequestReaction {
                drop_connection: Some(Some(Duration::from_millis(2))),
                ..RequestReaction::noop()
            },
            Self::Lost => RequestReaction::drop_frame(),
            Self::Late => RequestReaction::delay(LATE),
        }
    }
}

/// Says that the statement of this frame is not known: by its id, or the driver does not know which one to prepare again.
fn unprepared(request: RequestFrame) -> ResponseFrame {
    let statement_id = id_of(&request).to_vec().into();
    ResponseFrame::forged_error(request.params, DbError::Unprepared { statement_id }, None).unwrap()
}

/// The id of a frame's statement, of a batch that of its first one.
fn id_of(frame: &RequestFrame) -> &[u8] {
    // Before the first statement a batch says its kind, how many there are, and that this one is prepared.
    let id = if frame.opcode == RequestOpcode::Batch { &frame.body[4..] } else { &frame.body[..] };
    &id[2..][..usize::from(u16::from_be_bytes([id[0], id[1]]))]
}

type Sent = (RequestFrame, Option<u16>);

/// A statement as it was sent, or several in one batch.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) texts: Vec<String>,
    pub(crate) consistency: Consistency,
    /// Of the conditions, if there are any.
    pub(crate) serial_consistency: Option<SerialConsistency>,
    /// Whether the answer comes page by page.
    pub(crate) is_paged: bool,
    /// With all values.
    pub(crate) bytes: usize,
}

/// A wire to one node.
pub(crate) struct Wire {
    proxy: RunningProxy,
    address: SocketAddr,
    /// What was made known to the node over it.
    prepared: UnboundedReceiver<Sent>,
    seen: Option<UnboundedReceiver<Sent>>,
    /// What failed by [`Wire::fail`] or [`Wire::hide_keyspace`].
    failed: Option<UnboundedReceiver<Sent>>,
    ids: HashMap<Vec<u8>, String>,
    /// Reaches the node directly.
    direct: ScyllaSettings,
}

impl Wire {
    /// A wire to the only node of `settings`.
    pub(crate) async fn to(settings: &ScyllaSettings) -> Self {
        // One that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let real = settings.nodes[0].parse().unwrap();
        let node = Node::new(real, address, ShardAwareness::Unaware, None, None);
        let proxy = Proxy::new([node]).run().await.unwrap();
        let (_, prepared) = unbounded_channel();
        let (seen, failed, ids, direct) = (None, None, HashMap::new(), settings.clone());
        let mut wire = Self { proxy, address, prepared, seen, failed, ids, direct };
        wire.prepared = wire.listen(Condition::RequestOpcode(RequestOpcode::Prepare));
        wire
    }

    /// How a server reaches the node over it.
    pub(crate) fn settings(&self) -> ScyllaSettings {
        ScyllaSettings { nodes: vec![self.address.to_string()], ..self.direct.clone() }
    }

    /// What matches is passed on and told.
    fn listen(&mut self, condition: Condition) -> UnboundedReceiver<Sent> {
        let (told, listening) = unbounded_channel();
        let rule = RequestRule(condition, RequestReaction::noop().with_feedback_when_performed(told));
        self.proxy.running_nodes[0].append_request_rules(vec![rule]);
        listening
    }

    /// Learns under which ids the node knows what was made known to it over this wire.
    pub(crate) async fn learn(&mut self) {
        let session = super::superuser(&self.direct).await;
        session.use_keyspace(&self.direct.keyspace, true).await.unwrap();
        while let Ok((frame, _)) = self.prepared.try_recv() {
            // A length of four bytes, then the text.
            let text = String::from_utf8(frame.body[4..].to_vec()).unwrap();
            // The driver asks for tables that only ScyllaDB has.
            if let Ok(prepared) = session.prepare(text.as_str()).await {
                self.ids.insert(prepared.get_id().to_vec(), text);
            }
        }
    }

    /// From now on statements are noted, for [`Wire::noted`].
    pub(crate) fn note(&mut self) {
        self.proxy.turn_off_rules();
        self.seen = Some(self.listen(is_statement()));
    }

    /// The texts of the statements that were sent since, in order; of a batch that of its first one. What the driver asks
    /// to know the cluster is left out.
    pub(crate) fn noted(&mut self) -> Vec<String> {
        self.noted_whole().into_iter().map(|mut sent| sent.texts.swap_remove(0)).collect()
    }

    /// The same, with how each was sent.
    pub(crate) fn noted_whole(&mut self) -> Vec<Statement> {
        let mut noted = Vec::new();
        while let Ok((frame, _)) = self.seen.as_mut().unwrap().try_recv() {
            noted.push(self.read(&frame));
        }
        noted.retain(|sent| !sent.texts[0].to_lowercase().contains(" from system"));
        noted
    }

    fn read(&self, frame: &RequestFrame) -> Statement {
        let text =
            |id: &[u8]| self.ids.get(id).map_or("not prepared over this wire", String::as_str).to_owned();
        let request = frame.deserialize(&ProtocolFeatures::default()).unwrap();
        let consistency = request.get_consistency().unwrap();
        let serial_consistency = request.get_serial_consistency().unwrap();
        let (texts, is_paged) = match &request {
            RequestV2::Execute(one) => (vec![text(one.id.as_ref())], one.parameters.page_size.is_some()),
            RequestV2::Batch(several) => {
                let ids = several.statements.iter().map(|statement| match statement {
                    BatchStatement::Prepared { id } => text(id.as_ref()),
                    BatchStatement::Query { text } => format!("not prepared: {text}"),
                });
                (ids.collect(), false)
            }
            _ => unreachable!("nothing else is noted"),
        };
        Statement { texts, consistency, serial_consistency, is_paged, bytes: frame.body.len() }
    }

    /// The next statement of this text fails, after `passing` that do not.
    pub(crate) fn fail(&mut self, text: &str, passing: usize, fault: Fault) {
        let (id, _) = self.ids.iter().find(|(_, known)| *known == text).unwrap();
        let is_it = is_statement().and(Condition::BodyContainsCaseSensitive(id.clone().into_boxed_slice()));
        let is_its_turn =
            Condition::not(Condition::TrueForLimitedTimes(passing)).and(Condition::TrueForLimitedTimes(1));
        let (told, failed) = unbounded_channel();
        self.failed = Some(failed);
        let reaction = fault.reaction().with_feedback_when_performed(told);
        let rule = RequestRule(is_it.and(is_its_turn), reaction);
        self.proxy.running_nodes[0].change_request_rules(Some(vec![rule]));
    }

    /// The node says the next so many times that it knows no keyspace of that name, as one does that has not learned of it.
    pub(crate) fn hide_keyspace(&mut self, times: usize) {
        let using = Condition::RequestOpcode(RequestOpcode::Query)
            .and(Condition::BodyContainsCaseSensitive(b"USE ".to_vec().into_boxed_slice()))
            .and(Condition::TrueForLimitedTimes(times));
        let (told, hidden) = unbounded_channel();
        self.failed = Some(hidden);
        let reaction = RequestReaction::forge_with_error(DbError::Invalid).with_feedback_when_performed(told);
        self.proxy.running_nodes[0].change_request_rules(Some(vec![RequestRule(using, reaction)]));
    }

    /// Statements arrive this much later.
    pub(crate) fn slow_down(&mut self, delay: Duration) {
        let statements = [RequestOpcode::Execute, RequestOpcode::Batch, RequestOpcode::Query];
        let is_one = Condition::any(statements.map(Condition::RequestOpcode));
        let rule = RequestRule(is_one, RequestReaction::delay(delay));
        self.proxy.running_nodes[0].change_request_rules(Some(vec![rule]));
    }

    /// Nothing passes any more, neither way, and no connection breaks: what the node has just got is done, and its answer lost.
    pub(crate) fn cut(&mut self) {
        let node = &mut self.proxy.running_nodes[0];
        node.change_request_rules(Some(vec![RequestRule(Condition::True, RequestReaction::drop_frame())]));
        node.change_response_rules(Some(vec![ResponseRule(Condition::True, ResponseReaction::drop_frame())]));
    }

    /// Everything passes. Whether what was to fail has failed.
    pub(crate) fn mend(&mut self) -> bool {
        self.proxy.turn_off_rules();
        self.failed.take().is_some_and(|mut failed| failed.try_recv().is_ok())
    }
}

/// A statement by its id, or several in a batch.
fn is_statement() -> Condition {
    Condition::any([RequestOpcode::Execute, RequestOpcode::Batch].map(Condition::RequestOpcode))
}
