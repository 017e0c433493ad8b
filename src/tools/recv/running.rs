//! One session of `vp-recv`, from the peer's call until both sides know how it ended.
//!
//! ```text
//! waiting for the stream ─▶ greeting ─▶ stream to a sink ─┐
//!            │                 └──────▶ engine to a writer ├─▶ told, sender takes note ─▶ closed ─▶ settled
//!            └───────────────▶ engine into a directory ───┘
//! ```

mod deadlines;
mod place;
mod work;

use super::Options;
use super::Recv;
use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::reactor::{FIRST_TOKEN, Ready, Token};
use crate::node::{Key, Reach};
use crate::run::farewell::Farewell;
use crate::run::tool::{Breach, Context, RunError};
use crate::run::turns::{Going, Standing, To, Waits, YieldReason};
use crate::session::{Event as SessionEvent, Session};
use crate::tools::transfers::{Error, Transfer, close_code};
use crate::wire::CloseCode;
use deadlines::{Deadlines, Owed};
use place::Holding;
use std::time::Instant;
use work::{Moved, Work};

/// Tokens of one session: its sink and its command.
const TOKENS: usize = 2;

/// What is known about the end.
enum Closing {
    Open,
    /// The sender has been told, in the transfer's own words, and should take note.
    Told(Result<(), Error>),
    /// The session is closed from our side, and goes when the peer knows.
    Closed(Result<(), Error>),
}

/// The other end of a session.
pub(super) struct Caller {
    slot: usize,
    /// The session.
    pub key: Key,
    /// Who sends.
    pub peer: PeerId,
    /// By which number it has closed the session.
    closed: Option<u16>,
}

impl Caller {
    fn token(&self, which: usize) -> Token {
        Token(FIRST_TOKEN + self.slot * TOKENS + which)
    }
}

/// See the module's text.
pub(super) struct Running {
    /// Whose it is.
    pub caller: Caller,
    work: Work,
    end: Closing,
    deadlines: Deadlines,
    holding: Holding,
}

/// Whether a session may begin its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayBegin {
    /// It may.
    Yes,
    /// Others come first; what the peer sends meanwhile stays in the session.
    NotYet,
}

impl Running {
    /// A session that has just come up.
    pub(super) fn new(now: Instant, slot: usize, key: Key, peer: PeerId) -> Running {
        Running {
            caller: Caller { slot, key, peer, closed: None },
            work: Work::new(),
            end: Closing::Open,
            deadlines: Deadlines::new(now),
            holding: Holding::new(now, peer),
        }
    }

    /// The slot and the end that a token stands for.
    pub(super) fn place_of(token: Token) -> (usize, usize) {
        let place = token.0 - FIRST_TOKEN;
        (place / TOKENS, place % TOKENS)
    }

    /// When to pump without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let owed = match &self.end {
            Closing::Told(_) => Owed::Note,
            Closing::Open if self.work.is_ungreeted() => Owed::Greeting,
            _ => Owed::Nothing,
        };
        self.deadlines.next(owed).into_iter().chain(self.work.next_timeout()).min()
    }

    /// The session lost its path, or has one again.
    pub(super) fn handle_path(&mut self, reach: Reach) {
        self.holding.reach = reach;
    }

    /// Whether it has not begun its work.
    pub(super) fn is_waiting(&self) -> bool {
        self.work.is_waiting() && matches!(self.end, Closing::Open)
    }

    /// Whether it has work to give up.
    fn works(&self) -> bool {
        !self.is_waiting() && !matches!(self.end, Closing::Closed(_))
    }

    /// Whether another session of the same peer took its place.
    pub(super) fn is_superseded(&self) -> bool {
        self.holding.superseded
    }

    /// The whole, if the peer ever began to send.
    pub(super) fn transfer<'a>(&self, now: Instant, error: Option<&'a Error>) -> Option<Transfer<'a>> {
        self.work.transfer(now, error)
    }

    /// An event of this session's sink (0) or command (1).
    pub(super) fn handle_ready(&mut self, ctx: &mut Context<'_, Recv>, which: usize, ready: Ready) {
        if let Err(error) = self.work.handle_ready(ctx, which, ready) {
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
        self.work.tell_news(ctx, &self.caller, &options.app);
        moved |= self.settle(ctx);
        self.note_stillness(ctx);
        moved
    }

    fn handle_session_events(&mut self, ctx: &mut Context<'_, Recv>) -> bool {
        let mut any = false;
        // Nothing is begun any more in one that is cut off: whoever called hears why.
        let is_open = matches!(self.end, Closing::Open);
        let called = if self.work.is_waiting() { ctx.node.called(self.caller.key) } else { None };
        let app = called.map(|(_, app)| app.as_str().as_bytes().to_vec());
        while let Some(event) = ctx.node.session(self.caller.key).and_then(Session::poll_event) {
            any = true;
            match (event, ctx.node.session(self.caller.key)) {
                (SessionEvent::StreamOpened { id, service }, Some(session)) if is_open => {
                    // Whoever asks for anything else, or only whether it would work, does not send.
                    if self.work.is_waiting() && app.as_deref() == Some(&service[..]) {
                        session.stream_mut(id).accept();
                        self.work.begin(ctx.now, id);
                    } else {
                        session.stream_mut(id).refuse(CloseCode::Refused);
                    }
                }
                (SessionEvent::Closed { code }, _) => self.caller.closed = Some(code),
                _ => {}
            }
        }
        any
    }

    fn advance(&mut self, ctx: &mut Context<'_, Recv>, options: &Options) -> Moved {
        let Some(session) = ctx.node.session(self.caller.key) else { return Err(Error::Run(RunError::Expired)) };
        if let Some(error) = session.failure() {
            return Err(error.into());
        }
        let (has_unread, has_path) = (self.work.has_unread(session), session.has_lane());
        if let (Some(number), false) = (self.caller.closed, has_unread) {
            self.work.handle_peer_closed(number)?;
        }
        if self.work.is_waiting() || (self.work.is_ungreeted() && !has_unread) {
            if self.deadlines.check_greeting(ctx.now, has_path) {
                return Err(Error::Run(RunError::Protocol(Breach::SaidNothing)));
            }
            return Ok(false);
        }
        let moved = self.work.advance(ctx, options, &self.caller)?;
        if let Some(verdict) = self.work.take_verdict() {
            self.end = Closing::Told(verdict);
        }
        Ok(moved)
    }

    /// Others come first. It waits for us, not we for it, unless it has gone: that is nobody's business.
    fn wait_for_turn(&mut self, ctx: &mut Context<'_, Recv>) {
        self.deadlines.greet_anew(ctx.now);
        if self.holding.is_given_up(ctx.now) {
            self.holding.superseded = true;
            self.fail(ctx, Error::Run(RunError::Expired), CloseCode::Cancelled);
            self.deadlines.part_at_once(ctx.now);
        }
    }

    /// Looks whether it is still.
    fn note_stillness(&mut self, ctx: &mut Context<'_, Recv>) {
        let Some(session) = ctx.node.session(self.caller.key) else { return };
        let is_owed = matches!(self.end, Closing::Told(_)) || self.work.waits_for_peer(session);
        self.holding.note_moved(ctx.now, is_owed, self.work.moved(session));
    }

    /// What counts when others wait.
    pub(super) fn standing(&self, waits: Waits) -> Standing {
        self.holding.standing(self.works(), waits)
    }

    /// Tells the node what it takes of the places, if that has changed.
    pub(super) fn tell_place(&mut self, ctx: &mut Context<'_, Recv>, to: To) {
        if let Some(place) = self.holding.take_place(ctx.now, self.works(), to) {
            ctx.node.set_place(ctx.now, self.caller.key, place);
        }
    }

    /// When others may have its place, unless something comes.
    pub(super) fn yields_at(&self, to: To) -> Option<Instant> {
        self.holding.yields_at(self.works(), to)
    }

    /// Others wait, and the process at the other end of this session is taken for gone, or says nothing. Where its peer has
    /// called anew, that call takes its place unless standard output has got something: that cannot be taken back, and must
    /// be neither doubled nor continued.
    pub(super) fn give_way(&mut self, ctx: &mut Context<'_, Recv>, going: Going) {
        let is_followed = going.why == YieldReason::Followed;
        self.holding.superseded = is_followed && !self.work.has_put_out();
        match (std::mem::replace(&mut self.end, Closing::Open), going.why) {
            // What is told is done: another run would do it twice.
            (Closing::Told(result), _) => {
                self.holding.superseded = false;
                self.end = Closing::Closed(result);
                if let Some(session) = ctx.node.session(self.caller.key) {
                    session.close(CloseCode::Done);
                }
            }
            (_, YieldReason::Followed) => self.fail(ctx, Error::BegunAnew, CloseCode::Cancelled),
            (_, YieldReason::Lost) => self.fail(ctx, Error::GaveWay, CloseCode::Cancelled),
            (_, YieldReason::Still) => self.fail(ctx, Error::WasStill, CloseCode::Limit),
        }
        // One that has a path is told: of files, what is missing may come again.
        let has_path = going.why == YieldReason::Still && self.holding.reach.has_path();
        if has_path {
            self.deadlines.part(ctx.now, Farewell::Hasty);
        } else {
            self.deadlines.part_at_once(ctx.now);
        }
    }

    /// Comes to a bad end: the peer learns the code, a command learns that the rest is missing, an engine keeps what can be
    /// resumed.
    pub(super) fn fail(&mut self, ctx: &mut Context<'_, Recv>, error: Error, code: CloseCode) {
        if let Closing::Closed(_) = self.end {
            return;
        }
        self.work.cut(ctx);
        self.deadlines.part(ctx.now, Farewell::Settled);
        if let Some(session) = ctx.node.session(self.caller.key) {
            session.close(code);
        }
        ctx.node.release(ctx.now, self.caller.key);
        self.end = Closing::Closed(Err(error));
    }

    /// Breaks off, because the tool has been told to stop: a command, too, is told to end. What becomes of it is of no
    /// interest any more.
    pub(super) fn cut(&mut self, ctx: &mut Context<'_, Recv>, why: RunError) {
        self.deadlines.break_off(ctx.now);
        self.fail(ctx, Error::Run(why), CloseCode::GoingAway);
        self.deadlines.part(ctx.now, Farewell::Hasty);
        self.work.end_command();
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
        self.work.end_command();
    }

    /// Sees to it that both sides know: closes when the sender has taken note of the end, and lets go when it has closed
    /// as well. True if something moved.
    fn settle(&mut self, ctx: &mut Context<'_, Recv>) -> bool {
        let failed = ctx.node.session(self.caller.key).is_none_or(|session| session.failure().is_some());
        let peer_closed = self.caller.closed.is_some() || failed;
        if let (Closing::Closed(_), true) = (&self.end, peer_closed) {
            ctx.node.release(ctx.now, self.caller.key);
        }
        let Closing::Told(_) = self.end else { return false };
        let noted = ctx.node.session(self.caller.key).is_none_or(|session| self.work.is_noted(session));
        let has_path = ctx.node.session(self.caller.key).is_some_and(|session| session.has_lane());
        if !self.deadlines.check_note(ctx.now, has_path) && !noted && !peer_closed {
            return false;
        }
        if let Closing::Told(result) = std::mem::replace(&mut self.end, Closing::Open) {
            self.end = Closing::Closed(result);
        }
        self.deadlines.part(ctx.now, Farewell::Settled);
        if let Some(session) = ctx.node.session(self.caller.key) {
            session.close(CloseCode::Done);
        }
        true
    }

    /// The end, once the session has gone and nothing of ours is left running.
    pub(super) fn take_end(&mut self, ctx: &mut Context<'_, Recv>, app: &AppName) -> Option<Result<(), Error>> {
        let Closing::Closed(_) = self.end else { return None };
        if self.deadlines.take_parted(ctx.now) {
            ctx.node.abandon(ctx.now, self.caller.key);
        }
        if ctx.node.knows(self.caller.key) {
            return None;
        }
        if self.work.poll_running() && !self.deadlines.is_engine_overdue(ctx.now) {
            return None;
        }
        self.work.abandon(ctx, &self.caller, app);
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
