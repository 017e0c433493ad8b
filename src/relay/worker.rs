//! All links of one worker: bytes in, orders in, bytes out.
//!
//! The grammar: `handle_*` tells facts, `poll_*` drains what they led to. Drain [`Forwarder::poll_event`],
//! [`Forwarder::poll_parcel`] and [`Forwarder::poll_output`] before waiting.

use super::attached::Port;
use super::circuit::window::Growth;
use super::conn::{Conn, Greeting};
use super::memory::block::{Buffer, Piece, Pool};
use super::memory::pressure::{Bar, Shortage};
use super::output::SLICES_MAX;
use super::router::policy::Policy;
use super::router::{Order, Router};
use super::timers::Timers;
use super::{End, LinkId};
use crate::identity::{Identity, PeerId};
use crate::wire::{CloseCode, Control};
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a link that ends may take to accept its last bytes.
pub(super) const ENDING_MAX: Duration = Duration::from_secs(2);

/// Something for a link of another worker.
#[derive(Debug)]
pub enum Parcel {
    /// From the router.
    Order(Order),
    /// Bytes for a circuit.
    Data(End, Piece),
    /// No more bytes for a circuit.
    Fin(End),
    /// The circuit is gone.
    Reset(End, CloseCode),
    /// The kernel took bytes that came in on this end.
    Freed(End, u32),
    /// Memory is used up: let go of what waits for those who do not take it, if their peer holds so many bytes.
    Shed(Bar),
    /// Messages take all that they may: let go of those for links that do not take them.
    ShedMessages,
}

/// A link on its way to another worker.
pub struct Transit {
    pub(super) port: Box<Port>,
    pub(super) replay: Control,
    pub(super) rest: Vec<u8>,
}

impl Transit {
    /// The link that moves.
    pub fn link(&self) -> LinkId {
        self.port.id
    }
}

/// Something the owner of the sockets has to do.
pub enum Event {
    /// Close the connection at once.
    Close(LinkId),
    /// All is written: shut down writing, and close when the client does.
    Finish(LinkId),
    /// Hand the connection to another worker, together with this.
    Move(usize, Transit),
    /// Worth a line in a log.
    Notice(LinkId, Notice),
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It came in from there.
    Accepted(IpAddr),
    /// It proved whose it is, and was admitted.
    Attached(PeerId),
    /// It proved whose it is, and was turned away.
    TurnedAway(PeerId, CloseCode),
    /// It ended.
    Detached(PeerId, Why),
    /// It never got through the handshake.
    Stranger(Why),
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The other side closed it.
    Closed,
    /// Nothing was heard, or nothing taken, for its dead time; or its handshake took too long.
    Dead,
    /// What was for it waited for long, while memory was used up.
    Slow,
    /// What it sent does not authenticate, or is not our protocol.
    Garbage,
    /// Another took its place.
    Evicted,
    /// The relay ended it, with this code.
    Ended(CloseCode),
}

/// Whether a connection may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// Not now; later, without further notice.
    Shut,
    /// Never again.
    Gone,
}

/// What became of a connection while its input was used.
pub(super) enum Flow {
    Continue,
    Gone,
    Move(usize, Control),
}

/// The links of one worker.
pub struct Forwarder {
    pub(super) worker: usize,
    pub(super) workers: usize,
    pub(super) identity: Arc<Identity>,
    router: Arc<Mutex<Router>>,
    pub(super) pool: Arc<Pool>,
    pub(super) conns: HashMap<LinkId, Conn>,
    pub(super) orders: VecDeque<Order>,
    pub(super) parcels: VecDeque<(usize, Parcel)>,
    /// Orders that came before the link they are for.
    pub(super) early: HashMap<LinkId, Vec<Order>>,
    timers: Timers,
    router_timeout: Option<Instant>,
    dirty: VecDeque<LinkId>,
    events: VecDeque<Event>,
    freed: Vec<(u32, usize)>,
    pub(super) shortage: Shortage,
    pub(super) forwarded_bytes: u64,
}

impl Forwarder {
    /// The worker with this index out of `workers`.
    pub fn new(
        place: (usize, usize),
        identity: Arc<Identity>,
        router: Arc<Mutex<Router>>,
        pool: Arc<Pool>,
    ) -> Forwarder {
        Forwarder {
            worker: place.0,
            workers: place.1,
            identity,
            router,
            pool,
            conns: HashMap::new(),
            orders: VecDeque::new(),
            parcels: VecDeque::new(),
            early: HashMap::new(),
            timers: Timers::default(),
            router_timeout: None,
            dirty: VecDeque::new(),
            events: VecDeque::new(),
            freed: Vec::new(),
            shortage: Shortage::default(),
            forwarded_bytes: 0,
        }
    }

    /// Bytes of circuits that came in so far.
    pub fn forwarded_bytes(&self) -> u64 {
        self.forwarded_bytes
    }

    /// Connections here.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// Whether there is no connection here.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    pub(super) fn router(&self) -> MutexGuard<'_, Router> {
        // A panic in another worker leaves the router whole between its calls; the relay goes on for the rest.
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the router something and queues its orders.
    pub(super) fn ask<T>(&mut self, question: impl FnOnce(&mut Router, &mut Vec<Order>) -> T) -> T {
        let mut orders = Vec::new();
        let (answer, timeout) = {
            let mut router = self.router();
            (question(&mut router, &mut orders), router.next_timeout())
        };
        self.router_timeout = timeout;
        self.orders.extend(orders);
        answer
    }

    /// A connection came in: its id and the worker that has to [`Forwarder::handle_accepted`] it.
    pub fn greet(&mut self, now: Instant, source: IpAddr) -> (LinkId, usize) {
        let placed = self.ask(|router, orders| router.greet(source, orders));
        self.notice(placed.0, Notice::Accepted(source));
        self.run_orders(now);
        placed
    }

    /// A connection that [`Forwarder::greet`] placed here.
    pub fn handle_accepted(&mut self, now: Instant, id: LinkId) {
        let mut greeting = Box::new(Greeting::new(now));
        self.timers.arm(id, &mut greeting.armed, greeting.deadline);
        self.conns.insert(id, Conn::Greeting(greeting));
    }

    /// Whether a connection may be read now.
    pub fn gate(&self, id: LinkId) -> Gate {
        match self.conns.get(&id) {
            None => Gate::Gone,
            Some(Conn::Greeting(_)) => Gate::Open,
            Some(Conn::Open(port)) if port.is_ending() => Gate::Gone,
            Some(Conn::Open(port)) if port.is_shut() => Gate::Shut,
            Some(Conn::Open(_)) => Gate::Open,
        }
    }

    /// Bytes that were read into the front of `blocks`, `filled` in all. What is in them is shared from then on.
    pub fn handle_blocks(&mut self, now: Instant, id: LinkId, blocks: &[Arc<Buffer>], filled: usize) {
        if let Some(Conn::Open(port)) = self.conns.get_mut(&id) {
            port.heartbeat.handle_received(now);
            port.unread = false;
            port.handle_read(now);
        }
        let mut left = filled;
        let mut blocks = blocks.iter();
        while let Some(block) = blocks.next().filter(|_| left > 0) {
            let here = left.min(block.bytes().len());
            left -= here;
            let mut at = 0;
            match self.feed(now, id, block, &mut at, here) {
                Flow::Continue => {}
                Flow::Gone => break,
                Flow::Move(to, replay) => {
                    let mut rest = block.bytes()[at..here].to_vec();
                    for block in blocks.by_ref() {
                        let here = left.min(block.bytes().len());
                        left -= here;
                        rest.extend_from_slice(&block.bytes()[..here]);
                    }
                    self.move_out(id, to, replay, rest);
                    break;
                }
            }
        }
        self.run_orders(now);
        self.touch(now, id);
    }

    /// As [`Forwarder::handle_blocks`] for bytes that lie elsewhere: copies them.
    pub fn handle_bytes(&mut self, now: Instant, id: LinkId, bytes: &[u8]) {
        for chunk in bytes.chunks(super::BLOCK_BYTES) {
            let buffer = Piece::copied(&self.pool, chunk).into_buffer();
            self.handle_blocks(now, id, &[buffer], chunk.len());
        }
    }

    /// Input waits and was not read, for want of memory or because of [`Gate::Shut`]: the other side is not silent. Tell it
    /// again and again while that is so: a circuit for which it lasts too long is ended.
    pub fn handle_held(&mut self, now: Instant, id: LinkId) {
        let Some(Conn::Open(port)) = self.conns.get_mut(&id) else { return };
        port.heartbeat.handle_received(now);
        port.unread = true;
        if let Some(circuit) = port.handle_held(now) {
            self.cut_circuit(now, (id, circuit), CloseCode::Limit);
            self.run_orders(now);
        }
    }

    /// The carrier is gone.
    pub fn handle_closed(&mut self, now: Instant, id: LinkId) {
        self.drop_conn(now, id, Why::Closed);
        self.run_orders(now);
    }

    /// Something from another worker.
    pub fn handle_parcel(&mut self, now: Instant, parcel: Parcel) {
        self.carry(now, parcel);
        self.run_orders(now);
    }

    fn carry(&mut self, now: Instant, parcel: Parcel) {
        match parcel {
            Parcel::Order(order) => self.orders.push_back(order),
            Parcel::Data(to, piece) => self.with_port(now, to.link, |port| port.push(now, to.circuit, piece)),
            Parcel::Fin(to) => self.with_port(now, to.link, |port| port.finish(to.circuit)),
            Parcel::Reset(to, code) => self.with_port(now, to.link, |port| port.lose(to.circuit, code)),
            Parcel::Shed(bar) => self.handle_bar(now, bar),
            Parcel::ShedMessages => self.shed_messages(now),
            Parcel::Freed(to, bytes) => {
                let growth = if self.pool.budget().is_ample() { Growth::Allowed } else { Growth::Held };
                self.with_port(now, to.link, |port| port.free(now, to.circuit, bytes, growth));
            }
        }
    }

    /// A link from another worker; its socket comes with it.
    pub fn handle_arrival(&mut self, now: Instant, transit: Transit) {
        let Transit { port, replay, rest } = transit;
        let id = port.id;
        self.conns.insert(id, Conn::Open(port));
        self.orders.extend(self.early.remove(&id).unwrap_or_default());
        self.run_orders(now);
        // It has been placed: whatever changed meanwhile, it stays here for this message.
        if let Flow::Continue = self.act(now, id, replay) {
            self.run_orders(now);
            self.handle_bytes(now, id, &rest);
        }
        self.run_orders(now);
        self.touch(now, id);
    }

    /// A new policy for the whole relay: links that it leaves out are ended.
    pub fn set_policy(&mut self, now: Instant, policy: Policy) {
        self.ask(|router, orders| router.set_policy(policy, orders));
        self.run_orders(now);
    }

    /// Ends every link with GOING AWAY, after what is queued for it, by `until` at the latest; and drops every handshake.
    pub fn handle_shutdown(&mut self, now: Instant, until: Instant) {
        let ids: Vec<LinkId> = self.conns.keys().copied().collect();
        for id in ids {
            match self.conns.get_mut(&id) {
                Some(Conn::Open(port)) => port.end(CloseCode::GoingAway, until),
                _ => self.drop_conn(now, id, Why::Ended(CloseCode::GoingAway)),
            }
            self.touch(now, id);
        }
        self.run_orders(now);
    }

    /// A link that was placed elsewhere could not be handed over: its socket is gone.
    pub fn handle_lost(&mut self, now: Instant, transit: Transit) {
        let id = transit.link();
        self.conns.insert(id, Conn::Open(transit.port));
        self.handle_closed(now, id);
    }

    /// When [`Forwarder::handle_timeout`] has something to do.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.router_timeout).min()
    }

    /// Closes what is dead and ends what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.pop(now) {
            let dead = match self.conns.get_mut(&id) {
                Some(Conn::Greeting(greeting)) => greeting.armed.spend(at) && now >= greeting.deadline,
                Some(Conn::Open(port)) => port.armed.spend(at) && port.is_dead(now),
                None => continue,
            };
            if dead {
                self.drop_conn(now, id, Why::Dead);
            } else {
                self.touch(now, id);
            }
        }
        if self.router_timeout.is_some_and(|at| at <= now) {
            self.ask(|router, orders| router.handle_timeout(now, orders));
        }
        self.run_orders(now);
    }

    /// The next thing to do with a connection.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next parcel, with the worker it is for.
    pub fn poll_parcel(&mut self) -> Option<(usize, Parcel)> {
        self.parcels.pop_front()
    }

    /// A connection that has output.
    pub fn poll_output(&mut self) -> Option<LinkId> {
        let id = self.dirty.pop_front()?;
        match self.conns.get_mut(&id) {
            Some(Conn::Greeting(greeting)) => greeting.dirty = false,
            Some(Conn::Open(port)) => port.dirty = false,
            None => {}
        }
        Some(id)
    }

    /// The carrier takes bytes again, after it had not.
    pub fn handle_writable(&mut self, now: Instant, id: LinkId) {
        self.touch(now, id);
    }

    /// Puts output in order and shows it. 0: nothing to write.
    pub fn output<'a>(&'a mut self, now: Instant, id: LinkId, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> usize {
        if let Some(Conn::Open(port)) = self.conns.get_mut(&id)
            && port.fill(now).is_err()
        {
            // The key is used up, after 2^64 messages.
            self.drop_conn(now, id, Why::Ended(CloseCode::Limit));
            self.run_orders(now);
        }
        match self.conns.get(&id) {
            Some(Conn::Greeting(greeting)) => greeting.output.slices(slices),
            Some(Conn::Open(port)) => port.output.slices(slices),
            None => 0,
        }
    }

    /// The kernel took `count` bytes of what [`Forwarder::output`] showed; 0 if it would have blocked.
    pub fn handle_written(&mut self, now: Instant, id: LinkId, count: usize) {
        let mut freed = std::mem::take(&mut self.freed);
        match self.conns.get_mut(&id) {
            Some(Conn::Greeting(greeting)) => greeting.output.advance(count, |_, _| {}),
            Some(Conn::Open(port)) => {
                if port.is_ending() && count > 0 {
                    // It is not read any more: that it takes something shows that it lives.
                    port.heartbeat.handle_received(now);
                }
                port.handle_written(now, count, |circuit, bytes| match freed.last_mut() {
                    Some((last, sum)) if *last == circuit => *sum += bytes,
                    _ => freed.push((circuit, bytes)),
                });
            }
            None => {}
        }
        for (circuit, bytes) in freed.drain(..) {
            let Some(Conn::Open(port)) = self.conns.get_mut(&id) else { break };
            let Some(peer) = port.half(circuit).map(|half| half.peer) else { continue };
            self.deliver(now, peer, Parcel::Freed(peer, u32::try_from(bytes).unwrap_or(u32::MAX)));
        }
        self.freed = freed;
        self.touch(now, id);
        if matches!(self.conns.get(&id), Some(Conn::Open(port)) if port.has_ended()) {
            self.take_out(now, id);
            self.run_orders(now);
            self.events.push_back(Event::Finish(id));
        }
    }

    // Below: what the facts lead to. `feed.rs` has input, `control.rs` control messages and the router's orders.

    pub(super) fn notice(&mut self, id: LinkId, notice: Notice) {
        self.event(Event::Notice(id, notice));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Hands a parcel to the worker of `to`, which may be this one.
    pub(super) fn deliver(&mut self, now: Instant, to: End, parcel: Parcel) {
        if to.worker == self.worker {
            self.carry(now, parcel);
        } else {
            self.parcels.push_back((to.worker, parcel));
        }
    }

    fn with_port(&mut self, now: Instant, id: LinkId, change: impl FnOnce(&mut Port)) {
        if let Some(Conn::Open(port)) = self.conns.get_mut(&id) {
            change(port);
            self.touch(now, id);
        }
    }

    /// After any change to a connection: timer, heartbeat, the list of those with output, the router's counts.
    pub(super) fn touch(&mut self, now: Instant, id: LinkId) {
        let has_output = match self.conns.get_mut(&id) {
            None => return,
            Some(Conn::Greeting(greeting)) => {
                self.timers.arm(id, &mut greeting.armed, greeting.deadline);
                !greeting.output.is_empty() && !std::mem::replace(&mut greeting.dirty, true)
            }
            Some(Conn::Open(port)) => {
                port.settle(now);
                let deadline = port.deadline();
                self.timers.arm(id, &mut port.armed, deadline);
                port.has_output() && !std::mem::replace(&mut port.dirty, true)
            }
        };
        if has_output {
            self.dirty.push_back(id);
        }
        self.report_ended(id);
    }
}
