//! The receiving engine: what it is, and how it reads and answers. What each message means is in
//! `receiving`.

use super::policy::{GivenUp, OnReceived, ReceivePolicy};
use super::port::{Port, TryRecv};
use super::progress::Progress;
use super::receiving::Receiver;
use super::sink::Sink;
use super::tree::TreeSink;
use super::writer::WriterSink;
use crate::session::Parcel;
use crate::store::inbox::{Inbox, make_root};
use crate::transfer::Fault;
use crate::transfer::outcome::PortClosed;
use crate::transfer::outcome::{ReceiveOutcome, TransferError};
use crate::transfer::reception::Greeted;
use crate::transfer::{Fact, Reception};
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Answers leave after so many chunks at the latest, even while more input is waiting: about a
/// megabyte, so that a busy sender always knows what to send next.
const CHUNKS_UNANSWERED_MAX: u32 = 16;

/// Where received content goes.
pub(crate) enum Destination {
    /// Files and trees, below this directory, which must exist.
    Directory(PathBuf),
    /// The same, below one that is made if the one that it is in exists.
    DirectoryOfPeer(PathBuf),
    /// The bytes of one file or stream. Dropped when they are complete.
    Writer(Box<dyn Write + Send>),
}

impl Destination {
    /// The directory, if it is one.
    #[must_use]
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) | Self::DirectoryOfPeer(path) => Some(path),
            Self::Writer(_) => None,
        }
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
            Self::DirectoryOfPeer(path) => f.debug_tuple("DirectoryOfPeer").field(path).finish(),
            Self::Writer(_) => f.debug_tuple("Writer").finish_non_exhaustive(),
        }
    }
}

/// What to receive, and how.
pub(crate) struct ReceiveJob<'a> {
    /// What the sender has said already.
    pub greeted: Option<Greeted>,
    /// Where it goes.
    pub destination: Destination,
    /// What is taken.
    pub policy: ReceivePolicy,
    /// The sender's id: its unfinished files are found again only by itself.
    pub sender: [u8; 32],
    /// Is told what has come.
    pub on_received: Option<Box<OnReceived<'a>>>,
    /// Whether nobody wants the outcome any more: then nothing is waited for but the disk.
    pub given_up: GivenUp,
}

impl fmt::Debug for ReceiveJob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveJob")
            .field("destination", &self.destination)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl ReceiveJob<'_> {
    /// Receives one transfer. Blocks; belongs into a thread.
    ///
    /// Items that did not come about are in the outcome; they stop nothing. When the transfer
    /// ends early, complete items are committed all the same, and an unfinished file stays for
    /// the next attempt.
    ///
    /// # Errors
    /// When the transfer as a whole ended early.
    pub(crate) fn run(self, port: &mut dyn Port, progress: &mut dyn Progress) -> Result<ReceiveOutcome, TransferError> {
        let made = match &self.destination {
            Destination::DirectoryOfPeer(path) => make_root(path),
            Destination::Directory(_) | Destination::Writer(_) => Ok(()),
        };
        made.map_err(|error| refuse(port, error))?;
        let sink: Box<dyn Sink> = match self.destination {
            Destination::Writer(writer) => Box::new(WriterSink::new(writer)),
            Destination::Directory(path) | Destination::DirectoryOfPeer(path) => {
                let inbox = Inbox::open(&path).map_err(|error| refuse(port, error))?;
                let run = random().map_err(TransferError::Inbox)?;
                let mut sink = TreeSink::new(inbox, self.policy.overwrite, self.sender, run);
                sink.owes_runs = self.on_received.is_some();
                Box::new(sink)
            }
        };
        let mut receiver = Receiver::new(sink, self.policy, self.on_received, progress);
        receiver.hook.given_up = self.given_up;
        if let Some(Greeted { reception, hello }) = self.greeted {
            receiver.items.reception = reception;
            receiver.greet(&hello);
        }
        let mut line = Line { answers: port.buffer(), port, unanswered: 0 };
        let done = drive(&mut receiver, &mut line);
        if done.is_err() {
            receiver.rescue();
        }
        done.map(|()| receiver.into_outcome())
    }
}

/// Tells the sender that there is no place for anything.
fn refuse(port: &mut dyn Port, error: io::Error) -> TransferError {
    let mut reception = Reception::default();
    let number = error.raw_os_error();
    let fault = number.map_or(Fault::Io, |number| io::Error::from_raw_os_error(number).into());
    reception.refuse(fault);
    // Whether it hears of it or not, the error is ours.
    let mut chunk = port.buffer();
    chunk.push(reception.answers());
    let _ = port.send(chunk);
    TransferError::Inbox(error)
}

/// A number that no other run has.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::from(io::ErrorKind::Other))?;
    Ok(u64::from_le_bytes(bytes))
}

fn drive(receiver: &mut Receiver<'_, '_>, line: &mut Line<'_>) -> Result<(), TransferError> {
    while !receiver.items.reception.is_finished() {
        let chunk = line.next(receiver)?.ok_or(TransferError::Truncated)?;
        let mut at = 0;
        // What may follow the end is of no interest, above all not after a refusal.
        while !receiver.items.reception.is_finished() {
            let mut input = &chunk[at..];
            let fact = receiver.items.reception.next(&mut input)?;
            at = chunk.len() - input.len();
            match fact {
                None => break,
                Some(Fact::Data(length)) => receiver.content(&chunk[at - length..at]),
                Some(Fact::Unpacked(bytes)) => {
                    receiver.content(&bytes);
                    receiver.items.reception.give_back(bytes);
                }
                Some(fact) => receiver.handle(fact, Instant::now()),
            }
            line.say(receiver)?;
        }
        line.port.recycle(chunk);
    }
    line.flush()?;
    receiver.items.reception.refusal().map_or(Ok(()), |fault| Err(TransferError::Refused(fault)))
}

/// The way in, and the way back for answers.
struct Line<'p> {
    port: &'p mut dyn Port,
    answers: Parcel,
    /// Chunks read since answers last left.
    unanswered: u32,
}

impl Line<'_> {
    /// Packs the receiver's answers; they leave when nothing is waiting to be read.
    fn say(&mut self, receiver: &mut Receiver<'_, '_>) -> Result<(), PortClosed> {
        let answers = receiver.items.reception.answers();
        while !answers.is_empty() {
            if self.answers.vacancy() == 0 {
                self.flush()?;
            }
            let count = self.answers.push(answers);
            answers.drain(..count);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PortClosed> {
        self.unanswered = 0;
        if self.answers.is_empty() {
            return Ok(());
        }
        let next = self.port.buffer();
        self.port.send(std::mem::replace(&mut self.answers, next))
    }

    /// The next bytes, `None` at the end. On the way, commits what is due and sends answers.
    fn next(&mut self, receiver: &mut Receiver<'_, '_>) -> Result<Option<Parcel>, PortClosed> {
        loop {
            receiver.commit_if_due(Instant::now());
            self.say(receiver)?;
            self.unanswered += 1;
            if self.unanswered >= CHUNKS_UNANSWERED_MAX {
                self.flush()?;
            }
            match self.port.try_recv()? {
                TryRecv::Bytes(chunk) => return Ok(Some(chunk)),
                TryRecv::Finished => return Ok(None),
                TryRecv::Empty => self.flush()?,
            }
            let now = Instant::now();
            let Some(deadline) = receiver.deadline(now) else {
                return self.port.recv();
            };
            match self.port.recv_within(deadline.saturating_duration_since(now))? {
                TryRecv::Bytes(chunk) => return Ok(Some(chunk)),
                TryRecv::Finished => return Ok(None),
                TryRecv::Empty => {}
            }
        }
    }
}
