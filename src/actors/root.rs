//! The root: supervises the organizations. An organization that fails is forgotten and started anew by the next
//! request for it; its runs, which fail with it, come back from the store.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::oneshot;

use super::deps::Deps;
use super::organization::message::OrgMessage;
use super::organization::{OrgActor, OrgArgs};
use crate::domain::id::OrgId;

/// The behaviour.
pub(super) struct RootActor;

/// What the root is told.
pub(super) enum RootMessage {
    /// Start the actor of an organization.
    Start {
        /// The organization.
        org: OrgId,
        /// Where the actor goes.
        reply: oneshot::Sender<ActorRef<OrgMessage>>,
    },
    /// Say that you are there.
    Probe {
        /// Where that is said.
        reply: oneshot::Sender<()>,
    },
}

impl Actor for RootActor {
    type Msg = RootMessage;
    type State = Arc<Deps>;
    type Arguments = Arc<Deps>;

    async fn pre_start(
        &self,
        _me: ActorRef<RootMessage>,
        deps: Arc<Deps>,
    ) -> Result<Arc<Deps>, ActorProcessingErr> {
        Ok(deps)
    }

    async fn handle(
        &self,
        me: ActorRef<RootMessage>,
        message: RootMessage,
        deps: &mut Arc<Deps>,
    ) -> Result<(), ActorProcessingErr> {
        // Whoever asked has given up if a reply cannot be sent; an idle actor leaves by itself.
        match message {
            RootMessage::Start { org, reply } => {
                let args = OrgArgs { deps: Arc::clone(deps), org };
                let (actor, _task) = OrgActor::spawn_linked(None, OrgActor, args, me.get_cell()).await?;
                let _gone = reply.send(actor);
            }
            RootMessage::Probe { reply } => {
                let _gone = reply.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<RootMessage>,
        event: SupervisionEvent,
        deps: &mut Arc<Deps>,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(who, error) = event {
            tracing::error!(%error, "organization actor failed");
            metrics::counter!(crate::telemetry::name::ACTOR_FAILURES, "kind" => "organization").increment(1);
            deps.directory
                .organizations
                .retain(|_, known| known.actor.get().is_none_or(|actor| actor.get_id() != who.get_id()));
        }
        Ok(())
    }
}
