//! Each fault really happens: what a client and a target see through the proxy, over loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::{Duration, Instant};

use super::command::{Way, Ways};
use super::{Command, Fault, Impair, ReservedPort, Shape};

const DEADLINE: Duration = Duration::from_secs(10);
/// Long enough to believe that nothing comes; a byte that does come fails the test at once.
const SILENCE: Duration = Duration::from_millis(150);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// A proxy, a client through it, and the target's end of the same connection.
struct Pair {
    proxy: Impair,
    listener: TcpListener,
    client: TcpStream,
    target: TcpStream,
}

fn pair(shape: Shape) -> Pair {
    let listener = TcpListener::bind(loopback()).expect("a port");
    let proxy = Impair::start(loopback(), listener.local_addr().expect("an address"), shape).expect("a proxy");
    let client = connect(proxy.address());
    let target = accept(&listener);
    Pair { proxy, listener, client, target }
}

fn connect(address: SocketAddr) -> TcpStream {
    ready(TcpStream::connect_timeout(&address, DEADLINE).expect("connect"))
}

fn accept(listener: &TcpListener) -> TcpStream {
    ready(listener.accept().expect("accept").0)
}

fn ready(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("nodelay");
    stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
    stream.set_write_timeout(Some(DEADLINE)).expect("timeout");
    stream
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 31 + (i >> 8)).to_le_bytes()[0]).collect()
}

fn read_exactly(mut stream: &TcpStream, bytes: usize) -> Vec<u8> {
    let mut got = vec![0; bytes];
    stream.read_exact(&mut got).expect("these bytes before the deadline");
    got
}

/// Reads until something other than bytes: the bytes, and the kind of error, or none at an orderly end.
fn read_to_end(mut stream: &TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut got = Vec::new();
    match stream.read_to_end(&mut got) {
        Ok(_) => (got, None),
        Err(error) => (got, Some(error.kind())),
    }
}

/// A read timeout shows as `WouldBlock`.
fn is_silent(mut stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).expect("timeout");
    let result = stream.read(&mut [0; 1]);
    stream.set_read_timeout(Some(DEADLINE)).expect("timeout");
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Sends a pattern both ways at once, half-closes, and compares.
fn exchange(pair: &Pair, bytes: usize) {
    let sent = pattern(bytes);
    std::thread::scope(|scope| {
        for mut stream in [&pair.client, &pair.target] {
            let sent = &sent;
            scope.spawn(move || {
                stream.write_all(sent).expect("write");
                stream.shutdown(std::net::Shutdown::Write).expect("half-close");
            });
        }
        let down = scope.spawn(|| read_to_end(&pair.client));
        assert!(read_to_end(&pair.target) == (sent.clone(), None), "up differs");
        assert!(down.join().expect("reader") == (sent.clone(), None), "down differs");
    });
    let count = pair.proxy.count();
    assert_eq!(count.arrived, [bytes as u64; 2]);
    assert_eq!(count.delivered, [bytes as u64; 2]);
}

#[test]
fn without_faults_every_byte_passes_both_ways_and_half_close_is_kept() {
    exchange(&pair(Shape::default()), 5 << 20);
}

#[test]
fn small_queue_passes_everything_too() {
    exchange(&pair(Shape { queue_bytes: 100, ..Shape::default() }), 100_000);
}

#[test]
fn one_byte_slices_pass_everything() {
    exchange(&pair(Shape { slice: NonZeroUsize::new(1), ..Shape::default() }), 20_000);
}

#[test]
fn slices_come_apart() {
    // Of what is written at once, so much was there at the first look. Where it comes whole a late look sees all of it: then
    // again.
    let first_look = |slice: Option<usize>, enough: &dyn Fn(usize) -> bool| {
        let mut pair = pair(Shape { slice: slice.and_then(NonZeroUsize::new), ..Shape::default() });
        (0..1000).any(|_| {
            pair.client.write_all(&pattern(1000)).expect("write");
            let mut got = [0; 1000];
            let first = (&pair.target).read(&mut got).expect("read");
            (&pair.target).read_exact(&mut got[first..]).expect("read");
            assert!(got[..] == pattern(1000), "other bytes");
            enough(first)
        })
    };
    assert!(first_look(Some(400), &|first| first == 400), "never in slices of what was asked for");
    assert!(!first_look(Some(400), &|first| first % 400 != 0 && first != 1000), "slices of another size");
    assert!(!first_look(None, &|first| first != 1000), "in slices though not told so");
}

#[test]
fn jitter_holds_each_piece_back_for_another_time() {
    let mut pair = pair(Shape { jitter: Duration::from_millis(100), ..Shape::default() });
    let mut took: Vec<_> = (0..20)
        .map(|_| {
            let started = Instant::now();
            pair.client.write_all(b"x").expect("write");
            read_exactly(&pair.target, 1);
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    // Evenly distributed up to 100 ms, it is a second in all.
    assert!(took.iter().sum::<Duration>() > Duration::from_millis(500), "{took:?}");
    assert!(took[0] < took[19] / 2, "all alike: {took:?}");
}

#[test]
fn delay_and_jitter_pass_everything() {
    let ms = Duration::from_millis(1);
    exchange(&pair(Shape { delay: 3 * ms, jitter: 5 * ms, ..Shape::default() }), 1 << 20);
}

#[test]
fn delay_is_at_least_what_was_asked_for() {
    let mut pair = pair(Shape { delay: Duration::from_millis(40), ..Shape::default() });
    let started = Instant::now();
    pair.client.write_all(b"ping").expect("write");
    assert_eq!(read_exactly(&pair.target, 4), b"ping");
    assert!(started.elapsed() >= Duration::from_millis(40));
    pair.target.write_all(b"pong").expect("write");
    assert_eq!(read_exactly(&pair.client, 4), b"pong");
    assert!(started.elapsed() >= Duration::from_millis(80));
}

#[test]
fn delay_does_not_serialise_what_is_in_flight() {
    let mut pair = pair(Shape { delay: Duration::from_millis(400), ..Shape::default() });
    let started = Instant::now();
    let sent = pattern(1 << 20);
    pair.client.write_all(&sent).expect("write");
    assert!(read_exactly(&pair.target, sent.len()) == sent);
    // One delay for each read of 128 KiB would take 3.2 s and more.
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn rate_holds_bytes_back() {
    let mut pair = pair(Shape { rate: NonZeroU64::new(100_000), ..Shape::default() });
    let started = Instant::now();
    pair.client.write_all(&pattern(20_000)).expect("write");
    assert!(read_exactly(&pair.target, 20_000) == pattern(20_000));
    assert!(started.elapsed() >= Duration::from_millis(195), "{:?}", started.elapsed());
}

#[test]
fn stall_one_way_leaves_the_other_and_heals_without_loss() {
    let mut pair = pair(Shape::default());
    pair.proxy.tell(Command::Now(Fault::Stall(Ways::One(Way::Up)))).expect("told");
    pair.client.write_all(b"held").expect("write");
    pair.target.write_all(b"free").expect("write");
    assert_eq!(read_exactly(&pair.client, 4), b"free");
    assert!(is_silent(&pair.target));
    pair.proxy.tell(Command::Heal).expect("told");
    assert_eq!(read_exactly(&pair.target, 4), b"held");
}

#[test]
fn stall_at_byte_n_delivers_exactly_n() {
    let mut pair = pair(Shape::default());
    let fault = Fault::Stall(Ways::Both);
    pair.proxy.tell(Command::At { way: Way::Up, byte: 1000, fault }).expect("told");
    pair.client.write_all(&pattern(5000)).expect("write");
    assert_eq!(read_exactly(&pair.target, 1000), pattern(1000));
    assert!(is_silent(&pair.target));
    assert_eq!(pair.proxy.count().delivered[0], 1000);
    pair.proxy.tell(Command::Heal).expect("told");
    assert_eq!(read_exactly(&pair.target, 4000), pattern(5000)[1000..]);
}

#[test]
fn half_open_reads_nothing_and_closes_nothing() {
    let mut pair = pair(Shape::default());
    pair.proxy.tell(Command::Now(Fault::HalfOpen)).expect("told");
    pair.client.write_all(b"lost in a socket").expect("the kernel takes it");
    assert!(is_silent(&pair.target));
    assert!(is_silent(&pair.client));
    assert_eq!(pair.proxy.count().arrived, [0, 0]);
    let late = connect(pair.proxy.address());
    assert!(is_silent(&late), "a new connection is as half-open as the others");
    pair.proxy.tell(Command::Heal).expect("told");
    assert_eq!(read_exactly(&pair.target, 16), b"lost in a socket");
}

#[test]
fn reset_at_byte_n_delivers_n_and_is_seen_as_a_reset_by_both() {
    let mut pair = pair(Shape::default());
    pair.proxy.tell(Command::At { way: Way::Up, byte: 700, fault: Fault::Reset }).expect("told");
    pair.client.write_all(&pattern(700)).expect("write");
    assert_eq!(read_to_end(&pair.target), (pattern(700), Some(ErrorKind::ConnectionReset)));
    assert_eq!(read_to_end(&pair.client).1, Some(ErrorKind::ConnectionReset));
    let mut again = connect(pair.proxy.address());
    again.write_all(b"once only").expect("write");
    assert_eq!(read_exactly(&accept(&pair.listener), 9), b"once only");
}

#[test]
fn reset_and_cut_on_command_differ() {
    for (fault, seen) in [(Fault::Reset, Some(ErrorKind::ConnectionReset)), (Fault::Cut, None)] {
        let mut pair = pair(Shape::default());
        pair.client.write_all(b"x").expect("write");
        read_exactly(&pair.target, 1);
        pair.proxy.tell(Command::Now(fault)).expect("told");
        assert_eq!(read_to_end(&pair.client), (vec![], seen), "{fault:?}");
        assert_eq!(read_to_end(&pair.target), (vec![], seen), "{fault:?}");
        assert_eq!(pair.proxy.count().live, 0);
    }
}

#[test]
fn flip_inverts_exactly_one_bit_at_every_offset() {
    for (byte, bit) in [(0usize, 0), (1, 1), (4095, 2), (65_535, 6), (65_536, 7), (99_999, 3)] {
        let mut pair = pair(Shape::default());
        let fault = Fault::Flip(Way::Up, bit);
        pair.proxy.tell(Command::At { way: Way::Up, byte: byte as u64, fault }).expect("told");
        let mut expected = pattern(100_000);
        pair.client.write_all(&expected).expect("write");
        expected[byte] ^= 1 << bit;
        assert!(read_exactly(&pair.target, 100_000) == expected, "byte {byte}, bit {bit}");
    }
}

#[test]
fn black_hole_takes_bytes_and_says_nothing() {
    let mut pair = pair(Shape::default());
    pair.proxy.tell(Command::Now(Fault::Drop(Ways::Both))).expect("told");
    // More than kernel buffers hold: somebody reads it.
    pair.client.write_all(&vec![7; 16 << 20]).expect("the hole is bottomless");
    assert!(is_silent(&pair.target));
    assert!(is_silent(&pair.client));
    let mut late = connect(pair.proxy.address());
    late.write_all(b"later").expect("write");
    assert!(is_silent(&late));
    pair.proxy.tell(Command::Heal).expect("told");
    pair.client.write_all(b"y").expect("write");
    assert!(is_silent(&pair.target), "a stream with a hole must not go on");
    assert_eq!(read_exactly(&accept(&pair.listener), 5), b"later");
}

#[test]
fn refused_while_told_so_and_the_port_comes_back() {
    let pair = pair(Shape::default());
    pair.proxy.tell(Command::Now(Fault::Refuse)).expect("told");
    let refused = TcpStream::connect_timeout(&pair.proxy.address(), DEADLINE).map_err(|e| e.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    pair.proxy.tell(Command::Heal).expect("told");
    let mut client = connect(pair.proxy.address());
    client.write_all(b"back").expect("write");
    assert_eq!(read_exactly(&accept(&pair.listener), 4), b"back");
}

#[test]
fn absent_target_resets_the_client() {
    let nobody = ReservedPort::reserve(loopback()).expect("a port");
    let proxy = Impair::start(loopback(), nobody.address, Shape::default()).expect("a proxy");
    // The reset may come before a socket option could be set: none is.
    let client = TcpStream::connect(proxy.address()).expect("the proxy accepts before it knows");
    assert_eq!(read_to_end(&client), (vec![], Some(ErrorKind::ConnectionReset)));
}

#[test]
fn dropping_the_handle_ends_the_proxy() {
    let Pair { proxy, client, .. } = pair(Shape::default());
    let address = proxy.address();
    drop(proxy);
    assert_eq!(read_to_end(&client).0, b"");
    assert!(TcpStream::connect_timeout(&address, DEADLINE).is_err());
}
