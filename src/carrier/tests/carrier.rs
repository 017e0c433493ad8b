//! Whatever the carrier is: who finds out which, and that plain bytes stay as they are.

use super::*;

#[test]
fn whoever_connects_is_carried_as_the_first_byte_says() {
    for (bytes, is_plain) in [(&b"vp\x01\x01"[..], true), (b"\x16\x03\x01", true), (b"\0", true), (b"GET / HT", false)]
    {
        for step in [1, bytes.len()] {
            let mut carrier = Carrier::undecided(Visitor::default());
            assert_eq!(carrier.handle_wire(&mut []), 0);
            let came: usize = bytes.chunks(step).map(|piece| carrier.handle_wire(&mut piece.to_vec())).sum();
            assert_eq!((came, carrier.is_plain()), (if is_plain { bytes.len() } else { 0 }, is_plain));
            assert_eq!((carrier.is_open(), carrier.end(), carrier.has_own()), (is_plain, None, false));
        }
    }
}

#[test]
fn plain_bytes_go_as_they_are() {
    let mut carrier = Carrier::plain();
    let link = [IoSlice::new(b"one"), IoSlice::new(b"two")];
    let mut wire = [IoSlice::new(&[]); 3];
    assert_eq!(carrier.wrap(&link, &mut wire), 2);
    assert_eq!([&*wire[0], &*wire[1]], [b"one", b"two"]);
    assert_eq!(carrier.handle_written(4), 4);
    carrier.close();
    assert!(!carrier.has_own());
}

#[test]
fn two_ends_find_each_other_by_a_websocket() {
    let mut there = Carrier::undecided(Visitor::default());
    let mut here = Carrier::websocket(&Target { host: "localhost", port: 80, path: "/vp", usual_port: 80 });
    let carry = |from: &mut Carrier, to: &mut Carrier, link: &[u8]| {
        let shown = [IoSlice::new(link)];
        let mut wire = [IoSlice::new(&[]); 1 + OWN_SLICES];
        let used = from.wrap(&shown, &mut wire);
        let mut bytes: Vec<u8> = wire[..used].iter().flat_map(|slice| slice.to_vec()).collect();
        let taken = from.handle_written(bytes.len());
        let kept = to.handle_wire(&mut bytes);
        bytes.truncate(kept);
        (taken, bytes)
    };
    assert!(!here.is_open() && here.has_own());
    assert_eq!(carry(&mut here, &mut there, b""), (0, vec![]));
    assert_eq!(carry(&mut there, &mut here, b""), (0, vec![]));
    assert!(here.is_open() && there.is_open());
    assert_eq!(carry(&mut here, &mut there, b"there"), (5, b"there".to_vec()));
    assert_eq!(carry(&mut there, &mut here, b"back"), (4, b"back".to_vec()));
    here.close();
    carry(&mut here, &mut there, b"");
    assert_eq!((there.end(), there.has_own()), (Some(End::Closed), true));
    carry(&mut there, &mut here, b"");
    assert_eq!(here.end(), Some(End::Closed));
}
