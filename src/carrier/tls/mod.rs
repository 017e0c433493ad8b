//! TLS (RFC 8446, RFC 5246), both roles: records below whatever is inside.
//!
//! The library shakes hands. Behind that records are opened and sealed one at a time, with the keys that were agreed on (`records`,
//! `seal`): what comes in is opened where it lies, and moved to the front, and only a record that is not whole is kept, until the next
//! read. What goes out is sealed into room for a bounded piece: bytes of the link count as taken when the last wire byte of their
//! record is with the kernel.
//!
//! The other side's name means nothing here: a link proves by itself who is there. A client looks at the certificate all the same,
//! unless it was told not to, for whoever else opens TLS on the way sees who talks to whom.

mod certificate;
mod ends;
mod keys;
mod outward;
mod records;
mod seal;
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
use records::{CONTENT_MAX, Over, RECORD_MAX, Records};
use rustls::{AlertDescription, Error};
use seal::Pieces;
use side::{HANDSHAKE_MAX, Next, Side};
use std::io::IoSlice;

/// Most that is kept of what came: of a message of a handshake, which a server's certificate makes long, and then of a record.
pub(super) const HELD_MAX: usize = HANDSHAKE_MAX;
/// Content that is sealed at a time, bytes: a few records, that stay in the cache of one core.
const SEALED_MAX: usize = 4 * CONTENT_MAX;
/// Slices that are sealed at a time: where a link has more, they are small.
const GATHERED_SLICES: usize = 64 + super::inside::OWN_SLICES;

const _: () = assert!(RECORD_MAX <= HELD_MAX);

/// See the module.
pub(super) struct Tls {
    state: State,
    /// What came of something that is not whole.
    held: Vec<u8>,
    outward: Outward,
    /// It has answered a hello, which nobody has asked for yet.
    has_answered: bool,
    end: Option<End>,
    /// The certificate that a client was shown.
    shown: Option<Shown>,
}

enum State {
    /// It shakes hands; the library has seen so many of the bytes that are held.
    Shaking {
        side: Side,
        shown: usize,
    },
    Open(Box<Records>),
    /// Its handshake came to nothing.
    Over,
}

impl std::fmt::Debug for Tls {
    /// Without what is secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("is_open", &self.is_open()).field("end", &self.end).finish_non_exhaustive()
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
            state: State::Shaking { side, shown: 0 },
            held: Vec::new(),
            outward: Outward::default(),
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
        matches!(self.state, State::Open(_))
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
        let read = self.shake(wire);
        self.open(wire, read)
    }

    /// Goes on with the handshake, if it is not done: how many bytes were used. The library is shown one record after the other, as it
    /// would open what is behind the last of a handshake, too, and that is to be opened with keys of ours.
    fn shake(&mut self, wire: &mut [u8]) -> usize {
        let State::Shaking { side, shown } = &mut self.state else { return 0 };
        let (is_client, mut words) = (side.is_client(), Vec::new());
        let (mut read, mut whole) = (0, *shown);
        let mut end = whole;
        while self.end.is_none() {
            let step = side.take(&mut wire[read..end], &mut words);
            read += step.discard;
            match step.next {
                Next::Again if side.is_done() && read == whole => break,
                Next::Blocked if side.is_done() => break,
                Next::Again => {}
                Next::Blocked => match side::record(&wire[whole..]) {
                    Some(length) => {
                        whole += length;
                        end = whole;
                    }
                    // Whether what is not whole may become one, its front tells.
                    None if end < wire.len() => end = wire.len(),
                    None if wire.len() - read > side.held_max() => self.end = Some(End::Tls(TlsEnd::Broken)),
                    None => {
                        self.held = wire[read..].to_vec();
                        *shown = whole - read;
                        break;
                    }
                },
                Next::Closed => self.end = Some(End::Closed),
                Next::Failed(error) => {
                    self.end = Some(End::Tls(end_of(&error, is_client)));
                    side.last_words(&mut wire[read..end], &mut words);
                }
            }
        }
        let is_done = self.end.is_none() && side.is_done();
        // What a server says before it is open is its answer to a hello, for which it has agreed on keys and signed.
        self.has_answered |= !is_client && self.outward.is_empty() && !words.is_empty() && !is_done;
        self.outward.say(&words);
        if is_done {
            self.begin();
            // A message that has begun in the last record of a handshake, which was opened already.
            if read < whole {
                self.refuse(AlertDescription::UnexpectedMessage);
            }
        }
        read
    }

    /// The handshake is done.
    fn begin(&mut self) {
        let State::Shaking { side, .. } = std::mem::replace(&mut self.state, State::Over) else { return };
        match side.into_keys().and_then(Records::new) {
            Ok(records) => self.state = State::Open(Box::new(records)),
            Err(_) => self.end = Some(End::Tls(TlsEnd::Broken)),
        }
    }

    /// What came breaks the rules, and whoever said it is told so.
    fn refuse(&mut self, why: AlertDescription) {
        if let State::Open(records) = &mut self.state {
            records.complain(why, &mut self.outward);
        }
        self.end = Some(End::Tls(TlsEnd::Broken));
    }

    /// Opens what is whole of the records behind `read`, and moves what is inside to the front: how much that is.
    fn open(&mut self, wire: &mut [u8], mut read: usize) -> usize {
        let State::Open(records) = &mut self.state else { return 0 };
        let mut kept = 0;
        while self.end.is_none() {
            match records.open(&mut wire[read..], &mut self.outward) {
                Ok(Some(opened)) => {
                    let (begin, length) = (read + opened.content.start, opened.content.len());
                    wire.copy_within(begin..begin + length, kept);
                    (read, kept) = (read + opened.used, kept + length);
                    self.end = opened.end.map(|over| match over {
                        Over::Closed => End::Closed,
                        Over::Told(alert) => End::Tls(TlsEnd::Told(alert.into())),
                    });
                }
                Ok(None) => {
                    self.held = wire[read..].to_vec();
                    break;
                }
                Err(alert) => {
                    self.refuse(alert);
                    break;
                }
            }
        }
        kept
    }

    /// What is to be written next, where the link shows this to what is inside; how many of `wire` are in use.
    pub(super) fn wrap<'a>(&'a mut self, inside: &mut Inside, link: &[IoSlice<'_>], wire: &mut [IoSlice<'a>]) -> usize {
        if self.may_seal() {
            self.seal(inside, link);
        }
        self.outward.show(wire)
    }

    /// Whether what was sealed before is gone, and something may follow.
    fn may_seal(&self) -> bool {
        self.is_open() && self.outward.is_empty() && !matches!(self.end, Some(End::Tls(_)))
    }

    /// Seals the front of what is inside, and tells it that this is gone: what of it is the link's is counted here until it is.
    fn seal(&mut self, inside: &mut Inside, link: &[IoSlice<'_>]) {
        let State::Open(records) = &mut self.state else { return };
        let mut slices = [IoSlice::new(&[]); GATHERED_SLICES];
        let used = inside.wrap(link, &mut slices);
        let content = Pieces::new(&slices[..used], SEALED_MAX);
        if content.len() == 0 {
            if self.outward.take_close() {
                records.close(&mut self.outward);
            }
            return;
        }
        if records.seal(content, &mut self.outward).is_err() {
            // Its key has sealed as much as it may, and there is no other: what is left is enough to say so.
            records.close(&mut self.outward);
            self.end = Some(End::Tls(TlsEnd::UsedUp));
        }
        self.outward.count(|content| inside.handle_written(content));
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

/// What the failure of a handshake is to whoever asked for it.
fn end_of(error: &Error, is_client: bool) -> TlsEnd {
    match error {
        Error::InvalidMessage(_) if is_client => TlsEnd::NotTls,
        Error::AlertReceived(alert) => TlsEnd::Told((*alert).into()),
        Error::PeerIncompatible(_) => TlsEnd::Incompatible,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => TlsEnd::Untrusted,
        _ => TlsEnd::Broken,
    }
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
