//! Compressed blocks, and the judgement when compressing pays.
//!
//! A block is an independent zstd frame with its raw length declared: a lost lane costs nothing,
//! and a decoder needs no window beyond the block itself. Whether a block is compressed is
//! decided from measurements that the caller reports, since only it has a clock: how long
//! compressing took ([`BlockEncoder::note_effort`]) and how the link took what came out
//! ([`super::meter::LinkMeter`]).

use super::encode::{HEADER_BYTES, ZDATA, header};
use super::messages::BLOCK_BYTES_MAX;
use std::fmt;
use std::time::Duration;
use zstd::bulk::Compressor;

/// Raw bytes in a block that is compressed in earnest: beyond, level 1 gains next to nothing.
const BLOCK_BYTES: usize = 128 << 10;
/// Raw bytes in a sample: enough to tell, and 2 % of the work on data that does not compress.
const SAMPLE_BYTES: usize = 16 << 10;
/// Raw bytes that pass between two samples at first; twice as many each time that compressing did not pay again.
const RESAMPLE_BYTES: usize = 1 << 20;
/// Raw bytes that pass between two samples at most: they cost nothing then, and what changes later is not missed for long.
const RESAMPLE_BYTES_MAX: usize = 4 << 20;
/// What a link is taken for that was never seen to keep anybody waiting, nanoseconds per byte.
const DRAIN_GUESS: f64 = 1.0;
/// Shorter blocks are not worth a frame of their own.
const WORTH_BYTES_MIN: usize = 256;
/// Levels that `Auto` moves between, by measured benefit.
const AUTO_LEVELS: [u8; 4] = [1, 3, 6, 9];

const _: () = assert!(BLOCK_BYTES <= BLOCK_BYTES_MAX && SAMPLE_BYTES <= BLOCK_BYTES);

/// A zstd level, 1 to 19. Higher ones need more memory than a pipe should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level(u8);

impl TryFrom<u8> for Level {
    type Error = LevelOutOfRange;

    fn try_from(level: u8) -> Result<Self, LevelOutOfRange> {
        if (1..=19).contains(&level) { Ok(Self(level)) } else { Err(LevelOutOfRange) }
    }
}

/// Not a level from 1 to 19.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LevelOutOfRange;

/// When to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Compression {
    /// When it makes the transfer faster, measured while it runs.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Every block that shrinks, at this level.
    Always(Level),
}

/// What to do with the next bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Send up to so many as DATA, and report them with [`BlockEncoder::note_raw`].
    Raw(usize),
    /// Give up to so many to [`BlockEncoder::encode`].
    Compress(usize),
}

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// A ZDATA message was appended.
    Packed,
    /// Nothing was appended: send the block as DATA.
    Raw,
}

/// Nanoseconds that the link takes per byte on the wire.
#[derive(Debug, Clone, Copy)]
enum Drain {
    /// It never kept us waiting; lower each time that it did not.
    Guess(f64),
    /// It did.
    Measured(f64),
}

impl Drain {
    fn nanos_per_byte(self) -> f64 {
        let (Self::Guess(nanos) | Self::Measured(nanos)) = self;
        nanos
    }
}

/// What compressing took and yielded, per raw byte: nanoseconds, and bytes on the wire.
#[derive(Debug, Clone, Copy)]
struct Effort {
    nanos: f64,
    wire_bytes: f64,
}

impl Effort {
    /// Whether it saves time by 5 %. Compressing and draining overlap: the slower of the two sets the pace.
    fn pays(self, drain: f64) -> bool {
        self.nanos.max(self.wire_bytes * drain) <= 0.95 * drain
    }
}

/// Decides for each block whether to compress it, and does so.
pub(crate) struct BlockEncoder {
    policy: Compression,
    level: usize,
    compressor: Option<Compressor<'static>>,
    /// Bytes that may still pass raw before the next sample.
    raw_left: usize,
    /// How many those were at first.
    raw_span: usize,
    /// Bytes in the last block, before and after.
    last: (usize, usize),
    /// The last block that was judged saved time.
    paid: bool,
    /// Unknown at first.
    drain: Option<Drain>,
    /// Why bytes pass raw that would shrink: it took too long for this link.
    turned_down: Option<Effort>,
}

impl fmt::Debug for BlockEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockEncoder")
            .field("policy", &self.policy)
            .field("level", &AUTO_LEVELS[self.level])
            .field("raw_left", &self.raw_left)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

impl BlockEncoder {
    /// An encoder that has measured nothing yet.
    #[must_use]
    pub(crate) fn new(policy: Compression) -> Self {
        Self {
            policy,
            level: 0,
            compressor: None,
            raw_left: 0,
            raw_span: 0,
            last: (0, 0),
            paid: false,
            drain: None,
            turned_down: None,
        }
    }

    /// What to do with the next bytes.
    #[must_use]
    pub(crate) fn plan(&self) -> Plan {
        match self.policy {
            Compression::Off => Plan::Raw(BLOCK_BYTES_MAX),
            Compression::Always(_) => Plan::Compress(BLOCK_BYTES),
            Compression::Auto if self.raw_left > 0 => Plan::Raw(self.raw_left.min(BLOCK_BYTES_MAX)),
            // After a block that paid, go on in earnest; else look at a sample first.
            Compression::Auto if self.last.0 > 0 => Plan::Compress(BLOCK_BYTES),
            Compression::Auto => Plan::Compress(SAMPLE_BYTES),
        }
    }

    /// Reports bytes that were sent raw as `Plan::Raw` said.
    pub(crate) fn note_raw(&mut self, bytes: usize) {
        self.raw_left = self.raw_left.saturating_sub(bytes);
    }

    /// Compresses a block, at most [`BLOCK_BYTES_MAX`], and appends it as one ZDATA message unless it
    /// saves less than 5 % (at a fixed level: unless it saves nothing).
    pub(crate) fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Encoded {
        self.last = (0, 0);
        if raw.len() < WORTH_BYTES_MIN || raw.len() > BLOCK_BYTES_MAX {
            return Encoded::Raw;
        }
        let begin = out.len();
        let length = self.append_frame(raw, out);
        let most = match self.policy {
            Compression::Auto => raw.len() - raw.len() / 20,
            Compression::Always(_) | Compression::Off => raw.len(),
        };
        match length {
            Some(length) if length < most => {
                self.last = (raw.len(), length);
                Encoded::Packed
            }
            _ => {
                out.truncate(begin);
                self.pass_raw(None);
                Encoded::Raw
            }
        }
    }

    fn pass_raw(&mut self, turned_down: Option<Effort>) {
        self.last = (0, 0);
        self.raw_span = (self.raw_span * 2).clamp(RESAMPLE_BYTES, RESAMPLE_BYTES_MAX);
        self.raw_left = self.raw_span;
        self.turned_down = turned_down;
    }

    /// Appends header, raw length and frame; the length of the frame.
    fn append_frame(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let level = match self.policy {
            Compression::Always(Level(level)) => level,
            Compression::Auto | Compression::Off => AUTO_LEVELS[self.level],
        };
        if self.compressor.is_none() {
            self.compressor = Compressor::new(level.into()).ok();
        }
        let begin = out.len();
        let body = begin + HEADER_BYTES + 4;
        out.resize(body + zstd::zstd_safe::compress_bound(raw.len()), 0);
        let length = self.compressor.as_mut()?.compress_to_buffer(raw, &mut out[body..]).ok()?;
        out.truncate(body + length);
        out[begin..begin + HEADER_BYTES].copy_from_slice(&header(ZDATA, 4 + length));
        let declared = u32::try_from(raw.len()).ok()?.to_le_bytes();
        out[begin + HEADER_BYTES..body].copy_from_slice(&declared);
        Some(length)
    }

    /// Reports how long the last [`Self::encode`] took; under `Auto` this decides whether the next
    /// blocks are compressed, and at which level.
    pub(crate) fn note_effort(&mut self, elapsed: Duration) {
        let (raw, packed) = self.last;
        let (Compression::Auto, Some(drain), true) = (self.policy, self.drain, raw > 0) else {
            return;
        };
        let drain = drain.nanos_per_byte();
        let effort = Effort { nanos: nanos_per_byte(elapsed, raw), wire_bytes: ratio(packed, raw) };
        let way = drain * effort.wire_bytes;
        if !effort.pays(drain) {
            // One slow block after good ones may have been somebody else's turn on the processor.
            if !std::mem::take(&mut self.paid) {
                self.pass_raw(Some(effort));
                self.set_level(0);
            }
            return;
        }
        self.paid = true;
        self.raw_span = 0;
        if effort.nanos > 0.8 * way {
            self.set_level(self.level.saturating_sub(1));
        } else if effort.nanos * 6.0 < way {
            self.set_level((self.level + 1).min(AUTO_LEVELS.len() - 1));
        }
    }

    /// Whether the link has kept its sender waiting, as far as it was told.
    #[cfg(test)]
    pub(super) fn has_kept_waiting(&self) -> bool {
        matches!(self.drain, Some(Drain::Measured(_)))
    }

    fn set_level(&mut self, level: usize) {
        if level != self.level {
            self.level = level;
            self.compressor = None;
        }
    }

    /// Reports how long the link took for bytes on the wire: the time they kept it busy, or zero
    /// if it took them at once and would have taken more.
    pub(crate) fn note_drain(&mut self, bytes: usize, elapsed: Duration) {
        if bytes == 0 {
            return;
        }
        if elapsed.is_zero() {
            self.note_unhindered(bytes, elapsed);
            return;
        }
        let measured = nanos_per_byte(elapsed, bytes);
        let drain = match self.drain {
            Some(Drain::Measured(known)) => f64::midpoint(known, measured),
            Some(Drain::Guess(_)) | None => measured,
        };
        self.drain = Some(Drain::Measured(drain));
        // A link that was taken for faster than it is gets no more raw bytes than it had to.
        if self.turned_down.take_if(|effort| effort.pays(drain)).is_some() {
            (self.raw_left, self.raw_span) = (0, 0);
        }
    }

    /// Reports that the link took bytes on the wire in this time without being the reason for it: it would have taken
    /// more.
    pub(crate) fn note_unhindered(&mut self, bytes: usize, elapsed: Duration) {
        if bytes == 0 {
            return;
        }
        let most = nanos_per_byte(elapsed, bytes);
        self.drain = Some(match self.drain {
            None => Drain::Guess(DRAIN_GUESS),
            // Faster than we are; how much is not known, so move that way.
            Some(Drain::Guess(known)) => Drain::Guess(known * 0.7),
            // What was measured holds until it is seen to be wrong: few bytes that pass at once say little.
            Some(Drain::Measured(known)) if most < known => Drain::Measured(f64::midpoint(known, most)),
            Some(known) => known,
        });
    }
}

fn nanos_per_byte(elapsed: Duration, bytes: usize) -> f64 {
    elapsed.as_secs_f64() * 1e9 / float(bytes)
}

fn ratio(part: usize, whole: usize) -> f64 {
    float(part) / float(whole)
}

/// Block sizes fit 32 bits, which a float holds exactly.
fn float(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::unblock::{BadBlock, BlockDecoder};

    fn text(bytes: usize) -> Vec<u8> {
        b"the quick brown fox jumps over the lazy dog. ".iter().copied().cycle().take(bytes).collect()
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    fn unpack(message: &[u8]) -> Result<Vec<u8>, BadBlock> {
        let raw = u32::from_le_bytes(message[5..9].try_into().unwrap());
        BlockDecoder::default().decode(usize::try_from(raw).unwrap(), &message[9..]).map(<[u8]>::to_vec)
    }

    #[test]
    fn every_level_round_trips() {
        let raw = text(100_000);
        for level in 1..=19 {
            let mut encoder = BlockEncoder::new(Compression::Always(level.try_into().unwrap()));
            assert_eq!(encoder.plan(), Plan::Compress(BLOCK_BYTES));
            let mut out = b"before".to_vec();
            assert_eq!(encoder.encode(&raw, &mut out), Encoded::Packed);
            assert!(out.len() < 2_000, "level {level}: {}", out.len());
            assert_eq!(unpack(&out[6..]).as_deref(), Ok(&raw[..]));
        }
        assert_eq!((Level::try_from(0), Level::try_from(20)), (Err(LevelOutOfRange), Err(LevelOutOfRange)));
    }

    #[test]
    fn what_does_not_shrink_is_left_and_asked_again_a_megabyte_later() {
        let mut encoder = BlockEncoder::new(Compression::Auto);
        let mut out = Vec::new();
        assert_eq!(encoder.plan(), Plan::Compress(SAMPLE_BYTES));
        assert_eq!(encoder.encode(&noise(SAMPLE_BYTES), &mut out), Encoded::Raw);
        assert!(out.is_empty());
        let mut passed = 0;
        let mut turns = 0..100_000;
        while let Plan::Raw(bytes) = encoder.plan() {
            assert!(turns.next().is_some(), "it is never asked again");
            let bytes = bytes.min(65_000);
            encoder.note_raw(bytes);
            passed += bytes;
        }
        assert_eq!(passed, RESAMPLE_BYTES);
        assert_eq!(encoder.encode(&text(SAMPLE_BYTES), &mut out), Encoded::Packed);
        assert_eq!(encoder.plan(), Plan::Compress(BLOCK_BYTES));
    }

    #[test]
    fn a_link_faster_than_the_compressor_gets_raw_bytes() {
        let mut encoder = BlockEncoder::new(Compression::Auto);
        encoder.note_drain(1 << 20, Duration::from_micros(500)); // 2 GB/s
        encoder.encode(&text(BLOCK_BYTES), &mut Vec::new());
        encoder.note_effort(Duration::from_micros(260)); // 0.5 GB/s
        assert!(matches!(encoder.plan(), Plan::Raw(_)));
        let mut same = BlockEncoder::new(Compression::Auto);
        same.note_drain(1 << 20, Duration::from_millis(10)); // 0.1 GB/s
        same.encode(&text(BLOCK_BYTES), &mut Vec::new());
        same.note_effort(Duration::from_micros(260));
        assert!(matches!(same.plan(), Plan::Compress(_)));
    }

    #[test]
    fn one_slow_block_is_forgiven_and_two_are_not() {
        let mut encoder = BlockEncoder::new(Compression::Auto);
        encoder.note_drain(1 << 20, Duration::from_millis(10)); // 0.1 GB/s
        for (millis, goes_on) in [(0, true), (9, true), (0, true), (9, true), (9, false)] {
            encoder.encode(&text(BLOCK_BYTES), &mut Vec::new());
            encoder.note_effort(Duration::from_millis(millis));
            assert_eq!(matches!(encoder.plan(), Plan::Compress(_)), goes_on, "{encoder:?}");
        }
        // The link is seen to be ten times as slow: that is worth nine milliseconds.
        encoder.note_drain(1 << 20, Duration::from_millis(190));
        assert!(matches!(encoder.plan(), Plan::Compress(_)), "{encoder:?}");
    }

    #[test]
    fn an_idle_link_talks_the_encoder_out_of_compressing() {
        let mut encoder = BlockEncoder::new(Compression::Auto);
        let mut blocks = 0;
        while let Plan::Compress(bytes) = encoder.plan() {
            encoder.encode(&text(bytes), &mut Vec::new());
            encoder.note_effort(Duration::from_nanos(1_000));
            encoder.note_drain(1_000, Duration::ZERO);
            blocks += 1;
            assert!(blocks < 100, "still compressing");
        }
        assert!(blocks > 1);
    }

    #[test]
    fn a_slow_link_is_worth_a_higher_level() {
        let mut encoder = BlockEncoder::new(Compression::Auto);
        encoder.note_drain(1 << 20, Duration::from_secs(10));
        for _ in 0..8 {
            encoder.encode(&text(BLOCK_BYTES), &mut Vec::new());
            encoder.note_effort(Duration::from_micros(100));
        }
        assert_eq!(encoder.level, AUTO_LEVELS.len() - 1);
    }
}
