//! Sends the letters that wait in the outbox, and tells handlers what became of theirs.
//!
//! A handler writes its letter with [`Mail::write`], lets the store keep it together with the change it tells of, and then
//! calls [`Mail::wake`], or [`Mail::was_sent`] if it has to say so. The job takes what is due under a lease, so that of
//! several nodes one sends, and says afterwards what became of it. A process that dies in between leaves the letter to the
//! next one, when the lease has run out: a letter is sent at least once, each time with the same message id.
//!
//! Without a mail server nothing is written, and what waits from before is given up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use metrics::{counter, gauge};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::clock::{Clock, UnixMs};
use crate::domain::id::OrgId;
use crate::domain::mail::{Letter, LetterEnd, LetterState, WaitingLetter};
use crate::domain::seal::Sealer;
use crate::limits::{
    MAIL_AT_ONCE, MAIL_CLOSE, MAIL_DEPTH_INTERVAL, MAIL_FAILURES_MAX, MAIL_LEASE_MARGIN, MAIL_LOOK_AGAIN,
    MAIL_OUTCOME_LOOK_AGAIN, MAIL_OUTCOME_WAIT, MAIL_PURGE_INTERVAL, MAIL_RETRY, MAIL_TAKEN_MAX,
};
use crate::outbound::mail::{Composer, Content, Links, SendError, Transport, open, seal};
use crate::store::contract::{Outbox, StoreResult};
use crate::telemetry::name::{MAIL_LETTERS, MAIL_OLDEST_SECONDS, MAIL_QUEUED};

/// Who takes letters over, and who writes them.
pub struct Postman {
    /// The mail server.
    pub transport: Box<dyn Transport>,
    /// Writes messages.
    pub composer: Composer,
    /// How long handing one over may take.
    pub timeout: Duration,
}

/// What mail needs.
pub struct MailParts {
    /// Where letters wait.
    pub outbox: Arc<dyn Outbox>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Seals what letters say.
    pub sealer: Sealer,
    /// Where their links lead.
    pub links: Links,
    /// Who sends them; `None` if no mail server is configured.
    pub postman: Option<Postman>,
}

/// Mail, for handlers. Cheap to clone.
#[derive(Clone)]
pub struct Mail(Arc<Inner>);

struct Inner {
    parts: MailParts,
    wake: Notify,
    /// Counts rounds of sending, so that who waits for a letter looks again.
    rounds: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

/// The job that sends.
pub struct MailJob {
    mail: Mail,
    task: JoinHandle<()>,
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Mail {
    /// Mail made of these parts; [`Mail::start`] sends it.
    #[must_use]
    pub fn new(parts: MailParts) -> Self {
        let (rounds, stopping) = (watch::Sender::new(0), watch::Sender::new(false));
        Self(Arc::new(Inner { parts, wake: Notify::new(), rounds, stopping }))
    }

    /// Whether letters are sent at all. If not, an invitation's link is given to the inviter.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.0.parts.postman.is_some()
    }

    /// Where links lead.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.0.parts.links
    }

    /// A letter for the store to keep with the change it tells of, or `None` without a mail server, which is then logged and
    /// counted. `key` names what is told to whom, as `invitation/<id>`: it is logged, so it holds no secret, and within
    /// `org` it is never sent twice. From `expires_ms` on (Unix milliseconds) the letter is of no use.
    #[must_use]
    pub fn write(
        &self,
        org: OrgId,
        key: String,
        to: &str,
        content: &Content,
        expires_ms: UnixMs,
    ) -> Option<Letter> {
        let kind = content.kind();
        if !self.is_configured() {
            count(kind.name(), "unsent");
            tracing::info!(org.id = %org, letter = key, "no mail server is configured: a letter is not sent");
            return None;
        }
        match seal(&self.0.parts.sealer, org, &key, content) {
            Ok(content) => {
                let created_ms = self.0.parts.clock.now_ms();
                Some(Letter { org, key, kind, to: to.to_owned(), content, created_ms, expires_ms })
            }
            Err(error) => {
                tracing::error!(org.id = %org, letter = key, error = %error, "a letter cannot be written");
                None
            }
        }
    }

    /// Has the outbox looked at now: call it when a change with a letter is stored.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Has the outbox looked at, and waits at most [`MAIL_OUTCOME_WAIT`] for the first try of a letter that is stored.
    /// `true` if a mail server has taken it over by then. `false` does not mean that it never will: after a first failure, or
    /// when the server is slow, it is tried again. An outbox that was full, or is not reached, is `false` too.
    pub async fn was_sent(&self, org: OrgId, key: &str) -> bool {
        let mut rounds = self.0.rounds.subscribe();
        self.wake();
        let clock = &self.0.parts.clock;
        let mut given_up = clock.sleep(MAIL_OUTCOME_WAIT);
        loop {
            rounds.mark_unchanged();
            match self.0.parts.outbox.letter_state(org, key).await {
                Ok(Some(LetterState::Ended(end))) => return end == LetterEnd::Sent,
                Ok(Some(LetterState::Waiting { failures: 0 })) => {}
                Ok(Some(LetterState::Waiting { .. }) | None) | Err(_) => return false,
            }
            // Another node may send it, of whose rounds nothing is heard here.
            tokio::select! {
                () = &mut given_up => return false,
                _ = rounds.changed() => {}
                () = clock.sleep(MAIL_OUTCOME_LOOK_AGAIN) => {}
            }
        }
    }

    /// Where letters wait.
    pub(super) fn outbox(&self) -> &dyn Outbox {
        &*self.0.parts.outbox
    }

    /// Starts sending.
    #[must_use]
    pub fn start(&self) -> MailJob {
        let mail = self.clone();
        MailJob { mail: self.clone(), task: tokio::spawn(async move { mail.run().await }) }
    }

    async fn run(&self) {
        let mut stopping = self.0.stopping.subscribe();
        let clock = &self.0.parts.clock;
        let (mut measured_ms, mut purged_ms) = (None, None);
        let is_over = |last_ms: Option<UnixMs>, interval: Duration| {
            last_ms.is_none_or(|last_ms| clock.now_ms() >= last_ms.saturating_add(whole_ms(interval)))
        };
        while !*stopping.borrow_and_update() {
            let taken = self.round().await;
            if taken > 0 || is_over(measured_ms, MAIL_DEPTH_INTERVAL) {
                self.measure().await;
                measured_ms = Some(clock.now_ms());
            }
            if is_over(purged_ms, MAIL_PURGE_INTERVAL) {
                self.purge().await;
                purged_ms = Some(clock.now_ms());
            }
            if taken == MAIL_AT_ONCE {
                continue;
            }
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = clock.sleep(MAIL_LOOK_AGAIN) => {}
                _ = stopping.changed() => {}
            }
        }
    }

    /// Takes what is due and deals with all of it; how many that were.
    async fn round(&self) -> usize {
        let parts = &self.0.parts;
        let timeout = parts.postman.as_ref().map_or(Duration::ZERO, |postman| postman.timeout);
        let lease_ms = whole_ms(timeout.saturating_add(MAIL_LEASE_MARGIN));
        let taken = parts.outbox.take_letters(parts.clock.now_ms(), lease_ms, MAIL_AT_ONCE).await;
        let taken = taken.unwrap_or_else(|error| {
            tracing::warn!(error = %error, "the outbox cannot be read");
            Vec::new()
        });
        join_all(taken.iter().map(|letter| self.deal_with(letter))).await;
        self.0.rounds.send_modify(|rounds| *rounds = rounds.wrapping_add(1));
        taken.len()
    }

    /// Tries to send a letter, and says in the store what came of it.
    async fn deal_with(&self, waiting: &WaitingLetter) {
        let (letter, kind) = (&waiting.letter, waiting.letter.kind.name());
        let (outcome, said) = match self.try_to_send(waiting).await {
            Ok(()) => ("sent", self.end(waiting, LetterEnd::Sent).await),
            Err(SendError::ForNow(reason)) if waiting.failures.saturating_add(1) < MAIL_FAILURES_MAX => {
                tracing::info!(org.id = %letter.org, letter = letter.key, reason, "a letter is tried again");
                ("failed", self.postpone(waiting).await)
            }
            Err(SendError::ForNow(reason) | SendError::ForGood(reason)) => {
                tracing::warn!(org.id = %letter.org, letter = letter.key, reason, "a letter is given up");
                ("given_up", self.end(waiting, LetterEnd::GivenUp).await)
            }
        };
        count(kind, outcome);
        if let Err(error) = said {
            // Nobody said what became of it: it is taken again when the lease has run out.
            tracing::warn!(org.id = %letter.org, letter = letter.key, error = %error, "a letter's outcome is not stored");
        }
    }

    async fn try_to_send(&self, waiting: &WaitingLetter) -> Result<(), SendError> {
        let (parts, letter) = (&self.0.parts, &waiting.letter);
        let now_ms = parts.clock.now_ms();
        let for_good = |reason: &str| Err(SendError::ForGood(reason.to_owned()));
        let Some(postman) = &parts.postman else { return for_good("no mail server is configured any more") };
        if now_ms >= letter.expires_ms {
            return for_good("it is of no use any more");
        }
        if waiting.taken > MAIL_TAKEN_MAX {
            return for_good("it was taken too often by processes that ended over it");
        }
        let content = open(&parts.sealer, letter).map_err(|error| SendError::ForGood(error.to_string()))?;
        let message = postman.composer.message(letter, &content, now_ms)?;
        let sending = postman.transport.send(message);
        tokio::time::timeout(postman.timeout, sending)
            .await
            .unwrap_or_else(|_| Err(SendError::ForNow("the mail server takes too long".to_owned())))
    }

    async fn end(&self, waiting: &WaitingLetter, end: LetterEnd) -> StoreResult<bool> {
        self.0.parts.outbox.end_letter(waiting, end, self.0.parts.clock.now_ms()).await
    }

    async fn postpone(&self, waiting: &WaitingLetter) -> StoreResult<bool> {
        let waits = usize::try_from(waiting.failures).unwrap_or(usize::MAX);
        let pause = MAIL_RETRY.get(waits).or(MAIL_RETRY.last()).copied().unwrap_or_default();
        let due_ms = self.0.parts.clock.now_ms().saturating_add(whole_ms(pause));
        self.0.parts.outbox.postpone_letter(waiting, due_ms).await
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floating-point; these numbers stay far below 2^53"
    )]
    async fn measure(&self) {
        let Ok(depth) = self.0.parts.outbox.outbox_depth().await else { return };
        let age_ms = depth
            .oldest_ms
            .map_or(0, |oldest_ms| self.0.parts.clock.now_ms().saturating_sub(oldest_ms).max(0));
        gauge!(MAIL_QUEUED).set(depth.letters as f64);
        gauge!(MAIL_OLDEST_SECONDS).set(age_ms as f64 / 1_000.0);
    }

    async fn purge(&self) {
        if let Err(error) = self.0.parts.outbox.purge_letters(self.0.parts.clock.now_ms()).await {
            tracing::warn!(error = %error, "ended letters cannot be forgotten");
        }
    }
}

impl MailJob {
    /// Takes no more letters and lets those that are being sent finish, for at most [`MAIL_CLOSE`]. What did not finish is
    /// sent by the next process.
    pub async fn close(self) {
        self.mail.0.stopping.send_replace(true);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(MAIL_CLOSE, self.task).await.is_err() {
            abort.abort();
        }
    }
}

fn count(kind: &'static str, outcome: &'static str) {
    counter!(MAIL_LETTERS, "kind" => kind, "outcome" => outcome).increment(1);
}
