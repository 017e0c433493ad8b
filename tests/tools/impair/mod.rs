//! A TCP proxy that makes a good path bad: delay, jitter, rate, slices, stall, half-open, reset, bit flip, black hole.
//!
//! It is a test tool: one thread, one [`Impair`] handle, one [`Command`] grammar shared by tests and by the standalone
//! program's standard input. It does not know what it carries, and it does not lose or reorder bytes: whoever needs lost
//! packets under the kernel's TCP needs a packet filter, not a proxy.
//!
//! Invariants: without a fault every byte arrives once, in order, unchanged, no earlier than the delay; what is in flight
//! in one direction of one connection never exceeds the queue; a one-shot fault at byte N leaves exactly N bytes before it.
//!
//! ```text
//!  client ──▶ arrived ──▶ Flow (queue, schedule) ──▶ delivered ──▶ target        Way::Up
//!  client ◀── delivered ◀── Flow (queue, schedule) ◀── arrived ◀── target        Way::Down
//! ```

pub mod command;
mod engine;
mod flow;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

pub use command::{Command, Fault};
pub use flow::Shape;

/// A command takes effect within one turn of the loop; longer means that the loop is gone.
const COMMAND_DEADLINE: Duration = Duration::from_secs(10);

/// A command on its way to the loop, and where to say that it took effect.
type Order = (Command, SyncSender<()>);

/// A running proxy. Dropping it closes every connection.
pub struct Impair {
    address: SocketAddr,
    meters: Arc<Meters>,
    orders: Option<Sender<Order>>,
    waker: Arc<mio::Waker>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

/// What has passed so far, over all connections, in bytes and connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Bytes taken from a sender, by direction: up, down.
    pub arrived: [u64; 2],
    /// Bytes handed to a receiver, by direction: up, down.
    pub delivered: [u64; 2],
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections open now.
    pub live: u64,
}

impl Impair {
    /// Listens on `listen` (port 0 for any) and carries every connection to `target`.
    ///
    /// # Errors
    /// The address cannot be bound, or the machine has no descriptors or threads left.
    pub fn start(listen: SocketAddr, target: SocketAddr, shape: Shape) -> io::Result<Impair> {
        let place = ReservedPort::reserve(listen)?;
        let address = place.address;
        let poll = mio::Poll::new()?;
        let waker = Arc::new(mio::Waker::new(poll.registry(), engine::WAKE)?);
        let meters = Arc::new(Meters::default());
        let (orders, inbox) = channel();
        let mut engine = engine::Engine::new(poll, place, target, shape, inbox, Arc::clone(&meters))?;
        let thread = std::thread::Builder::new().name("impair".into()).spawn(move || engine.run())?;
        Ok(Impair { address, meters, orders: Some(orders), waker, thread: Some(thread) })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a command and returns once it has taken effect.
    ///
    /// # Errors
    /// The proxy has ended.
    pub fn tell(&self, command: Command) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the impairment proxy has ended");
        let (done, heard) = sync_channel(1);
        self.orders.as_ref().ok_or_else(gone)?.send((command, done)).map_err(|_| gone())?;
        self.waker.wake()?;
        heard.recv_timeout(COMMAND_DEADLINE).map_err(|_| gone())
    }

    /// What has passed so far.
    pub fn count(&self) -> Count {
        self.meters.count()
    }
}

impl Drop for Impair {
    fn drop(&mut self) {
        self.orders = None;
        // A loop that cannot be woken has ended already; a failed one has nobody left to tell.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Counters shared between the loop, which writes them, and the handle.
#[derive(Default)]
struct Meters {
    arrived: [AtomicU64; 2],
    delivered: [AtomicU64; 2],
    accepted: AtomicU64,
    live: AtomicU64,
}

impl Meters {
    fn count(&self) -> Count {
        let read = |cell: &AtomicU64| cell.load(Ordering::Acquire);
        Count {
            arrived: [read(&self.arrived[0]), read(&self.arrived[1])],
            delivered: [read(&self.delivered[0]), read(&self.delivered[1])],
            accepted: read(&self.accepted),
            live: read(&self.live),
        }
    }
}

/// A port that stays ours while nobody listens on it: a bound socket that never listens makes the kernel refuse
/// connections, and keeps other programs from being given the port in the meantime.
pub struct ReservedPort {
    /// The address with its real port.
    pub address: SocketAddr,
    _holder: Socket,
}

impl ReservedPort {
    /// Binds `address` (port 0 for any) without listening.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub fn reserve(address: SocketAddr) -> io::Result<ReservedPort> {
        let holder = bound(address)?;
        let address = holder.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(ReservedPort { address, _holder: holder })
    }

    /// Listens there. Dropping the listener makes the place refuse again.
    fn listen(&self) -> io::Result<TcpListener> {
        let socket = bound(self.address)?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }
}

/// `SO_REUSEADDR` on every socket of a place is what lets one of them listen.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Takes every order that waits, or says that the handle is gone.
fn drain(inbox: &Receiver<Order>) -> Result<Vec<Order>, ()> {
    let mut orders = Vec::new();
    loop {
        match inbox.try_recv() {
            Ok(order) => orders.push(order),
            Err(std::sync::mpsc::TryRecvError::Empty) => return Ok(orders),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return Err(()),
        }
    }
}
