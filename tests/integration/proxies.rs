//! Relays behind proxies and commands: what goes through each, what is said of one that will not, and whoever names it.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;

use crate::harness::data::nasty_tree;
use crate::harness::ports::{Target, ask, connect};
use crate::harness::programs::need;
use crate::harness::proxies::{HIDDEN, PASSWORD, Proxy, USER, Wants};
use crate::harness::{DEADLINE, Input, Party, Random, Relay, Tool, World, assert_same_tree, eventually, exit};
use crate::impair::{Impair, Shape};

/// The address of a relay by a name that only squid knows.
fn hidden(relay: &Relay<'_>, scheme: &str) -> String {
    format!("{scheme}://{}@{HIDDEN}:{}", relay.relay_id(), relay.socket().port())
}

/// A file with this password.
fn password(world: &World, text: &str) -> String {
    let path = world.write("proxy-password-of-test", text);
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    path.display().to_string()
}

/// A stream both ways between two of a relay, of whom one goes there by these words.
fn streams(relay: &Relay<'_>, address: &str, words: &[&str]) {
    let (east, west) = (relay.world().party("east", address), relay.party("west"));
    let input = |seed| Input::Random { seed, bytes: 3_000_000 };
    let listen = west.waiting(west.attach().args(["--listen", "pipe"]).input(input(2)));
    let dial = east.attach().args(words).args(["--outer-tls", "any", "west:pipe"]).input(input(1)).run();
    dial.expect(exit::DONE).expect_silence().expect_random(2, 3_000_000);
    listen.wait().expect(exit::DONE).expect_random(1, 3_000_000);
}

#[test]
fn a_stream_goes_through_squid_whatever_login_it_wants_and_squid_looks_the_name_up() {
    let world = World::new();
    let relay = world.relay();
    let file = password(&world, PASSWORD);
    for wants in [Wants::Nothing, Wants::Basic, Wants::Digest, Wants::Both] {
        let squid = Proxy::squid(&world, wants);
        let url = format!("http://{USER}@{}", squid.address());
        for scheme in ["tcp", "ws", "tls", "wss"] {
            streams(&relay, &hidden(&relay, scheme), &["--proxy", &url, "--proxy-password-file", &file]);
        }
    }
}

#[test]
fn a_stream_goes_through_tinyproxy_with_a_login_and_without() {
    let world = World::new();
    let relay = world.relay();
    let file = password(&world, PASSWORD);
    for wants_login in [false, true] {
        let tinyproxy = Proxy::tinyproxy(&world, wants_login);
        let user = if wants_login { format!("{USER}@") } else { String::new() };
        let url = format!("http://{user}{}", tinyproxy.address());
        for scheme in ["tcp://", "tls://", "wss://"] {
            let address = relay.address.replace("tcp://", scheme);
            streams(&relay, &address, &["--proxy", &url, "--proxy-password-file", &file]);
        }
        tinyproxy.process().wait_line_like("a request", |line| line.contains("CONNECT 127.0.0.1:"));
    }
}

#[test]
fn a_stream_goes_through_dante_with_a_login_and_without() {
    let world = World::new();
    let relay = world.relay();
    let file = password(&world, PASSWORD);
    for wants_login in [false, true] {
        let Some(dante) = Proxy::dante(&world, wants_login) else { continue };
        let url = format!("socks5h://{USER}@{}", dante.address());
        for scheme in ["tcp://", "tls://", "wss://"] {
            let address = relay.address.replace("tcp://", scheme);
            streams(&relay, &address, &["--proxy", &url, "--proxy-password-file", &file]);
        }
        dante.process().wait_error_line_like("a connection", |line| line.contains("tcp/connect"));
        if wants_login {
            let wrong = password(&world, "wrong");
            let done = refused(&relay.party("east"), &["--proxy", &url, "--proxy-password-file", &wrong]);
            done.expect(exit::CONFIG).expect_error("does not take this user and password");
            let none = url.replace(&format!("{USER}@"), "");
            let done = refused(&relay.party("east"), &["--proxy", &none]);
            done.expect(exit::CONFIG).expect_error("wants to know who asks");
        }
    }
}

#[test]
fn trees_and_ports_go_through_a_proxy_as_without_one() {
    let world = World::new();
    let relay = world.relay();
    let squid = Proxy::squid(&world, Wants::Nothing);
    let url = format!("http://{}", squid.address());
    let address = hidden(&relay, "tcp");
    let (east, west) = (world.party("east", &address), world.party("west", &address));
    nasty_tree(&world.dir("tree"));
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--proxy", &url]));
    east.send().args(["--proxy", &url, "tree", "west:drop"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_same_tree(&world.path("tree"), &world.path("inbox/tree"));

    let target = Target::echo();
    let export = format!("echo={}", target.at);
    let export = west.portrep().args(["--export", &export, "--proxy", &url]).spawn();
    export.wait_line("serving echo");
    let import = east.portrep().args(["--import", "127.0.0.1:0=west:echo", "--proxy", &url]).spawn();
    let line = import.wait_line("listening ");
    let at = line.split(' ').nth(1).and_then(|at| at.parse().ok()).expect("an address");
    ask(&connect(at), b"through two proxies");
    let check = east.check("west:echo").args(["--proxy", &url]).run();
    check.expect(exit::DONE);
}

#[test]
fn a_session_outlives_its_proxy() {
    let world = World::new();
    let relay = world.relay();
    let mut squid = Proxy::squid(&world, Wants::Digest);
    let (file, url) = (password(&world, PASSWORD), format!("http://{USER}@{}", squid.address()));
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "x"]).within(2 * DEADLINE));
    let east = world.party("east", &hidden(&relay, "ws"));
    let dial =
        east.attach().args(["-v", "west:x", "--proxy", &url, "--proxy-password-file", &file]).within(2 * DEADLINE);
    let mut dial = dial.input(Input::Held).spawn();
    let words = Random::bytes(1, 2 << 20);
    dial.write(&words[..1 << 20]);
    listen.wait_bytes(1 << 20);
    squid.kill();
    dial.wait_error_line_like("the relay is gone", |line| line.contains("could not be reached"));
    squid.restart();
    dial.write(&words[1 << 20..]);
    dial.close_input();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(1, 2 << 20);
}

#[test]
fn a_proxy_that_wants_a_login_all_at_once_is_tried_again_by_whoever_came_through_before() {
    let world = World::new();
    let relay = world.relay();
    let mut squid = Proxy::squid(&world, Wants::Nothing);
    let url = format!("http://{}", squid.address());
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "x"]).within(2 * DEADLINE));
    let east = world.party("east", &hidden(&relay, "tcp"));
    let dial = east.attach().args(["-v", "west:x", "--proxy", &url]).within(2 * DEADLINE);
    let mut dial = dial.input(Input::Held).spawn();
    let words = Random::bytes(1, 2000);
    dial.write(&words[..1000]);
    listen.wait_bytes(1000);
    squid.want(Wants::Basic);
    dial.wait_error_line_like("what the proxy wants", |line| line.contains("wants to know who asks"));
    squid.want(Wants::Nothing);
    dial.write(&words[1000..]);
    dial.close_input();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(1, 2000);
}

#[test]
fn one_byte_at_a_time_from_a_proxy_changes_nothing() {
    let world = World::new();
    let relay = world.relay();
    let file = password(&world, PASSWORD);
    let squid = Proxy::squid(&world, Wants::Digest);
    let dante = Proxy::dante(&world, false).expect("that needs no files");
    for (scheme, address, at) in
        [("http", hidden(&relay, "tcp"), squid.address()), ("socks5", relay.address.clone(), dante.address())]
    {
        let shape = Shape { slice: NonZeroUsize::new(1), ..Shape::default() };
        let slices = Impair::start((Ipv4Addr::LOCALHOST, 0).into(), at, shape).expect("a proxy of the proxy");
        let url = format!("{scheme}://{USER}@{}", slices.address());
        let (east, west) = (world.party("east", &address), relay.party("west"));
        let listen =
            west.waiting(west.attach().args(["--listen", "bytes"]).input(Input::Random { seed: 2, bytes: 20_000 }));
        let dial = east.attach().args(["west:bytes", "--proxy", &url, "--proxy-password-file", &file]);
        let dial = dial.input(Input::Random { seed: 1, bytes: 20_000 }).run();
        dial.expect(exit::DONE).expect_random(2, 20_000);
        listen.wait().expect(exit::DONE).expect_random(1, 20_000);
    }
}

#[test]
fn who_looks_for_a_fault_sees_the_way_and_what_has_named_it() {
    let world = World::new();
    let relay = world.relay();
    let east = || relay.party("east").attach().args(["-vv", "--timeout", "0s", "west:x"]);
    let done = east().env("ALL_PROXY", "socks5://u:hunter2@127.0.0.1:1").run().expect(exit::NO_RELAY);
    assert!(done.stderr.contains("through the proxy socks5://127.0.0.1:1 (ALL_PROXY)"), "{done}");
    assert!(!done.stderr.contains("hunter2"), "{done}");
    let done = east().args(["--proxy-command", "exit 1 # %h"]).run().expect(exit::NO_RELAY);
    assert!(done.stderr.contains("by the command exit 1 # 127.0.0.1"), "{done}");
}

/// An attempt that ends by itself.
fn refused(party: &Party<'_>, words: &[&str]) -> crate::harness::Done {
    party.attach().args(words).arg("west:x").run()
}

#[test]
fn a_login_that_a_proxy_does_not_take_is_the_end_and_the_line_says_what_to_do() {
    let world = World::new();
    let relay = world.relay();
    let squid = Proxy::squid(&world, Wants::Both);
    let wrong = password(&world, "wrong");
    let (plain, named) = (format!("http://{}", squid.address()), format!("http://{USER}@{}", squid.address()));
    let east = relay.party("east");
    let done = refused(&east, &["--proxy", &plain]).expect(exit::CONFIG).expect_error("wants to know who asks");
    assert!(done.stderr.contains("--proxy-password-file"), "{done}");
    let done = refused(&east, &["--proxy", &named, "--proxy-password-file", &wrong]).expect(exit::CONFIG);
    let done = done.expect_error("does not take this user and password");
    assert!(!done.stderr.contains("wrong"), "{done}");
    assert!(done.stderr.contains("hint: see whether both are right"), "{done}");
}

/// A port that answers whatever comes with this.
fn answering(answer: &'static [u8]) -> Target {
    Target::serving(move |mut stream: TcpStream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer);
    })
}

#[test]
fn what_a_proxy_says_is_said_with_the_status_of_a_relay_that_is_out_of_reach() {
    let world = World::new();
    let relay = world.relay();
    for (scheme, answer, words) in [
        (
            "http",
            &b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"[..],
            "answered with HTTP status 403: Forbidden",
        ),
        ("http", b"HTTP/1.1 502 Bad\x1b[2J Gateway\r\n\r\n", "answered"),
        ("http", b"HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n", "HTTP status 302: Found"),
        (
            "http",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\n\r\n<html>Sign in</html>",
            "answered with a page, not with a tunnel",
        ),
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n", "answered as no proxy of that kind does"),
        ("http", b"", "closed the connection without an answer"),
        ("socks5", b"\x05\x00\x05\x02", "not allowed by its rules (SOCKS reply 2)"),
        ("socks5", b"\x05\x00\x05\x63", "SOCKS reply 99"),
        ("socks5", b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered as no proxy of that kind does"),
    ] {
        let proxy = answering(answer);
        let url = format!("{scheme}://{}", proxy.at);
        let done = refused(&relay.party("east"), &["--timeout", "0s", "--proxy", &url]).expect(exit::NO_RELAY);
        assert!(done.stderr.contains(words) && done.stderr.contains(&url), "{words:?} is not said\n{done}");
        assert!(!done.stderr.contains('\x1b'), "{done}");
    }
    // It says that there is a tunnel, and sends a page down it in the same breath.
    let page = answering(b"HTTP/1.1 200 OK\r\n\r\n<html>Sign in</html>");
    let url = format!("http://{}", page.at);
    let done = refused(&relay.party("east"), &["--timeout", "0s", "--proxy", &url]).expect(exit::NO_RELAY);
    assert!(
        done.stderr.contains(&format!("through the proxy {url}, could not be reached: what answered is no relay")),
        "{done}"
    );
    // So may who connects there by WebSocket see.
    let to_ws = relay.address.replace("tcp://", "ws://");
    let done = refused(&world.party("east", &to_ws), &["--timeout", "0s", "--proxy", &url]).expect(exit::NO_RELAY);
    assert!(
        done.stderr
            .contains(&format!("through the proxy {url}, answered with something else than what carries a link")),
        "{done}"
    );
    // Nobody is there, and nobody by that name.
    let gone = crate::harness::programs::reserve();
    let url = format!("http://{}", gone.address);
    let done = refused(&relay.party("east"), &["--timeout", "0s", "--proxy", &url]).expect(exit::NO_RELAY);
    assert!(done.stderr.contains(&format!("the proxy {url}: connection refused")), "{done}");
}

#[test]
fn a_proxy_that_says_nothing_is_named_when_its_time_is_up() {
    let world = World::new();
    let relay = world.relay();
    let (told, tell) = std::sync::mpsc::channel::<()>();
    let tell = std::sync::Mutex::new(tell);
    let mute = Target::serving(move |stream: TcpStream| {
        let _ = tell.lock().map(|tell| tell.recv());
        drop(stream);
    });
    let url = format!("http://{}", mute.at);
    let east = relay.party("east");
    // Before we give up, and before the handshake would have to be done.
    for timeout in ["1s", "12s"] {
        let done = refused(&east, &["--timeout", timeout, "--proxy", &url]).expect(exit::NO_RELAY);
        assert!(done.stderr.contains(&format!("the proxy {url} did not answer in time")), "{done}");
    }
    drop(told);
}

#[test]
fn variables_and_the_relays_file_name_proxies_too() {
    let world = World::new();
    let relay = world.relay();
    let squid = Proxy::squid(&world, Wants::Basic);
    let inline = format!("http://{USER}:{PASSWORD}@{}", squid.address());
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "x", "--keep", "--exec", "cat"]));
    let arrives =
        |tool: Tool| drop(tool.input(Input::Bytes(b"here".to_vec())).run().expect(exit::DONE).expect_output(b"here"));
    let east = |scheme| world.party("east", &hidden(&relay, scheme)).attach().arg("west:x");
    arrives(east("tcp").env("HTTPS_PROXY", &inline));
    arrives(east("tcp").env("all_proxy", &inline));
    arrives(east("ws").env("http_proxy", &inline).env("HTTPS_PROXY", "http://127.0.0.1:1"));
    let named = |url: &str| relay.party("east").attach().arg("west:x").env("HTTPS_PROXY", url);
    arrives(named("http://127.0.0.1:1").env("NO_PROXY", "10.0.0.0/8, 127.0.0.0/8"));
    arrives(named("http://127.0.0.1:1").args(["--proxy", "none"]));
    let done = named("http://127.0.0.1:1").args(["--timeout", "0s"]).run().expect(exit::NO_RELAY);
    assert!(done.stderr.contains("the proxy http://127.0.0.1:1 (HTTPS_PROXY)"), "{done}");

    let config = world.dir("config/vp");
    fs::write(config.join("relays"), format!("proxy http://{USER}@{}\n{}\n", squid.address(), hidden(&relay, "tcp")))
        .expect("a file");
    let file = config.join("proxy-password");
    fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("a mode");
    let tool = world.tool("vp-attach").env("XDG_CONFIG_HOME", world.path("config")).arg("west:x");
    arrives(tool.arg("--key").arg(world.key("east")).arg("--peers").arg(world.path("peers")));
    listen.signal(crate::harness::Signal::TERM);
}

#[test]
fn a_password_is_not_taken_from_the_command_line_nor_repeated() {
    let world = World::new();
    let relay = world.relay();
    for words in [&["--proxy", "http://u:hunter2@127.0.0.1:1"][..], &["--proxy=https://u:hunter2@127.0.0.1:1"]] {
        let done = refused(&relay.party("east"), words).expect(exit::USAGE);
        assert!(!done.stderr.contains("hunter2") && done.stderr.contains("--proxy"), "{done}");
    }
}

#[test]
fn a_relay_is_reached_by_the_streams_of_a_command_and_the_command_ends_with_the_tool() {
    let world = World::new();
    let relay = world.relay();
    need("socat", "socat");
    let command = "echo $$ >>pids; exec socat - TCP:%h:%p";
    for scheme in ["tcp", "ws"] {
        let address = relay.address.replace("tcp://", &format!("{scheme}://"));
        streams(&relay, &address, &["--proxy-command", command]);
    }
    let nc = need("nc", "netcat-openbsd").display().to_string();
    streams(&relay, &relay.address, &["--proxy-command", &format!("{nc} %h %p")]);
    let pids = fs::read_to_string(world.path("pids")).expect("two lines");
    assert_eq!(pids.lines().count(), 2);
    eventually("the commands have ended", || !pids.lines().any(is_running));
}

#[test]
fn a_command_that_will_not_end_does_not_outlive_the_tool() {
    let world = World::new();
    let relay = world.relay();
    need("socat", "socat");
    let command = "trap '' TERM; echo $$ >>pids; socat - TCP:%h:%p; exec sleep 1000";
    // At the end of a session, and at once by a second signal.
    streams(&relay, &relay.address, &["--proxy-command", command]);
    let listen = relay.party("east").attach().args(["-v", "--listen", "x", "--proxy-command", command]).spawn();
    listen.wait_error_line_like("a link", |line| line.contains("attached to "));
    listen.signal(crate::harness::Signal::TERM);
    listen.signal(crate::harness::Signal::TERM);
    listen.wait();
    let pids = fs::read_to_string(world.path("pids")).expect("two lines");
    assert_eq!(pids.lines().count(), 2);
    eventually("the commands have ended", || !pids.lines().any(is_running));
}

/// Whether there is a process with this number that has not ended.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_command_that_dies_is_run_again_and_the_session_goes_on() {
    let world = World::new();
    let relay = world.relay();
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "x"]).within(2 * DEADLINE));
    let dial =
        relay.party("east").attach().args(["west:x", "--proxy-command", "echo $$ >>pids; exec socat - TCP:%h:%p"]);
    let mut dial = dial.input(Input::Held).within(2 * DEADLINE).spawn();
    let words = Random::bytes(1, 2 << 20);
    dial.write(&words[..1 << 20]);
    listen.wait_bytes(1 << 20);
    let pids = || fs::read_to_string(world.path("pids")).expect("lines");
    let first: i32 = pids().lines().next().and_then(|pid| pid.parse().ok()).expect("a number");
    let first = rustix::process::Pid::from_raw(first).expect("a process");
    rustix::process::kill_process(first, rustix::process::Signal::KILL).expect("it is ours");
    dial.write(&words[1 << 20..]);
    dial.close_input();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(1, 2 << 20);
    assert!(pids().lines().count() >= 2, "{}", pids());
}

#[test]
fn a_command_that_leads_nowhere_is_told_of_with_its_end_and_the_relay_is_out_of_reach() {
    let world = World::new();
    let relay = world.relay();
    let to_ws = relay.address.replace("tcp://", "ws://");
    for (address, command, words) in [
        (&relay.address, "echo why >&2; exit 7", "the command of --proxy-command ended with status 7"),
        (&to_ws, "exit 7", "ended with status 7 before it led to a relay"),
        (&relay.address, "no-such-program %h", "ended with status 127"),
        (&relay.address, "kill -9 $$", "was ended by signal 9"),
        (&to_ws, "exec >&- <&-; exit 0", "ended with status 0"),
    ] {
        let east = world.party("east", address);
        let done = refused(&east, &["--timeout", "0s", "--proxy-command", command]).expect(exit::NO_RELAY);
        assert!(done.stderr.contains(words), "{words:?} is not said\n{done}");
    }
    let done = refused(&relay.party("east"), &["--proxy-command", "nc %x"]).expect(exit::USAGE);
    assert!(done.stderr.contains("%x stands for nothing"), "{done}");
}

#[test]
fn a_command_that_has_closed_its_streams_and_goes_on_is_waited_for_a_moment() {
    let world = World::new();
    let relay = world.relay();
    let goes_on = "echo $$ >pid; exec >&- <&-; exec sleep 1000";
    let done = refused(&relay.party("east"), &["--timeout", "0s", "--proxy-command", goes_on]).expect(exit::NO_RELAY);
    assert!(done.stderr.contains("the command of --proxy-command closed its streams"), "{done}");
    let pid = fs::read_to_string(world.path("pid")).expect("a number");
    eventually("the command has ended", || !is_running(pid.trim()));
}
