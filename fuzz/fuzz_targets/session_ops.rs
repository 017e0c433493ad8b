//! Runs the entry `session_ops`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("session_ops", data));
