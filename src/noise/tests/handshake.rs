//! The handshake against itself, and against everything that a network or a wrong peer can do to it.

use proptest::prelude::*;

use super::super::error::Part;
use super::*;
use crate::noise::payload::PAYLOAD_MAX;
use crate::noise::{CAPS_MAX, MESSAGE_2_MAX, OpenError};

const LINK: Purpose = Purpose::Link;
const UNAUTHENTIC: Option<HandshakeError> = Some(HandshakeError::Unauthentic);

fn client() -> Identity {
    Identity::from_seed(&[1; 32])
}

fn relay() -> Identity {
    Identity::from_seed(&[2; 32])
}

fn terms<'a>(suite: Suite, context: &'a [u8], caps: &'a [u8]) -> Terms<'a> {
    Terms { suite, purpose: LINK, context, caps }
}

fn start(suite: Suite) -> (ExpectReply, Vec<u8>) {
    Initiator::start(&terms(suite, b"context", b"client"), &client(), relay().id()).expect("starts")
}

fn accept(suite: Suite, first: &[u8]) -> Result<(ExpectFinal, Vec<u8>), HandshakeError> {
    Responder::accept(&terms(suite, b"context", b"relay"), &relay(), first)
}

/// Both sides of a handshake that went well.
fn run(suite: Suite) -> (Established, Established) {
    let (initiator, first) = start(suite);
    let (responder, second) = accept(suite, &first).expect("accepts");
    let (third, ours) = initiator.finish(&second, b"parameters").expect("finishes");
    (ours, responder.finish(&third).expect("finishes"))
}

#[test]
fn both_sides_agree_on_everything() {
    for suite in Suite::ALL {
        let (mut ours, mut theirs) = run(suite);
        assert_eq!((ours.peer, theirs.peer), (relay().id(), client().id()));
        assert_eq!((ours.card, theirs.card), (relay().card(), client().card()));
        assert_eq!((ours.caps.as_slice(), theirs.caps.as_slice()), (&b"relay"[..], &b"client"[..]));
        assert_eq!((ours.payload.as_slice(), theirs.payload.as_slice()), (&b""[..], &b"parameters"[..]));
        assert_eq!(ours.handshake_hash, theirs.handshake_hash);
        assert_eq!(ours.export, theirs.export);
        let (from, to) = (&mut ours, &mut theirs);
        let (mut forth, mut back, mut out) = (Vec::new(), Vec::new(), [0; 5]);
        from.sealer.seal_into(b"forth", &mut forth).expect("fits");
        to.sealer.seal_into(b"back!", &mut back).expect("fits");
        assert_eq!(to.opener.open(&forth, &mut out), Ok(5));
        assert_eq!(&out, b"forth");
        assert_eq!(from.opener.open(&back, &mut out), Ok(5));
        assert_eq!(&out, b"back!");
    }
}

#[test]
fn every_handshake_has_its_own_secrets() {
    let (one, two) = (run(Suite::AesGcm).0, run(Suite::AesGcm).0);
    assert_ne!(one.handshake_hash, two.handshake_hash);
    assert_ne!(one.export, two.export);
    assert_ne!(*one.export, one.handshake_hash);
}

#[test]
fn one_key_may_talk_to_itself_in_two_processes() {
    let me = client();
    let terms = terms(Suite::AesGcm, b"", b"");
    let (initiator, first) = Initiator::start(&terms, &me, me.id()).expect("starts");
    let (responder, second) = Responder::accept(&terms, &me, &first).expect("accepts");
    let (third, ours) = initiator.finish(&second, b"").expect("finishes");
    assert_eq!(responder.finish(&third).expect("finishes").export, ours.export);
}

#[test]
fn an_answer_is_never_longer_than_the_question() {
    let caps = [1; CAPS_MAX];
    for suite in Suite::ALL {
        let (me, peer) = (client(), relay());
        for ours in [&caps[..], b""] {
            let (_, first) = Initiator::start(&terms(suite, b"", ours), &me, peer.id()).expect("starts");
            assert_eq!(first.len(), MESSAGE_1_BYTES);
            let (_, second) = Responder::accept(&terms(suite, b"", &caps), &peer, &first).expect("accepts");
            assert_eq!(second.len(), MESSAGE_2_MAX);
            assert!(second.len() <= first.len());
        }
    }
}

#[test]
fn what_the_caller_provides_has_caps() {
    let (me, peer) = (client(), relay());
    let long = [0; CAPS_MAX + 1];
    let error = Initiator::start(&terms(Suite::AesGcm, b"", &long), &me, peer.id()).err();
    assert_eq!(error, Some(HandshakeError::TooLong(Part::Caps)));
    let context = vec![0; 65_536];
    let error = Initiator::start(&terms(Suite::AesGcm, &context, b""), &me, peer.id()).err();
    assert_eq!(error, Some(HandshakeError::TooLong(Part::Context)));
    let finish = |len: usize| {
        let (initiator, first) = start(Suite::AesGcm);
        let (responder, second) = accept(Suite::AesGcm, &first).expect("accepts");
        let (third, _) = initiator.finish(&second, &vec![7; len])?;
        assert!(third.len() <= HANDSHAKE_MESSAGE_MAX);
        responder.finish(&third).map(|established| established.payload.len())
    };
    assert_eq!(finish(PAYLOAD_MAX), Ok(PAYLOAD_MAX));
    assert_eq!(finish(PAYLOAD_MAX + 1), Err(HandshakeError::TooLong(Part::Payload)));
}

#[test]
fn another_suite_purpose_context_or_peer_fails_in_message_1() {
    let (_, first) = start(Suite::AesGcm);
    let accept = |suite, purpose, identity: &Identity, context: &[u8]| {
        Responder::accept(&Terms { purpose, ..terms(suite, context, b"") }, identity, &first).err()
    };
    assert_eq!(accept(Suite::AesGcm, LINK, &relay(), b"context"), None);
    assert_eq!(accept(Suite::ChaChaPoly, LINK, &relay(), b"context"), UNAUTHENTIC);
    assert_eq!(accept(Suite::AesGcm, Purpose::Session, &relay(), b"context"), UNAUTHENTIC);
    assert_eq!(accept(Suite::AesGcm, LINK, &relay(), b"contexu"), UNAUTHENTIC);
    assert_eq!(accept(Suite::AesGcm, LINK, &client(), b"context"), UNAUTHENTIC);
    assert_eq!(accept(Suite::AesGcm, LINK, &Identity::from_seed(&[3; 32]), b"context"), UNAUTHENTIC);
}

/// A peer that claims another's id in the prologue, and has its own card.
#[test]
fn a_responder_with_another_identity_is_refused() {
    let (me, expected, liar) = (client(), relay(), Identity::from_seed(&[3; 32]));
    let prologue = prologue(Suite::AesGcm, LINK, &expected.id(), b"").expect("short");
    let (initiator, first) = Initiator::start(&terms(Suite::AesGcm, b"", b""), &me, expected.id()).expect("starts");
    let bound = Bound { suite: Suite::AesGcm, prologue: &prologue, caps: b"" };
    let (_, second) = accept_with(&System, bound, &liar, &first).expect("accepts");
    assert_eq!(initiator.finish(&second, b"").err(), UNAUTHENTIC);
}

/// Two cards swapped, or a card whose key is not the one that Noise authenticated.
#[test]
fn a_card_for_another_key_is_refused() {
    let (suite, me, peer) = (Suite::AesGcm, client(), relay());
    let hand = |card: [u8; CARD_BYTES]| {
        let (mut initiator, first) = start(suite);
        let (responder, second) = accept(suite, &first).expect("accepts");
        initiator.own_card = card;
        let (third, _) = initiator.finish(&second, b"").expect("finishes");
        responder.finish(&third).err()
    };
    assert_eq!(hand(me.card().encode()), None);
    assert_eq!(hand(peer.card().encode()), UNAUTHENTIC);
    assert_eq!(hand(Identity::from_seed(&[3; 32]).card().encode()), UNAUTHENTIC);
    let mut bent = me.card();
    bent.x25519[0] ^= 1;
    assert_eq!(hand(bent.encode()), UNAUTHENTIC);
}

#[test]
fn a_psk_that_is_missing_zero_or_another_fails_in_message_3() {
    let suite = Suite::ChaChaPoly;
    type Spoil = fn(&mut ExpectFinal);
    let spoils: [Spoil; 3] = [
        |responder| responder.noise.set_psk(PSK_POSITION, &[0; 32]).expect("32 bytes"),
        |responder| {
            let (other, ..) = accept(Suite::ChaChaPoly, &start(Suite::ChaChaPoly).1).expect("accepts");
            let (ek, ct) = ([0; 32], [0; 32]);
            set_psk(&mut responder.noise, &other.shared, &ek, &ct).expect("32 bytes");
        },
        |responder| {
            let shared = responder.shared.clone();
            let (ek, ct) = ([0; 32], [0; 32]);
            set_psk(&mut responder.noise, &shared, &ek, &ct).expect("32 bytes");
        },
    ];
    for spoil in spoils {
        let (initiator, first) = start(suite);
        let (mut responder, second) = accept(suite, &first).expect("accepts");
        let (third, _) = initiator.finish(&second, b"").expect("finishes");
        spoil(&mut responder);
        assert_eq!(responder.finish(&third).err(), UNAUTHENTIC);
    }
}

#[test]
fn a_responder_without_a_psk_fails_in_message_3() {
    let (suite, peer) = (Suite::ChaChaPoly, relay());
    let prologue = prologue(suite, LINK, &peer.id(), b"context").expect("short");
    let mut without = builder(&System, suite, &peer, &prologue)
        .and_then(|builder| builder.build_responder().map_err(opaque))
        .expect("builds");
    let (initiator, first) = start(suite);
    let hello = read(&mut without, &first).expect("reads");
    let ek = Hello::decode(&hello).expect("own bytes").ek;
    let (ct, _) = System.encapsulate(ek).expect("a good key");
    let reply = Reply { ct: &ct, card: &peer.card().encode(), caps: b"" }.encode().expect("short");
    let second = write(&mut without, &reply).expect("writes");
    let (third, _) = initiator.finish(&second, b"").expect("finishes");
    assert_eq!(read(&mut without, &third).err(), UNAUTHENTIC);
}

/// Calls `attempt` with the message cut at every length, and with one bit of every byte flipped.
fn damaged(message: &[u8], attempt: impl Fn(&[u8]) -> Option<HandshakeError>) {
    for len in 0..message.len() {
        assert_eq!(attempt(&message[..len]), UNAUTHENTIC, "cut to {len}");
    }
    for at in 0..message.len() {
        let mut bent = message.to_vec();
        bent[at] ^= 1 << (at % 8);
        assert_eq!(attempt(&bent), UNAUTHENTIC, "flipped in byte {at}");
    }
    let mut longer = message.to_vec();
    longer.push(0);
    assert_eq!(attempt(&longer), UNAUTHENTIC, "one byte more");
}

#[test]
fn damage_anywhere_in_message_1_is_unauthentic() {
    for suite in Suite::ALL {
        damaged(&start(suite).1, |message| accept(suite, message).err());
    }
}

#[test]
fn damage_anywhere_in_message_2_is_unauthentic() {
    let suite = Suite::AesGcm;
    let (_, first) = start(suite);
    let (_, second) = accept(suite, &first).expect("accepts");
    // The state is consumed, so every attempt has its own handshake, and damages its own message 2 in the same way.
    damaged(&second, |shape| {
        let (initiator, first) = start(suite);
        let (_, mut message) = accept(suite, &first).expect("accepts");
        transplant(&second, shape, &mut message);
        initiator.finish(&message, b"").err()
    });
}

#[test]
fn damage_anywhere_in_message_3_is_unauthentic() {
    let suite = Suite::ChaChaPoly;
    let make = || {
        let (initiator, first) = start(suite);
        let (responder, second) = accept(suite, &first).expect("accepts");
        (responder, initiator.finish(&second, b"payload").expect("finishes").0)
    };
    let (_, third) = make();
    damaged(&third, |shape| {
        let (responder, mut message) = make();
        transplant(&third, shape, &mut message);
        responder.finish(&message).err()
    });
}

/// Does to `message` what was done to `original` to make it `shape`.
fn transplant(original: &[u8], shape: &[u8], message: &mut Vec<u8>) {
    message.resize(shape.len(), 0);
    for ((byte, before), after) in message.iter_mut().zip(original).zip(shape) {
        *byte ^= before ^ after;
    }
}

#[test]
fn messages_of_two_handshakes_do_not_mix() {
    let suite = Suite::AesGcm;
    let (first_a, first_b) = (start(suite), start(suite));
    let (_, second_b) = accept(suite, &first_b.1).expect("accepts");
    assert_eq!(first_a.0.finish(&second_b, b"").err(), UNAUTHENTIC);
}

#[test]
fn a_message_reflected_to_its_sender_is_unauthentic() {
    let me = client();
    let make = || Initiator::start(&terms(Suite::AesGcm, b"", b""), &me, me.id()).expect("starts");
    let (initiator, first) = make();
    assert_eq!(initiator.finish(&first, b"").err(), UNAUTHENTIC);
}

#[test]
fn a_low_order_key_is_unauthentic() {
    let (_, mut first) = start(Suite::AesGcm);
    first[..32].fill(0);
    assert_eq!(accept(Suite::AesGcm, &first).err(), UNAUTHENTIC);
}

/// Anybody can make a message 1 that opens; what it carries is still checked.
#[test]
fn an_opened_message_with_another_layout_is_malformed() {
    let (suite, me, peer) = (Suite::AesGcm, client(), relay());
    let prologue = prologue(suite, LINK, &peer.id(), b"context").expect("short");
    let (_, ek) = System.kem_key().expect("a key");
    let good = Hello { ek: &ek, caps: b"caps" }.encode().expect("short");
    let send = |payload: &[u8]| {
        let mut noise = builder(&System, suite, &me, &prologue)
            .and_then(|builder| builder.build_initiator().map_err(opaque))
            .expect("builds");
        accept(suite, &write(&mut noise, payload).expect("writes")).err()
    };
    assert_eq!(send(&good), None);
    // Another length is turned away before any work is done for it.
    assert_eq!(send(&good[..good.len() - 1]), UNAUTHENTIC);
    let mut padded = good.clone();
    *padded.last_mut().expect("not empty") = 1;
    assert_eq!(send(&padded), Some(HandshakeError::Malformed));
    let mut long_caps = good.clone();
    long_caps[1184..1186].copy_from_slice(&257_u16.to_le_bytes());
    assert_eq!(send(&long_caps), Some(HandshakeError::Malformed));
    let mut bad_key = good;
    bad_key[..1184].fill(0xff);
    assert_eq!(send(&bad_key), UNAUTHENTIC);
}

#[test]
fn a_channel_of_one_handshake_opens_nothing_of_another() {
    let ((mut ours, _), (_, mut theirs)) = (run(Suite::AesGcm), run(Suite::AesGcm));
    let mut sealed = Vec::new();
    ours.sealer.seal_into(b"hello", &mut sealed).expect("fits");
    assert_eq!(theirs.opener.open(&sealed, &mut [0; 5]), Err(OpenError::Unauthentic));
}

#[test]
fn secrets_are_not_shown() {
    let (ours, _) = run(Suite::AesGcm);
    let hex: String = ours.export.iter().map(|byte| format!("{byte:02x}")).collect();
    for secret in ["export", &hex] {
        assert!(!format!("{ours:?} {:?}", start(Suite::AesGcm).0).contains(secret), "{ours:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_pass(data in proptest::collection::vec(any::<u8>(), 0..1700)) {
        fuzz_handshake(&data);
    }
}
