//! What stands at the two ends of a replicated port: targets, applications, and the pair of programs between them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use socket2::SockRef;

use super::process::DEADLINE;
use super::{Relay, Running};

/// What a target does with each connection.
type Serve = dyn Fn(TcpStream) + Send + Sync;

/// A server of the test's own on a port of the kernel's choice. Its threads end with their connections.
pub struct Target {
    /// Where it listens.
    pub at: SocketAddr,
    accepted: Arc<AtomicU64>,
    kept: Arc<(Mutex<VecDeque<TcpStream>>, Condvar)>,
}

/// Each connection in a thread of its own.
fn threaded(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Arc<Serve> {
    let serve = Arc::new(serve);
    Arc::new(move |stream| {
        let serve = Arc::clone(&serve);
        std::thread::Builder::new().stack_size(128 << 10).spawn(move || serve(stream)).expect("a thread");
    })
}

impl Target {
    /// One that does this with each connection, in a thread of its own.
    pub fn serving(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Target {
        Target::on((Ipv4Addr::LOCALHOST, 0).into(), threaded(serve))
    }

    /// One that gives back what it is sent, and the end too.
    pub fn echo() -> Target {
        Target::echo_on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same at an address.
    pub fn echo_on(at: SocketAddr) -> Target {
        Target::on(at, threaded(echo))
    }

    /// One whose connections the test itself serves, in the order of their coming.
    pub fn kept() -> Target {
        let kept: Arc<(Mutex<VecDeque<TcpStream>>, Condvar)> = Arc::default();
        let mine = Arc::clone(&kept);
        let keep = move |stream: TcpStream| {
            mine.0.lock().expect("nobody panics here").push_back(patient(stream));
            mine.1.notify_all();
        };
        // In the accepting thread: threads of their own would come to the queue in any order.
        Target { kept, ..Target::on((Ipv4Addr::LOCALHOST, 0).into(), Arc::new(keep)) }
    }

    fn on(at: SocketAddr, serve: Arc<Serve>) -> Target {
        let listener = TcpListener::bind(at).expect("a port");
        let at = listener.local_addr().expect("an address");
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        // It lasts as long as the test program: nobody connects to it once its test is over.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // Descriptors may be short, in tests that see to that.
                let Ok(stream) = stream else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                serve(stream);
            }
        });
        Target { at, accepted, kept: Arc::default() }
    }

    /// Connections so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The next connection of a target made by [`Target::kept`].
    pub fn next(&self) -> TcpStream {
        let queue = self.kept.0.lock().expect("nobody panics here");
        let (mut queue, _) =
            self.kept.1.wait_timeout_while(queue, DEADLINE, |queue| queue.is_empty()).expect("nobody panics here");
        queue.pop_front().expect("a connection to the target")
    }
}

/// Gives back what comes, until the end or a break.
fn echo(stream: TcpStream) {
    // A break is what some tests make.
    let _ = io::copy(&mut &stream, &mut &stream);
    let _ = stream.shutdown(Shutdown::Write);
}

/// No wait on this socket outlives the deadline.
pub fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).expect("an option");
    stream.set_write_timeout(Some(DEADLINE)).expect("an option");
    stream
}

/// Connects as an application does.
#[track_caller]
pub fn connect(to: SocketAddr) -> TcpStream {
    try_connect(to).expect("a listener")
}

/// The same where a reset is one of the answers: it may be there before the application has looked.
pub fn try_connect(to: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, DEADLINE).map(patient)
}

/// Sends bytes over a connection to an echo and takes them back.
#[track_caller]
pub fn ask(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("written");
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("read");
    assert!(back == bytes, "other bytes came back than were sent");
}

/// Whether a fresh connection to an echo works: reset is no, anything else that goes wrong fails the test.
pub fn works(to: SocketAddr) -> bool {
    let mut back = [0; 4];
    let echoed = try_connect(to).and_then(|mut stream| {
        stream.write_all(b"ping")?;
        stream.read_exact(&mut back)
    });
    match echoed {
        Ok(()) => {
            assert_eq!(&back, b"ping");
            true
        }
        Err(error) if is_reset(&error) => false,
        Err(error) => panic!("neither served nor reset: {error}"),
    }
}

/// Whether an error is what a reset looks like to whoever reads or writes.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// Asserts that a connection is reset, and that nothing is read before that.
#[track_caller]
pub fn expect_reset(mut stream: &TcpStream) {
    match stream.read(&mut [0; 64]) {
        Err(error) if is_reset(&error) => {}
        other => panic!("expected a reset, got {other:?}"),
    }
}

/// Asserts that a connection ends in order with these bytes.
#[track_caller]
pub fn expect_end(mut stream: &TcpStream, bytes: &[u8]) {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("an end of order");
    assert!(all == bytes, "expected {} bytes, got {}", bytes.len(), all.len());
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
}

/// A port on which nobody listens, and that nobody else gets while this is held.
pub fn closed_port() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let at = socket.local_addr().ok().and_then(|at| at.as_socket()).expect("an address");
    (socket, at)
}

/// Where an import listens, from its ready line: of `PEER:APP` the last to be told.
pub fn listening(import: &Running, to: &str) -> SocketAddr {
    let line = import.wait_line_like(to, |line| line.starts_with("listening ") && line.ends_with(&format!(" {to}")));
    line.split(' ').nth(1).and_then(|at| at.parse().ok()).expect("an address")
}

/// `west` exports one target by the name `app`, `east` imports it on a free port.
pub struct Mapping {
    /// The program at the target.
    pub export: Running,
    /// The program at the application.
    pub import: Running,
    /// Where the application connects to.
    pub at: SocketAddr,
}

impl Mapping {
    /// Both over the relay directly.
    pub fn start(relay: &Relay<'_>, target: SocketAddr) -> Mapping {
        Mapping::over(relay, target, [&relay.address, &relay.address])
    }

    /// Each over its own relay address: east's, west's.
    pub fn over(relay: &Relay<'_>, target: SocketAddr, through: [&str; 2]) -> Mapping {
        let (east, west) = (relay.world().party("east", through[0]), relay.world().party("west", through[1]));
        // So that a test may count their descriptors, also where it is not root's.
        let export = west
            .portrep()
            .env("VP_DUMPABLE", "1")
            .arg("--export")
            .arg(format!("app={target}"))
            .within(4 * DEADLINE)
            .spawn();
        export.wait_line(&format!("serving app {target}"));
        let import =
            east.portrep().env("VP_DUMPABLE", "1").args(["--import", "0=west:app"]).within(4 * DEADLINE).spawn();
        let at = listening(&import, "west:app");
        Mapping { export, import, at }
    }
}
