//! A transfer of kind *stream* to standard output or to a command: written straight from the session's records.
//!
//! ```text
//! greeting ─▶ taking ─▶ (command ends) ─▶ told ─▶ over
//!                └─▶ passing over what still comes, after a failure here ─▶ told
//! ```
//!
//! A byte is consumed, and so acknowledged to the sender, when the sink has taken it.

mod consumer;
mod content;
mod settling;
mod taken;

pub(super) use taken::Taken;

use crate::net::Written;
use crate::net::child::Child;
use crate::net::reactor::{Registry, Token, Waker};
use crate::net::stdio::Sink;
use crate::run::tool::{Doing, RunError};
use crate::session::{Half, Session};
use crate::tools::transfers::engine::Item;
use crate::tools::transfers::{Ending, Error, verdict};
use crate::transfer::Fault;
use crate::transfer::messages::ItemOutcome;
use crate::transfer::outcome::Side;
use crate::transfer::{Fact, Reception, TransferError};
use crate::wire::CloseCode;
use consumer::Consumer;
use content::Content;
use rustix::io::Errno;
use settling::Settling;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Bytes taken before others get their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The sink takes what comes.
    Taking,
    /// It failed; what still comes is not wanted.
    Passing(ItemOutcome),
    /// The sender has ended; the command may still run.
    Ended(ItemOutcome),
    /// The sender has been told everything.
    Told(Ending),
}

/// Where a stream goes.
pub(super) struct Place {
    /// What takes its bytes.
    pub sink: Sink,
    /// The command that reads them from there, if one does.
    pub command: Option<Child>,
    /// What is noted of them.
    pub taken: Taken,
}

/// See the module's text.
pub(super) struct Inflow {
    stream: u32,
    sink: Option<Sink>,
    consumer: Consumer,
    /// What may come, and what is answered.
    reception: Reception,
    content: Content,
    taken: Taken,
    phase: Phase,
    /// What went wrong here, if that says more than the transfer's own end.
    trouble: Option<Error>,
    finished: bool,
    settling: Settling,
}

impl Inflow {
    /// Begins behind the greeting, which `reception` has read and which is acceptable.
    pub(super) fn new(stream: u32, mut reception: Reception, place: Place, waker: &Arc<Waker>) -> Inflow {
        reception.accept();
        let Place { sink, command, taken } = place;
        Inflow {
            stream,
            sink: Some(sink),
            consumer: Consumer::new(command),
            reception,
            content: Content::default(),
            taken,
            phase: Phase::Taking,
            trouble: None,
            finished: false,
            settling: Settling::new(waker),
        }
    }

    /// How it ended, as the one item of its transfer, once the sender has been told it and if that is wanted.
    pub(super) fn item(&self) -> Option<Item> {
        let Phase::Told(ending) = self.phase else { return None };
        self.taken.item(&ending)
    }

    /// Lets events tell of the sink and of the command's end.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn register(&mut self, registry: &Registry, sink: Token, child: Token) -> io::Result<()> {
        if let Some(end) = &mut self.sink {
            end.register(registry, sink)?;
        }
        self.consumer.register(registry, child)
    }

    /// The sink has news; `closed` if its reader has gone.
    pub(super) fn handle_sink_ready(&mut self, closed: bool) {
        if let Some(sink) = &mut self.sink {
            sink.handle_ready(closed);
        }
    }

    /// The command has ended, or may have.
    ///
    /// # Errors
    /// Its status cannot be had.
    pub(super) fn handle_child_ready(&mut self, now: Instant, registry: &Registry) -> Result<(), Error> {
        self.consumer.handle_ready(now, registry)
    }

    /// When to pump without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.consumer.next_timeout()
    }

    /// Whether it goes on when the peer sends something, and not before.
    pub(super) fn waits_for_peer(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_)) && !self.content.is_packed()
    }

    /// Whether it is shown to somebody as it comes, who needs no word on its progress in between.
    pub(super) fn is_watched(&self) -> bool {
        self.sink.as_ref().is_some_and(Sink::is_terminal)
    }

    /// What the sender calls it.
    pub(super) fn name(&self) -> &[u8] {
        &self.taken.name
    }

    /// Whether standard output has got anything of it, or its end.
    pub(super) fn has_put_out(&self) -> bool {
        !self.consumer.exists() && (self.taken.bytes > 0 || self.sink.is_none())
    }

    /// Bytes that the sink has taken.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken.bytes
    }

    /// The end for our side, once the sender has been told everything.
    pub(super) fn ending(&self) -> Option<Ending> {
        match self.phase {
            Phase::Told(ending) => Some(ending),
            _ => None,
        }
    }

    /// Whether all that was to be told is with the session.
    pub(super) fn is_flushed(&self) -> bool {
        self.finished
    }

    /// What the end means for our side.
    ///
    /// # Errors
    /// What went wrong.
    pub(super) fn verdict(&mut self, ending: &Ending) -> Result<(), Error> {
        self.trouble.take().map_or_else(|| verdict(ending, Side::Here), Err)
    }

    /// Breaks off. A command is ended before it can take this for the end of the data.
    pub(super) fn cut(&mut self, registry: &Registry) {
        self.consumer.terminate(registry);
        if let Some(mut sink) = self.sink.take() {
            // Standard output stays open: the next session may need it.
            sink.deregister(registry);
        }
    }

    /// Moves what can be moved. True if anything was.
    ///
    /// # Errors
    /// The peer broke the protocol, or gave up.
    pub(super) fn pump(&mut self, now: Instant, session: &mut Session, registry: &Registry) -> Result<bool, Error> {
        let mut moved = self.pump_inward(now, session, registry)?;
        moved |= self.conclude(now);
        moved |= self.pump_answers(session);
        if let Half::Broken(code) = session.stream(self.stream).send_half() {
            return Err(Error::Run(RunError::PeerClosed(CloseCode::from_wire(code))));
        }
        Ok(moved)
    }

    fn pump_inward(&mut self, now: Instant, session: &mut Session, registry: &Registry) -> Result<bool, Error> {
        let mut moved = 0;
        if self.phase == Phase::Taking && self.sink.as_ref().is_some_and(Sink::is_gone) {
            self.fail(registry, Trouble::Gone);
        }
        while moved < TURN_BYTES && !self.is_ended() {
            let taken = if self.content.is_empty() {
                self.next_message(now, session, registry)?
            } else {
                self.write_content(now, session, registry)
            };
            if taken == 0 {
                break;
            }
            moved += taken;
        }
        if !self.is_ended() {
            if let Half::Broken(code) = session.stream(self.stream).recv_half() {
                return Err(Error::Run(RunError::PeerClosed(CloseCode::from_wire(code))));
            }
            if session.stream(self.stream).is_read_out() && self.content.is_empty() {
                return Err(TransferError::Truncated.into());
            }
        }
        Ok(moved > 0)
    }

    fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_) | Phase::Told(_))
    }

    /// Reads the next message, or the header of the next content. Yields how many bytes of the session that took; 0 when
    /// more must come first.
    fn next_message(&mut self, now: Instant, session: &mut Session, registry: &Registry) -> Result<usize, Error> {
        let bytes = session.stream(self.stream).readable();
        let mut input = bytes;
        let fact = self.reception.next(&mut input)?;
        let mut used = bytes.len() - input.len();
        let mut finish = false;
        match fact {
            Some(Fact::Data(length)) => {
                used -= length;
                self.content.owe(length);
            }
            Some(Fact::Unpacked(bytes)) => self.content.unpack(bytes, used),
            Some(Fact::StreamEnd) => finish = true,
            // No other comes in a stream.
            _ => {}
        }
        session.stream_mut(self.stream).read(used);
        if !self.content.is_packed() {
            session.stream_mut(self.stream).consume(now, used);
        }
        if finish {
            self.end(registry);
        }
        Ok(used.max(usize::from(!self.content.is_empty())))
    }

    /// Brings content to the sink. Yields how many bytes it took.
    fn write_content(&mut self, now: Instant, session: &mut Session, registry: &Registry) -> usize {
        let bytes = self.content.bytes(session, self.stream);
        let too_large = self.taken.is_exceeded_by(bytes.len());
        let result = match (&mut self.sink, self.phase) {
            (Some(_), Phase::Taking) if too_large => Err(Trouble::TooLarge),
            (Some(sink), Phase::Taking) => match sink.try_write(bytes) {
                Ok(Written::Bytes(count)) => {
                    self.taken.add(&bytes[..count]);
                    Ok(count)
                }
                Ok(Written::Later) => Ok(0),
                Ok(Written::Gone) => Err(Trouble::Gone),
                Err(error) => Err(Trouble::Io(error)),
            },
            _ => Ok(bytes.len()),
        };
        match result {
            Ok(count) => {
                if let Some(used_up) = self.content.advance(now, session, self.stream, count) {
                    self.reception.give_back(used_up);
                }
                count
            }
            Err(trouble) => {
                self.fail(registry, trouble);
                // Something changed: what is there is looked at again.
                1
            }
        }
    }

    /// The sink takes no more: the sender is told at once that the rest is not wanted.
    fn fail(&mut self, registry: &Registry, trouble: Trouble) {
        if let Some(sink) = self.sink.take() {
            // It has failed already.
            let _ = sink.close(registry);
        }
        let outcome = self.note(trouble);
        self.reception.settle(0, outcome);
        self.phase = Phase::Passing(outcome);
    }

    /// What a trouble means for the sender; what it means for us is kept.
    fn note(&mut self, trouble: Trouble) -> ItemOutcome {
        match trouble {
            Trouble::TooLarge => Fault::TooLarge.into(),
            Trouble::Gone => {
                // Of a command the status says more.
                if !self.consumer.exists() {
                    self.trouble = Some(Error::OutputGone);
                }
                Fault::Cancelled.into()
            }
            Trouble::Io(error) => {
                let fault = Errno::from_io_error(&error).map_or(Fault::Io, Fault::from);
                self.trouble = Some(Error::Run(RunError::Io(Doing::Write, error)));
                // Whatever it was, it is no decision of ours.
                ItemOutcome::Failed(fault)
            }
        }
    }

    /// The sender has ended. What the sink has taken may have yet to reach its place.
    fn end(&mut self, registry: &Registry) {
        let result = self.sink.take().map_or(Ok(()), |sink| {
            if let Some(file) = sink.unsettled()? {
                self.settling.begin(file)?;
            }
            sink.close(registry)
        });
        let outcome = match (self.phase, result) {
            (Phase::Passing(outcome), _) => outcome,
            (_, Err(error)) => self.note(Trouble::Io(error)),
            _ => ItemOutcome::Committed,
        };
        self.phase = Phase::Ended(outcome);
    }

    /// Tells the sender how it ended, as soon as the command has.
    fn conclude(&mut self, now: Instant) -> bool {
        // An error that shows late is one of writing.
        if let (Phase::Ended(_), Some(error)) = (self.phase, self.settling.take_error()) {
            self.phase = Phase::Ended(self.note(Trouble::Io(error)));
        }
        let Phase::Ended(outcome) = self.phase else { return false };
        if self.settling.is_under_way() || !self.consumer.poll_ended(now) {
            return false;
        }
        // One that ended well and left something unread has not failed, but it has not taken it all either.
        let unread = outcome == ItemOutcome::Failed(Fault::Cancelled);
        let failed = self.consumer.status().filter(|status| *status != 0 || unread);
        let ending = Ending::of_stream(outcome, failed, Side::Here);
        self.reception.settle(0, outcome);
        let (status, counts, command_status) = (ending.status, ending.counts, failed.unwrap_or(0));
        self.reception.conclude(status, counts, command_status);
        self.phase = Phase::Told(ending);
        true
    }

    fn pump_answers(&mut self, session: &mut Session) -> bool {
        let answers = self.reception.answers();
        let count = session.stream_mut(self.stream).write(answers);
        answers.drain(..count);
        if answers.is_empty() && !self.finished && matches!(self.phase, Phase::Told(_)) {
            self.finished = true;
            session.stream_mut(self.stream).finish();
            return true;
        }
        count > 0
    }
}

/// Why a sink takes no more.
enum Trouble {
    TooLarge,
    Gone,
    Io(io::Error),
}
