//! The command line.

mod bench;
mod bench_load;
mod bench_report;
mod bench_stub;
mod demo;
mod secrets;
mod store;
mod tail;
