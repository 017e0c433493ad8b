//! CONNECT of HTTP/1.1 (RFC 9110, 9.3.6): a request for a tunnel, until the head of an answer has been read that means one.
//!
//! The first request says nothing of who asks. If the answer is 407, the next one does, on the same connection where what is left
//! of the answer has a known end, and is short.

use super::login::{Challenge, NONCE_BYTES, Way, best, challenges, credentials, names};
use super::{Destination, Login, Output, REASON_MAX, Refusal, Step};
use crate::carrier::http::{self, Answer, Head, Malformed};
use aws_lc_rs::rand;
use std::sync::Arc;

/// Bytes of a page that are read for the sake of the connection: one that says that a login is wanted has a few thousand.
const BODY_MAX: u64 = 64 * 1024;
/// Answers that say that the answer is yet to come, at most.
const SKIPPED_MAX: usize = 16;
/// Times that a nonce may have been too old, in a row.
const STALE_MAX: usize = 2;
/// 407 (RFC 9110, 15.5.8).
const LOGIN_WANTED: u16 = 407;

enum State {
    /// An answer, after so many that were none yet.
    ExpectAnswer(Head, usize),
    /// So many bytes of a page that nobody reads, and then the next request.
    ExpectBody(u64),
}

/// See the module.
pub(super) struct Connect {
    target: String,
    login: Option<Arc<Login>>,
    state: State,
    /// The next request, while its connection is not there.
    next: Output,
    /// Requests that said who asks.
    logins: usize,
    /// The last request went out on a connection that had one before: the proxy may have closed it.
    is_kept: bool,
    pub(super) output: Output,
    pub(super) step: Step,
}

impl Connect {
    pub(super) fn new(to: &Destination, login: Option<Arc<Login>>) -> Connect {
        let target = to.authority();
        let mut output = Output::default();
        output.say(request(&target, None));
        let state = State::ExpectAnswer(Head::default(), 0);
        let next = Output::default();
        Connect { target, login, state, next, logins: 0, is_kept: false, output, step: Step::Waits }
    }

    pub(super) fn handle_bytes(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while self.step == Step::Waits && used < input.len() {
            used += match &mut self.state {
                State::ExpectBody(left) => {
                    let rest = &input[used..];
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left = left.saturating_sub(taken as u64);
                    if *left == 0 {
                        self.go_on();
                    }
                    taken
                }
                State::ExpectAnswer(head, _) => match head.handle_bytes(&input[used..]) {
                    Ok((taken, true)) => {
                        self.handle_head();
                        taken
                    }
                    Ok((taken, false)) if head.may_answer() => taken,
                    Ok((taken, false)) => {
                        self.refuse(Refusal::NotProxy);
                        taken
                    }
                    Err(Malformed) => {
                        // What it says is clear, whatever the rest is like; that it has made a tunnel is not.
                        let status = http::status(head.bytes()).filter(|status| *status >= 300);
                        self.refuse(status.map_or(Refusal::NotProxy, |status| Refusal::Status(status, String::new())));
                        input.len() - used
                    }
                },
            };
        }
        used
    }

    pub(super) fn handle_end(&mut self) {
        if self.step != Step::Waits {
            return;
        }
        match &self.state {
            State::ExpectBody(_) => self.step = Step::Anew,
            State::ExpectAnswer(head, _) if self.is_kept && head.bytes().is_empty() => self.step = Step::Anew,
            State::ExpectAnswer(..) => self.refuse(Refusal::Closed),
        }
    }

    pub(super) fn begin_anew(&mut self) {
        self.go_on();
        (self.is_kept, self.step) = (false, Step::Waits);
    }

    fn refuse(&mut self, why: Refusal) {
        self.step = Step::Refused(why);
    }

    /// The next request goes out.
    fn go_on(&mut self) {
        self.output.say(self.next.left().to_vec());
        self.state = State::ExpectAnswer(Head::default(), 0);
        self.is_kept = true;
    }

    /// The head of an answer is whole.
    fn handle_head(&mut self) {
        let State::ExpectAnswer(head, skipped) = &self.state else { return };
        match http::with_answer(head.bytes(), Said::of) {
            Ok(Said::Later) if *skipped < SKIPPED_MAX => self.state = State::ExpectAnswer(Head::default(), skipped + 1),
            Ok(Said::Later) | Err(Malformed) => self.refuse(Refusal::NotProxy),
            Ok(Said::Page) => self.refuse(Refusal::Page),
            Ok(Said::Tunnel) => self.step = Step::Open,
            Ok(Said::LoginWanted(offered, body)) => self.handle_login_wanted(&offered, body),
            Ok(Said::No(status, reason)) => self.refuse(Refusal::Status(status, reason)),
        }
    }

    /// The proxy wants to know who asks, in one of these ways. `body` is what is left of its answer, if the connection goes on
    /// behind that.
    fn handle_login_wanted(&mut self, offered: &[Challenge], body: Option<u64>) {
        let Some(login) = &self.login else { return self.refuse(Refusal::LoginWanted) };
        let Some(choice) = best(offered) else {
            return self.refuse(Refusal::LoginUnknown(names(offered).chars().take(REASON_MAX).collect()));
        };
        if self.logins > 0 && (choice.way == Way::Basic || !choice.challenge.is_stale()) {
            return self.refuse(Refusal::LoginRefused);
        }
        if self.logins > STALE_MAX {
            return self.refuse(Refusal::LoginStale);
        }
        let mut nonce = [0; NONCE_BYTES];
        // It makes answers differ; without random numbers the handshake of a link fails.
        let _ = rand::fill(&mut nonce);
        let value = credentials(choice, login, &self.target, nonce);
        self.next.say(request(&self.target, Some(value)));
        self.logins += 1;
        match body {
            None => self.step = Step::Anew,
            Some(0) => self.go_on(),
            Some(left) => self.state = State::ExpectBody(left),
        }
    }
}

/// The request for a tunnel.
fn request(target: &str, credentials: Option<Vec<u8>>) -> Vec<u8> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = credentials {
        let value = zeroize::Zeroizing::new(value);
        // A buffer that grew would leave a password behind.
        request.reserve_exact(value.len() + 64);
        request.extend(b"Proxy-Authorization: ");
        request.extend(&*value);
        request.extend(b"\r\n");
    }
    request.extend(b"\r\n");
    request
}

/// What the head of an answer says.
enum Said {
    /// The answer is yet to come (RFC 9110, 15.2).
    Later,
    Tunnel,
    Page,
    /// A login is wanted, in one of these ways; behind so many bytes the next request may go out, if the connection goes on.
    LoginWanted(Vec<Challenge>, Option<u64>),
    No(u16, String),
}

impl Said {
    fn of(answer: &Answer<'_>) -> Said {
        match answer.status {
            100 | 102..=199 => Said::Later,
            200..=299 if is_page(answer) => Said::Page,
            200..=299 => Said::Tunnel,
            LOGIN_WANTED => {
                let offered = answer.fields.all("Proxy-Authenticate").flat_map(challenges).collect();
                Said::LoginWanted(offered, length_of_body(answer))
            }
            status => Said::No(status, answer.reason.chars().take(REASON_MAX).collect()),
        }
    }
}

/// Whether an answer that means a tunnel brings a page, as who shows one to whoever asks for anything does. Else what it says of a
/// body means nothing (RFC 9110, 9.3.6).
fn is_page(answer: &Answer<'_>) -> bool {
    let is_text =
        answer.fields.all("Content-Type").any(|value| value.trim_ascii().to_ascii_lowercase().starts_with(b"text/"));
    let has_body = answer.fields.all("Content-Length").any(|value| value.trim_ascii() != b"0");
    is_text && (has_body || answer.fields.has("Transfer-Encoding"))
}

/// Bytes behind the head of an answer after which the next request may go out; None if that is not known, or the connection ends.
fn length_of_body(answer: &Answer<'_>) -> Option<u64> {
    let fields = &answer.fields;
    let goes_on = answer.minor == 1
        && !fields.has("Transfer-Encoding")
        && !fields.lists("Connection", "close")
        && !fields.lists("Proxy-Connection", "close");
    let length = fields.only("Content-Length")?.trim_ascii();
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(length).ok().filter(|_| is_number)?.parse().ok()?;
    (goes_on && length <= BODY_MAX).then_some(length)
}

#[cfg(test)]
#[path = "tests/connect.rs"]
mod tests;
