//! Which session carries what: one to each peer, and one more for each application that another process of it serves.

use super::service::Service;
use super::slots::Slot;
use crate::identity::{AppName, PeerId};
use crate::node::Key;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Between the end of a session and the next call, at first and at most: a peer that comes back is met soon, one that turns
/// us away is not pestered.
const PAUSE_FIRST: Duration = Duration::from_millis(300);
const PAUSE_MAX: Duration = Duration::from_secs(10);

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
}

#[derive(Clone, Copy, Debug)]
struct Home {
    route: usize,
    /// The process at the other end has taken a stream of the application: it serves it.
    proven: bool,
}

/// All routes.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
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
        self.routes.push(Route { peer, app: app.clone(), key: None, standing, held: Vec::new(), failures: 0 });
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

    /// The number of the route that a session is for.
    pub fn index(&self, key: Key) -> Option<usize> {
        self.routes.iter().position(|route| route.key == Some(key))
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

    /// The session of a route has come to its end, or did not come about. Yields the connections it held.
    pub fn rest(&mut self, now: Instant, key: Key) -> Vec<Slot> {
        let Some(at) = self.index(key) else { return Vec::new() };
        for home in self.homes.values_mut().filter(|home| home.route == at) {
            home.proven = false;
        }
        let route = &mut self.routes[at];
        let pause = PAUSE_FIRST.saturating_mul(1 << route.failures.min(6)).min(PAUSE_MAX);
        route.failures = route.failures.saturating_add(1);
        route.key = None;
        route.standing = Standing::Resting(now + pause);
        std::mem::take(&mut route.held)
    }

    /// The session of a route is up. Yields the connections it held.
    pub fn rise(&mut self, key: Key) -> Option<Vec<Slot>> {
        let route = self.by_key(key)?;
        route.standing = Standing::Up;
        route.failures = 0;
        Some(std::mem::take(&mut route.held))
    }

    /// Whether this is the first failure since the route was last up.
    pub fn is_fresh_failure(&mut self, key: Key) -> bool {
        self.by_key(key).is_none_or(|route| route.failures == 0)
    }

    /// When the next route is to be called.
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = self.routes.iter().filter_map(|route| match route.standing {
            Standing::Resting(until) => Some(until),
            _ => None,
        });
        due.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::node::{Callers, Config, Node, Wait};
    use crate::session::Times;

    fn peer() -> PeerId {
        Identity::generate().id()
    }

    fn app(name: &str) -> AppName {
        name.parse().unwrap()
    }

    /// Keys come from a node alone.
    fn key(now: Instant) -> Key {
        let times = Times { dead_time: PAUSE_MAX, resume_timeout: PAUSE_MAX, lane_life: PAUSE_MAX };
        let config = Config {
            identity: Identity::generate(),
            relays: vec![peer()],
            callers: Callers::Nobody,
            wait: Wait::Forever,
            times,
            callers_max: 1,
            seed: 1,
        };
        Node::new(now, config).call(now, peer(), app("pg"))
    }

    #[test]
    fn a_peer_has_one_route_until_another_process_of_it_serves_something() {
        let (now, depot) = (Instant::now(), peer());
        let mut routes = Routes::default();
        routes.add(now, depot, &app("pg"));
        routes.add(now, depot, &app("rmi"));
        assert_eq!(routes.route(depot, &app("rmi")).unwrap().app, app("pg"));
        assert!(!routes.part(now, depot, &Service { app: app("pg"), offset: 0 }), "that is the process called");
        assert!(routes.part(now, depot, &Service { app: app("rmi"), offset: 3 }));
        assert_eq!(routes.route(depot, &app("rmi")).unwrap().app, app("rmi"));
        assert!(!routes.part(now, depot, &Service { app: app("rmi"), offset: 3 }), "there is nobody else to ask");
        assert_eq!(routes.routes.len(), 2);
    }

    #[test]
    fn what_is_proven_stays_until_the_session_ends() {
        let (now, depot) = (Instant::now(), peer());
        let mut routes = Routes::default();
        routes.add(now, depot, &app("pg"));
        routes.add(now, depot, &app("rmi"));
        let key = key(now);
        routes.route(depot, &app("pg")).unwrap().key = Some(key);
        assert_eq!(routes.rise(key), Some(Vec::new()));
        routes.prove(depot, &app("rmi"));
        assert!(routes.is_certain(depot, &app("rmi")));
        assert!(!routes.part(now, depot, &Service { app: app("rmi"), offset: 0 }));
        routes.rest(now, key);
        assert!(!routes.is_certain(depot, &app("rmi")));
        assert!(routes.is_certain(depot, &app("pg")), "that is the process called");
        assert_eq!(routes.next_timeout(), Some(now + PAUSE_FIRST));
    }

    #[test]
    fn pauses_grow_to_a_bound_while_calls_fail() {
        let (now, depot) = (Instant::now(), peer());
        let mut routes = Routes::default();
        routes.add(now, depot, &app("pg"));
        let key = key(now);
        let mut last = Duration::ZERO;
        for _ in 0..50 {
            routes.route(depot, &app("pg")).unwrap().key = Some(key);
            routes.rest(now, key);
            let pause = routes.next_timeout().unwrap() - now;
            assert!(pause >= last && pause <= PAUSE_MAX);
            last = pause;
        }
        assert_eq!(last, PAUSE_MAX);
    }
}
