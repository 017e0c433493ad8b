//! `PEER[:APP]`: a petname or an id, and what to reach there.

use std::fmt;

use super::app::{self as name, AppName, NameError};
use super::peers::Peers;
use crate::identity::code::CodeError;
use crate::identity::id::{PeerId, looks_like_id};

/// What `depot:orders`, `vp1…:pg` or `depot` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whom to reach.
    pub peer: PeerId,
    /// The petname: the one written, or the first that the peers file has for the id.
    pub name: Option<String>,
    /// What to reach there; `drop` if none was written.
    pub app: AppName,
}

impl Address {
    /// Reads `PEER[:APP]`.
    ///
    /// # Errors
    /// The peer is neither a known petname nor an id, or the application is no name.
    pub fn parse(text: &str, peers: &Peers) -> Result<Self, AddressError> {
        let (peer, app) = match text.split_once(':') {
            Some((peer, app)) => (peer, app.parse().map_err(AddressError::BadApp)?),
            None => (text, AppName::default()),
        };
        let (peer, name) = if looks_like_id(peer) {
            let id: PeerId = peer.parse().map_err(AddressError::BadId)?;
            (id, peers.by_id(&id).map(|known| known.name.clone()))
        } else {
            name::check(peer).map_err(AddressError::BadName)?;
            let known = peers.by_name(peer).ok_or_else(|| {
                let conflict = peers.conflicts().iter().find(|conflict| conflict.name == peer);
                conflict.map_or(AddressError::UnknownName, |conflict| AddressError::Conflict {
                    first_line: conflict.first_line,
                    line: conflict.line,
                })
            })?;
            (known.id, Some(known.name.clone()))
        };
        Ok(Self { peer, name, app })
    }
}

impl fmt::Display for Address {
    /// The petname if there is one, else the id; always with the application.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}:{}", self.app),
            None => write!(f, "{}:{}", self.peer, self.app),
        }
    }
}

/// Why a text is no address here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// It begins like an id but is none.
    BadId(CodeError),
    /// It is neither an id nor a possible petname.
    BadName(NameError),
    /// A possible petname that the peers file does not have.
    UnknownName,
    /// Two lines of the peers file say different things of it.
    Conflict {
        /// The first, from 1.
        first_line: usize,
        /// Another.
        line: usize,
    },
    /// What follows the colon is no application name.
    BadApp(NameError),
}

/// Fuzz entry: an accepted address prints to a text with the same meaning.
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub fn fuzz_address(data: &[u8]) {
    let id = PeerId::from_bytes([0; 32]);
    let peers = Peers::parse(&format!("a {id}")).expect("a good file");
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(address) = Address::parse(text, &peers)
    {
        assert_eq!(Address::parse(&address.to_string(), &peers), Ok(address));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peers() -> Peers {
        Peers::parse(&format!("depot {}\nalso {}", id(1), id(1))).expect("a good file")
    }

    fn id(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    fn printed(text: &str) -> Result<String, AddressError> {
        Address::parse(text, &peers()).map(|address| address.to_string())
    }

    #[test]
    fn petnames_ids_and_the_default_application() {
        assert_eq!(printed("depot:orders").as_deref(), Ok("depot:orders"));
        assert_eq!(printed("depot").as_deref(), Ok("depot:drop"));
        assert_eq!(printed(&format!("{}:pg", id(1))).as_deref(), Ok("depot:pg"));
        assert_eq!(printed(&format!("{}:pg", id(2))), Ok(format!("{}:pg", id(2))));
        assert_eq!(printed(&id(2).to_string().to_uppercase()), Ok(format!("{}:drop", id(2))));
    }

    #[test]
    fn every_refusal_says_which_part() {
        assert_eq!(printed("nobody"), Err(AddressError::UnknownName));
        assert_eq!(printed(""), Err(AddressError::BadName(NameError::Empty)));
        assert_eq!(printed("a b"), Err(AddressError::BadName(NameError::BadCharacter { at: 1 })));
        assert_eq!(printed("depot:"), Err(AddressError::BadApp(NameError::Empty)));
        assert_eq!(printed("depot:a:b"), Err(AddressError::BadApp(NameError::BadCharacter { at: 1 })));
        assert!(matches!(printed("vp1short"), Err(AddressError::BadId(CodeError::WrongLength { .. }))));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(a|vp1)?.*") {
            fuzz_address(text.as_bytes());
        }
    }
}
