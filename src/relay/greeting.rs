//! Connections of one worker whose clients have not said who they are.

use super::ConnId;
use super::fair::account::Account;
use super::fair::reading::Known;
use super::output::Output;
use super::router::admission::{Newcomer, Source};
use crate::identity::{Identity, PeerId};
use crate::link::{Answer, Answered, HandshakeFailure, Link};
use crate::wire::Features;
use crate::wire::limits::{HANDSHAKE_DEADLINE, HANDSHAKE_MESSAGE_MAX};
use foldhash::HashMap;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

/// Input that an unauthenticated connection can make us hold, bytes.
pub(super) const GREETING_MAX: usize = 4 * 1024;

/// The same, with what its carrier needs: the hello of TLS, which may be long, the head of a request, and what is around those and
/// the handshake. What of it is kept at a time is for the carrier to bound.
pub(super) const GREETING_CARRIED_MAX: usize = 2 * GREETING_MAX + 16 * 1024;

const _: () = assert!(HANDSHAKE_MESSAGE_MAX < GREETING_MAX);

/// All of them. Whatever has trickled in by its deadline, a connection is closed then.
pub(super) struct Greetings {
    /// What the relay can do.
    features: Features,
    by_conn: HashMap<ConnId, Box<Greeting>>,
    /// In the order in which they pass, for all have the same time. Connections that are through stay until then.
    deadlines: VecDeque<(Instant, ConnId)>,
    /// Connections that have output.
    writable: VecDeque<ConnId>,
}

impl Greetings {
    /// None, for a relay with these features.
    pub(super) fn new(features: Features) -> Greetings {
        Greetings { features, by_conn: HashMap::default(), deadlines: VecDeque::new(), writable: VecDeque::new() }
    }

    /// A connection came in at `now`.
    pub(super) fn insert(&mut self, now: Instant, newcomer: Newcomer) {
        self.by_conn.insert(newcomer.conn, Box::new(Greeting::new(newcomer, self.features.clone())));
        self.deadlines.push_back((now + HANDSHAKE_DEADLINE, newcomer.conn));
    }

    /// One of them.
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Greeting> {
        self.by_conn.get_mut(&conn).map(Box::as_mut)
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Box<Greeting>> {
        self.by_conn.remove(&conn)
    }

    /// Whether there is one.
    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// Which there are.
    pub(super) fn conns(&self) -> Vec<ConnId> {
        self.by_conn.keys().copied().collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_conn.len()
    }

    /// After any change to one: sees to it that its output is written.
    pub(super) fn touch(&mut self, conn: ConnId) {
        if let Some(greeting) = self.by_conn.get_mut(&conn)
            && !greeting.output.is_empty()
            && !std::mem::replace(&mut greeting.listed, true)
        {
            self.writable.push_back(conn);
        }
    }

    /// The next that has output.
    pub(super) fn poll_output(&mut self) -> Option<ConnId> {
        let conn = self.writable.pop_front()?;
        if let Some(greeting) = self.by_conn.get_mut(&conn) {
            greeting.listed = false;
        }
        Some(conn)
    }

    /// When the next one is overdue.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|&(at, _)| at)
    }

    /// One whose time is up.
    pub(super) fn poll_overdue(&mut self, now: Instant) -> Option<ConnId> {
        while let Some((_, conn)) = self.deadlines.pop_front_if(|(at, _)| *at <= now) {
            if self.by_conn.contains_key(&conn) {
                return Some(conn);
            }
        }
        None
    }
}

/// A connection that has not been authenticated.
pub(super) struct Greeting {
    /// The connection.
    pub newcomer: Newcomer,
    /// Whether it is sure where it comes from.
    pub is_settled: bool,
    /// None once the handshake has failed or ended.
    answer: Option<Answer>,
    input: Vec<u8>,
    /// All that was read from it, bytes.
    pub received: usize,
    /// What it is owed: message 2.
    pub output: Output,
    /// Whether it stands in the list of those that have output.
    listed: bool,
    /// Where it stands among those with input.
    pub known: Known,
}

/// How far a handshake got with some input.
pub(super) enum Greeted {
    /// It took all of the input and wants more.
    More,
    /// It is over.
    Done(Authenticated),
}

/// What comes of a handshake.
pub(super) struct Authenticated {
    /// The sealed channel.
    pub link: Box<Link>,
    /// Whose it is.
    pub peer: PeerId,
}

impl Greeting {
    fn new(newcomer: Newcomer, features: Features) -> Greeting {
        Greeting {
            newcomer,
            is_settled: newcomer.front.is_none(),
            answer: Some(Answer::ExpectHello(features)),
            input: Vec::new(),
            received: 0,
            output: Output::default(),
            listed: false,
            known: Known::default(),
        }
    }

    /// It is sure where it comes from.
    pub(super) fn settle(&mut self, source: IpAddr) -> Newcomer {
        (self.newcomer.source, self.is_settled) = (source, true);
        self.newcomer
    }

    /// On whose account it is read.
    pub(super) fn account(&self) -> Account {
        Account::of_stranger(Source::of(self.newcomer.source))
    }

    /// Takes input; returns how much belonged to the handshake. The rest belongs to the link.
    pub(super) fn handle_bytes(
        &mut self,
        identity: &Identity,
        input: &[u8],
    ) -> Result<(usize, Greeted), HandshakeFailure> {
        let mut taken = 0;
        loop {
            let here = (GREETING_MAX - self.input.len()).min(input.len() - taken);
            self.input.extend_from_slice(&input[taken..taken + here]);
            taken += here;
            let mut reply = Vec::new();
            let answer = self.answer.take().ok_or(HandshakeFailure::NotVp)?;
            match answer.handle_bytes(identity, &self.input, &mut reply)? {
                Answered::More(answer, used) => {
                    self.answer = Some(answer);
                    self.input.drain(..used);
                    self.output.sealed(reply, None);
                    match (used, taken == input.len()) {
                        (0, true) => return Ok((taken, Greeted::More)),
                        // Every message is shorter than the buffer.
                        (0, false) => return Err(HandshakeFailure::NotVp),
                        _ => {}
                    }
                }
                Answered::Admitted(admitted) => {
                    self.output.sealed(reply, None);
                    // What is behind the last message came with this input: earlier input was not enough for it.
                    let used = taken - (self.input.len() - admitted.used);
                    let authenticated = Authenticated { link: Box::new(admitted.link), peer: admitted.peer };
                    return Ok((used, Greeted::Done(authenticated)));
                }
            }
        }
    }
}
