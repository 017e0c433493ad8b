//! What `vp-portrep` has to say while it runs, before it has words.

use super::error::Error;
use crate::identity::PeerId;
use crate::net::endpoint::Endpoint;
use crate::ports::rmi::Referral;
use crate::run;
use crate::run::joint::Joined;
use std::io;

/// A connection that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The peer that it is from, or to.
    pub peer: PeerId,
    /// Its application.
    pub app: &'a str,
    /// An application here wants it of the peer; otherwise the peer wants it of us.
    pub by_import: bool,
}

/// What a person may want to know while it happens.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// What every tool has to say.
    Run(run::News<'a>),
    /// An import listens here for connections to this peer's application.
    Listening(&'a Endpoint, PeerId, &'a str),
    /// An export is registered: peers reach this target by this application.
    Serving(&'a str, &'a str),
    /// Everything that was asked for is there.
    Ready,
    /// An application's target cannot be reached, and why.
    TargetFailed(&'a str, &'a str, &'a io::Error),
    /// The name of an application's target stands for nothing yet, and why. It is looked up again.
    TargetUnknown(&'a str, &'a str, &'a io::Error),
    /// It is known now.
    TargetFound(&'a str, &'a str),
    /// The RMI server behind this import sends its callers where no import listens.
    Unmapped(PeerId, &'a str, &'a Referral),
    /// An import listens on an address that no interface has yet.
    Absent(&'a Endpoint),
    /// An import cannot listen for now.
    CannotListen(&'a Endpoint, &'a io::Error),
    /// Connections cannot be accepted for now.
    CannotAccept(&'a io::Error),
    /// All connections were in use: one of this peer's was ended for somebody who had none.
    GaveWay(PeerId, Wanted<'a>),
    /// Whoever wanted a connection has those that he may have.
    HasShare(Wanted<'a>),
    /// Whoever wanted a connection has none, and gets none: all are in use, and nobody has more than one that he could give up.
    NoRoom(Wanted<'a>),
    /// Somebody asked how it stands: connections now, and ever.
    Connections(usize, u64),
    /// A session with this application of a peer did not come up or is over, and will be asked for again.
    CallFailed(PeerId, &'a str, &'a Error),
    /// This application of a peer, whose session is up, does not do what it is for, and will be asked again.
    NotWorking(PeerId, &'a str, &'a Error),
    /// One connection, or the one pair of standard input and output, that was joined to this peer came to its end.
    Joined(PeerId, &'a str, &'a Joined<'a, Error>),
}

impl<'a> From<run::News<'a>> for News<'a> {
    fn from(news: run::News<'a>) -> News<'a> {
        News::Run(news)
    }
}
