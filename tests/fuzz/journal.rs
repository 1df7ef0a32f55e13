//! Fuzzes the reading of journal files.
#![no_main]

mod targets {
    pub(crate) mod journal;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::journal::run(data));
