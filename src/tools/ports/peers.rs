//! Which session carries what: one to each peer, and one more for each application that another process of it serves.
//!
//! A session that has lost its path waits for it, and so do its connections. But the path may be lost because the peer's
//! process is, and nobody but its successor can tell. So after a while the peer is called once more beside it. If somebody
//! answers, new connections are his; the old ones get a last grace for their own path to come back.

use crate::identity::PeerId;
use crate::names::AppName;
use crate::net::slots::Slot;
use crate::node::Key;
use crate::ports::service::Service;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between the end of a session and the next call, at first and at most: a peer that comes back is met soon, one that turns
/// us away is not pestered.
const PAUSE_FIRST: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a session may be without a path, and we with a relay, before its peer is called once more: most breaks are
/// over by then.
const HEIR_AFTER: Duration = Duration::from_secs(2);
/// How long connections of a session have after another process of the peer has answered in its place: as long as the
/// peer's first process needs to notice that its link is dead and to make another.
const GRACE: Duration = Duration::from_secs(15);

/// How a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Asked for; the answer is under way.
    Calling,
    /// The peer is not there. The call stands: the relay completes it when the peer comes.
    Absent,
    /// There is a session.
    Up,
    /// To be called again then.
    Resting(Instant),
}

/// A session to a peer that is, or shall be.
#[derive(Debug)]
pub struct Route {
    /// Who.
    pub peer: PeerId,
    /// The application by which the peer's process is found.
    pub app: AppName,
    /// The session, if it was asked for.
    pub key: Option<Key>,
    /// How it stands.
    pub standing: Standing,
    /// Accepted connections that wait for the answer to a call.
    pub held: Vec<Slot>,
    failures: u32,
    /// Since when the session is without a path.
    lost: Option<Instant>,
    /// The call that may lead to the next session.
    pub heir: Option<Key>,
    /// It is not there by the first application.
    absent: bool,
    /// So it was asked for by others.
    also: Vec<Other>,
}

/// A further application by which a peer was asked for.
#[derive(Debug)]
struct Other {
    app: AppName,
    /// The call, unless it has failed.
    call: Option<Key>,
    /// Nobody is there by it.
    absent: bool,
}

/// A session that another has taken the place of.
#[derive(Debug)]
struct Fading {
    key: Key,
    /// When it is given up. Not, if its path came back after all.
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Home {
    route: usize,
    /// The process at the other end has taken a stream of the application: it serves it.
    proven: bool,
}

impl Route {
    /// Its peer is to be asked for by every name that we know of it.
    fn wants_others(&self) -> bool {
        self.absent && self.heir.is_none() && self.standing != Standing::Up
    }
}

/// All routes.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
    fading: Vec<Fading>,
    homes: HashMap<(PeerId, AppName), Home>,
}

impl Routes {
    /// Adds an application of a peer. It shares the peer's first route, if there is one.
    pub fn add(&mut self, now: Instant, peer: PeerId, app: &AppName) {
        let home = (peer, app.clone());
        if self.homes.contains_key(&home) {
            return;
        }
        let known = self.routes.iter().position(|route| route.peer == peer);
        let route = known.unwrap_or_else(|| self.push(now, peer, app));
        self.homes.insert(home, Home { route, proven: false });
    }

    fn push(&mut self, now: Instant, peer: PeerId, app: &AppName) -> usize {
        let standing = Standing::Resting(now);
        let (peer, app, held, also) = (peer, app.clone(), Vec::new(), Vec::new());
        let (key, lost, heir) = (None, None, None);
        self.routes.push(Route { peer, app, key, standing, held, failures: 0, lost, heir, absent: false, also });
        self.routes.len() - 1
    }

    /// The route for an application.
    pub fn route(&mut self, peer: PeerId, app: &AppName) -> Option<&mut Route> {
        let home = self.homes.get(&(peer, app.clone()))?;
        self.routes.get_mut(home.route)
    }

    /// The route that a session is for.
    pub fn by_key(&mut self, key: Key) -> Option<&mut Route> {
        self.routes.iter_mut().find(|route| route.key == Some(key))
    }

    /// The number of the route that a session, or a call beside one, is for.
    pub fn index(&self, key: Key) -> Option<usize> {
        self.routes.iter().position(|route| route.key == Some(key) || route.heir == Some(key))
    }

    /// Whom and what a session, or a call, is for.
    pub fn called(&self, key: Key) -> Option<(PeerId, AppName)> {
        self.routes.iter().find_map(|route| {
            let other = route.also.iter().find(|other| other.call == Some(key)).map(|other| &other.app);
            let own = (route.key == Some(key) || route.heir == Some(key)).then_some(&route.app);
            other.or(own).map(|app| (route.peer, app.clone()))
        })
    }

    /// The number of the route for an application.
    pub fn leads(&self, peer: PeerId, app: &AppName) -> Option<usize> {
        self.homes.get(&(peer, app.clone())).map(|home| home.route)
    }

    /// Every route.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.routes.iter_mut()
    }

    /// Whether nobody else could serve the application: it was called by this name, or it took a stream.
    pub fn is_certain(&self, peer: PeerId, app: &AppName) -> bool {
        let home = self.homes.get(&(peer, app.clone()));
        home.is_some_and(|home| home.proven || self.routes[home.route].app == *app)
    }

    /// The process at the end of the route has taken a stream of the application.
    pub fn prove(&mut self, peer: PeerId, app: &AppName) {
        if let Some(home) = self.homes.get_mut(&(peer, app.clone())) {
            home.proven = true;
        }
    }

    /// The process at the end of the route does not serve it. True if another process of the peer may: then the
    /// application has a route of its own from now on.
    pub fn part(&mut self, now: Instant, peer: PeerId, service: &Service) -> bool {
        let home = (peer, service.app.clone());
        let Some(Home { route, proven: false }) = self.homes.get(&home).copied() else { return false };
        if self.routes[route].app == service.app {
            return false;
        }
        let own = self.routes.iter().position(|route| route.peer == peer && route.app == service.app);
        let route = own.unwrap_or_else(|| self.push(now, peer, &service.app));
        self.homes.insert(home, Home { route, proven: false });
        true
    }

    /// What else to ask for where a peer is not there: another process of it may be, by another name.
    pub fn unasked(&self) -> Vec<(usize, PeerId, AppName)> {
        let mut unasked = Vec::new();
        for ((peer, app), home) in &self.homes {
            let route = &self.routes[home.route];
            if route.wants_others() && route.app != *app && !route.also.iter().any(|other| other.app == *app) {
                unasked.push((home.route, *peer, app.clone()));
            }
        }
        unasked
    }

    /// It was asked for.
    pub fn ask_too(&mut self, route: usize, app: AppName, key: Key) {
        self.routes[route].also.push(Other { app, call: Some(key), absent: false });
    }

    /// A session is up. If it is one that was asked for beside the first call of its route, it takes its place. Yields the
    /// calls that are needed no more.
    pub fn promote(&mut self, key: Key) -> Vec<Key> {
        let leads =
            |route: &&mut Route| route.key == Some(key) || route.also.iter().any(|other| other.call == Some(key));
        let Some(route) = self.routes.iter_mut().find(leads) else { return Vec::new() };
        let first = match route.lost {
            // A session without a path keeps its grace.
            Some(_) if route.key != Some(key) => route.heir.replace(key),
            _ => route.key.replace(key).filter(|first| *first != key),
        };
        let mut needless: Vec<Key> = first.into_iter().collect();
        for other in std::mem::take(&mut route.also) {
            match other.call {
                Some(call) if call == key => route.app = other.app,
                call => needless.extend(call),
            }
        }
        needless
    }

    /// The session of a route has come to its end, or did not come about. Yields the connections it held.
    pub fn rest(&mut self, now: Instant, key: Key) -> Vec<Slot> {
        self.fading.retain(|fading| fading.key != key);
        let mut others = self.routes.iter_mut().flat_map(|route| &mut route.also);
        if let Some(other) = others.find(|other| other.call == Some(key)) {
            other.call = None;
        }
        if let Some(route) = self.routes.iter_mut().find(|route| route.heir == Some(key)) {
            // Nobody answered for it: ask again later.
            route.heir = None;
            route.lost = Some(now);
        }
        let Some(at) = self.index(key) else { return Vec::new() };
        self.forget_proofs(at);
        let route = &mut self.routes[at];
        route.lost = None;
        route.absent = false;
        route.key = route.heir.take();
        if route.key.is_some() {
            if route.standing == Standing::Up {
                route.standing = Standing::Calling;
            }
            return Vec::new();
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << route.failures.min(6)).min(PAUSE_MAX);
        route.failures = route.failures.saturating_add(1);
        route.standing = Standing::Resting(now + pause);
        std::mem::take(&mut route.held)
    }

    fn forget_proofs(&mut self, route: usize) {
        for home in self.homes.values_mut().filter(|home| home.route == route) {
            home.proven = false;
        }
    }

    /// The session of a route is up. Yields the connections it held.
    pub fn rise(&mut self, key: Key) -> Option<Vec<Slot>> {
        let route = self.by_key(key)?;
        route.standing = Standing::Up;
        route.failures = 0;
        route.absent = false;
        Some(std::mem::take(&mut route.held))
    }

    /// The session of a route has lost its path.
    pub fn handle_lost(&mut self, now: Instant, key: Key) {
        if let Some(route) = self.by_key(key) {
            route.lost = Some(now);
        }
    }

    /// The session of a route has a path again. Yields the call beside it, which is needed no more.
    pub fn handle_resumed(&mut self, key: Key) -> Option<Key> {
        if let Some(fading) = self.fading.iter_mut().find(|fading| fading.key == key) {
            fading.until = None;
        }
        let route = self.by_key(key)?;
        route.lost = None;
        route.standing = Standing::Up;
        route.heir.take()
    }

    /// Nobody answers a call. Yields the connections that were held for it, unless another call may still be answered.
    pub fn handle_absent(&mut self, key: Key) -> Vec<Slot> {
        let asked = |route: &Route| route.also.iter().any(|other| other.call == Some(key));
        let Some(at) = self.index(key).or_else(|| self.routes.iter().position(asked)) else { return Vec::new() };
        let route = &mut self.routes[at];
        match route.also.iter_mut().find(|other| other.call == Some(key)) {
            Some(other) => other.absent = true,
            None => route.absent = true,
        }
        let open = |other: &Other| other.call.is_some() && !other.absent;
        let hopes = self.unasked().iter().any(|(of, ..)| *of == at) || self.routes[at].also.iter().any(open);
        let route = &mut self.routes[at];
        if route.wants_others() && hopes {
            return Vec::new();
        }
        if route.absent {
            route.standing = Standing::Absent;
        }
        std::mem::take(&mut route.held)
    }

    /// Routes whose peer is to be called beside the session there is, given since when we have had a relay.
    pub fn heirless(&mut self, now: Instant, attached: Option<Instant>) -> impl Iterator<Item = &mut Route> {
        let due = move |since: Option<Instant>| since.is_some_and(|since| now >= since + HEIR_AFTER);
        let wanted = move |route: &&mut Route| route.heir.is_none() && due(route.lost) && due(attached);
        self.routes.iter_mut().filter(wanted)
    }

    /// Somebody has answered in place of a session. Yields that session, if this was so.
    pub fn succeed(&mut self, now: Instant, heir: Key) -> Option<Key> {
        let at = self.routes.iter().position(|route| route.heir == Some(heir))?;
        self.forget_proofs(at);
        let route = &mut self.routes[at];
        let old = std::mem::replace(&mut route.key, route.heir.take())?;
        route.lost = None;
        self.fading.push(Fading { key: old, until: Some(now + GRACE) });
        Some(old)
    }

    /// Sessions that have had their grace.
    pub fn poll_faded(&mut self, now: Instant) -> Option<Key> {
        let over = |fading: &Fading| fading.until.is_some_and(|until| until <= now);
        let at = self.fading.iter().position(over)?;
        Some(self.fading.swap_remove(at).key)
    }

    /// Sessions whose path came back after another had taken their place: they end with their connections.
    pub fn spared(&self) -> Vec<Key> {
        self.fading.iter().filter(|fading| fading.until.is_none()).map(|fading| fading.key).collect()
    }

    /// Whether this is the first failure since the route was last up.
    pub fn is_fresh_failure(&self, key: Key) -> bool {
        let route = self.routes.iter().find(|route| route.key == Some(key));
        route.is_none_or(|route| route.failures == 0)
    }

    /// When there is something to do, given since when we have had a relay.
    pub fn next_timeout(&self, attached: Option<Instant>) -> Option<Instant> {
        let calls = self.routes.iter().filter_map(|route| match route.standing {
            Standing::Resting(until) => Some(until),
            _ => None,
        });
        let lost = self.routes.iter().filter(|route| route.heir.is_none()).filter_map(|route| route.lost);
        let heirs = lost.zip(attached.into_iter().cycle()).map(|(lost, attached)| lost.max(attached) + HEIR_AFTER);
        let faded = self.fading.iter().filter_map(|fading| fading.until);
        calls.chain(heirs).chain(faded).min()
    }
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
