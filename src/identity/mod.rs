//! Who a peer is and what it signs: keys, ids, cards.
//!
//! Invariants: a secret has no `Debug`, `Display` or `Clone` and is wiped when dropped; a [`PeerId`] has exactly one text in
//! small letters, and the same in capitals; a [`Card`] that came from bytes has a valid signature; no input makes a parser panic.

mod card;
pub(crate) mod code;
pub(crate) mod id;
mod kdf;
mod key;
mod signature;

#[cfg(feature = "fuzzing")]
pub use card::fuzz_card;
pub use card::{CARD_BYTES, Card, CardError};
pub use code::CodeError;
pub use id::PeerId;
#[cfg(feature = "fuzzing")]
pub use id::fuzz_peer_id;
pub(crate) use kdf::hkdf_sha256;
pub use key::Identity;
pub use signature::{BadSignature, Label};
