//! Every place of the library that takes foreign bytes, by name: what the fuzz targets run, and what the smoke test in
//! `tests/fuzz_smoke.rs` runs without a fuzzer.

use vp::identity::{Identity, fuzz_card, fuzz_peer_id};
use vp::names::{fuzz_address, fuzz_peers, fuzz_proxy, fuzz_relays, keyfile};
use vp::ports::{rmi, service, socks};
use vp::transfer::path::{TreePath, link_stays_inside};
use vp::transfer::{BlockDecoder, decoder};
use vp::{carrier, lane, link, node, noise, relay, session, wire};

/// An entry: its name, which is also that of its target and its corpus, and what it does with bytes.
pub type Entry = (&'static str, fn(&[u8]));

/// All entries.
pub const ENTRIES: [Entry; 37] = [
    ("acks", lane::fuzz_acks),
    ("address", fuzz_address),
    ("answer", answer),
    ("asking", carrier::fuzz_asking),
    ("block", block),
    ("card", fuzz_card),
    ("claim", node::fuzz_claim),
    ("connect", carrier::proxy::fuzz_connect),
    ("control", wire::control::fuzz_control),
    ("features", wire::features::fuzz_features),
    ("forwarded", carrier::fuzz_forwarded),
    ("frames", session::frame::fuzz_frames),
    ("handshake", noise::fuzz_handshake),
    ("header", wire::header::fuzz_header),
    ("hostile_relay", node::fuzz::fuzz_hostile_relay),
    ("http", carrier::fuzz_http),
    ("join", noise::fuzz_join),
    ("key_file", keyfile::fuzz_key_file),
    ("names", names),
    ("payload", noise::fuzz_payload),
    ("peer_id", fuzz_peer_id),
    ("peers", fuzz_peers),
    ("proxy", fuzz_proxy),
    ("relay_ops", relay::fuzz::fuzz_relay_ops),
    ("relays", fuzz_relays),
    ("requests", carrier::fuzz_requests),
    ("rmi", rmi::fuzz_rmi),
    ("service", service::fuzz_service),
    ("session_join", session::fuzz::fuzz_session_join),
    ("session_ops", session::fuzz::fuzz_session_ops),
    ("session_peer", session::fuzz::fuzz_session_peer),
    ("socks", socks::fuzz_socks),
    ("socks5", carrier::proxy::fuzz_socks5),
    ("tls", carrier::fuzz_tls),
    ("transfer", decoder::fuzz),
    ("unpack", unpack),
    ("websocket", carrier::fuzz_websocket),
];

/// Runs the entry of this name.
///
/// # Panics
/// If there is none, or if the entry finds a defect.
pub fn run(name: &str, data: &[u8]) {
    let entry = ENTRIES.iter().find(|entry| entry.0 == name);
    entry.expect("an entry of this name").1(data);
}

/// The relay of `link-worked.txt`, so that its first flight gets past message 1.
fn answer(data: &[u8]) {
    let relay = Identity::from_seed(&std::array::from_fn(|at| 0x20 + u8::try_from(at).unwrap_or(0)));
    link::fuzz_answer(&relay, data);
}

/// A ZDATA body: raw length, then a zstd frame.
fn unpack(data: &[u8]) {
    let Some((length, frame)) = data.split_first_chunk::<4>() else { return };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if let Ok(raw) = BlockDecoder::default().decode(length, frame) {
        assert_eq!(raw.len(), length);
    }
}

/// One decoder for several blocks, as a transfer uses it: each has two length bytes ahead.
fn block(data: &[u8]) {
    let mut decoder = BlockDecoder::default();
    let mut rest = data;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let (frame, tail) = tail.split_at(tail.len().min(usize::from(u16::from_le_bytes(*length))));
        let _ = decoder.decode(frame.len() * 4, frame);
        rest = tail;
    }
}

/// Components of a path and a link's target, zero bytes between them.
fn names(data: &[u8]) {
    let mut parts: Vec<&[u8]> = data.split(|byte| *byte == 0).collect();
    let target = parts.pop().unwrap_or_default();
    let Ok(path) = TreePath::from_components(parts.iter().copied()) else { return };
    assert!(path.components().eq(parts.iter().copied()), "a component became another");
    for name in path.components() {
        assert!(!name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/'));
    }
    if link_stays_inside(&path, target) {
        assert!(leads_inside(&path, target), "{path:?} leads out by {target:?}");
    }
}

/// Walks a target from the directory of its link, which is in the item that the path begins with and must stay there.
fn leads_inside(path: &TreePath, target: &[u8]) -> bool {
    let mut depth = path.depth() - 1;
    for step in target.split(|byte| *byte == b'/') {
        match step {
            b"" | b"." => {}
            b".." if depth <= 1 => return false,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    !target.starts_with(b"/")
}
