//! Bad days of proxies and of commands that lead to a relay: one clear line that names what is in the way, the right status, and
//! nothing lost of a session that is under way.

use std::net::Ipv4Addr;

use crate::harness::sites::tell;
use crate::harness::tunnel::{Deed, Tunnels};
use crate::harness::{DEADLINE, Done, Input, Random, Relay, World, eventually, exit};
use crate::impair::{Impair, Shape};

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>Sign in</html>\n";
const BASIC: &[u8] =
    b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const STALE: &[u8] = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Digest realm=a, nonce=n, qop=auth, stale=true\r\n\r\n";
const NEGOTIATE: &[u8] = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n";

/// What a client says, by this scheme, with these words.
fn refused(relay: &Relay<'_>, scheme: &str, words: &[&str]) -> Done {
    let address = relay.address.replace("tcp://", scheme);
    let east = relay.world().party("east", &address).attach().args(["west:x", "--outer-tls", "any"]).args(words);
    east.run()
}

/// Its one error line has these words, and there are so many lines in all.
fn says(done: Done, words: &str, lines: usize) -> Done {
    let done = done.expect_error(words);
    assert_eq!(done.stderr.lines().count(), lines, "{done}");
    done
}

#[test]
fn whatever_comes_out_of_a_tunnel_is_said_to_have_come_through_the_proxy() {
    let world = World::new();
    let relay = world.relay();
    let proxy = Tunnels::new(Deed::Leads(PAGE));
    for (deed, scheme, words) in [
        (Deed::Leads(PAGE), "tcp://", "could not be reached: what answered is no relay"),
        (Deed::Leads(PAGE), "ws://", "answered with HTTP status 200 instead of a link"),
        (Deed::Leads(PAGE), "tls://", "answered with something else than TLS"),
        (Deed::Leads(b"SSH-2.0-OpenSSH_9.2\r\n"), "tcp://", "could not be reached: what answered is no relay"),
        (Deed::Leads(b"SSH-2.0-OpenSSH_9.2\r\n"), "ws://", "answered with something else than what carries a link"),
        (Deed::Leads(b""), "tcp://", "closed the connection"),
        (Deed::Leads(b""), "ws://", "closed the connection"),
        (Deed::Swallows, "tcp://", "took the connection and said nothing"),
        (Deed::Swallows, "wss://", "took the connection and said nothing"),
    ] {
        proxy.turn_to(deed);
        // Who is silent needs a moment to be so.
        let timeout = if deed == Deed::Swallows { "1s" } else { "0s" };
        let done = refused(&relay, scheme, &["--proxy", &proxy.url(), "--timeout", timeout]).expect(exit::NO_RELAY);
        let address = relay.address.replace("tcp://", scheme);
        let whole = format!("relay {address}, through the proxy {}, {words}", proxy.url());
        // Of those that only close, no more is known.
        let hints = usize::from(deed != Deed::Leads(b"") || scheme == "tcp://");
        says(done, &whole, 1 + hints);
    }
}

#[test]
fn a_proxy_that_answers_otherwise_than_by_a_tunnel_is_named_once_with_what_to_do() {
    let world = World::new();
    let relay = world.relay();
    let secret = world.write("secret", "open sesame");
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
    let secret = secret.display().to_string();
    let proxy = Tunnels::new(Deed::Begins);
    let with_user = proxy.url().replace("://", "://user@");
    for (deed, url, status, words, hint) in [
        (Deed::Says(BASIC), proxy.url(), exit::CONFIG, "wants to know who asks", Some(&*with_user)),
        (Deed::Says(BASIC), with_user.clone(), exit::CONFIG, "does not take this user and password", Some("are right")),
        (Deed::Says(STALE), with_user.clone(), exit::NO_RELAY, "finds each answer too old", None),
        (
            Deed::Says(NEGOTIATE),
            with_user.clone(),
            exit::CONFIG,
            "wants to know who asks by Negotiate, NTLM",
            Some("--proxy-command"),
        ),
        (Deed::Says(b"HTTP/1.1 403 No\r\n\r\n"), proxy.url(), exit::NO_RELAY, "HTTP status 403: No", Some("443")),
        (Deed::Begins, proxy.url(), exit::NO_RELAY, "did not answer in time", None),
    ] {
        proxy.turn_to(deed);
        let (before, timeout) = (proxy.accepted(), if deed == Deed::Begins { "1s" } else { "0s" });
        let words_of_tool = ["--proxy", &url, "--proxy-password-file", &secret, "--timeout", timeout];
        let done = refused(&relay, "tcp://", &words_of_tool).expect(status);
        let done = says(done, &format!("the proxy {}", proxy.url()), 1 + usize::from(hint.is_some()));
        assert!(done.stderr.contains(words), "{words:?} is not said\n{done}");
        let hint = hint.map(|hint| hint.replace("user@", "USER@")).unwrap_or_default();
        assert!(done.stderr.contains(&hint), "{hint:?} is not said\n{done}");
        // A proxy that asks for ever is not asked for ever.
        assert!(proxy.accepted() - before <= 5, "{} connections\n{done}", proxy.accepted() - before);
    }
}

#[test]
fn a_variable_that_has_named_the_proxy_is_named_with_it() {
    let world = World::new();
    let relay = world.relay();
    let proxy = Tunnels::new(Deed::Leads(PAGE));
    let east = || relay.party("east").attach().args(["west:x", "--timeout", "0s"]).env("ALL_PROXY", proxy.url());
    let whole =
        format!("through the proxy {} (ALL_PROXY), could not be reached: what answered is no relay", proxy.url());
    says(east().run().expect(exit::NO_RELAY), &whole, 2);
    let done = east().arg("--json").run().expect(exit::NO_RELAY);
    let reason = format!("\"reason\":\"through the proxy {} (ALL_PROXY): could not be reached: ", proxy.url());
    assert!(done.stderr.contains(&reason), "{done}");
}

#[test]
fn what_a_command_does_is_said_of_the_command() {
    let world = World::new();
    let relay = world.relay();
    for (scheme, command, timeout, words, hint) in [
        ("tcp://", "exec sleep 1000", "1s", "nothing came of the command of --proxy-command in time", "by hand"),
        ("ws://", "exec sleep 1000", "1s", "nothing came of the command of --proxy-command in time", "by hand"),
        (
            "tcp://",
            "echo '<html>'; exec cat >/dev/null",
            "0s",
            ", by the command of --proxy-command, could not be reached: what answered is no relay",
            "by hand",
        ),
        ("tcp://", "exec >&- <&-; exec sleep 1000", "0s", "the command of --proxy-command closed its streams", ""),
        ("ws://", "exec >&- <&-; exec sleep 1000", "0s", "the command of --proxy-command closed its streams", ""),
    ] {
        let done = refused(&relay, scheme, &["--proxy-command", command, "--timeout", timeout]).expect(exit::NO_RELAY);
        let done = says(done, words, 1 + usize::from(!hint.is_empty()));
        assert!(done.stderr.contains(hint), "{hint:?} is not said\n{done}");
    }
}

/// Bytes between two troubles.
const PART: usize = 200_000;

#[test]
fn a_session_outlives_what_proxies_do_in_its_middle() {
    let world = World::new();
    let relay = world.relay();
    let proxy = Tunnels::new(Deed::Tunnel);
    let shape = Shape { queue_bytes: 64 << 10, ..Shape::default() };
    let path = Impair::start((Ipv4Addr::LOCALHOST, 0).into(), proxy.at(), shape).expect("a path to the proxy");
    tell(&path, "rate 4M");
    let west = relay.party("west");
    let listen = west.waiting(west.attach().args(["--listen", "x"]).within(4 * DEADLINE));
    let url = format!("http://{}", path.address());
    let east = relay.party("east").attach().args(["-v", "west:x", "--proxy", &url]).within(4 * DEADLINE);
    let mut dial = east.input(Input::Held).spawn();
    let bad_hours = [Deed::Says(PAGE), Deed::Says(BASIC), Deed::Leads(PAGE), Deed::Leads(b""), Deed::Says(b"")];
    let troubles = [("cut", None), ("reset", None), ("drop", None)].into_iter();
    let troubles = troubles.chain(bad_hours.map(|deed| ("cut", Some(deed))));
    let words = Random::bytes(1, 2 * PART * (3 + bad_hours.len()));
    let mut sent = 0;
    for (parts, (fault, deed)) in words.chunks(2 * PART).zip(troubles) {
        let (one, other) = parts.split_at(PART);
        dial.write(one);
        let tried = proxy.accepted();
        proxy.turn_to(deed.unwrap_or(Deed::Tunnel));
        tell(&path, fault);
        dial.write(other);
        if fault == "drop" {
            // It is noticed in ten seconds.
            dial.wait_error_line_like("that", |line| line.contains("was silent for too long"));
            tell(&path, "heal");
        }
        if deed.is_some() {
            eventually("it is tried again and again", || proxy.accepted() > tried + 1);
            proxy.turn_to(Deed::Tunnel);
        }
        sent += 2 * PART as u64;
        listen.wait_bytes(sent);
    }
    dial.close_input();
    dial.wait().expect(exit::DONE);
    listen.wait().expect(exit::DONE).expect_random(1, sent);
}
