//! Whoever can reach a socket can be hostile: garbage, half-open and creeping connections, floods, cut and altered bytes,
//! towards the relay and, from a false relay, towards a client. Each ends at its bound and nobody else is harmed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use vp::identity::PeerId;
use vp::wire::Control;

use crate::harness::hostile::{Heard, Raw, app_name, identity};
use crate::harness::{DEADLINE, Input, Random, Relay, World, burnt_in_a_second, exit, scale, within};
use crate::impair::{Command, Shape};

/// The absolute deadline of an unauthenticated connection.
const UNKNOWN_MAX: Duration = Duration::from_secs(10);
/// When it has passed; the rest is for the machine, and less than any other timer takes.
const CUT_OFF: Duration = Duration::from_secs(18);
/// Half-open or creeping connections that a legitimate client must not feel.
const CROWD: usize = 1000;

/// Connects from an address of its own in 127/8, so that a crowd is many sources and not one.
fn connect_from(source: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&to.into(), DEADLINE)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The n-th source of a crowd.
fn source(n: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x7f10_0000 + u32::try_from(n).expect("a small crowd"))
}

/// Room for a crowd at our end too.
fn many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("the hard limit is allowed");
}

/// Whether the other side has ended this connection; reads what it says before that.
fn is_over(mut stream: &TcpStream, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(bytes) => said.extend_from_slice(&buffer[..bytes]),
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

/// A stream from east to west, timed.
fn transfer(relay: &Relay<'_>, seed: u64) -> Duration {
    let (east, west) = (relay.party("east"), relay.party("west"));
    let started = Instant::now();
    let listen = west.waiting(west.attach().args(["--listen", "proof"]));
    let (bytes, dial) = (1 << 20, east.attach().arg("west:proof"));
    dial.input(Input::Random { seed, bytes }).run().expect(exit::DONE).expect_silence();
    listen.wait().expect(exit::DONE).expect_random(seed, bytes);
    started.elapsed()
}

/// The fastest of some transfers while a crowd that began to come at this time is still there; none if it was cut off
/// before the first was done, as on a machine with much other work.
fn among_crowd(relay: &Relay<'_>, seed: u64, began: Instant) -> Option<Duration> {
    let mut fastest = None;
    for _ in 0..3 {
        let took = transfer(relay, seed);
        if began.elapsed() >= UNKNOWN_MAX {
            break;
        }
        fastest = Some(fastest.map_or(took, |before: Duration| before.min(took)));
    }
    fastest
}

/// Makes crowds until one has had a transfer in its midst, and yields that one.
fn some_crowd<T>(mut make: impl FnMut() -> (T, Option<Duration>)) -> (T, Duration) {
    let found = (0..4).find_map(|_| {
        let (crowd, among) = make();
        Some(crowd).zip(among)
    });
    found.expect("a transfer before the crowd was cut off")
}

/// Asserts that a crowd has not been felt, by what a transfer took in its midst, and before and after it.
fn assert_not_felt(relay: &Relay<'_>, before: Duration, among: Duration) {
    let alone = before.max(transfer(relay, 9));
    assert!(among < 3 * alone + Duration::from_secs(2), "{among:?} among the crowd, {alone:?} alone");
}

/// What a real client says first: recorded from one that meets a listener which says nothing.
fn first_words(world: &World) -> Vec<u8> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("an address");
    let client = world.party("east", &format!("tcp://{}@{at}", world.id("relay"))).attach().arg("west:x").spawn();
    let (stream, _) = listener.accept().expect("a client");
    stream.set_nonblocking(true).expect("non-blocking");
    let mut said = Vec::new();
    // Message 1 carries a KEM key of 1184 bytes and then waits for an answer.
    assert!(within(DEADLINE, || !is_over(&stream, &mut said) && said.len() > 1200), "{} bytes came", said.len());
    within(Duration::from_millis(50), || is_over(&stream, &mut said));
    drop(client);
    said
}

#[test]
fn garbage_is_cut_off_with_no_more_than_it_sent() {
    let world = World::new();
    let relay = world.relay();
    let hello = first_words(&world);
    let mut long_message = hello[..4].to_vec();
    long_message.extend([0xff; 70_000]);
    let mut wrong_version = hello.clone();
    wrong_version[2] ^= 0x55;
    let cases = [
        b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0; 1],
        vec![0; 100_000],
        Random::bytes(1, 100_000),
        long_message,
        wrong_version,
        [&hello[..], &[0; 5000]].concat(),
        [&hello[..], &hello[..]].concat(),
    ];
    for (n, bytes) in cases.iter().enumerate() {
        let stream = connect_from(source(n), relay.socket()).expect("a connection");
        // The relay may close before it has read it all.
        let _ = (&stream).write(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut said = Vec::new();
        assert!(within(CUT_OFF, || is_over(&stream, &mut said)), "case {n} is still open");
        assert!(said.len() <= bytes.len(), "case {n}: {} bytes for {}", said.len(), bytes.len());
    }
    transfer(&relay, 1);
}

#[test]
fn first_message_cut_or_altered_anywhere_is_refused_alike() {
    let world = World::new();
    let relay = world.relay();
    let hello = first_words(&world);
    let count = usize::try_from(40 * scale()).expect("a small scale").min(hello.len());
    let points: Vec<usize> = (0..hello.len()).step_by(hello.len() / count).collect();
    let mut open = Vec::new();
    for (n, &point) in points.iter().enumerate() {
        let mut altered = hello.clone();
        altered[point] ^= 1 << (n % 8);
        for (kind, bytes) in [("cut", &hello[..point]), ("altered", &altered)] {
            let stream = connect_from(source(open.len() + 100), relay.socket()).expect("a connection");
            let _ = (&stream).write(bytes);
            let _ = stream.shutdown(Shutdown::Write);
            open.push((kind, point, stream, Vec::new()));
        }
    }
    for (kind, point, stream, said) in &mut open {
        assert!(within(CUT_OFF, || is_over(stream, said)), "{kind} at {point} is still open");
        // The authenticated part of the message begins behind the key, the suite and the length; what is before may only
        // make it another message, to which there is no answer either. Padding is authenticated like everything else.
        assert!(
            said.len() <= 1 || *kind == "altered" && *point < 4,
            "{kind} at {point} was answered: {} bytes",
            said.len()
        );
    }
    transfer(&relay, 2);
}

#[test]
fn thousand_half_open_connections_harm_nobody_and_end_at_the_deadline() {
    many_files();
    let world = World::new();
    let relay = world.relay();
    let hello = first_words(&world);
    let alone = transfer(&relay, 3);
    let connect = |n: usize| {
        let stream = connect_from(source(n), relay.socket()).expect("a connection");
        let words = [0, hello.len() / 2, hello.len()][n % 3];
        // On a machine with much other work the first are cut off while the last are still coming.
        let _ = (&stream).write_all(&hello[..words]);
        stream
    };
    // A third says nothing, a third half of the first message, a third all of it and no more.
    let ((crowd, whole), among) = some_crowd(|| {
        let began = Instant::now();
        let crowd: Vec<TcpStream> = (0..CROWD).map(connect).collect();
        ((crowd, Instant::now()), among_crowd(&relay, 4, began))
    });
    let mut said = Vec::new();
    let left = |said: &mut Vec<u8>| crowd.iter().filter(|stream| !is_over(stream, said)).count();
    assert!(
        within(CUT_OFF.saturating_sub(whole.elapsed()), || left(&mut said) == 0),
        "{} are still open after {:?}",
        left(&mut said),
        whole.elapsed()
    );
    assert!(relay.process().peak_kib() < 64 << 10, "{} KiB", relay.process().peak_kib());
    assert_not_felt(&relay, alone, among);
}

/// What became of a crowd that creeps.
struct Creeping {
    sent: usize,
    said: Vec<u8>,
    all_over: bool,
}

/// Lets a crowd say the first message by one byte a second, each of them right, until everybody has been cut off. Yields
/// how long a transfer took in its midst too.
fn creep(relay: &Relay<'_>, hello: &[u8]) -> (Creeping, Option<Duration>) {
    let started = Instant::now();
    let connect = |n| (connect_from(source(n), relay.socket()).expect("a connection"), false);
    let mut crowd: Vec<(TcpStream, bool)> = (0..CROWD).map(connect).collect();
    let (mut sent, mut said) = (0, Vec::new());
    std::thread::scope(|scope| {
        // A legitimate client in the midst of them.
        let among = scope.spawn(|| among_crowd(relay, 7, started));
        let all_over = within(CUT_OFF, || {
            let due = usize::try_from(started.elapsed().as_secs()).unwrap_or(usize::MAX) + 1;
            while sent < due.min(hello.len()) {
                for (stream, _) in &crowd {
                    let _ = (&*stream).write(&hello[sent..=sent]);
                }
                sent += 1;
            }
            for (stream, over) in crowd.iter_mut().filter(|(_, over)| !over) {
                *over = is_over(stream, &mut said);
            }
            crowd.iter().all(|(_, over)| *over)
        });
        (Creeping { sent, said, all_over }, among.join().expect("the legitimate client"))
    })
}

#[test]
fn creeping_connections_have_an_absolute_deadline() {
    many_files();
    let world = World::new();
    let relay = world.relay();
    let hello = first_words(&world);
    let alone = transfer(&relay, 6);
    let (crowd, among) = some_crowd(|| creep(&relay, &hello));
    assert!(crowd.all_over, "a byte a second keeps a connection open");
    assert!(crowd.sent > 5, "they were cut off before they could creep");
    assert!(crowd.said.is_empty(), "half a message was answered");
    assert_not_felt(&relay, alone, among);
}

#[test]
fn one_source_cannot_take_every_place() {
    many_files();
    let world = World::new();
    let relay = world.relay();
    let greedy = Ipv4Addr::new(127, 66, 66, 66);
    let many: Vec<_> = (0..700).filter_map(|_| connect_from(greedy, relay.socket()).ok()).collect();
    let mut said = Vec::new();
    let left = |said: &mut Vec<u8>| many.iter().filter(|stream| !is_over(stream, said)).count();
    assert!(within(Duration::from_secs(5), || left(&mut said) <= 512), "{} places for one source", left(&mut said));
    // As soon as others need the places, it has few.
    let _crowd: Vec<_> =
        (0..1000).map(|n| connect_from(source(n), relay.socket()).expect("the kernel's queue")).collect();
    assert!(within(Duration::from_secs(5), || left(&mut said) <= 32), "{} places for one source", left(&mut said));
    assert!(left(&mut said) > 0, "everybody was refused");
    transfer(&relay, 7);
}

#[test]
fn relay_without_descriptors_serves_again_when_it_has_some() {
    many_files();
    let world = World::new();
    let mut relay = world.relay();
    relay.kill();
    let tight = relay.tool().under(["prlimit", "--nofile=64", "--"]);
    relay.restart_as(tight);
    let crowd: Vec<_> =
        (0..150).map(|n| connect_from(source(n), relay.socket()).expect("the kernel's queue")).collect();
    // It must neither die nor burn: what it cannot accept waits in the kernel until the deadline frees descriptors.
    let burnt = burnt_in_a_second(&[relay.process()]);
    assert!(burnt < 50, "{burnt} hundredths of a second of processor time while it had no descriptors");
    relay.process().wait_error_line("vp-relay: error: cannot accept connections for now: too many open files");
    drop(crowd);
    transfer(&relay, 8);
}

#[test]
fn bit_flipped_anywhere_never_reaches_the_receiver() {
    let world = World::new();
    let relay = world.relay();
    let bytes = 2_000_000;
    for n in 0..24 * scale() {
        let (proxy, through) = relay.behind(Shape::default());
        let at = n * n * n * 170 % bytes + n;
        let way = if n % 3 == 0 { "down" } else { "up" };
        let line = format!("flip {way} {} {}", if way == "down" { n * 53 } else { at }, n % 8);
        proxy.tell(line.parse::<Command>().expect("a command")).expect("told");
        let listen = relay.party("west").attach().args(["--listen", "x"]).spawn();
        let east = world.party("east", &through);
        let done = east.attach().args(["west:x", "--timeout", "20s"]).input(Input::Random { seed: n, bytes }).run();
        // In the first handshake it looks like a relay that is not ours, which no retry mends; later it costs a lane.
        let done = done.expect_one_of(&[exit::DONE, exit::REFUSED, exit::INTEGRITY]);
        if done.code() == Some(exit::DONE) {
            listen.wait().expect(exit::DONE).expect_random(n, bytes);
        } else {
            assert!(at < 6000 || way == "down", "{line}: lost a session\n{done}");
            let got = listen.kill();
            assert!(Random::bytes(n, got.stdout.len()) == got.stdout, "{line}: no prefix of what was sent");
        }
    }
}

/// A false relay: does something to whoever connects, for as long as the test lasts.
fn false_relay(does: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || does(stream));
        }
    });
    at
}

#[test]
fn client_of_a_false_relay_ends_with_one_clear_line() {
    let world = World::new();
    type Fault = fn(TcpStream);
    let faults: [(&str, Fault); 4] = [
        ("closes", drop),
        ("garbage", |mut stream| {
            let _ = stream.write_all(&Random::bytes(9, 100_000)).and_then(|()| stream.read(&mut [0; 1]));
        }),
        ("endless zeros", |mut stream| while stream.write_all(&[0; 65_536]).is_ok() {}),
        ("silence", |mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        }),
    ];
    for (fault, does) in faults {
        let address = format!("tcp://{}@{}", world.id("relay"), false_relay(does));
        let east = world.party("east", &address);
        for tool in [east.attach().arg("west:x"), east.recv().arg("x"), east.send().args(["peers", "west"])] {
            let done = tool.args(["--timeout", "1s"]).run();
            let done = done
                .expect_one_of(&[exit::NO_RELAY, exit::INTEGRITY, exit::REFUSED])
                .expect_output(b"")
                .expect_error("");
            assert!(done.took < Duration::from_secs(15), "{fault}: took {:?}", done.took);
        }
    }
}

/// An admitted client that lies about its circuits loses its own link, and nobody hears of it.
#[test]
fn an_admitted_client_that_breaks_the_protocol_ends_its_own_link_alone() {
    let world = World::new();
    let relay = world.relay();
    let west = identity(&world, "west").id();
    let listen = relay.party("west").waiting(relay.party("west").attach().args(["--listen", "proof"]));
    type Lie = fn(&mut Raw, PeerId);
    let lies: [(&str, Lie); 4] = [
        ("an odd number", |raw, west| {
            raw.say(&Control::Connect { circuit: 7, to: west, name: app_name("x"), wait_ms: 0, early: vec![1] });
        }),
        ("a number twice", |raw, west| {
            raw.connect(west, app_name("x"), 0, vec![1]);
            raw.say(&Control::Connect { circuit: 2, to: west, name: app_name("x"), wait_ms: 0, early: vec![1] });
        }),
        ("a message of relays", |raw, _| raw.say(&Control::Welcome { circuits: 9 })),
        ("a header of no kind", |raw, _| raw.stream.write_all(&[0x55; 64]).expect("written")),
    ];
    for (lie, does) in lies {
        let mut raw = Raw::attach(&relay, "east");
        raw.settle();
        does(&mut raw, west);
        raw.write();
        raw.wait(lie, |heard| matches!(heard, Heard::Closed).then_some(()));
    }
    let east = relay.party("east");
    let dial = east.attach().arg("west:proof");
    dial.input(Input::Random { seed: 5, bytes: 100_000 }).run().expect(exit::DONE).expect_silence();
    listen.wait().expect(exit::DONE).expect_random(5, 100_000);
}
