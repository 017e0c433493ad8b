//! `vp-attach`: a session joined to standard input and output, or to a program.

mod caller;
mod callers;
mod news;
mod running;

pub(crate) use news::{Error, News};

use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::child::{Child, spawn};
use crate::net::reactor::{FIRST_TOKEN, Ready, Token};
use crate::net::signals::Request;
use crate::net::stdio::{Sink, Source};
use crate::node::{Event, Key, Place, Reach};
use crate::run;
use crate::run::callers::{Reload, reread};
use crate::run::farewell::Farewell;
use crate::run::joint::{self, Joint};
use crate::run::tool::{Breach, Context, Doing, RunError, Tool};
use crate::run::turns::Waits;
use crate::session::Event as SessionEvent;
use crate::wire::CloseCode;
use caller::Caller;
use callers::Callers;
use running::{Pumped, Running};
use std::ffi::OsString;
use std::time::Instant;

/// Which end this is.
#[derive(Clone, Debug)]
pub(crate) enum DialOrListen {
    /// Calls this application of this peer.
    Dial(PeerId, AppName),
    /// Waits for callers of this application.
    Listen {
        /// The application.
        app: AppName,
        /// Goes on after the first session.
        keep: bool,
    },
}

/// Which directions are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Directions {
    /// Both.
    Both,
    /// Ours to the peer only.
    SendOnly,
    /// The peer's to us only.
    RecvOnly,
}

/// What `vp-attach` was asked to do.
pub(crate) struct Options {
    /// Which end.
    pub end: DialOrListen,
    /// The program to join sessions to, instead of standard input and output.
    pub exec: Option<OsString>,
    /// Which directions are joined.
    pub directions: Directions,
    /// Sessions at once, as the node was told.
    pub sessions_max: usize,
    /// How the environment of a program names the peer: by petname, if it has one.
    pub peer_name: Box<dyn Fn(&PeerId) -> String>,
    /// What SIGHUP does to a listener.
    pub reload: Reload,
}

/// Tokens of one joint: its source, its sink, its child.
const TOKENS: usize = 4;

/// Where a session's bytes come from and go to, and the program that is both.
type Ends = (Option<Source>, Option<Sink>, Option<Child>);

/// The tool.
pub(crate) struct Attach {
    options: Options,
    callers: Callers,
    /// Sessions whose end the peer has still to learn of, and when to stop waiting for that.
    closing: Vec<(Key, Instant)>,
    /// Somebody was joined to something.
    begun: bool,
    result: Result<(), Error>,
    finished: bool,
    stopping: Option<i32>,
}

impl Attach {
    /// A tool that has not begun.
    pub(crate) fn new(options: Options) -> Attach {
        let keeps = matches!(options.end, DialOrListen::Listen { keep: true, .. });
        Attach {
            callers: Callers::new(keeps.then_some(options.sessions_max)),
            options,
            closing: Vec::new(),
            begun: false,
            result: Ok(()),
            finished: false,
            stopping: None,
        }
    }

    fn keeps(&self) -> bool {
        matches!(self.options.end, DialOrListen::Listen { keep: true, .. })
    }

    /// Whether it serves one caller, and has had him: whatever became of that is the tool's end.
    fn is_spent(&self) -> bool {
        matches!(self.options.end, DialOrListen::Listen { keep: false, .. }) && (self.begun || self.result.is_err())
    }

    fn unlisten(&mut self, ctx: &mut Context<'_, Attach>) {
        if let DialOrListen::Listen { app, .. } = &self.options.end {
            ctx.node.unlisten(ctx.now, app);
        }
    }

    /// Turns away whoever came as well, if only one is served. Nothing was taken of him yet.
    fn turn_others_away(&mut self, ctx: &mut Context<'_, Attach>) {
        if !self.is_spent() {
            return;
        }
        self.unlisten(ctx);
        for Caller { key, .. } in self.callers.take_all_waiting() {
            if let Some(session) = ctx.node.session(key) {
                session.close(CloseCode::GoingAway);
            }
            self.retire(ctx, key, Farewell::Hasty);
        }
    }

    fn finish(&mut self, result: Result<(), Error>) {
        if !self.finished {
            self.finished = true;
            self.result = result;
        }
    }

    fn begin(&mut self, ctx: &mut Context<'_, Attach>, caller: Caller, stream: u32) -> Result<(), Error> {
        let (key, slot) = (caller.key, caller.slot);
        self.begun = true;
        let (mut source, mut sink, child) = self.ends(ctx, key)?;
        match self.options.directions {
            Directions::Both => {}
            Directions::SendOnly => sink = None,
            Directions::RecvOnly => source = None,
        }
        let base = FIRST_TOKEN + slot * TOKENS;
        let io = |error| Error::Run(RunError::Io(Doing::Watch, error));
        if let Some(source) = &mut source {
            source.register(ctx.registry, Token(base)).map_err(io)?;
        }
        if let Some(sink) = &mut sink {
            sink.register(ctx.registry, Token(base + 1)).map_err(io)?;
        }
        if let Some(child) = &child {
            child.register(ctx.registry, Token(base + 2)).map_err(io)?;
        }
        let Some(session) = ctx.node.session(key) else { return Ok(()) };
        let mut joint = Joint::new(session, key, stream, joint::Ends { source, sink });
        if self.options.exec.is_some() {
            joint = joint.may_lose_reader();
        }
        self.callers.join(Running::new(caller, joint, child));
        Ok(())
    }

    fn ends(&self, ctx: &Context<'_, Attach>, key: Key) -> Result<Ends, Error> {
        let Some(command) = &self.options.exec else {
            let source = Source::stdin().map_err(|error| Error::Run(RunError::Io(Doing::OpenStdin, error)))?;
            let sink = Sink::stdout().map_err(|error| Error::Run(RunError::Io(Doing::OpenStdout, error)))?;
            return Ok((Some(source), Some(sink), None));
        };
        let (peer, app) = ctx.node.called(key).ok_or(Error::Run(RunError::Expired))?;
        let environment = [("VP_PEER", (self.options.peer_name)(&peer)), ("VP_APP", app.to_string())];
        let spawned =
            spawn(command, &environment).map_err(|error| Error::Run(RunError::Io(Doing::StartCommand, error)))?;
        Ok((Some(spawned.source), Some(spawned.sink), Some(spawned.child)))
    }

    fn handle_session_events(&mut self, ctx: &mut Context<'_, Attach>, key: Key) {
        while let Some(event) = ctx.node.session(key).and_then(crate::session::Session::poll_event) {
            match event {
                SessionEvent::StreamOpened { id, service } => {
                    // Whoever asks for anything else, or only whether it would work, is not joined to anything.
                    let meant = ctx.node.called(key).is_some_and(|(_, app)| app.as_str().as_bytes() == service);
                    let caller = if meant { self.callers.take_waiting(key) } else { None };
                    let Some(caller) = caller else {
                        if let Some(session) = ctx.node.session(key) {
                            session.stream_mut(id).refuse(CloseCode::Refused);
                        }
                        continue;
                    };
                    if let Some(session) = ctx.node.session(key) {
                        session.stream_mut(id).accept();
                    }
                    if let Err(error) = self.begin(ctx, caller, id) {
                        self.session_failed(ctx, key, error, CloseCode::Failed);
                    }
                    self.turn_others_away(ctx);
                }
                SessionEvent::StreamRefused { code, .. } => {
                    let code = CloseCode::from_wire(code);
                    self.session_failed(ctx, key, Error::Run(RunError::PeerClosed(code)), CloseCode::Done);
                }
                SessionEvent::Closed { code } => {
                    if let Some(running) = self.callers.of(key) {
                        running.peer_closed = Some(code);
                    }
                }
                SessionEvent::StreamAccepted { .. } => ctx.node.handle_served(),
            }
        }
    }

    /// Takes the new list of who may call. Sessions of those who may no more end.
    fn handle_reload(&mut self, ctx: &mut Context<'_, Attach>) {
        ctx.node.hurry(ctx.now);
        if let DialOrListen::Dial(..) = self.options.end {
            return;
        }
        let Some(taken) = reread(ctx, &mut self.options.reload) else { return };
        for key in taken.outcasts {
            // Those that are about to end anyway have nothing left to say.
            if !self.closing.iter().any(|(closing, _)| *closing == key) {
                self.session_failed(ctx, key, Error::Run(RunError::CastOut), CloseCode::Refused);
            }
        }
    }

    /// One session of a tool that may go on has come to a bad end.
    fn session_failed(&mut self, ctx: &mut Context<'_, Attach>, key: Key, error: Error, code: CloseCode) {
        if let Some(session) = ctx.node.session(key) {
            match &error {
                Error::Command(status) => session.close_failed(*status),
                _ => session.close(code),
            }
        }
        self.tell_end(ctx, key, Some(&error));
        let farewell =
            if matches!(error, Error::Run(RunError::CastOut)) { Farewell::CastOut } else { Farewell::Settled };
        self.retire(ctx, key, farewell);
        if self.keeps() {
            if let Some(peer) = ctx.node.peer(key) {
                (ctx.news)(News::SessionFailed(peer, &error));
            }
        } else {
            self.result = Err(error);
            self.turn_others_away(ctx);
        }
    }

    /// Tells how a joint ended, if there was one.
    fn tell_end(&mut self, ctx: &mut Context<'_, Attach>, key: Key, error: Option<&Error>) {
        if let (Some(running), Some((peer, app))) = (self.callers.of(key), ctx.node.called(key)) {
            (ctx.news)(News::Joined(peer, app.as_str(), &running.joint.end(error)));
        }
    }

    /// Takes the joint apart and lets the node settle the rest, within a bound: without a path it could take for ever.
    fn retire(&mut self, ctx: &mut Context<'_, Attach>, key: Key, farewell: Farewell) {
        self.callers.remove(ctx.now, ctx.registry, key);
        ctx.node.release(ctx.now, key);
        self.closing.push((key, farewell.until(ctx.now)));
    }

    fn pump_one(&mut self, ctx: &mut Context<'_, Attach>, slot: usize) -> Result<bool, Error> {
        let Some(running) = self.callers.joined(slot) else { return Ok(false) };
        let key = running.joint.key;
        let pumped = running.pump(ctx)?;
        if pumped == Pumped::Ended {
            self.tell_end(ctx, key, None);
            self.retire(ctx, key, Farewell::Settled);
        }
        Ok(pumped != Pumped::Nothing)
    }

    /// Has those give way for whose places others wait.
    fn make_room(&mut self, ctx: &mut Context<'_, Attach>) {
        while let Some(key) = self.callers.poll_to_go(ctx.now) {
            self.session_failed(ctx, key, Error::GaveWay, CloseCode::Cancelled);
        }
    }

    /// Hears callers whose turn it is. The others wait for us, not we for them, unless they have gone.
    fn hear_callers(&mut self, ctx: &mut Context<'_, Attach>) {
        let mut places = self.callers.places();
        for caller in self.callers.in_order() {
            let failure = ctx.node.session(caller.key).and_then(|session| session.failure());
            if let Some(error) = failure {
                self.session_failed(ctx, caller.key, error.into(), CloseCode::Protocol);
            } else if self.callers.waits(&places, &caller) == Waits::Not {
                self.handle_session_events(ctx, caller.key);
                if self.callers.joined(caller.slot).is_some() {
                    places.take(caller.peer);
                }
            } else if caller.is_given_up(ctx.now) {
                // It had no place, and is nobody's business.
                self.callers.take_waiting(caller.key);
                ctx.node.abandon(ctx.now, caller.key);
            } else {
                self.callers.greet_anew(ctx.now, &caller);
            }
        }
    }

    /// Lets go of callers that have a path to us and say nothing. True if there were any.
    fn check_greeting_times(&mut self, ctx: &mut Context<'_, Attach>) -> bool {
        let silent = self.callers.silent(ctx.now, ctx.node);
        for key in &silent {
            let error = Error::Run(RunError::Protocol(Breach::SaidNothing));
            self.session_failed(ctx, *key, error, CloseCode::Protocol);
        }
        !silent.is_empty()
    }

    /// The session lost its path, or has one again.
    fn handle_path(&mut self, ctx: &mut Context<'_, Attach>, key: Key, reach: Reach) {
        self.callers.handle_path(key, reach);
        if self.keeps() {
            ctx.node.set_place(ctx.now, key, if reach.has_path() { Place::Own } else { Place::None });
        }
    }

    /// Ends every session, and nobody is waited for long.
    fn interrupt(&mut self, ctx: &mut Context<'_, Attach>, signal: i32) {
        self.stopping = Some(signal);
        self.unlisten(ctx);
        for key in self.callers.keys() {
            if let Some(session) = ctx.node.session(key) {
                session.close(CloseCode::GoingAway);
            }
            self.tell_end(ctx, key, Some(&Error::Run(RunError::Signal(signal))));
            self.retire(ctx, key, Farewell::Hasty);
        }
        // Those that were about to end anyway hold nobody up either.
        let until = Farewell::Hasty.until(ctx.now);
        self.closing.iter_mut().for_each(|(_, at)| *at = until.min(*at));
    }
}

impl Tool for Attach {
    type News<'a> = News<'a>;
    type Error = Error;

    fn start(&mut self, ctx: &mut Context<'_, Attach>) {
        match &self.options.end {
            DialOrListen::Dial(peer, app) => {
                ctx.node.call(ctx.now, *peer, app.clone());
            }
            DialOrListen::Listen { app, .. } => ctx.node.listen(app.clone()),
        }
    }

    fn handle_event(&mut self, ctx: &mut Context<'_, Attach>, event: &Event) {
        match event {
            Event::Up { key, peer, app } => {
                let caller = self.callers.number(ctx.now, *key, *peer);
                if let DialOrListen::Listen { .. } = self.options.end {
                    self.callers.wait(caller);
                    return self.turn_others_away(ctx);
                }
                let stream = ctx.node.session(*key).and_then(|s| s.open_stream(ctx.now, app.as_str()));
                if let Some(stream) = stream {
                    if let Err(error) = self.begin(ctx, caller, stream) {
                        self.session_failed(ctx, *key, error, CloseCode::Failed);
                    }
                }
            }
            Event::Lost { key } => self.handle_path(ctx, *key, Reach::lost(ctx.now)),
            Event::Resumed { key } => self.handle_path(ctx, *key, Reach::default()),
            Event::Failed { key, why } => {
                let error = Error::Run(RunError::Node(*why));
                if self.keeps() {
                    self.session_failed(ctx, *key, error, CloseCode::Done);
                } else {
                    self.finish(Err(error));
                }
            }
            Event::Fatal { why } => self.finish(Err(Error::Run(RunError::Node(*why)))),
            _ => {}
        }
    }

    fn handle_ready(&mut self, ctx: &mut Context<'_, Attach>, ready: Ready) {
        let place = ready.token.0 - FIRST_TOKEN;
        let (slot, which) = (place / TOKENS, place % TOKENS);
        if which == 2 {
            if let Err(error) = self.callers.reap(ctx.now, slot) {
                if let Some(key) = self.callers.joined(slot).map(|running| running.joint.key) {
                    self.session_failed(
                        ctx,
                        key,
                        Error::Run(RunError::Io(Doing::AwaitCommand, error)),
                        CloseCode::Failed,
                    );
                }
            }
            return;
        }
        let Some(running) = self.callers.joined(slot) else { return };
        match (which, &mut running.joint.source, &mut running.joint.sink) {
            (0, Some(source), _) => source.handle_ready(),
            // A reader that went is noticed by writing to it: there may be nothing left to write.
            (1, _, Some(sink)) => sink.handle_ready(false),
            _ => {}
        }
    }

    fn pump(&mut self, ctx: &mut Context<'_, Attach>) -> bool {
        let mut moved = false;
        self.make_room(ctx);
        self.hear_callers(ctx);
        self.callers.all_joined().into_iter().for_each(|(_, key)| self.handle_session_events(ctx, key));
        moved |= self.check_greeting_times(ctx);
        for (slot, key) in self.callers.all_joined() {
            match self.pump_one(ctx, slot) {
                Ok(any) => moved |= any,
                Err(error) => {
                    let code = match &error {
                        Error::Command(_) => CloseCode::Failed,
                        _ => CloseCode::Cancelled,
                    };
                    self.session_failed(ctx, key, error, code);
                    moved = true;
                }
            }
        }
        for (key, _) in self.closing.iter().filter(|(_, at)| *at <= ctx.now) {
            ctx.node.abandon(ctx.now, *key);
        }
        self.closing.retain(|(key, _)| ctx.node.knows(*key));
        if self.finished {
            return moved;
        }
        let idle = self.callers.is_empty() && self.closing.is_empty();
        let begun = self.begun || self.result.is_err();
        if idle && self.stopping.is_some() {
            let signal = self.stopping.unwrap_or_default();
            self.finish(Err(Error::Run(RunError::Signal(signal))));
        } else if idle && begun && !self.keeps() {
            let result = std::mem::replace(&mut self.result, Ok(()));
            self.finish(result);
        }
        moved
    }

    fn handle_signal(&mut self, ctx: &mut Context<'_, Attach>, request: Request) {
        match request {
            Request::Refresh => self.handle_reload(ctx),
            Request::Status => (ctx.news)(run::News::Status.into()),
            Request::End(signal) => self.interrupt(ctx, signal),
        }
    }

    fn outcome(&mut self) -> Option<Result<(), Error>> {
        self.finished.then(|| std::mem::replace(&mut self.result, Ok(())))
    }

    fn reload_at(&self) -> Option<Instant> {
        self.options.reload.again_at()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let closing = self.closing.iter().map(|(_, at)| *at);
        closing.chain(self.callers.next_timeout()).min()
    }
}
