//! Who a peer is and how people write that down: keys, ids, cards, and the text of the key file, the peers file,
//! the relays file, addresses and relay addresses.
//!
//! Everything here is a pure function of its input: text or bytes in, values or an error with line and column out.
//! It opens no file, knows no clock and no socket; `store/keyfile.rs` does the reading and the writing. Invariants:
//! a secret has no `Debug`, `Display` or `Clone` and is wiped when dropped; a [`PeerId`] has exactly one text in each
//! case; a [`Card`] that came from bytes has a valid signature; every parser is total (no input makes it panic) and
//! every text it accepts prints to a text that parses to the same value.

mod address;
mod card;
mod code;
mod id;
mod kdf;
mod key;
pub mod keyfile;
mod name;
mod parse;
mod peers;
mod relay;
mod size;

pub use address::{Address, AddressError, fuzz_address};
pub use card::{CARD_BYTES, CARD_LABEL, Card, CardError, fuzz_card};
pub use code::CodeError;
pub use id::{BadSignature, PeerId, SIGNATURE_BYTES, fuzz_peer_id};
pub(crate) use kdf::hkdf_sha256;
pub use key::{Identity, Label};
pub use name::{AppName, NAME_MAX, NameError};
pub use parse::{ParseError, ParseErrorKind};
pub use peers::{Conflict, Peer, PeerLimits, PeerOption, Peers, fuzz_peers};
pub use relay::{RelayAddress, RelayAddressError, Relays, Scheme, fuzz_relays};
pub use size::{Number, SizeError, size};
