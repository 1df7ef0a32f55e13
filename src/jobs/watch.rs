//! Looks at how much an organization uses, after something was made in it, and has its active administrators told of
//! thresholds that were crossed. Whoever makes something says so by [`UsageWatch::changed`], which costs nothing; one task
//! looks, at an organization at most once in [`USAGE_LOOK_PAUSE`]. A process that starts looks at all of them, so that what the
//! one before it did not get to is told after all. Source: API reference, identity 5.5 and 11.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::mail::Mail;
use super::usage::{Admin, Use, crossed};
use crate::clock::{Clock, UnixMs};
use crate::domain::id::OrgId;
use crate::domain::member::is_active_admin;
use crate::domain::plan::Plan;
use crate::domain::usage::{Period, Resource, Share};
use crate::limits::{USAGE_LOOK_PAUSE, USAGE_LOOK_RETRY, USAGE_TOLD_REMEMBERED_MAX, WATCH_CLOSE};
use crate::store::contract::{Store, StoreResult};
use crate::store::usage::usage;

/// What the watch needs.
pub struct WatchParts {
    /// What is counted.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who writes to administrators.
    pub mail: Mail,
    /// The plan of every organization of this deployment.
    pub plan: Plan,
}

/// The watch, for whoever makes something that a plan limits. Cheap to clone.
#[derive(Clone)]
pub struct UsageWatch(Arc<Inner>);

struct Inner {
    parts: WatchParts,
    /// Where something was made since it was looked at.
    changed: Mutex<BTreeSet<OrgId>>,
    wake: Notify,
    stopping: watch::Sender<bool>,
}

/// The task that looks.
pub struct WatchJob {
    watch: UsageWatch,
    task: JoinHandle<()>,
}

/// A threshold that is known to have been told: where, of what, which, and in the period that begins then.
type Told = HashSet<(OrgId, Resource, u8, UnixMs)>;

impl UsageWatch {
    /// A watch with these parts; [`UsageWatch::start`] lets it look.
    #[must_use]
    pub fn new(parts: WatchParts) -> Self {
        let stopping = watch::Sender::new(false);
        Self(Arc::new(Inner { parts, changed: Mutex::default(), wake: Notify::new(), stopping }))
    }

    /// Has an organization looked at, where something was made just now.
    pub fn changed(&self, org: OrgId) {
        self.all_changed([org]);
    }

    fn all_changed(&self, orgs: impl IntoIterator<Item = OrgId>) {
        self.0.changed.lock().unwrap_or_else(PoisonError::into_inner).extend(orgs);
        self.0.wake.notify_one();
    }

    /// Starts looking, at all organizations first.
    #[must_use]
    pub fn start(&self) -> WatchJob {
        let watch = self.clone();
        WatchJob { watch: self.clone(), task: tokio::spawn(async move { watch.run().await }) }
    }

    async fn run(&self) {
        let parts = &self.0.parts;
        let (mut stopping, mut told) = (self.0.stopping.subscribe(), Told::new());
        let mut knows_all = false;
        loop {
            let mut pause = USAGE_LOOK_PAUSE;
            if !knows_all {
                match parts.store.organization_ids().await {
                    Ok(all) => {
                        self.all_changed(all);
                        knows_all = true;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "organizations could not be looked for");
                        pause = USAGE_LOOK_RETRY;
                    }
                }
            }
            let changed = std::mem::take(&mut *self.0.changed.lock().unwrap_or_else(PoisonError::into_inner));
            for org in changed {
                if *stopping.borrow() {
                    return;
                }
                if let Err(error) = self.look(org, &mut told).await {
                    tracing::warn!(org.id = %org, %error, "what is used could not be looked at");
                    pause = USAGE_LOOK_RETRY;
                    self.all_changed([org]);
                }
            }
            tokio::select! {
                () = parts.clock.sleep(pause) => {}
                _ = stopping.changed() => return,
            }
            if knows_all {
                tokio::select! {
                    () = self.0.wake.notified() => {}
                    _ = stopping.changed() => return,
                }
            }
        }
    }

    /// Has the administrators of an organization told what they were not told yet.
    async fn look(&self, org: OrgId, told: &mut Told) -> StoreResult<()> {
        let WatchParts { store, clock, mail, plan } = &self.0.parts;
        let now_ms = clock.now_ms();
        let (period, used) = (Period::at(now_ms), usage(&**store, org, &plan.limits(), now_ms).await?);
        let mut new = Vec::new();
        for resource in Resource::ALL {
            let used = use_of(resource, used.share(resource), period);
            if let Some(threshold) = crossed(used.percent).first() {
                let mark = (org, resource, *threshold, period.start_ms);
                if !told.contains(&mark) {
                    new.push((used, mark));
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let Some(organization) = store.organization(org).await? else { return Ok(()) };
        let members = store.members(org).await?.into_iter().filter(is_active_admin);
        let admins: Vec<_> = members.map(|user| Admin { user: user.id, email: user.email }).collect();
        for (used, mark) in new {
            mail.usage_crossed(org, &organization.name, &used, &admins).await?;
            if told.len() >= USAGE_TOLD_REMEMBERED_MAX {
                // The store remembers it, too.
                told.clear();
            }
            told.insert(mark);
        }
        Ok(())
    }
}

impl WatchJob {
    /// Ends it after the organization that it is looking at, for which it is given [`WATCH_CLOSE`]. What is left is looked at
    /// by the next process.
    pub async fn close(self) {
        self.watch.0.stopping.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(WATCH_CLOSE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// How much is used of a resource, for a letter.
fn use_of(resource: Resource, share: Share, period: Period) -> Use {
    let (words, used) = match resource {
        Resource::TestRuns => ("test runs", format!("{} of {}", share.used, share.limit)),
        Resource::Users => ("members", format!("{} of {}", share.used, share.limit)),
        Resource::Projects => ("projects", format!("{} of {}", share.used, share.limit)),
        Resource::Storage => {
            ("storage", format!("{} of {} MiB", mebibytes(share.used), mebibytes(share.limit)))
        }
    };
    Use {
        resource: resource.as_str().to_owned(),
        words: words.to_owned(),
        used,
        percent: share.percent_reached(),
        period_start_ms: period.start_ms,
        period_end_ms: period.next_ms,
    }
}

const fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::plan::UNLIMITED;

    #[test]
    fn a_share_is_told_in_words_and_by_what_it_has_reached() {
        let period = Period { start_ms: 1, next_ms: 9 };
        let check = |resource, used, limit, words: &str, percent| {
            let told = use_of(resource, Share { used, limit }, period);
            assert_eq!((told.used.as_str(), told.percent), (words, percent), "{resource:?}");
            assert_eq!((told.period_start_ms, told.period_end_ms), (1, 9));
        };
        check(Resource::TestRuns, 41, 50, "41 of 50", 82);
        // Rounded it would be half.
        check(Resource::TestRuns, 499, 1000, "499 of 1000", 49);
        check(Resource::Users, 7, UNLIMITED, "7 of 999999", 0);
        check(Resource::Projects, 0, 0, "0 of 0", 0);
        check(Resource::Storage, 600 << 20, 500 << 20, "600 of 500 MiB", 120);
    }
}
