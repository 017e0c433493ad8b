//! What tools that connect have to say while they run, before it has words.

use super::event_loop::ToolError;
use crate::identity::PeerId;
use crate::names::RelayAddress;
use crate::net::tcp::Place;
use crate::node::{Down, Sharing, Step};
use crate::store::attributes::Unkept;
use crate::store::links::LeftOut;
use crate::tools::ports::{Hop, Passage, Referral};
use crate::transfer::messages::{Hash, ItemOutcome};
use crate::transfer::outcome::{Counts, Failure};
use crate::transfer::{ItemEnd, ItemKind};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How one item ended: [`ItemEnd`], to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its path as the sender says it, as bytes of unknown origin; of a stream, its name, which may be empty.
    pub path: Vec<u8>,
    /// What it is, where that is known.
    pub kind: Option<ItemKind>,
    /// Length of its content.
    pub bytes: u64,
    /// BLAKE3 of the content, if it is at both ends and was computed.
    pub hash: Option<Hash>,
    /// The last name that it got at the receiver, if that is another.
    pub renamed: Option<Vec<u8>>,
    /// What became of it.
    pub outcome: ItemOutcome,
    /// How long there was work on it.
    pub took: Duration,
}

impl From<ItemEnd<'_>> for Item {
    fn from(end: ItemEnd<'_>) -> Item {
        Item {
            path: end.path.to_vec(),
            kind: end.kind,
            bytes: end.bytes,
            hash: end.hash,
            renamed: end.renamed.map(<[u8]>::to_vec),
            outcome: end.outcome,
            took: end.took,
        }
    }
}

/// How a transfer ended.
#[derive(Debug)]
pub struct Transfer<'a> {
    /// Items by their end, as far as it is known.
    pub counts: Counts,
    /// Items that could not even be offered.
    pub left_out: u32,
    /// Bytes of content that were moved, before compression.
    pub bytes: u64,
    /// From the first word to the last.
    pub took: Duration,
    /// Why it was no success.
    pub error: Option<&'a ToolError>,
}

/// How something that was joined to a peer ended.
#[derive(Debug)]
pub struct Joined<'a> {
    /// Bytes to the peer.
    pub sent: u64,
    /// Bytes of the peer.
    pub received: u64,
    /// How long it lasted.
    pub took: Duration,
    /// Why it did not end in order, where that has a reason of its own.
    pub error: Option<&'a ToolError>,
    /// It was reset.
    pub is_reset: bool,
}

/// What a person may want to know while it happens.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A signal came, and the tool ends as soon as it can.
    Stopping,
    /// A relay is dialled.
    Dialling(&'a RelayAddress),
    /// The relay's port took the connection: from here, to there.
    Connected(SocketAddr, SocketAddr),
    /// A step in the life of the circuit with this number.
    Circuit(u32, &'a Step),
    /// The link to a relay is up.
    RelayUp(&'a RelayAddress),
    /// The link to a relay is gone or did not come up.
    RelayDown(&'a RelayAddress, Down, Option<&'a io::Error>),
    /// Another process with our key receives this application at this relay.
    Shared(&'a str, Sharing, &'a RelayAddress),
    /// The peer is not there yet.
    Waiting(PeerId, &'a str),
    /// It takes long to meet anybody.
    StillWaiting,
    /// The peer is there, but nothing there answers to the application, or not to us.
    NotServed(PeerId, &'a str),
    /// The session is up.
    Up(PeerId, &'a str),
    /// The session lost its path and waits for another.
    Lost(PeerId),
    /// The session goes on.
    Resumed(PeerId),
    /// Somebody called who may not.
    TurnedAway(PeerId, &'a str),
    /// The application is registered: callers find it.
    Attached(&'a str),
    /// A session of a tool that goes on ended with a fault.
    SessionFailed(PeerId, &'a ToolError),
    /// A session with this application of a peer did not come up or is over, and will be asked for again.
    CallFailed(PeerId, &'a str, &'a ToolError),
    /// Progress of a transfer: bytes and items done, and in all where known.
    Progress {
        /// Bytes where they belong.
        bytes: u64,
        /// Those of them that were there before, or are holes.
        skipped: u64,
        /// Bytes in all.
        total: Option<u64>,
        /// Items where they belong, and in all where known.
        items: Option<(u64, Option<u64>)>,
        /// The present item, as bytes of unknown origin.
        name: &'a [u8],
    },
    /// One item failed, or something went wrong with it afterwards. The others go on.
    ItemFailed(&'a Failure),
    /// The file system of this directory did not keep what came with some items.
    Unkept(&'a Path, Unkept),
    /// A key in use lies in what is sent, and is left out: its path, as bytes of unknown origin.
    KeyLeftOut(&'a [u8]),
    /// So many items were at the receiver with another mode or time than at the sender, and keep them: the path of the first, as
    /// bytes of unknown origin.
    Unlike(&'a [u8], u32),
    /// These links of what is sent were left out.
    LinksLeftOut(&'a LeftOut),
    /// One item of a transfer with this peer came to its end, well or not. Told only to who asked for each.
    Item(PeerId, &'a str, &'a Item),
    /// A transfer came to its end, well or not.
    Transferred(PeerId, &'a str, &'a Transfer<'a>),
    /// One connection, or the one pair of standard input and output, that was joined to this peer came to its end.
    Joined(PeerId, &'a str, &'a Joined<'a>),
    /// An import listens here for connections to this peer's application.
    Listening(&'a Place, PeerId, &'a str),
    /// An export is registered: peers reach this target by this application.
    Serving(&'a str, &'a str),
    /// Everything that was asked for is there.
    Ready,
    /// How far a mapping works: one hop of it.
    Hop(Hop, Passage),
    /// An application's target cannot be reached, and why.
    TargetFailed(&'a str, &'a str, &'a io::Error),
    /// The name of an application's target stands for nothing yet, and why. It is looked up again.
    TargetUnknown(&'a str, &'a str, &'a io::Error),
    /// It is known now.
    TargetFound(&'a str, &'a str),
    /// The RMI server behind this import sends its callers where no import listens.
    Unmapped(PeerId, &'a str, &'a Referral),
    /// An import listens on an address that no interface has yet.
    Absent(&'a Place),
    /// An import cannot listen for now.
    CannotListen(&'a Place, &'a io::Error),
    /// Who may call was to be read again, and could not be.
    NotReloaded,
    /// It was, and nobody bears this name any more.
    Unlisted(&'a str),
    /// It was, and there is nobody left who may.
    NobodyMayCall,
    /// Connections cannot be accepted for now.
    CannotAccept(&'a io::Error),
    /// Somebody asked how it stands: connections now, and ever.
    Connections(usize, u64),
    /// Somebody asked how it stands.
    Status,
}
