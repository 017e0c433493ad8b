//! What every tool that connects has to say while it runs, before it has words.

use super::way::Way;
use crate::identity::PeerId;
use crate::names::RelayAddress;
use crate::node::{CircuitStep, Down, Fault, Sharing};
use std::net::SocketAddr;

/// What a person may want to know while it happens, whatever the tool.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// A signal came, and the tool ends as soon as it can.
    Stopping,
    /// A relay is dialled.
    Dialling(&'a RelayAddress),
    /// Not straight, but by this way.
    By(&'a Way),
    /// The relay's port took the connection: from here, to there.
    Connected(SocketAddr, SocketAddr),
    /// A step in the life of the circuit with this number.
    Circuit(u32, &'a CircuitStep),
    /// The link to a relay is up.
    RelayUp(&'a RelayAddress),
    /// The link to a relay is gone or did not come up.
    RelayDown(&'a RelayAddress, Down, Option<&'a Fault>),
    /// Another process with our key receives this application at this relay.
    Shared(&'a str, Sharing, &'a RelayAddress),
    /// The peer is not there yet.
    Waiting(PeerId, &'a str),
    /// It takes long to meet anybody.
    StillWaiting,
    /// The peer is there, but nothing there answers to the application, or not to us.
    NotServed(PeerId, &'a str),
    /// The relay or the peer has no room for a call of it now.
    Limited(PeerId, &'a str),
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
    /// Who may call was to be read again, and could not be.
    NotReloaded,
    /// It was, and nobody bears this name any more.
    Unlisted(&'a str),
    /// It was, and there is nobody left who may.
    NobodyMayCall,
    /// Somebody asked how it stands.
    Status,
}
