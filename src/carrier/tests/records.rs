//! Records behind a handshake: of every suite, under keys that change, with what is said besides, and with what breaks the rules.

use super::super::tests::{clock, outer, relay, shake};
use super::super::{State, Tls, TlsClient};
use super::*;
use crate::carrier::testkit::{read as hear, write};
use crate::carrier::{Carrier, End, TlsEnd};
use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A client of this suite alone.
fn client(suite: SupportedCipherSuite) -> Carrier {
    let anybody = TlsClient::trusting_anybody(clock()).speaking(suite);
    Carrier::plain().over_tls(&anybody, "relay.example").unwrap()
}

fn suite(name: CipherSuite) -> SupportedCipherSuite {
    *default_provider().cipher_suites.iter().find(|suite| suite.suite() == name).unwrap()
}

const OLD: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const NEW: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;

/// A client and a relay, in this order, that have shaken hands.
fn pair(name: CipherSuite) -> (Carrier, Carrier) {
    let (mut here, mut there) = (client(suite(name)), relay());
    shake(&mut here, &mut there, 1 << 20);
    (here, there)
}

fn records(carrier: &mut Carrier) -> (&mut Records, &mut Outward) {
    let Tls { state: State::Open(records), outward, .. } = outer(carrier) else { panic!("it has shaken hands") };
    (records, outward)
}

/// Says something that is no content.
fn say(carrier: &mut Carrier, typ: ContentType, what: &[u8]) -> Vec<u8> {
    let (records, outward) = records(carrier);
    records.seal_words(typ, what, outward).unwrap();
    write(carrier, b"", 1 << 20)
}

/// What one says arrives, and what the other says to it, too.
fn converse(here: &mut Carrier, there: &mut Carrier) {
    for length in [1, 100, CONTENT_MAX + 1, 200_000] {
        let words: Vec<u8> = (0..length).map(|at: usize| (at / 7).to_le_bytes()[0]).collect();
        let wire = write(here, &words, 50_000);
        assert!(hear(there, &wire, 30_000) == words);
        let wire = write(there, &words, 50_000);
        assert!(hear(here, &wire, 30_000) == words);
    }
    assert_eq!((here.end(), there.end()), (None, None));
}

#[test]
fn every_suite_of_both_versions_carries_what_is_said_and_tells_its_end() {
    let suites = default_provider().cipher_suites;
    let of_ours: Vec<_> = suites
        .into_iter()
        // The certificate of the tests is signed by ECDSA.
        .filter(|suite| !format!("{:?}", suite.suite()).contains("_RSA_"))
        .collect();
    assert_eq!(of_ours.len(), 6);
    for suite in of_ours {
        let (mut here, mut there) = (client(suite), relay());
        shake(&mut here, &mut there, 100);
        converse(&mut here, &mut there);
        there.close();
        let wire = write(&mut there, b"", 3);
        assert_eq!((hear(&mut here, &wire, 3), here.end()), (vec![], Some(End::Closed)));
    }
}

#[test]
fn two_ends_of_ours_take_the_cheapest_cipher_of_the_newer_version() {
    let (mut here, mut there) = (super::super::tests::client(), relay());
    shake(&mut here, &mut there, 1 << 20);
    assert_eq!((records(&mut here).0.keys.suite().suite(), records(&mut there).0.keys.suite().suite()), (NEW, NEW));
}

#[test]
fn a_key_that_has_sealed_as_much_as_it_may_is_changed_and_the_other_end_follows() {
    let (mut here, mut there) = pair(NEW);
    for _ in 0..20 {
        for end in [&mut here, &mut there] {
            let (records, _) = records(end);
            records.sealer.most = records.sealer.count + RESERVED + 2;
        }
        converse(&mut here, &mut there);
        // Each has changed its key once, and followed once.
        assert!(records(&mut here).0.sealer.most > 1 << 20 && records(&mut there).0.sealer.most > 1 << 20);
    }
    assert_eq!((records(&mut here).0.asides, records(&mut there).0.asides), (20, 20));
}

#[test]
fn an_old_version_ends_with_its_key_and_what_was_sealed_before_arrives() {
    let (mut here, mut there) = pair(OLD);
    let (records, _) = records(&mut here);
    records.sealer.most = records.sealer.count + RESERVED + 2;
    let words = vec![7; 4 * CONTENT_MAX];
    let shown = [std::io::IoSlice::new(&words)];
    let mut wire = [std::io::IoSlice::new(&[]); 1 + crate::carrier::OWN_SLICES];
    assert_eq!(here.wrap(&shown, &mut wire), 1);
    let sent = wire[0].to_vec();
    assert_eq!(here.handle_written(sent.len()), 2 * CONTENT_MAX);
    assert_eq!(hear(&mut there, &sent, 5000).len(), 2 * CONTENT_MAX);
    assert_eq!((here.end(), there.end()), (Some(End::Tls(TlsEnd::UsedUp)), Some(End::Closed)));
    // Nothing follows.
    assert!(!here.has_own());
    here.close();
    let mut wire = [std::io::IoSlice::new(&[]); 1 + crate::carrier::OWN_SLICES];
    assert!(!here.has_own() && here.wrap(&shown, &mut wire) == 0);
}

#[test]
fn who_changes_its_key_at_its_limit_asks_the_other_side_for_the_same() {
    let (mut here, mut there) = pair(NEW);
    let (ours, _) = records(&mut here);
    ours.sealer.most = ours.sealer.count + RESERVED + 2;
    converse(&mut here, &mut there);
    assert_eq!((records(&mut here).0.asides, records(&mut there).0.asides), (1, 1));
}

#[test]
fn who_asks_for_other_keys_again_and_again_is_answered_once_while_nothing_goes_out() {
    let (mut here, mut there) = pair(NEW);
    for _ in 0..20 {
        let (records, outward) = records(&mut here);
        records.change_keys(true, outward).unwrap();
        let wire = write(&mut here, b"", 1 << 20);
        assert_eq!((hear(&mut there, &wire, 100), there.end()), (vec![], None));
    }
    let answer = write(&mut there, b"", 1 << 20);
    assert_eq!(answer.len(), HEAD_BYTES + 5 + 1 + 16);
    hear(&mut here, &answer, 100);
    converse(&mut here, &mut there);
}

#[test]
fn records_that_are_empty_are_borne_and_pay_for_nothing() {
    for name in [OLD, NEW] {
        let (mut here, mut there) = pair(name);
        for _ in 0..100 {
            let wire = say(&mut here, ContentType::ApplicationData, &[]);
            assert_eq!((hear(&mut there, &wire, 100), there.end()), (vec![], None));
        }
        let (records, _) = records(&mut there);
        assert_eq!((records.opened, records.asides), (0, 0));
        converse(&mut here, &mut there);
    }
}

#[test]
fn who_wants_another_handshake_is_told_once_that_there_is_none() {
    for by_client in [true, false] {
        let (mut here, mut there) = pair(OLD);
        let (from, to) = if by_client { (&mut here, &mut there) } else { (&mut there, &mut here) };
        let asks: &[u8] = if by_client { &[1, 0, 0, 2, 3, 3] } else { &[0, 0, 0, 0] };
        for is_first in [true, false] {
            let wire = [say(from, ContentType::Handshake, &asks[..3]), say(from, ContentType::Handshake, &asks[3..])];
            assert_eq!((hear(to, &wire.concat(), 7), to.end()), (vec![], None));
            assert_eq!(to.has_own(), is_first);
            let answer = write(to, b"", 1 << 20);
            assert_eq!((hear(from, &answer, 7), from.end()), (vec![], None));
        }
        converse(from, to);
        let alert = if by_client { AlertDescription::UnexpectedMessage } else { AlertDescription::DecodeError };
        // It is a server that asks so, and it says no more than that.
        let wire = say(from, ContentType::Handshake, &[0, 0, 0, 1, 0]);
        assert_eq!((hear(to, &wire, 7), to.end()), (vec![], Some(End::Tls(TlsEnd::Broken))));
        let answer = write(to, b"", 1 << 20);
        hear(from, &answer, 7);
        assert_eq!(from.end(), Some(End::Tls(TlsEnd::Told(alert.into()))));
    }
}

/// Who ends a handshake and who hears its end, with what is said right behind, and what is heard of that.
fn finish(name: CipherSuite, step: usize, behind: impl Fn(&mut Carrier) -> Vec<u8>) -> (Carrier, Carrier, Vec<u8>) {
    let (mut from, mut to) = (client(suite(name)), relay());
    // That is a client's in the newer version, and a server's in the older one.
    for _ in 0..if name == NEW { 2 } else { 3 } {
        let wire = write(&mut from, b"", 1 << 20);
        assert_eq!(hear(&mut to, &wire, step), b"");
        (from, to) = (to, from);
    }
    assert!(from.is_open() && !to.is_open());
    let mut wire = write(&mut from, b"", 1 << 20);
    wire.extend(behind(&mut from));
    let heard = hear(&mut to, &wire, step);
    assert!(to.is_open());
    (from, to, heard)
}

#[test]
fn what_is_said_right_behind_a_handshake_is_heard_as_it_is_later() {
    for (name, step) in [(OLD, 1), (OLD, 1 << 20), (NEW, 1), (NEW, 1 << 20)] {
        let (mut from, mut to, heard) = finish(name, step, |from| write(from, b"data", 1 << 20));
        assert_eq!((&heard[..], to.end()), (&b"data"[..], None));
        converse(&mut from, &mut to);

        let (mut from, mut to, heard) = finish(name, step, |from| {
            from.close();
            write(from, b"last", 1 << 20)
        });
        assert_eq!((&heard[..], to.end()), (&b"last"[..], Some(End::Closed)));
        to.close();
        let answer = write(&mut to, b"", 1 << 20);
        hear(&mut from, &answer, step);
        assert_eq!(from.end(), Some(End::Closed));

        let message: &[u8] = if name == NEW { &[24, 0, 0, 1, 1] } else { &[0, 0, 0, 0] };
        for cut in 1..=message.len() {
            let (mut from, mut to, heard) =
                finish(name, step, |from| say(from, ContentType::Handshake, &message[..cut]));
            assert_eq!((&heard[..], to.end()), (&b""[..], None));
            if cut < message.len() {
                let wire = say(&mut from, ContentType::Handshake, &message[cut..]);
                assert_eq!((hear(&mut to, &wire, step), to.end()), (vec![], None));
            }
            if name == NEW {
                let (records, _) = records(&mut from);
                records.sealer = records.keys.next_sealer().unwrap();
            }
            assert!(to.has_own(), "it has an answer");
            converse(&mut from, &mut to);
        }
    }
}

#[test]
fn what_a_server_says_before_it_has_heard_a_client_is_heard() {
    use std::io::Write;
    for (step, is_last) in [(1, false), (1, true), (1 << 20, false), (1 << 20, true)] {
        let mut config = (*super::super::ends::for_tests().unwrap().config()).clone();
        config.send_half_rtt_data = true;
        let mut there = rustls::ServerConnection::new(config.into()).unwrap();
        let mut here = client(suite(NEW));
        there.read_tls(&mut &write(&mut here, b"", 1 << 20)[..]).unwrap();
        there.process_new_packets().unwrap();
        there.writer().write_all(b"data").unwrap();
        if is_last {
            there.send_close_notify();
        }
        let mut wire = Vec::new();
        while there.wants_write() {
            there.write_tls(&mut wire).unwrap();
        }
        assert_eq!(hear(&mut here, &wire, step), b"data");
        assert_eq!((here.is_open(), here.end()), (true, is_last.then_some(End::Closed)));
        let answer = write(&mut here, b"heard", 1 << 20);
        there.read_tls(&mut &answer[..]).unwrap();
        assert_eq!(there.process_new_packets().unwrap().plaintext_bytes_to_read(), 5);
    }
}

#[test]
fn who_is_asked_for_other_keys_changes_them_at_once() {
    let (mut here, mut there) = pair(NEW);
    let wire = say(&mut here, ContentType::Handshake, &[24, 0, 0, 1, 1]);
    let (records, _) = records(&mut here);
    records.sealer = records.keys.next_sealer().unwrap();
    // It has sealed something by then, which goes first.
    let mut before = Vec::new();
    let shown = [std::io::IoSlice::new(b"before")];
    let mut slices = [std::io::IoSlice::new(&[]); 1 + crate::carrier::OWN_SLICES];
    let used = there.wrap(&shown, &mut slices);
    slices[..used].iter().for_each(|slice| before.extend_from_slice(slice));
    assert_eq!(hear(&mut there, &wire, 1), b"");
    assert_eq!(there.handle_written(before.len()), 6);
    before.extend(write(&mut there, b"behind", 1 << 20));
    assert_eq!(hear(&mut here, &before, 10), b"beforebehind");
    converse(&mut here, &mut there);
}

#[test]
fn what_concerns_who_wants_to_come_back_is_passed_over_by_a_client_alone() {
    let mut ticket = vec![4, 0, 1, 0];
    ticket.extend([9; 256]);
    for cut in [1, 3, 4, 5, 200, 259, 260] {
        let (mut here, mut there) = pair(NEW);
        let mut wire = Vec::new();
        for piece in ticket.chunks(cut).take(20) {
            wire.extend(say(&mut there, ContentType::Handshake, piece));
        }
        assert_eq!((hear(&mut here, &wire, 50), here.end()), (vec![], None));
        if cut > 13 {
            converse(&mut here, &mut there);
        }
        let wire = say(&mut here, ContentType::Handshake, &ticket);
        hear(&mut there, &wire, 50);
        assert_eq!(there.end(), Some(End::Tls(TlsEnd::Broken)));
    }
    // Nobody is made to shake hands once more.
    let (mut here, mut there) = pair(OLD);
    let wire = say(&mut there, ContentType::Handshake, &[0, 0, 0, 0]);
    assert_eq!((hear(&mut here, &wire, 3), here.end()), (vec![], None));
    converse(&mut here, &mut there);
}

#[test]
fn what_breaks_the_rules_ends_it_and_is_told_why() {
    let of_both: &[(ContentType, &[u8], AlertDescription)] = &[
        (ContentType::Handshake, &[2, 0, 0, 0], AlertDescription::UnexpectedMessage),
        (ContentType::Alert, &[1], AlertDescription::DecodeError),
        (ContentType::Heartbeat, &[0], AlertDescription::UnexpectedMessage),
    ];
    let of_the_new: &[(ContentType, &[u8], AlertDescription)] = &[
        (ContentType::Handshake, &[], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[24, 0, 0, 1, 2], AlertDescription::IllegalParameter),
        (ContentType::Handshake, &[1, 0, 0, 0], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[24, 0, 0, 0], AlertDescription::DecodeError),
        (ContentType::Handshake, &[24, 0, 0, 2, 0, 0], AlertDescription::DecodeError),
        (ContentType::Handshake, &[24, 0, 0, 1, 0, 24], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[0, 0, 0, 0], AlertDescription::UnexpectedMessage),
    ];
    let of_the_old: &[(ContentType, &[u8], AlertDescription)] = &[
        (ContentType::Handshake, &[24, 0, 0, 1, 0], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[0, 0, 0, 0], AlertDescription::UnexpectedMessage),
    ];
    for (name, cases) in [(NEW, of_both), (OLD, of_both), (NEW, of_the_new), (OLD, of_the_old)] {
        for (typ, what, alert) in cases {
            let (mut here, mut there) = pair(name);
            let wire = say(&mut here, *typ, what);
            assert_eq!((hear(&mut there, &wire, 7), there.end()), (vec![], Some(End::Tls(TlsEnd::Broken))), "{what:?}");
            let answer = write(&mut there, b"", 1 << 20);
            hear(&mut here, &answer, 7);
            assert_eq!(here.end(), Some(End::Tls(TlsEnd::Told((*alert).into()))), "{what:?}");
            // It is told once, and nothing follows.
            assert!(!there.has_own() && hear(&mut there, &wire, 7).is_empty());
        }
    }
}

#[test]
fn a_record_that_is_changed_or_repeated_or_left_out_is_none_of_theirs() {
    for name in [OLD, NEW] {
        for change in 0..4 {
            let (mut here, mut there) = pair(name);
            let (first, mut second) = (write(&mut here, b"first", 100), write(&mut here, b"second", 100));
            let wire = match change {
                0 => {
                    *second.last_mut().unwrap() ^= 1;
                    [first, second].concat()
                }
                1 => [first.clone(), first].concat(),
                2 => second,
                _ => {
                    second[0] = 22;
                    [first, second].concat()
                }
            };
            let heard = hear(&mut there, &wire, 9);
            assert_eq!(heard, if change == 2 { &b""[..] } else { b"first" });
            assert_eq!(there.end(), Some(End::Tls(TlsEnd::Broken)), "{name:?} {change}");
        }
    }
}

#[test]
fn a_message_that_has_begun_goes_on_before_any_content() {
    let (mut here, mut there) = pair(NEW);
    let mut wire = say(&mut here, ContentType::Handshake, &[24, 0]);
    wire.extend(write(&mut here, b"content", 100));
    assert_eq!((hear(&mut there, &wire, 100), there.end()), (vec![], Some(End::Tls(TlsEnd::Broken))));
}

#[test]
fn nobody_is_kept_busy_with_records_that_have_no_content() {
    let changed = |here: &mut Carrier| {
        let wire = say(here, ContentType::Handshake, &[24, 0, 0, 1, 0]);
        let (records, _) = records(here);
        records.sealer = records.keys.next_sealer().unwrap();
        wire
    };
    let (mut here, mut there) = pair(NEW);
    for _ in 0..ASIDES_FREE {
        let wire = changed(&mut here);
        hear(&mut there, &wire, 100);
        assert_eq!(there.end(), None);
    }
    // Content does not pay for it at once, and in the long run it does.
    let words = vec![7; usize::try_from(ASIDE_EVERY).unwrap()];
    let wire: Vec<u8> = words.chunks(1).flat_map(|byte| write(&mut here, byte, 100)).collect();
    assert_eq!(hear(&mut there, &wire, 10_000), words);
    for end in [None, Some(End::Tls(TlsEnd::Broken))] {
        let wire = changed(&mut here);
        hear(&mut there, &wire, 100);
        assert_eq!(there.end(), end);
    }
}

#[test]
fn warnings_are_borne_and_whatever_else_is_told_is_an_end() {
    const WARNING: u8 = 1;
    let canceled: u8 = AlertDescription::UserCanceled.into();
    for name in [OLD, NEW] {
        let (mut here, mut there) = pair(name);
        let wire = say(&mut here, ContentType::Alert, &[WARNING, canceled]);
        assert_eq!((hear(&mut there, &wire, 100), there.end()), (vec![], None));
        let wire = say(&mut here, ContentType::Alert, &[WARNING, 100]);
        hear(&mut there, &wire, 100);
        assert_eq!(there.end(), (name == NEW).then_some(End::Tls(TlsEnd::Told(100))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_said_in_records_that_are_theirs_no_end_panics(
        is_new in any::<bool>(),
        is_heard_by_client in any::<bool>(),
        said in proptest::collection::vec((
            prop_oneof![Just(20_u8), Just(21), 22..24_u8, any::<u8>()],
            proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(4), Just(24), any::<u8>()], 0..9),
        ), 0..8),
        step in 1..100_usize,
    ) {
        let (mut here, mut there) = pair(if is_new { NEW } else { OLD });
        let (from, to) = if is_heard_by_client { (&mut there, &mut here) } else { (&mut here, &mut there) };
        for (typ, what) in said {
            let wire = say(from, ContentType::from(typ), &what);
            let heard = hear(to, &wire, step);
            prop_assert!(heard.is_empty() || (typ == 23 && heard == what));
            prop_assert!(to.held() <= wire.len());
        }
    }
}
