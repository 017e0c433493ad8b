//! One session as its node sees it: how far it is, and what is to be done for it.

use super::circuits::CircuitId;
use super::key::Key;
use super::places::Place;
use super::timers::Timer;
use crate::identity::PeerId;
use crate::lane::PendingJoin;
use crate::names::AppName;
use crate::noise::Suite;
use crate::session::{Role, Session};
use std::time::{Duration, Instant};

/// Between two tries to call or join while the link is up: the other end may need as long to come back.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(300);

/// What a node can do for its sessions now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// Nothing.
    Down,
    /// Some output has yet to go out.
    Busy,
    /// All was written.
    Drained,
}

/// What is to be done for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// This lane is of no more use, and so is its circuit.
    DropLane(u32),
    /// Call its peer.
    Call,
    /// Join with a further lane.
    Join,
    /// Forget it.
    End,
    /// Nothing, until it is touched again or this time has come. `wake`: it may have something to send.
    Rest { wake: bool, next_timeout: Option<Instant> },
}

/// Which lane a circuit carries.
#[derive(Clone, Copy)]
pub(super) struct LaneCircuit {
    pub key: Key,
    pub circuit: CircuitId,
    pub lane: u32,
}

/// A circuit that is gone, and which lane it carried, if it carried one.
#[derive(Clone, Copy)]
pub(super) struct LostCircuit {
    pub key: Key,
    pub circuit: CircuitId,
    pub lane: Option<u32>,
}

/// What bytes of a lane came to, besides what they are to the session.
#[derive(Default)]
pub(super) struct Heard {
    /// The session has a circuit again, and the tool knows of it.
    pub is_resumed: bool,
    /// The tool could know of the session now.
    pub is_presentable: bool,
}

/// What becomes of a session whose circuit is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It goes on, or will be tried again.
    None,
    /// It has no lane, and the tool knows of it.
    Lane,
    /// It has come to nothing.
    Session,
}

/// A further lane that was begun.
pub(super) struct Joining {
    pub peer: PeerId,
    pub rendezvous: [u8; 16],
    pub pending: Box<PendingJoin>,
    pub first: Vec<u8>,
}

pub(super) enum Phase {
    /// Asked for; a CONNECT goes out with the next link.
    Calling { circuit: Option<CircuitId>, not_before: Option<Instant> },
    /// Called; its first lane's last handshake message is still to come, and comes by then or not at all.
    Answering { until: Instant },
    /// The handshake is done. `circuit` carries its lane, or is about to. `announced`: the tool knows of it. A caller
    /// announces a session when it has heard the peer, and calls afresh if the lane breaks before: nothing was said yet.
    /// The called side keeps it all the same, but announces it only when it has heard the caller.
    Up { session: Box<Session>, circuit: Option<CircuitId>, rejoin_at: Option<Instant>, announced: bool },
}

/// What a session was lent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lent {
    /// To take its output, which gives it nothing more to send.
    ForOutput,
    /// For whatever may be done with it.
    ForWork,
}

/// One session as its node sees it.
pub(super) struct Entry {
    pub peer: PeerId,
    pub app: AppName,
    pub phase: Phase,
    /// What it takes of the places of callers while the tool has it.
    pub place: Place,
    /// The tool is done with it.
    pub released: bool,
    /// It is to be looked at: what it needs may have changed.
    pub touched: bool,
    /// It was touched only by lending its session, which knows whether it has changed; None: for another reason, too.
    pub lent: Option<Lent>,
    /// What it has to send may have changed.
    pub woken: bool,
    pub timer: Timer,
}

impl Entry {
    pub(super) fn new(peer: PeerId, app: AppName, phase: Phase) -> Entry {
        Entry {
            peer,
            app,
            phase,
            place: Place::default(),
            released: false,
            touched: false,
            lent: None,
            woken: false,
            timer: Timer::default(),
        }
    }

    /// Whether all that was done since [`Entry::see_to`] is that its session was lent, and came back as it was.
    pub(super) fn is_unchanged(&self) -> bool {
        self.lent.is_some() && !self.session_ref().is_some_and(Session::has_changed)
    }

    /// Everything that it needs is done.
    pub(super) fn see_to(&mut self) {
        self.touched = false;
        let lent = self.lent.take();
        let Some(session) = self.session() else { return };
        let worked_with = lent == Some(Lent::ForWork) && session.has_changed();
        session.clear_changed();
        self.woken |= worked_with;
    }

    fn session_ref(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Up { session, .. } => Some(session),
            Phase::Calling { .. } | Phase::Answering { .. } => None,
        }
    }

    /// The session, once it is up.
    pub(super) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Up { session, .. } => Some(session),
            Phase::Calling { .. } | Phase::Answering { .. } => None,
        }
    }

    /// Whether the tool knows of it.
    pub(super) fn is_announced(&self) -> bool {
        matches!(self.phase, Phase::Up { announced: true, .. })
    }

    /// Its name at the relay, if it is a caller's.
    pub(super) fn rendezvous(&self) -> Option<[u8; 16]> {
        match &self.phase {
            Phase::Up { session, .. } if session.role() == Role::Responder => Some(session.rendezvous()),
            _ => None,
        }
    }

    /// The session was asked for, or is asked for again: not at the speed of the network.
    pub(super) fn call_again(&mut self, now: Instant) {
        self.phase = Phase::Calling { circuit: None, not_before: Some(now + RETRY_PAUSE) };
    }

    /// What it takes of the places of callers.
    pub(super) fn takes(&self) -> Place {
        match &self.phase {
            Phase::Up { session, announced: true, .. } if session.role() == Role::Responder => self.place,
            _ => Place::None,
        }
    }

    /// Whether it failed before the tool knew of it, or its caller does not say who it is, so that it is nobody's business.
    fn is_stillborn(&self, now: Instant) -> bool {
        match &self.phase {
            Phase::Up { session, announced, .. } => !announced && session.failure().is_some(),
            Phase::Answering { until } => *until <= now,
            Phase::Calling { .. } => false,
        }
    }

    /// Whether a caller asked for it.
    pub(super) fn is_answered(&self) -> bool {
        match &self.phase {
            Phase::Up { session, .. } => session.role() == Role::Responder,
            Phase::Answering { .. } => true,
            Phase::Calling { .. } => false,
        }
    }

    /// Whether a caller asked for it, and the tool does not know of it yet.
    pub(super) fn is_entering(&self) -> bool {
        self.is_answered() && !matches!(self.phase, Phase::Up { announced: true, .. })
    }

    /// Whether the tool is done with it, and so is the peer.
    pub(super) fn is_over(&self) -> bool {
        self.released
            && match &self.phase {
                Phase::Up { session, .. } => session.is_over() || session.failure().is_some(),
                Phase::Calling { .. } | Phase::Answering { .. } => true,
            }
    }

    /// Whether it wants a circuit.
    fn need(&self, now: Instant) -> Option<Action> {
        let is_due = |at: Option<Instant>| at.is_none_or(|at| at <= now);
        match &self.phase {
            Phase::Calling { circuit: None, not_before } => is_due(*not_before).then_some(Action::Call),
            Phase::Up { session, circuit, rejoin_at, .. } => {
                let can = session.role() == Role::Initiator && session.failure().is_none() && is_due(*rejoin_at);
                (can && (circuit.is_none() || session.wants_fresh_lane())).then_some(Action::Join)
            }
            Phase::Calling { .. } | Phase::Answering { .. } => None,
        }
    }

    /// When it is to be called or joined again, over a link that can do so. One that is over only waits for the link to take
    /// its last words.
    fn retry_timeout(&self, link: LinkState) -> Option<Instant> {
        match &self.phase {
            _ if link == LinkState::Down || self.is_over() => None,
            Phase::Calling { circuit: None, not_before } => *not_before,
            Phase::Up { session, circuit: None, rejoin_at, .. } if session.failure().is_none() => *rejoin_at,
            _ => None,
        }
    }

    pub(super) fn session_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Up { session, .. } => session.next_timeout(),
            Phase::Answering { until } => Some(*until),
            Phase::Calling { .. } => None,
        }
    }

    /// When something is to be done for it, as it stands.
    pub(super) fn next_timeout(&self, link: LinkState) -> Option<Instant> {
        self.session_timeout().into_iter().chain(self.retry_timeout(link)).min()
    }

    /// It is called or joined again, but not before that.
    pub(super) fn postpone(&mut self, until: Instant) {
        match &mut self.phase {
            Phase::Calling { circuit, not_before } => (*circuit, *not_before) = (None, Some(until)),
            Phase::Up { rejoin_at, .. } => *rejoin_at = Some(until),
            Phase::Answering { .. } => {}
        }
    }

    pub(super) fn postpone_join(&mut self, now: Instant) {
        if let Phase::Up { rejoin_at, .. } = &mut self.phase {
            *rejoin_at = Some(now + RETRY_PAUSE);
        }
    }

    /// Begins a further lane.
    pub(super) fn start_join(&mut self, now: Instant, suite: Suite) -> Option<Joining> {
        self.postpone_join(now);
        let peer = self.peer;
        let session = self.session()?;
        let (pending, first) = session.start_join(suite).ok()?;
        Some(Joining { peer, rendezvous: session.rendezvous(), pending: Box::new(pending), first })
    }

    /// Takes bytes of a lane.
    pub(super) fn handle_bytes(&mut self, now: Instant, from: LaneCircuit, bytes: &[u8]) -> Heard {
        let Phase::Up { session, circuit, announced, .. } = &mut self.phase else { return Heard::default() };
        // An error stays in the session, for the tool to find.
        let _ = session.handle_bytes(now, from.lane, bytes);
        // A joined lane that has shown that it is real is the session's from now on.
        let is_adopted = session.is_confirmed(from.lane) && *circuit != Some(from.circuit);
        if is_adopted {
            *circuit = Some(from.circuit);
        }
        Heard { is_resumed: is_adopted && *announced, is_presentable: !*announced && session.is_heard() }
    }

    /// A circuit of it is gone.
    pub(super) fn handle_lost(&mut self, now: Instant, lost: LostCircuit) -> Loss {
        match &mut self.phase {
            Phase::Calling { .. } => self.call_again(now),
            Phase::Answering { .. } => return Loss::Session,
            Phase::Up { session, announced: false, .. } if session.role() == Role::Initiator => self.call_again(now),
            Phase::Up { session, circuit, announced, .. } => {
                if let Some(lane) = lost.lane {
                    session.drop_lane(now, lane);
                }
                if *circuit == Some(lost.circuit) {
                    *circuit = None;
                    if *announced && lost.lane.is_some() {
                        return Loss::Lane;
                    }
                }
            }
        }
        Loss::None
    }

    /// What is to be done for it first, with a link in this state; then ask again.
    pub(super) fn next_action(&mut self, now: Instant, link: LinkState) -> Action {
        let mut next_timeout = self.session_timeout();
        if let Phase::Up { session, .. } = &mut self.phase {
            if next_timeout.is_some_and(|at| at <= now) {
                // An error stays in the session, for the tool to find.
                let _ = session.handle_timeout(now);
                next_timeout = session.next_timeout();
                // What has come due, an acknowledgement perhaps, wants to go out, whatever it was lent for.
                self.woken = true;
            }
            if let Some(lane) = session.poll_dead_lane() {
                return Action::DropLane(lane);
            }
        }
        let is_over = self.is_over();
        if self.is_stillborn(now) || (is_over && link != LinkState::Busy) {
            return Action::End;
        }
        let need = if link == LinkState::Down || is_over { None } else { self.need(now) };
        need.unwrap_or_else(|| {
            self.see_to();
            let next_timeout = next_timeout.into_iter().chain(self.retry_timeout(link)).min();
            Action::Rest { wake: std::mem::take(&mut self.woken), next_timeout }
        })
    }
}
