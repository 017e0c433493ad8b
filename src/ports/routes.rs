//! Which session carries what: one to each peer, and one more for each application that another process of it serves.
//!
//! A session that has lost its path waits for it, and so do its connections. But the path may be lost because the peer's
//! process is gone, and only another process of the peer can tell us. So after a while the peer is called once more beside
//! the session. If another process answers, it gets the new connections; the old ones have a while for their own path to
//! come back.
//!
//! `K` is the key of a session, which it has from the call for it on. `W` is a connection that waits for a session.

use crate::identity::PeerId;
use crate::names::AppName;
use crate::node::Anew;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between the end of a session and the next call, at first and at most: a peer that comes back is met soon, one that turns
/// us away is not pestered.
const PAUSE_FIRST: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a session may be without a path, and we with a relay, before its peer is called once more: most breaks are
/// over by then.
const SUCCESSOR_AFTER: Duration = Duration::from_secs(2);
/// How long connections of a session have after another process of the peer has answered in its place: as long as the
/// peer's first process needs to notice that its link is dead and to make another.
const GRACE: Duration = Duration::from_secs(15);

/// How a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<K> {
    /// Asked for; the answer is under way.
    Calling(K),
    /// The peer is not there. The call stands: the relay completes it when the peer comes.
    Absent(K),
    /// There is a session.
    Up(K),
    /// To be called again then.
    Resting(Instant),
}

impl<K: Copy> Standing<K> {
    /// The session, or the call for it.
    pub(crate) fn key(&self) -> Option<K> {
        match self {
            Standing::Calling(key) | Standing::Absent(key) | Standing::Up(key) => Some(*key),
            Standing::Resting(_) => None,
        }
    }
}

/// A call to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Whom to call.
    pub peer: PeerId,
    /// By which of its applications.
    pub app: AppName,
    route: usize,
    role: Role,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The session of a route.
    Session,
    /// The same, by another application than that of the route.
    Alternative,
    /// A session in place of one without a path.
    Successor,
}

/// A session to a peer that is, or shall be.
#[derive(Debug)]
pub(crate) struct Route<K, W> {
    peer: PeerId,
    /// The application by which the peer's process is found.
    app: AppName,
    standing: Standing<K>,
    /// Connections that wait for the answer to a call.
    waiting: Vec<W>,
    failures: u32,
    /// The call that may lead to the next session. There is one only beside a session, or the call for it.
    beside: Anew<K>,
    /// Nobody is there by the route's application.
    absent: bool,
    alternatives: Vec<Alternative<K>>,
}

/// A further application by which a peer was called.
#[derive(Debug)]
struct Alternative<K> {
    app: AppName,
    /// The call, unless it has failed.
    call: Option<K>,
    /// Nobody is there by it.
    absent: bool,
}

/// A session that another has taken the place of.
#[derive(Debug)]
struct Replaced<K> {
    key: K,
    /// When it is given up. Not, if its path came back after all.
    until: Option<Instant>,
}

/// Where connections to an application go.
#[derive(Clone, Copy, Debug)]
struct Assignment {
    route: usize,
    /// The process at the other end has taken a stream of the application: it serves it.
    proven: bool,
}

impl<K: Copy + PartialEq, W> Route<K, W> {
    /// How it stands.
    pub(crate) fn standing(&self) -> Standing<K> {
        self.standing
    }

    /// The application by which the peer's process is found.
    pub(crate) fn app(&self) -> &AppName {
        &self.app
    }

    /// A connection waits for the answer to the call.
    pub(crate) fn wait(&mut self, connection: W) {
        self.waiting.push(connection);
    }

    /// The peer is to be called by every application of it that we know of.
    fn wants_alternatives(&self) -> bool {
        self.absent && self.beside.call().is_none() && !matches!(self.standing, Standing::Up(_))
    }

    /// Whether it is the key of its session, or of the call beside it.
    fn is_for(&self, key: K) -> bool {
        self.standing.key() == Some(key) || self.beside.call() == Some(key)
    }

    fn has_alternative(&self, key: K) -> bool {
        self.alternatives.iter().any(|alternative| alternative.call == Some(key))
    }

    /// Puts another session in the place of the one there is, and yields that.
    fn replace(&mut self, key: K) -> Option<K> {
        let old = self.standing.key();
        self.standing = match self.standing {
            Standing::Up(_) => Standing::Up(key),
            Standing::Absent(_) => Standing::Absent(key),
            Standing::Calling(_) | Standing::Resting(_) => Standing::Calling(key),
        };
        old
    }
}

/// All routes.
#[derive(Debug)]
pub(crate) struct Routes<K, W> {
    routes: Vec<Route<K, W>>,
    replaced: Vec<Replaced<K>>,
    assignments: HashMap<(PeerId, AppName), Assignment>,
}

impl<K, W> Default for Routes<K, W> {
    fn default() -> Self {
        Self { routes: Vec::new(), replaced: Vec::new(), assignments: HashMap::new() }
    }
}

impl<K: Copy + PartialEq, W> Routes<K, W> {
    /// Adds an application of a peer. It shares the peer's first route, if there is one.
    pub(crate) fn add(&mut self, now: Instant, peer: PeerId, app: &AppName) {
        let named = (peer, app.clone());
        if self.assignments.contains_key(&named) {
            return;
        }
        let known = self.routes.iter().position(|route| route.peer == peer);
        let route = known.unwrap_or_else(|| self.push(now, peer, app));
        self.assignments.insert(named, Assignment { route, proven: false });
    }

    fn push(&mut self, now: Instant, peer: PeerId, app: &AppName) -> usize {
        self.routes.push(Route {
            peer,
            app: app.clone(),
            standing: Standing::Resting(now),
            waiting: Vec::new(),
            failures: 0,
            beside: Anew::after(SUCCESSOR_AFTER),
            absent: false,
            alternatives: Vec::new(),
        });
        self.routes.len() - 1
    }

    /// The route for an application.
    pub(crate) fn route(&self, peer: PeerId, app: &AppName) -> Option<&Route<K, W>> {
        self.routes.get(self.index_for(peer, app)?)
    }

    /// The route for an application.
    pub(crate) fn route_mut(&mut self, peer: PeerId, app: &AppName) -> Option<&mut Route<K, W>> {
        let at = self.index_for(peer, app)?;
        self.routes.get_mut(at)
    }

    fn by_key(&mut self, key: K) -> Option<&mut Route<K, W>> {
        self.routes.iter_mut().find(|route| route.standing.key() == Some(key))
    }

    /// The number of the route that a session, or a call in its place, is for.
    pub(crate) fn index(&self, key: K) -> Option<usize> {
        self.routes.iter().position(|route| route.is_for(key))
    }

    /// The number of the route for an application.
    pub(crate) fn index_for(&self, peer: PeerId, app: &AppName) -> Option<usize> {
        self.assignments.get(&(peer, app.clone())).map(|assignment| assignment.route)
    }

    /// Whom a session, or a call, is to, and by which application.
    pub(crate) fn callee(&self, key: K) -> Option<(PeerId, AppName)> {
        self.routes.iter().find_map(|route| {
            let alternative = route.alternatives.iter().find(|alternative| alternative.call == Some(key));
            let own = route.is_for(key).then_some(&route.app);
            alternative.map(|alternative| &alternative.app).or(own).map(|app| (route.peer, app.clone()))
        })
    }

    /// Whether nobody else could serve the application: the process was called by this name, or it took a stream of it.
    pub(crate) fn is_certain(&self, peer: PeerId, app: &AppName) -> bool {
        let assignment = self.assignments.get(&(peer, app.clone()));
        assignment.is_some_and(|assignment| assignment.proven || self.routes[assignment.route].app == *app)
    }

    /// The process at the end of the route has taken a stream of the application.
    pub(crate) fn handle_served(&mut self, peer: PeerId, app: &AppName) {
        if let Some(assignment) = self.assignments.get_mut(&(peer, app.clone())) {
            assignment.proven = true;
        }
    }

    /// The process at the end of the route does not serve the application. True if another process of the peer may: then
    /// it has a route of its own from now on.
    pub(crate) fn handle_not_served(&mut self, now: Instant, peer: PeerId, app: &AppName) -> bool {
        let named = (peer, app.clone());
        let Some(Assignment { route, proven: false }) = self.assignments.get(&named).copied() else { return false };
        if self.routes[route].app == *app {
            return false;
        }
        let own = self.routes.iter().position(|route| route.peer == peer && route.app == *app);
        let route = own.unwrap_or_else(|| self.push(now, peer, app));
        self.assignments.insert(named, Assignment { route, proven: false });
        true
    }

    /// The next call to be made, given since when we have had a relay. It is the next until [`Routes::handle_called`].
    pub(crate) fn next_call(&self, now: Instant, relay_since: Option<Instant>) -> Option<Call> {
        let call = |(number, route): (usize, &Route<K, W>), role| {
            Some(Call { peer: route.peer, app: route.app.clone(), route: number, role })
        };
        let is_due = |route: &Route<K, W>| matches!(route.standing, Standing::Resting(until) if until <= now);
        if let Some(found) = self.routes.iter().enumerate().find(|(_, route)| is_due(route)) {
            return call(found, Role::Session);
        }
        if let Some((route, peer, app)) = self.next_alternative(None) {
            return Some(Call { peer, app: app.clone(), route, role: Role::Alternative });
        }
        let wanted = |route: &Route<K, W>| route.beside.call_at(relay_since).is_some_and(|at| at <= now);
        let found = self.routes.iter().enumerate().find(|(_, route)| wanted(route))?;
        call(found, Role::Successor)
    }

    /// What else to call by where a peer is not there, by any route or by this one: another process of it may be.
    fn next_alternative(&self, only: Option<usize>) -> Option<(usize, PeerId, &AppName)> {
        self.assignments.iter().find_map(|((peer, app), assignment)| {
            let route = &self.routes[assignment.route];
            let is_new = route.app != *app && !route.alternatives.iter().any(|alternative| alternative.app == *app);
            let is_meant = only.is_none_or(|only| only == assignment.route);
            (is_meant && is_new && route.wants_alternatives()).then_some((assignment.route, *peer, app))
        })
    }

    /// A call was made.
    pub(crate) fn handle_called(&mut self, call: Call, key: K) {
        let Some(route) = self.routes.get_mut(call.route) else { return };
        match call.role {
            Role::Session => route.standing = Standing::Calling(key),
            Role::Alternative => {
                route.alternatives.push(Alternative { app: call.app, call: Some(key), absent: false });
            }
            Role::Successor => {
                route.beside.handle_called(key);
            }
        }
    }

    /// A call was answered. If it was one by another application than that of its route, its session becomes that of the
    /// route. Yields the calls that are needed no more.
    pub(crate) fn handle_answered(&mut self, key: K) -> Vec<K> {
        let is_for = |route: &&mut Route<K, W>| route.standing.key() == Some(key) || route.has_alternative(key);
        let Some(route) = self.routes.iter_mut().find(is_for) else { return Vec::new() };
        let first = if !route.beside.has_path() && route.standing.key() != Some(key) {
            // A session without a path keeps its grace.
            route.beside.handle_called(key)
        } else {
            route.replace(key).filter(|first| *first != key)
        };
        let mut needless: Vec<K> = first.into_iter().collect();
        for alternative in std::mem::take(&mut route.alternatives) {
            match alternative.call {
                Some(call) if call == key => route.app = alternative.app,
                call => needless.extend(call),
            }
        }
        needless
    }

    /// The session of a route has come to its end, or did not come about. Yields the connections that waited for it.
    pub(crate) fn handle_ended(&mut self, now: Instant, key: K) -> Vec<W> {
        self.replaced.retain(|replaced| replaced.key != key);
        let mut alternatives = self.routes.iter_mut().flat_map(|route| &mut route.alternatives);
        if let Some(alternative) = alternatives.find(|alternative| alternative.call == Some(key)) {
            alternative.call = None;
        }
        for route in &mut self.routes {
            // Nobody answered: it is called again later.
            route.beside.handle_failed(now, key);
        }
        let Some(at) = self.index(key) else { return Vec::new() };
        self.forget_proofs(at);
        let route = &mut self.routes[at];
        route.absent = false;
        if let Some(successor) = route.beside.settle() {
            route.replace(successor);
            if let Standing::Up(key) = route.standing {
                route.standing = Standing::Calling(key);
            }
            return Vec::new();
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << route.failures.min(6)).min(PAUSE_MAX);
        route.failures = route.failures.saturating_add(1);
        route.standing = Standing::Resting(now + pause);
        std::mem::take(&mut route.waiting)
    }

    fn forget_proofs(&mut self, route: usize) {
        for assignment in self.assignments.values_mut().filter(|assignment| assignment.route == route) {
            assignment.proven = false;
        }
    }

    /// The session of a route is up. Yields the connections that waited for it.
    pub(crate) fn handle_up(&mut self, key: K) -> Option<Vec<W>> {
        let route = self.by_key(key)?;
        route.standing = Standing::Up(key);
        route.failures = 0;
        route.absent = false;
        Some(std::mem::take(&mut route.waiting))
    }

    /// The session of a route has lost its path.
    pub(crate) fn handle_lost(&mut self, now: Instant, key: K) {
        if let Some(route) = self.by_key(key) {
            route.beside.handle_lost(now);
        }
    }

    /// The session of a route has a path again. Yields the call for its successor, which is needed no more.
    pub(crate) fn handle_resumed(&mut self, key: K) -> Option<K> {
        if let Some(replaced) = self.replaced.iter_mut().find(|replaced| replaced.key == key) {
            replaced.until = None;
        }
        let route = self.by_key(key)?;
        route.standing = Standing::Up(key);
        route.beside.settle()
    }

    /// Nobody answers a call. Yields the connections that waited for it, unless another call may still be answered.
    pub(crate) fn handle_absent(&mut self, key: K) -> Vec<W> {
        let by_alternative = || self.routes.iter().position(|route| route.has_alternative(key));
        let Some(at) = self.index(key).or_else(by_alternative) else { return Vec::new() };
        let route = &mut self.routes[at];
        match route.alternatives.iter_mut().find(|alternative| alternative.call == Some(key)) {
            Some(alternative) => alternative.absent = true,
            None => route.absent = true,
        }
        let is_open = |alternative: &Alternative<K>| alternative.call.is_some() && !alternative.absent;
        let hopes = self.routes[at].alternatives.iter().any(is_open) || self.next_alternative(Some(at)).is_some();
        let route = &mut self.routes[at];
        if route.wants_alternatives() && hopes {
            return Vec::new();
        }
        if let Some(key) = route.standing.key().filter(|_| route.absent) {
            route.standing = Standing::Absent(key);
        }
        std::mem::take(&mut route.waiting)
    }

    /// Nobody will answer soon. Yields all connections that waited for it.
    pub(crate) fn take_waiting(&mut self) -> Vec<W> {
        self.routes.iter_mut().flat_map(|route| std::mem::take(&mut route.waiting)).collect()
    }

    /// The call for a successor was answered: its session takes the place of the one there was, which is yielded.
    pub(crate) fn handle_succeeded(&mut self, now: Instant, successor: K) -> Option<K> {
        let at = self.routes.iter().position(|route| route.beside.call() == Some(successor))?;
        self.forget_proofs(at);
        let route = &mut self.routes[at];
        route.beside.settle();
        let old = route.replace(successor)?;
        self.replaced.push(Replaced { key: old, until: Some(now + GRACE) });
        Some(old)
    }

    /// The next session that was replaced and has had its grace.
    pub(crate) fn poll_replaced(&mut self, now: Instant) -> Option<K> {
        let is_over = |replaced: &Replaced<K>| replaced.until.is_some_and(|until| until <= now);
        let at = self.replaced.iter().position(is_over)?;
        Some(self.replaced.swap_remove(at).key)
    }

    /// Sessions whose path came back after another had taken their place: they end with their connections.
    pub(crate) fn resumed_too_late(&self) -> Vec<K> {
        self.replaced.iter().filter(|replaced| replaced.until.is_none()).map(|replaced| replaced.key).collect()
    }

    /// Whether this is the first failure since the route was last up.
    pub(crate) fn is_first_failure(&self, key: K) -> bool {
        let route = self.routes.iter().find(|route| route.standing.key() == Some(key));
        route.is_none_or(|route| route.failures == 0)
    }

    /// When there is something to do, given since when we have had a relay.
    pub(crate) fn next_timeout(&self, relay_since: Option<Instant>) -> Option<Instant> {
        let calls = self.routes.iter().filter_map(|route| match route.standing {
            Standing::Resting(until) => Some(until),
            _ => None,
        });
        let successors = self.routes.iter().filter_map(|route| route.beside.call_at(relay_since));
        let graces = self.replaced.iter().filter_map(|replaced| replaced.until);
        calls.chain(successors).chain(graces).min()
    }
}

#[cfg(test)]
#[path = "tests/routes.rs"]
mod tests;
