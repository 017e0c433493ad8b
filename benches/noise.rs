//! What the cryptography of a channel costs here: `cargo bench --bench noise`. Figures for people, no gate.
//!
//! Every figure is the best of several rounds, because whatever else the machine does only ever adds time.
#![allow(clippy::print_stdout, reason = "the figures are what it is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use vp::identity::Identity;
use vp::noise::{
    Established, Initiator, JoinInitiator, JoinResponder, Opener, Purpose, Responder, Sealer, Suite, TAG_BYTES, Terms,
};

/// A full record of a session.
const RECORD_BYTES: usize = 65_518;
/// A header of a link.
const HEADER_BYTES: usize = 16;
const ROUNDS: usize = 5;

fn main() {
    println!("preferred suite: {:?}", Suite::preferred());
    for suite in Suite::ALL {
        println!("{suite:?}");
        handshakes(suite);
        channel(suite);
        ways_to_seal(suite);
    }
    memory();
}

/// The best of `ROUNDS` measurements.
fn best(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| measure()).min().unwrap_or_default()
}

fn micros(elapsed: Duration, count: u32) -> f64 {
    elapsed.as_secs_f64() * 1e6 / f64::from(count)
}

fn gigabytes(elapsed: Duration, count: u32) -> f64 {
    let bytes = f64::from(count) * f64::from(u16::try_from(RECORD_BYTES).expect("a record is short"));
    bytes / elapsed.as_secs_f64() / 1e9
}

/// One handshake; also the time of each side.
fn handshake(suite: Suite, ours: &Identity, theirs: &Identity) -> (Established, Established, [Duration; 2]) {
    let begin = Instant::now();
    let terms = Terms { suite, purpose: Purpose::Link, context: b"", caps: b"" };
    let (initiator, first) = Initiator::start(&terms, ours, theirs.id()).expect("starts");
    let started = Instant::now();
    let (responder, second) = Responder::accept(&terms, theirs, &first).expect("accepts");
    let accepted = Instant::now();
    let (third, a) = initiator.finish(&second, b"").expect("finishes");
    let finished = Instant::now();
    let b = responder.finish(&third).expect("finishes");
    let end = Instant::now();
    (a, b, [started - begin + (finished - accepted), accepted - started + (end - finished)])
}

fn handshakes(suite: Suite) {
    const COUNT: u32 = 200;
    let (ours, theirs) = (Identity::generate(), Identity::generate());
    let mut sides = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        let mut round = [Duration::ZERO; 2];
        for _ in 0..COUNT {
            let (_, _, times) = black_box(handshake(suite, &ours, &theirs));
            round = [round[0] + times[0], round[1] + times[1]];
        }
        sides = [sides[0].min(round[0]), sides[1].min(round[1])];
    }
    let join = best(|| {
        let begin = Instant::now();
        for _ in 0..COUNT {
            black_box(joined(suite));
        }
        begin.elapsed()
    });
    println!(
        "  handshake: initiator {:.0} µs, responder {:.0} µs; join, both sides: {:.0} µs",
        micros(sides[0], COUNT),
        micros(sides[1], COUNT),
        micros(join, COUNT)
    );
}

/// One direction of a channel.
fn joined(suite: Suite) -> (Sealer, Opener) {
    let psk = [1; 32];
    let (initiator, first) = JoinInitiator::start(suite, &psk, b"", b"").expect("starts");
    let (_, ready) = JoinResponder::accept(suite, &psk, b"", &first).expect("accepts");
    let (second, _, opener) = ready.reply(b"").expect("replies");
    let (_, sealer, _) = initiator.finish(&second).expect("finishes");
    (sealer, opener)
}

fn channel(suite: Suite) {
    let (seal, open) = seal_and_open(suite, RECORD_BYTES, 1, 2_000);
    let (seal, open) = (gigabytes(seal, 2_000), gigabytes(open, 2_000));
    println!("  {RECORD_BYTES} bytes: seal {seal:.2} GB/s, open {open:.2} GB/s");
    let (seal, open) = seal_and_open(suite, HEADER_BYTES, 500, 200);
    let (seal, open) = (micros(seal, 100_000) * 1e3, micros(open, 100_000) * 1e3);
    println!("  {HEADER_BYTES} bytes: seal {seal:.0} ns, open {open:.0} ns");
}

/// Best time to seal and to open `rounds` batches of `batch` messages. The clock is read once a batch.
fn seal_and_open(suite: Suite, len: usize, batch: usize, rounds: u32) -> (Duration, Duration) {
    let plaintext = vec![7; len];
    let mut sealed = vec![0; (len + TAG_BYTES) * batch];
    let mut out = vec![0; len];
    let mut best = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let (mut sealer, mut opener) = joined(suite);
        let (mut seal_time, mut open_time) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            let begin = Instant::now();
            for message in sealed.chunks_mut(len + TAG_BYTES) {
                sealer.seal(black_box(&plaintext), message).expect("fits");
            }
            let middle = Instant::now();
            for message in sealed.chunks(len + TAG_BYTES) {
                opener.open(black_box(message), &mut out).expect("opens");
            }
            seal_time += middle - begin;
            open_time += middle.elapsed();
        }
        best = (best.0.min(seal_time), best.1.min(open_time));
    }
    best
}

/// The choice in the resolver: what the library's ways to seal cost, without Noise around them.
fn ways_to_seal(suite: Suite) {
    const COUNT: u32 = 2_000;
    let algorithm = match suite {
        Suite::AesGcm => &AES_256_GCM,
        Suite::ChaChaPoly => &CHACHA20_POLY1305,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, &[1; 32]).expect("32 bytes"));
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let plaintext = vec![7; RECORD_BYTES];
    let mut out = vec![0; RECORD_BYTES + TAG_BYTES];
    let mut time = |name: &str, seal: &mut dyn FnMut(&mut [u8])| {
        let elapsed = best(|| {
            let begin = Instant::now();
            for _ in 0..COUNT {
                seal(black_box(&mut out));
            }
            begin.elapsed()
        });
        println!("    {name}: {:.2} GB/s", gigabytes(elapsed, COUNT));
    };
    time("out of place", &mut |out| {
        let (body, tag) = out.split_at_mut(RECORD_BYTES);
        key.seal_out_of_place_scatter(nonce(), Aad::empty(), &plaintext, body, &[], tag).expect("seals");
    });
    time("copy, then in place", &mut |out| {
        let (body, tag) = out.split_at_mut(RECORD_BYTES);
        body.copy_from_slice(&plaintext);
        let found = key.seal_in_place_separate_tag(nonce(), Aad::empty(), body).expect("seals");
        tag.copy_from_slice(found.as_ref());
    });
    time("all as extra plaintext", &mut |out| {
        key.seal_in_place_scatter(nonce(), Aad::empty(), &mut [], &plaintext, out).expect("seals");
    });
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// What one side of an established link keeps: its sealer and its opener.
fn memory() {
    const LINKS: u64 = 4_000;
    let (ours, theirs) = (Identity::generate(), Identity::generate());
    // All stay alive to the end, so that no measurement moves into what another has left.
    let mut kept = Vec::new();
    for suite in Suite::ALL {
        let side = || handshake(suite, &ours, &theirs).1;
        kept.extend((0..100).map(|_| side()).map(|side| (side.sealer, side.opener)));
        let before = resident_kib();
        kept.extend((0..LINKS).map(|_| side()).map(|side| (side.sealer, side.opener)));
        let grown = resident_kib().saturating_sub(before) * 1024;
        println!("{suite:?}: {} bytes of memory per sealer and opener", grown / LINKS);
    }
    drop(black_box(kept));
}
