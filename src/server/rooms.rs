//! What stands behind the doors, opened in the order in which each needs the one before, and closed in reverse.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::data_folder::DataFolder;
use super::{Seams, StartError, mail, store};
use crate::access::{Access, Passwords, Secrets};
use crate::actors::feed::Feeds;
use crate::actors::finish::FinishPipeline;
use crate::actors::{Engine, EngineSettings};
use crate::api::{self, ApiSettings, App, Parts};
use crate::clock::Clock;
use crate::config::{Settings, StoreKind};
use crate::ingest::{IngestDoor, IngestSettings};
use crate::jobs::mail::{Mail, MailJob};
use crate::jobs::watch::{UsageWatch, WatchJob, WatchParts};
use crate::limits::{ACTOR_IDLE_ON_CLUSTER, OBSERVATIONS_FOLD_INTERVAL};
use crate::live::Live;
use crate::store::contract::{Store, StoreResult};
use crate::telemetry::{self, name};

/// How the engine runs on the store that is set.
fn engine_settings(settings: &Settings) -> EngineSettings {
    let actor_idle = match settings.store {
        StoreKind::Embedded => settings.engine.actor_idle,
        StoreKind::Scylla => settings.engine.actor_idle.max(ACTOR_IDLE_ON_CLUSTER),
    };
    EngineSettings { actor_idle, ..settings.engine.clone() }
}

/// Everything that is open while a server runs.
pub(super) struct Rooms {
    pub(super) store: Arc<dyn Store>,
    pub(super) engine: Engine,
    pub(super) live: Live,
    pub(super) ingest: IngestDoor,
    pub(super) mail: Mail,
    mail_job: MailJob,
    usage_job: WatchJob,
    pub(super) api: axum::Router,
    app: App,
    background: Vec<JoinHandle<()>>,
    /// The live channel holds it weakly.
    _feeds: Arc<dyn Feeds>,
}

impl Rooms {
    /// Opens everything. What was opened before a failure is closed by being dropped.
    pub(super) async fn open(
        settings: &Settings,
        seams: &Seams,
        folder: &DataFolder,
    ) -> Result<Self, StartError> {
        let clock = Arc::clone(&seams.clock);
        let secrets = Secrets::load_or_create(&folder.path, settings.secrets.clone())?;
        let passwords = Passwords::new(settings.access.passwords)?;
        let postman = mail::postman(settings)?;
        let store = store::open(settings, seams, folder).await?;
        let access =
            Access::new(Arc::clone(&store) as _, Arc::clone(&clock), &secrets, settings.access.clone());
        let doorkeeper = Arc::new(access.clone());
        let live = Live::new(settings.live.clone(), doorkeeper, Arc::clone(&clock), super::socket::take);
        let pipeline = FinishPipeline::new(Vec::new());
        let engine = Engine::start(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::new(live.clone()),
            pipeline,
            engine_settings(settings),
        )
        .await?;
        let feeds: Arc<dyn Feeds> = Arc::new(engine.clone());
        live.attach(&feeds);
        let ingest_settings =
            IngestSettings { base_path: settings.server.base_path.clone(), ..settings.ingest.clone() };
        let ingest = IngestDoor::new(engine.clone(), access.clone(), Arc::clone(&clock), ingest_settings);
        let mail = mail::open(settings, seams, &store, secrets.sealer(), postman);
        let usage = UsageWatch::new(WatchParts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            mail: mail.clone(),
            plan: settings.engine.plan,
        });
        let watching = usage.clone();
        engine.on_growth(move |org| watching.changed(org));
        let app = App::new(Parts {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            engine: engine.clone(),
            access: access.clone(),
            passwords,
            resolver: Arc::clone(&seams.resolver),
            sealer: secrets.sealer(),
            mail: mail.clone(),
            usage: usage.clone(),
            settings: ApiSettings { plan: settings.engine.plan, ..settings.api.clone() },
            metrics: Box::new(metrics_of(engine.clone(), ingest.clone())),
            document: super::table::api_document(),
        });
        let background = vec![mark_used_keys(access.clone()), fold_observations(clock)];
        Ok(Self {
            store,
            engine,
            live,
            ingest,
            mail_job: mail.start(),
            usage_job: usage.start(),
            mail,
            api: api::router(app.clone()),
            app,
            background,
            _feeds: feeds,
        })
    }

    /// Ends what would go on by itself: event streams and live sockets. Their clients come back to the next server.
    pub(super) async fn send_viewers_away(&self) {
        self.app.end_streams();
        self.live.close().await;
    }

    /// Closes everything; the doors let nobody in any more.
    pub(super) async fn close(self) -> StoreResult<()> {
        self.usage_job.close().await;
        self.mail_job.close().await;
        self.engine.drain().await;
        for task in self.background {
            task.abort();
        }
        self.store.shut_down().await
    }
}

fn mark_used_keys(access: Access) -> JoinHandle<()> {
    tokio::spawn(async move { access.mark_used_keys().await })
}

/// Keeps the memory of histograms flat when nobody scrapes.
fn fold_observations(clock: Arc<dyn Clock>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            clock.sleep(OBSERVATIONS_FOLD_INTERVAL).await;
            telemetry::fold_observations();
        }
    })
}

/// `/metrics`, with the gauges of this server as they are now.
#[expect(
    clippy::cast_precision_loss,
    reason = "gauges are floating-point; these numbers stay far below 2^53"
)]
fn metrics_of(engine: Engine, ingest: IngestDoor) -> impl Fn() -> String + Send + Sync {
    move || {
        let alive = engine.stats();
        metrics::gauge!(name::ACTORS, "kind" => "organization").set(alive.organizations as f64);
        metrics::gauge!(name::ACTORS, "kind" => "execution").set(alive.executions as f64);
        metrics::gauge!(name::BUDGET_BYTES).set(ingest.budget().bytes() as f64);
        metrics::gauge!(name::BUDGET_USED_BYTES).set(ingest.budget().used_bytes() as f64);
        telemetry::render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::ACTOR_IDLE;

    #[test]
    fn runs_stay_in_memory_for_longer_where_they_are_read_from_a_cluster() {
        let idle = |store| engine_settings(&Settings { store, ..Settings::default() }).actor_idle;
        assert_eq!(idle(StoreKind::Embedded), ACTOR_IDLE);
        assert_eq!(idle(StoreKind::Scylla), ACTOR_IDLE_ON_CLUSTER);
        assert!(ACTOR_IDLE < ACTOR_IDLE_ON_CLUSTER);
    }
}
