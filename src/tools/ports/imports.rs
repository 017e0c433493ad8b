//! Ports of the other network that are listened on here: their listeners, what is accepted, and whether they work.

use super::Portrep;
use super::connections::{Connections, PATIENCE, Source};
use super::error::Error;
use super::import::{Active, Entry, Health, Import, Speaks};
use super::import_failure::ImportFailure;
use super::joining::Joining;
use super::news::News;
use super::sessions::Sessions;
use super::streams::{Owner, StreamKey};
use crate::net::accept::{Acceptor, Shortage};
use crate::net::endpoint::Endpoint;
use crate::net::listen::{Accepted, FourPorts, Listener};
use crate::net::options::Purpose;
use crate::node::Key;
use crate::ports::rmi::{Referral, Told};
use crate::ports::routes::Standing;
use crate::ports::service::Wish;
use crate::run::tool::Context;
use std::io;
use std::time::{Duration, Instant};

/// Between two probes of a mapping that works: a target that goes away is noticed this late.
const WORKING_PAUSE: Duration = Duration::from_secs(5);
/// Between two probes of one that does not.
const FAILING_PAUSE: Duration = Duration::from_secs(1);

/// When an import has a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    /// From the beginning to the end.
    Always,
    /// While the far side serves it.
    WhenUp,
}

/// The listeners of all imports.
pub(super) struct Listeners {
    /// Those that are bound already, for each import in turn.
    pub bound: Vec<Option<Listener>>,
    /// Ports that listeners of `[::]` leave to those of IPv4.
    pub four: FourPorts,
    /// When they are there.
    pub listen: Listen,
}

/// See the module's text.
pub(super) struct Imports {
    /// By number.
    list: Vec<Active>,
    four: FourPorts,
    listen: Listen,
    purpose: Purpose,
    /// Where RMI servers send their callers in vain.
    told: Told,
}

impl Imports {
    /// With their listeners, and sockets for this purpose.
    pub(super) fn new(now: Instant, imports: Vec<Import>, listeners: Listeners, purpose: Purpose) -> Imports {
        let Listeners { bound, four, listen } = listeners;
        let list = imports.into_iter().zip(bound).map(|(import, bound)| Active::new(now, import, bound)).collect();
        Imports { list, four, listen, purpose, told: Told::default() }
    }

    /// All of them, by number.
    pub(super) fn list(&self) -> &[Active] {
        &self.list
    }

    /// When they listen.
    pub(super) fn listen(&self) -> Listen {
        self.listen
    }

    /// Lets all listeners that are bound take connections.
    ///
    /// # Errors
    /// The system has no room for one.
    pub(super) fn open_bound(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
    ) -> io::Result<()> {
        for number in 0..self.list.len() {
            if let Some(listener) = self.list[number].bound.take() {
                self.open(ctx, connections, number, listener)?;
            }
        }
        Ok(())
    }

    /// Lets a bound listener take connections.
    fn open(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        number: usize,
        listener: Listener,
    ) -> io::Result<()> {
        let place = listener.place()?;
        let is_absent = listener.is_absent();
        let mut acceptor = Acceptor::new(vec![listener], self.purpose, Shortage::Wait);
        acceptor.register(ctx.registry, connections.next_token())?;
        if is_absent {
            (ctx.news)(News::Absent(&place));
        }
        let active = &mut self.list[number];
        (ctx.news)(News::Listening(&place, active.import.peer, active.import.service.app.as_str()));
        let slot = connections.insert_uncounted(Source::Listener(number));
        active.entry = Some(Entry { slot, acceptor });
        Ok(())
    }

    /// Takes no more connections.
    pub(super) fn close(&mut self, connections: &mut Connections) {
        for active in &mut self.list {
            close(active, connections);
        }
    }

    /// A listener has news.
    pub(super) fn handle_ready(&mut self, number: usize) {
        self.list[number].handle_ready();
    }

    /// What waits in a backlog may have brought no event yet.
    pub(super) fn handle_all_ready(&mut self) {
        self.list.iter_mut().for_each(Active::handle_ready);
    }

    /// Takes connections out of the backlogs. True if there were any.
    pub(super) fn accept(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        sessions: &mut Sessions,
    ) -> bool {
        let mut any = false;
        for number in 0..self.list.len() {
            let Some(entry) = &mut self.list[number].entry else { continue };
            if !entry.acceptor.is_due(ctx.now) {
                continue;
            }
            let mut accepted = Vec::new();
            if let Some(error) = entry.acceptor.accept(ctx.now, &mut accepted) {
                (ctx.news)(News::CannotAccept(&error));
            }
            any |= !accepted.is_empty();
            for Accepted { socket, .. } in accepted {
                Joining { imports: &self.list, connections, sessions }.handle_accepted(ctx, number, socket);
            }
        }
        any
    }

    /// Asks the far side about every import whose turn has come.
    pub(super) fn probe(&mut self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections, sessions: &Sessions) {
        for (number, active) in self.list.iter_mut().enumerate() {
            if active.health.probe_at() <= ctx.now {
                if let Health::Probed(unanswered, _) = active.health {
                    connections.end_probe(ctx, unanswered);
                }
                active.health = match open_probe(ctx, sessions, &active.import) {
                    Some(stream) => {
                        connections.streams.insert(stream, Owner::Probe(number));
                        Health::Probed(stream, ctx.now + PATIENCE)
                    }
                    // Looked at again when there is a session, or then.
                    None => Health::Unknown(ctx.now + WORKING_PAUSE),
                };
            }
        }
    }

    /// The far side serves an import.
    pub(super) fn handle_works(
        &mut self,
        ctx: &mut Context<'_, Portrep>,
        connections: &mut Connections,
        number: usize,
    ) {
        let active = &mut self.list[number];
        active.health = Health::Works(ctx.now + WORKING_PAUSE);
        active.why_not = None;
        if self.listen == Listen::Always || active.entry.is_some() {
            return;
        }
        let (place, access) = (active.import.at.clone(), active.import.access);
        let bound = Listener::bind(&place, &self.four, access)
            .and_then(|listener| Ok(self.open(ctx, connections, number, listener)?));
        if let Err(error) = bound {
            // Somebody has the port for now: the next probe tries again.
            (ctx.news)(News::CannotListen(&place, error.reason()));
        }
    }

    /// Another process of the peer may serve an import: to be probed at once.
    pub(super) fn handle_moved(&mut self, now: Instant, number: usize) {
        self.list[number].health = Health::Unknown(now);
    }

    /// The far side does not serve an import. True if that, or why, is news.
    pub(super) fn handle_not_working(
        &mut self,
        now: Instant,
        connections: &mut Connections,
        number: usize,
        why: ImportFailure,
    ) -> bool {
        let active = &mut self.list[number];
        let is_news = active.why_not.replace(why) != Some(why);
        active.health = Health::Unknown(now + FAILING_PAUSE);
        if self.listen == Listen::WhenUp {
            close(active, connections);
        }
        is_news
    }

    /// The imports that go over this session, or shall go over what comes of this call.
    pub(super) fn over(&self, sessions: &Sessions, key: Key) -> Vec<usize> {
        let Some(route) = sessions.routes.index(key) else { return Vec::new() };
        let is_over = |import: &Import| sessions.routes.index_for(import.peer, &import.service.app) == Some(route);
        (0..self.list.len()).filter(|number| is_over(&self.list[*number].import)).collect()
    }

    /// An import that does not work, and why, if that is known of any: rather of one whose far side is there.
    pub(super) fn not_working(&self) -> Option<(Error, ImportFailure)> {
        let known = || self.list.iter().filter_map(|active| Some((&active.import, active.why_not?)));
        let (import, why) = known().find(|(_, why)| !why.is_absence()).or_else(|| known().next())?;
        Some((Error::Import(import.peer, import.service.app.clone(), why.into()), why))
    }

    /// A session has come up: imports of which nothing is known may work, and those asked about may never hear.
    pub(super) fn probe_all_soon(&mut self, now: Instant) {
        for active in self.list.iter_mut().filter(|active| !matches!(active.health, Health::Works(_))) {
            active.health = Health::Unknown(now);
        }
    }

    /// Whether all of them work.
    pub(super) fn all_work(&self) -> bool {
        self.list.iter().all(|active| matches!(active.health, Health::Works(_)))
    }

    /// Whether connections may wait to be accepted.
    pub(super) fn has_waiting(&self) -> bool {
        self.list.iter().any(Active::has_waiting)
    }

    /// Servers have sent their callers somewhere: says where there is no way to.
    pub(super) fn judge_referrals(&mut self, ctx: &mut Context<'_, Portrep>, connections: &mut Connections) {
        for (number, referral) in connections.take_referrals() {
            let leads = self.list.iter().any(|active| leads_to(active, &referral));
            if !leads && self.told.add(&referral) {
                let import = &self.list[number].import;
                (ctx.news)(News::Unmapped(import.peer, import.service.app.as_str(), &referral));
            }
        }
    }

    /// When to accept again without an event.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(Active::next_timeout).min()
    }

    /// When the next probe is due, as far as that does not depend on others.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.list.iter().map(|active| active.health.probe_at()).min()
    }
}

fn open_probe(ctx: &mut Context<'_, Portrep>, sessions: &Sessions, import: &Import) -> Option<StreamKey> {
    let Standing::Up(key) = sessions.routes.route(import.peer, &import.service.app)?.standing() else { return None };
    let id = ctx.node.session(key)?.open_stream(ctx.now, &import.service.text(Wish::Probe))?;
    Some(StreamKey { session: key, id })
}

fn close(active: &mut Active, connections: &mut Connections) {
    if let Some(entry) = active.entry.take() {
        connections.remove_uncounted(entry.slot);
    }
}

/// Whether a client of this machine that follows a referral comes to the listener of this import.
fn leads_to(active: &Active, referral: &Referral) -> bool {
    let listener = active.entry.as_ref().and_then(|entry| entry.acceptor.places().next());
    // Without a listener it is closed for now.
    let place = listener.unwrap_or_else(|| active.import.at.clone());
    match (active.import.speaks, place) {
        (Speaks::Plain, Endpoint::Tcp(at)) => referral.leads_to(at),
        _ => false,
    }
}
