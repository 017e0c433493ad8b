//! The relay's end.

use super::Line;
use crate::carrier::{CarrierId, End, What};

/// What a link may have, at most.
#[derive(Clone, Copy)]
struct Most {
    /// Connections at a time: a client has two each way, while one gives way to the next.
    lines: usize,
    /// Content of all of them, where one more brings some that has to wait for what is before it; bytes.
    held: usize,
}

/// While its client has not said who it is. A handshake is said in POSTs of which each waits for what the relay has said before.
const STRANGER: Most = Most { lines: 4, held: 4 * 1024 };
/// From then on. TLS yields a record of 16 KiB at once, and 4 KiB are read: two POSTs that came so, each twice.
const KNOWN: Most = Most { lines: 6, held: 2 * SAME_MAX * 20 * 1024 };
/// Connections that bring the same POST, at most: those that repeat it must not keep out others.
const SAME_MAX: usize = 2;
/// A POST so far before the next is no repeat of one that a client still waits for: it has two that are not answered.
const KNOWN_UPS: u64 = 2;

/// See the module.
pub(crate) struct RelayEnd<K, S> {
    id: CarrierId,
    lines: Vec<Held<K, S>>,
    order: Order,
    /// By which what the link shows goes out.
    answering: Option<K>,
    /// By which it will when that has ended: it waits.
    next: Option<K>,
    /// Those that gave way to others.
    dropped: Vec<K>,
    most: Most,
    end: Option<End>,
}

struct Held<K, S> {
    line: Line<K, S>,
    /// The POST that it brings, or has brought if it has brought no other and asked for no answer since.
    up: Option<Up>,
}

/// A POST that has had its turn.
#[derive(Clone, Copy)]
struct Up {
    number: u64,
    length: usize,
    /// How much of that has come.
    came: usize,
    /// Whether any of it was new.
    was_new: bool,
}

impl<K, S> Held<K, S> {
    /// The number of the POST on it that waits for its turn.
    fn waits(&self) -> Option<u64> {
        let request = self.line.carrier.asked()?;
        if let What::Up(number, _) = request.what { Some(number) } else { None }
    }

    /// The number of the POST on it that is not whole.
    fn brings(&self) -> Option<u64> {
        self.waits().or(self.up.filter(|up| up.came < up.length).map(|up| up.number))
    }

    /// Whether it brings only what is known, or has brought only that and asks for nothing: who waits for the link loses nothing by its end.
    fn is_vain(&self, next_up: u64) -> bool {
        let is_known = |up: Up| up.number < next_up && (up.came < up.length || !up.was_new);
        self.line.carrier.asked().is_none() && self.up.is_some_and(is_known)
    }

    /// Whether it waits for a request, and owes nothing.
    fn is_idle(&self) -> bool {
        let carrier = &self.line.carrier;
        carrier.served().is_some_and(|served| served.is_idle()) && !carrier.has_own()
    }
}

/// Which requests are next.
#[derive(Default)]
struct Order {
    up: u64,
    /// Bytes of that which were passed on.
    up_bytes: usize,
    down: u64,
}

impl Order {
    /// So much of a POST came behind so much of it; how much of that was passed on before.
    fn pass(&mut self, Up { number, length, came: before, .. }: Up, count: usize) -> usize {
        if number != self.up {
            return count;
        }
        let known = self.up_bytes.saturating_sub(before).min(count);
        self.up_bytes = self.up_bytes.max(before + count);
        if self.up_bytes >= length {
            (self.up, self.up_bytes) = (self.up + 1, 0);
        }
        known
    }
}

impl<K: Copy + Eq, S> RelayEnd<K, S> {
    /// A link of this name that begins with the request on this connection.
    pub(crate) fn new(line: Line<K, S>, id: CarrierId) -> RelayEnd<K, S> {
        let key = line.key;
        let lines = vec![Held { line, up: None }];
        let mut end = RelayEnd {
            id,
            lines,
            order: Order::default(),
            answering: None,
            next: None,
            dropped: Vec::new(),
            most: STRANGER,
            end: None,
        };
        end.place(key);
        end
    }

    /// Its client has said who it is.
    pub(crate) fn welcome(&mut self) {
        self.most = KNOWN;
    }

    /// Its connections.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line<K, S>> {
        self.lines.iter().map(|held| &held.line)
    }

    /// The same, to be changed.
    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line<K, S>> {
        self.lines.iter_mut().map(|held| &mut held.line)
    }

    /// The same, as they are.
    pub(crate) fn into_lines(self) -> impl Iterator<Item = Line<K, S>> {
        self.lines.into_iter().map(|held| held.line)
    }

    /// One of them.
    pub(crate) fn line_mut(&mut self, key: K) -> Option<&mut Line<K, S>> {
        self.lines_mut().find(|line| line.key == key)
    }

    /// Whether there is none.
    pub(crate) fn has_no_line(&self) -> bool {
        self.lines.is_empty()
    }

    /// How it has ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// Which connection carries what the link shows.
    pub(crate) fn answering(&self) -> Option<K> {
        self.answering
    }

    /// A connection brings a request for this link. It comes back if there are too many.
    pub(crate) fn join(&mut self, line: Line<K, S>) -> Option<Line<K, S>> {
        let up = line
            .carrier
            .asked()
            .and_then(|asked| if let What::Up(number, _) = asked.what { Some(number) } else { None });
        if let Some(same) = up.and_then(|number| self.surplus(number)) {
            self.give_way(same);
        }
        if self.lines.len() >= self.most.lines {
            let Some(other) = self.dispensable() else { return Some(line) };
            self.give_way(other);
        }
        let key = line.key;
        self.lines.push(Held { line, up: None });
        self.place(key);
        None
    }

    /// Of as many connections as may bring the same POST, that which has brought least of it.
    fn surplus(&self, up: u64) -> Option<K> {
        let same = || self.lines.iter().filter(|held| held.brings() == Some(up));
        let came =
            |held: &&Held<K, S>| held.up.filter(|brought| brought.number == up).map_or(0, |brought| brought.came);
        same().min_by_key(came).filter(|_| same().count() >= SAME_MAX).map(|held| held.line.key)
    }

    /// A connection that gives way to one that brings a request: first of all one that has brought only what is known. What this one
    /// brings may be known, too, and yet be what the client waits for: those in the way say a POST again, and pass on one answer.
    fn dispensable(&self) -> Option<K> {
        let is_free = |held: &&Held<K, S>| held.is_idle() && self.answering != Some(held.line.key);
        let vain = self.lines.iter().find(|held| held.is_vain(self.order.up));
        vain.or_else(|| self.lines.iter().find(is_free)).map(|held| held.line.key)
    }

    /// Whether a connection is not part of it any more: its carrier has ended, or it brings a request of another link.
    fn leaves(&self, held: &Held<K, S>) -> bool {
        let carrier = &held.line.carrier;
        carrier.end().is_some() || carrier.asked().is_some_and(|request| request.carrier != self.id)
    }

    /// Whether there is such a connection.
    pub(crate) fn has_leaver(&self) -> bool {
        self.lines.iter().any(|held| self.leaves(held))
    }

    /// Such a connection.
    pub(crate) fn take_leaver(&mut self) -> Option<Line<K, S>> {
        let at = self.lines.iter().position(|held| self.leaves(held))?;
        let key = self.lines[at].line.key;
        if self.answering == Some(key) && self.lines[at].line.carrier.end().is_some() {
            self.end = self.end.or(Some(End::NotFound));
        }
        self.remove(key)
    }

    /// Whether a connection may be read: what comes on it has its turn.
    pub(crate) fn may_read(&self, key: K) -> bool {
        let held = self.lines.iter().find(|held| held.line.key == key);
        held.is_some_and(|held| held.line.carrier.asked().is_none() && held.line.carrier.end().is_none())
    }

    /// Wire bytes came on a connection: those of the link among them are put at the front, and counted.
    pub(crate) fn handle_wire(&mut self, key: K, wire: &mut [u8]) -> usize {
        let Some(line) = self.line_mut(key) else { return 0 };
        let count = line.carrier.handle_wire(wire);
        self.pass(key, &mut wire[..count])
    }

    /// The same of bytes that came before they had their turn: they are put into `room`.
    pub(crate) fn take_held(&mut self, key: K, room: &mut [u8]) -> usize {
        let Some(line) = self.line_mut(key) else { return 0 };
        let count = line.carrier.served_mut().map_or(0, |served| served.take_held(room));
        self.pass(key, &mut room[..count])
    }

    /// The first connection that has such.
    pub(crate) fn held(&self) -> Option<K> {
        let has_held = |held: &&Held<K, S>| held.line.carrier.served().is_some_and(|served| served.has_held());
        self.lines.iter().find(has_held).map(|held| held.line.key)
    }

    /// Content came by a POST: what of it was not passed on before is put at the front, and counted.
    fn pass(&mut self, key: K, content: &mut [u8]) -> usize {
        let count = content.len();
        let Some(held) = self.lines.iter_mut().find(|held| held.line.key == key) else { return 0 };
        let mut known = count;
        if let Some(up) = &mut held.up {
            known = self.order.pass(*up, count);
            up.came += count;
            up.was_new |= known < count;
        }
        content.copy_within(known.., 0);
        self.place(key);
        self.settle();
        count - known
    }

    /// Content that came before it had its turn, bytes.
    fn held_bytes(&self) -> usize {
        self.lines().map(|line| line.carrier.content_held()).sum()
    }

    /// A connection may have brought a request, and one that waits may have its turn.
    fn place(&mut self, key: K) {
        self.place_line(key);
        while let Some(waits) = self
            .lines
            .iter()
            .find(|held| {
                held.waits() == Some(self.order.up)
                    && held.line.carrier.asked().is_some_and(|asked| asked.carrier == self.id)
            })
            .map(|held| held.line.key)
        {
            self.place_line(waits);
        }
    }

    /// The same of one connection: behind a request that has come whole there may be another.
    fn place_line(&mut self, key: K) {
        while self.place_one(key) {}
    }

    /// Whether a request was accepted, behind which there may be another.
    fn place_one(&mut self, key: K) -> bool {
        let Some(request) = self.line_mut(key).and_then(|line| line.carrier.asked().copied()) else { return false };
        match request.what {
            _ if request.carrier != self.id => false,
            What::Up(number, length) => self.place_up(key, number, length),
            What::Down(number) | What::Poll(number) => {
                self.place_down(key, number);
                false
            }
        }
    }

    fn place_up(&mut self, key: K, number: u64, length: usize) -> bool {
        let (next, is_too_much) = (self.order.up, self.held_bytes() > self.most.held);
        if number == next + 1 && !is_too_much {
            // It is not read before the one that it follows is whole.
            return false;
        }
        let Some(held) = self.lines.iter_mut().find(|held| held.line.key == key) else { return false };
        let Some(served) = held.line.carrier.served_mut() else { return false };
        if number > next || number.saturating_add(KNOWN_UPS) < next {
            served.refuse();
            return false;
        }
        served.accept();
        let came = if number < next { served.drop_held() } else { 0 };
        held.up = Some(Up { number, length, came, was_new: false });
        if length == 0 && number == self.order.up {
            // Nothing follows.
            self.order.up += 1;
            self.end = self.end.or(Some(End::Closed));
        }
        true
    }

    fn place_down(&mut self, key: K, number: u64) {
        if let Some(held) = self.lines.iter_mut().find(|held| held.line.key == key) {
            held.up = None;
        }
        if self.next == Some(key) {
            return;
        }
        if number == self.order.down && self.next.is_none() {
            self.order.down += 1;
            self.next = Some(key);
            let answering = self.answering;
            if let Some(served) = answering.and_then(|key| self.line_mut(key)?.carrier.served_mut()) {
                served.end_answer();
            }
        } else if number.checked_add(1) == Some(self.order.down) && self.next.is_some() {
            // Somebody has asked again: the first of both waits in vain.
            if let Some(old) = self.next.replace(key) {
                self.give_way(old);
            }
        } else if number.checked_add(1) == Some(self.order.down) && self.has_carried() == Some(false) {
            if let Some(old) = self.answering.take() {
                self.give_way(old);
            }
            self.next = Some(key);
        } else if let Some(served) = self.line_mut(key).and_then(|line| line.carrier.served_mut()) {
            return served.refuse();
        }
        self.settle();
    }

    /// Whether the answer that is under way has carried something; None if none is.
    fn has_carried(&self) -> Option<bool> {
        let held = self.lines.iter().find(|held| Some(held.line.key) == self.answering)?;
        let served = held.line.carrier.served().filter(|served| served.is_answering())?;
        Some(served.has_carried())
    }

    /// An answer that is whole gives way to the next.
    fn settle(&mut self) {
        if let Some(line) = self.answering.and_then(|key| self.line_mut(key)) {
            let is_answering = line.carrier.served().is_some_and(|served| served.is_answering());
            // Until its last byte is gone, bytes of the link may be among those.
            if is_answering || line.carrier.has_own() {
                return;
            }
        }
        self.answering = self.next.take();
        if let Some(served) = self.answering.and_then(|key| self.line_mut(key)?.carrier.served_mut()) {
            served.accept();
        }
    }

    /// A connection has ended.
    pub(crate) fn handle_end(&mut self, key: K) -> Option<Line<K, S>> {
        if self.answering == Some(key) {
            match self.has_carried() {
                Some(false) => self.order.down = self.order.down.saturating_sub(1),
                Some(true) => self.end = self.end.or(Some(End::Closed)),
                // All of it went out, or not even its last byte: what is missing shows at the other end.
                None => {}
            }
        } else if self.next == Some(key) {
            self.order.down -= 1;
        }
        self.remove(key)
    }

    fn remove(&mut self, key: K) -> Option<Line<K, S>> {
        let line = self.drop_line(key);
        self.answering = self.answering.filter(|answering| *answering != key);
        self.next = self.next.filter(|next| *next != key);
        self.settle();
        line
    }

    /// Another connection brings what this one was to bring.
    fn give_way(&mut self, key: K) {
        self.drop_line(key);
        self.dropped.push(key);
    }

    /// Connections that gave way to others, and are gone.
    pub(crate) fn take_dropped(&mut self) -> Vec<K> {
        std::mem::take(&mut self.dropped)
    }

    fn drop_line(&mut self, key: K) -> Option<Line<K, S>> {
        let at = self.lines.iter().position(|held| held.line.key == key)?;
        Some(self.lines.remove(at).line)
    }

    /// The kernel took so many bytes of what a connection had to say; how many of the link's were among them.
    pub(crate) fn handle_written(&mut self, key: K, count: usize) -> usize {
        let taken = self.line_mut(key).map_or(0, |line| line.carrier.handle_written(count));
        self.settle();
        taken
    }

    /// The link has said all.
    pub(crate) fn close(&mut self) {
        self.lines_mut().for_each(|line| line.carrier.close());
    }
}
