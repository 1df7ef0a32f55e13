//! A feed in memory: one row per boundary, windows as the engine makes them, and a switch for each way to fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use runstream::actors::feed::{FeedError, Feeds, Frame, Head, Unusable, Window};
use runstream::domain::id::OrgId;

/// Text of a window, as far as rows allow.
const WINDOW_BYTES: usize = 64 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Rows {
    rows: Mutex<HashMap<OrgId, Vec<Frame>>>,
    /// How often a window was made for somebody who asked.
    pub(super) made: AtomicUsize,
    /// Boundaries below this one are not kept any more.
    pub(super) oldest: AtomicU64,
    /// This row's text is not there any more.
    pub(super) hole: AtomicU64,
    /// Nothing is answered.
    pub(super) down: AtomicBool,
}

pub(super) const EPOCH: u64 = 0xfeed;

impl Rows {
    /// Adds rows, and returns the window of them.
    pub(super) fn add(&self, org: OrgId, frames: &[Frame]) -> Arc<Window> {
        let mut rows = self.rows.lock().unwrap();
        let rows = rows.entry(org).or_default();
        let from = rows.len() as u64;
        rows.extend_from_slice(frames);
        Arc::new(Window { from, upto: rows.len() as u64, frames: frames.to_vec() })
    }

    /// The newest boundary.
    pub(super) fn len(&self, org: OrgId) -> usize {
        self.rows.lock().unwrap().get(&org).map_or(0, Vec::len)
    }

    fn look<T>(&self, org: OrgId, look: impl FnOnce(&[Frame]) -> T) -> Result<T, FeedError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(FeedError::Unavailable("switched off".to_owned()));
        }
        Ok(look(self.rows.lock().unwrap().get(&org).map_or(&[], Vec::as_slice)))
    }
}

fn bytes(frame: &Frame) -> usize {
    match frame {
        Frame::Log { text, .. } => text.len(),
        Frame::Updated { body, .. } => body.len(),
    }
}

#[async_trait]
impl Feeds for Rows {
    async fn head(&self, org: OrgId) -> Result<Head, FeedError> {
        self.look(org, |rows| Head { epoch: EPOCH, sealed: rows.len() as u64 })
    }

    async fn check(&self, org: OrgId, after: u64) -> Result<(), FeedError> {
        let oldest = self.oldest.load(Ordering::SeqCst);
        self.look(org, |rows| {
            if after > rows.len() as u64 {
                Err(FeedError::Unusable(Unusable::Forged))
            } else if after < oldest {
                Err(FeedError::Unusable(Unusable::TooOld))
            } else {
                Ok(())
            }
        })?
    }

    async fn window(
        &self,
        org: OrgId,
        after: u64,
        upto: Option<u64>,
    ) -> Result<Option<Arc<Window>>, FeedError> {
        self.check(org, after).await?;
        let hole = self.hole.load(Ordering::SeqCst);
        self.look(org, |rows| {
            let from = usize::try_from(after).unwrap();
            let upto = match upto {
                Some(upto) => usize::try_from(upto).unwrap().min(rows.len()),
                None => {
                    let mut size = 0;
                    let fits = rows[from..].iter().take_while(|row| {
                        let before = size;
                        size += bytes(row);
                        before == 0 || size <= WINDOW_BYTES
                    });
                    from + fits.count()
                }
            };
            if upto == from {
                return Ok(None);
            }
            if after < hole && hole <= upto as u64 {
                return Err(FeedError::Unusable(Unusable::TooOld));
            }
            self.made.fetch_add(1, Ordering::SeqCst);
            let frames = rows[from..upto].to_vec();
            Ok(Some(Arc::new(Window { from: after, upto: upto as u64, frames })))
        })?
    }
}
