//! Runs the entry `features`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("features", data));
