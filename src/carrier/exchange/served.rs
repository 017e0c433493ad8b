//! A relay's end of one connection: it hears requests, and answers them.

use super::{Front, Manner, PADDING_BYTES, Request, UP_MAX, What};
use crate::carrier::end::End;
use crate::carrier::front::Visitor;
use crate::carrier::http::{self, Head, Malformed, Refusal};
use std::io::IoSlice;
use std::net::IpAddr;

/// Slices that are not the link's: what goes before them, and what ends a chunk behind them.
pub(in crate::carrier) const OWN_SLICES: usize = 2;
/// What an answer says of itself to whatever stands between: that nobody may keep it, change it or hold it back. It never says that the
/// connection is kept alive: by that a client knows a proxy that makes each request.
const FIELDS: &str =
    "Content-Type: application/octet-stream\r\nCache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n";
/// Bytes of a chunk, or of an answer that is whole, at most.
const PIECE_MAX: usize = UP_MAX;
/// Behind a chunk.
const CHUNK_END: &[u8] = b"\r\n";

#[derive(Debug)]
enum State {
    ExpectHead(Head),
    /// A request of a link, until it is said whether it has its turn, and what came behind its head.
    Asked(Request, Vec<u8>),
    /// Content for the link, of which so much is yet to be given to it, and what of that has come already.
    Up(usize, Vec<u8>),
    Down(Answer),
    Over(End),
}

/// An answer that carries what the link shows.
#[derive(Debug)]
struct Answer {
    /// Whether it says ahead how long it is: it carries one piece.
    is_whole: bool,
    /// Whether it has carried something.
    has_carried: bool,
    /// Bytes of the link that what went out has promised.
    promised: usize,
    /// What is behind those.
    tail: &'static [u8],
    is_ending: bool,
}

/// See the module.
#[derive(Debug)]
pub(in crate::carrier) struct Served {
    state: State,
    /// Who has connected, before any request has said more of that.
    visitor: Visitor,
    /// The same by the request that is there.
    asks: Visitor,
    /// What becomes of the connection by the last request.
    manner: Manner,
    front: Front,
}

impl Served {
    /// One on which this visitor has asked this.
    pub(in crate::carrier) fn new(visitor: Visitor, asks: Visitor, request: Request) -> Served {
        Served {
            state: State::Asked(request, Vec::new()),
            visitor,
            asks,
            manner: request.manner,
            front: Front::default(),
        }
    }

    /// The request that waits for its turn.
    pub(in crate::carrier) fn asked(&self) -> Option<&Request> {
        if let State::Asked(request, _) = &self.state { Some(request) } else { None }
    }

    /// Who has connected.
    pub(in crate::carrier) fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Where that comes from, by what a front says: once.
    pub(in crate::carrier) fn take_source(&mut self) -> Option<IpAddr> {
        self.asks.take_source()
    }

    /// It has its turn: what it brings goes on to the link, or it is answered by what the link shows.
    pub(in crate::carrier) fn accept(&mut self) {
        let State::Asked(request, held) = &mut self.state else { return };
        let (what, mut held) = (request.what, std::mem::take(held));
        let answer =
            |is_whole| State::Down(Answer { is_whole, has_carried: false, promised: 0, tail: &[], is_ending: false });
        match what {
            What::Up(_, 0) => {
                self.state = State::Up(0, Vec::new());
                self.end_up();
            }
            What::Up(_, length) => {
                self.state = State::Up(length, held);
                return;
            }
            What::Poll(_) => self.state = answer(true),
            What::Down(_) => {
                self.state = answer(false);
                self.say_head(None);
                self.say_piece(PADDING_BYTES);
                self.front.say(&[0; PADDING_BYTES]);
                self.front.say(self.behind_piece());
            }
        }
        self.hear(&mut held);
    }

    /// The head of an answer of so much, or of one that does not say how much.
    fn say_head(&mut self, length: Option<usize>) {
        let framing = match (length, self.manner) {
            (Some(length), _) => format!("Content-Length: {length}\r\n"),
            (None, Manner::Old) => String::new(),
            (None, Manner::Stays | Manner::Closes) => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        let connection = if self.manner == Manner::Stays { "" } else { "Connection: close\r\n" };
        self.front.say(format!("HTTP/1.1 200 OK\r\n{framing}{connection}{FIELDS}\r\n").as_bytes());
    }

    /// What stands before a piece of so much in an answer that does not say how much it is.
    fn say_piece(&mut self, length: usize) {
        if self.manner != Manner::Old {
            self.front.say(format!("{length:x}\r\n").as_bytes());
        }
    }

    /// What stands behind one.
    fn behind_piece(&self) -> &'static [u8] {
        if self.manner == Manner::Old { b"" } else { CHUNK_END }
    }

    /// An answer is whole.
    fn end_exchange(&mut self) {
        self.state = match self.manner {
            Manner::Stays => State::ExpectHead(Head::default()),
            Manner::Closes | Manner::Old => State::Over(End::Closed),
        };
    }

    /// There is no such link, or it has asked out of order.
    pub(in crate::carrier) fn refuse(&mut self) {
        self.front.say(&Refusal::NotFound { head_only: false }.answer());
        self.state = State::Over(End::NotFound);
    }

    /// Content that has come before it had its turn; how much of it is put into `room`.
    pub(in crate::carrier) fn take_held(&mut self, room: &mut [u8]) -> usize {
        let State::Up(left, held) = &mut self.state else { return 0 };
        let count = held.len().min(*left).min(room.len());
        room[..count].copy_from_slice(&held[..count]);
        held.drain(..count);
        *left -= count;
        if *left == 0 || held.is_empty() {
            let behind = std::mem::take(held);
            self.end_up();
            self.hear(&mut behind.to_vec());
        }
        count
    }

    /// The same, which nobody needs; how much it was.
    pub(in crate::carrier) fn drop_held(&mut self) -> usize {
        let (mut scrap, mut count) = ([0; 1024], 0);
        while self.has_held() {
            count += self.take_held(&mut scrap);
        }
        count
    }

    /// How much was kept that came behind a head, bytes.
    pub(in crate::carrier) fn held(&self) -> usize {
        if let State::Asked(_, held) | State::Up(_, held) = &self.state { held.len() } else { 0 }
    }

    /// Whether there is some.
    pub(in crate::carrier) fn has_held(&self) -> bool {
        matches!(&self.state, State::Up(_, held) if !held.is_empty())
    }

    /// Whether it waits for a request of which nothing has come.
    pub(in crate::carrier) fn is_idle(&self) -> bool {
        matches!(&self.state, State::ExpectHead(head) if head.bytes().is_empty())
    }

    /// Whether it waits for a request, or the rest of one.
    pub(in crate::carrier) fn is_between(&self) -> bool {
        matches!(self.state, State::ExpectHead(_))
    }

    /// Whether bytes of the link go out by it, or may.
    pub(in crate::carrier) fn is_answering(&self) -> bool {
        matches!(self.state, State::Down(_))
    }

    /// Whether its answer has carried something of the link.
    pub(in crate::carrier) fn has_carried(&self) -> bool {
        matches!(&self.state, State::Down(answer) if answer.has_carried)
    }

    /// Another answer carries what follows: this one ends in order, behind what it has promised.
    pub(in crate::carrier) fn end_answer(&mut self) {
        if let State::Down(answer) = &mut self.state {
            answer.is_ending = true;
        }
        self.settle();
    }

    /// How it has ended, if it has.
    pub(in crate::carrier) fn end(&self) -> Option<End> {
        match self.state {
            // All of the answer goes out first.
            State::Over(End::Closed) if self.has_own() => None,
            State::Over(end) => Some(end),
            _ => None,
        }
    }

    /// Wire bytes came: those of the link among them are put at the front, and counted.
    pub(in crate::carrier) fn handle_wire(&mut self, wire: &mut [u8]) -> usize {
        let State::Up(left, held) = &mut self.state else {
            self.hear(wire);
            return 0;
        };
        if !held.is_empty() {
            // What came first goes first.
            held.extend_from_slice(wire);
            return 0;
        }
        let count = wire.len().min(*left);
        *left -= count;
        if *left == 0 {
            self.end_up();
            self.hear(&mut wire[count..]);
        }
        count
    }

    /// Bytes came that are none of the link's yet.
    fn hear(&mut self, mut input: &mut [u8]) {
        while !input.is_empty() {
            let used = match &mut self.state {
                State::ExpectHead(head) => {
                    let heard = head.handle_bytes(input);
                    self.hear_head(heard)
                }
                State::Asked(Request { what: What::Up(..), .. }, held) | State::Up(_, held) => {
                    held.extend_from_slice(input);
                    return;
                }
                State::Asked(..) | State::Down(_) => {
                    // Whoever asks waits for the answer.
                    self.state = State::Over(End::NotFound);
                    return;
                }
                State::Over(_) => return,
            };
            input = &mut input[used..];
        }
    }

    /// A head has grown, or is whole; how many of the bytes were used.
    fn hear_head(&mut self, heard: Result<(usize, bool), Malformed>) -> usize {
        let State::ExpectHead(head) = &self.state else { return 0 };
        let has_method = head.has_method();
        let (used, refusal) = match heard {
            _ if !head.may_ask() => (0, None),
            Ok((used, false)) => return used,
            Ok((used, true)) => {
                self.asks = self.visitor.clone();
                let refusal = match http::read_request(head.bytes(), &mut self.visitor.clone()) {
                    // A WebSocket begins on a connection of its own.
                    Ok(_) => Refusal::NotFound { head_only: false },
                    Err(Refusal::Malformed) => Refusal::Malformed,
                    Err(refusal) => match Request::read(head.bytes(), &mut self.asks) {
                        Some(request) => {
                            self.manner = request.manner;
                            self.state = State::Asked(request, Vec::new());
                            return used;
                        }
                        None => refusal,
                    },
                };
                (used, Some(refusal))
            }
            Err(Malformed) => (0, has_method.then_some(Refusal::Malformed)),
        };
        if let Some(refusal) = refusal {
            self.front.say(&refusal.answer());
        }
        self.state = State::Over(End::NotFound);
        used
    }

    /// A request that has brought all that it was to bring is answered.
    fn end_up(&mut self) {
        if matches!(self.state, State::Up(0, _)) {
            self.say_head(Some(0));
            self.end_exchange();
        }
    }

    /// What is to be written next, where the link shows this; how many of `wire` are in use.
    pub(in crate::carrier) fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        self.begin(link);
        let (promised, tail) = match &self.state {
            State::Down(answer) => (answer.promised, answer.tail),
            _ => (0, &[][..]),
        };
        let mut used = 0;
        if !self.front.left().is_empty() && !wire.is_empty() {
            wire[0] = IoSlice::new(self.front.left());
            used = 1;
        }
        let room = wire.len().saturating_sub(1);
        let mut left = promised;
        for slice in link.iter().filter(|slice| !slice.is_empty()) {
            if left == 0 || used >= room {
                break;
            }
            let here = slice.len().min(left);
            wire[used] = IoSlice::new(&slice[..here]);
            (used, left) = (used + 1, left - here);
        }
        if left == 0 && !tail.is_empty() && used < wire.len() {
            wire[used] = IoSlice::new(tail);
            used += 1;
        }
        used
    }

    /// The next piece of what the link shows.
    fn begin(&mut self, link: &[IoSlice<'_>]) {
        let behind = self.behind_piece();
        let State::Down(answer) = &mut self.state else { return };
        let shown: usize = link.iter().map(|slice| slice.len()).sum();
        let is_due = answer.promised == 0 && answer.tail.is_empty() && !answer.is_ending;
        if !is_due || shown == 0 {
            return;
        }
        answer.promised = shown.min(PIECE_MAX);
        answer.has_carried = true;
        if answer.is_whole {
            // It has begun, and carries no more than that.
            answer.is_ending = true;
            let length = answer.promised;
            self.say_head(Some(length));
        } else {
            answer.tail = behind;
            let length = answer.promised;
            self.say_piece(length);
        }
    }

    /// The kernel took so many wire bytes of that; how many of the link's were among them.
    pub(in crate::carrier) fn handle_written(&mut self, count: usize) -> usize {
        let count = count - self.front.handle_written(count);
        let State::Down(answer) = &mut self.state else { return 0 };
        let link = count.min(answer.promised);
        let behind = (count - link).min(answer.tail.len());
        answer.promised -= link;
        answer.tail = &answer.tail[behind..];
        self.settle();
        link
    }

    /// An answer that is to end, and owes nothing any more, does.
    fn settle(&mut self) {
        let State::Down(answer) = &self.state else { return };
        if !answer.is_ending || answer.promised > 0 || !answer.tail.is_empty() {
            return;
        }
        match (answer.is_whole, answer.has_carried) {
            (true, true) => {}
            (true, false) => self.say_head(Some(0)),
            (false, _) if self.manner == Manner::Old => {}
            (false, _) => self.front.say(b"0\r\n\r\n"),
        }
        self.end_exchange();
    }

    /// Whether it has something to write that is none of the link's.
    pub(in crate::carrier) fn has_own(&self) -> bool {
        let has_tail = matches!(&self.state, State::Down(answer) if answer.promised == 0 && !answer.tail.is_empty());
        has_tail || !self.front.left().is_empty()
    }

    /// The link has said all.
    pub(in crate::carrier) fn close(&mut self) {
        match &self.state {
            State::Down(answer) if answer.promised == 0 => self.end_answer(),
            State::Asked(..) => self.refuse(),
            _ => {}
        }
    }
}
