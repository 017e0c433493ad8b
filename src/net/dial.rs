//! Connections to relays: the name looked up, then a walk over its addresses, and never a wait.

use super::endpoint::Endpoint;
use super::lookup::Lookup;
use super::options::Purpose;
use super::reactor::Reactor;
use super::socket::Socket;
use super::walk::{Walk, Walked};
use mio::{Registry, Token};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Names at a time of which the resolver has not said anything: each is a thread.
const LOOKUPS_MAX: usize = 8;
/// An answer that came when nobody waited for it is good for so long after somebody began to.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(60);

enum DialState {
    Resolving(Asked),
    Walking(Walk),
}

/// A name that is being looked up, and since when somebody waits for it, or did last.
struct Asked {
    host: String,
    lookup: Lookup,
    since: Instant,
}

/// The names of which nobody waits for the answer any more. The resolver cannot be stopped: whoever dials one of them again waits
/// for the answer that is under way, or has the one that came too late, and makes no further thread.
#[derive(Default)]
pub(crate) struct Lookups(Vec<Asked>);

impl Lookups {
    /// What is known of a name by now: its addresses, or that it is being looked up, if need be by `look`.
    ///
    /// # Errors
    /// What the resolver has said, or there is no thread for it.
    fn ask(&mut self, now: Instant, host: &str, look: impl FnOnce() -> io::Result<Lookup>) -> io::Result<Lookup> {
        if let Some(at) = self.0.iter().position(|asked| asked.host == host) {
            let Asked { lookup, since, .. } = self.0.swap_remove(at);
            match lookup.poll() {
                None => return Ok(lookup),
                Some(Ok(addresses)) if now < since + ANSWER_AGE_MAX => return Ok(Lookup::answered(Ok(addresses))),
                Some(_) => {}
            }
        }
        self.0.retain(|asked| !asked.lookup.thread().is_over() || now < asked.since + ANSWER_AGE_MAX);
        if self.0.iter().filter(|asked| !asked.lookup.thread().is_over()).count() >= LOOKUPS_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        look()
    }
}

/// A connection in the making. Whoever makes it says when it has taken too long.
pub(crate) struct Dialer {
    step: DialState,
    port: u16,
    token: Token,
}

/// Where to.
pub(crate) struct To<'a> {
    /// A name or an address.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// What was asked before in vain.
    pub lookups: &'a mut Lookups,
}

/// How far a dialler is.
pub(crate) enum Dialled {
    /// Call again after the next event or [`Dialer::next_timeout`].
    Later(Dialer),
    /// Connected.
    Connected(Socket),
    /// No address worked; why.
    Failed(io::Error),
}

impl Dialer {
    /// Starts towards `host`, a name or an address, and a port. Events have `token`; the loop is woken when the name is resolved.
    pub(crate) fn start(now: Instant, reactor: &Reactor, token: Token, to: To<'_>) -> Dialled {
        let To { host, port, lookups } = to;
        let step = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => DialState::walk(token, [SocketAddr::new(address, port)]),
            Err(_) => match lookups.ask(now, host, || Lookup::start(host, reactor.waker())) {
                Ok(lookup) => DialState::Resolving(Asked { host: host.to_owned(), lookup, since: now }),
                Err(error) => return Dialled::Failed(error),
            },
        };
        Dialer { step, port, token }.advance(now, reactor.registry())
    }

    /// Gives it up. A name that is being looked up is one of those of which nobody waits for the answer.
    pub(crate) fn give_up(self, lookups: &mut Lookups) {
        if let DialState::Resolving(asked) = self.step {
            lookups.0.push(asked);
        }
    }

    /// Looks how far it is.
    pub(crate) fn advance(mut self, now: Instant, registry: &Registry) -> Dialled {
        if let DialState::Resolving(asked) = &self.step {
            match asked.lookup.poll() {
                None => return Dialled::Later(self),
                Some(Err(error)) => return Dialled::Failed(error),
                Some(Ok(addresses)) => {
                    let port = self.port;
                    let addresses = addresses.into_iter().map(|mut address| {
                        address.set_port(port);
                        address
                    });
                    self.step = DialState::walk(self.token, addresses);
                }
            }
        }
        let DialState::Walking(walk) = &mut self.step else { return Dialled::Later(self) };
        match walk.advance(now, registry) {
            Walked::Later => Dialled::Later(self),
            Walked::Failed(error) => Dialled::Failed(error),
            Walked::Reached(socket) => Dialled::Connected(socket),
        }
    }

    /// Whether the addresses are known, so that it is for one of them to answer.
    pub(crate) fn is_resolved(&self) -> bool {
        matches!(self.step, DialState::Walking(_))
    }

    /// When to look again even without an event.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        match &self.step {
            DialState::Walking(walk) => walk.next_timeout(),
            DialState::Resolving(_) => None,
        }
    }
}

impl DialState {
    fn walk(token: Token, addresses: impl IntoIterator<Item = SocketAddr>) -> DialState {
        DialState::Walking(Walk::new(Purpose::Link, token, addresses.into_iter().map(Endpoint::Tcp)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::lookup::Asked as Thread;

    const TOKEN: Token = Token(7);

    /// A dial to a name that is given up; what the resolver's thread holds, if that took one.
    fn dial_in_vain(lookups: &mut Lookups, now: Instant, host: &str) -> io::Result<Option<Thread>> {
        let mut thread = None;
        let lookup = lookups.ask(now, host, || {
            let (asked, lookup) = Lookup::new();
            thread = Some(asked);
            Ok(lookup)
        })?;
        let step = DialState::Resolving(Asked { host: host.to_owned(), lookup, since: now });
        Dialer { step, port: 1, token: TOKEN }.give_up(lookups);
        Ok(thread)
    }

    fn found() -> io::Result<Vec<SocketAddr>> {
        Ok(vec!["127.0.0.1:0".parse().unwrap()])
    }

    #[test]
    fn a_name_that_the_resolver_says_nothing_of_takes_one_thread_however_often_it_is_dialled() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let threads: Vec<_> = (0..100).map(|n| dial_in_vain(&mut lookups, now + n * ANSWER_AGE_MAX, "one")).collect();
        assert_eq!(threads.iter().filter(|thread| thread.as_ref().is_ok_and(Option::is_some)).count(), 1);
        assert_eq!(lookups.0.len(), 1);
    }

    #[test]
    fn names_have_so_many_threads_together_and_one_that_has_ended_gives_its_place_back() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let names: Vec<String> = (0..=LOOKUPS_MAX).map(|n| n.to_string()).collect();
        let mut threads: Vec<_> = names.iter().map(|name| dial_in_vain(&mut lookups, now, name)).collect();
        assert!(threads.pop().is_some_and(|last| last.is_err()));
        assert!(threads.iter().all(|thread| thread.as_ref().is_ok_and(Option::is_some)));
        drop(threads.pop());
        assert!(dial_in_vain(&mut lookups, now, &names[LOOKUPS_MAX]).is_ok_and(|thread| thread.is_some()));
    }

    #[test]
    fn an_answer_that_came_too_late_serves_the_next_dial_unless_it_is_old_or_none() {
        for (answer, later, asks_again) in [
            (found(), ANSWER_AGE_MAX / 2, false),
            (found(), ANSWER_AGE_MAX, true),
            (Err(io::ErrorKind::NotFound.into()), ANSWER_AGE_MAX / 2, true),
        ] {
            let (mut lookups, now) = (Lookups::default(), Instant::now());
            let thread = dial_in_vain(&mut lookups, now, "slow").unwrap().expect("a thread");
            thread.answer(answer);
            let mut asked = false;
            let lookup = lookups.ask(now + later, "slow", || {
                asked = true;
                Ok(Lookup::answered(found()))
            });
            assert_eq!(lookup.unwrap().poll().unwrap().unwrap(), found().unwrap());
            assert_eq!((asked, lookups.0.len()), (asks_again, 0));
        }
    }
}
