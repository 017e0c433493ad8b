//! Both ends of a link by requests, with bytes of whoever is there.

use super::{ClientEnd, Lack, Line, RelayEnd};
use crate::carrier::{Carrier, OWN_SLICES, Target, Visitor, What};
use std::io::IoSlice;
use std::time::Instant;

/// Fuzz entry: operations at a relay's end. Each is a byte that says on which connection, one that says how much, and so many bytes that
/// come there; of nothing, the connection ends.
pub fn fuzz_requests(data: &[u8]) {
    let begin = b"GET /?vp1=000102030405060708090a0b0c0d0e0f.d.0 HTTP/1.1\r\nHost: relay\r\n\r\n";
    let fresh = |key: u8, words: &[u8]| {
        let mut carrier = Carrier::undecided(Visitor::default());
        // Whatever it is: what is no request of a link is left aside below.
        carrier.handle_wire(&mut words.to_vec());
        Line { key, socket: (), carrier }
    };
    let line = fresh(0, begin);
    let Some(first) = line.carrier.asked().copied().filter(|asked| asked.what == What::Down(0)) else { return };
    let mut relay = RelayEnd::new(line, first.carrier);
    let (mut rest, mut came, mut passed, mut room) = (data, 0, 0, vec![0; 1 << 17]);
    while let Some(([key, count], behind)) = rest.split_first_chunk::<2>() {
        let (piece, behind) = behind.split_at(usize::from(*count).min(behind.len()));
        (rest, came) = (behind, came + piece.len());
        if *key >= 128 {
            relay.welcome();
        }
        let key = key % 8;
        if piece.is_empty() {
            relay.handle_end(key);
        } else if relay.may_read(key) {
            passed += relay.handle_wire(key, &mut piece.to_vec());
        } else if relay.line_mut(key).is_none() {
            let line = fresh(key, piece);
            if line.carrier.asked().is_some_and(|asked| asked.carrier == first.carrier) {
                let _ = relay.join(line);
            }
        }
        while let Some(key) = relay.held() {
            passed += relay.take_held(key, &mut room);
        }
        while relay.take_leaver().is_some() {}
        let keys: Vec<u8> = relay.lines().map(|line| line.key).collect();
        for key in keys {
            let shown = [IoSlice::new(b"what a link shows")];
            let link = if relay.answering() == Some(key) { &shown[..] } else { &[] };
            let Some(line) = relay.line_mut(key) else { continue };
            let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
            let used = line.carrier.wrap(link, &mut wire);
            let count: usize = wire[..used].iter().map(|slice| slice.len()).sum();
            assert!(relay.handle_written(key, count) <= shown[0].len());
        }
        assert!(passed <= came, "more is passed on than came");
    }
}

/// Fuzz entry: any bytes as the answer to a client's first request, in one piece and in others. The first byte says how they are cut.
pub fn fuzz_asking(data: &[u8]) {
    let Some((step, data)) = data.split_first() else { return };
    let now = Instant::now();
    let feed = |step: usize| {
        let mut client = ClientEnd::new(now, &Target { host: "relay", port: 80, path: "", usual_port: 80 });
        client.add(now, Line { key: 0, socket: (), carrier: Carrier::asking() });
        assert_eq!(client.ask_down(now), Lack::Nothing);
        if let Some(line) = client.line_mut(0) {
            let mut wire = [IoSlice::new(&[]); 2];
            let used = line.carrier.wrap(&[], &mut wire);
            let count: usize = wire[..used].iter().map(|slice| slice.len()).sum();
            assert_eq!(client.handle_written(0, count), 0);
        }
        let mut content = Vec::new();
        for piece in data.chunks(step) {
            let mut wire = piece.to_vec();
            let count = client.handle_wire(now, 0, &mut wire);
            content.extend_from_slice(&wire[..count]);
        }
        (content, client.is_open(), client.end())
    };
    let whole = feed(data.len().max(1));
    assert_eq!(feed(usize::from(*step).max(1)), whole);
    assert!(whole.0.len() <= data.len());
}
