//! Runs the entry `socks5`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vp_fuzz::run("socks5", data));
