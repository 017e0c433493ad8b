//! The client's end.

use super::Line;
use crate::carrier::exchange::UP_MAX;
use crate::carrier::{CarrierId, Distrust, End, Manner, Request, Target, What};
use aws_lc_rs::rand;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// POSTs that are not answered, at most.
const UPS_MAX: u64 = 2;
/// What an answer carries before it gives way to the next, bytes, and for how long: some bound both.
const ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const ANSWER_TIME: Duration = Duration::from_secs(300);
/// Who has not seen the first bytes of the first answer by then takes it that somebody holds them back.
const PROBE_TIME: Duration = Duration::from_secs(2);
/// A request that waits for something to be said gives way to the next after so long: before others find it too long.
const POLL_TIME: Duration = Duration::from_secs(20);
/// A connection on which nothing is asked is used again only for so long: others close it soon after that.
const IDLE_TIME: Duration = Duration::from_secs(4);
/// What the relay has said when it has no ear for a link any more may still be on its way, for so long.
const LAST_TIME: Duration = Duration::from_secs(1);

/// What is to be done about connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// There are enough.
    Nothing,
    /// A request waits for one more.
    Line,
}

/// See the module.
pub(crate) struct ClientEnd<K, S> {
    id: CarrierId,
    place: Place,
    lines: Vec<Held<K, S>>,
    down: Downs<K>,
    up: Ups<K>,
    is_open: bool,
    /// The relay hears no more: what it has said is waited for until then.
    last: Option<(Instant, End)>,
    end: Option<End>,
    distrust: Option<Distrust>,
    wanted: Option<Vec<u8>>,
}

/// Where requests go.
struct Place {
    path: String,
    host: String,
    /// What stands before the path where a proxy is asked, and who asks there.
    prefix: String,
    login: Option<Zeroizing<Vec<u8>>>,
}

struct Held<K, S> {
    line: Line<K, S>,
    /// Since when nothing is asked on it.
    idle_since: Instant,
}

struct Downs<K> {
    /// The number of the next.
    next: u64,
    /// By which the relay's bytes come.
    current: Option<K>,
    /// By which they will when that has ended.
    successor: Option<K>,
    /// Whether each answer is whole.
    is_whole: bool,
    /// The next is to be asked for at once.
    is_due: bool,
    since: Instant,
    bytes: u64,
}

struct Ups<K> {
    /// The number of the next.
    next: u64,
    /// That which is being written.
    writing: Option<K>,
    /// Those that are not answered, in order.
    unanswered: Vec<u64>,
    /// It is to be said that nothing follows, or was.
    close: Closing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    Due,
    Said,
}

impl<K> Ups<K> {
    /// Whether one more may be said. An answer may be late though the next has come: a relay knows no number that is far behind.
    fn has_room(&self) -> bool {
        self.unanswered.first().is_none_or(|first| self.next < first + UPS_MAX)
    }
}

impl<K: Copy + Eq, S> ClientEnd<K, S> {
    /// A link that is to begin.
    pub(crate) fn new(now: Instant, to: &Target<'_>) -> ClientEnd<K, S> {
        let mut id = [0; 16];
        // Whose link it is, its handshake proves, which fails without random numbers.
        let _ = rand::fill(&mut id);
        ClientEnd {
            id: CarrierId::new(id),
            place: Place { path: to.path.to_owned(), host: to.host_field(), prefix: String::new(), login: None },
            lines: Vec::new(),
            down: Downs {
                next: 0,
                current: None,
                successor: None,
                is_whole: false,
                is_due: true,
                since: now,
                bytes: 0,
            },
            up: Ups { next: 0, writing: None, unanswered: Vec::new(), close: Closing::No },
            is_open: false,
            last: None,
            end: None,
            distrust: None,
            wanted: None,
        }
    }

    /// Its requests are made at a proxy that passes them on.
    pub(crate) fn ask_proxy(&mut self) {
        self.place.prefix = format!("http://{}", self.place.host);
    }

    /// Whether they are.
    pub(crate) fn asks_proxy(&self) -> bool {
        !self.place.prefix.is_empty()
    }

    /// The head by which that has asked who asks, if it has: nothing has come through yet.
    pub(crate) fn take_wanted(&mut self) -> Option<Vec<u8>> {
        self.wanted.take()
    }

    /// Begins again, where each request says this of who asks, or where a proxy is asked for tunnels instead.
    pub(crate) fn begin_again(&mut self, now: Instant, login: Option<Vec<u8>>) {
        if login.is_none() {
            self.place.prefix.clear();
        }
        self.place.login = login.map(Zeroizing::new);
        self.lines.clear();
        self.down =
            Downs { next: 0, current: None, successor: None, is_whole: false, is_due: true, since: now, bytes: 0 };
    }

    /// Its connections.
    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line<K, S>> {
        self.lines.iter_mut().map(|held| &mut held.line)
    }

    /// One of them.
    pub(crate) fn line_mut(&mut self, key: K) -> Option<&mut Line<K, S>> {
        self.lines_mut().find(|line| line.key == key)
    }

    /// Whether bytes of the link may go out.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// How it has ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// What is wrong with the certificate that was shown, if that is how it has ended.
    pub(crate) fn take_distrust(&mut self) -> Option<Distrust> {
        self.distrust.take()
    }

    /// Whether all that was said has been heard: the relay has answered it.
    pub(crate) fn is_heard(&self) -> bool {
        self.up.close == Closing::Said && self.up.unanswered.is_empty()
    }

    /// There is one more connection.
    pub(crate) fn add(&mut self, now: Instant, line: Line<K, S>) {
        self.lines.push(Held { line, idle_since: now });
    }

    /// Asks for what the relay says, if that is due.
    pub(crate) fn ask_down(&mut self, now: Instant) -> Lack {
        self.look(now);
        if self.end.is_some() {
            return Lack::Nothing;
        }
        if self.wants_down(now) {
            let Some(key) = self.free(now) else { return Lack::Line };
            let number = self.down.next;
            let what = if self.down.is_whole { What::Poll(number) } else { What::Down(number) };
            self.down.next += 1;
            (self.down.since, self.down.bytes, self.down.is_due) = (now, 0, false);
            match self.down.current {
                None => self.down.current = Some(key),
                Some(_) => self.down.successor = Some(key),
            }
            self.say(key, what);
        }
        Lack::Nothing
    }

    /// Begins to bring what the link shows, so much, or its end. All of that has to be shown from now on until it is taken.
    pub(crate) fn ask_up(&mut self, now: Instant, shown: usize) -> Lack {
        let is_closing = self.up.close == Closing::Due && shown == 0;
        let may_say = self.is_open && self.up.close != Closing::Said && self.last.is_none() && self.end.is_none();
        if may_say && self.up.writing.is_none() && self.up.has_room() && (shown > 0 || is_closing) {
            let Some(key) = self.free(now) else { return Lack::Line };
            let what = What::Up(self.up.next, shown.min(UP_MAX));
            self.up.unanswered.push(self.up.next);
            self.up.next += 1;
            self.up.writing = Some(key);
            if is_closing {
                self.up.close = Closing::Said;
            }
            self.say(key, what);
        }
        Lack::Nothing
    }

    fn wants_down(&self, now: Instant) -> bool {
        match self.down.current {
            None => true,
            Some(_) => {
                let is_due = self.down.is_due || self.down_age().is_some_and(|at| at <= now);
                self.down.successor.is_none() && is_due
            }
        }
    }

    /// When the next answer is to be asked for.
    fn down_age(&self) -> Option<Instant> {
        let Downs { is_whole, since, bytes, .. } = self.down;
        let time = match (self.is_open, is_whole) {
            (false, false) => PROBE_TIME,
            // The first is to come through whole.
            (false, true) => return None,
            (true, true) => POLL_TIME,
            (true, false) if bytes >= ANSWER_BYTES => Duration::ZERO,
            (true, false) => ANSWER_TIME,
        };
        Some(since + time)
    }

    /// A connection on which nothing is asked.
    fn free(&self, now: Instant) -> Option<K> {
        let is_free = |held: &&Held<K, S>| {
            now < held.idle_since + IDLE_TIME && held.line.carrier.asks().is_some_and(|asking| asking.is_free())
        };
        self.lines.iter().find(is_free).map(|held| held.line.key)
    }

    fn say(&mut self, key: K, what: What) {
        let request = Request { carrier: self.id, what, manner: Manner::Stays };
        let Place { path, host, prefix, login } = &self.place;
        let method = if let What::Up(..) = what { "POST" } else { "GET" };
        let target = request.target(path);
        let mut head = format!(
            "{method} {prefix}{target} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: identity\r\nCache-Control: no-store\r\n"
        )
        .into_bytes();
        if let What::Up(_, length) = what {
            head.extend(format!("Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n").bytes());
        }
        if let Some(login) = login {
            head.extend(b"Proxy-Authorization: ");
            // A buffer that grew would leave a password behind.
            head.reserve_exact(login.len() + 8);
            head.extend(login.iter());
            head.extend(b"\r\n");
        }
        head.extend(b"\r\n");
        let asks_proxy = self.asks_proxy();
        if let Some(asking) = self.line_mut(key).and_then(|line| line.carrier.asks_mut()) {
            if asks_proxy {
                asking.pass_on();
            }
            asking.ask(what, &head);
        }
    }

    /// Looks whether time has passed.
    fn look(&mut self, now: Instant) {
        if let Some((_, end)) = self.last.filter(|(at, _)| *at <= now) {
            self.end = self.end.or(Some(end));
        }
        if !self.is_open && !self.down.is_whole && self.down.current.is_some() {
            // Another is asked for at once: the answer before it comes to its end by that, and so comes through.
            let is_late = self.down_age().is_some_and(|at| at <= now);
            (self.down.is_whole, self.down.is_due) = (is_late, self.down.is_due || is_late);
        }
        let is_stale = |held: &Held<K, S>| {
            held.idle_since + IDLE_TIME <= now && held.line.carrier.asks().is_some_and(|asking| asking.is_free())
        };
        self.lines.retain(|held| !is_stale(held));
    }

    /// When there is something to be done without an event.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let is_free = |held: &&Held<K, S>| held.line.carrier.asks().is_some_and(|asking| asking.is_free());
        let idle = self.lines.iter().filter(is_free).map(|held| held.idle_since + IDLE_TIME);
        let down = self.down_age().filter(|_| self.down.current.is_some() && self.down.successor.is_none());
        idle.chain(down).chain(self.last.map(|(at, _)| at)).min()
    }

    /// Whether a connection may be read: what comes on it has its turn. Nothing of the link comes before TLS is up there.
    pub(crate) fn may_read(&self, key: K) -> bool {
        let is_open = |held: &Held<K, S>| held.line.key != key || held.line.carrier.is_open();
        self.down.successor != Some(key) || !self.lines.iter().all(is_open)
    }

    /// Wire bytes came on a connection: those of the link among them are put at the front, and counted.
    pub(crate) fn handle_wire(&mut self, now: Instant, key: K, wire: &mut [u8]) -> usize {
        let Some(line) = self.line_mut(key) else { return 0 };
        let count = line.carrier.handle_wire(wire);
        if self.down.current == Some(key) {
            self.down.bytes += count as u64;
        }
        let Some(asking) = self.line_mut(key).and_then(|line| line.carrier.asks_mut()) else { return 0 };
        let (is_through, done) = (asking.is_through(), asking.take_done());
        self.is_open |= is_through;
        match done {
            None => {}
            Some(What::Up(number, _)) => self.up.unanswered.retain(|open| *open != number),
            Some(What::Down(_) | What::Poll(_)) => {
                self.is_open = true;
                self.down.current = self.down.successor.take();
            }
        }
        self.tidy(now, key, done.is_some());
        count
    }

    /// After whatever a connection has said.
    fn tidy(&mut self, now: Instant, key: K, is_done: bool) {
        let Some(at) = self.lines.iter().position(|held| held.line.key == key) else { return };
        if is_done {
            self.lines[at].idle_since = now;
            let asking = self.lines[at].line.carrier.asks();
            if asking.is_some_and(|asking| asking.ends_in_order() && !asking.is_free()) {
                self.lines.remove(at);
                return;
            }
        }
        let Some(end) = self.lines[at].line.carrier.end() else { return };
        if end == End::Closed && self.lines[at].line.carrier.asks().is_some_and(|asking| asking.ends_in_order()) {
            // Nothing was asked on it.
            self.lines.remove(at);
            return;
        }
        let is_down = self.down.current == Some(key);
        let is_first = is_down && !self.is_open;
        let end = match end {
            End::NotTaken(_) if is_first => end,
            // Such a link is there no more.
            End::NotTaken(_) => End::Closed,
            end => end,
        };
        let carrier = self.lines.remove(at).line.carrier;
        let wanted = carrier.asks().and_then(|asking| asking.wanted());
        if let Some(head) = wanted.filter(|_| is_first && self.asks_proxy()) {
            self.wanted = Some(head.to_vec());
            return;
        }
        self.distrust = carrier.distrust();
        if is_down || self.down.successor == Some(key) || end != End::Closed {
            self.end = self.end.or(Some(end));
        } else {
            self.last = self.last.or(Some((now + LAST_TIME, end)));
        }
    }

    /// A connection has ended, or is broken: whether that is the end of the link.
    pub(crate) fn handle_end(&mut self, key: K) -> bool {
        let Some(at) = self.lines.iter().position(|held| held.line.key == key) else { return false };
        let is_needed = !self.lines[at].line.carrier.asks().is_some_and(|asking| asking.ends_in_order());
        let end = self.lines.remove(at).line.carrier.end();
        if is_needed {
            // How TLS has ended says more than that its socket did.
            self.end = self.end.or(end.filter(|end| matches!(end, End::Tls(_)))).or(Some(End::Closed));
        }
        is_needed
    }

    /// The connection by which bytes of the link go out.
    pub(crate) fn writing(&self) -> Option<K> {
        self.up.writing
    }

    /// The kernel took so many bytes of what a connection had to say; how many of the link's were among them.
    pub(crate) fn handle_written(&mut self, key: K, count: usize) -> usize {
        let Some(line) = self.line_mut(key) else { return 0 };
        let taken = line.carrier.handle_written(count);
        let has_said = line.carrier.asks().is_none_or(|asking| asking.has_said()) && !line.carrier.has_own();
        if has_said && self.up.writing == Some(key) {
            self.up.writing = None;
        }
        taken
    }

    /// The link has said all: that is to be said, too.
    pub(crate) fn close(&mut self) {
        if self.up.close == Closing::No {
            self.up.close = Closing::Due;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_post_is_said_that_is_far_ahead_of_one_that_is_not_answered() {
        let mut ups: Ups<u8> = Ups { next: 0, writing: None, unanswered: Vec::new(), close: Closing::No };
        assert!(ups.has_room());
        (ups.next, ups.unanswered) = (7, vec![5, 6]);
        assert!(!ups.has_room());
        // The answer to the second is ahead of that to the first.
        ups.unanswered = vec![5];
        assert!(!ups.has_room());
        ups.unanswered = vec![6];
        assert!(ups.has_room());
    }
}
