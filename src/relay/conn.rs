//! A connection at its worker: first a handshake, then a port.

use super::attached::Port;
use super::output::Output;
use super::timers::Armed;
use crate::identity::{Identity, PeerId};
use crate::link::{Answer, Answered, HandshakeFailure, Link};
use crate::wire::limits::{HANDSHAKE_DEADLINE, HANDSHAKE_MESSAGE_MAX};
use std::time::Instant;

/// Input that an unauthenticated connection can make us hold, bytes.
const GREETING_MAX: usize = 4 * 1024;

const _: () = assert!(HANDSHAKE_MESSAGE_MAX < GREETING_MAX);

/// A connection.
pub enum Conn {
    /// Nobody knows whose it is.
    Greeting(Box<Greeting>),
    /// An admitted link.
    Open(Box<Port>),
}

/// A connection that has not been authenticated.
pub struct Greeting {
    /// None once the handshake has failed or ended.
    answer: Option<Answer>,
    input: Vec<u8>,
    /// What it is owed: message 2.
    pub output: Output,
    /// When it is closed, whatever has trickled in by then.
    pub deadline: Instant,
    /// Whether it stands in the list of connections with output.
    pub dirty: bool,
    /// Its timer.
    pub armed: Armed,
}

/// How far a handshake got with some input.
pub enum Greeted {
    /// It took all of the input and wants more.
    More,
    /// It is over.
    Admitted {
        /// The link.
        link: Box<Link>,
        /// Whose it is.
        peer: PeerId,
    },
}

impl Greeting {
    /// A connection accepted at `now`.
    pub fn new(now: Instant) -> Greeting {
        Greeting {
            answer: Some(Answer::ExpectHello),
            input: Vec::new(),
            output: Output::default(),
            deadline: now + HANDSHAKE_DEADLINE,
            dirty: false,
            armed: Armed::default(),
        }
    }

    /// Takes input; returns how much belonged to the handshake. The rest belongs to the link.
    pub fn handle_bytes(&mut self, identity: &Identity, input: &[u8]) -> Result<(usize, Greeted), HandshakeFailure> {
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
                    return Ok((used, Greeted::Admitted { link: Box::new(admitted.link), peer: admitted.peer }));
                }
            }
        }
    }
}
