//! One stream of a session joined to one source and one sink, each direction ending on its own.

use super::tool::{Context, Doing, RunError, Tool};
use crate::net::reactor::Registry;
use crate::net::stdio::{Sink, Source};
use crate::net::{Read, Written};
use crate::node::Key;
use crate::session::{Half, Session};
use crate::wire::CloseCode;
use std::time::{Duration, Instant};

/// Bytes moved each way before others get their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// How one direction of a joint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Bytes may still pass.
    Open,
    /// All of it is where it belongs.
    Done,
    /// It ended early, by this code.
    Cut(CloseCode),
}

/// How something that was joined to a peer ended.
#[derive(Debug)]
pub(crate) struct Joined<'a, E> {
    /// Bytes to the peer.
    pub sent: u64,
    /// Bytes of the peer.
    pub received: u64,
    /// How long it lasted.
    pub took: Duration,
    /// Why it did not end in order, where that has a reason of its own.
    pub error: Option<&'a E>,
    /// It was reset.
    pub is_reset: bool,
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// See the module's text.
pub(crate) struct Joint {
    /// The session.
    pub key: Key,
    /// Its one stream.
    pub stream: u32,
    /// Where bytes to the peer come from, until they end.
    pub source: Option<Source>,
    /// Where bytes of the peer go, until they end.
    pub sink: Option<Sink>,
    /// Bytes that were taken from the source, and that the sink has taken.
    moved: (u64, u64),
    since: Instant,
    outward: Way,
    inward: Way,
    sink_gone: bool,
    gone_code: CloseCode,
}

/// What a stream is joined to.
pub(crate) struct Ends {
    /// Where bytes to the peer come from.
    pub source: Option<Source>,
    /// Where bytes of the peer go.
    pub sink: Option<Sink>,
}

impl Joint {
    /// Joins what there is; a missing source sends an end at once, a missing sink refuses what comes.
    pub(crate) fn new(session: &mut Session, key: Key, stream: u32, ends: Ends) -> Joint {
        let Ends { source, sink } = ends;
        let mut inward = Way::Open;
        if source.is_none() {
            session.stream_mut(stream).finish();
        }
        if sink.is_none() {
            session.stream_mut(stream).stop(CloseCode::Done);
            inward = Way::Done;
        }
        Joint {
            key,
            stream,
            source,
            sink,
            moved: (0, 0),
            since: Instant::now(),
            outward: Way::Open,
            inward,
            sink_gone: false,
            gone_code: CloseCode::Cancelled,
        }
    }

    /// The reader of the sink may go when it has what it wanted: that breaks nothing.
    pub(crate) fn may_lose_reader(mut self) -> Joint {
        self.gone_code = CloseCode::Done;
        self
    }

    /// How it ended: in order, or by this error.
    pub(crate) fn end<'a, E>(&self, error: Option<&'a E>) -> Joined<'a, E> {
        let (sent, received) = self.moved;
        Joined { sent, received, took: self.since.elapsed(), is_reset: error.is_some(), error }
    }

    /// Bytes to the peer: the direction's state.
    pub(crate) fn outward(&self) -> Way {
        self.outward
    }

    /// Bytes of the peer: the direction's state.
    pub(crate) fn inward(&self) -> Way {
        self.inward
    }

    /// The reader of the sink went before everything was written.
    pub(crate) fn is_sink_gone(&self) -> bool {
        self.sink_gone
    }

    /// Both directions have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.outward != Way::Open && self.inward != Way::Open
    }

    /// Moves what can be moved. True if anything was.
    pub(crate) fn pump<T: Tool>(&mut self, ctx: &mut Context<'_, T>) -> Result<bool, RunError> {
        let (now, registry) = (ctx.now, ctx.registry);
        let Some(session) = ctx.node.session(self.key) else { return Ok(false) };
        let inward = self.pump_inward(now, session, registry)?;
        let outward = self.pump_outward(session, registry)?;
        Ok(inward || outward)
    }

    fn pump_outward(&mut self, session: &mut Session, registry: &Registry) -> Result<bool, RunError> {
        if self.outward != Way::Open {
            return Ok(false);
        }
        let mut moved = 0;
        while let Some(source) = &mut self.source {
            let room = session.stream_mut(self.stream).write_room();
            if room.is_empty() || moved >= TURN_BYTES {
                break;
            }
            match source.try_read(room).map_err(|error| RunError::Io(Doing::Read, error))? {
                Read::Bytes(count) => {
                    session.stream_mut(self.stream).commit(count);
                    self.moved.0 += wide(count);
                    moved += count;
                }
                Read::Later => break,
                Read::End => {
                    source.deregister(registry);
                    self.source = None;
                    session.stream_mut(self.stream).finish();
                }
            }
        }
        match session.stream(self.stream).send_half() {
            Half::Open => return Ok(moved > 0),
            Half::Done => self.outward = Way::Done,
            Half::Broken(code) => self.outward = Way::Cut(CloseCode::from_wire(code)),
        }
        if let Some(mut source) = self.source.take() {
            source.deregister(registry);
        }
        Ok(true)
    }

    fn pump_inward(&mut self, now: Instant, session: &mut Session, registry: &Registry) -> Result<bool, RunError> {
        if self.inward != Way::Open {
            return Ok(false);
        }
        let mut moved = 0;
        while let Some(sink) = &mut self.sink {
            let bytes = session.stream(self.stream).readable();
            if (bytes.is_empty() && !sink.is_gone()) || moved >= TURN_BYTES {
                break;
            }
            match sink.try_write(bytes).map_err(|error| RunError::Io(Doing::Write, error))? {
                Written::Bytes(count) => {
                    session.stream_mut(self.stream).read(count);
                    session.stream_mut(self.stream).consume(now, count);
                    self.moved.1 += wide(count);
                    moved += count;
                }
                Written::Later => break,
                Written::Gone => {
                    self.sink_gone = true;
                    self.end_inward(session, registry, self.gone_code)?;
                    return Ok(true);
                }
            }
        }
        match session.stream(self.stream).recv_half() {
            Half::Open => Ok(moved > 0),
            Half::Done => {
                self.inward = Way::Done;
                self.close_sink(registry)?;
                Ok(true)
            }
            Half::Broken(code) => {
                self.inward = Way::Cut(CloseCode::from_wire(code));
                self.close_sink(registry)?;
                Ok(true)
            }
        }
    }

    /// Wants no more of the peer's bytes.
    pub(crate) fn end_inward(
        &mut self,
        session: &mut Session,
        registry: &Registry,
        code: CloseCode,
    ) -> Result<(), RunError> {
        if self.inward == Way::Open {
            session.stream_mut(self.stream).stop(code);
            self.inward = Way::Cut(code);
            self.close_sink(registry)?;
        }
        Ok(())
    }

    fn close_sink(&mut self, registry: &Registry) -> Result<(), RunError> {
        match self.sink.take() {
            Some(sink) => {
                let settled = sink.settle();
                settled.and(sink.close(registry)).map_err(|error| RunError::Io(Doing::Close, error))
            }
            None => Ok(()),
        }
    }
}
