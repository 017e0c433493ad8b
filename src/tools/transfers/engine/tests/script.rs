//! A sender made by hand: says what a test tells it to.

use super::*;
use crate::tools::transfers::engine::receiving::Receiver;
use crate::transfer::Fact;
use crate::transfer::decoder::{Decoder, Piece};
use crate::transfer::encode::data_header;
use crate::transfer::item::{Kind, Mtime};
use crate::transfer::messages::*;
use std::time::Instant;

pub(super) const WHEN: Mtime = Mtime { seconds: 1, nanos: 2 };

pub(super) fn raw_path(names: &[&[u8]]) -> RawPath {
    let mut raw = vec![u8::try_from(names.len()).unwrap()];
    for name in names {
        raw.push(u8::try_from(name.len()).unwrap());
        raw.extend_from_slice(name);
    }
    RawPath(raw)
}

pub(super) fn entry(index: u32, kind: Kind, size: u64, names: &[&[u8]]) -> Offer {
    Offer::Entry(Entry { index, kind, mode: 0o755, mtime: WHEN, size: Some(size), path: raw_path(names) })
}

pub(super) fn hello(content: Content, name: &[u8]) -> Offer {
    Offer::Hello(Hello { version: VERSION, content, totals: None, name: name.to_vec() })
}

/// What the attacker sends.
pub(super) enum Say {
    Offer(Offer),
    Data(&'static [u8]),
    Bytes(Vec<u8>),
}

impl From<Offer> for Say {
    fn from(offer: Offer) -> Self {
        Self::Offer(offer)
    }
}

pub(super) fn encoded(script: impl IntoIterator<Item = Say>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for say in script {
        match say {
            Say::Offer(offer) => offer.encode(&mut bytes),
            Say::Data(data) => {
                bytes.extend_from_slice(&data_header(data.len()));
                bytes.extend_from_slice(data);
            }
            Say::Bytes(raw) => bytes.extend_from_slice(&raw),
        }
    }
    bytes
}

/// Plays a script, which need not care for answers, and returns them with the receiver's end.
pub(super) fn play(receive: ReceiveJob<'_>, script: impl IntoIterator<Item = Say>) -> (Vec<Answer>, Got) {
    let bytes = encoded(script);
    let (mut ours, mut theirs) = pair();
    thread::scope(|scope| {
        let attacker = scope.spawn(move || {
            let mut answers = Vec::new();
            let mut decoder = Decoder::<Answer>::default();
            for chunk in bytes.chunks(CHUNK_BYTES) {
                if ours.send(parcel(chunk)).is_err() {
                    break;
                }
            }
            ours.finish();
            while let Ok(Some(chunk)) = ours.recv() {
                let mut input = &chunk[..];
                while let Some(piece) = decoder.next(&mut input).unwrap() {
                    match piece {
                        Piece::Message(answer) => answers.push(answer),
                        _ => panic!("content from a receiver"),
                    }
                }
            }
            answers
        });
        let got = receive.run(&mut theirs, &mut ());
        drop(theirs);
        (attacker.join().unwrap(), got)
    })
}

/// Plays a script of files after the greeting.
pub(super) fn play_files(inbox: &Path, script: Vec<Say>) -> (Vec<Answer>, Got) {
    play(into(inbox), std::iter::once(hello(Content::Files, b"").into()).chain(script))
}

/// The sender says this.
pub(super) fn tell(receiver: &mut Receiver<'_, '_>, offer: Offer) {
    tell_bytes(receiver, &encoded([offer.into()]));
}

/// The sender says all these bytes.
pub(super) fn tell_bytes(receiver: &mut Receiver<'_, '_>, bytes: &[u8]) {
    let mut input = bytes;
    while let Some(fact) = receiver.items.reception.next(&mut input).unwrap() {
        let end = bytes.len() - input.len();
        match fact {
            Fact::Data(length) => receiver.content(&bytes[end - length..end]),
            fact => receiver.handle(fact, Instant::now()),
        }
    }
}

/// What it was told so far.
pub(super) fn told(receiver: &mut Receiver<'_, '_>) -> Vec<Answer> {
    let bytes = std::mem::take(receiver.items.reception.answers());
    let (mut decoder, mut input, mut answers) = (Decoder::default(), &bytes[..], Vec::new());
    while let Some(Piece::Message(answer)) = decoder.next(&mut input).unwrap() {
        answers.push(answer);
    }
    answers
}
