//! E-mail: what a letter says ([`Content`]), where its links lead ([`Links`]), how it reads ([`Composer`], over the templates
//! beside it), and who takes it over ([`Transport`], in production [`Smtp`]).
//!
//! Names that people gave themselves and their organizations stand in letters. Every one of them is made a single line
//! without control characters before it gets into a template or a header, the HTML part is escaped by the template engine,
//! and links begin with the configured address of the dashboard: nothing of a request leads anywhere in a letter. Source: API
//! reference, identity 11.

mod composer;
mod content;
mod letter;
mod links;
mod settings;
mod smtp;
mod text;
mod transport;

pub use composer::{Composer, Message};
pub use content::Content;
pub use letter::{UnreadableLetter, open, seal};
pub use links::{InvitationAction, Links};
pub use settings::{MailSettings, MailTls, Sender};
pub use smtp::{Smtp, SmtpSettingsError};
pub use transport::{SendError, Transport};
