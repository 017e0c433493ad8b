//! What the loop and a tool ask of each other.

use super::news::News;
use crate::net::reactor::{Ready, Registry, Waker};
use crate::net::signals::{Came, Request};
use crate::node::{Event, Failure, Node};
use crate::session::{SessionError, Violation};
use crate::wire::CloseCode;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// What a tool does with sessions.
pub(crate) trait Tool: 'static {
    /// What it has to say while it runs; what the loop has to say among it.
    type News<'a>: From<News<'a>>;
    /// Why it ends without success.
    type Error: From<RunError>;

    /// The loop begins: ask the node for what the tool needs.
    fn start(&mut self, ctx: &mut Context<'_, Self>);
    /// Something happened to the node.
    fn handle_event(&mut self, ctx: &mut Context<'_, Self>, event: &Event);
    /// One of the tool's own ends has news.
    fn handle_ready(&mut self, ctx: &mut Context<'_, Self>, ready: Ready);
    /// Moves what can be moved without waiting. True if anything was.
    fn pump(&mut self, ctx: &mut Context<'_, Self>) -> bool;
    /// A signal came. Of those that end only the first is told; the second ends at once.
    fn handle_signal(&mut self, ctx: &mut Context<'_, Self>, request: Request);
    /// Whether a signal is for a command that the tool runs, and that has it by now. Then it is nothing to us.
    fn hand_over(&mut self, _: &Came) -> bool {
        false
    }
    /// The end, once it has come.
    fn outcome(&mut self) -> Option<Result<(), Self::Error>>;
    /// Whether it waits for something although it has met a peer. People are reminded of that.
    fn is_waiting(&self) -> bool {
        false
    }
    /// When it is to read again who may call, without a signal: it is told to as by one.
    fn reload_at(&self) -> Option<Instant> {
        None
    }
    /// When to pump without an event.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

/// Whoever hears the news of a tool.
pub(crate) type Listener<'a, T> = dyn for<'n> FnMut(<T as Tool>::News<'n>) + 'a;

/// What a tool may use while it acts.
pub(crate) struct Context<'a, T: Tool + ?Sized> {
    /// Now.
    pub now: Instant,
    /// The node.
    pub node: &'a mut Node,
    /// Where to register ends, with tokens from [`FIRST_TOKEN`](crate::net::reactor::FIRST_TOKEN) on, none of them twice.
    pub registry: &'a Registry,
    /// Wakes the loop from another thread.
    pub waker: &'a Arc<Waker>,
    /// Where news for people goes.
    pub news: &'a mut Listener<'a, T>,
}

/// How a tool that connects ends without success, whatever it does with its sessions.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The node could not do it.
    Node(Failure),
    /// The session ended before its work: no path came back in time.
    Expired,
    /// The peer may no more call us.
    CastOut,
    /// The peer broke the protocol.
    Protocol(Breach),
    /// The peer ended the session with this code.
    PeerClosed(CloseCode),
    /// The program at the far side failed, with this status where it is known.
    FarCommand(Option<i32>),
    /// The system refused what was to be done here.
    Io(Doing, io::Error),
    /// A signal ended it.
    Signal(i32),
}

/// What a tool that connects does here, with files, commands and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Waiting for events.
    AwaitEvents,
    /// Opening standard input.
    OpenStdin,
    /// Opening standard output.
    OpenStdout,
    /// Reading what is sent from standard input.
    ReadStdin,
    /// Reading what goes to the peer.
    Read,
    /// Writing what the peer sent.
    Write,
    /// Closing what that was written to.
    Close,
    /// Waiting for a descriptor to be ready.
    Watch,
    /// The same, of what is sent.
    WatchSources,
    /// Making a pipe.
    MakePipe,
    /// Starting the user's command.
    StartCommand,
    /// Asking for the command's status.
    AwaitCommand,
    /// Starting a thread.
    StartThread,
    /// Listening for connections.
    Listen,
}

/// How a peer broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// In its session.
    Of(Violation),
    /// It called and then said nothing.
    SaidNothing,
}

impl From<SessionError> for RunError {
    fn from(error: SessionError) -> RunError {
        match error {
            SessionError::PeerMisbehaved(what) => RunError::Protocol(Breach::Of(what)),
            SessionError::Expired => RunError::Expired,
        }
    }
}
