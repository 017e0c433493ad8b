//! What becomes of what the peer sends: its first message says whether that is a stream, files, or nothing that is taken.

use super::Caller;
use crate::names::AppName;
use crate::net::child::Child;
use crate::net::reactor::Ready;
use crate::net::stdio::Sink;
use crate::run::farewell::closed_by_peer;
use crate::run::tool::{Context, Doing, RunError};
use crate::session::{Half, Session};
use crate::tools::recv::command::CommandLine;
use crate::tools::recv::inflow::{Inflow, Place, Taken};
use crate::tools::recv::job::{Engine, Order};
use crate::tools::recv::leash::Leashes;
use crate::tools::recv::writers::OutputNews;
use crate::tools::recv::{Options, Recv};
use crate::tools::transfers::pump::SoFar;
use crate::tools::transfers::{Ending, Error, News, Transfer, tell, verdict};
use crate::transfer::messages::{Content, Hello, VERSION};
use crate::transfer::outcome::Side;
use crate::transfer::reception::Greeted;
use crate::transfer::{Fact, Fault, ReceiveOutcome, Reception, TransferError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two reports of how far a stream is.
const REPORT_PAUSE: Duration = Duration::from_millis(100);

/// Whether something was done.
pub(super) type Moved = Result<bool, Error>;

enum Stage {
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

/// What it has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Achieved {
    /// Since when there is work.
    began: Option<Instant>,
    /// The end of it, once that is known.
    ending: Option<Ending>,
    so_far: SoFar,
    /// When that may be reported again.
    report_at: Option<Instant>,
}

/// See the module's text.
pub(super) struct Work {
    stage: Stage,
    stream: u32,
    leashes: Leashes,
    /// Of standard output, if an engine writes to it.
    output: Option<Arc<OutputNews>>,
    achieved: Achieved,
    /// What the sender has been told, in the transfer's own words, until somebody asks.
    verdict: Option<Result<(), Error>>,
}

impl Work {
    /// For a peer that has opened no stream yet.
    pub(super) fn new() -> Work {
        Work {
            stage: Stage::Waiting,
            stream: 0,
            leashes: Leashes::default(),
            output: None,
            achieved: Achieved::default(),
            verdict: None,
        }
    }

    /// The peer has opened its stream.
    pub(super) fn begin(&mut self, now: Instant, stream: u32) {
        self.stream = stream;
        self.stage = Stage::Greeting(Box::default());
        self.achieved.began = Some(now);
    }

    /// Whether it waits for that.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting)
    }

    /// Whether the peer has yet to say what it sends.
    pub(super) fn is_ungreeted(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Greeting(_))
    }

    /// Whether the peer has said something that nobody has read.
    pub(super) fn has_unread(&self, session: &Session) -> bool {
        !session.stream(self.stream).readable().is_empty()
    }

    /// Whether it goes on when the peer sends something, and not before. What we are at work with ourselves, a command that runs
    /// or a disk that is slow, is not the peer's to answer for.
    pub(super) fn waits_for_peer(&self, session: &Session) -> bool {
        match &self.stage {
            Stage::Stream(inflow) => !self.has_unread(session) && inflow.waits_for_peer(),
            Stage::Files(engine) => engine.waits_for_peer(),
            Stage::Waiting | Stage::Greeting(_) | Stage::Refusing(..) | Stage::Over => true,
        }
    }

    /// Bytes of the peer's that were taken, and of ours that it took.
    pub(super) fn moved(&self, session: &Session) -> (u64, u64) {
        let stream = session.stream(self.stream);
        (stream.taken(), stream.consumed_by_peer())
    }

    /// Whether the peer has taken note of all that it was told.
    pub(super) fn is_noted(&self, session: &Session) -> bool {
        session.stream(self.stream).send_half() == Half::Done
    }

    /// Whether standard output has got something. An engine's end does not take back what it wrote.
    pub(super) fn has_put_out(&self) -> bool {
        match &self.stage {
            Stage::Stream(inflow) => inflow.has_put_out(),
            _ => self.output.as_ref().is_some_and(|news| news.has_put_out()),
        }
    }

    /// When to go on without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if let Stage::Stream(inflow) = &self.stage { inflow.next_timeout() } else { None }
    }

    /// What the sender has been told, once it has been. Only once.
    pub(super) fn take_verdict(&mut self) -> Option<Result<(), Error>> {
        self.verdict.take()
    }

    /// The whole, if the peer ever began to send.
    pub(super) fn transfer<'a>(&self, now: Instant, error: Option<&'a Error>) -> Option<Transfer<'a>> {
        let Achieved { began, ending, so_far, .. } = self.achieved;
        let SoFar { counts, left_out, bytes } = so_far.or_end(ending.as_ref());
        Some(Transfer { counts, left_out, bytes, took: now.saturating_duration_since(began?), error })
    }

    /// An event of the sink (0) or of the command (1).
    ///
    /// # Errors
    /// The command's status cannot be had.
    pub(super) fn handle_ready(&mut self, ctx: &Context<'_, Recv>, which: usize, ready: Ready) -> Result<(), Error> {
        match (&mut self.stage, which) {
            (Stage::Stream(inflow), 0) => inflow.handle_sink_ready(ready.error || ready.write_closed),
            (Stage::Stream(inflow), _) => return inflow.handle_child_ready(ctx.now, ctx.registry),
            _ => {}
        }
        Ok(())
    }

    /// The peer has closed, and nothing of it is left to read. Whoever has been told the end may do so, and an engine may
    /// have told it without our knowing yet.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn handle_peer_closed(&mut self, number: u16) -> Result<(), Error> {
        match &mut self.stage {
            Stage::Stream(inflow) if inflow.ending().is_some() => Ok(()),
            Stage::Files(engine) => {
                engine.close();
                Ok(())
            }
            _ => Err(closed_by_peer(number).into()),
        }
    }

    /// Goes on, as far as that may be. True if something moved.
    ///
    /// # Errors
    /// The session has come to a bad end.
    pub(super) fn advance(&mut self, ctx: &mut Context<'_, Recv>, options: &Options, caller: &Caller) -> Moved {
        match &mut self.stage {
            Stage::Waiting => Ok(false),
            Stage::Greeting(_) => match &options.directory {
                Some(directory) => {
                    let leashed = self.leashes.hold()?;
                    let place = directory.of_peer(&caller.peer, &(options.peer_name)(&caller.peer));
                    let engine = self.order(options, caller).into_directory(ctx.waker, place, leashed)?;
                    self.stage = Stage::Files(engine);
                    Ok(true)
                }
                None => self.greet(ctx, options, caller),
            },
            Stage::Refusing(..) => Ok(self.refuse(ctx, caller)),
            Stage::Stream(_) => self.pump_stream(ctx, caller, &options.app),
            Stage::Files(engine) => {
                let Some(session) = ctx.node.session(caller.key) else { return Ok(false) };
                let moved = engine.pump(ctx.now, session);
                Ok(self.take_engine_end(ctx, caller, &options.app)? | moved)
            }
            Stage::Over => Ok(false),
        }
    }

    /// Without a directory the first message decides: a stream is dealt with here, files need an engine.
    fn greet(&mut self, ctx: &mut Context<'_, Recv>, options: &Options, caller: &Caller) -> Moved {
        let (Stage::Greeting(reception), Some(session)) = (&mut self.stage, ctx.node.session(caller.key)) else {
            return Ok(false);
        };
        let bytes = session.stream(self.stream).readable();
        let mut input = bytes;
        let fact = reception.next(&mut input)?;
        let used = bytes.len() - input.len();
        session.stream_mut(self.stream).read(used);
        // It is the first fact.
        let Some(Fact::Hello(hello)) = fact else { return Ok(true) };
        if hello.version != VERSION {
            return Ok(self.begin_refusing(Fault::Version));
        }
        // Before a command is started for it.
        if hello.is_several() {
            return Ok(self.begin_refusing(Fault::TreeNotTaken));
        }
        match hello.content {
            Content::Stream => self.begin_stream(ctx, options, &hello, caller),
            Content::Files if options.exec.is_none() && crate::net::stdio::is_output_terminal() => {
                Ok(self.begin_refusing(Fault::Terminal))
            }
            Content::Files => {
                let leashed = self.leashes.hold()?;
                let Some(reception) = self.take_reception() else { return Ok(false) };
                let greeted = Greeted { reception: *reception, hello };
                let (engine, news) = self.order(options, caller).into_writer(ctx.waker, greeted, leashed)?;
                self.output = news;
                self.stage = Stage::Files(engine);
                Ok(true)
            }
        }
    }

    /// What has read the first message, for whatever comes of that.
    fn take_reception(&mut self) -> Option<Box<Reception>> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Greeting(reception) => Some(reception),
            _ => None,
        }
    }

    fn begin_stream(
        &mut self,
        ctx: &mut Context<'_, Recv>,
        options: &Options,
        hello: &Hello,
        caller: &Caller,
    ) -> Moved {
        let Some(reception) = self.take_reception() else { return Ok(false) };
        let (sink, command): (Sink, Option<Child>) = match self.order(options, caller).command {
            None => (Sink::stdout().map_err(|error| Error::Run(RunError::Io(Doing::OpenStdout, error)))?, None),
            Some(command) => {
                let fed =
                    command.feed(&hello.name).map_err(|error| Error::Run(RunError::Io(Doing::StartCommand, error)))?;
                (fed.sink, Some(fed.child))
            }
        };
        let mut taken = Taken::new(&hello.name, options.policy.bytes_max);
        if options.tells_items {
            taken.watch(ctx.now);
        }
        let mut inflow = Inflow::new(self.stream, *reception, Place { sink, command, taken }, ctx.waker);
        inflow
            .register(ctx.registry, caller.token(0), caller.token(1))
            .map_err(|error| Error::Run(RunError::Io(Doing::Watch, error)))?;
        self.stage = Stage::Stream(Box::new(inflow));
        Ok(true)
    }

    fn begin_refusing(&mut self, fault: Fault) -> bool {
        if let Some(mut reception) = self.take_reception() {
            reception.refuse(fault);
            self.stage = Stage::Refusing(fault, reception);
        }
        true
    }

    fn refuse(&mut self, ctx: &mut Context<'_, Recv>, caller: &Caller) -> bool {
        let (Stage::Refusing(fault, reception), Some(session)) = (&mut self.stage, ctx.node.session(caller.key)) else {
            return false;
        };
        let answer = reception.answers();
        let count = session.stream_mut(self.stream).write(answer);
        answer.drain(..count);
        if answer.is_empty() {
            session.stream_mut(self.stream).finish();
            self.verdict = Some(Err(TransferError::Refused(*fault).into()));
        }
        true
    }

    fn pump_stream(&mut self, ctx: &mut Context<'_, Recv>, caller: &Caller, app: &AppName) -> Moved {
        let (Stage::Stream(inflow), Some(session)) = (&mut self.stage, ctx.node.session(caller.key)) else {
            return Ok(false);
        };
        let moved = inflow.pump(ctx.now, session, ctx.registry);
        self.achieved.so_far.bytes = inflow.taken_bytes();
        let moved = moved?;
        if let Some(ending) = inflow.ending() {
            let is_news = self.achieved.ending.replace(ending).is_none();
            if let Some(item) = inflow.item().filter(|_| is_news) {
                (ctx.news)(News::Item(caller.peer, app.as_str(), &item));
            }
            if inflow.is_flushed() {
                self.verdict = Some(inflow.verdict(&ending));
            }
        }
        Ok(moved)
    }

    fn order(&self, options: &Options, caller: &Caller) -> Order {
        let command = options.exec.clone().map(|command| CommandLine {
            command,
            peer: (options.peer_name)(&caller.peer),
            app: options.app.clone(),
        });
        let tells_items = options.tells_items;
        Order { peer: caller.peer, stream: self.stream, policy: options.policy, command, tells_items }
    }

    /// The engine's end is our end as soon as all it said is with the session.
    fn take_engine_end(&mut self, ctx: &mut Context<'_, Recv>, caller: &Caller, app: &AppName) -> Moved {
        let Stage::Files(engine) = &mut self.stage else { return Ok(false) };
        if !engine.is_flushed() && caller.closed.is_none() {
            return Ok(false);
        }
        let Some(end) = engine.take_end() else { return Ok(false) };
        let output_gone = self.output.as_ref().is_some_and(|news| news.is_gone());
        self.tell_news(ctx, caller, app);
        self.stage = Stage::Over;
        let outcome = end.map_err(|_| Error::Broken)?;
        let verdict = match outcome {
            _ if output_gone => Err(Error::OutputGone),
            Ok(outcome) => self.verdict_of(&outcome),
            Err(error @ (TransferError::Refused(_) | TransferError::Inbox(_))) => Err(error.into()),
            Err(error) => return Err(caller.closed.map_or(error.into(), |number| closed_by_peer(number).into())),
        };
        self.verdict = Some(verdict);
        Ok(true)
    }

    fn verdict_of(&mut self, outcome: &ReceiveOutcome) -> Result<(), Error> {
        let ending = Ending::of_tally(outcome.status, &outcome.tally, outcome.command_status);
        self.achieved.ending = Some(ending);
        self.achieved.so_far.bytes = outcome.received_bytes;
        verdict(&ending, Side::Here)
    }

    /// Tells how far it is.
    pub(super) fn tell_news(&mut self, ctx: &mut Context<'_, Recv>, caller: &Caller, app: &AppName) {
        match &mut self.stage {
            Stage::Files(engine) => {
                let news = engine.take_news();
                self.achieved.so_far = news.so_far;
                tell(&news, (caller.peer, app.as_str()), ctx.news);
            }
            Stage::Stream(inflow) if !inflow.is_watched() && self.achieved.report_at.is_none_or(|at| at <= ctx.now) => {
                self.achieved.report_at = Some(ctx.now + REPORT_PAUSE);
                let bytes = inflow.taken_bytes();
                (ctx.news)(News::Progress { bytes, skipped: 0, total: None, items: None, name: inflow.name() });
            }
            _ => {}
        }
    }

    /// Breaks off: a command learns that the rest is missing, an engine keeps what can be resumed.
    pub(super) fn cut(&mut self, ctx: &Context<'_, Recv>) {
        match &mut self.stage {
            Stage::Stream(inflow) => inflow.cut(ctx.registry),
            Stage::Files(engine) => engine.close(),
            _ => {}
        }
        self.leashes.stop_feeding();
    }

    /// The command, too, is told to end.
    pub(super) fn end_command(&mut self) {
        self.leashes.end_command();
    }

    /// Whether an engine still runs. It may be syncing what is complete, and wakes us when it is done; what it yields changes
    /// nothing any more.
    pub(super) fn poll_running(&mut self) -> bool {
        if let Stage::Files(engine) = &mut self.stage { engine.take_end().is_none() } else { false }
    }

    /// Nobody waits for anything of it any more.
    pub(super) fn abandon(&mut self, ctx: &mut Context<'_, Recv>, caller: &Caller, app: &AppName) {
        if let Stage::Files(_) = self.stage {
            self.tell_news(ctx, caller, app);
            self.stage = Stage::Over;
        }
    }
}
