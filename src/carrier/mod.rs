//! What stands between a socket and a link: wire bytes into link bytes, and back.
//!
//! ```text
//! socket ─▶ one read ─▶ handle_wire: link bytes, where the wire bytes were ─▶ link
//! socket ◀─ one write ◀ wrap: slices of wire bytes ◀─ slices of link bytes ◀─ link
//!                  └──▶ handle_written: so many of the link's are with the kernel
//! ```
//! Whoever owns the socket drives it, and it knows none: a read of wire bytes becomes link bytes in its place, which are never more;
//! the bytes that a link shows become slices of one write. Those that were shown and not taken are shown again, at the front,
//! unchanged: a link's output is in its final order. So nothing of a link is kept here, but for a bounded copy where bytes change
//! on their way out, and that counts as taken only when its last wire byte is with the kernel, as circuit credit asks for.
//! A carrier waits for nothing by itself: a handshake below a link has the time of the link's. Plain TCP costs no pass and no copy.

/// How the bytes of one connection are carried.
#[derive(Debug, Default)]
pub enum Carrier {
    /// As they are.
    #[default]
    Plain,
}
