//! TLS (RFC 8446, RFC 5246), both roles: records below whatever is inside.
//!
//! What comes in is opened where it lies, and put at the front: only a record that is not whole is kept, until the next read. What
//! goes out is sealed into a copy of a bounded piece, which is let go of when it is gone: bytes of the link count as taken when the
//! last wire byte of their record is with the kernel.
//!
//! The other side's name means nothing here: a link proves by itself who is there. A client looks at the certificate all the same,
//! unless it was told not to, for whoever else opens TLS on the way sees who talks to whom.

mod certificate;
mod ends;
mod outward;
mod side;
mod x509;

pub use certificate::{Distrust, Doubt};
pub(crate) use ends::written_certificates;
pub use ends::{TlsClient, TlsFault, TlsServer};
pub use x509::Validity;

use super::end::{End, TlsEnd};
use super::inside::Inside;
use certificate::Shown;
use outward::Outward;
use rustls::Error;
use side::{HANDSHAKE_MAX, Next, Say, Side};
use std::io::IoSlice;

/// Content of a record, bytes, at most (RFC 8446, 5.1).
const CONTENT_MAX: usize = 16 * 1024;
/// The longest record, with its head (RFC 5246, 6.2.3).
const RECORD_MAX: usize = 5 + CONTENT_MAX + 2048;
/// Most that is kept of what came: of a message of a handshake, which a server's certificate makes long, and then of a record.
pub(super) const HELD_MAX: usize = HANDSHAKE_MAX;
/// Content that is sealed at a time, bytes: a few records, that stay in the cache of one core.
const SEALED_MAX: usize = 4 * CONTENT_MAX;
/// Slices that are sealed at a time: where a link has more, they are small.
const GATHERED_SLICES: usize = 64 + super::inside::OWN_SLICES;

const _: () = assert!(RECORD_MAX <= HELD_MAX);

/// See the module.
pub(super) struct Tls {
    side: Side,
    /// What came of something that is not whole.
    held: Vec<u8>,
    outward: Outward,
    is_open: bool,
    /// It has answered a hello, which nobody has asked for yet.
    has_answered: bool,
    end: Option<End>,
    /// The certificate that a client was shown.
    shown: Option<Shown>,
}

impl std::fmt::Debug for Tls {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("is_open", &self.is_open).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Tls {
    /// The server's end, of which the first byte is yet to come. None if the library has no memory for it.
    pub(super) fn answer(server: &TlsServer) -> Option<Tls> {
        Some(Tls::new(Side::server(server)?, None))
    }

    /// The client's end, which has a hello to write.
    pub(super) fn dial(client: &TlsClient, host: &str) -> Result<Tls, TlsFault> {
        let (side, shown) = Side::client(client, host)?;
        let mut tls = Tls::new(side, Some(shown));
        // The hello that it begins with.
        tls.handle_wire(&mut []);
        Ok(tls)
    }

    fn new(side: Side, shown: Option<Shown>) -> Tls {
        Tls {
            side,
            held: Vec::new(),
            outward: Outward::default(),
            is_open: false,
            has_answered: false,
            end: None,
            shown,
        }
    }

    /// What came and is not whole.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Whether what is inside may come and go.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Whether it has answered a hello since this was asked.
    pub(super) fn take_answered(&mut self) -> bool {
        std::mem::take(&mut self.has_answered)
    }

    /// What is wrong with the certificate that was shown, if something is.
    pub(super) fn distrust(&self) -> Option<Distrust> {
        self.shown.as_ref().and_then(Shown::distrust)
    }

    /// Wire bytes came, behind those that are held: those inside are put at the front, and counted.
    pub(super) fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        // An idle connection keeps no memory for input.
        self.held = Vec::new();
        let (was_open, was_silent) = (self.is_open, self.outward.is_empty());
        let (mut read, mut plain) = (0, Vec::new());
        while self.end.is_none() {
            let step = self.side.take(&mut wire[read..], &mut plain, self.outward.room());
            read += step.discard;
            match step.next {
                Next::Again => {}
                Next::Open => {
                    self.is_open = true;
                    self.hold(&wire[read..]);
                    break;
                }
                Next::Blocked => {
                    self.hold(&wire[read..]);
                    break;
                }
                Next::Closed => self.end = Some(End::Closed),
                Next::Failed(error) => self.fail(&error, &mut wire[read..]),
            }
        }
        // What a server says before it is open is its answer to a hello, for which it has agreed on keys and signed.
        self.has_answered |= !was_open && !self.side.is_client() && was_silent && !self.outward.is_empty();
        // What is inside is less than what it came in.
        let count = plain.len().min(wire.len());
        wire[..count].copy_from_slice(&plain[..count]);
        count
    }

    fn hold(&mut self, rest: &[u8]) {
        let most = if self.is_open { RECORD_MAX } else { self.side.handshake_max() };
        match rest.len() > most {
            true => self.end = Some(End::Tls(TlsEnd::Broken)),
            false => self.held = rest.to_vec(),
        }
    }

    fn fail(&mut self, error: &Error, rest: &mut [u8]) {
        self.end = Some(End::Tls(match error {
            Error::InvalidMessage(_) if !self.is_open && self.side.is_client() => TlsEnd::NotTls,
            Error::AlertReceived(alert) => TlsEnd::Told((*alert).into()),
            Error::PeerIncompatible(_) => TlsEnd::Incompatible,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => TlsEnd::Untrusted,
            _ => TlsEnd::Broken,
        }));
        self.side.last_words(rest, self.outward.room());
    }

    /// What is to be written next, where the link shows this to what is inside; how many of `wire` are in use.
    pub(super) fn wrap<'a>(&'a mut self, inside: &mut Inside, link: &[IoSlice<'_>], wire: &mut [IoSlice<'a>]) -> usize {
        if self.may_seal() {
            let plain = gather(inside, link);
            match plain.is_empty() {
                false => self.seal(inside, &plain),
                true => self.seal_end(),
            }
        }
        self.outward.show(wire)
    }

    /// Whether what was sealed before is gone, and something may follow.
    fn may_seal(&self) -> bool {
        self.is_open && self.outward.is_empty() && !matches!(self.end, Some(End::Tls(_)))
    }

    /// Seals this, and tells what is inside that it is gone: what of it is the link's is counted here until it is.
    fn seal(&mut self, inside: &mut Inside, plain: &[u8]) {
        for content in plain.chunks(CONTENT_MAX) {
            if self.side.say(&mut self.held, Say::Content(content), self.outward.room()).is_err() {
                // Its key has sealed as much as it may, and there is no other: no link lives to see that.
                self.end = Some(End::Tls(TlsEnd::Broken));
                return;
            }
            self.outward.end_record(inside.handle_written(content.len()));
        }
    }

    fn seal_end(&mut self) {
        if self.outward.take_close() {
            // Without it the end of the socket is one all the same.
            let _ = self.side.say(&mut self.held, Say::Close, self.outward.room());
        }
    }

    /// The kernel took so many wire bytes of what [`Tls::wrap`] showed; how many of the link's were among them.
    pub(super) fn handle_written(&mut self, count: usize) -> usize {
        self.outward.handle_written(count)
    }

    /// Whether there is something to write that is none of the link's.
    pub(super) fn has_own(&self, inside: &Inside) -> bool {
        !self.outward.is_empty() || (self.may_seal() && (inside.has_own() || self.outward.is_closing()))
    }

    /// The link is no more: nothing of it is counted.
    pub(super) fn let_go(&mut self) {
        self.outward.let_go();
    }

    /// Nothing follows what is inside.
    pub(super) fn close(&mut self) {
        self.outward.close();
    }
}

/// The front of what is inside, where the link shows this: as much as is sealed at a time.
fn gather(inside: &mut Inside, link: &[IoSlice<'_>]) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); GATHERED_SLICES];
    let used = inside.wrap(link, &mut slices);
    let shown: usize = slices[..used].iter().map(|slice| slice.len()).sum();
    let mut plain = Vec::with_capacity(shown.min(SEALED_MAX));
    for slice in &slices[..used] {
        let left = SEALED_MAX - plain.len();
        plain.extend_from_slice(&slice[..slice.len().min(left)]);
    }
    plain
}

/// Fuzz entry: any bytes at a server's end, in one piece and in others. The first byte says how they are cut.
#[cfg(feature = "fuzzing")]
pub fn fuzz_tls(data: &[u8]) {
    let Some((step, data)) = data.split_first() else { return };
    let Some(server) = ends::for_tests() else { return };
    let feed = |step: usize| {
        let mut end = Tls::answer(&server)?;
        let mut content = Vec::new();
        for piece in data.chunks(step) {
            let mut wire = [end.held(), piece].concat();
            let count = end.handle_wire(&mut wire);
            content.extend_from_slice(&wire[..count]);
            assert!(end.held().len() <= RECORD_MAX);
            let mut slices = [IoSlice::new(&[]); 2];
            let used = end.wrap(&mut Inside::Plain(None), &[], &mut slices);
            let own: usize = slices[..used].iter().map(|slice| slice.len()).sum();
            assert_eq!(end.handle_written(own), 0, "nothing of a link was shown");
        }
        Some((content, end.end()))
    };
    let whole = feed(data.len().max(1));
    assert_eq!(feed(usize::from(*step).max(1)), whole);
}

#[cfg(test)]
#[path = "../tests/tls.rs"]
mod tests;
