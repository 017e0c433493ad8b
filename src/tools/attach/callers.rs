//! Who has called, and whose turn it is: there are places for so many commands, and whoever has none waits for one.

use super::{Attach, Error};
use crate::identity::PeerId;
use crate::net::child::Child;
use crate::node::{Key, Place, Places, Reach};
use crate::run::farewell::{GREETING_TIME, is_silent};
use crate::run::tool::{Breach, Context, RunError};
use crate::run::turns::{self, GIVES_WAY_AFTER, Going, Standing, To, Waits};
use crate::wire::CloseCode;
use std::time::{Duration, Instant};

/// A program that was told to end is about to, for so long.
const ENDING_TIME: Duration = Duration::from_secs(10);
/// A session idles here as long as it likes; one without a path gives way to whoever waits.
const TO: To = To::Anybody { patience: None };

/// The other end of a session.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    /// Its number among all that came, in order.
    pub slot: usize,
    /// The session.
    pub key: Key,
    /// Who it is.
    pub peer: PeerId,
    called_at: Instant,
    reach: Reach,
}

impl Caller {
    /// One whose session has just come up.
    pub(super) fn new(now: Instant, slot: usize, key: Key, peer: PeerId) -> Caller {
        Caller { slot, key, peer, called_at: now, reach: Reach::default() }
    }

    fn standing(&self, works: bool, waits: Waits) -> Standing {
        let Caller { peer, called_at, reach, .. } = *self;
        Standing { peer, called_at, reach, still_since: None, works, waits }
    }
}

/// A caller that has opened no stream yet.
pub(super) struct Waiting {
    /// Who it is.
    pub caller: Caller,
    /// Until when it should.
    pub greet_by: Instant,
}

impl Waiting {
    /// One that has just come.
    pub(super) fn new(caller: Caller) -> Waiting {
        Waiting { caller, greet_by: caller.called_at + GREETING_TIME }
    }
}

/// A program that was told to end.
pub(super) struct Orphan {
    /// Whose it was.
    pub peer: PeerId,
    /// It.
    pub child: Child,
    /// Until when it is taken to be about to end, if it is.
    pub ends_by: Option<Instant>,
}

impl Orphan {
    /// One that has just been told.
    pub(super) fn new(now: Instant, peer: PeerId, child: Child) -> Orphan {
        Orphan { peer, child, ends_by: Some(now + ENDING_TIME) }
    }
}

impl Attach {
    /// Who has a place: whoever is joined to a command, and whose command has yet to take notice of its end.
    fn places(&self) -> Places {
        let mut places = Places::default();
        let running = self.running.values().map(|running| running.caller.peer);
        running.chain(self.orphans.values().map(|orphan| orphan.peer)).for_each(|peer| places.take(peer));
        places
    }

    fn waits(&self, places: &Places, caller: &Caller) -> Waits {
        if self.keeps() { Waits::of(&caller.peer, places, self.options.sessions_max) } else { Waits::Not }
    }

    /// The session lost its path, or has one again.
    pub(super) fn handle_path(&mut self, ctx: &mut Context<'_, Attach>, key: Key, reach: Reach) {
        let running = self.running.values_mut().map(|running| &mut running.caller);
        let mut callers = running.chain(self.waiting.iter_mut().map(|waiting| &mut waiting.caller));
        if let Some(caller) = callers.find(|caller| caller.key == key) {
            caller.reach = reach;
        }
        if self.keeps() {
            ctx.node.set_place(ctx.now, key, if reach.has_path() { Place::Own } else { Place::None });
        }
    }

    /// The session that gives way because others wait for a place. A program that takes no notice of what it was told makes room
    /// for nobody.
    pub(super) fn next_to_go(&self) -> Option<Going> {
        if !self.waiting.iter().any(|waiting| waiting.caller.reach.has_path()) {
            return None;
        }
        let places = self.places();
        let waiting = self.waiting.iter().map(|waiting| waiting.caller);
        let waiting = waiting.map(|caller| (caller.slot, caller.standing(false, self.waits(&places, &caller))));
        let running = self.running.values().map(|running| running.caller);
        let running = running.map(|caller| (caller.slot, caller.standing(true, Waits::Not)));
        let standings: Vec<(usize, Standing)> = waiting.chain(running).collect();
        let going = self.orphans.values().filter(|orphan| orphan.ends_by.is_some()).count();
        turns::next_to_go(&standings, TO, going)
    }

    /// Whoever waits for a place need not wait for those who are gone for good.
    pub(super) fn make_room(&mut self, ctx: &mut Context<'_, Attach>) {
        for orphan in self.orphans.values_mut() {
            orphan.ends_by.take_if(|at| *at <= ctx.now);
        }
        while let Some(going) = self.next_to_go()
            && going.at <= ctx.now
            && let Some(key) = self.running.get(&going.slot).map(|running| running.joint.key)
        {
            self.session_failed(ctx, key, Error::GaveWay, CloseCode::Cancelled);
        }
    }

    /// Hears callers whose turn it is. The others wait for us, not we for them, unless they have gone.
    pub(super) fn hear_callers(&mut self, ctx: &mut Context<'_, Attach>) {
        let mut callers: Vec<Caller> = self.waiting.iter().map(|waiting| waiting.caller).collect();
        callers.sort_by_key(|caller| caller.slot);
        let mut places = self.places();
        for caller in callers {
            let failure = ctx.node.session(caller.key).and_then(|session| session.failure());
            if let Some(error) = failure {
                self.session_failed(ctx, caller.key, error.into(), CloseCode::Protocol);
            } else if self.waits(&places, &caller) == Waits::Not {
                self.handle_session_events(ctx, caller.key);
                if self.running.contains_key(&caller.slot) {
                    places.take(caller.peer);
                }
            } else if caller.reach.gone_at(GIVES_WAY_AFTER).is_some_and(|at| at <= ctx.now) {
                // It had no place, and is nobody's business.
                self.waiting.retain(|waiting| waiting.caller.slot != caller.slot);
                ctx.node.abandon(ctx.now, caller.key);
            } else if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.caller.slot == caller.slot) {
                waiting.greet_by = ctx.now + GREETING_TIME;
            }
        }
    }

    /// Lets go of callers that have a path to us and say nothing. True if there were any.
    pub(super) fn check_greeting_times(&mut self, ctx: &mut Context<'_, Attach>) -> bool {
        let mut silent = Vec::new();
        for Waiting { caller, greet_by } in &mut self.waiting {
            let has_path = ctx.node.session(caller.key).is_some_and(|session| session.has_lane());
            if is_silent(greet_by, ctx.now, has_path) {
                silent.push(caller.key);
            }
        }
        for key in &silent {
            let error = Error::Run(RunError::Protocol(Breach::SaidNothing));
            self.session_failed(ctx, *key, error, CloseCode::Protocol);
        }
        !silent.is_empty()
    }
}
