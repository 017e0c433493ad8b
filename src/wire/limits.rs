//! Every cap of the wire, each with its reason. PROTOCOL.md quotes this table.

use std::time::Duration;

/// Version of the protocol, the third byte of a carrier's hello.
pub const VERSION: u8 = 1;

/// Plaintext of a frame header, bytes: fixed, so that a relay needs no parser to skip a body.
pub const HEADER_BYTES: usize = 16;
/// Authentication tag of every sealed message, bytes.
pub const TAG_BYTES: usize = 16;
/// A frame header on the wire, bytes.
pub const SEALED_HEADER_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// Largest body of a DATA frame, bytes: four whole records. Large bodies make the relay's work per byte small.
pub const DATA_BODY_MAX: usize = 4 * RECORD_WIRE_MAX;
/// Largest sealed body of a CONTROL frame, bytes, tag included.
pub const CONTROL_BODY_MAX: usize = 16 * 1024;

/// Length prefix of a record and of a handshake message, bytes.
pub const RECORD_PREFIX_BYTES: usize = 2;
/// Largest plaintext of a record, bytes: chosen so that a whole record is 64 KiB on the wire and four fill a body.
pub const RECORD_PLAINTEXT_MAX: usize = 65_518;
/// A full record on the wire, bytes: prefix, ciphertext and tag.
pub const RECORD_WIRE_MAX: usize = RECORD_PREFIX_BYTES + RECORD_PLAINTEXT_MAX + TAG_BYTES;

/// Largest handshake message on a carrier or a lane, bytes. The largest real one is message 1, 1615 bytes; this
/// is what an unauthenticated source can make us hold.
pub const HANDSHAKE_MESSAGE_MAX: usize = 2 * 1024;
/// Largest early bytes in CONNECT and ACCEPT: one handshake message and its prefix.
pub const EARLY_MAX: usize = HANDSHAKE_MESSAGE_MAX + 64;
/// Most features that an end may name: all that later versions name must be read by this one, and half of the capabilities
/// hold them.
pub const FEATURES_MAX: usize = 64;
/// Absolute time that whoever has yet to say who it is may take, from accept to the end of the handshake: of a link at the
/// relay, of a session at the callee.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);

/// Credit of a fresh circuit in each direction, bytes. Needs no message: both ends know it.
pub const CIRCUIT_WINDOW_START: u32 = 128 * 1024;
/// Largest window a relay gives a circuit, bytes: more than the largest window of a stream, which carries 600 MiB/s at 50 ms,
/// so that a circuit is not what limits it. It is more than a relay holds for a circuit: what flows is under way, not held.
pub const CIRCUIT_WINDOW_MAX: u32 = 40 * 1024 * 1024;
/// What a client grants, bytes: it takes all at once and holds nothing. So much that the half of it that is always left
/// lasts for a second in which the relay does not read its link.
pub const CLIENT_WINDOW: u32 = 1024 * 1024 * 1024;

/// Names a link may listen on at once: applications plus resumable sessions.
pub const LISTENERS_MAX: usize = 1024;

/// A link that carries circuits is dead after this time without a byte from the other side.
pub const DEAD_TIME: Duration = Duration::from_secs(10);
/// A link without circuits is dead after this time without a byte: 10,000 parked attachments must stay cheap.
pub const IDLE_DEAD_TIME: Duration = Duration::from_secs(50);
/// Heartbeats fit this often into a dead time, so that one late answer kills nothing.
pub const HEARTBEATS_PER_DEAD_TIME: u32 = 4;

const _: () = assert!(DATA_BODY_MAX == 256 * 1024);
const _: () = assert!(RECORD_PLAINTEXT_MAX + TAG_BYTES <= u16::MAX as usize);
const _: () = assert!(CIRCUIT_WINDOW_START as usize <= DATA_BODY_MAX);
