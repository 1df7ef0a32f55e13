//! What attackers try, each over real sockets; where a client would tidy a request up, in raw bytes. Mail is attacked in
//! `tests/mail/outside.rs`, heads of requests in `tests/server/heads.rs`, rates in `super::rates`.

mod assignment;
mod names;
mod paths;
mod stuffing;
mod tokens;
mod twice;
