//! WebSocket (RFC 6455), both roles: its opening handshake, and then binary messages as a pipe of bytes.
//!
//! Where one message ends and the next begins means nothing, so none is ever held: bytes go on as they come.

mod inward;
mod outward;

use super::end::{CloseStatus, End};
use super::exchange::{Request, Served};
use super::front::Visitor;
use super::http::{self, Head, KEY_BYTES, Malformed, Refusal, Target, Unanswered};
use aws_lc_rs::rand;
use inward::{Inward, Said};
pub(super) use outward::OWN_SLICES;
use outward::{Keys, Outward};
use std::io::IoSlice;
use std::net::IpAddr;

/// Content of a message, bytes, at most: also of those that are received, in however many fragments. It is what other programs take
/// where nobody says otherwise.
pub(super) const MESSAGE_MAX: usize = 1024 * 1024;

/// Answers that say that the answer is yet to come, at most.
const SKIPPED_MAX: usize = 16;

#[derive(Debug)]
enum State {
    /// A server that waits for the request.
    ExpectRequest(Head),
    /// A client that waits for the answer to a request with this key, after so many that were none yet.
    ExpectAnswer(Head, String, usize),
    Open,
    /// What was asked for is part of a link by requests.
    Elsewhere(Box<Served>),
    Over(End),
}

/// See the module.
#[derive(Debug)]
pub(super) struct WebSocket {
    state: State,
    /// Whose request a server waits for, and has had until that is asked.
    visitor: Option<Box<Visitor>>,
    inward: Inward,
    outward: Outward,
}

impl WebSocket {
    /// The server's end, of which the first byte is yet to come from this visitor.
    pub(super) fn answer(visitor: Box<Visitor>) -> WebSocket {
        WebSocket {
            state: State::ExpectRequest(Head::default()),
            visitor: Some(visitor),
            inward: Inward::masked(),
            outward: Outward::new(None),
        }
    }

    /// The client's end, which has a request to write.
    pub(super) fn dial(to: &Target<'_>) -> WebSocket {
        let mut key = [0; KEY_BYTES];
        // It tells an answer from one that was kept from before: the link's handshake proves who is there, and fails without
        // random numbers.
        let _ = rand::fill(&mut key);
        WebSocket::dial_with(to, key, Keys::System)
    }

    fn dial_with(to: &Target<'_>, key: [u8; KEY_BYTES], keys: Keys) -> WebSocket {
        let key = http::key(key);
        let mut outward = Outward::new(Some(keys));
        outward.say(http::request(to, &key));
        let state = State::ExpectAnswer(Head::default(), key, 0);
        WebSocket { state, visitor: None, inward: Inward::plain(), outward }
    }

    /// Where the request comes from, by what a front says: once, when it has come, or when nothing in it can change that.
    pub(super) fn take_source(&mut self) -> Option<IpAddr> {
        match self.state {
            State::Open => self.visitor.take()?.take_source(),
            State::Over(_) => self.visitor.as_mut()?.take_source(),
            // He stays, and his request is yet to be read by what is known of him.
            State::ExpectRequest(_) | State::ExpectAnswer(..) | State::Elsewhere(_) => {
                self.visitor.as_mut()?.take_sure_source()
            }
        }
    }

    /// What it has turned out to be instead, once.
    pub(super) fn take_served(&mut self) -> Option<Box<Served>> {
        match std::mem::replace(&mut self.state, State::Over(End::Closed)) {
            State::Elsewhere(served) => Some(served),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Whether bytes of the link may come and go.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<End> {
        match self.state {
            State::Over(end) => Some(end),
            _ => None,
        }
    }

    /// Wire bytes came: those of the link among them are put at the front, and counted.
    pub(super) fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        let mut read = 0;
        while !self.is_open() {
            match self.handle_head(&wire[read..]) {
                0 => {
                    if let State::Elsewhere(served) = &mut self.state {
                        return served.handle_wire(&mut wire[read..]);
                    }
                    return 0;
                }
                used => read += used,
            }
        }
        let mut kept = 0;
        loop {
            let said = self.inward.handle_wire(wire, &mut read, &mut kept);
            let end = match said {
                Ok(Said::Nothing) => return kept,
                Ok(Said::Ping(content)) => {
                    self.outward.answer(content);
                    continue;
                }
                Ok(Said::Close(status)) => {
                    self.outward.close(status);
                    End::Closed
                }
                Err(status) => {
                    self.outward.close(Some(status.number()));
                    End::Broken(status)
                }
            };
            self.state = State::Over(end);
            return kept;
        }
    }

    /// Bytes of the opening handshake; how many. 0 if it is over, or waits for more.
    fn handle_head(&mut self, input: &[u8]) -> usize {
        let next = match &mut self.state {
            State::ExpectRequest(head) => hear_request(head, self.visitor.get_or_insert_default(), input),
            State::ExpectAnswer(head, key, skipped) => hear_answer(head, (key, *skipped), input),
            State::Open | State::Elsewhere(_) | State::Over(_) => None,
        };
        let Some(Next { used, state, words }) = next else { return 0 };
        self.state = state;
        self.outward.say(words);
        used
    }

    /// What is to be written next, of its own and of what the link shows; how many of `wire` are in use.
    pub(super) fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        // What has begun before the other side closed it goes on to its end.
        let link = if matches!(self.state, State::Open | State::Over(End::Closed)) { link } else { &[] };
        self.outward.wrap(link, wire)
    }

    /// The kernel took so many wire bytes of that; how many of the link's were among them.
    pub(super) fn handle_written(&mut self, count: usize) -> usize {
        self.outward.handle_written(count)
    }

    /// Whether it has something of its own to write.
    pub(super) fn has_own(&self) -> bool {
        self.outward.has_own()
    }

    /// The link is no more.
    pub(super) fn let_go(&mut self) {
        self.outward.let_go();
    }

    /// Nothing follows what the link has said.
    pub(super) fn close(&mut self) {
        if self.is_open() {
            self.outward.close(Some(CloseStatus::Normal.number()));
        }
    }
}

/// What a head came to.
struct Next {
    /// Bytes that belonged to it.
    used: usize,
    state: State,
    /// What is said to it.
    words: Vec<u8>,
}

/// What a server makes of a request; None while it is not whole. Who has not begun one hears nothing.
fn hear_request(head: &mut Head, visitor: &mut Visitor, input: &[u8]) -> Option<Next> {
    let heard = head.handle_bytes(input);
    let over = |words| Some(Next { used: 0, state: State::Over(End::NotFound), words });
    if !head.may_ask() {
        return over(Vec::new());
    }
    // Before any request has said more of that.
    let connected = visitor.clone();
    match heard {
        Ok((_, false)) => None,
        Ok((used, true)) => match http::read_request(head.bytes(), visitor) {
            Ok(key) => Some(Next { used, state: State::Open, words: http::answer(&key) }),
            Err(Refusal::Malformed) => over(Refusal::Malformed.answer()),
            Err(refusal) => {
                let mut asks = connected.clone();
                let Some(request) = Request::read(head.bytes(), &mut asks) else { return over(refusal.answer()) };
                let served = Served::new(connected, asks, request);
                Some(Next { used, state: State::Elsewhere(Box::new(served)), words: Vec::new() })
            }
        },
        Err(Malformed) if head.has_method() => over(Refusal::Malformed.answer()),
        Err(Malformed) => over(Vec::new()),
    }
}

/// What a client makes of the answer to this key, which so many came before; None while it is not whole.
fn hear_answer(head: &mut Head, (key, skipped): (&str, usize), input: &[u8]) -> Option<Next> {
    let not_taken = |status| Some(Next { used: 0, state: State::Over(End::NotTaken(status)), words: Vec::new() });
    match head.handle_bytes(input) {
        Ok((_, false)) if head.may_answer() => None,
        Ok((used, true)) => match http::read_answer(head.bytes(), key) {
            Ok(()) => Some(Next { used, state: State::Open, words: Vec::new() }),
            // The answer is yet to come (RFC 9110, 15.2).
            Err(Unanswered::Status(100 | 102..=199)) if skipped < SKIPPED_MAX => {
                let state = State::ExpectAnswer(Head::default(), key.to_owned(), skipped + 1);
                Some(Next { used, state, words: Vec::new() })
            }
            Err(Unanswered::Status(status)) => not_taken(Some(status)),
            Err(Unanswered::Malformed) => not_taken(None),
        },
        Ok((_, false)) => not_taken(None),
        // What it says is clear, whatever the rest is like; and that it opens a WebSocket is not.
        Err(Malformed) => not_taken(http::status(head.bytes()).filter(|status| *status >= 200)),
    }
}

/// See [`super::fuzz_websocket`].
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(data: &[u8]) {
    let Some(([which, step], data)) = data.split_first_chunk::<2>() else { return };
    let ends = || {
        let inward = if which & 1 == 0 { Inward::masked() } else { Inward::plain() };
        let keys = (which & 1 == 1).then_some(Keys::System);
        WebSocket { state: State::Open, visitor: None, inward, outward: Outward::new(keys) }
    };
    let feed = |mut end: WebSocket, step: usize| {
        let mut content = Vec::new();
        for piece in data.chunks(step) {
            let mut wire = piece.to_vec();
            let kept = end.handle_wire(&mut wire);
            content.extend_from_slice(&wire[..kept]);
            let mut slices = [IoSlice::new(&[]); 2];
            let used = end.wrap(&[], &mut slices);
            let own: usize = slices[..used].iter().map(|slice| slice.len()).sum();
            assert_eq!(end.handle_written(own), 0, "nothing of a link was shown");
        }
        (content, end.end())
    };
    let whole = feed(ends(), data.len().max(1));
    assert_eq!(feed(ends(), usize::from(*step).max(1)), whole);
    assert!(whole.0.len() <= data.len());
}

#[cfg(test)]
#[path = "../tests/websocket.rs"]
mod tests;
