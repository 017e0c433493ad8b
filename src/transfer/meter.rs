//! How fast the link takes what is sent, judged from how long it keeps the sender waiting.
//!
//! ```text
//! handle_full, handle_room ─▶ time lost ─┐
//! handle_content, handle_sent ─▶ bytes ──┴─▶ every so many bytes a judgement, for the encoder
//! ```

use super::blocks::BlockEncoder;
use std::time::{Duration, Instant};

/// The link is judged over so many bytes on the wire at a time.
const WIRE_BYTES: usize = 512 << 10;
/// Or over so much content, where that shrinks well: 4 ms of compressing. Without this the first 64 MiB of a log were
/// through before anybody asked whether the link needed them compressed.
const CONTENT_BYTES: usize = 2 << 20;
/// A link that kept us waiting for this part of the time was the bottleneck all the time, otherwise it was not at all.
const HELD_UP_PART: u32 = 10;

/// Whether the link keeps us waiting.
#[derive(Debug, Clone, Copy)]
enum Blocked {
    No,
    /// It took no more then. It may be that what it has was not passed on yet, which is our own work.
    Perhaps(Instant),
    /// Nor did it when it was asked again.
    Since(Instant),
}

/// Bytes and waits since the last judgement.
#[derive(Debug)]
pub(crate) struct LinkMeter {
    since: Instant,
    content_bytes: usize,
    wire_bytes: usize,
    held_up: Duration,
    blocked: Blocked,
}

impl LinkMeter {
    /// Begins now.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, content_bytes: 0, wire_bytes: 0, held_up: Duration::ZERO, blocked: Blocked::No }
    }

    /// Begins anew: a pause of ours says nothing about the link.
    pub(crate) fn restart(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// The link has room for more.
    pub(crate) fn handle_room(&mut self, now: Instant) {
        if let Blocked::Since(since) = std::mem::replace(&mut self.blocked, Blocked::No) {
            self.held_up += now.saturating_duration_since(since);
        }
    }

    /// The link takes no more for now. Once is no wait: what it holds may only have to be passed on.
    pub(crate) fn handle_full(&mut self, now: Instant) {
        self.blocked = match self.blocked {
            Blocked::No => Blocked::Perhaps(now),
            Blocked::Perhaps(since) | Blocked::Since(since) => Blocked::Since(since),
        };
    }

    /// The link took something, but only after so long.
    pub(crate) fn handle_wait(&mut self, wait: Duration) {
        self.held_up += wait;
    }

    /// Content is about to be sent, whatever becomes of it on the wire.
    pub(crate) fn handle_content(&mut self, bytes: usize) {
        self.content_bytes += bytes;
    }

    /// The link has taken bytes.
    pub(crate) fn handle_sent(&mut self, now: Instant, wire_bytes: usize, encoder: &mut BlockEncoder) {
        self.wire_bytes += wire_bytes;
        if self.wire_bytes < WIRE_BYTES && self.content_bytes < CONTENT_BYTES {
            return;
        }
        let wall = now.saturating_duration_since(self.since);
        if self.held_up * HELD_UP_PART > wall {
            encoder.note_drain(self.wire_bytes, wall);
        } else {
            encoder.note_unhindered(self.wire_bytes, wall);
        }
        self.restart(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::blocks::{Compression, Encoded, Plan};

    /// A sender and a link with given speeds, and a clock of their own.
    struct Path {
        /// Reading and hashing, nanoseconds per byte of content.
        read: f64,
        /// Compressing at level 1, the same.
        compress: f64,
        /// The link, nanoseconds per byte on the wire.
        link: f64,
        /// What the link takes before it makes anybody wait.
        buffer_bytes: f64,
    }

    struct Run<'p> {
        path: &'p Path,
        start: Instant,
        nanos: f64,
        queued_bytes: f64,
        meter: LinkMeter,
        encoder: BlockEncoder,
        wire_bytes: usize,
    }

    /// Lengths in this test fit 32 bits, which a float holds exactly.
    fn float(bytes: usize) -> f64 {
        f64::from(u32::try_from(bytes).unwrap())
    }

    impl Run<'_> {
        fn now(&self) -> Instant {
            self.start + Duration::from_secs_f64(self.nanos / 1e9)
        }

        fn pass(&mut self, nanos: f64) {
            self.nanos += nanos;
            self.queued_bytes = (self.queued_bytes - nanos / self.path.link).max(0.0);
        }

        fn send(&mut self, bytes: usize) {
            let over = self.queued_bytes + float(bytes) - self.path.buffer_bytes;
            if over > 0.0 {
                self.meter.handle_full(self.now());
                self.meter.handle_full(self.now());
                self.pass(over * self.path.link);
                self.meter.handle_room(self.now());
            }
            self.queued_bytes += float(bytes);
            self.wire_bytes += bytes;
            self.meter.handle_sent(self.now(), bytes, &mut self.encoder);
        }

        /// Sends the next content; how much.
        fn step(&mut self, content: &[u8]) -> usize {
            match self.encoder.plan() {
                Plan::Raw(most) => {
                    let count = most.min(content.len()).min(65_000);
                    self.pass(self.path.read * float(count));
                    self.encoder.note_raw(count);
                    self.meter.handle_content(count);
                    self.send(count);
                    count
                }
                Plan::Compress(most) => {
                    let (block, mut out) = (&content[..most.min(content.len())], Vec::new());
                    let packed = self.encoder.encode(block, &mut out) == Encoded::Packed;
                    let effort = self.path.compress * float(block.len());
                    self.pass(self.path.read * float(block.len()) + effort);
                    self.encoder.note_effort(Duration::from_secs_f64(effort / 1e9));
                    self.meter.handle_content(block.len());
                    if !packed {
                        self.encoder.note_raw(block.len());
                    }
                    self.send(if packed { out.len() } else { block.len() });
                    block.len()
                }
            }
        }
    }

    /// Seconds until all is through, and bytes on the wire.
    fn run(path: &Path, policy: Compression, content: &[u8]) -> (f64, usize) {
        let start = Instant::now();
        let (meter, encoder) = (LinkMeter::new(start), BlockEncoder::new(policy));
        let mut run = Run { path, start, nanos: 0.0, queued_bytes: 0.0, meter, encoder, wire_bytes: 0 };
        let mut rest = content;
        while !rest.is_empty() {
            let sent = run.step(rest);
            rest = &rest[sent..];
        }
        ((run.nanos + run.queued_bytes * path.link) / 1e9, run.wire_bytes)
    }

    /// Words in no order: shrinks to a third, like prose.
    fn text(bytes: usize) -> Vec<u8> {
        let words =
            b"time person year way day thing man world life hand part child eye woman place work week case point"
                .split(|byte| *byte == b' ')
                .collect::<Vec<_>>();
        let mut noise = blake3::Hasher::new().finalize_xof();
        let mut text = Vec::with_capacity(bytes + 8);
        while text.len() < bytes {
            let mut byte = [0];
            noise.fill(&mut byte);
            text.extend_from_slice(words[usize::from(byte[0]) % words.len()]);
            text.push(b' ');
        }
        text.truncate(bytes);
        text
    }

    const FAST: Path = Path { read: 0.4, compress: 2.0, link: 0.7, buffer_bytes: 1.6e6 };
    const NEVER_WAITS: Path = Path { link: 0.1, ..FAST };
    /// 10 MB/s.
    const SLOW: Path = Path { link: 100.0, ..FAST };

    #[test]
    fn on_a_fast_path_auto_costs_next_to_nothing() {
        let text = text(64 << 20);
        // The same over and over shrinks to a hundredth: it must not take a hundred times as long to be judged.
        let log: Vec<u8> = text[..4_096].iter().copied().cycle().take(64 << 20).collect();
        for path in [FAST, NEVER_WAITS] {
            for content in [&text, &log] {
                let (auto, _) = run(&path, Compression::Auto, content);
                let (off, _) = run(&path, Compression::Off, content);
                // 4 ms until the first judgement, and a sample now and then.
                assert!(auto <= 1.05 * off + 0.005, "{auto} s instead of {off} s, link {} ns/B", path.link);
            }
        }
    }

    #[test]
    fn a_link_that_has_room_when_asked_again_keeps_nobody_waiting() {
        let start = Instant::now();
        let (mut meter, mut encoder) = (LinkMeter::new(start), BlockEncoder::new(Compression::Auto));
        meter.handle_full(start);
        meter.handle_room(start + Duration::from_millis(1));
        meter.handle_sent(start + Duration::from_millis(2), WIRE_BYTES, &mut encoder);
        assert!(!encoder.has_kept_waiting(), "{encoder:?}");
        meter.handle_full(start + Duration::from_millis(2));
        meter.handle_full(start + Duration::from_millis(3));
        meter.handle_room(start + Duration::from_millis(3));
        meter.handle_sent(start + Duration::from_millis(4), WIRE_BYTES, &mut encoder);
        assert!(encoder.has_kept_waiting(), "{encoder:?}");
    }

    #[test]
    fn on_a_slow_path_auto_is_a_clear_win() {
        for (bytes, most) in [(4 << 20, 0.75), (64 << 20, 0.5)] {
            let text = text(bytes);
            let (auto, _) = run(&SLOW, Compression::Auto, &text);
            let (off, _) = run(&SLOW, Compression::Off, &text);
            assert!(auto <= most * off, "{auto} s instead of {off} s for {bytes} bytes");
        }
    }

    #[test]
    fn a_link_once_seen_to_be_slow_is_not_tried_with_raw_bytes_again() {
        let log: Vec<u8> = text(4_096).iter().copied().cycle().take(256 << 20).collect();
        let (_, wire_bytes) = run(&SLOW, Compression::Auto, &log);
        assert!(wire_bytes < 8 << 20, "{wire_bytes}");
    }
}
