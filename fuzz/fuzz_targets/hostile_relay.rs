//! Runs the entry `hostile_relay`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("hostile_relay", data));
