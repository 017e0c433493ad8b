//! From several places to one connection (RFC 8305, "happy eyeballs").
//!
//! A machine that is gone says nothing, and to wait for it would cost whoever waits all the patience he has. So the next
//! place is tried a short while after the last, the first that answers is taken, and the others are closed.

use super::endpoint::Endpoint;
use super::local_address::is_of_this_machine;
use super::options::Purpose;
use super::socket::Socket;
use mio::{Registry, Token};
use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Between two places, if the earlier one says nothing (section 5).
const PAUSE: Duration = Duration::from_millis(250);
/// Places that are tried at a time. The oldest makes room for the next one: it had a second and a half.
const AT_ONCE: usize = 6;

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk {
    purpose: Purpose,
    token: Token,
    /// All there were, in no matter what state.
    known: Vec<Endpoint>,
    /// Of them, those that must not be this machine's.
    elsewhere: Vec<SocketAddr>,
    left: VecDeque<Endpoint>,
    trying: VecDeque<Socket>,
    next_at: Option<Instant>,
    fault: Option<io::Error>,
}

/// A place was not tried: its address is this machine's, and must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Barred;

impl fmt::Display for Barred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address of this machine")
    }
}

impl Error for Barred {}

/// Whether a walk failed because what it led to is this machine.
pub(crate) fn is_barred(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<Barred>())
}

/// How far a walk is.
#[derive(Debug)]
pub(crate) enum Walked {
    /// Call again after the next event or [`Walk::next_timeout`].
    Later,
    /// Somebody answered.
    Reached(Socket),
    /// Nobody is there; what was heard last, or a refusal. More places may be added.
    Failed(io::Error),
}

impl Walk {
    /// Towards these places. Events of its sockets have `token`, all the same one: whatever comes, all of them are looked at.
    pub(crate) fn new(purpose: Purpose, token: Token, places: impl IntoIterator<Item = Endpoint>) -> Walk {
        let mut walk = Walk {
            purpose,
            token,
            known: Vec::new(),
            elsewhere: Vec::new(),
            left: VecDeque::new(),
            trying: VecDeque::new(),
            next_at: None,
            fault: None,
        };
        walk.add(places);
        walk
    }

    /// Without what is this machine's of these addresses. That is asked when each is tried: what a name stood for when it was
    /// looked up, or what an interface had then, says nothing of later.
    #[must_use]
    pub(crate) fn only_elsewhere(self, addresses: Vec<SocketAddr>) -> Walk {
        Walk { elsewhere: addresses, ..self }
    }

    /// Adds places, but for those that were known before. Families take turns, the first one begins.
    pub(crate) fn add(&mut self, places: impl IntoIterator<Item = Endpoint>) {
        let mut fresh = Vec::new();
        for place in places {
            if !self.known.contains(&place) {
                self.known.push(place.clone());
                fresh.push(place);
            }
        }
        self.left.extend(interleaved(fresh));
    }

    /// Looks who has answered, and begins with the next place if it is time.
    pub(crate) fn advance(&mut self, now: Instant, registry: &Registry) -> Walked {
        loop {
            if let Some(socket) = self.take_connected() {
                return Walked::Reached(socket);
            }
            let due = self.trying.is_empty() || self.next_at.is_none_or(|at| at <= now);
            let Some(place) = due.then(|| self.left.pop_front()).flatten() else { break };
            self.begin(now, registry, &place);
        }
        if self.trying.is_empty() {
            return Walked::Failed(self.fault.take().unwrap_or_else(|| io::ErrorKind::NotFound.into()));
        }
        Walked::Later
    }

    /// When to look again even without an event.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.next_at.filter(|_| !self.left.is_empty() && !self.trying.is_empty())
    }

    fn take_connected(&mut self) -> Option<Socket> {
        let mut at = 0;
        while let Some(socket) = self.trying.get(at) {
            match socket.is_connected() {
                Ok(true) => {
                    let mut socket = self.trying.remove(at)?;
                    // What was heard of it was taken for news of any of them.
                    socket.rouse();
                    return Some(socket);
                }
                Ok(false) => at += 1,
                Err(error) => {
                    self.trying.remove(at);
                    self.note(error);
                    // Who has been turned away need not wait.
                    self.next_at = None;
                }
            }
        }
        None
    }

    fn begin(&mut self, now: Instant, registry: &Registry, place: &Endpoint) {
        let socket = self.may_try(place).and_then(|()| Socket::connect(place, self.purpose)).and_then(|mut socket| {
            socket.register(registry, self.token)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => {
                if self.trying.len() >= AT_ONCE {
                    self.trying.pop_front();
                    self.note(io::ErrorKind::TimedOut.into());
                }
                self.trying.push_back(socket);
                self.next_at = Some(now + PAUSE);
            }
            Err(error) => self.note(error),
        }
    }

    fn may_try(&self, place: &Endpoint) -> io::Result<()> {
        match place {
            Endpoint::Tcp(address) if self.elsewhere.contains(address) && is_of_this_machine(address.ip())? => {
                Err(io::Error::new(io::ErrorKind::PermissionDenied, Barred))
            }
            _ => Ok(()),
        }
    }

    /// Somebody who refuses is there, which says more than that somebody else is not.
    fn note(&mut self, error: io::Error) {
        let refused = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if !self.fault.as_ref().is_some_and(refused) {
            self.fault = Some(error);
        }
    }
}

/// Section 4: the first place, then the first of the other family, then the second of the first one.
fn interleaved(places: Vec<Endpoint>) -> Vec<Endpoint> {
    let is_six = |place: &Endpoint| matches!(place, Endpoint::Tcp(address) if address.is_ipv6());
    let first = places.first().is_some_and(is_six);
    let (these, those): (Vec<Endpoint>, Vec<Endpoint>) = places.into_iter().partition(|place| is_six(place) == first);
    let mut mixed = Vec::with_capacity(these.len() + those.len());
    let (mut these, mut those) = (these.into_iter(), those.into_iter());
    loop {
        let pair = [these.next(), those.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::options::Keepalive;
    use crate::net::reactor::{FIRST_TOKEN, Reactor};
    use socket2::{Domain, Socket as RawSocket, Type};
    use std::io::Write as _;

    fn tcp(text: &str) -> Endpoint {
        Endpoint::Tcp(text.parse().unwrap())
    }

    /// An address that answers nothing: its backlog is full, so the kernel drops whatever asks for a connection.
    struct Hole {
        _listener: RawSocket,
        _filling: Vec<RawSocket>,
        at: Endpoint,
    }

    impl Hole {
        fn new() -> Hole {
            let listener = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
            listener.listen(0).unwrap();
            let at = listener.local_addr().unwrap();
            let filling = (0..4).map(|_| {
                let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                socket.set_nonblocking(true).unwrap();
                let _ = socket.connect(&at);
                socket
            });
            Hole { _filling: filling.collect(), _listener: listener, at: Endpoint::Tcp(at.as_socket().unwrap()) }
        }
    }

    /// A port on which nobody listens, and that nobody else gets while the socket is held.
    fn closed() -> (RawSocket, Endpoint) {
        let socket = RawSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let at = socket.local_addr().unwrap().as_socket().unwrap();
        (socket, Endpoint::Tcp(at))
    }

    fn walk(places: Vec<Endpoint>) -> Walk {
        Walk::new(Purpose::Application(Keepalive::after(Duration::ZERO)), Token(FIRST_TOKEN), places)
    }

    /// Its end, and how long it took.
    fn walked(mut walk: Walk) -> (io::Result<Option<SocketAddr>>, Duration) {
        let mut reactor = Reactor::new(8).unwrap();
        let began = Instant::now();
        loop {
            let now = Instant::now();
            match walk.advance(now, reactor.registry()) {
                Walked::Reached(socket) => return (Ok(socket.addresses().map(|(_, to)| to)), began.elapsed()),
                Walked::Failed(error) => return (Err(error), began.elapsed()),
                Walked::Later => {}
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it goes on and on");
            let wait = walk.next_timeout().map_or(Duration::from_secs(1), |at| at.saturating_duration_since(now));
            reactor.wait(Some(wait)).unwrap();
        }
    }

    #[test]
    fn one_that_says_nothing_costs_a_quarter_of_a_second() {
        let (hole, good) = (Hole::new(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let at = good.local_addr().unwrap();
        let (end, took) = walked(walk(vec![hole.at.clone(), Endpoint::Tcp(at)]));
        assert_eq!(end.unwrap(), Some(at));
        assert!(took >= PAUSE, "the first one was not given its time: {took:?}");
        let many = (0..AT_ONCE + 2).map(|_| Hole::new()).collect::<Vec<_>>();
        let places = many.iter().map(|hole| hole.at.clone()).chain([Endpoint::Tcp(at)]).collect();
        assert_eq!(walked(walk(places)).0.unwrap(), Some(at), "more silent ones than are tried at a time");
    }

    #[test]
    fn one_that_refuses_costs_nothing_and_is_what_is_told_of() {
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = good.local_addr().unwrap();
        let refusing: Vec<_> = (0..20).map(|_| closed()).collect();
        let places = refusing.iter().map(|(_, place)| place.clone()).chain([Endpoint::Tcp(at)]);
        let (end, took) = walked(walk(places.collect()));
        assert_eq!(end.unwrap(), Some(at));
        assert!(took < 20 * PAUSE, "{took:?}");
        // Nobody can connect to where all broadcast.
        let (_held, refusing) = closed();
        let nowhere = [refusing, tcp("255.255.255.255:9")];
        assert_eq!(walked(walk(nowhere.to_vec())).0.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(walked(walk(Vec::new())).0.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_was_heard_on_the_way_is_not_lost_to_whoever_gets_the_socket() {
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut walk = walk(vec![Endpoint::Tcp(good.local_addr().unwrap())]);
        let mut reactor = Reactor::new(8).unwrap();
        let first = walk.advance(Instant::now(), reactor.registry());
        let (mut theirs, _) = good.accept().unwrap();
        theirs.write_all(b"x").unwrap();
        drop(theirs);
        // All there will ever be to hear, and nobody who knows whose it is.
        reactor.wait(None).unwrap();
        reactor.wait(Some(Duration::ZERO)).unwrap();
        let mut socket = match first {
            Walked::Reached(socket) => socket,
            _ => match walk.advance(Instant::now(), reactor.registry()) {
                Walked::Reached(socket) => socket,
                other => panic!("{other:?}"),
            },
        };
        let mut byte = [0; 8];
        assert!(socket.is_readable());
        assert_eq!(socket.try_read(&mut byte).unwrap(), crate::net::Read::Bytes(1));
        assert!(socket.is_readable(), "its end came before anybody heard of it");
        assert_eq!(socket.try_read(&mut byte).unwrap(), crate::net::Read::End);
    }

    #[test]
    fn whoever_has_failed_goes_on_with_places_that_are_new() {
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (_held, nobody) = closed();
        let at = Endpoint::Tcp(good.local_addr().unwrap());
        let reactor = Reactor::new(8).unwrap();
        let mut walk = walk(vec![nobody.clone()]);
        let failed = |walk: &mut Walk| loop {
            match walk.advance(Instant::now(), reactor.registry()) {
                Walked::Later => {}
                Walked::Failed(_) => break true,
                Walked::Reached(_) => break false,
            }
        };
        assert!(failed(&mut walk));
        walk.add([nobody.clone()]);
        assert!(walk.left.is_empty(), "it is known");
        walk.add([nobody, at]);
        assert!(!failed(&mut walk));
    }

    #[test]
    fn an_address_that_must_be_elsewhere_is_not_tried_where_it_is_here() {
        let good = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = good.local_addr().unwrap();
        let (end, _) = walked(walk(vec![Endpoint::Tcp(at)]).only_elsewhere(vec![at]));
        assert!(is_barred(&end.unwrap_err()));
        good.set_nonblocking(true).unwrap();
        assert_eq!(good.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody knocked");
        // Others of the walk are tried, and a refusal of somebody else is not taken for ours.
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let second = other.local_addr().unwrap();
        let (end, _) = walked(walk(vec![Endpoint::Tcp(at), Endpoint::Tcp(second)]).only_elsewhere(vec![at]));
        assert_eq!(end.unwrap(), Some(second));
        assert!(!is_barred(&io::ErrorKind::PermissionDenied.into()));
    }

    #[test]
    fn families_take_turns() {
        let places = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"].map(tcp).to_vec();
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"].map(tcp);
        assert_eq!(interleaved(places), expected);
        let one_family = ["1.1.1.1:1", "1.1.1.2:1"].map(tcp);
        assert_eq!(interleaved(one_family.to_vec()), one_family);
        assert_eq!(interleaved(Vec::new()), []);
    }
}
