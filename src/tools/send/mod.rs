//! `vp-send`: standard input, what a command writes, or files and directories, to an application of a peer.
//!
//! It calls, opens one stream, and stays until the receiver has told the end of it. A stream's own course is in `outflow`;
//! files are the business of an engine of [`super::transfers`] in a thread of its own. It listens to nobody.
//!
//! Invariants: success is what the receiver said after everything was where it belongs, never what we sent; what is read
//! from standard input is sent at most once, so a stream is never begun again. Files are: should the receiver's process
//! have been killed and started again, they go on over a new session, with what is missing.

mod course;
mod outflow;
mod producer;
mod receiver_restarted;

pub(crate) use outflow::Plain;
pub(crate) use producer::CommandLine;

use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::reactor::{FIRST_TOKEN, Ready, Token};
use crate::net::signals::Request;
use crate::node::{Event, Failure, Key};
use crate::run;
use crate::run::farewell::Farewell;
use crate::run::tool::{Context, Doing, RunError, Tool};
use crate::session::{Event as SessionEvent, Session};
use crate::tools::transfers::engine::SendJob;
use crate::tools::transfers::pump::Pump;
use crate::tools::transfers::tell;
use crate::tools::transfers::{Ending, close_code, verdict};
use crate::tools::transfers::{Error, News};
use crate::transfer::outcome::Side;
use crate::transfer::{SendOutcome, TransferError};
use crate::wire::CloseCode;
use course::Course;
use outflow::{Intake, Outflow};
use receiver_restarted::Receiver;
use std::time::{Duration, Instant};

/// Between two looks at how far a stream is.
const REPORT_PAUSE: Duration = Duration::from_millis(100);
const SOURCE: Token = Token(FIRST_TOKEN);
const COMMAND: Token = Token(FIRST_TOKEN + 1);

/// What to send.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Standard input.
    Stream(Plain),
    /// What a command writes; it is started once the receiver is there.
    Command(CommandLine, Plain),
    /// Files and directories.
    Files(SendJob),
}

enum Work {
    /// Nothing can be done before there is a session.
    Calling,
    Stream(Box<Outflow>),
    Files(Pump<Result<SendOutcome, TransferError>>),
    /// The end is known.
    Over,
}

/// The tool.
pub(crate) struct Send {
    to: (PeerId, AppName),
    what: What,
    key: Option<Key>,
    receiver: Receiver,
    stream: u32,
    work: Work,
    peer_closed: Option<CloseCode>,
    result: Option<Result<(), Error>>,
    leave_at: Option<Instant>,
    left: bool,
    report_at: Option<Instant>,
    course: Course,
}

impl Send {
    /// A tool that has not begun. `patience` is how long a receiver that leaves in the middle may stay away.
    pub(crate) fn new(to: (PeerId, AppName), what: What, patience: Duration) -> Send {
        Send {
            to,
            what,
            key: None,
            receiver: Receiver::new(patience),
            stream: 0,
            work: Work::Calling,
            peer_closed: None,
            result: None,
            leave_at: None,
            left: false,
            report_at: None,
            course: Course::default(),
        }
    }

    /// With news of the end of each item.
    #[must_use]
    pub(crate) fn telling_items(mut self, wanted: bool) -> Send {
        self.course.tells_items = wanted;
        self
    }

    fn stream_out(&self, ctx: &Context<'_, Send>, intake: Intake, plain: &Plain) -> Result<Work, Error> {
        let mut outflow = Outflow::new(ctx.now, self.stream, intake, plain).hashing(self.course.tells_items);
        let watched = outflow.register(ctx.registry, SOURCE, COMMAND);
        watched.map_err(|error| Error::Run(RunError::Io(Doing::WatchSources, error)))?;
        Ok(Work::Stream(Box::new(outflow)))
    }

    fn begin(&mut self, ctx: &mut Context<'_, Send>, key: Key) -> Result<(), Error> {
        let Some(session) = ctx.node.session(key) else { return Ok(()) };
        let Some(stream) = session.open_stream(ctx.now, self.to.1.as_str()) else { return Ok(()) };
        self.stream = stream;
        self.course.begin(ctx.now);
        self.work = match &self.what {
            What::Stream(plain) => self.stream_out(ctx, Intake::stdin()?, plain)?,
            What::Command(line, plain) => self.stream_out(ctx, Intake::of_command(line)?, plain)?,
            What::Files(job) => {
                let (job, tells_items) = (job.clone(), self.course.tells_items);
                let pump = Pump::start("send", stream, ctx.waker, move |port, teller| {
                    teller.tell_items(tells_items);
                    job.run(port, teller)
                });
                Work::Files(pump.map_err(|error| Error::Run(RunError::Io(Doing::StartThread, error)))?)
            }
        };
        Ok(())
    }

    fn handle_up(&mut self, ctx: &mut Context<'_, Send>, key: Key) {
        if self.receiver.handle_up(key) {
            self.forsake(ctx);
            self.key = Some(key);
        }
        if self.result.is_none() && self.key == Some(key) {
            if let Err(error) = self.begin(ctx, key) {
                self.conclude(ctx, Err(error));
            }
        }
    }

    /// Leaves a session whose other end is gone. Its engine ends when it notices.
    fn forsake(&mut self, ctx: &mut Context<'_, Send>) {
        self.tell_news(ctx);
        self.course.begin_anew();
        if let Work::Files(pump) = &mut self.work {
            pump.close();
        }
        self.work = Work::Calling;
        self.peer_closed = None;
        if let Some(key) = self.key.take() {
            ctx.node.abandon(ctx.now, key);
        }
    }

    /// The receiver's process has ended, or has others to serve. Whoever takes its place within the time is sent what is missing.
    fn handle_left(&mut self, ctx: &mut Context<'_, Send>) {
        if let Some(key) = self.key.take() {
            if let Some(session) = ctx.node.session(key) {
                session.close(CloseCode::Done);
            }
            // Its process, if it still runs, waits for that.
            ctx.node.release(ctx.now, key);
        }
        self.forsake(ctx);
        self.receiver.handle_left(ctx.now, ctx.node, &self.to);
    }

    /// Whether files are to be sent, and the end is not known.
    fn sends_files(&self) -> bool {
        matches!(self.what, What::Files(_)) && self.result.is_none()
    }

    fn handle_failed(&mut self, ctx: &mut Context<'_, Send>, key: Key, why: Failure) {
        let files = self.sends_files();
        if self.receiver.handle_failed(ctx.now, key) || self.key != Some(key) {
            // The receiver is called again later; or it is one that we have left.
        } else if files && why == Failure::SessionGone {
            self.handle_left(ctx);
        } else {
            self.conclude(ctx, Err(Error::Run(RunError::Node(why))));
            // Nobody is left to say farewell to.
            self.left = true;
        }
    }

    fn handle_session_events(&mut self, ctx: &mut Context<'_, Send>, key: Key) -> Result<(), Error> {
        while let Some(event) = ctx.node.session(key).and_then(Session::poll_event) {
            match event {
                SessionEvent::StreamRefused { code, .. } => {
                    return Err(Error::Run(RunError::PeerClosed(CloseCode::from_wire(code))));
                }
                SessionEvent::Closed { code } => self.peer_closed = Some(CloseCode::from_wire(code)),
                SessionEvent::StreamOpened { id, .. } => {
                    if let Some(session) = ctx.node.session(key) {
                        session.stream_mut(id).refuse(CloseCode::Refused);
                    }
                }
                SessionEvent::StreamAccepted { .. } => ctx.node.handle_served(),
            }
        }
        Ok(())
    }

    /// Moves what can be moved; the end, if it has come.
    fn advance(&mut self, ctx: &mut Context<'_, Send>, key: Key) -> Result<(bool, Option<Ending>), Error> {
        self.handle_session_events(ctx, key)?;
        let Some(session) = ctx.node.session(key) else { return Err(Error::Run(RunError::Expired)) };
        if let Some(error) = session.failure() {
            return Err(error.into());
        }
        let unread = !session.stream(self.stream).readable().is_empty();
        match &mut self.work {
            Work::Calling | Work::Over => Ok((false, None)),
            Work::Stream(outflow) => {
                let moved = outflow.pump(ctx.now, session, ctx.registry);
                self.course.note_bytes(outflow.raw_bytes());
                let (moved, ending) = (moved?, outflow.ending());
                match self.peer_closed {
                    Some(code) if ending.is_none() => Err(Error::Run(RunError::PeerClosed(code))),
                    _ => Ok((moved, ending)),
                }
            }
            Work::Files(pump) => {
                let moved = pump.pump(ctx.now, session);
                if self.peer_closed.is_some() && !unread {
                    // An engine that has heard the end does not mind.
                    pump.close();
                }
                match pump.take_end() {
                    None => Ok((moved, None)),
                    Some(Err(_)) => Err(Error::Broken),
                    Some(Ok(Ok(outcome))) => {
                        let ending = Ending::of_tally(outcome.status, &outcome.tally, outcome.command_status);
                        Ok((true, Some(ending)))
                    }
                    Some(Ok(Err(TransferError::Closed(_)))) if self.is_to_come_again() => {
                        self.handle_left(ctx);
                        Ok((true, None))
                    }
                    Some(Ok(Err(TransferError::Closed(error)))) => Err(self
                        .peer_closed
                        .map_or(TransferError::Closed(error).into(), |code| RunError::PeerClosed(code).into())),
                    Some(Ok(Err(error))) => Err(error.into()),
                }
            }
        }
    }

    /// Whether the receiver has ended the session for a reason that says nothing of what is sent.
    fn is_to_come_again(&self) -> bool {
        matches!(self.peer_closed, Some(CloseCode::GoingAway | CloseCode::Limit))
    }

    /// The end is known: the peer is told that we know, within bounds.
    fn conclude(&mut self, ctx: &mut Context<'_, Send>, result: Result<(), Error>) {
        if self.result.is_some() {
            return;
        }
        let (code, farewell) = match &result {
            Ok(()) | Err(Error::Items(_) | Error::NothingToDo | Error::Run(RunError::FarCommand(_))) => {
                (CloseCode::Done, Farewell::Settled)
            }
            Err(Error::Transfer(error)) => (close_code(error), Farewell::Settled),
            Err(Error::Run(RunError::Protocol(_))) => (CloseCode::Protocol, Farewell::Hasty),
            // Whoever has taken the beginning must not take it for the whole: it is told for longer.
            Err(Error::Command(_)) => (CloseCode::Failed, Farewell::Settled),
            Err(Error::Run(RunError::Signal(_))) => (CloseCode::GoingAway, Farewell::Hasty),
            Err(_) => (CloseCode::Cancelled, Farewell::Hasty),
        };
        self.tell_news(ctx);
        self.tell_end(ctx, result.as_ref().err());
        match &mut self.work {
            // Nothing here needs to be saved: the thread may end when it likes, or with the process.
            Work::Files(pump) => pump.close(),
            Work::Stream(outflow) => outflow.cut(ctx.registry),
            Work::Calling | Work::Over => {}
        }
        self.work = Work::Over;
        self.receiver.settle(ctx.now, ctx.node);
        self.result = Some(result);
        self.leave_at = Some(farewell.until(ctx.now));
        if let Some(key) = self.key {
            match ctx.node.session(key) {
                Some(session) => match &self.result {
                    Some(Err(Error::Command(status))) => session.close_failed(*status),
                    _ => session.close(code),
                },
                None => ctx.node.release(ctx.now, key),
            }
        }
    }

    /// Stays until the peer has closed as well, so that it need not wonder what became of us.
    fn take_leave(&mut self, ctx: &mut Context<'_, Send>, key: Key) {
        // Whatever else it says changes nothing any more.
        let _ = self.handle_session_events(ctx, key);
        let failed = ctx.node.session(key).is_some_and(|session| session.failure().is_some());
        if self.peer_closed.is_some() || failed {
            ctx.node.release(ctx.now, key);
        }
        if self.leave_at.is_none_or(|at| at <= ctx.now) {
            // The peer need not look for us: it is told that nobody is here any more.
            ctx.node.abandon(ctx.now, key);
        }
        self.left |= !ctx.node.knows(key);
    }

    fn tell_end(&mut self, ctx: &mut Context<'_, Send>, error: Option<&Error>) {
        let (peer, app) = (self.to.0, self.to.1.as_str());
        if let (Work::Stream(outflow), What::Stream(plain) | What::Command(_, plain)) = (&mut self.work, &self.what)
            && let Some(item) = outflow.item(&plain.name, self.course.took(ctx.now))
            && self.course.tells_items
        {
            (ctx.news)(News::Item(peer, app, &item));
        }
        if let Some(transfer) = self.course.end(ctx.now, error) {
            (ctx.news)(News::Transferred(peer, app, &transfer));
        }
    }

    fn tell_news(&mut self, ctx: &mut Context<'_, Send>) {
        match &mut self.work {
            Work::Files(pump) => {
                let news = pump.take_news();
                self.course.note(news.so_far);
                tell(&news, (self.to.0, self.to.1.as_str()), ctx.news);
            }
            Work::Stream(outflow) if self.report_at.is_none_or(|at| at <= ctx.now) => {
                self.report_at = Some(ctx.now + REPORT_PAUSE);
                let name = match &self.what {
                    What::Stream(plain) | What::Command(_, plain) => &plain.name[..],
                    What::Files(_) => &[],
                };
                let bytes = outflow.raw_bytes();
                (ctx.news)(News::Progress { bytes, skipped: 0, total: None, items: None, name });
            }
            _ => {}
        }
    }
}

impl Tool for Send {
    type News<'a> = News<'a>;
    type Error = Error;

    fn start(&mut self, ctx: &mut Context<'_, Send>) {
        self.key = Some(ctx.node.call(ctx.now, self.to.0, self.to.1.clone()));
    }

    fn handle_event(&mut self, ctx: &mut Context<'_, Send>, event: &Event) {
        match event {
            Event::Up { key, .. } => self.handle_up(ctx, *key),
            Event::RelayUp { .. } => self.receiver.handle_relay(Some(ctx.now)),
            Event::RelayDown { .. } => self.receiver.handle_relay(None),
            // A stream cannot be begun again.
            Event::Lost { key } if self.key == Some(*key) && self.sends_files() => self.receiver.handle_lost(ctx.now),
            Event::Resumed { key } if self.key == Some(*key) => self.receiver.settle(ctx.now, ctx.node),
            Event::Failed { key, why } => self.handle_failed(ctx, *key, *why),
            Event::Fatal { why } => {
                self.conclude(ctx, Err(Error::Run(RunError::Node(*why))));
                self.left = true;
            }
            _ => {}
        }
    }

    fn handle_ready(&mut self, ctx: &mut Context<'_, Send>, ready: Ready) {
        let Work::Stream(outflow) = &mut self.work else { return };
        if ready.token == SOURCE {
            outflow.handle_ready();
        } else if let Err(error) = outflow.handle_command_ready(ctx.now, ctx.registry) {
            self.conclude(ctx, Err(error));
        }
    }

    fn pump(&mut self, ctx: &mut Context<'_, Send>) -> bool {
        if self.receiver.is_overdue(ctx.now) {
            self.conclude(ctx, Err(Error::NotBack));
        }
        let Some(key) = self.key else {
            self.receiver.call_if_due(ctx.now, ctx.node, &self.to);
            // Without a session there is nobody to say farewell to.
            self.left |= self.result.is_some();
            return false;
        };
        if self.result.is_some() {
            self.take_leave(ctx, key);
            return false;
        }
        if let Work::Calling = self.work {
            return false;
        }
        self.receiver.call_if_due(ctx.now, ctx.node, &self.to);
        match self.advance(ctx, key) {
            Ok((moved, None)) => {
                self.tell_news(ctx);
                moved
            }
            Ok((_, Some(ending))) => {
                self.course.ending = Some(ending);
                self.conclude(ctx, verdict(&ending, Side::There));
                true
            }
            Err(error) => {
                self.conclude(ctx, Err(error));
                true
            }
        }
    }

    fn handle_signal(&mut self, ctx: &mut Context<'_, Send>, request: Request) {
        match request {
            Request::Refresh => ctx.node.hurry(ctx.now),
            Request::Status => (ctx.news)(run::News::Status.into()),
            Request::End(signal) => self.conclude(ctx, Err(Error::Run(RunError::Signal(signal)))),
        }
    }

    fn outcome(&mut self) -> Option<Result<(), Error>> {
        if self.left { self.result.take() } else { None }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let rate = match &self.work {
            Work::Stream(outflow) => outflow.next_timeout(Instant::now()),
            _ => None,
        };
        [rate, self.leave_at, self.receiver.next_timeout()].into_iter().flatten().min()
    }
}
