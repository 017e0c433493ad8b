//! Runs the entry `http`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("http", data));
