//! What a worker tells the owner of its sockets, and what it asks for.

use super::ConnId;
use super::attached::Attachment;
use super::router::admission::Newcomer;
use super::router::facts::Fact;
use super::why_link_ended::EndReason;
use crate::identity::PeerId;
use crate::wire::CloseCode;

/// A link on its way to another worker. What it has said and was not dealt with is held: it takes that along.
pub struct MovingLink {
    pub(super) attachment: Box<Attachment>,
}

impl MovingLink {
    /// The connection that moves with it.
    pub(crate) fn conn(&self) -> ConnId {
        self.attachment.conn
    }
}

/// Something the owner of the sockets has to do.
pub enum Event {
    /// Close the connection at once.
    Close(ConnId),
    /// All is written: shut down writing, and close when the client does.
    Finish(ConnId),
    /// Hand the connection to another worker, together with this.
    Move(usize, MovingLink),
    /// Something happened to a connection that is no link of an admitted client.
    Notice(Newcomer, Notice),
    /// Something happened to a link or a circuit.
    Fact(Fact),
}

/// What happened to a connection that is no link of an admitted client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It came in.
    Accepted,
    /// It proved whose it is, and was turned away.
    TurnedAway(PeerId, CloseCode),
    /// It never got through the handshake.
    Stranger(EndReason),
}
