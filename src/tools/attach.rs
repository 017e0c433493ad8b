//! `vp-attach`: a session joined to standard input and output, or to a program.

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
use crate::node::{Event, Key, Reach};
use crate::run;
use crate::run::callers::{Reload, reread};
use crate::run::farewell::{Farewell, held_until};
use crate::run::joint::{self, Joint, Way};
use crate::run::tool::{Context, Doing, RunError, Tool};
use crate::session::Event as SessionEvent;
use crate::wire::CloseCode;
use callers::{Caller, Orphan, Waiting};
use running::Running;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
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
    /// Callers that have opened no stream yet.
    waiting: Vec<Waiting>,
    running: BTreeMap<usize, Running>,
    /// Sessions whose end the peer has still to learn of, and when to stop waiting for that.
    closing: Vec<(Key, Instant)>,
    /// Programs that were told to end.
    orphans: BTreeMap<usize, Orphan>,
    next_slot: usize,
    /// Somebody was joined to something.
    begun: bool,
    result: Result<(), Error>,
    finished: bool,
    stopping: Option<i32>,
}

impl Attach {
    /// A tool that has not begun.
    pub(crate) fn new(options: Options) -> Attach {
        Attach {
            options,
            waiting: Vec::new(),
            running: BTreeMap::new(),
            closing: Vec::new(),
            orphans: BTreeMap::new(),
            next_slot: 0,
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
        for Waiting { caller: Caller { key, .. }, .. } in std::mem::take(&mut self.waiting) {
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
        self.running.insert(slot, Running::new(caller, joint, child));
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
                    let place = self.waiting.iter().position(|waiting| waiting.caller.key == key && meant);
                    let Some(place) = place else {
                        if let Some(session) = ctx.node.session(key) {
                            session.stream_mut(id).refuse(CloseCode::Refused);
                        }
                        continue;
                    };
                    let Waiting { caller, .. } = self.waiting.swap_remove(place);
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
                    let running = self.running.values_mut().find(|running| running.joint.key == key);
                    if let Some(running) = running {
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
    fn tell_end(&self, ctx: &mut Context<'_, Attach>, key: Key, error: Option<&Error>) {
        let running = self.running.values().find(|running| running.joint.key == key);
        if let (Some(running), Some((peer, app))) = (running, ctx.node.called(key)) {
            (ctx.news)(News::Joined(peer, app.as_str(), &running.joint.end(error)));
        }
    }

    /// Takes the joint apart and lets the node settle the rest, within a bound: without a path it could take for ever.
    fn retire(&mut self, ctx: &mut Context<'_, Attach>, key: Key, farewell: Farewell) {
        self.waiting.retain(|waiting| waiting.caller.key != key);
        let slot = self.running.iter().find(|(_, running)| running.joint.key == key).map(|(slot, _)| *slot);
        if let Some(mut running) = slot.and_then(|slot| self.running.remove(&slot)) {
            if let Some(mut source) = running.joint.source.take() {
                source.deregister(ctx.registry);
            }
            if let Some(sink) = running.joint.sink.take() {
                // Nothing more will be written: an error of closing changes nothing.
                let _ = sink.close(ctx.registry);
            }
            if let Some(child) = running.child.take().filter(|_| running.child_code.is_none()) {
                // It stays until its end can be collected, or it would be a zombie for as long as we live.
                child.terminate();
                self.orphans.insert(running.caller.slot, Orphan::new(ctx.now, running.caller.peer, child));
            }
        }
        ctx.node.release(ctx.now, key);
        self.closing.push((key, farewell.until(ctx.now)));
    }

    fn pump_one(&mut self, ctx: &mut Context<'_, Attach>, slot: usize) -> Result<bool, (Key, Error)> {
        let Some(running) = self.running.get_mut(&slot) else { return Ok(false) };
        let key = running.joint.key;
        let failed = |error: RunError| (key, error.into());
        let mut moved = running.joint.pump(ctx).map_err(failed)?;
        // With nobody left to read, what is still to be sent counts only if all of it is here already.
        if running.joint.is_sink_gone() && self.options.exec.is_none() && running.joint.source.is_some() {
            return Err((key, Error::OutputGone));
        }
        let Some(session) = ctx.node.session(key) else { return Err((key, Error::Run(RunError::Expired))) };
        if let Some(error) = session.failure() {
            return Err((key, error.into()));
        }
        if running.child_code.is_some() && running.joint.source.is_none() && running.joint.inward() == Way::Open {
            // The program has ended and all it wrote is on its way: what it did not read is not wanted.
            running.joint.end_inward(session, ctx.registry, CloseCode::Done).map_err(failed)?;
            moved = true;
        }
        running.held_until.take_if(|at| *at <= ctx.now);
        let ended = running.child_code.is_some() && running.held_until.is_none();
        let working = running.child.is_some() && !ended;
        let broken_off = running.peer_closed.is_some_and(|number| number != CloseCode::Done.to_wire());
        let no_more = running.peer_closed.is_some() && session.stream(running.joint.stream).readable().is_empty();
        if !running.closed && (broken_off || (!working && (running.joint.is_over() || no_more))) {
            running.close(session);
            moved = true;
        }
        // The peer's last word carries the fate of its program, so it is waited for.
        if running.closed && running.peer_closed.is_some() {
            if let Err(error) = running.verdict() {
                return Err((key, error));
            }
            self.tell_end(ctx, key, None);
            self.retire(ctx, key, Farewell::Settled);
            return Ok(true);
        }
        Ok(moved)
    }

    fn reap_child(&mut self, now: Instant, slot: usize) -> io::Result<()> {
        if let Some(orphan) = self.orphans.get_mut(&slot) {
            if orphan.child.try_wait()?.is_some() {
                self.orphans.remove(&slot);
            }
            return Ok(());
        }
        let Some(running) = self.running.get_mut(&slot) else { return Ok(()) };
        let Some(child) = &mut running.child else { return Ok(()) };
        if let Some(ended) = child.try_wait()? {
            running.status = ended.number();
            running.held_until = held_until(now, running.status);
            running.child_code = Some(if running.status == 0 { CloseCode::Done } else { CloseCode::Failed });
        }
        Ok(())
    }

    /// Ends every session, and nobody is waited for long.
    fn interrupt(&mut self, ctx: &mut Context<'_, Attach>, signal: i32) {
        self.stopping = Some(signal);
        self.unlisten(ctx);
        let running = self.running.values().map(|running| running.joint.key);
        let keys: Vec<Key> = self.waiting.iter().map(|waiting| waiting.caller.key).chain(running).collect();
        for key in keys {
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
                let caller = Caller::new(ctx.now, self.next_slot, *key, *peer);
                self.next_slot += 1;
                if let DialOrListen::Listen { .. } = self.options.end {
                    self.waiting.push(Waiting::new(caller));
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
            if let Err(error) = self.reap_child(ctx.now, slot) {
                if let Some(key) = self.running.get(&slot).map(|running| running.joint.key) {
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
        let Some(running) = self.running.get_mut(&slot) else { return };
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
        let running: Vec<Key> = self.running.values().map(|running| running.joint.key).collect();
        running.into_iter().for_each(|key| self.handle_session_events(ctx, key));
        moved |= self.check_greeting_times(ctx);
        let slots: Vec<usize> = self.running.keys().copied().collect();
        for slot in slots {
            match self.pump_one(ctx, slot) {
                Ok(any) => moved |= any,
                Err((key, error)) => {
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
        let idle = self.running.is_empty() && self.closing.is_empty() && self.waiting.is_empty();
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

    fn next_timeout(&self) -> Option<Instant> {
        let held = self.running.values().filter_map(|running| running.held_until);
        let closing = self.closing.iter().map(|(_, at)| *at);
        let greeting = self.waiting.iter().map(|waiting| waiting.greet_by);
        let gives_way = self.next_to_go().map(|going| going.at);
        let ending = self.orphans.values().filter_map(|orphan| orphan.ends_by);
        closing.chain(greeting).chain(held).chain(gives_way).chain(ending).min()
    }
}
