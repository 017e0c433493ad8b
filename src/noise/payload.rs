//! What the three messages of a handshake carry, byte for byte, and how long they may be.
//!
//! ```text
//! 1  -> e                  ek 1184 ‖ len u16 ‖ caps ‖ zeros up to MESSAGE_1_BYTES
//! 2  <- e, ee, s, es       ct 1088 ‖ card 173 ‖ len u16 ‖ caps
//! 3  -> s, se, psk         secret 32 ‖ card 173 ‖ len u16 ‖ payload
//! ```
//! Lengths are little-endian. Nothing may follow the last field, and the zeros of message 1 must be zeros.

use crate::identity::CARD_BYTES;

use super::aead::TAG_BYTES;
use super::error::{HandshakeError, Part};
use super::fresh::{CT_BYTES, EK_BYTES, SECRET_BYTES};

/// An X25519 key in the clear.
const E_BYTES: usize = 32;
/// An X25519 key, sealed.
const S_BYTES: usize = 32 + TAG_BYTES;
const LEN_BYTES: usize = 2;

/// Longest capabilities that either side may announce: some dozens of short fields.
pub const CAPS_MAX: usize = 256;
/// Longest message of a handshake, so that what a stranger may make us keep stays within a page.
pub const HANDSHAKE_MESSAGE_MAX: usize = 4096;
/// Longest message 2.
pub const MESSAGE_2_MAX: usize = E_BYTES + S_BYTES + CT_BYTES + CARD_BYTES + LEN_BYTES + CAPS_MAX + TAG_BYTES;
/// Length of message 1, always: as long as the longest answer, so that nobody can use a responder to send more bytes
/// to a third party than he sends himself.
pub const MESSAGE_1_BYTES: usize = MESSAGE_2_MAX;
/// Longest payload of message 3: what a page leaves.
pub(crate) const PAYLOAD_MAX: usize =
    HANDSHAKE_MESSAGE_MAX - S_BYTES - SECRET_BYTES - CARD_BYTES - LEN_BYTES - TAG_BYTES;

const HELLO_BYTES: usize = MESSAGE_1_BYTES - E_BYTES - TAG_BYTES;

const _: () = assert!(EK_BYTES + LEN_BYTES + CAPS_MAX <= HELLO_BYTES, "message 1 holds its fields");
const _: () = assert!(MESSAGE_2_MAX <= HANDSHAKE_MESSAGE_MAX, "messages 1 and 2 fit a page");
const _: () = assert!(CAPS_MAX <= 0xffff && PAYLOAD_MAX <= 0xffff, "lengths fit their field");

/// Payload of message 1.
pub(super) struct Hello<'a> {
    pub ek: &'a [u8; EK_BYTES],
    pub caps: &'a [u8],
}

impl<'a> Hello<'a> {
    pub(super) fn encode(&self) -> Result<Vec<u8>, HandshakeError> {
        let mut bytes = Vec::with_capacity(HELLO_BYTES);
        bytes.extend_from_slice(self.ek);
        put_sized(&mut bytes, self.caps, CAPS_MAX, Part::Caps)?;
        bytes.resize(HELLO_BYTES, 0);
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let (ek, rest) = bytes.split_first_chunk().ok_or(HandshakeError::Malformed)?;
        let (caps, zeros) = take_sized(rest, CAPS_MAX)?;
        if bytes.len() != HELLO_BYTES || zeros.iter().any(|byte| *byte != 0) {
            return Err(HandshakeError::Malformed);
        }
        Ok(Self { ek, caps })
    }
}

/// Payload of message 2.
pub(super) struct Reply<'a> {
    pub ct: &'a [u8; CT_BYTES],
    pub card: &'a [u8; CARD_BYTES],
    pub caps: &'a [u8],
}

impl<'a> Reply<'a> {
    pub(super) fn encode(&self) -> Result<Vec<u8>, HandshakeError> {
        let mut bytes = [self.ct.as_slice(), self.card].concat();
        put_sized(&mut bytes, self.caps, CAPS_MAX, Part::Caps)?;
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let (ct, rest) = bytes.split_first_chunk().ok_or(HandshakeError::Malformed)?;
        let (card, rest) = rest.split_first_chunk().ok_or(HandshakeError::Malformed)?;
        let caps = take_last(rest, CAPS_MAX)?;
        Ok(Self { ct, card, caps })
    }
}

/// Payload of message 3.
pub(super) struct Final<'a> {
    pub secret: &'a [u8; SECRET_BYTES],
    pub card: &'a [u8; CARD_BYTES],
    pub payload: &'a [u8],
}

impl<'a> Final<'a> {
    /// The caller wipes the result: it holds the secret.
    pub(super) fn encode(&self) -> Result<Vec<u8>, HandshakeError> {
        let len = SECRET_BYTES + CARD_BYTES + LEN_BYTES + self.payload.len();
        // Exact, so that the secret is not left behind in a buffer that was too small.
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(self.secret);
        bytes.extend_from_slice(self.card);
        put_sized(&mut bytes, self.payload, PAYLOAD_MAX, Part::Payload)?;
        Ok(bytes)
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, HandshakeError> {
        let (secret, rest) = bytes.split_first_chunk().ok_or(HandshakeError::Malformed)?;
        let (card, rest) = rest.split_first_chunk().ok_or(HandshakeError::Malformed)?;
        let payload = take_last(rest, PAYLOAD_MAX)?;
        Ok(Self { secret, card, payload })
    }
}

fn put_sized(bytes: &mut Vec<u8>, field: &[u8], max: usize, part: Part) -> Result<(), HandshakeError> {
    let too_long = HandshakeError::TooLong(part);
    let len = u16::try_from(field.len()).map_err(|_| too_long)?;
    if field.len() > max {
        return Err(too_long);
    }
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(field);
    Ok(())
}

/// A field with its length before it, and what follows.
fn take_sized(bytes: &[u8], max: usize) -> Result<(&[u8], &[u8]), HandshakeError> {
    let (len, rest) = bytes.split_first_chunk().ok_or(HandshakeError::Malformed)?;
    let len = usize::from(u16::from_le_bytes(*len));
    if len > max {
        return Err(HandshakeError::Malformed);
    }
    rest.split_at_checked(len).ok_or(HandshakeError::Malformed)
}

/// A field with its length before it, and nothing after it.
fn take_last(bytes: &[u8], max: usize) -> Result<&[u8], HandshakeError> {
    match take_sized(bytes, max)? {
        (field, []) => Ok(field),
        _ => Err(HandshakeError::Malformed),
    }
}

/// Fuzz entry: foreign bytes as the payload of each message; what decodes has one encoding.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_payload(data: &[u8]) {
    let same = |encoded: Result<Vec<u8>, HandshakeError>| assert_eq!(encoded.as_deref(), Ok(data));
    if let Ok(hello) = Hello::decode(data) {
        same(hello.encode());
    }
    if let Ok(reply) = Reply::decode(data) {
        same(reply.encode());
    }
    if let Ok(last) = Final::decode(data) {
        same(last.encode());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_those_of_the_protocol() {
        assert_eq!(MESSAGE_1_BYTES, 1615);
        assert_eq!(MESSAGE_2_MAX, 1615);
        assert_eq!(PAYLOAD_MAX, 3825);
    }

    #[test]
    fn a_hello_is_padded_with_zeros_and_nothing_else() {
        let hello = Hello { ek: &[1; EK_BYTES], caps: b"caps" };
        let mut bytes = hello.encode().expect("short caps");
        assert_eq!(bytes.len(), HELLO_BYTES);
        assert_eq!(Hello::decode(&bytes).map(|hello| hello.caps), Ok(b"caps".as_slice()));
        assert!(Hello::decode(&bytes[..HELLO_BYTES - 1]).is_err());
        *bytes.last_mut().expect("not empty") = 1;
        assert!(Hello::decode(&bytes).is_err());
    }

    #[test]
    fn fields_that_are_too_long_are_refused_on_both_sides() {
        let long = vec![0; PAYLOAD_MAX + 1];
        let caps = &long[..CAPS_MAX + 1];
        let hello = Hello { ek: &[1; EK_BYTES], caps };
        assert_eq!(hello.encode().err(), Some(HandshakeError::TooLong(Part::Caps)));
        let reply = Reply { ct: &[1; CT_BYTES], card: &[2; CARD_BYTES], caps };
        assert_eq!(reply.encode().err(), Some(HandshakeError::TooLong(Part::Caps)));
        let last = Final { secret: &[1; SECRET_BYTES], card: &[2; CARD_BYTES], payload: &long };
        assert_eq!(last.encode().err(), Some(HandshakeError::TooLong(Part::Payload)));
        let mut bytes = vec![0; CT_BYTES + CARD_BYTES];
        bytes.extend_from_slice(&257_u16.to_le_bytes());
        bytes.extend_from_slice(caps);
        assert_eq!(Reply::decode(&bytes).err(), Some(HandshakeError::Malformed));
    }

    proptest! {
        #[test]
        fn reply_and_final_round_trip_and_refuse_another_length(
            field in proptest::collection::vec(any::<u8>(), 0..CAPS_MAX),
        ) {
            let reply = Reply { ct: &[1; CT_BYTES], card: &[2; CARD_BYTES], caps: &field };
            let mut bytes = reply.encode().expect("short caps");
            prop_assert_eq!(Reply::decode(&bytes).expect("own bytes").caps, &field);
            prop_assert!(Reply::decode(&bytes[..bytes.len() - 1]).is_err());
            bytes.push(0);
            prop_assert!(Reply::decode(&bytes).is_err());

            let last = Final { secret: &[1; SECRET_BYTES], card: &[2; CARD_BYTES], payload: &field };
            let mut bytes = last.encode().expect("short payload");
            prop_assert_eq!(Final::decode(&bytes).expect("own bytes").payload, &field);
            prop_assert!(Final::decode(&bytes[..bytes.len() - 1]).is_err());
            bytes.push(0);
            prop_assert!(Final::decode(&bytes).is_err());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1700)) {
            let _ = (Hello::decode(&bytes).is_ok(), Reply::decode(&bytes).is_ok(), Final::decode(&bytes).is_ok());
        }
    }
}
