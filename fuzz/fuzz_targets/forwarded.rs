//! Runs the entry `forwarded`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("forwarded", data));
