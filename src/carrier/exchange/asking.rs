//! A client's end of one connection: it asks, and hears the answer.

use super::chunks::Chunks;
use super::{Front, PADDING_BYTES, What};
use crate::carrier::end::{CloseStatus, End};
use crate::carrier::http::{self, Answer, Fields, Head, Malformed};
use std::io::IoSlice;

/// Answers that say that the answer is yet to come, at most.
const SKIPPED_MAX: usize = 16;
/// Bytes of an answer to a POST that are read for the sake of the connection, at most.
const PAGE_MAX: u64 = 64 * 1024;

#[derive(Debug)]
enum State {
    /// Nothing is asked.
    Idle,
    /// This was asked, and so many answers were none yet.
    ExpectAnswer(Head, What, usize),
    /// Its answer has begun.
    Content(What, Body),
    Over(End),
}

/// How long what is behind a head is.
#[derive(Debug)]
enum Body {
    Chunked(Chunks),
    Exact(u64),
    /// As long as the connection: whoever passes it on has taken away how long it is.
    ToEnd,
}

/// See the module.
#[derive(Debug)]
pub(in crate::carrier) struct Asking {
    state: State,
    front: Front,
    /// Bytes of the link that a head has promised, and that are yet to go.
    promised: usize,
    /// Bytes at the front of an answer that mean nothing.
    padding: usize,
    /// What was answered, until that is asked.
    done: Option<What>,
    /// No other request goes out on it.
    is_spent: bool,
    /// A proxy makes the requests that are asked on it.
    is_passed_on: bool,
    /// What it says of the login that a proxy wants: its head.
    wanted: Option<Vec<u8>>,
}

impl Default for Asking {
    fn default() -> Asking {
        Asking {
            state: State::Idle,
            front: Front::default(),
            promised: 0,
            padding: 0,
            done: None,
            is_spent: false,
            is_passed_on: false,
            wanted: None,
        }
    }
}

impl Asking {
    /// The requests on it are made by a proxy. Some make only the first, and let all that follows through as it is, with whatever it
    /// says of a login: another is asked only where an answer has said that the proxy takes one.
    pub(in crate::carrier) fn pass_on(&mut self) {
        self.is_passed_on = true;
    }

    /// Asks for this with a head of these words, and behind that as many bytes of the link as it says.
    pub(in crate::carrier) fn ask(&mut self, what: What, head: &[u8]) {
        self.front.say(head);
        self.promised = if let What::Up(_, length) = what { length } else { 0 };
        self.padding = if let What::Down(_) = what { PADDING_BYTES } else { 0 };
        self.state = State::ExpectAnswer(Head::default(), what, 0);
    }

    /// Whether something else may be asked.
    pub(in crate::carrier) fn is_free(&self) -> bool {
        matches!(self.state, State::Idle) && !self.is_spent && self.front.left().is_empty()
    }

    /// Whether what it has promised is gone.
    pub(in crate::carrier) fn has_said(&self) -> bool {
        self.promised == 0 && self.front.left().is_empty()
    }

    /// What was answered, once.
    pub(in crate::carrier) fn take_done(&mut self) -> Option<What> {
        self.done.take()
    }

    /// Whether an answer that goes on has begun: what there was to say before the link has come.
    pub(in crate::carrier) fn is_through(&self) -> bool {
        matches!(self.state, State::Content(What::Down(_), _)) && self.padding == 0
    }

    /// The head of an answer by which a proxy wants to know who asks, if that is how it has ended.
    pub(in crate::carrier) fn wanted(&self) -> Option<&[u8]> {
        self.wanted.as_deref()
    }

    /// How it has ended, if it has.
    pub(in crate::carrier) fn end(&self) -> Option<End> {
        if let State::Over(end) = self.state { Some(end) } else { None }
    }

    /// The connection has ended: whether that is in order, as nothing was under way.
    pub(in crate::carrier) fn ends_in_order(&self) -> bool {
        matches!(self.state, State::Idle) && self.has_said()
    }

    /// Wire bytes came: those of the link among them are put at the front, and counted.
    pub(in crate::carrier) fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        let (mut read, mut kept) = (0, 0);
        while read < wire.len() {
            match &mut self.state {
                State::Idle => self.break_off(),
                State::Over(_) => break,
                State::ExpectAnswer(head, what, skipped) => {
                    let (what, skipped) = (*what, *skipped);
                    let heard = head.handle_bytes(&wire[read..]);
                    read += self.hear_head(heard, what, skipped);
                }
                State::Content(..) => {
                    let begin = kept;
                    self.hear_content(wire, &mut read, &mut kept);
                    self.drop_padding(wire, begin, &mut kept);
                }
            }
        }
        kept
    }

    fn break_off(&mut self) {
        self.state = State::Over(End::Broken(CloseStatus::Protocol));
    }

    /// The head of an answer has grown, or is whole; how many of the bytes were used.
    fn hear_head(&mut self, heard: Result<(usize, bool), Malformed>, what: What, skipped: usize) -> usize {
        let State::ExpectAnswer(head, ..) = &self.state else { return 0 };
        let not_taken = |status| State::Over(End::NotTaken(status));
        let (used, state) = match heard {
            Ok((used, false)) if head.may_answer() => return used,
            Ok((used, true)) => match http::with_answer(head.bytes(), Heard::of) {
                Ok(Heard::Later) if skipped < SKIPPED_MAX => {
                    (used, State::ExpectAnswer(Head::default(), what, skipped + 1))
                }
                Ok(Heard::Good(body, goes_on)) => {
                    self.is_spent |= match goes_on {
                        GoesOn::No => true,
                        GoesOn::Unsaid => self.is_passed_on,
                        GoesOn::Said => false,
                    };
                    (used, State::Content(what, body))
                }
                Ok(Heard::LoginWanted) => {
                    self.wanted = Some(head.bytes().to_vec());
                    (used, not_taken(Some(407)))
                }
                Ok(Heard::Status(status)) => (used, not_taken(Some(status))),
                Ok(Heard::Later) | Err(Malformed) => (used, not_taken(None)),
            },
            Ok((used, false)) => (used, not_taken(None)),
            Err(Malformed) => (0, not_taken(http::status(head.bytes()).filter(|status| *status >= 300))),
        };
        self.state = state;
        self.end_content();
        used
    }

    /// Moves content from `read` on to `kept`. Both go on.
    fn hear_content(&mut self, wire: &mut [u8], read: &mut usize, kept: &mut usize) {
        let State::Content(what, body) = &mut self.state else { return };
        let begin = *kept;
        let is_good = match body {
            Body::Chunked(chunks) => chunks.handle_wire(wire, read, kept).is_ok(),
            Body::Exact(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(wire.len() - *read);
                wire.copy_within(*read..*read + count, *kept);
                (*read, *kept, *left) = (*read + count, *kept + count, *left - count as u64);
                true
            }
            Body::ToEnd => {
                let count = wire.len() - *read;
                wire.copy_within(*read.., *kept);
                (*read, *kept) = (*read + count, *kept + count);
                true
            }
        };
        if let What::Up(..) = what {
            // Whatever an answer to a POST says, it is read for the sake of what follows.
            *kept = begin;
        }
        if is_good { self.end_content() } else { self.break_off() }
    }

    /// Takes what means nothing out of content from `begin` on.
    fn drop_padding(&mut self, wire: &mut [u8], begin: usize, kept: &mut usize) {
        let count = self.padding.min(*kept - begin);
        if count > 0 {
            wire.copy_within(begin + count..*kept, begin);
            (self.padding, *kept) = (self.padding - count, *kept - count);
        }
        if self.padding > 0 && matches!(self.state, State::Idle) {
            self.break_off();
        }
    }

    /// What was asked is answered, if all of that has come.
    fn end_content(&mut self) {
        let State::Content(what, body) = &self.state else { return };
        let is_over = match body {
            Body::Chunked(chunks) => chunks.is_over(),
            Body::Exact(left) => {
                if let (What::Up(..), PAGE_MAX..) = (what, *left) {
                    self.is_spent = true;
                }
                *left == 0
            }
            Body::ToEnd => false,
        };
        if is_over {
            if !self.has_said() {
                // Whoever has answered has not heard all, and cannot have passed it on.
                return self.break_off();
            }
            (self.done, self.state) = (Some(*what), State::Idle);
        }
    }

    /// What is to be written next, where the link shows this; how many of `wire` are in use.
    pub(in crate::carrier) fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        if !self.front.left().is_empty() && !wire.is_empty() {
            wire[0] = IoSlice::new(self.front.left());
            used = 1;
        }
        let mut left = self.promised;
        for slice in link.iter().filter(|slice| !slice.is_empty()) {
            if left == 0 || used == wire.len() {
                break;
            }
            let here = slice.len().min(left);
            wire[used] = IoSlice::new(&slice[..here]);
            (used, left) = (used + 1, left - here);
        }
        used
    }

    /// The kernel took so many wire bytes of that; how many of the link's were among them.
    pub(in crate::carrier) fn handle_written(&mut self, count: usize) -> usize {
        let count = count - self.front.handle_written(count);
        let link = count.min(self.promised);
        self.promised -= link;
        link
    }

    /// Whether it has something to write that is none of the link's.
    pub(in crate::carrier) fn has_own(&self) -> bool {
        !self.front.left().is_empty()
    }
}

/// What the head of an answer says.
enum Heard {
    /// The answer is yet to come (RFC 9110, 15.2).
    Later,
    /// What was asked for is behind it.
    Good(Body, GoesOn),
    LoginWanted,
    Status(u16),
}

/// Whether a connection goes on behind an answer.
enum GoesOn {
    No,
    /// Nothing was said of that: so it does, with whoever has answered (RFC 9112, 9.3).
    Unsaid,
    /// Whoever is at the other end of it says that it does: a relay never does.
    Said,
}

impl Heard {
    fn of(answer: &Answer<'_>) -> Heard {
        match answer.status {
            100 | 102..=199 => Heard::Later,
            407 => Heard::LoginWanted,
            200 => {
                let fields = &answer.fields;
                match body(fields) {
                    Some(body) if answer.minor != 1 || fields.lists("Connection", "close") => {
                        Heard::Good(body, GoesOn::No)
                    }
                    Some(body) if fields.lists("Connection", "keep-alive") => Heard::Good(body, GoesOn::Said),
                    Some(body) => Heard::Good(body, GoesOn::Unsaid),
                    None => Heard::Status(200),
                }
            }
            status => Heard::Status(status),
        }
    }
}

/// How long what is behind a head is. None if that is in doubt, or somebody has changed it.
fn body(fields: &Fields<'_>) -> Option<Body> {
    if fields.has("Content-Encoding") {
        return None;
    }
    match (fields.has("Transfer-Encoding"), fields.has("Content-Length")) {
        (true, true) => None,
        (true, false) => {
            let coding = fields.only("Transfer-Encoding")?.trim_ascii();
            coding.eq_ignore_ascii_case(b"chunked").then(|| Body::Chunked(Chunks::default()))
        }
        (false, true) => {
            let length = std::str::from_utf8(fields.only("Content-Length")?.trim_ascii()).ok()?;
            let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
            length.parse().ok().filter(|_| is_number).map(Body::Exact)
        }
        (false, false) => Some(Body::ToEnd),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_is_passed_on_is_asked_again_only_where_an_answer_says_so() {
        for (words, direct, passed_on) in [
            ("", true, false),
            ("Connection: keep-alive\r\n", true, true),
            ("Connection: Keep-Alive, x\r\n", true, true),
            ("Connection: keep-alive\r\nConnection: close\r\n", false, false),
            ("Connection: close\r\n", false, false),
        ] {
            let is_free_behind = |is_passed_on: bool| {
                let mut asking = Asking::default();
                if is_passed_on {
                    asking.pass_on();
                }
                asking.ask(What::Up(0, 0), b"POST");
                asking.handle_written(4);
                let mut answer = format!("HTTP/1.1 200 OK\r\n{words}Content-Length: 0\r\n\r\n").into_bytes();
                assert_eq!((asking.handle_wire(&mut answer), asking.take_done()), (0, Some(What::Up(0, 0))));
                asking.is_free()
            };
            assert_eq!((is_free_behind(false), is_free_behind(true)), (direct, passed_on), "{words}");
        }
    }
}
