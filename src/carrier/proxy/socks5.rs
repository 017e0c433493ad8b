//! SOCKS version 5 (RFC 1928), the client's side: no login, or user and password (RFC 1929).

use super::{Destination, Login, Output, Refusal, Step};
use std::net::IpAddr;
use std::sync::Arc;

const VERSION: u8 = 5;
/// Ways to say who asks (RFC 1928, 3): not at all; by user and password; none of those that were offered.
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_WAY: u8 = 0xff;
/// Of the negotiation about user and password.
const LOGIN_VERSION: u8 = 1;
const CONNECT: u8 = 1;
/// How an address is written (RFC 1928, 5).
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
/// Bytes of a port.
const PORT_BYTES: usize = 2;

/// What is to come.
enum Awaits {
    /// The way to say who asks.
    Way,
    /// Whether the user may.
    LoginAnswer,
    /// Whether there is a connection, and the address it comes from.
    Reply,
}

/// See the module.
pub(super) struct Socks5 {
    request: Vec<u8>,
    login: Option<Arc<Login>>,
    awaits: Awaits,
    /// What came of that.
    heard: Vec<u8>,
    pub(super) output: Output,
    pub(super) step: Step,
}

impl Socks5 {
    pub(super) fn new(to: &Destination, login: Option<Arc<Login>>) -> Socks5 {
        let mut output = Output::default();
        output.say(match login {
            Some(_) => vec![VERSION, 2, NO_LOGIN, PASSWORD],
            None => vec![VERSION, 1, NO_LOGIN],
        });
        Socks5 { request: request(to), login, awaits: Awaits::Way, heard: Vec::new(), output, step: Step::Waits }
    }

    pub(super) fn handle_bytes(&mut self, input: &[u8]) -> usize {
        for (at, byte) in input.iter().enumerate() {
            if self.step != Step::Waits {
                return at;
            }
            self.heard.push(*byte);
            self.handle_heard();
        }
        input.len()
    }

    pub(super) fn handle_end(&mut self) {
        if self.step == Step::Waits {
            self.refuse(Refusal::Closed);
        }
    }

    fn refuse(&mut self, why: Refusal) {
        self.step = Step::Refused(why);
    }

    /// Says this, and waits for that.
    fn go_on(&mut self, words: Vec<u8>, awaits: Awaits) {
        self.heard.clear();
        self.output.say(words);
        self.awaits = awaits;
    }

    fn handle_heard(&mut self) {
        match (&self.awaits, &self.heard[..]) {
            (Awaits::Way, [VERSION]) | (Awaits::LoginAnswer, [LOGIN_VERSION]) | (Awaits::Reply, [VERSION]) => {}
            (Awaits::Way, [VERSION, NO_LOGIN]) => self.go_on(self.request.clone(), Awaits::Reply),
            (Awaits::Way, [VERSION, way]) => match (*way, &self.login) {
                (PASSWORD, Some(login)) => self.go_on(password(login), Awaits::LoginAnswer),
                (NO_WAY, Some(_)) => self.refuse(Refusal::LoginUnknown(String::new())),
                (NO_WAY, None) => self.refuse(Refusal::LoginWanted),
                _ => self.refuse(Refusal::NotProxy),
            },
            (Awaits::LoginAnswer, [LOGIN_VERSION, 0]) => self.go_on(self.request.clone(), Awaits::Reply),
            (Awaits::LoginAnswer, [LOGIN_VERSION, _]) => self.refuse(Refusal::LoginRefused),
            (Awaits::Reply, [VERSION, 0]) => {}
            (Awaits::Reply, [VERSION, code]) => self.refuse(Refusal::Reply(*code)),
            (Awaits::Reply, [VERSION, 0, rest @ ..]) => match reply_ends(rest) {
                Ok(false) => {}
                Ok(true) => self.step = Step::Open,
                Err(()) => self.refuse(Refusal::NotProxy),
            },
            _ => self.refuse(Refusal::NotProxy),
        }
    }
}

/// Whether this, from the reserved byte on, is the whole of an address; an error if it will be none.
fn reply_ends(rest: &[u8]) -> Result<bool, ()> {
    let address = match rest {
        [] | [_] | [_, NAME] => return Ok(false),
        [_, IPV4, ..] => 4,
        [_, IPV6, ..] => 16,
        [_, NAME, length, ..] => 1 + usize::from(*length),
        _ => return Err(()),
    };
    Ok(rest.len() == 2 + address + PORT_BYTES)
}

/// The request for a tunnel. A name that is too long to be one is cut off, and nobody will know it.
fn request(to: &Destination) -> Vec<u8> {
    let mut request = vec![VERSION, CONNECT, 0];
    match to.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.push(NAME);
            put(&mut request, &to.host);
        }
    }
    request.extend(to.port.to_be_bytes());
    request
}

/// User and password (RFC 1929, 2).
fn password(login: &Login) -> Vec<u8> {
    let Login { user, password } = login;
    let mut words = Vec::with_capacity(3 + user.len() + password.len());
    words.push(LOGIN_VERSION);
    put(&mut words, user);
    put(&mut words, password);
    words
}

/// A text behind its length.
fn put(words: &mut Vec<u8>, text: &str) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    words.push(length);
    words.extend(&text.as_bytes()[..usize::from(length)]);
}

#[cfg(test)]
#[path = "tests/socks5.rs"]
mod tests;
