//! A reset is a reset, wherever it comes: of an application's connection in the middle of bytes, it reaches the other one, who
//! never takes it for an end; of the programs' own connections, no application sees it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use crate::harness::ports::{Mapping, Target, connect, expect_end, is_reset, reset};
use crate::harness::{Random, World, scale};

/// Bytes that either side would send if nobody broke off.
const ALL: usize = 8 << 20;

/// What became of reading from a connection that is broken off.
struct Heard {
    bytes: usize,
    /// It looked like an end.
    ended: bool,
}

/// Reads until it is over. All of it must be what the other side said, from its start.
fn pull(mut stream: &TcpStream, expected: &[u8]) -> Heard {
    let (mut bytes, mut piece) = (0, vec![0; 64 << 10]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Heard { bytes, ended: true },
            Ok(count) => {
                assert!(expected[bytes..].starts_with(&piece[..count]), "other bytes behind {bytes}");
                bytes += count;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert!(is_reset(&error), "neither an end nor a reset behind {bytes} bytes: {error}");
                return Heard { bytes, ended: false };
            }
        }
    }
}

/// Writes until it is over. Whether it was broken off.
fn push(mut stream: &TcpStream, bytes: &[u8]) -> bool {
    let result = stream.write_all(bytes);
    assert!(result.as_ref().err().is_none_or(is_reset), "{result:?}");
    result.is_err()
}

/// What the two ends of a connection do until one of them breaks off.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// Whether the one that breaks off says something; so many bytes before that.
    says: bool,
    /// The same of what it hears.
    hears: bool,
    point: usize,
}

/// One end breaks off in the middle. What the other one said and heard is right, and it is not told of an end.
fn break_off(case: Case, breaks: TcpStream, stays: &TcpStream, [said, heard]: [&[u8]; 2]) {
    thread::scope(|scope| {
        let pushing = case.hears.then(|| scope.spawn(|| push(stays, heard)));
        let pulling = scope.spawn(|| pull(stays, said));
        let speaking = case.says.then(|| {
            let mut stream = breaks.try_clone().expect("a descriptor");
            scope.spawn(move || stream.write_all(&said[..case.point]).expect("it flows"))
        });
        if case.hears {
            let mut some = vec![0; case.point];
            (&breaks).read_exact(&mut some).expect("it flows");
            assert!(some == heard[..case.point], "{case:?}: other bytes");
        }
        speaking.into_iter().for_each(|thread| thread.join().expect("it flows"));
        reset(breaks);
        let broken = pushing.map(|thread| thread.join().expect("it is broken off"));
        let Heard { bytes, ended } = pulling.join().expect("it is broken off");
        assert!(bytes <= case.point, "{case:?}: {bytes} bytes");
        // The kernel tells of a reset once: whoever writes at that time may be the one who hears of it.
        assert!(!ended || broken == Some(true), "{case:?}: an end behind {bytes} bytes");
    });
}

#[test]
fn a_reset_at_any_byte_of_an_applications_connection_is_no_end_for_the_other_one() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let mapping = Mapping::start(&relay, target.at);
    let (said, heard) = (Random::bytes(1, ALL), Random::bytes(2, ALL));
    let points = 20 * usize::try_from(scale()).expect("a few");
    for n in 0..points {
        // Closer and closer to the start; among them no byte at all.
        let point = (ALL / 4 / (1 + n * n)) * usize::from(n + 1 < points);
        for (says, hears) in [(true, false), (false, true), (true, true)] {
            for from_here in [true, false] {
                let here = connect(mapping.at);
                let there = target.next();
                let (breaks, stays) = if from_here { (here, there) } else { (there, here) };
                break_off(Case { says, hears, point }, breaks, &stays, [&said, &heard]);
            }
        }
    }
}

/// Only one direction is left then, and its reader has nothing to write by which it could hear of it.
#[test]
fn a_reset_behind_the_end_of_the_other_direction_is_no_end() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::kept();
    let mapping = Mapping::start(&relay, target.at);
    let said = Random::bytes(3, ALL);
    for point in [0, 1, 70_000, ALL / 4] {
        for from_here in [true, false] {
            let here = connect(mapping.at);
            let there = target.next();
            let (breaks, stays) = if from_here { (here, there) } else { (there, here) };
            (&stays).write_all(b"a question").expect("it flows");
            stays.shutdown(Shutdown::Write).expect("half-closed");
            expect_end(&breaks, b"a question");
            thread::scope(|scope| {
                let pulling = scope.spawn(|| pull(&stays, &said));
                (&breaks).write_all(&said[..point]).expect("it flows");
                reset(breaks);
                let Heard { bytes, ended } = pulling.join().expect("it is broken off");
                assert!(!ended && bytes <= point, "an end behind {bytes} bytes of {point}");
            });
        }
    }
}
