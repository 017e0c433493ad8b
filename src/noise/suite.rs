//! The two suites, what a handshake is for, and the prologue that binds both.

use std::error::Error;
use std::fmt;

use crate::identity::PeerId;

use super::error::{HandshakeError, Part};

/// First bytes of every prologue: another version of the protocol fails in message 1.
const PROTOCOL: &[u8] = b"vp/1";

/// The AEAD of a channel; the rest is always X25519, ML-KEM-768 and SHA-256. Whoever initiates picks; both must be able.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-256-GCM.
    AesGcm,
    /// ChaCha20-Poly1305.
    ChaChaPoly,
}

impl Suite {
    /// Both, in the order of their numbers.
    pub const ALL: [Self; 2] = [Self::AesGcm, Self::ChaChaPoly];

    /// AES-GCM where the processor has instructions for it (several times the speed, and no tables to time), else
    /// ChaCha20-Poly1305.
    #[must_use]
    pub fn preferred() -> Self {
        if has_aes_instructions() { Self::AesGcm } else { Self::ChaChaPoly }
    }

    /// The number on the wire and in the prologue.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::AesGcm => 1,
            Self::ChaChaPoly => 2,
        }
    }

    /// The Noise protocol name of the handshake for links and sessions.
    #[must_use]
    pub(crate) const fn handshake_name(self) -> &'static str {
        match self {
            Self::AesGcm => "Noise_XXpsk3_25519_AESGCM_SHA256",
            Self::ChaChaPoly => "Noise_XXpsk3_25519_ChaChaPoly_SHA256",
        }
    }

    /// The Noise protocol name of the handshake for further lanes.
    #[must_use]
    pub(crate) const fn join_name(self) -> &'static str {
        match self {
            Self::AesGcm => "Noise_NNpsk0_25519_AESGCM_SHA256",
            Self::ChaChaPoly => "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
        }
    }
}

impl From<Suite> for u8 {
    fn from(suite: Suite) -> Self {
        suite.number()
    }
}

impl TryFrom<u8> for Suite {
    type Error = UnknownSuite;

    fn try_from(number: u8) -> Result<Self, UnknownSuite> {
        Self::ALL.into_iter().find(|suite| suite.number() == number).ok_or(UnknownSuite(number))
    }
}

/// A suite number that this release does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownSuite(pub u8);

impl fmt::Display for UnknownSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown cipher suite {}", self.0)
    }
}

impl Error for UnknownSuite {}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn has_aes_instructions() -> bool {
    std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq")
}

#[cfg(target_arch = "aarch64")]
fn has_aes_instructions() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes_instructions() -> bool {
    false
}

/// What a handshake is for. A message made for one purpose fails under every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Between a client and a relay.
    Link,
    /// Between two clients, end to end.
    Session,
    /// A further lane of a session; see [`super::JoinInitiator`].
    Join,
}

impl Purpose {
    /// The byte in the prologue.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Link => b'L',
            Self::Session => b'S',
            Self::Join => b'J',
        }
    }
}

/// `"vp/1" ‖ suite u8 ‖ purpose u8 ‖ responder id 32 ‖ len(context) u16 little-endian ‖ context`.
///
/// The id is that of the responder only, so a message can never be reflected into the other role; where no id is known
/// (joins) it is 32 zero bytes.
pub(super) fn prologue(
    suite: Suite,
    purpose: Purpose,
    responder: &PeerId,
    context: &[u8],
) -> Result<Vec<u8>, HandshakeError> {
    let len = u16::try_from(context.len()).map_err(|_| HandshakeError::TooLong(Part::Context))?;
    Ok([PROTOCOL, &[suite.number(), purpose.byte()], responder.as_bytes(), &len.to_le_bytes(), context].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's word, which does not come through the same crate.
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    #[test]
    fn the_preferred_suite_is_the_one_that_the_processor_is_made_for() {
        let said = std::fs::read_to_string("/proc/cpuinfo").expect("linux");
        let line = said.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
        let has = |flag: &str| line.is_some_and(|line| line.split_whitespace().any(|word| word == flag));
        let aes = has("aes") && (cfg!(target_arch = "aarch64") || has("pclmulqdq"));
        assert_eq!(Suite::preferred(), if aes { Suite::AesGcm } else { Suite::ChaChaPoly });
        assert_eq!(Suite::preferred(), Suite::preferred(), "each time");
    }

    #[test]
    fn numbers_round_trip_and_others_are_refused() {
        for suite in Suite::ALL {
            assert_eq!(Suite::try_from(u8::from(suite)), Ok(suite));
        }
        for number in (0..=u8::MAX).filter(|number| !(1..=2).contains(number)) {
            assert_eq!(Suite::try_from(number), Err(UnknownSuite(number)));
        }
    }

    #[test]
    fn a_context_that_its_length_cannot_tell_is_refused() {
        let id = PeerId::from_bytes([0; 32]);
        let make = |context: &[u8]| prologue(Suite::AesGcm, Purpose::Link, &id, context);
        assert_eq!(make(&[0; 65_535]).map(|bytes| bytes.len()), Ok(4 + 2 + 32 + 2 + 65_535));
        assert_eq!(make(&[0; 65_536]), Err(HandshakeError::TooLong(Part::Context)));
    }
}
