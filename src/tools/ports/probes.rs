//! Whether imports work, asked of the far side: for `--listen-when-up`, and before a command is run.

use super::Portrep;
use super::desk::Owner;
use super::news::News;
use crate::net::listen::Listener;
use crate::node::Key;
use crate::ports::routes::Standing;
use crate::ports::service::Wish;
use crate::run::tool::Context;
use crate::wire::CloseCode;
use std::time::{Duration, Instant};

/// Between two probes of a mapping that works: a target that goes away is noticed this late.
const WORKING_PAUSE: Duration = Duration::from_secs(5);
/// Between two probes of one that does not.
const FAILING_PAUSE: Duration = Duration::from_secs(1);

/// What is known of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing, or not any more: to be probed from then on.
    Unknown(Instant),
    /// A probe is under way.
    Asked,
    /// It worked when it was last probed; to be probed again then.
    Works(Instant),
}

impl Portrep {
    fn wants_probes(&self) -> bool {
        (self.listen_when_up || self.command.is_waiting()) && self.stopping.is_none()
    }

    /// Asks about every import whose turn has come.
    pub(super) fn probe(&mut self, ctx: &mut Context<'_, Portrep>) {
        if !self.wants_probes() {
            return;
        }
        for number in 0..self.doors.len() {
            let due = match self.health[number] {
                Health::Unknown(at) | Health::Works(at) => at <= ctx.now,
                Health::Asked => false,
            };
            if due && !self.probe_one(ctx, number) {
                // Looked at again when there is a session, or then.
                self.health[number] = Health::Unknown(ctx.now + WORKING_PAUSE);
            }
        }
    }

    fn probe_one(&mut self, ctx: &mut Context<'_, Portrep>, number: usize) -> bool {
        let import = &self.doors[number].import;
        let Some(route) = self.routes.route(import.peer, &import.service.app) else { return false };
        let Standing::Up(key) = route.standing() else { return false };
        let text = import.service.text(Wish::Probe);
        let Some(stream) = ctx.node.session(key).and_then(|session| session.open_stream(ctx.now, &text)) else {
            return false;
        };
        self.desk.own(key, stream, Owner::Probe(number));
        self.health[number] = Health::Asked;
        true
    }

    /// The far side has answered a probe.
    pub(super) fn handle_probed(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        which: (Key, u32),
        number: usize,
        refused: Option<CloseCode>,
    ) {
        let (key, stream) = which;
        self.desk.disown(key, stream);
        if let Some(session) = ctx.node.session(key) {
            session.stream_mut(stream).reset(CloseCode::Done);
            session.stream_mut(stream).stop(CloseCode::Done);
            session.stream_mut(stream).release();
        }
        let Some(code) = refused else {
            self.prove(number);
            self.health[number] = Health::Works(ctx.now + WORKING_PAUSE);
            if self.listen_when_up && self.doors[number].slot.is_none() {
                self.bind(ctx, number);
            }
            return;
        };
        if code == CloseCode::NotHere && self.parted(ctx, number) {
            self.health[number] = Health::Unknown(ctx.now);
            return;
        }
        self.command.handle_not_working(code);
        self.handle_not_working(number, ctx.now + FAILING_PAUSE);
    }

    /// The import does not work, or nothing is known of it any more.
    fn handle_not_working(&mut self, number: usize, probe_at: Instant) {
        self.health[number] = Health::Unknown(probe_at);
        if self.listen_when_up {
            self.close_door(number);
        }
    }

    /// A session has come up: imports of which nothing is known may work, and those asked about may never hear.
    pub(super) fn probe_all_soon(&mut self, now: Instant) {
        for health in self.health.iter_mut().filter(|health| !matches!(health, Health::Works(_))) {
            *health = Health::Unknown(now);
        }
    }

    /// The session that some imports went over is no more.
    pub(super) fn forget_health(&mut self, now: Instant, key: Key) {
        let Some(route) = self.routes.index(key) else { return };
        for number in 0..self.doors.len() {
            let import = &self.doors[number].import;
            if self.routes.index_for(import.peer, &import.service.app) == Some(route) {
                self.handle_not_working(number, now + FAILING_PAUSE);
            }
        }
    }

    fn bind(&mut self, ctx: &mut Context<'_, Portrep>, number: usize) {
        let (place, access) = (self.doors[number].import.at.clone(), self.doors[number].import.access);
        let bound =
            Listener::bind(&place, &self.four, access).and_then(|listener| Ok(self.open_door(ctx, number, listener)?));
        if let Err(error) = bound {
            // Somebody has the port for now: the next probe tries again.
            (ctx.news)(News::CannotListen(&place, error.reason()));
        }
    }

    /// When the next probe is due, as far as that does not depend on others.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        let due = self.health.iter().filter_map(|health| match health {
            Health::Unknown(at) | Health::Works(at) => Some(*at),
            Health::Asked => None,
        });
        due.min().filter(|_| self.wants_probes())
    }
}
