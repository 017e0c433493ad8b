//! Runs the entry `relay_ops`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("relay_ops", data));
