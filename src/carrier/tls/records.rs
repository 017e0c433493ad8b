//! Records of TLS behind its handshake (RFC 8446, 5; RFC 5246, 6.2): opened where they lie, and sealed into memory of their own.
//!
//! The library opens each; what it copies in between, this does not. Besides content a record may say that nothing follows,
//! that its side has changed its keys, or what concerns only who wants to come back.

use super::keys::{Keys, Opener, Secrets};
use super::outward::Outward;
use super::seal::{Form, HEAD_BYTES, OVERHEAD_MAX, Pieces, Sealer};
use rustls::crypto::cipher::InboundOpaqueMessage;
use rustls::{AlertDescription, ContentType, Error, HandshakeType, ProtocolVersion};
use std::io::IoSlice;
use std::ops::Range;

/// Content of a record, bytes, at most (RFC 8446, 5.1).
pub(super) const CONTENT_MAX: usize = 16 * 1024;
/// The longest record, with its head (RFC 5246, 6.2.3).
pub(super) const RECORD_MAX: usize = HEAD_BYTES + CONTENT_MAX + 2048;
/// Records without content that are borne from the start: each may cost as much as many bytes of content do, and none need come.
const ASIDES_FREE: u64 = 32;
/// And one more for so many records: one that changes keys does so for millions.
const ASIDE_EVERY: u64 = 1024;
/// Records that are left for other things than content when a key has sealed as many as it may.
const RESERVED: u64 = 16;
/// The level of an alert that is no end by itself.
const WARNING: u8 = 1;

/// See the module.
pub(super) struct Records {
    keys: Keys,
    opener: Opener,
    sealer: Sealer,
    form: Form,
    /// A message of a handshake that began, and goes on in the next record.
    message: Message,
    /// Whether it was said that there is no other handshake.
    has_declined: bool,
    /// Records that had content.
    opened: u64,
    /// Those that said something else.
    asides: u64,
}

/// A record that came whole.
pub(super) struct Opened {
    /// Bytes that it took.
    pub used: usize,
    /// Where its content was.
    pub content: Range<usize>,
    /// How the other side has ended with it, if it has.
    pub end: Option<Over>,
}

/// How the other side has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing follows.
    Closed,
    /// Something is wrong with what it was sent.
    Told(AlertDescription),
}

/// A message of a handshake, as far as it has come.
#[derive(Default)]
struct Message {
    /// Its kind, its length, and the first byte of what it says.
    front: [u8; 5],
    /// Bytes of those that came.
    have: usize,
    /// Bytes behind them that are yet to come.
    left: usize,
}

/// What a message says.
enum Said {
    /// It is not whole, or means nothing here.
    Nothing,
    /// The other side's keys are others from here on; whether ours are to be, too.
    Changed { ours_too: bool },
    /// The other side wants another handshake.
    Renegotiation,
}

impl Records {
    pub(super) fn new((keys, secrets): (Keys, Secrets)) -> Result<Records, Error> {
        let (opener, sealer) = keys.begin(secrets)?;
        let form = keys.form();
        Ok(Records {
            keys,
            opener,
            sealer,
            form,
            message: Message::default(),
            has_declined: false,
            opened: 0,
            asides: 0,
        })
    }

    /// Opens the record at the front, if it is whole. What there is to say to it goes out.
    ///
    /// # Errors
    /// It breaks the rules, or is not theirs whom the keys are of.
    pub(super) fn open(&mut self, wire: &mut [u8], out: &mut Outward) -> Result<Option<Opened>, AlertDescription> {
        let Some((kind, version, length)) = self.head(wire)? else { return Ok(None) };
        let used = HEAD_BYTES + length;
        let Some(sealed) = wire.get_mut(HEAD_BYTES..used) else { return Ok(None) };
        let record = InboundOpaqueMessage::new(kind, version, sealed);
        let record = self.opener.decrypter.decrypt(record, self.opener.count).map_err(|error| match error {
            Error::DecryptError => AlertDescription::BadRecordMac,
            Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
            _ => AlertDescription::UnexpectedMessage,
        })?;
        self.opener.count += 1;
        let at = HEAD_BYTES + self.form.nonce_bytes;
        let (kind, length) = (record.typ, record.payload.len());
        if kind == ContentType::ApplicationData && self.message.have == 0 {
            // Those that are empty pay for nothing, and cost no more than small ones.
            self.opened += u64::from(length > 0);
            return Ok(Some(Opened { used, content: at..at + length, end: None }));
        }
        self.asides += 1;
        if self.asides > ASIDES_FREE + self.opened / ASIDE_EVERY {
            return Err(AlertDescription::UnexpectedMessage);
        }
        let end = match kind {
            ContentType::Alert => self.hear_alert(&wire[at..at + length])?,
            ContentType::Handshake => {
                self.hear(&wire[at..at + length], out)?;
                None
            }
            _ => return Err(AlertDescription::UnexpectedMessage),
        };
        Ok(Some(Opened { used, content: 0..0, end }))
    }

    /// What the head of a record says: its kind, version, and length. None while it is not whole.
    fn head(&self, wire: &[u8]) -> Result<Option<(ContentType, ProtocolVersion, usize)>, AlertDescription> {
        let Some([kind, major, minor, length @ ..]) = wire.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let (kind, length) = (ContentType::from(*kind), usize::from(u16::from_be_bytes(*length)));
        // Behind a handshake of TLS 1.3 all are of one kind, as far as anybody can see.
        if *major != 3 || (self.form.is_new && kind != ContentType::ApplicationData) {
            return Err(AlertDescription::UnexpectedMessage);
        }
        if length > RECORD_MAX - HEAD_BYTES {
            return Err(AlertDescription::RecordOverflow);
        }
        Ok(Some((kind, ProtocolVersion::from(u16::from_be_bytes([*major, *minor])), length)))
    }

    fn hear_alert(&self, alert: &[u8]) -> Result<Option<Over>, AlertDescription> {
        let [level, number] = alert else { return Err(AlertDescription::DecodeError) };
        let is_warning = *level == WARNING;
        Ok(match AlertDescription::from(*number) {
            AlertDescription::CloseNotify => Some(Over::Closed),
            // It is followed by the end.
            AlertDescription::UserCanceled => None,
            _ if is_warning && !self.form.is_new => None,
            other => Some(Over::Told(other)),
        })
    }

    /// Messages of a handshake, of which one may go on in the next record.
    fn hear(&mut self, mut bytes: &[u8], out: &mut Outward) -> Result<(), AlertDescription> {
        if bytes.is_empty() {
            return Err(AlertDescription::UnexpectedMessage);
        }
        while !bytes.is_empty() {
            let (is_new, is_client) = (self.form.is_new, self.keys.is_client());
            let may_come = |kind| match kind {
                HandshakeType::KeyUpdate => is_new,
                HandshakeType::NewSessionTicket => is_new && is_client,
                // They ask for what nobody does any more.
                HandshakeType::HelloRequest => !is_new && is_client,
                HandshakeType::ClientHello => !is_new && !is_client,
                _ => false,
            };
            let ours_too = match self.message.take(&mut bytes, may_come)? {
                Said::Nothing => continue,
                Said::Renegotiation => {
                    self.decline(out);
                    continue;
                }
                Said::Changed { ours_too } => ours_too,
            };
            // What follows has other keys, and so begins another record.
            if !bytes.is_empty() {
                return Err(AlertDescription::UnexpectedMessage);
            }
            self.opener = self.keys.next_opener().map_err(|_| AlertDescription::InternalError)?;
            // One that is yet to go out answers this, too: else whoever asks and reads nothing makes it long.
            if ours_too && !out.has_change() {
                self.change_keys(false, out).map_err(|_| AlertDescription::InternalError)?;
            }
        }
        Ok(())
    }

    /// Seals these, in as many records as it takes.
    ///
    /// # Errors
    /// The key has sealed as much as it may, and this version has no other.
    pub(super) fn seal(&mut self, mut content: Pieces<'_>, out: &mut Outward) -> Result<(), Error> {
        let records = content.len().div_ceil(CONTENT_MAX);
        out.expect(content.len() + records * OVERHEAD_MAX);
        while content.len() > 0 {
            if self.sealer.count + RESERVED >= self.sealer.most {
                // Whoever says much hears much, perhaps.
                self.change_keys(true, out)?;
            }
            self.sealer.seal(ContentType::ApplicationData, content.split_front(CONTENT_MAX), out)?;
        }
        Ok(())
    }

    /// Has other keys from here on, and says so, perhaps asking the same of the other side (RFC 8446, 4.6.3).
    fn change_keys(&mut self, asks: bool, out: &mut Outward) -> Result<(), Error> {
        if !self.form.is_new {
            return Err(Error::EncryptError);
        }
        self.seal_words(ContentType::Handshake, &[24, 0, 0, 1, u8::from(asks)], out)?;
        out.note_change();
        self.sealer = self.keys.next_sealer()?;
        Ok(())
    }

    /// Says that there is no other handshake (RFC 5246, 7.2.2): once, as whoever asks again has heard it.
    fn decline(&mut self, out: &mut Outward) {
        if !std::mem::replace(&mut self.has_declined, true) {
            self.tell(WARNING, AlertDescription::NoRenegotiation, out);
        }
    }

    /// Says that nothing follows.
    pub(super) fn close(&mut self, out: &mut Outward) {
        self.tell(WARNING, AlertDescription::CloseNotify, out);
    }

    /// Says what is wrong with what came, if that is known.
    pub(super) fn complain(&mut self, about: AlertDescription, out: &mut Outward) {
        const FATAL: u8 = 2;
        self.tell(FATAL, about, out);
    }

    fn tell(&mut self, level: u8, what: AlertDescription, out: &mut Outward) {
        let alert = [level, what.into()];
        // Without it the end of the socket is one all the same.
        let _ = self.seal_words(ContentType::Alert, &alert, out);
    }

    fn seal_words(&mut self, typ: ContentType, words: &[u8], out: &mut Outward) -> Result<(), Error> {
        let slices = [IoSlice::new(words)];
        self.sealer.seal(typ, Pieces::new(&slices, words.len()), out)
    }
}

impl Message {
    /// Takes what belongs to it from the front of these, if such a message may come.
    fn take(&mut self, bytes: &mut &[u8], may_come: impl Fn(HandshakeType) -> bool) -> Result<Said, AlertDescription> {
        const KIND_AND_LENGTH: usize = 4;
        while self.have < self.front.len() {
            if self.have == KIND_AND_LENGTH && self.length() == 0 {
                break;
            }
            let Some((first, rest)) = bytes.split_first() else { return Ok(Said::Nothing) };
            (self.front[self.have], *bytes) = (*first, rest);
            self.have += 1;
            if !may_come(self.kind()) {
                return Err(AlertDescription::UnexpectedMessage);
            }
            if self.have == self.front.len() {
                self.left = self.length() - 1;
            }
        }
        let here = self.left.min(bytes.len());
        (self.left, *bytes) = (self.left - here, &bytes[here..]);
        if self.left > 0 {
            return Ok(Said::Nothing);
        }
        let (kind, length, first) = (self.kind(), self.length(), self.front[KIND_AND_LENGTH]);
        *self = Message::default();
        match (kind, length, first) {
            (HandshakeType::KeyUpdate, 1, 0) => Ok(Said::Changed { ours_too: false }),
            (HandshakeType::KeyUpdate, 1, 1) => Ok(Said::Changed { ours_too: true }),
            (HandshakeType::KeyUpdate, 1, _) => Err(AlertDescription::IllegalParameter),
            (HandshakeType::HelloRequest, 0, _) | (HandshakeType::ClientHello, ..) => Ok(Said::Renegotiation),
            (HandshakeType::KeyUpdate | HandshakeType::HelloRequest, ..) => Err(AlertDescription::DecodeError),
            _ => Ok(Said::Nothing),
        }
    }

    fn kind(&self) -> HandshakeType {
        HandshakeType::from(self.front[0])
    }

    fn length(&self) -> usize {
        let [_, length @ .., _] = self.front;
        length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    }
}

#[cfg(test)]
#[path = "../tests/records.rs"]
mod tests;
