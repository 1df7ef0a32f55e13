//! Fuzzes the reading of page cursors, offsets and times.
#![no_main]

mod targets {
    #[expect(dead_code, reason = "seeds are for the suite; this fuzzer keeps its own corpus")]
    pub(crate) mod cursor;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::cursor::run(data));
