//! Runs the entry `peer_id`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("peer_id", data));
