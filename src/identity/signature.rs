//! Signatures with a purpose: what was signed for one is worth nothing for another.

use aws_lc_rs::signature::Ed25519KeyPair;
use std::error::Error;
use std::fmt;

/// Length of an Ed25519 signature.
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// Signs `label ‖ message` with the framing of [`Label`].
pub(super) fn sign(signing: &Ed25519KeyPair, label: Label, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
    // An Ed25519 signature has 64 bytes (RFC 8032, 5.1.6).
    signing.sign(&label.frame(message)).as_ref().try_into().expect("64-byte signature")
}

/// What a signature is for. Two labels never sign the same bytes, so a signature cannot be moved to another purpose.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(&'static str);

impl Label {
    /// Longest label: its length travels in one byte.
    pub(crate) const MAX_BYTES: usize = 64;

    /// A label of 1 to 64 bytes.
    ///
    /// # Panics
    /// If the text is empty or longer. Labels are constants, so that happens while compiling.
    #[must_use]
    pub(crate) const fn new(text: &'static str) -> Self {
        assert!(!text.is_empty() && text.len() <= Self::MAX_BYTES, "a label has 1 to 64 bytes");
        Self(text)
    }

    /// The bytes that are signed: `len(label) as u8 ‖ label ‖ message`. The length keeps labels prefix-free.
    pub(super) fn frame(self, message: &[u8]) -> Vec<u8> {
        let mut framed = Vec::with_capacity(1 + self.0.len() + message.len());
        // `new` admits at most 64 bytes.
        framed.push(u8::try_from(self.0.len()).expect("a label is short"));
        framed.extend_from_slice(self.0.as_bytes());
        framed.extend_from_slice(message);
        framed
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Label({:?})", self.0)
    }
}

/// A signature is not this peer's for this message and purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad signature")
    }
}

impl Error for BadSignature {}
