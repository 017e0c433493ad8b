//! Links by plain requests of HTTP: what each tool does, whatever happens to the way, and what lies in it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::harness::data::nasty_tree;
use crate::harness::ports::{Target, ask, connect, patient};
use crate::harness::proxies::{HIDDEN, PASSWORD, Proxy, USER, Wants};
use crate::harness::sites::tell;
use crate::harness::{DEADLINE, Input, Relay, World, assert_same_tree, eventually, exit};
use crate::impair::Shape;
use crate::tls::{Pair, stunnel};

const ANY: [&str; 2] = ["--outer-tls", "any"];

/// The ready line's address for links by requests.
fn by_requests(relay: &Relay<'_>) -> String {
    let address = format!("http://{}@{}", relay.world().id("relay"), relay.socket());
    relay.process().wait_line(&format!("listening {address}"));
    address
}

/// A stream both ways between whoever is reached by these addresses, of whom the first says these words.
fn streams(world: &World, [east, west]: [&str; 2], words: &[&str], bytes: u64) {
    let (east, west) = (world.party("east", east), world.party("west", west));
    let input = |seed| Input::Random { seed, bytes };
    let listen = west.attach().args(["--listen", "pipe", "--outer-tls", "any"]).within(2 * DEADLINE);
    let listen = west.waiting(listen.input(input(2)));
    let dial = east.attach().args(words).arg("west:pipe").args(ANY).within(2 * DEADLINE).input(input(1)).run();
    dial.expect(exit::DONE).expect_silence().expect_random(2, bytes);
    listen.wait().expect(exit::DONE).expect_random(1, bytes);
}

#[test]
fn a_stream_by_requests_meets_every_other_carrier_with_tls_and_without() {
    let world = World::new();
    let relay = world.relay();
    let http = by_requests(&relay);
    let https = http.replace("http://", "https://");
    let tcp = relay.address.clone();
    let path = format!("{http}/any/path?at=all");
    for ways in [[&*http, &*tcp], [&tcp, &path], [&https, &http], [&http, &http], [&https, &https]] {
        streams(&world, ways, &[], 5_000_000);
    }
}

#[test]
fn trees_and_ports_go_by_requests_as_by_tcp() {
    let world = World::new();
    let relay = world.relay();
    let http = by_requests(&relay);
    let (east, west) = (world.party("east", &http), world.party("west", &http));
    nasty_tree(&world.dir("tree"));
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox"]));
    east.send().args(["tree", "west:drop"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));

    let target = Target::echo();
    let export = west.portrep().args(["--export", &format!("echo={}", target.at)]).spawn();
    export.wait_line("serving echo");
    let import = east.portrep().args(["--import", "127.0.0.1:0=west:echo"]).spawn();
    let line = import.wait_line("listening ");
    let at = line.split(' ').nth(1).and_then(|at| at.parse().ok()).expect("an address");
    for words in [&b"by requests"[..], b"and once more"] {
        ask(&connect(at), words);
    }
}

#[test]
fn one_byte_at_a_time_by_requests_changes_nothing() {
    let world = World::new();
    let relay = world.relay();
    by_requests(&relay);
    let slices = || Shape { slice: NonZeroUsize::new(1), ..Shape::default() };
    let ((_a, to_a), (_b, to_b)) = (relay.behind(slices()), relay.behind(slices()));
    streams(&world, [&to_a.replace("tcp://", "http://"), &to_b.replace("tcp://", "https://")], &[], 20_000);
}

#[test]
fn a_session_by_requests_outlives_its_relay_and_cuts_of_the_way() {
    for scheme in ["http://", "https://"] {
        let world = World::new();
        let mut relay = world.relay();
        let (proxy, through) = relay.behind(Shape { queue_bytes: 64 << 10, ..Shape::default() });
        let through = through.replace("tcp://", scheme);
        tell(&proxy, "rate 8M");
        let bytes = 16 << 20;
        let west = world.party("west", &through);
        let listen = west.waiting(west.attach().args(["--listen", "x"]).args(ANY).within(2 * DEADLINE));
        let east = world.party("east", &through).attach().arg("west:x").args(ANY).within(2 * DEADLINE);
        let dial = east.input(Input::Random { seed: 1, bytes }).spawn();
        let carried = || proxy.count().delivered[0];
        eventually("bytes flow", || carried() > 3 << 20);
        tell(&proxy, "reset");
        eventually("bytes flow again", || carried() > 6 << 20);
        relay.kill();
        relay.restart();
        dial.wait().expect(exit::DONE);
        listen.wait().expect(exit::DONE).expect_random(1, bytes);
    }
}

/// A password in a file.
fn password(world: &World) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = world.write("proxy-password-of-test", PASSWORD);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    path.display().to_string()
}

#[test]
fn requests_go_through_a_proxy_that_makes_no_tunnels_keeps_what_it_can_and_holds_back_what_it_must() {
    let world = World::new();
    let relay = world.relay();
    let http = by_requests(&relay);
    let squid = Proxy::squid(&world, Wants::Requests);
    let url = format!("http://{}", squid.address());
    let hidden = format!("http://{}@{HIDDEN}:{}/vp", relay.relay_id(), relay.socket().port());
    streams(&world, [&hidden, &http], &["--proxy", &url], 5_000_000);
    // There are none.
    let done = relay.party("east").attach().args(["--timeout", "0s", "west:x", "--proxy", &url]).run();
    done.expect(exit::NO_RELAY).expect_error("answered with HTTP status 403");
}

#[test]
fn requests_go_through_a_proxy_whatever_login_it_wants() {
    let world = World::new();
    let relay = world.relay();
    let http = by_requests(&relay);
    let file = password(&world);
    let hidden = format!("http://{}@{HIDDEN}:{}", relay.relay_id(), relay.socket().port());
    for wants in [Wants::Nothing, Wants::Basic, Wants::Digest] {
        let squid = Proxy::squid(&world, wants);
        let url = format!("http://{USER}@{}", squid.address());
        streams(&world, [&hidden, &http], &["--proxy", &url, "--proxy-password-file", &file], 2_000_000);
        streams(
            &world,
            [&hidden.replace("http://", "https://"), &http],
            &["--proxy", &url, "--proxy-password-file", &file],
            2_000_000,
        );
    }
    let squid = Proxy::squid(&world, Wants::Basic);
    let url = format!("http://{}", squid.address());
    let done = world.party("east", &hidden).attach().args(["--timeout", "0s", "west:x", "--proxy", &url]).run();
    done.expect(exit::CONFIG).expect_error("wants to know who asks");
}

/// Carries what comes to it on to the relay, and keeps it.
fn recording(relay: SocketAddr) -> (Target, Arc<Mutex<Vec<u8>>>) {
    let record = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&record);
    let target = Target::serving(move |here: TcpStream| {
        let there = TcpStream::connect(relay).expect("it listens");
        // Either may be idle for as long as it likes.
        [&here, &there].into_iter().for_each(|stream| stream.set_read_timeout(None).expect("a socket"));
        let back = (there.try_clone().expect("a socket"), here.try_clone().expect("a socket"));
        let back = std::thread::spawn(move || {
            let (mut from, mut to) = back;
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        let (mut from, mut to, mut room) = (here, there, vec![0; 1 << 16]);
        while let Ok(count @ 1..) = from.read(&mut room) {
            kept.lock().expect("a record").extend_from_slice(&room[..count]);
            if to.write_all(&room[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = back.join();
    });
    (target, record)
}

/// tinyproxy makes the first request of a connection, and lets whatever follows through as it is.
#[test]
fn requests_go_through_a_proxy_that_makes_one_a_connection_and_its_password_no_further() {
    let world = World::new();
    let relay = world.relay();
    let http = by_requests(&relay);
    let file = password(&world);
    for wants_login in [false, true] {
        let (way, record) = recording(relay.socket());
        let tinyproxy = Proxy::tinyproxy(&world, wants_login);
        let user = if wants_login { format!("{USER}@") } else { String::new() };
        let url = format!("http://{user}{}", tinyproxy.address());
        let address = format!("http://{}@{}", relay.relay_id(), way.at);
        streams(&world, [&address, &http], &["--proxy", &url, "--proxy-password-file", &file], 3_000_000);
        let record = record.lock().expect("a record");
        let has = |word: &[u8]| record.windows(word.len()).any(|window| window == word);
        assert!(has(b"POST /?vp1=") && !has(b"POST http://"));
        assert!(!has(b"roxy-") && !has(BASE64.encode(format!("{USER}:{PASSWORD}")).as_bytes()));
    }
}

/// The head of a message, to its end.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// What stands behind it.
fn body(stream: &mut TcpStream, head: &str) -> Option<Vec<u8>> {
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    if head.contains("Transfer-Encoding: chunked") {
        let mut byte = [0];
        while !body.ends_with(b"\r\n0\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            body.push(byte[0]);
        }
    }
    Some(body)
}

/// Somebody in the way who takes requests and answers whole before he passes them on, and makes each POST twice.
fn holding(relay: SocketAddr, repeats: bool) -> Target {
    let pass = move |here: &mut TcpStream, request: &[u8]| {
        let mut there = patient(TcpStream::connect(relay).ok()?);
        there.set_read_timeout(None).ok()?;
        there.write_all(request).ok()?;
        let head = head(&mut there)?;
        let body = body(&mut there, &head)?;
        here.write_all(&[head.as_bytes(), &body].concat()).ok()
    };
    Target::serving(move |mut here: TcpStream| {
        here.set_read_timeout(None).expect("a socket");
        while let Some(head) = head(&mut here) {
            let Some(body) = body(&mut here, &head) else { return };
            let request = [head.as_bytes(), &body].concat();
            if repeats && head.starts_with("POST ") {
                // One that is cut short, and one whose answer nobody hears.
                let mut cut = TcpStream::connect(relay).expect("it listens");
                let _ = cut.write_all(&request[..request.len() - body.len() / 2]);
                drop(cut);
                let mut twice = patient(TcpStream::connect(relay).expect("it listens"));
                let _ = twice.write_all(&request);
                let _ = self::head(&mut twice);
            }
            if pass(&mut here, &request).is_none() {
                return;
            }
        }
    })
}

#[test]
fn a_stream_goes_through_who_takes_requests_and_answers_whole_and_makes_requests_twice() {
    let world = World::new();
    let relay = world.relay();
    let http = by_requests(&relay);
    for repeats in [false, true] {
        let front = holding(relay.socket(), repeats);
        let through = format!("http://{}@{}/vp", relay.relay_id(), front.at);
        streams(&world, [&through, &http], &[], 1_000_000);
    }
}

#[test]
fn a_stream_goes_by_tls_through_who_takes_answers_whole() {
    let world = World::new();
    let relay = world.relay();
    let http = by_requests(&relay);
    let (front, pair) = (holding(relay.socket(), false), Pair::new(&world, "front"));
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    let (tls, _tls) = stunnel(&world, "front", &format!("connect = {}\ncert = {certificate}\nkey = {key}", front.at));
    let through = format!("https://{}@{}/vp", relay.relay_id(), tls.address);
    streams(&world, [&through, &http], &[], 1_000_000);
}

#[test]
fn what_is_no_request_of_a_link_is_told_that_there_is_nothing() {
    let world = World::new();
    let relay = world.relay();
    let id = "00".repeat(16);
    for (target, status) in [
        (format!("/?vp1={id}.u.0"), "404"),
        (format!("/?vp1={id}.d.1"), "404"),
        (format!("/?vp1={id}.p.0"), "404"),
        (format!("/?vp1={id}.x.0"), "404"),
        (format!("?vp1={id}.d.0"), "400"),
    ] {
        let mut stream = patient(TcpStream::connect(relay.socket()).expect("it listens"));
        let (method, length) = if target.contains(".u.") { ("POST", "Content-Length: 0\r\n") } else { ("GET", "") };
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: relay\r\n{length}\r\n").expect("it reads");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("an answer, and an end");
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {said}");
    }
}
