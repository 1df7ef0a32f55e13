//! Slow hashes of passwords, made on a bounded number of threads: a flood of logins waits or is refused, and neither
//! starves the rest of the process nor takes its memory. Source: API reference, identity 2.5, 4.2.
//!
//! A thread that computes without a pause delays others on its core even at the lowest rank: whenever two of them want the
//! core at once, the scheduler lets the one that has waited longest go before the second, until its next tick. A pulse makes
//! it look again before. Where others want all cores all the time, the lowest rank may wait for many seconds: what is not done
//! in time is done again at the usual one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::http::Failure;
use crate::limits;
use crate::rank;

/// Seconds after which to come back when the queue is full.
const RETRY_AFTER_S: u64 = 2;

/// How long a hashing thread outlives its last hash.
const THREAD_KEPT: Duration = Duration::from_secs(10);

/// How passwords are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordSettings {
    /// Memory of one hash in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Hashes made at the same time.
    pub parallel: usize,
    /// Hashes that may wait for their turn.
    pub waiting_max: usize,
}

impl Default for PasswordSettings {
    fn default() -> Self {
        Self {
            memory_kib: Params::DEFAULT_M_COST,
            passes: Params::DEFAULT_T_COST,
            parallel: limits::PASSWORD_HASHES_PARALLEL,
            waiting_max: limits::PASSWORD_HASHES_WAITING_MAX,
        }
    }
}

/// Why a password was neither hashed nor checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// The hash cannot be made, or the stored one cannot be read.
    #[error("password hashing failed: {0}")]
    Failed(String),
}

impl PasswordError {
    /// What the client is told: 503 when busy, else 500 with the endpoint's own `error`.
    #[must_use]
    pub fn into_failure(self, error: &'static str) -> Failure {
        match self {
            Self::Busy => Failure::unavailable("Too many sign-ins at once, try again", RETRY_AFTER_S),
            Self::Failed(_) => Failure::internal(error, self),
        }
    }
}

/// Hashes and checks passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    argon: Argon2<'static>,
    threads: Arc<Threads>,
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// How long the paced threads are waited for.
    patience: Duration,
    /// The hash of a password nobody has, for addresses nobody has.
    nobody: Arc<str>,
}

impl Passwords {
    /// Hashing with these settings. Makes one hash, so it blocks for some tens of milliseconds.
    ///
    /// # Errors
    /// `Failed` if argon2 does not take the settings, or no thread can be had.
    pub fn new(settings: PasswordSettings) -> Result<Self, PasswordError> {
        let params = Params::new(settings.memory_kib, settings.passes, 1, None).map_err(failed)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash_now(&argon, &rand::random::<[u8; 32]>())?;
        let parallel = settings.parallel.max(1);
        Ok(Self {
            argon,
            threads: Arc::new(Threads::new(parallel).map_err(failed)?),
            turns: Arc::new(Semaphore::new(parallel)),
            places: Arc::new(Semaphore::new(parallel.saturating_add(settings.waiting_max))),
            patience: limits::PASSWORD_PATIENCE,
            nobody: nobody.into(),
        })
    }

    /// Waits for a turn to hash.
    ///
    /// # Errors
    /// `Busy` with a full queue.
    pub async fn turn(&self) -> Result<Turn, PasswordError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(failed)?;
        Ok(Turn { passwords: self.clone(), held: Arc::new((place, turn)) })
    }

    /// The salted slow hash of the whole password, as a PHC string.
    ///
    /// # Errors
    /// `Busy` with a full queue.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let argon = self.argon.clone();
        self.turn().await?.take(move || hash_now(&argon, password.as_bytes())).await
    }

    /// As [`Turn::verify`], in a turn of its own.
    ///
    /// # Errors
    /// `Busy` with a full queue, `Failed` if the stored hash cannot be read.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        self.turn().await?.verify(password, stored).await
    }
}

/// The right to hash. The next one has it when this is dropped.
pub struct Turn {
    passwords: Passwords,
    held: Arc<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Turn {
    /// Whether `password` is the one that `stored` (a PHC string) was made of. Without a stored hash it is not, after
    /// the same work: how long the answer takes does not tell whether the address has an account.
    ///
    /// # Errors
    /// `Failed` if the stored hash cannot be read.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let (argon, nobody) = (self.passwords.argon.clone(), Arc::clone(&self.passwords.nobody));
        self.take(move || {
            let hash = PasswordHash::new(stored.as_deref().unwrap_or(&nobody)).map_err(failed)?;
            match argon.verify_password(password.as_bytes(), &hash) {
                Ok(()) => Ok(stored.is_some()),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(failed(error)),
            }
        })
        .await
    }

    async fn take<T: Send + 'static>(
        &self,
        work: impl Fn() -> Result<T, PasswordError> + Send + Sync + 'static,
    ) -> Result<T, PasswordError> {
        let work = Arc::new(work);
        let (tell, told) = oneshot::channel();
        let (paced, pulse) = (Arc::clone(&work), Arc::clone(&self.passwords.threads.pulse));
        self.passwords.threads.run(move || {
            if tell.is_closed() {
                return;
            }
            let _nobody_waits = tell.send(pulse.during(&*paced));
        });
        if let Ok(told) = timeout(self.passwords.patience, told).await {
            return told.map_err(failed)?;
        }
        // Others leave the last rank nothing of the cores, and it cannot be raised: once more with the usual one.
        let held = Arc::clone(&self.held);
        let at_usual_rank = spawn_blocking(move || {
            // A caller who goes away does not stop the work, so place and turn are held to its end.
            let _held = held;
            work()
        });
        at_usual_rank.await.map_err(failed)?
    }
}

/// The threads that hash: a runtime for nothing but its blocking work, which comes and goes with the work.
struct Threads {
    runtime: Option<Runtime>,
    pulse: Arc<Pulse>,
}

impl Threads {
    fn new(parallel: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(parallel)
            .thread_keep_alive(THREAD_KEPT)
            .thread_name("password")
            .on_thread_start(rank::give_way)
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            pulse: Arc::new(Pulse::new(|| thread::sleep(limits::PASSWORD_PULSE))?),
        })
    }

    fn run(&self, work: impl FnOnce() + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn_blocking(work);
        }
    }
}

impl Drop for Threads {
    /// Without waiting, which async code must not do.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A thread of the usual rank that wakes up again and again while a password is hashed, and does nothing. What the
/// scheduler has let go before its betters goes on until somebody wakes up, or until the next tick: up to 4 ms.
struct Pulse {
    shared: Arc<Beats>,
    thread: Thread,
}

/// What is hashed now, for [`Pulse`].
#[derive(Default)]
struct Beats {
    under_way: AtomicUsize,
    is_over: AtomicBool,
}

impl Pulse {
    fn new(beat: impl Fn() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Beats::default());
        let beats = Arc::clone(&shared);
        let thread = thread::Builder::new().name("pulse".to_owned()).spawn(move || beats.go_on(beat))?;
        Ok(Self { shared, thread: thread.thread().clone() })
    }

    /// Runs `work` while this beats.
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.shared.under_way.fetch_add(1, Ordering::SeqCst);
        let _under_way = UnderWay(&self.shared);
        self.thread.unpark();
        work()
    }
}

/// One hash that is made. Over when it is dropped, by a panic too.
struct UnderWay<'a>(&'a Beats);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Beats {
    fn go_on(&self, beat: impl Fn()) {
        while !self.is_over.load(Ordering::SeqCst) {
            if self.under_way.load(Ordering::SeqCst) > 0 {
                beat();
            } else {
                thread::park();
            }
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn hash_now(argon: &Argon2<'_>, password: &[u8]) -> Result<String, PasswordError> {
    let hash: PasswordHash = argon.hash_password(password).map_err(failed)?;
    Ok(hash.to_string())
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Cheap enough to be used often.
    fn settings() -> PasswordSettings {
        PasswordSettings { memory_kib: 64, passes: 1, parallel: 1, waiting_max: 1 }
    }

    /// Longer than other tests keep the cores.
    const LONG: Duration = Duration::from_secs(60);

    fn patient() -> Passwords {
        Passwords { patience: LONG, ..Passwords::new(settings()).unwrap() }
    }

    #[tokio::test]
    async fn a_password_is_recognised_whole_and_by_itself_only() {
        let passwords = Passwords::new(settings()).unwrap();
        let long = format!("Aa1!{}", "x".repeat(124));
        let hash = passwords.hash(long.clone()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert_ne!(passwords.hash(long.clone()).await.unwrap(), hash, "salted");
        let verify = async |password: &str| passwords.verify(password.into(), Some(hash.clone())).await;
        assert_eq!(verify(&long).await, Ok(true));
        assert_eq!(verify(&long[..127]).await, Ok(false), "beyond byte 72 everything counts");
        assert_eq!(verify("").await, Ok(false));
        assert_eq!(passwords.verify(long, None).await, Ok(false));
        let damaged = passwords.verify("x".into(), Some("not a hash".into())).await;
        assert!(matches!(damaged, Err(PasswordError::Failed(_))), "{damaged:?}");
    }

    #[tokio::test]
    async fn an_unknown_address_costs_a_hash_with_the_same_parameters() {
        let passwords = Passwords::new(settings()).unwrap();
        let known = passwords.hash("Abcdef1!".into()).await.unwrap();
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().unwrap().to_owned();
        assert_eq!(parameters(&passwords.nobody), parameters(&known));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_hashing_thread_lets_the_others_go_first() {
        let passwords = patient();
        let policy = || rank::current().map_err(|error| failed(format!("{error:?}")));
        let usual = policy().unwrap();
        assert_ne!(usual, rank::LAST);
        assert_eq!(passwords.turn().await.unwrap().take(policy).await, Ok(rank::LAST));
        assert_eq!(policy(), Ok(usual), "nobody else gave way");
    }

    #[tokio::test]
    async fn a_password_is_hashed_beside_the_pulse() {
        let passwords = patient();
        let pulse = Arc::clone(&passwords.threads.pulse);
        let under_way = move || Ok(pulse.shared.under_way.load(Ordering::SeqCst));
        assert_eq!(passwords.turn().await.unwrap().take(under_way).await, Ok(1));
    }

    #[test]
    fn the_pulse_beats_while_something_is_hashed_and_ends_with_the_last_hash() {
        let beats = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&beats);
        let pulse = Pulse::new(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(1));
        });
        let pulse = pulse.unwrap();
        let count = || beats.load(Ordering::SeqCst);
        let until = |wanted: &dyn Fn() -> bool| {
            let begun = Instant::now();
            while !wanted() {
                assert!(begun.elapsed() < LONG, "{} beats", count());
                thread::sleep(Duration::from_millis(1));
            }
        };
        for _ in 0..2 {
            let before = count();
            pulse.during(|| until(&|| count() > before + 3));
            let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pulse.during(|| panic!("on purpose"))
            }));
            assert!(panicked.is_err());
            // One may be under way.
            thread::sleep(Duration::from_millis(20));
            let after = count();
            thread::sleep(Duration::from_millis(20));
            assert_eq!(count(), after, "nothing is hashed");
        }
        drop(pulse);
        until(&|| Arc::strong_count(&beats) == 1);
    }

    #[tokio::test]
    async fn what_waits_too_long_is_done_at_the_usual_rank_and_once() {
        let passwords = Passwords::new(settings()).unwrap();
        let (busy, free) = std::sync::mpsc::channel::<()>();
        passwords.threads.run(move || assert!(free.recv().is_err()));
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let work = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(thread::current().name().map(str::to_owned))
        };
        let begun = Instant::now();
        let by = passwords.turn().await.unwrap().take(work).await.unwrap();
        assert_ne!(by.as_deref(), Some("password"));
        assert!(begun.elapsed() >= limits::PASSWORD_PATIENCE, "{:?}", begun.elapsed());
        drop(busy);
        let by =
            passwords.turn().await.unwrap().take(|| Ok(thread::current().name().map(str::to_owned))).await;
        assert_eq!(by, Ok(Some("password".to_owned())), "in time again");
        assert_eq!(done.load(Ordering::SeqCst), 1, "nobody wanted it any more");
    }

    #[tokio::test]
    async fn a_turn_is_held_as_long_as_it_is_wanted() {
        let passwords = Passwords::new(settings()).unwrap();
        let turn = passwords.turn().await.unwrap();
        assert_eq!(turn.verify("x".into(), None).await, Ok(false));
        let mut next = Box::pin(passwords.turn());
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut next).await.is_err());
        drop(turn);
        next.await.unwrap();
    }

    #[tokio::test]
    async fn who_finds_no_place_in_the_queue_is_sent_away() {
        let passwords = Passwords::new(settings()).unwrap();
        let turn = passwords.turns.clone().acquire_owned().await.unwrap();
        let hash = || {
            let passwords = passwords.clone();
            async move { passwords.hash("Abcdef1!".into()).await }
        };
        // The first would have the turn that is held here, the second waits for it.
        let (mut first, mut second) = (Box::pin(hash()), Box::pin(hash()));
        assert!(
            futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending()
        );
        assert_eq!(hash().await, Err(PasswordError::Busy));
        drop(second);
        let mut third = Box::pin(hash());
        assert!(futures_util::poll!(&mut third).is_pending(), "a place given up is free again");
        drop(turn);
        assert!(first.await.is_ok() && third.await.is_ok() && hash().await.is_ok());

        let failure = PasswordError::Busy.into_failure("Login failed");
        assert_eq!(
            (failure.kind, failure.error.as_ref()),
            (crate::http::Kind::Unavailable, "Service unavailable")
        );
        let failure = PasswordError::Failed("x".into()).into_failure("Login failed");
        assert_eq!((failure.kind, failure.error.as_ref()), (crate::http::Kind::Internal, "Login failed"));
    }

    #[test]
    fn the_default_is_what_is_recommended() {
        let settings = PasswordSettings::default();
        assert_eq!((settings.memory_kib, settings.passes), (19_456, 2));
        let impossible = Passwords::new(PasswordSettings { memory_kib: 1, ..settings });
        assert!(impossible.is_err());
    }
}
