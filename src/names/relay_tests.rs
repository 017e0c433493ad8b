//! Relay addresses: what is accepted, what is refused, and that texts round-trip.

use proptest::prelude::*;

use super::*;
use crate::names::relays::fuzz_relays;

fn id() -> PeerId {
    PeerId::from_bytes([5; 32])
}

fn parse(text: &str) -> Result<RelayAddress, RelayAddressError> {
    text.replace("ID", &id().to_string()).parse()
}

fn parts(text: &str) -> (Option<Scheme>, String, u16, String) {
    let relay = parse(text).expect(text);
    assert_eq!(relay.to_string().parse(), Ok(relay.clone()), "{text} round-trips");
    assert_eq!(relay.id, id());
    (relay.scheme, relay.host, relay.port, relay.path)
}

#[test]
fn all_parts_and_their_defaults() {
    let host = || "relay.example.com".to_owned();
    assert_eq!(parts("ID@relay.example.com"), (None, host(), 4433, String::new()));
    assert_eq!(parts("ID@RELAY.Example.com:7"), (None, host(), 7, String::new()));
    assert_eq!(parts("tcp://ID@relay.example.com"), (Some(Scheme::Tcp), host(), 4433, String::new()));
    assert_eq!(parts("tls://ID@relay.example.com"), (Some(Scheme::Tls), host(), 443, String::new()));
    assert_eq!(parts("ws://ID@relay.example.com/vp"), (Some(Scheme::Ws), host(), 80, "/vp".into()));
    assert_eq!(parts("wss://ID@relay.example.com/"), (Some(Scheme::Wss), host(), 443, "/".into()));
    assert_eq!(parts("http://ID@relay.example.com").2, 80);
    assert_eq!(parts("https://ID@relay.example.com:8443/a/b?c=d").3, "/a/b?c=d");
    assert_eq!(parts("ID@relay.example.com/p@q:1").3, "/p@q:1");
}

#[test]
fn addresses_of_both_families() {
    assert_eq!(parts("tcp://ID@127.0.0.1:40721").1, "127.0.0.1");
    assert_eq!(parts("tcp://ID@[::1]:40721").1, "::1");
    assert_eq!(parts("ID@[2001:DB8:0:0::1]").1, "2001:db8::1");
    assert_eq!(parse("ID@[::1]:5").expect("good").to_string(), format!("{}@[::1]:5", id()));
}

#[test]
fn what_is_wrong_has_a_name() {
    use RelayAddressError as E;
    let label = "x".repeat(64);
    let long = format!("ID@{}ab", "abc.".repeat(63));
    let path = format!("ID@h/{}", "p".repeat(1024));
    for (text, error) in [
        ("ftp://ID@h", E::UnknownScheme),
        ("TCP://ID@h", E::UnknownScheme),
        ("h:1", E::MissingId),
        ("tcp://h", E::MissingId),
        ("", E::MissingId),
        ("me@h", E::BadId(CodeError::WrongPrefix { expected: "vp" })),
        ("ID@", E::BadHost),
        ("ID@:1", E::BadHost),
        ("ID@-h", E::BadHost),
        ("ID@h-.x", E::BadHost),
        ("ID@a..b", E::BadHost),
        ("ID@h.", E::BadHost),
        ("ID@h ", E::BadHost),
        ("ID@hé", E::BadHost),
        ("ID@h\u{0}", E::BadHost),
        ("ID@1.2.3", E::BadHost),
        ("ID@256.0.0.1", E::BadHost),
        ("ID@1.2.3.04", E::BadHost),
        ("ID@[::1", E::BadHost),
        ("ID@[::1]x", E::BadHost),
        ("ID@[fe80::1%eth0]", E::BadHost),
        ("ID@[127.0.0.1]", E::BadHost),
        ("ID@::1", E::BadHost),
        (&format!("ID@{label}"), E::BadHost),
        (&long, E::BadHost),
        ("ID@h:", E::BadPort),
        ("ID@h:0", E::BadPort),
        ("ID@h:65536", E::BadPort),
        ("ID@h:+1", E::BadPort),
        ("ID@h:1:2", E::BadPort),
        ("tcp://ID@h/p", E::PathWithoutHttp),
        ("tls://ID@h/", E::PathWithoutHttp),
        ("ID@h/a b", E::BadPath),
        ("ID@h/a#b", E::BadPath),
        (&path, E::BadPath),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        fuzz_relays(text.as_bytes());
    }

    #[test]
    fn almost_good_addresses_round_trip(
        scheme in "((tcp|tls|ws|wss|http|https)://)?",
        host in "([a-z0-9._-]{0,8}|[0-9.]{0,9}|\\[[0-9a-f:.]{0,9}\\])",
        tail in "(:[0-9]{0,6})?(/[a-z%?@:#]{0,5})?",
    ) {
        fuzz_relays(format!("{scheme}{}@{host}{tail}", id()).as_bytes());
    }
}
