//! Clients by carriers other than plain TCP.

use super::*;
use crate::carrier::{Target, testkit};

impl Client {
    pub(super) fn attach_by(mut carrier: Carrier, mut stream: TcpStream, seed: u8) -> Client {
        let identity = identity(seed);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut chunk = [0; 4096];
        while !carrier.is_open() {
            stream.write_all(&wrapped(&mut carrier, &[])).unwrap();
            let count = stream.read(&mut chunk).unwrap();
            assert_eq!(carrier.handle_wire(&mut chunk[..count]), 0);
        }
        let (mut dial, first) = Dial::new(&identity, Identity::from_seed(&RELAY_SEED).id()).unwrap();
        stream.write_all(&wrapped(&mut carrier, &first)).unwrap();
        let mut input = Vec::new();
        loop {
            let count = stream.read(&mut chunk).unwrap();
            assert!(count > 0, "closed in the handshake");
            let count = carrier.handle_wire(&mut chunk[..count]);
            input.extend_from_slice(&chunk[..count]);
            let mut out = Vec::new();
            match dial.handle_bytes(&input, &mut out).unwrap() {
                Err(more) => dial = more,
                Ok(admitted) => {
                    stream.write_all(&wrapped(&mut carrier, &out)).unwrap();
                    let input = input.split_off(admitted.used);
                    let (link, peer) = (admitted.link, identity.id());
                    return Client {
                        stream,
                        carrier,
                        link,
                        peer,
                        input,
                        circuit: 0,
                        credit: CIRCUIT_WINDOW_START,
                        sent: 0,
                    };
                }
            }
        }
    }

    pub(super) fn put(&mut self, out: &[u8]) {
        self.stream.write_all(&wrapped(&mut self.carrier, out)).unwrap();
    }
}

/// What goes out on this carrier of what a link says.
fn wrapped(carrier: &mut Carrier, link: &[u8]) -> Vec<u8> {
    testkit::write(carrier, link, usize::MAX)
}

#[test]
fn what_comes_together_with_the_close_of_a_websocket_is_used_however_much_work_it_is() {
    let relay = start(1, |_| {});
    let carrier = Carrier::websocket(&Target { host: "relay", port: 80, path: "", usual_port: 80 });
    let (mut caller, mut callee) = joined_by(carrier, relay.address, 1, 2);
    let bytes = numbered(8000);
    // So many frames have to wait for others to be read, all in one read with what follows them.
    let out: Vec<u8> = bytes.chunks(8).flat_map(|piece| caller.frame(piece)).collect();
    let mut wire = wrapped(&mut caller.carrier, &out);
    caller.carrier.close();
    wire.extend(wrapped(&mut caller.carrier, &[]));
    caller.stream.write_all(&wire).unwrap();
    let mut received = Vec::new();
    loop {
        match callee.next() {
            Seen::Data(_, bytes) => received.extend(bytes),
            Seen::Frame(Frame::Reset { .. }) => break,
            Seen::Frame(_) => {}
            Seen::Closed => panic!("closed"),
        }
    }
    assert!(received == bytes, "{} bytes", received.len());
    let heard = std::iter::from_fn(|| matches!(caller.next(), Seen::Frame(_)).then_some(()));
    assert!(heard.count() < 100, "then it is closed");
    assert!(caller.carrier.end().is_some(), "by a CLOSE");
}
