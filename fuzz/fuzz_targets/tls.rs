//! Runs the entry `tls`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("tls", data));
