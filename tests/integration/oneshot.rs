//! Receivers and listeners that serve one caller: whoever comes at the same time is served by the next one, or hears that
//! he was not served.

use crate::harness::{Done, Input, Party, Running, Tool, World, exit};
use std::fs;

const CALLERS: usize = 3;
const ROUNDS: usize = 3;

fn is_waiting(line: &str) -> bool {
    line.contains("waiting for")
}

fn text(n: usize) -> Vec<u8> {
    format!("text of caller {n}\n").into_bytes()
}

/// Lets callers come in one flight, serves them with one tool after another, and yields how the callers ended and what
/// each tool got that had one.
fn serve_all(caller: impl Fn(usize) -> Tool, server: impl Fn(usize) -> Tool) -> (Vec<Done>, Vec<Done>) {
    let mut callers: Vec<Running> = (0..CALLERS).map(|n| caller(n).spawn()).collect();
    callers.iter().for_each(|caller| drop(caller.wait_error_line_like("that it waits", is_waiting)));
    let mut served = Vec::new();
    for n in 0..CALLERS {
        if callers.iter_mut().any(Running::is_running) {
            served.push(server(n).run());
        }
    }
    (callers.into_iter().map(Running::wait).collect(), served)
}

/// Plays rounds between two parties that share a relay, each with a name of its own.
fn rounds(round: impl Fn(&World, &Party, &Party, &str)) {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    (0..ROUNDS).for_each(|n| round(&world, &east, &west, &format!("round{n}")));
}

/// A sender or a dialler of this name, with its text and the patience for all others to be served first.
fn caller(tool: Tool, name: &str, n: usize) -> Tool {
    tool.args([&format!("west:{name}"), "--timeout", "20s", "-v"]).input(Input::Bytes(text(n)))
}

/// How they ended.
fn summary(ends: &[Done]) -> String {
    ends.iter().map(Done::to_string).collect()
}

fn sorted(mut texts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    texts.sort();
    texts
}

/// What the tools got is what those callers sent that were told of success.
fn assert_whoever_was_served_knows((ends, served): (Vec<Done>, Vec<Done>)) {
    let told = ends.iter().enumerate().filter(|(_, end)| end.code() == Some(exit::DONE)).map(|(n, _)| text(n));
    let got = served.into_iter().map(|done| done.stdout).filter(|got| !got.is_empty());
    assert_eq!(sorted(got.collect()), told.collect::<Vec<_>>(), "{}", summary(&ends));
}

#[test]
fn a_receiver_of_one_stream_takes_one_and_tells_no_other_sender_that_all_is_well() {
    rounds(|_, east, west, name| {
        let recv = |_| west.recv().args([name, "--timeout", "2s"]);
        assert_whoever_was_served_knows(serve_all(|n| caller(east.send().arg("-"), name, n), recv));
    });
}

#[test]
fn a_listener_of_one_caller_serves_one_and_tells_no_other_that_all_is_well() {
    rounds(|_, east, west, name| {
        let listen = |_| west.attach().args(["--listen", name, "--timeout", "2s"]).input(Input::Bytes(Vec::new()));
        assert_whoever_was_served_knows(serve_all(|n| caller(east.attach(), name, n), listen));
    });
}

#[test]
fn a_command_for_one_caller_runs_once() {
    rounds(|world, east, west, name| {
        let log = |n: usize| world.path(format!("{name}.log{n}"));
        let listen = |n| {
            let command = format!("cat >>{0}; echo ran >>{0}", log(n).display());
            west.attach().args(["--listen", name, "--timeout", "2s", "--exec", &command])
        };
        let (_, served) = serve_all(|n| caller(east.attach(), name, n), listen);
        for (n, _) in served.iter().enumerate().filter(|(_, done)| done.code() == Some(exit::DONE)) {
            let ran = fs::read_to_string(log(n)).unwrap();
            assert_eq!(ran.matches("ran\n").count(), 1, "{ran}");
        }
    });
}

/// A sender that is sent away because another one was served waits as one that was never answered.
#[test]
fn a_sender_that_was_not_served_keeps_its_deadline() {
    rounds(|world, east, west, name| {
        let inbox = world.dir("inbox");
        let send = |n: usize| {
            let file = world.write(&format!("{name}.{n}"), &String::from_utf8(text(n)).unwrap());
            east.send().arg(file).args([&format!("west:{name}"), "--timeout", "6s", "-v"])
        };
        let callers: Vec<Running> = (0..CALLERS).map(|n| send(n).spawn()).collect();
        callers.iter().for_each(|caller| drop(caller.wait_error_line_like("that it waits", is_waiting)));
        west.recv().arg(name).arg("-d").arg(&inbox).run().expect(exit::DONE);
        let ends: Vec<Done> = callers.into_iter().map(Running::wait).collect();
        let there = |n: &usize| inbox.join(format!("{name}.{n}")).exists();
        let done: Vec<usize> = (0..CALLERS).filter(|n| ends[*n].code() == Some(exit::DONE)).collect();
        assert_eq!((0..CALLERS).filter(there).collect::<Vec<_>>(), done, "{}", summary(&ends));
        assert_eq!(done.len(), 1, "{}", summary(&ends));
        let absent = ends.iter().filter(|end| end.code() == Some(exit::PEER_ABSENT)).count();
        assert_eq!(absent, CALLERS - 1, "{}", summary(&ends));
    });
}
