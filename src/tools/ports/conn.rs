//! One socket joined to one stream, each direction ending on its own.
//!
//! ```text
//! socket ─ read ─▶ room of the stream ─▶ …      outward; its end is FIN
//! socket ◀ write ─ bytes of the stream ◀ …      inward;  FIN is its end
//! ```
//!
//! A reset on either side is a reset on the other, but for one: whoever has said all and wants no answer resets only the
//! answer. What it said is still delivered, as between two kernels. Nothing here knows of lanes: a session without one gives
//! no room and no bytes for a while, that is all.

use super::error::Error;
use super::streams::StreamKey;
use crate::names::AppName;
use crate::net::reactor::Ready;
use crate::net::socket::Socket;
use crate::net::{Read, Written};
use crate::ports::rmi::{Referral, Watch};
use crate::ports::socks::Reply;
use crate::run::joint::Joined;
use crate::session::{Half, Session};
use crate::wire::CloseCode;
use std::io;
use std::time::Instant;

/// How far a connection came in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    /// It waits for news of the socket or of the stream.
    Waits,
    /// It has more to do, but it is the turn of others.
    Again,
    /// Both directions have ended in order.
    Over,
    /// It was reset, on this side or on the other.
    Broken,
}

/// Bytes that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// From sockets into streams.
    pub outward: usize,
    /// From streams into sockets.
    pub inward: usize,
}

impl Traffic {
    /// As an allowance: nothing may go in one direction or the other.
    pub(super) fn is_choked(self) -> bool {
        self.outward == 0 || self.inward == 0
    }
}

/// When the socket's bytes go into the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The peer has taken the stream.
    Taken,
    /// At once, before the peer has taken the stream.
    Early,
    /// When the peer has taken the stream: until then it may have to be opened elsewhere.
    WhenTaken,
}

/// What is known of a connection at its end.
#[derive(Debug)]
struct Account {
    app: AppName,
    sent: u64,
    received: u64,
    since: Instant,
    /// The last time that it has moved anything.
    moved_at: Instant,
}

/// The connection.
#[derive(Debug)]
pub(super) struct Conn {
    socket: Socket,
    /// Its stream.
    pub stream: StreamKey,
    start: Start,
    outward_open: bool,
    inward_open: bool,
    /// The far side wants to hear no more of the socket.
    unheard: bool,
    /// Bytes for the socket ahead of those of the stream.
    preface: Vec<u8>,
    /// What an application asked of the SOCKS server, which owes it an answer; empty for everybody else.
    asked: Vec<u8>,
    watch: Watch,
    /// Whom it is for, what it has moved, and since when.
    account: Account,
    /// It is in the queue of those with something to do.
    pub queued: bool,
}

impl Conn {
    /// Joins them. The socket may have news already, its end included.
    pub(super) fn new(mut socket: Socket, stream: StreamKey, start: Start, app: AppName) -> Conn {
        socket.rouse();
        let now = Instant::now();
        Conn {
            socket,
            stream,
            start,
            outward_open: true,
            inward_open: true,
            unheard: false,
            preface: Vec::new(),
            asked: Vec::new(),
            watch: Watch::Off,
            account: Account { app, sent: 0, received: 0, since: now, moved_at: now },
            queued: false,
        }
    }

    /// With `preface` written to the socket first.
    pub(super) fn with_preface(mut self, preface: Vec<u8>) -> Conn {
        self.preface = preface;
        self
    }

    /// With an application that waits for the answer to a request.
    pub(super) fn with_asked(mut self, asked: Vec<u8>) -> Conn {
        self.asked = asked;
        self
    }

    /// With an eye on where an RMI server behind the stream sends the application.
    pub(super) fn with_watch(mut self, watch: Watch) -> Conn {
        self.watch = watch;
        self
    }

    /// Which application it is for, and how it ended if it ends now.
    pub(super) fn end(&self, is_reset: bool) -> (&AppName, Joined<'static, Error>) {
        let Account { app, sent, received, since, .. } = &self.account;
        (app, Joined { sent: *sent, received: *received, took: since.elapsed(), error: None, is_reset })
    }

    /// When it has moved anything for the last time, or was joined.
    pub(super) fn moved_at(&self) -> Instant {
        self.account.moved_at
    }

    /// The next place that it sends it to.
    pub(super) fn poll_referral(&mut self) -> Option<Referral> {
        self.watch.poll_referral()
    }

    /// The peer has taken the stream.
    pub(super) fn handle_taken(&mut self) {
        self.start = Start::Taken;
        if !std::mem::take(&mut self.asked).is_empty() {
            self.preface = Reply::Succeeded.bytes().to_vec();
        }
    }

    /// Whether the peer has taken the stream.
    pub(super) fn is_taken(&self) -> bool {
        self.start == Start::Taken
    }

    /// Whether the peer still has to take the stream before anything is read.
    pub(super) fn is_held_back(&self) -> bool {
        self.start == Start::WhenTaken
    }

    /// Whether our application has said its last word.
    pub(super) fn is_left(&self) -> bool {
        self.socket.is_ended() || !self.outward_open
    }

    /// The system told something about the socket.
    pub(super) fn handle_ready(&mut self, ready: Ready) {
        self.socket.handle_ready(ready);
    }

    /// Whatever was heard of the socket, it may have more to say.
    pub(super) fn rouse(&mut self) {
        self.socket.rouse();
    }

    /// Whether something that the socket's side has said may not yet be where it belongs.
    pub(super) fn owes(&self, session: &Session) -> bool {
        match self.outward_open {
            true => self.socket.is_readable() || self.is_held_back(),
            false => session.stream(self.stream.id).send_half() == Half::Open,
        }
    }

    /// Moves what can be moved: at most `most` each way, and what one piece goes beyond it.
    pub(super) fn pump(&mut self, now: Instant, session: &mut Session, most: Traffic, moved: &mut Traffic) -> Polled {
        let inward = match self.pump_inward(now, session, most.inward) {
            Ok(count) => count,
            Err(_) if self.outward_open && !self.socket.is_ended() => return self.cut(session),
            Err(_) => self.want_no_more(session),
        };
        self.account.received += u64::try_from(inward).unwrap_or(u64::MAX);
        let outward = match self.pump_outward(session, most.outward) {
            Ok(count) => count,
            Err(_) => return self.cut(session),
        };
        moved.inward += inward;
        moved.outward += outward;
        self.account.sent += u64::try_from(outward).unwrap_or(u64::MAX);
        if inward + outward > 0 {
            self.account.moved_at = now;
        }
        if self.socket.is_broken() && !self.outward_open && self.inward_open {
            // An error that no read will meet any more, because the end was read before.
            self.want_no_more(session);
        }
        if matches!(session.stream(self.stream.id).recv_half(), Half::Broken(_)) && self.inward_open {
            return self.cut(session);
        }
        if matches!(session.stream(self.stream.id).send_half(), Half::Broken(_)) && self.outward_open {
            self.outward_open = false;
            self.unheard = true;
        }
        match (self.outward_open, self.inward_open) {
            (false, false) => Polled::Over,
            _ if outward >= most.outward.max(1) || inward >= most.inward.max(1) => Polled::Again,
            _ => Polled::Waits,
        }
    }

    fn pump_outward(&mut self, session: &mut Session, most: usize) -> io::Result<usize> {
        let mut moved = 0;
        while self.outward_open && self.socket.is_readable() && !self.is_held_back() && moved < most {
            let room = session.stream_mut(self.stream.id).write_room();
            if room.is_empty() {
                break;
            }
            let read = match self.socket.try_read(room) {
                // What came before the end was read, and only then is there an error to meet.
                Err(_) if self.socket.is_ended() => Read::End,
                other => other?,
            };
            match read {
                Read::Bytes(count) => {
                    self.watch.handle_client(&room[..count]);
                    session.stream_mut(self.stream.id).commit(count);
                    moved += count;
                }
                Read::Later => {
                    session.stream_mut(self.stream.id).release_room();
                }
                Read::End => {
                    self.outward_open = false;
                    session.stream_mut(self.stream.id).release_room();
                    session.stream_mut(self.stream.id).finish();
                }
            }
        }
        Ok(moved)
    }

    fn pump_inward(&mut self, now: Instant, session: &mut Session, most: usize) -> io::Result<usize> {
        let mut moved = 0;
        self.write_preface()?;
        while self.inward_open && self.preface.is_empty() && self.socket.is_writable() && moved < most {
            let bytes = session.stream(self.stream.id).readable();
            if bytes.is_empty() {
                break;
            }
            match self.socket.try_write(bytes)? {
                Written::Bytes(count) => {
                    self.watch.handle_server(&bytes[..count]);
                    session.stream_mut(self.stream.id).read(count);
                    session.stream_mut(self.stream.id).consume(now, count);
                    moved += count;
                }
                Written::Later => {}
                Written::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        if self.inward_open && self.preface.is_empty() && session.stream(self.stream.id).recv_half() == Half::Done {
            self.inward_open = false;
            self.socket.finish();
        }
        Ok(moved)
    }

    /// What follows must not overtake it.
    fn write_preface(&mut self) -> io::Result<()> {
        while !self.preface.is_empty() && self.socket.is_writable() {
            match self.socket.try_write(&self.preface)? {
                Written::Bytes(count) => drop(self.preface.drain(..count)),
                Written::Later => {}
                Written::Gone => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(())
    }

    /// The socket's side has said all, and takes no answer: the far side need not make one.
    fn want_no_more(&mut self, session: &mut Session) -> usize {
        if self.inward_open {
            self.inward_open = false;
            session.stream_mut(self.stream.id).stop(CloseCode::Cancelled);
        }
        0
    }

    /// Passes a reset on to the stream; [`Conn::close`] passes it to the socket.
    fn cut(&mut self, session: &mut Session) -> Polled {
        session.stream_mut(self.stream.id).reset(CloseCode::Cancelled);
        if session.stream(self.stream.id).recv_half() == Half::Open {
            session.stream_mut(self.stream.id).stop(CloseCode::Cancelled);
        }
        Polled::Broken
    }

    /// Ends a connection whose stream is of no more use: with a reset, unless both directions had ended.
    pub(super) fn close(self, session: Option<&mut Session>) {
        if let Some(session) = session {
            session.stream_mut(self.stream.id).release();
        }
        if self.outward_open || self.inward_open {
            self.socket.abort();
        } else if self.unheard {
            // Everything was written to it. What it still says meets a closed socket, and so a reset.
            self.socket.finish();
        }
    }

    /// Gives a connection up from this side. The socket and what was asked of it are left.
    pub(super) fn give_up(mut self, session: Option<&mut Session>) -> (Socket, Vec<u8>) {
        if let Some(session) = session {
            self.cut(session);
            session.stream_mut(self.stream.id).release();
        }
        (self.socket, self.asked)
    }

    /// Takes the socket, and what was asked of it, out to join it to another stream.
    pub(super) fn into_parts(self) -> (Socket, Vec<u8>) {
        (self.socket, self.asked)
    }
}
