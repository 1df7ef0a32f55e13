//! Fuzzes the reading of request bodies.
#![no_main]

mod targets {
    #[expect(dead_code, reason = "seeds are for the suite; this fuzzer keeps its own corpus")]
    pub(crate) mod body;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| targets::body::run(data));
