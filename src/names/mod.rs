//! What people type and keep in files: names, addresses, sizes, and the text of the peers, relays and key files.
//!
//! Everything here is a function of its input: text in, values or an error with line and column out. No file is opened:
//! `store` and `cli` read and write them. Invariants: no input makes a parser panic; every text that is accepted prints to a
//! text that parses to the same value.

mod address;
mod app;
mod fronts;
pub mod keyfile;
mod lines;
mod network;
mod path;
mod peers;
mod proxy;
mod relay;
mod relays;
mod size;

#[cfg(feature = "fuzzing")]
pub use address::fuzz_address;
pub use address::{Address, AddressError};
pub use app::{AppName, NAME_MAX, NameError};
pub use fronts::Fronts;
pub use lines::{ParseError, ParseErrorKind};
pub use network::{Network, NetworkError};
pub use path::{RequestPath, RequestPathError};
#[cfg(feature = "fuzzing")]
pub use peers::fuzz_peers;
pub use peers::{Conflict, Peer, PeerLimits, PeerOption, Peers};
#[cfg(feature = "fuzzing")]
pub use proxy::fuzz_proxy;
pub(crate) use proxy::{ProxyAddress, ProxyAddressError, ProxyScheme, is_exempt};
pub use relay::{RelayAddress, RelayAddressError, Scheme};
pub(crate) use relays::Relays;
#[cfg(feature = "fuzzing")]
pub use relays::fuzz_relays;
pub(crate) use size::Number;
pub use size::{SizeError, size};
