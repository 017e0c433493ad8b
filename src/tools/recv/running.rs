//! One session of `vp-recv`, from the peer's call until both sides know how it ended.
//!
//! ```text
//! waiting for the stream ─▶ greeting ─▶ stream to a sink ─┐
//!            │                 └──────▶ engine to a writer ├─▶ told, sender takes note ─▶ closed ─▶ settled
//!            └───────────────▶ engine into a directory ───┘
//! ```

mod deadlines;
mod greeting;
mod place;

use super::Options;
use super::Recv;
use super::command::CommandLine;
use super::inflow::Inflow;
use super::job::{Engine, Order};
use super::leash::Leashes;
use super::writers::OutputNews;
use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::reactor::{FIRST_TOKEN, Ready, Token};
use crate::node::{Key, Reach};
use crate::run::farewell::{Farewell, closed_by_peer};
use crate::run::tool::{Context, RunError};
use crate::session::{Event as SessionEvent, Half, Session};
use crate::tools::transfers::pump::SoFar;
use crate::tools::transfers::{Ending, Error, News, Transfer, close_code, tell};
use crate::transfer::outcome::Side;
use crate::transfer::{Fault, ReceiveOutcome, Reception, TransferError};
use crate::wire::CloseCode;
use deadlines::{Deadlines, Owed};
use place::Holding;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two reports of how far a stream is.
const REPORT_PAUSE: Duration = Duration::from_millis(100);
/// Tokens of one session: its sink and its command.
const TOKENS: usize = 2;

enum Work {
    /// For the peer to open its stream.
    Waiting,
    /// For its first message.
    Greeting(Box<Reception>),
    /// A refusal on its way out.
    Refusing(Fault, Box<Reception>),
    Stream(Box<Inflow>),
    Files(Engine),
    Over,
}

/// What is known about the end.
enum Closing {
    Open,
    /// The sender has been told, in the transfer's own words, and should take note.
    Told(Result<(), Error>),
    /// The session is closed from our side, and goes when the peer knows.
    Closed(Result<(), Error>),
}

/// What a session achieved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Achieved {
    /// Since when there is work.
    began: Option<Instant>,
    /// The end of it, once that is known.
    ending: Option<Ending>,
    /// What it has come to.
    so_far: SoFar,
    /// When that may be reported again.
    report_at: Option<Instant>,
}

/// See the module's text.
pub(super) struct Running {
    /// The session.
    pub key: Key,
    /// Who sends.
    pub peer: PeerId,
    slot: usize,
    leashes: Leashes,
    stream: u32,
    work: Work,
    /// Of standard output, if an engine writes to it.
    output: Option<Arc<OutputNews>>,
    end: Closing,
    deadlines: Deadlines,
    /// By which number the peer has closed.
    peer_closed: Option<u16>,
    holding: Holding,
    achieved: Achieved,
}

/// Whether a session may begin its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayBegin {
    /// It may.
    Yes,
    /// Others come first; what the peer sends meanwhile stays in the session.
    NotYet,
}

/// Whether something was done.
type Moved = Result<bool, Error>;

impl Running {
    /// A session that has just come up.
    pub(super) fn new(now: Instant, slot: usize, key: Key, peer: PeerId) -> Running {
        Running {
            key,
            peer,
            slot,
            leashes: Leashes::default(),
            stream: 0,
            work: Work::Waiting,
            output: None,
            end: Closing::Open,
            deadlines: Deadlines::new(now),
            peer_closed: None,
            holding: Holding::new(now),
            achieved: Achieved::default(),
        }
    }

    /// The slot and the end that a token stands for.
    pub(super) fn place_of(token: Token) -> (usize, usize) {
        let place = token.0 - FIRST_TOKEN;
        (place / TOKENS, place % TOKENS)
    }

    fn token(&self, which: usize) -> Token {
        Token(FIRST_TOKEN + self.slot * TOKENS + which)
    }

    /// When to pump without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let stream = if let Work::Stream(inflow) = &self.work { inflow.next_timeout() } else { None };
        let owed = match (&self.work, &self.end) {
            (_, Closing::Told(_)) => Owed::Note,
            (Work::Waiting | Work::Greeting(_), Closing::Open) => Owed::Greeting,
            _ => Owed::Nothing,
        };
        self.deadlines.next(owed).into_iter().chain(stream).min()
    }

    /// The session lost its path, or has one again.
    pub(super) fn handle_path(&mut self, reach: Reach) {
        self.holding.reach = reach;
    }

    /// Whether it has not begun its work.
    pub(super) fn is_waiting(&self) -> bool {
        matches!((&self.work, &self.end), (Work::Waiting, Closing::Open))
    }

    /// Whether another session of the same peer took its place.
    pub(super) fn is_superseded(&self) -> bool {
        self.holding.superseded
    }

    /// The whole, if the peer ever began to send.
    pub(super) fn transfer<'a>(&self, now: Instant, error: Option<&'a Error>) -> Option<Transfer<'a>> {
        let Achieved { began, ending, so_far, .. } = self.achieved;
        let SoFar { counts, left_out, bytes } = so_far.or_end(ending.as_ref());
        Some(Transfer { counts, left_out, bytes, took: now.saturating_duration_since(began?), error })
    }

    /// An event of this session's sink (0) or command (1).
    pub(super) fn handle_ready(&mut self, ctx: &mut Context<'_, Recv>, which: usize, ready: Ready) {
        let Work::Stream(inflow) = &mut self.work else { return };
        if which == 0 {
            inflow.handle_sink_ready(ready.error || ready.write_closed);
        } else if let Err(error) = inflow.handle_child_ready(ctx.now, ctx.registry) {
            self.fail(ctx, error, CloseCode::Cancelled);
        }
    }

    /// Moves what can be moved. True if anything was.
    pub(super) fn pump(&mut self, ctx: &mut Context<'_, Recv>, options: &Options, turn: MayBegin) -> bool {
        let mut moved = false;
        if turn == MayBegin::NotYet {
            self.wait_for_turn(ctx);
        } else {
            moved = self.handle_session_events(ctx);
        }
        if let Closing::Open = self.end {
            match self.advance(ctx, options) {
                Ok(any) => moved |= any,
                Err(error) => {
                    let code = code_for(&error);
                    self.fail(ctx, error, code);
                    moved = true;
                }
            }
        }
        self.tell_news(ctx, &options.app);
        moved |= self.settle(ctx);
        self.note_stillness(ctx);
        moved
    }

    fn handle_session_events(&mut self, ctx: &mut Context<'_, Recv>) -> bool {
        let mut any = false;
        // Nothing is begun any more in one that is cut off: whoever called hears why.
        let is_open = matches!(self.end, Closing::Open);
        let called = if let Work::Waiting = self.work { ctx.node.called(self.key) } else { None };
        let app = called.map(|(_, app)| app.as_str().as_bytes().to_vec());
        while let Some(event) = ctx.node.session(self.key).and_then(Session::poll_event) {
            any = true;
            match (event, ctx.node.session(self.key)) {
                (SessionEvent::StreamOpened { id, service }, Some(session)) if is_open => {
                    // Whoever asks for anything else, or only whether it would work, does not send.
                    if let (Work::Waiting, true) = (&self.work, app.as_deref() == Some(&service[..])) {
                        self.stream = id;
                        session.stream_mut(id).accept();
                        self.work = Work::Greeting(Box::default());
                        self.achieved.began = Some(ctx.now);
                    } else {
                        session.stream_mut(id).refuse(CloseCode::Refused);
                    }
                }
                (SessionEvent::Closed { code }, _) => self.peer_closed = Some(code),
                _ => {}
            }
        }
        any
    }

    fn advance(&mut self, ctx: &mut Context<'_, Recv>, options: &Options) -> Moved {
        let Some(session) = ctx.node.session(self.key) else { return Err(Error::Run(RunError::Expired)) };
        if let Some(error) = session.failure() {
            return Err(error.into());
        }
        let unread = !session.stream(self.stream).readable().is_empty();
        if let (Some(number), false) = (self.peer_closed, unread) {
            self.handle_peer_closed(number)?;
        }
        match &mut self.work {
            Work::Waiting => self.check_greeting_time(ctx),
            Work::Greeting(_) if !unread => self.check_greeting_time(ctx),
            Work::Greeting(_) => match &options.directory {
                Some(directory) => {
                    let leashed = self.leashes.hold()?;
                    let place = directory.of_peer(&self.peer, &(options.peer_name)(&self.peer));
                    let engine = self.order(options).into_directory(ctx.waker, place, leashed)?;
                    self.work = Work::Files(engine);
                    Ok(true)
                }
                None => self.greet(ctx, options),
            },
            Work::Refusing(..) | Work::Over => Ok(self.refuse(session)),
            Work::Stream(inflow) => {
                let moved = inflow.pump(ctx.now, session, ctx.registry);
                self.achieved.so_far.bytes = inflow.taken_bytes();
                let moved = moved?;
                if let Some(ending) = inflow.ending() {
                    let news = self.achieved.ending.replace(ending).is_none();
                    if let Some(item) = inflow.item().filter(|_| news) {
                        (ctx.news)(News::Item(self.peer, options.app.as_str(), &item));
                    }
                    if inflow.is_flushed() {
                        self.end = Closing::Told(inflow.verdict(&ending));
                    }
                }
                Ok(moved)
            }
            Work::Files(engine) => {
                let moved = engine.pump(ctx.now, session);
                Ok(self.take_engine_end(ctx, &options.app)? | moved)
            }
        }
    }

    /// The peer has closed, and nothing of it is left to read. Whoever has been told the end may do so, and an engine may
    /// have told it without our knowing yet.
    fn handle_peer_closed(&mut self, number: u16) -> Result<(), Error> {
        match &mut self.work {
            Work::Stream(inflow) if inflow.ending().is_some() => Ok(()),
            Work::Files(engine) => {
                engine.close();
                Ok(())
            }
            _ => Err(closed_by_peer(number).into()),
        }
    }

    fn order(&self, options: &Options) -> Order {
        let command = options.exec.clone().map(|command| CommandLine {
            command,
            peer: (options.peer_name)(&self.peer),
            app: options.app.clone(),
        });
        let tells_items = options.tells_items;
        Order { peer: self.peer, stream: self.stream, policy: options.policy, command, tells_items }
    }

    /// The engine's end is our end as soon as all it said is with the session.
    fn take_engine_end(&mut self, ctx: &mut Context<'_, Recv>, app: &AppName) -> Moved {
        let Work::Files(engine) = &mut self.work else { return Ok(false) };
        if !engine.is_flushed() && self.peer_closed.is_none() {
            return Ok(false);
        }
        let Some(end) = engine.take_end() else { return Ok(false) };
        let output_gone = self.output.as_ref().is_some_and(|news| news.is_gone());
        self.tell_news(ctx, app);
        self.work = Work::Over;
        let outcome = end.map_err(|_| Error::Broken)?;
        let verdict = match outcome {
            _ if output_gone => Err(Error::OutputGone),
            Ok(outcome) => self.verdict(&outcome),
            Err(error @ (TransferError::Refused(_) | TransferError::Inbox(_))) => Err(error.into()),
            Err(error) => return Err(self.peer_closed.map_or(error.into(), |number| closed_by_peer(number).into())),
        };
        self.end = Closing::Told(verdict);
        Ok(true)
    }

    fn verdict(&mut self, outcome: &ReceiveOutcome) -> Result<(), Error> {
        let ending = Ending::of_tally(outcome.status, &outcome.tally, outcome.command_status);
        self.achieved.ending = Some(ending);
        self.achieved.so_far.bytes = outcome.received_bytes;
        ending.verdict(Side::Here)
    }

    fn tell_news(&mut self, ctx: &mut Context<'_, Recv>, app: &AppName) {
        match &mut self.work {
            Work::Files(engine) => {
                let news = engine.take_news();
                self.achieved.so_far = news.so_far;
                tell(&news, (self.peer, app.as_str()), ctx.news);
            }
            Work::Stream(inflow) if !inflow.is_watched() && self.achieved.report_at.is_none_or(|at| at <= ctx.now) => {
                self.achieved.report_at = Some(ctx.now + REPORT_PAUSE);
                let bytes = inflow.taken_bytes();
                (ctx.news)(News::Progress { bytes, skipped: 0, total: None, items: None, name: inflow.name() });
            }
            _ => {}
        }
    }

    /// Comes to a bad end: the peer learns the code, a command learns that the rest is missing, an engine keeps what can be
    /// resumed.
    pub(super) fn fail(&mut self, ctx: &mut Context<'_, Recv>, error: Error, code: CloseCode) {
        if let Closing::Closed(_) = self.end {
            return;
        }
        match &mut self.work {
            Work::Stream(inflow) => inflow.cut(ctx.registry),
            Work::Files(engine) => engine.close(),
            _ => {}
        }
        self.leashes.stop_feeding();
        self.deadlines.part(ctx.now, Farewell::Settled);
        if let Some(session) = ctx.node.session(self.key) {
            session.close(code);
        }
        ctx.node.release(ctx.now, self.key);
        self.end = Closing::Closed(Err(error));
    }

    /// Breaks off, because the tool has been told to stop: a command, too, is told to end. What becomes of it is of no
    /// interest any more.
    pub(super) fn cut(&mut self, ctx: &mut Context<'_, Recv>, why: RunError) {
        self.deadlines.break_off(ctx.now);
        self.fail(ctx, Error::Run(why), CloseCode::GoingAway);
        self.deadlines.part(ctx.now, Farewell::Hasty);
        self.leashes.end_command();
    }

    /// Ends at once: its peer may no more call. A command, too, is told to end.
    pub(super) fn cast_out(&mut self, ctx: &mut Context<'_, Recv>) {
        self.deadlines.break_off(ctx.now);
        match std::mem::replace(&mut self.end, Closing::Open) {
            // What it was told stands.
            Closing::Told(result) => self.end = Closing::Closed(result),
            end => {
                self.end = end;
                self.fail(ctx, Error::Run(RunError::CastOut), CloseCode::Refused);
            }
        }
        self.deadlines.part(ctx.now, Farewell::CastOut);
        self.leashes.end_command();
    }

    /// Sees to it that both sides know: closes when the sender has taken note of the end, and lets go when it has closed
    /// as well. True if something moved.
    fn settle(&mut self, ctx: &mut Context<'_, Recv>) -> bool {
        let failed = ctx.node.session(self.key).is_none_or(|session| session.failure().is_some());
        let peer_closed = self.peer_closed.is_some() || failed;
        if let (Closing::Closed(_), true) = (&self.end, peer_closed) {
            ctx.node.release(ctx.now, self.key);
        }
        let Closing::Told(_) = self.end else { return false };
        let stream = self.stream;
        let noted = ctx.node.session(self.key).is_none_or(|session| session.stream(stream).send_half() == Half::Done);
        let has_path = ctx.node.session(self.key).is_some_and(|session| session.has_lane());
        if !self.deadlines.check_note(ctx.now, has_path) && !noted && !peer_closed {
            return false;
        }
        if let Closing::Told(result) = std::mem::replace(&mut self.end, Closing::Open) {
            self.end = Closing::Closed(result);
        }
        self.deadlines.part(ctx.now, Farewell::Settled);
        if let Some(session) = ctx.node.session(self.key) {
            session.close(CloseCode::Done);
        }
        true
    }

    /// The end, once the session has gone and nothing of ours is left running.
    pub(super) fn take_end(&mut self, ctx: &mut Context<'_, Recv>, app: &AppName) -> Option<Result<(), Error>> {
        let Closing::Closed(_) = self.end else { return None };
        if self.deadlines.take_parted(ctx.now) {
            ctx.node.abandon(ctx.now, self.key);
        }
        if ctx.node.knows(self.key) {
            return None;
        }
        if let Work::Files(engine) = &mut self.work {
            // It may be syncing what is complete; it wakes us when it is done. What it yields changes nothing any more.
            if engine.take_end().is_none() && !self.deadlines.is_engine_overdue(ctx.now) {
                return None;
            }
            self.tell_news(ctx, app);
            self.work = Work::Over;
        }
        match std::mem::replace(&mut self.end, Closing::Open) {
            Closing::Closed(result) => Some(result),
            Closing::Open | Closing::Told(_) => None,
        }
    }

    /// The node has given the session up. After the sender was told everything that changes nothing for us.
    pub(super) fn handle_gone(&mut self, ctx: &mut Context<'_, Recv>, error: Error) {
        match std::mem::replace(&mut self.end, Closing::Open) {
            Closing::Open => self.fail(ctx, error, CloseCode::Done),
            Closing::Told(result) | Closing::Closed(result) => self.end = Closing::Closed(result),
        }
    }
}

/// With which code a session closes that ended by this error.
fn code_for(error: &Error) -> CloseCode {
    match error {
        Error::Transfer(error) => close_code(error),
        Error::Run(RunError::Protocol(_)) => CloseCode::Protocol,
        _ => CloseCode::Cancelled,
    }
}
