//! The REST door over real sockets, and the table that drives it. `expectations` is written by hand from the API
//! reference; `walk` holds every endpoint of every door to it.

mod apart;
mod attacks;
mod auth;
mod billing;
mod bodies;
mod document;
mod ended;
mod executions;
mod expectations;
mod failing;
mod foreign;
mod headers;
mod invitations;
mod keys;
mod limits;
mod logs;
mod membership;
mod organization;
mod profile;
mod project_settings;
mod projects;
mod rates;
mod schema;
mod schemathesis;
mod suspension;
mod system;
mod time;
mod users;
mod variables;
mod walk;
