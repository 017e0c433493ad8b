//! Both ends of TLS, however their bytes are cut; what goes out is counted when it is gone; what is no TLS, and what is not believed.

use super::*;
use crate::carrier::testkit::{read as hear, write};
use crate::carrier::{Carrier, OWN_SLICES, Target, Visitor};
use proptest::prelude::*;
use rustls::time_provider::DefaultTimeProvider;
use std::sync::Arc;

pub(super) fn clock() -> Arc<DefaultTimeProvider> {
    Arc::new(DefaultTimeProvider)
}

/// A client that believes anybody.
pub(super) fn client() -> Carrier {
    Carrier::plain().over_tls(&TlsClient::trusting_anybody(clock()), "relay.example").unwrap()
}

fn websocket() -> Carrier {
    let to = Target { host: "relay.example", port: 443, path: "/vp", usual_port: 443 };
    Carrier::websocket(&to).over_tls(&TlsClient::trusting_anybody(clock()), "relay.example").unwrap()
}

pub(super) fn relay() -> Carrier {
    Carrier::undecided(Visitor::default()).serving(ends::for_tests().unwrap())
}

/// Shakes hands, in pieces of so many bytes.
pub(super) fn shake(here: &mut Carrier, there: &mut Carrier, step: usize) {
    for _ in 0..8 {
        let words = write(here, b"", step);
        assert_eq!(hear(there, &words, step), b"");
        let answer = write(there, b"", step);
        assert_eq!(hear(here, &answer, step), b"");
    }
    assert!(here.is_open() && there.is_open() && (here.held(), there.held()) == (0, 0));
    assert_eq!((here.end(), there.end()), (None, None));
}

#[test]
fn a_handshake_opens_both_ends_however_it_is_cut() {
    for step in [1, 7, 100_000] {
        for dial in [client, websocket] {
            let (mut here, mut there) = (dial(), relay());
            assert!(!here.is_open() && here.has_own() && !here.is_plain());
            shake(&mut here, &mut there, step);
            let words = write(&mut here, b"there", step);
            assert_eq!(hear(&mut there, &words, step), b"there");
            let words = write(&mut there, b"back", step);
            assert_eq!(hear(&mut here, &words, step), b"back");
        }
    }
}

#[test]
fn that_a_relay_has_answered_a_hello_is_told_once() {
    let (mut here, mut there) = (client(), relay());
    let hello = write(&mut here, b"", 1 << 20);
    hear(&mut there, &hello[..hello.len() - 1], 1 << 20);
    assert!(!there.take_answered());
    hear(&mut there, &hello[hello.len() - 1..], 1);
    assert!(there.take_answered() && !there.take_answered());
    shake(&mut here, &mut there, 1 << 20);
    assert!(!there.take_answered() && !here.take_answered());
}

#[test]
fn without_tls_a_relay_takes_a_hello_for_a_link() {
    let mut there = Carrier::undecided(Visitor::default());
    let words = write(&mut client(), b"", 1 << 20);
    assert_eq!(hear(&mut there, &words, 1 << 20), words);
    assert!(there.is_plain());
}

#[test]
fn what_is_inside_is_told_by_its_own_first_byte() {
    for (words, is_link) in [(&b"vp"[..], true), (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false), (b"\x16\x03\x01", true)]
    {
        let (mut here, mut there) = (client(), relay());
        shake(&mut here, &mut there, 1 << 20);
        let wire = write(&mut here, words, 1 << 20);
        let heard = hear(&mut there, &wire, 1 << 20);
        assert_eq!(heard == words, is_link);
        if is_link {
            continue;
        }
        assert_eq!(there.end(), Some(End::NotFound));
        let answer = write(&mut there, b"", 1 << 20);
        assert!(hear(&mut here, &answer, 100).starts_with(b"HTTP/1.1 404 "));
    }
}

#[test]
fn records_are_of_bounded_size_and_nothing_is_kept_that_is_gone() {
    let (mut here, mut there) = (client(), relay());
    shake(&mut here, &mut there, 1 << 20);
    let words = vec![7; 1 << 20];
    let shown = [IoSlice::new(&words)];
    let mut wire = [IoSlice::new(&[]); 2];
    assert_eq!(here.wrap(&shown, &mut wire), 1);
    let (length, first) = (wire[0].len(), wire[0].to_vec());
    assert!(length > SEALED_MAX && length < SEALED_MAX + 4 * 64, "{length}");
    assert_eq!(first[0], 23);
    let record = 5 + usize::from(u16::from_be_bytes([first[3], first[4]]));
    assert_eq!(here.handle_written(record - 1), 0, "its last byte is not gone");
    assert_eq!(here.handle_written(1), CONTENT_MAX);
    assert_eq!(here.handle_written(length - record), SEALED_MAX - CONTENT_MAX);
    assert!(!here.has_own());
    assert_eq!(hear(&mut there, &first, 1000), &words[..SEALED_MAX]);
    let Tls { outward, held, .. } = outer(&mut here);
    assert_eq!(held.capacity(), 0);
    let kept = outward.kept();
    assert!((SEALED_MAX..SEALED_MAX + 4 * 64).contains(&kept), "{kept}");
    // The few bytes that an idle link says end that.
    write(&mut here, &[7; 100], 1 << 20);
    write(&mut here, &[7; 100], 1 << 20);
    assert_eq!(outer(&mut here).outward.kept(), 0);
}

#[test]
fn who_says_much_does_so_in_memory_that_is_had_once() {
    for dial in [client, websocket] {
        let (mut here, mut there) = (dial(), relay());
        shake(&mut here, &mut there, 1 << 20);
        for is_outward in [true, false] {
            let from = if is_outward { &mut here } else { &mut there };
            let words = vec![7; 1 << 20];
            let (mut places, mut writes, mut taken) = (std::collections::BTreeSet::new(), 0, 0);
            while taken < 4 << 20 {
                let shown = [IoSlice::new(&words)];
                let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
                assert_eq!(from.wrap(&shown, &mut wire), 1, "one write takes all that is sealed at a time");
                places.insert(wire[0].as_ptr().addr());
                let length = wire[0].len();
                taken += from.handle_written(length);
                writes += 1;
            }
            // One more for what is left of a message of a WebSocket, which is of a megabyte at most.
            assert!(writes <= taken.div_ceil(SEALED_MAX) + 4, "{writes}");
            assert_eq!(places.len(), 1);
        }
    }
}

pub(super) fn outer(carrier: &mut Carrier) -> &mut Tls {
    let crate::carrier::Outer::Tls(tls) = &mut carrier.tls else { panic!("TLS was asked for") };
    tls
}

#[test]
fn an_end_is_told_and_what_came_before_it_is_heard() {
    for dial in [client, websocket] {
        let (mut here, mut there) = (dial(), relay());
        shake(&mut here, &mut there, 1 << 20);
        let mut wire = write(&mut here, b"last", 1 << 20);
        here.close();
        here.close();
        wire.extend(write(&mut here, b"", 3));
        assert!(!here.has_own());
        assert_eq!(hear(&mut there, &wire, 2), b"last");
        assert_eq!(there.end(), Some(End::Closed));
        there.close();
        let answer = write(&mut there, b"", 5);
        assert!(!answer.is_empty());
        assert_eq!(hear(&mut here, &answer, 4), b"");
        assert_eq!(here.end(), Some(End::Closed));
    }
}

#[test]
fn what_is_sealed_when_the_link_goes_is_nobodys_and_the_other_end_understands_what_follows() {
    for dial in [client, websocket] {
        let (mut here, mut there) = (dial(), relay());
        shake(&mut here, &mut there, 1 << 20);
        let words = vec![7; 40_000];
        let shown = [IoSlice::new(&words)];
        let mut wire = [IoSlice::new(&[]); 2];
        assert_eq!(here.wrap(&shown, &mut wire), 1);
        let mut sent = wire[0][..100].to_vec();
        assert_eq!(here.handle_written(100), 0);
        here.let_go();
        here.close();
        while here.has_own() {
            let mut wire = [IoSlice::new(&[]); 2];
            assert_eq!(here.wrap(&[], &mut wire), 1);
            sent.extend_from_slice(&wire[0]);
            let length = wire[0].len();
            assert_eq!(here.handle_written(length), 0);
        }
        assert_eq!(hear(&mut there, &sent, 999).len(), words.len());
        assert_eq!(there.end(), Some(End::Closed));
    }
}

#[test]
fn what_is_no_tls_ends_a_client_and_a_server() {
    for answer in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-OpenSSH\r\n", b"\0\0\0\0\0\0", b"vp\x01\x01\0\0\0\0"]
    {
        let mut here = client();
        write(&mut here, b"", 1 << 20);
        assert_eq!(hear(&mut here, answer, 3), b"");
        assert_eq!(here.end(), Some(End::Tls(TlsEnd::NotTls)), "{}", answer.escape_ascii());
    }
    let mut there = relay();
    assert_eq!(hear(&mut there, b"\x16\x03\x01\x00\x05hello, what is it", 1), b"");
    assert_eq!(there.end(), Some(End::Tls(TlsEnd::Broken)));
    assert!(!there.has_own(), "who speaks none hears nothing");
    assert_eq!(hear(&mut there, b"vp", 1), b"");
}

#[test]
fn a_changed_record_ends_it_with_an_alert_at_whatever_point_it_comes() {
    let mut whole = Vec::new();
    for nth in 0..3 {
        let (mut here, mut there) = (client(), relay());
        let mut wire = Vec::new();
        for turn in 0..3 {
            let link = if turn == 2 && here.is_open() && here.end().is_none() { &[1; 100][..] } else { &[] };
            let mut words = write(&mut here, link, 1 << 20);
            if turn == nth && !words.is_empty() {
                let last = words.len() - 1;
                words[last] ^= 1;
            }
            hear(&mut there, &words, 64);
            wire = write(&mut there, b"", 1 << 20);
            hear(&mut here, &wire, 64);
        }
        whole.push((here.end(), there.end(), wire.is_empty()));
    }
    for (here, there, _) in &whole {
        assert!(matches!(there, Some(End::Tls(_))) || matches!(here, Some(End::Tls(_))), "{whole:?}");
    }
}

#[test]
fn nobody_holds_more_of_what_is_not_whole_than_a_hello_or_a_record() {
    // A hello of 64 KiB, in records that are whole.
    let mut there = relay();
    let mut words = Vec::new();
    for nth in 0..4 {
        words.extend([22, 3, 1, 0x40, 0]);
        let mut content = vec![0; 16 * 1024];
        if nth == 0 {
            content[..4].copy_from_slice(&[1, 0, 0xff, 0xff]);
        }
        words.extend(content);
    }
    assert_eq!(hear(&mut there, &words, 5000), b"");
    assert_eq!(there.end(), Some(End::Tls(TlsEnd::Broken)));
    // A record that is too long for one.
    let (mut here, mut there) = (client(), relay());
    shake(&mut here, &mut there, 1 << 20);
    hear(&mut there, &[&[23, 3, 3, 0xff, 0xff][..], &[0; 30_000]].concat(), 1000);
    assert_eq!((there.end(), there.held()), (Some(End::Tls(TlsEnd::Broken)), 0));
}

#[test]
fn a_certificate_of_nobody_who_is_trusted_is_refused_and_its_issuer_is_told() {
    let other = rcgen::generate_simple_self_signed(["relay.example".to_owned()]).unwrap();
    let trust = TlsClient::trusting(vec![other.cert.der().to_vec()], clock()).unwrap();
    for (host, doubt) in [("relay.example", Doubt::SelfSigned), ("127.0.0.1", Doubt::SelfSigned)] {
        let (mut here, mut there) = (Carrier::plain().over_tls(&trust, host).unwrap(), relay());
        let words = write(&mut here, b"", 100);
        hear(&mut there, &words, 100);
        let words = write(&mut there, b"", 100);
        hear(&mut here, &words, 100);
        assert_eq!(here.end(), Some(End::Tls(TlsEnd::Untrusted)));
        let distrust = here.distrust().unwrap();
        assert_eq!((distrust.doubt, distrust.issuer.as_deref()), (doubt, Some("rcgen self signed cert")));
        let words = write(&mut here, b"", 100);
        hear(&mut there, &words, 100);
        assert!(matches!(there.end(), Some(End::Tls(TlsEnd::Told(_)))), "{:?}", there.end());
    }
    assert_eq!(TlsClient::trusting(vec![b"none".to_vec()], clock()).err(), Some(TlsFault::NoCertificate));
    assert_eq!(Carrier::plain().over_tls(&trust, "not a host").err(), Some(TlsFault::BadHost));
}

/// What a client that trusts `listed` alone makes of a certificate for `host`, made so.
fn judged(listed: Option<&[u8]>, host: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Option<Distrust> {
    let mut params = rcgen::CertificateParams::new(vec![host.to_owned(), "192.0.2.1".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    change(&mut params);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let server = TlsServer::from_der(certificate.der().to_vec(), key.serialize_der(), clock()).unwrap();
    let trust = TlsClient::trusting(vec![listed.unwrap_or(certificate.der()).to_vec()], clock()).unwrap();
    let mut here = Carrier::plain().over_tls(&trust, "relay.example").unwrap();
    let mut there = Carrier::undecided(Visitor::default()).serving(server);
    for _ in 0..3 {
        let words = write(&mut here, b"", 1000);
        hear(&mut there, &words, 1000);
        let words = write(&mut there, b"", 1000);
        hear(&mut here, &words, 1000);
    }
    assert_eq!(here.is_open(), here.distrust().is_none());
    here.distrust()
}

#[test]
fn a_certificate_that_may_sign_others_is_believed_if_it_is_listed_itself_and_for_its_host_and_time_alone() {
    let other = rcgen::generate_simple_self_signed(["relay.example".to_owned()]).unwrap();
    let doubt = |distrust: Option<Distrust>| distrust.map(|distrust| distrust.doubt);
    assert_eq!(judged(None, "relay.example", |_| {}), None);
    assert_eq!(doubt(judged(Some(other.cert.der()), "relay.example", |_| {})), Some(Doubt::SelfSigned));
    let elsewhere = judged(None, "other.example", |_| {}).unwrap();
    assert_eq!(
        (elsewhere.doubt, &elsewhere.hosts[..]),
        (Doubt::OtherHost, &["other.example".into(), "192.0.2.1".into()][..])
    );
    let nowhere = judged(None, "other.example", |params| params.subject_alt_names.clear()).unwrap();
    assert_eq!((nowhere.doubt, nowhere.hosts.len()), (Doubt::OtherHost, 0));
    let late = judged(None, "relay.example", |params| params.not_after = rcgen::date_time_ymd(2001, 1, 1));
    assert_eq!(doubt(late), Some(Doubt::Expired));
    let early = judged(None, "relay.example", |params| params.not_before = rcgen::date_time_ymd(2100, 1, 1));
    assert_eq!(doubt(early), Some(Doubt::NotYetValid));
}

#[test]
fn how_long_a_key_of_rsa_is_can_be_told() {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_3072).unwrap();
    let params = rcgen::CertificateParams::new(vec!["relay.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let server = TlsServer::from_der(certificate.der().to_vec(), key.serialize_der(), clock()).unwrap();
    assert_eq!(server.rsa_bits(), Some(3072));
    let of_curve = ends::for_tests().unwrap();
    assert_eq!((of_curve.rsa_bits(), of_curve.sign().is_some()), (None, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_a_link_says_arrives_however_it_is_cut_and_is_counted_when_it_is_gone(
        sizes in proptest::collection::vec(prop_oneof![1usize..300, 60_000usize..200_000], 1..5),
        most in prop_oneof![Just(1_usize), 1usize..100_000],
        step in prop_oneof![Just(1_usize), 1usize..100_000],
        by_websocket in any::<bool>(),
    ) {
        let (mut here, mut there) = (if by_websocket { websocket() } else { client() }, relay());
        shake(&mut here, &mut there, 1 << 20);
        for is_outward in [true, false] {
            let (from, to) = if is_outward { (&mut here, &mut there) } else { (&mut there, &mut here) };
            let (mut sent, mut heard) = (Vec::new(), Vec::new());
            for (nth, size) in sizes.iter().enumerate() {
                let words: Vec<u8> = (0..*size).map(|at| (at * 7 + nth).to_le_bytes()[0]).collect();
                // A byte at a time takes its time: of long words more.
                let (most, step) = if *size > 1000 { (most.max(2_000), step.max(2_000)) } else { (most, step) };
                let wire = write(from, &words, most);
                heard.extend(hear(to, &wire, step));
                sent.extend(words);
            }
            prop_assert!(heard == sent);
        }
        prop_assert_eq!((here.end(), there.end()), (None, None));
    }

    #[test]
    fn any_bytes_at_a_servers_end_are_read_the_same_however_they_are_cut(
        step in any::<u8>(),
        data in proptest::collection::vec(prop_oneof![Just(22_u8), Just(3), Just(1), Just(0), any::<u8>()], 0..300),
    ) {
        fuzz_tls(&[&[step, 22, 3, 1, 0, 20][..], &data].concat());
        fuzz_tls(&[&[step][..], &data].concat());
    }
}
