//! Secrets at rest: what an organization entrusts to the server (values of variables, addresses of webhooks, tokens of other
//! systems) is stored sealed, and opened only where it is used.
//!
//! A [`SecretText`] is such a value in memory: it cannot be printed, serialised or compared in variable time. The
//! [`Sealer`] makes a [`Sealed`] of it, which only a store serialises: XChaCha20-Poly1305 under the current key, whose id
//! stands in it. Organization and name are bound into it, so that a value which was put in another's place does not open.
//!
//! A name is unique within its organization and says kind and record, as `slackWebhookUrl` or `variable/<project>/<id>`.
//! It is what the value is stored under too.

mod ring;
mod sealed;
mod text;

pub use ring::{OpenError, Sealer, SealingKey};
pub use sealed::{KeyId, Sealed};
pub use text::SecretText;
