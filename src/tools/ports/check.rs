//! `vp-portrep check`: whether a mapping works, hop by hop.

use crate::identity::PeerId;
use crate::net::reactor::Ready;
use crate::net::signals::Request;
use crate::node::{Down, Failure};
use crate::node::{Event, Key};
use crate::ports::service::{Service, Wish};
use crate::run;
use crate::run::farewell::Farewell;
use crate::run::tool::{Context, RunError, Tool};
use crate::session::Event as SessionEvent;
use crate::wire::CloseCode;
use std::time::{Duration, Instant};

/// How long the far side has for its answer: longer than it gives its target.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// A part of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// From here to a relay.
    Relay,
    /// From the relay to the peer.
    Peer,
    /// From the peer's key to what it may use.
    Export,
    /// From the peer to the target.
    Target,
}

/// What became of a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passage {
    /// It works.
    Ok,
    /// Nobody is there.
    Absent,
    /// Somebody is there and says no.
    Refused,
    /// There is no way.
    Unreachable,
    /// There may be a way, but nobody answers.
    Silent,
    /// Somebody is there who should not be, or who does not do what he should.
    Wrong,
}

/// The tool.
pub(crate) struct Check {
    peer: PeerId,
    service: Service,
    relay_told: bool,
    key: Option<Key>,
    deadline: Option<Instant>,
    verdict: Option<Result<(), RunError>>,
    finished: bool,
}

impl Check {
    /// Of this service of a peer.
    pub(crate) fn new(peer: PeerId, service: Service) -> Check {
        Check { peer, service, relay_told: false, key: None, deadline: None, verdict: None, finished: false }
    }

    fn tell(ctx: &mut Context<'_, Check>, hop: Hop, passage: Passage) {
        (ctx.news)(News::Hop(hop, passage));
    }

    fn handle_failure(&mut self, ctx: &mut Context<'_, Check>, why: Failure) {
        if matches!(why, Failure::NotServed | Failure::WrongKind { .. }) {
            Self::tell(ctx, Hop::Peer, Passage::Ok);
        }
        let (hop, passage) = match why {
            Failure::NotServed | Failure::Unserved => (Hop::Export, Passage::Absent),
            Failure::WrongKind { .. } => (Hop::Export, Passage::Wrong),
            // A relay says nothing to who means another one: somebody is there who does not do what he should.
            Failure::NoRelay(Down::Impostor | Down::Unproven) => (Hop::Relay, Passage::Wrong),
            Failure::NoRelay(_) => (Hop::Relay, Passage::Unreachable),
            Failure::RefusedByRelay(_) => (Hop::Relay, Passage::Refused),
            // A check receives nothing that another could receive too.
            Failure::PeerAbsent | Failure::SessionGone | Failure::Yielded => (Hop::Peer, Passage::Absent),
            Failure::RefusedByPeer(_) => (Hop::Peer, Passage::Refused),
            Failure::PeerUnauthentic => (Hop::Peer, Passage::Wrong),
        };
        Self::tell(ctx, hop, passage);
        self.verdict = Some(Err(RunError::Node(why)));
        self.finished = true;
    }

    /// The far side has answered, or the session has ended without an answer.
    fn conclude(&mut self, ctx: &mut Context<'_, Check>, key: Key, result: Result<(), RunError>) {
        self.verdict.get_or_insert(result);
        if let Some(session) = ctx.node.session(key) {
            session.close(CloseCode::Done);
        }
        ctx.node.release(ctx.now, key);
        self.deadline = Some(Farewell::Answered.until(ctx.now));
    }

    fn handle_answer(&mut self, ctx: &mut Context<'_, Check>, key: Key, refused: Option<CloseCode>) {
        let target = match refused {
            None => Passage::Ok,
            Some(CloseCode::TargetRefused) => Passage::Refused,
            Some(CloseCode::TargetUnreachable) => Passage::Unreachable,
            Some(code) => {
                Self::tell(ctx, Hop::Export, Passage::Refused);
                return self.conclude(ctx, key, Err(RunError::PeerClosed(code)));
            }
        };
        Self::tell(ctx, Hop::Export, Passage::Ok);
        Self::tell(ctx, Hop::Target, target);
        self.conclude(ctx, key, refused.map_or(Ok(()), |code| Err(RunError::PeerClosed(code))));
    }
}

/// What it has to say.
#[derive(Debug)]
pub(crate) enum News<'a> {
    /// What every tool has to say.
    Run(run::News<'a>),
    /// How far the mapping works: one hop of it.
    Hop(Hop, Passage),
}

impl<'a> From<run::News<'a>> for News<'a> {
    fn from(news: run::News<'a>) -> News<'a> {
        News::Run(news)
    }
}

impl Tool for Check {
    type News<'a> = News<'a>;
    type Error = RunError;

    fn start(&mut self, ctx: &mut Context<'_, Check>) {
        ctx.node.call(ctx.now, self.peer, self.service.app.clone());
    }

    fn handle_event(&mut self, ctx: &mut Context<'_, Check>, event: &Event) {
        match event {
            Event::RelayUp { .. } if !std::mem::replace(&mut self.relay_told, true) => {
                Self::tell(ctx, Hop::Relay, Passage::Ok);
            }
            Event::Up { key, .. } => {
                Self::tell(ctx, Hop::Peer, Passage::Ok);
                ctx.node.handle_served();
                self.key = Some(*key);
                self.deadline = Some(ctx.now + ANSWER_TIME);
                let text = self.service.text(Wish::Probe);
                if let Some(session) = ctx.node.session(*key) {
                    session.open_stream(ctx.now, &text);
                }
            }
            // It may come yet, but what was asked is whether it works now.
            Event::NotServed { .. } => self.handle_failure(ctx, Failure::NotServed),
            Event::Limited { .. } => self.handle_failure(ctx, Failure::RefusedByPeer(CloseCode::Limit)),
            Event::Failed { why, .. } | Event::Fatal { why } => self.handle_failure(ctx, *why),
            _ => {}
        }
    }

    fn handle_ready(&mut self, _: &mut Context<'_, Check>, _: Ready) {}

    fn pump(&mut self, ctx: &mut Context<'_, Check>) -> bool {
        let Some(key) = self.key else { return false };
        let failure = ctx.node.session(key).and_then(|session| session.failure());
        if let (Some(error), None) = (failure, &self.verdict) {
            self.conclude(ctx, key, Err(error.into()));
        }
        while let Some(event) = ctx.node.session(key).and_then(|session| session.poll_event()) {
            match event {
                SessionEvent::StreamAccepted { .. } => self.handle_answer(ctx, key, None),
                SessionEvent::StreamRefused { code, .. } => {
                    self.handle_answer(ctx, key, Some(CloseCode::from_wire(code)));
                }
                SessionEvent::Closed { code } => {
                    self.conclude(ctx, key, Err(RunError::PeerClosed(CloseCode::from_wire(code))));
                }
                SessionEvent::StreamOpened { id, .. } => {
                    if let Some(session) = ctx.node.session(key) {
                        session.stream_mut(id).refuse(CloseCode::NotHere);
                    }
                }
            }
        }
        let late = self.deadline.is_some_and(|at| at <= ctx.now);
        if late && self.verdict.is_none() {
            Self::tell(ctx, Hop::Export, Passage::Silent);
            self.verdict = Some(Err(RunError::Expired));
        }
        self.finished |= self.verdict.is_some() && (late || !ctx.node.knows(key));
        false
    }

    fn handle_signal(&mut self, _: &mut Context<'_, Check>, request: Request) {
        if let Request::End(signal) = request {
            self.verdict = Some(Err(RunError::Signal(signal)));
            self.finished = true;
        }
    }

    fn outcome(&mut self) -> Option<Result<(), RunError>> {
        if self.finished { self.verdict.take() } else { None }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}
