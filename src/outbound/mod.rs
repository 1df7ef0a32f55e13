//! What is asked of others, each behind a trait of its own: so far a mail server ([`mail`]). Nothing here decides whether or
//! when something is asked; that is the jobs' business.

pub mod mail;
