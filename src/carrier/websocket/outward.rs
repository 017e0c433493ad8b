//! What goes out on a WebSocket: its own words, and a head before bytes of the link.
//!
//! A server's content goes as it is, so that the kernel takes it from where the link has it. A client's is hidden, in a copy of a
//! bounded piece: the link has it until the kernel has taken the copy.

use super::inward::{self, Mask, Opcode, head};
use super::{MESSAGE_MAX, http};
use aws_lc_rs::rand;
use std::io::IoSlice;

/// Content that a client copies at a time, bytes. A piece that stays in the cache of one core, and a system call for each is still
/// little beside the pass over it. With its head it is what TLS below seals at a time, of which no few bytes are to be left.
const COPIED_MAX: usize = 64 * 1024 - inward::HEAD_MAX;
/// Slices that are not the link's.
pub(in crate::carrier) const OWN_SLICES: usize = 1;

const _: () = assert!(COPIED_MAX <= MESSAGE_MAX && http::HEAD_MAX < COPIED_MAX);

/// Where a client's masks come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keys {
    /// The system: nobody can guess them (RFC 6455, 10.3).
    System,
    /// Always the same one.
    #[cfg(test)]
    Given([u8; 4]),
}

impl Keys {
    fn next(self) -> [u8; 4] {
        match self {
            Keys::System => {
                let mut key = [0; 4];
                // What is hidden is ciphertext: whoever chose what is in it cannot guess one byte, even if this ever failed.
                let _ = rand::fill(&mut key);
                key
            }
            #[cfg(test)]
            Keys::Given(key) => key,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Outward {
    /// A client has them.
    keys: Option<Keys>,
    /// What goes first: own words, the head of a message, and a client's copy of content, hidden.
    front: Vec<u8>,
    /// Bytes of that which are gone.
    gone: usize,
    /// Bytes at its end that are content.
    copied: usize,
    /// Where in it the frame of those begins.
    frame_at: usize,
    /// Content behind it that its head has promised.
    promised: usize,
    /// What somebody wants back: the last that was asked for is enough (RFC 6455, 5.5.3).
    pong: Option<Vec<u8>>,
    close: Closing,
}

/// Whether it has said that nothing follows.
#[derive(Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// It is to say so, with this number.
    Due(Option<u16>),
    Said,
}

impl Outward {
    pub(super) fn new(keys: Option<Keys>) -> Outward {
        Outward {
            keys,
            front: Vec::new(),
            gone: 0,
            copied: 0,
            frame_at: 0,
            promised: 0,
            pong: None,
            close: Closing::No,
        }
    }

    /// Says something that is no frame, before any is.
    pub(super) fn say(&mut self, words: Vec<u8>) {
        self.front.extend(words);
    }

    /// Answers a ping.
    pub(super) fn answer(&mut self, content: Vec<u8>) {
        self.pong = Some(content);
    }

    /// Says that nothing follows, if it has not.
    pub(super) fn close(&mut self, number: Option<u16>) {
        if self.close == Closing::No {
            self.close = Closing::Due(number);
        }
    }

    /// The link whose content was copied is no more: what has not begun to go out does not. A frame that has goes on to its end,
    /// without which nothing could follow, and is nobody's.
    pub(super) fn let_go(&mut self) {
        if self.copied > 0 && self.gone <= self.frame_at {
            self.front.truncate(self.frame_at);
        }
        self.copied = 0;
    }

    /// Whether there is something of its own to be said, or of what has begun.
    pub(super) fn has_own(&self) -> bool {
        let is_due = self.promised == 0 && (self.pong.is_some() || matches!(self.close, Closing::Due(_)));
        is_due || self.gone < self.front.len()
    }

    /// What is to be written next, where the link shows this; how many of `wire` are in use.
    pub(super) fn wrap<'a>(&'a mut self, link: &'a [IoSlice<'a>], wire: &mut [IoSlice<'a>]) -> usize {
        let room = wire.len().saturating_sub(OWN_SLICES);
        let link = &link[..link.len().min(room)];
        if self.promised == 0 && self.gone == self.front.len() {
            self.begin(link);
        }
        let mut used = 0;
        if self.gone < self.front.len() {
            wire[0] = IoSlice::new(&self.front[self.gone..]);
            used = 1;
        }
        let mut left = self.promised;
        for slice in link {
            if left == 0 {
                break;
            }
            let here = slice.len().min(left);
            wire[used] = IoSlice::new(&slice[..here]);
            (used, left) = (used + 1, left - here);
        }
        used
    }

    /// All that was begun is gone: what comes next, own words first.
    fn begin(&mut self, link: &[IoSlice<'_>]) {
        (self.gone, self.copied) = (0, 0);
        self.front.clear();
        if let Some(content) = self.pong.take().filter(|_| self.close != Closing::Said) {
            self.frame(Opcode::Pong, &content);
        }
        if let Closing::Due(number) = self.close {
            let content = number.map(u16::to_be_bytes);
            self.frame(Opcode::Close, content.as_ref().map_or(&[], |bytes| &bytes[..]));
            self.close = Closing::Said;
        }
        let shown: usize = link.iter().map(|slice| slice.len()).sum();
        if shown == 0 || self.close == Closing::Said {
            return;
        }
        match self.keys {
            None => {
                self.promised = shown.min(MESSAGE_MAX);
                head(Opcode::Binary, self.promised, None, &mut self.front);
            }
            Some(keys) => {
                let (key, count) = (keys.next(), shown.min(COPIED_MAX));
                self.frame_at = self.front.len();
                head(Opcode::Binary, count, Some(key), &mut self.front);
                let at = self.front.len();
                for slice in link {
                    let left = count - (self.front.len() - at);
                    self.front.extend_from_slice(&slice[..slice.len().min(left)]);
                }
                Mask::new(key).apply(&mut self.front[at..]);
                self.copied = count;
            }
        }
    }

    /// A short frame, whole.
    fn frame(&mut self, opcode: Opcode, content: &[u8]) {
        let key = self.keys.map(Keys::next);
        head(opcode, content.len(), key, &mut self.front);
        let at = self.front.len();
        self.front.extend_from_slice(content);
        Mask::new(key.unwrap_or_default()).apply(&mut self.front[at..]);
    }

    /// The kernel took so many bytes of what [`Outward::wrap`] showed; how much content of the link was among them.
    pub(super) fn handle_written(&mut self, count: usize) -> usize {
        let own = self.front.len() - self.copied;
        let here = count.min(self.front.len() - self.gone);
        let copied = (self.gone + here).max(own) - self.gone.max(own);
        let behind = (count - here).min(self.promised);
        (self.gone, self.promised) = (self.gone + here, self.promised - behind);
        if self.keys.is_none() && self.gone == self.front.len() {
            // An idle link of a relay keeps no memory for output.
            (self.front, self.gone) = (Vec::new(), 0);
        }
        copied + behind
    }
}
