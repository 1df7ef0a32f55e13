//! The command line.

mod admin;
mod bench;
mod bench_load;
mod bench_report;
mod bench_stub;
mod demo;
mod needles;
mod offline;
mod readme;
mod secrets;
mod store;
mod tail;
