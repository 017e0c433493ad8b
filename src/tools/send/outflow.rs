//! Standard input, or what a command writes, as a transfer of kind *stream*: read straight into the session's records.
//!
//! ```text
//! record of the session:  … ‖ DATA header, 5 bytes, filled in last ‖ bytes as they came from read(2)
//! ```
//!
//! Only blocks that are compressed pass through a buffer of their own.

use super::producer::{CommandLine, Producer};
use crate::net::Read;
use crate::net::reactor::{Registry, Token};
use crate::net::stdio::Source;
use crate::run::tool::{Doing, RunError};
use crate::session::{Half, Session};
use crate::tools::transfers::Ending;
use crate::tools::transfers::Error;
use crate::tools::transfers::engine::Item;
use crate::tools::transfers::engine::ItemKind;
use crate::transfer::blocks::{Encoded, Plan};
use crate::transfer::encode::HEADER_BYTES;
use crate::transfer::hash::ContentHash;
use crate::transfer::messages::ItemOutcome;
use crate::transfer::outcome::Side;
use crate::transfer::{Compression, LinkMeter, Offering, RateLimit, TransferError};
use crate::wire::CloseCode;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

/// Bytes sent before others get their turn.
const TURN_BYTES: usize = 1024 * 1024;
/// Less room than this at the end of a record is filled by copying, instead of by a read of its own.
const ROOM_MIN: usize = 1024;
/// With a limit, pieces are what flows in a tenth of a second, but never smaller than this.
const PIECE_MIN: usize = 512;

/// What to send, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    /// Name of the stream at the receiver; may be empty.
    pub name: Vec<u8>,
    /// When to compress.
    pub compression: Compression,
    /// Bytes sent in a second, at most: after compression.
    pub limit: Option<NonZeroU64>,
}

/// Where the bytes come from.
pub(super) struct Intake {
    /// What is read.
    pub source: Source,
    /// The command that writes it; none of standard input.
    pub producer: Option<Producer>,
}

impl Intake {
    /// Standard input.
    ///
    /// # Errors
    /// It cannot be used.
    pub(super) fn stdin() -> Result<Intake, Error> {
        let source = Source::stdin().map_err(|error| Error::Run(RunError::Io(Doing::OpenStdin, error)))?;
        Ok(Intake { source, producer: None })
    }

    /// What a command writes, which is started.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn of_command(line: &CommandLine) -> Result<Intake, Error> {
        let (source, producer) = line.start().map_err(|error| Error::Run(RunError::Io(Doing::StartCommand, error)))?;
        Ok(Intake { source, producer: Some(producer) })
    }
}

/// Result of one attempt to send a piece.
enum Attempt {
    /// So many bytes of standard input, as so many bytes of messages.
    Sent(usize, usize),
    /// The session takes nothing now.
    Full,
    /// The source has nothing now.
    Dry,
    End,
}

/// See the module's text.
pub(super) struct Outflow {
    stream: u32,
    source: Option<Source>,
    /// Who writes what the source gives, until it is known that all of it was written.
    producer: Option<Producer>,
    /// The source has said so; a terminal says it once only.
    source_ended: bool,
    /// What is said, and what may be answered.
    offering: Offering,
    /// Of its offers, so many bytes are in the session.
    offers_at: usize,
    limit: Option<(RateLimit, usize)>,
    link: LinkMeter,
    /// Bytes on their way into messages that are not read straight into the session.
    block: Vec<u8>,
    /// Of what was sent, if somebody wants to know.
    hasher: Option<Box<ContentHash>>,
    /// The session was told that nothing follows.
    finished: bool,
    ending: Option<Ending>,
}

impl Outflow {
    /// Begins: the greeting is the first thing sent.
    pub(super) fn new(now: Instant, stream: u32, intake: Intake, plain: &Plain) -> Outflow {
        let limit = plain.limit.map(|rate| {
            let piece = usize::try_from(rate.get() / 10).unwrap_or(usize::MAX).max(PIECE_MIN);
            (RateLimit::new(rate, now), piece)
        });
        Outflow {
            stream,
            source: Some(intake.source),
            producer: intake.producer,
            source_ended: false,
            offering: Offering::stream(plain.name.clone(), plain.compression),
            offers_at: 0,
            limit,
            link: LinkMeter::new(now),
            block: Vec::new(),
            hasher: None,
            finished: false,
            ending: None,
        }
    }

    /// Computes the hash of what is sent, if that is wanted.
    pub(super) fn hashing(mut self, wanted: bool) -> Outflow {
        self.hasher = wanted.then(Box::default);
        self
    }

    /// How it ended, as the one item of its transfer, once the receiver has told it.
    pub(super) fn item(&self, name: &[u8], took: Duration) -> Option<Item> {
        let outcome = self.offering.stream_outcome()?;
        let is_there = matches!(outcome, ItemOutcome::Committed | ItemOutcome::Exists | ItemOutcome::ExistsUnlike);
        let hasher = self.hasher.as_ref().filter(|_| is_there);
        Some(Item {
            path: name.to_vec(),
            kind: Some(ItemKind::Stream),
            bytes: self.raw_bytes(),
            hash: hasher.map(|hasher| hasher.hash()),
            renamed: None,
            outcome,
            dangling: None,
            took,
        })
    }

    /// Lets events tell of the source and of its command.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn register(&mut self, registry: &Registry, source: Token, command: Token) -> std::io::Result<()> {
        if let Some(producer) = &self.producer {
            producer.register(registry, command)?;
        }
        self.source.as_mut().map_or(Ok(()), |end| end.register(registry, source))
    }

    /// The command has ended, or may have.
    ///
    /// # Errors
    /// Its status cannot be had.
    pub(super) fn handle_command_ready(&mut self, now: Instant, registry: &Registry) -> Result<(), Error> {
        self.producer.as_mut().map_or(Ok(()), |producer| producer.handle_ready(now, registry))
    }

    /// Nothing more is wanted of the source, nor of its command.
    pub(super) fn cut(&mut self, registry: &Registry) {
        if let Some(producer) = self.producer.take() {
            producer.terminate(registry);
        }
    }

    /// Standard input has news.
    pub(super) fn handle_ready(&mut self) {
        if let Some(source) = &mut self.source {
            source.handle_ready();
        }
    }

    /// Bytes of standard input that were sent.
    pub(super) fn raw_bytes(&self) -> u64 {
        self.offering.content_bytes()
    }

    /// When to pump without an event: the rate limit allows more.
    pub(super) fn next_timeout(&self, now: Instant) -> Option<Instant> {
        let limit = self.limit.as_ref().filter(|_| self.source.is_some());
        let wait = limit.map(|(limit, _)| limit.wait(now)).filter(|wait| !wait.is_zero());
        let held = self.producer.as_ref().and_then(Producer::next_timeout);
        wait.map(|wait| now + wait).into_iter().chain(held).min()
    }

    /// The end, once the receiver has told it.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Moves what can be moved. True if anything was.
    ///
    /// # Errors
    /// The source cannot be read, its command failed, the peer broke the protocol, or it gave up.
    pub(super) fn pump(&mut self, now: Instant, session: &mut Session, registry: &Registry) -> Result<bool, Error> {
        let heard = self.pump_inward(now, session)?;
        if self.ending.is_some() {
            return Ok(heard);
        }
        if self.offering.stream_outcome().is_some() && !self.offering.is_finished() {
            self.cut(registry);
            self.end(registry);
        }
        if let Some(status) = self.producer.as_mut().and_then(|producer| producer.failure(now)) {
            return Err(Error::Command(status));
        }
        let sent = self.pump_outward(now, session, registry)?;
        if let Half::Broken(code) = session.stream(self.stream).send_half() {
            return Err(Error::Run(RunError::PeerClosed(CloseCode::from_wire(code))));
        }
        Ok(heard || sent)
    }

    fn pump_inward(&mut self, now: Instant, session: &mut Session) -> Result<bool, Error> {
        let mut heard = false;
        loop {
            let bytes = session.stream(self.stream).readable();
            if bytes.is_empty() {
                break;
            }
            let (mut input, count) = (bytes, bytes.len());
            // There is one item only, and the machine keeps what became of it.
            while self.offering.next(&mut input)?.is_some() {}
            session.stream_mut(self.stream).read(count);
            session.stream_mut(self.stream).consume(now, count);
            heard = true;
        }
        let end = self.offering.ending().map_err(TransferError::from)?;
        if let (Some(end), Some(outcome)) = (end, self.offering.stream_outcome()) {
            self.ending = Some(Ending::of_stream(outcome, end.command_status, Side::There));
        } else if let Half::Broken(code) = session.stream(self.stream).recv_half() {
            return Err(Error::Run(RunError::PeerClosed(CloseCode::from_wire(code))));
        } else if session.stream(self.stream).is_read_out() {
            return Err(TransferError::Truncated.into());
        }
        Ok(heard)
    }

    fn pump_outward(&mut self, now: Instant, session: &mut Session, registry: &Registry) -> Result<bool, Error> {
        let mut moved = 0;
        while moved < TURN_BYTES && !self.finished {
            if !self.flush(session) {
                // Not `now`: compressing since then was no waiting.
                self.link.handle_full(Instant::now());
                break;
            }
            if self.offering.is_finished() {
                session.stream_mut(self.stream).finish();
                self.finished = true;
                return Ok(true);
            }
            if self.limit.as_ref().is_some_and(|(limit, _)| !limit.wait(now).is_zero()) {
                break;
            }
            match self.step(session)? {
                Attempt::Sent(count, bytes) => {
                    self.link.handle_room(now);
                    self.keep_rate(now, bytes);
                    moved += count.max(1);
                }
                Attempt::End => {
                    self.source_ended = true;
                    // What has no more to say may still have failed.
                    if !self.producer.as_ref().is_none_or(Producer::has_succeeded) {
                        break;
                    }
                    self.end(registry);
                }
                Attempt::Dry => break,
                Attempt::Full => {
                    self.link.handle_full(Instant::now());
                    break;
                }
            }
        }
        Ok(moved > 0)
    }

    /// Brings whole messages into the session. True if none is left.
    fn flush(&mut self, session: &mut Session) -> bool {
        let offers = self.offering.offers();
        if offers.is_empty() {
            return true;
        }
        self.offers_at += session.stream_mut(self.stream).write(&offers[self.offers_at..]);
        let done = self.offers_at == offers.len();
        if done {
            offers.clear();
            self.offers_at = 0;
        }
        done
    }

    fn end(&mut self, registry: &Registry) {
        if let Some(mut source) = self.source.take() {
            source.deregister(registry);
        }
        self.offering.finish(0);
    }

    fn keep_rate(&mut self, now: Instant, bytes: usize) {
        if let Some((limit, _)) = &mut self.limit {
            // The debt is looked at before the next piece.
            let _ = limit.take(now, bytes);
        }
    }

    /// Sends one piece. Nothing else is left to be sent when this is called.
    fn step(&mut self, session: &mut Session) -> Result<Attempt, Error> {
        if self.source_ended {
            return Ok(Attempt::End);
        }
        let piece = self.limit.as_ref().map_or(usize::MAX, |(_, piece)| *piece);
        match self.offering.blocks().plan() {
            Plan::Raw(most) => self.step_raw(session, most.min(piece)),
            Plan::Compress(most) => self.step_compressed(most.min(piece)),
        }
    }

    fn step_raw(&mut self, session: &mut Session, most: usize) -> Result<Attempt, Error> {
        let Some(source) = &mut self.source else { return Ok(Attempt::End) };
        let room = session.stream_mut(self.stream).write_room();
        if room.is_empty() {
            return Ok(Attempt::Full);
        }
        if room.len() < ROOM_MIN {
            return self.step_copied(most.min(ROOM_MIN));
        }
        let most = most.min(room.len() - HEADER_BYTES);
        let read = source.try_read(&mut room[HEADER_BYTES..HEADER_BYTES + most]);
        match read.map_err(|error| Error::Run(RunError::Io(Doing::ReadStdin, error)))? {
            Read::End => Ok(Attempt::End),
            Read::Later => Ok(Attempt::Dry),
            Read::Bytes(count) => {
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&room[HEADER_BYTES..HEADER_BYTES + count]);
                }
                room[..HEADER_BYTES].copy_from_slice(&self.offering.data(count));
                session.stream_mut(self.stream).commit(HEADER_BYTES + count);
                self.link.handle_content(count);
                self.link.handle_sent(Instant::now(), HEADER_BYTES + count, self.offering.blocks());
                Ok(Attempt::Sent(count, HEADER_BYTES + count))
            }
        }
    }

    /// Fills the block with up to `most` bytes.
    fn gather(&mut self, most: usize) -> Result<Read, Error> {
        let Some(source) = &mut self.source else { return Ok(Read::End) };
        self.block.resize(most, 0);
        let mut filled = 0;
        let mut last = Read::Later;
        while filled < most {
            last = source
                .try_read(&mut self.block[filled..])
                .map_err(|error| Error::Run(RunError::Io(Doing::ReadStdin, error)))?;
            match last {
                Read::Bytes(count) => filled += count,
                Read::Later | Read::End => break,
            }
        }
        self.block.truncate(filled);
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.block);
        }
        self.source_ended = last == Read::End;
        Ok(if filled > 0 { Read::Bytes(filled) } else { last })
    }

    fn step_copied(&mut self, most: usize) -> Result<Attempt, Error> {
        match self.gather(most)? {
            Read::End => Ok(Attempt::End),
            Read::Later => Ok(Attempt::Dry),
            Read::Bytes(count) => {
                self.offering.copy(&self.block);
                Ok(Attempt::Sent(count, self.offering.offers().len()))
            }
        }
    }

    fn step_compressed(&mut self, most: usize) -> Result<Attempt, Error> {
        match self.gather(most)? {
            Read::End => return Ok(Attempt::End),
            Read::Later => return Ok(Attempt::Dry),
            Read::Bytes(_) => {}
        }
        let begin = Instant::now();
        let encoded = self.offering.pack(&self.block);
        let end = Instant::now();
        self.offering.blocks().note_effort(end - begin);
        if encoded == Encoded::Raw {
            self.offering.copy(&self.block);
        }
        let bytes = self.offering.offers().len();
        self.link.handle_content(self.block.len());
        self.link.handle_sent(end, bytes, self.offering.blocks());
        Ok(Attempt::Sent(self.block.len(), bytes))
    }
}
