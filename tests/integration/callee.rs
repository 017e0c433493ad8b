//! What one admitted peer can take from another at a callee that serves both: it may hold what it holds, and the other is
//! served all the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use vp::identity::PeerId;
use vp::link::Frame;
use vp::node::{Callers, Event, Kind};
use vp::session::Event as SessionEvent;
use vp::wire::limits::HANDSHAKE_DEADLINE;
use vp::wire::{CloseCode, Control};

use crate::harness::crowd::{Client, Crowd};
use crate::harness::hostile::{Heard, Raw, identity};
use crate::harness::{AtEnd, DEADLINE, Input, Party, Relay, Running, World, exit};

/// A world in which a third party, `shop`, is known to everybody, too.
fn world() -> World {
    world_with(&["shop"])
}

/// The same with these parties.
fn world_with(more: &[&str]) -> World {
    let world = World::new();
    for name in more {
        world.keygen().arg("-o").arg(world.key(name)).run().expect(exit::DONE);
    }
    let names = ["east", "west"].iter().chain(more);
    let ids: Vec<String> = names.map(|name| format!("{name} {}\n", world.id(name))).collect();
    world.write("peers", &ids.concat());
    world
}

/// A receiver of west that serves everybody.
fn receiver(world: &World, west: &Party<'_>) -> Running {
    west.waiting(west.recv().args(["x", "--keep", "-d"]).arg(world.dir("in")))
}

/// The honest party sends something, which takes no longer than this.
fn send(relay: &Relay<'_>, patience: &str) {
    let shop = relay.party("shop");
    let send = shop.send().args(["-", "west:x", "--name", "proof", "--timeout", patience]);
    send.input(Input::Random { seed: 3, bytes: 10_000 }).run().expect(exit::DONE).expect_silence();
}

/// More calls than one peer may have under way.
const CALLS: usize = 600;

/// So many that have not come in may one peer have with a callee.
const ENTERING: u64 = 64;

/// Calls whose last message never comes are taken, up to a bound, and let go of in time.
#[test]
fn a_peer_that_calls_and_never_says_who_it_is_keeps_nobody_out_and_is_forgotten() {
    let world = world();
    let relay = world.relay();
    let west = receiver(&world, &relay.party("west"));
    let callee = identity(&world, "west").id();
    // A link may have only so many calls that wait for an answer.
    let mut links: Vec<Raw> = (0..CALLS / 60).map(|_| Raw::attach(&relay, "east")).collect();
    let (mut taken, since) = (0, Instant::now());
    for link in &mut links {
        (0..60).for_each(|_| drop(link.call(callee, "x", u32::MAX)));
        link.settle();
        // The relay has brought all of them to west by now; of its answers those that came are counted.
        while let Heard::Frame(frame) = link.hear(Duration::from_millis(200)) {
            taken += u64::from(matches!(frame, Frame::Control(Control::Opened { .. })));
        }
    }
    // Where all that took long, the first ones have been let go of, and as many again are taken.
    let periods = 1 + since.elapsed().as_secs() / HANDSHAKE_DEADLINE.as_secs();
    assert!((1..=periods * ENTERING).contains(&taken), "{taken} calls were taken in {periods} periods");
    send(&relay, "30s");
    let limit = CloseCode::Limit.to_wire();
    let is_let_go = |heard: &Heard| matches!(heard, Heard::Frame(Frame::Reset { code, .. }) if *code == limit);
    links[0].wait_awake("the end of a call", |heard| is_let_go(heard).then_some(()));
    assert_eq!(west.error_text().lines().count(), 1, "{}", west.error_text());
}

/// For so long a peer calls as fast as it can.
const FLOOD: Duration = Duration::from_secs(2);
/// What may be said of that, bytes: some lines.
const SAID_MAX: usize = 4096;
/// The same at a relay that tells of each link: so many lines about a peer a minute, and their like.
const SAID_IN_DETAIL_MAX: usize = 1 << 17;

/// And so often at least, which would be as many lines and more bytes than may be said.
const FLOOD_CALLS: usize = 400;

/// Calls these applications again and again, for as long as the flood lasts. Yields how often.
fn flood(raw: &mut Raw, callee: PeerId, apps: &[&str]) -> usize {
    let until = Instant::now() + FLOOD;
    let mut calls = 0;
    while Instant::now() < until || calls < FLOOD_CALLS {
        let circuits: Vec<u32> = (0..20).map(|n| raw.call(callee, apps[n % apps.len()], u32::MAX).0).collect();
        calls += circuits.len();
        raw.settle();
        circuits.into_iter().for_each(|circuit| raw.reset(circuit, CloseCode::Cancelled.to_wire()));
        raw.settle();
    }
    calls
}

/// The peer is admitted at the relay, and nobody serves it.
#[test]
fn a_peer_that_is_turned_away_again_and_again_fills_no_log() {
    for json in [&[][..], &["--json"]] {
        let world = world();
        let relay = Relay::start(&world, &["--allow", "peers", "-v"]);
        let west = relay.party("west");
        let recv = west.recv().args(["a", "--keep", "--from", "shop", "-d"]).arg(world.dir("in"));
        let attach = west.attach().args(["--listen", "b", "--keep", "--from", "shop", "--exec", "cat"]);
        let export = west.portrep().args(["--export", "c=127.0.0.1:1", "--allow", "shop"]);
        let tools = [west.waiting(recv.args(json)), west.waiting(attach.args(json)), export.args(json).spawn()];
        tools[2].wait_line("serving c");
        let mut raw = Raw::attach(&relay, "east");
        let calls = flood(&mut raw, identity(&world, "west").id(), &["a", "b", "c"]);
        for tool in &tools {
            let word = if json.is_empty() { "turned away" } else { "turned-away" };
            tool.wait_error_line_like(word, |line| line.contains(word));
            let said = tool.error_text();
            assert!(said.len() <= SAID_MAX, "{} bytes for {calls} calls\n{said}", said.len());
        }
        let said = relay.process().error_text();
        assert!(said.len() <= SAID_IN_DETAIL_MAX, "{} bytes for {calls} calls", said.len());
    }
}

/// So many sessions a receiver works for at once.
const SESSIONS: usize = 64;

/// Sessions that have begun and whose process is killed do not hold every place, nor do those that are alive.
#[test]
fn a_peer_that_begins_all_the_transfers_it_can_leaves_places_to_others() {
    let world = world();
    let relay = world.relay();
    let _west = receiver(&world, &relay.party("west"));
    let to = (identity(&world, "west").id(), "x");
    let mut crowd = Crowd::call(&relay, identity(&world, "east"), to, SESSIONS);
    crowd.drive(SESSIONS, Duration::from_secs(3));
    assert!((1..=SESSIONS / 2).contains(&crowd.served), "{} are served", crowd.served);
    send(&relay, "30s");
    drop(crowd);
    send(&relay, "30s");
}

/// Standard output is for one transfer at a time.
#[test]
fn whoever_waits_for_the_only_place_keeps_its_timeout_and_gets_the_place_of_one_that_is_gone() {
    let world = world();
    let relay = world.relay();
    let party = relay.party("west");
    let west = party.waiting(party.recv().args(["x", "--keep", "--exec", "cat", "-v"]));
    let to = (identity(&world, "west").id(), "x");
    let mut crowd = Crowd::call(&relay, identity(&world, "east"), to, 1);
    crowd.drive(1, DEADLINE);
    assert_eq!(crowd.served, 1);
    drop(crowd);
    west.wait_error_line_like("the loss", |line| line.contains("lost the path to east"));
    let shop = relay.party("shop");
    let send = |patience| {
        let send = shop.send().args(["-", "west:x", "--timeout", patience]);
        send.input(Input::Random { seed: 4, bytes: 1000 }).run()
    };
    let done = send("3s").expect(exit::PEER_ABSENT).expect_error("had others to serve");
    // A turn at the relay takes 10 s: it does not wait for that to end.
    assert!(done.took < Duration::from_secs(10), "took {:?}", done.took);
    send("60s").expect(exit::DONE);
    west.wait_error_line_like("who is gone", |line| line.contains("its place went to another that waited"));
    assert!(west.kill().expect_random(4, 1000).took < 2 * DEADLINE);
}

/// As many peers as it takes to have all places: seven of those of `vp-recv`, nine of those of `vp-attach`.
const BAND: [&str; 9] = ["east", "a", "b", "c", "d", "e", "f", "g", "h"];
/// A session of which nothing comes has its place for so long at least.
const PATIENCE: Duration = Duration::from_secs(60);

/// They begin, keep their links alive, and send nothing. Nobody waits long for that.
#[test]
fn sessions_of_which_nothing_comes_give_way_to_whoever_waits() {
    let world = world_with(&[&["shop"], &BAND[1..]].concat());
    let relay = world.relay();
    let west = relay.party("west");
    let patience = ["--keep", "--resume-timeout", "1s"];
    let many = west.waiting(west.recv().arg("x").args(patience).arg("-d").arg(world.dir("in")));
    let one = west.waiting(west.recv().arg("y").args(patience).args(["--exec", "cat"]));
    let callee = identity(&world, "west").id();
    let (stop, mut served) = (AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        let end = AtEnd(|| stop.store(true, Ordering::Relaxed));
        for (name, app) in [("east", "y")].into_iter().chain(BAND[..7].iter().map(|name| (*name, "x"))) {
            let mut crowd = Crowd::call(&relay, identity(&world, name), (callee, app), SESSIONS);
            crowd.drive(SESSIONS, Duration::from_secs(1));
            served.push(crowd.served);
            let stop = &stop;
            scope.spawn(move || crowd.idle(stop));
        }
        let since = Instant::now();
        let shop = relay.party("shop");
        let send = |to: &str| shop.send().args(["-", to, "--name", "proof", "--timeout", "300s"]).spawn();
        let done = ["west:x", "west:y"].map(send).map(Running::wait);
        drop(end);
        assert_eq!((served[0], served[1..].iter().sum::<usize>()), (1, SESSIONS), "{served:?}");
        done.into_iter().for_each(|done| drop(done.expect(exit::DONE)));
        assert!(since.elapsed() > PATIENCE / 2, "they had their places for {:?}", since.elapsed());
    });
    for receiver in [many, one] {
        receiver.wait_error_line_like("who gave way", |line| line.contains("its place went to another that waited"));
    }
}

/// The receiver has others to serve, and ends the session by LIMIT.
#[test]
fn a_sender_whose_place_went_to_another_comes_again_with_files_and_says_so_of_a_stream() {
    let world = world();
    let relay = world.relay();
    world.write("file", "content");
    let sends = |what: &str| relay.party("east").send().args([what, "west:x"]).input(Input::Held).spawn();
    let turn_out = |send: &Running| {
        let east = vec![world.id("east").parse().expect("an id")];
        let mut receiver = Client::new(&relay, identity(&world, "west"), Kind::Transfer, Callers::Only(east));
        receiver.node.listen("x".parse().expect("a name"));
        let (mut called, until) = (None, Instant::now() + DEADLINE);
        while called.is_none_or(|key| receiver.node.knows(key)) {
            assert!(Instant::now() < until, "{send}");
            for event in receiver.turn().1 {
                if let Event::Up { key, .. } = event {
                    called = Some(key);
                }
            }
            let Some(session) = called.and_then(|key| receiver.node.session(key)) else { continue };
            if let Some(SessionEvent::StreamOpened { id, .. }) = session.poll_event() {
                session.stream_mut(id).accept();
                session.close(CloseCode::Limit);
                receiver.node.release(Instant::now(), called.expect("a session"));
            }
        }
    };
    let file = sends("file");
    turn_out(&file);
    // Or it would depend on who is quicker whether there is anybody when it calls again.
    let left = "vp-send: warning: west:x: the receiver has left; waiting for it to come back";
    file.wait_error_line(left);
    let west = relay.party("west");
    let recv = west.waiting(west.recv().arg("x"));
    let file = file.wait().expect(exit::DONE);
    assert_eq!(file.stderr.lines().collect::<Vec<_>>(), [left], "{file}");
    recv.wait().expect(exit::DONE).expect_output(b"content");
    let stream = sends("-");
    turn_out(&stream);
    stream.wait().expect(exit::PEER_ABSENT).expect_error("gave our place to another");
}

/// So many sessions `vp-attach --keep` has at once.
const JOINED: usize = 256;

#[test]
fn sessions_without_a_path_give_way_to_whoever_waits_for_a_place_at_a_listener_that_goes_on() {
    let world = world_with(&[&["shop"], &BAND[1..]].concat());
    let relay = world.relay();
    let party = relay.party("west");
    let west = party.waiting(party.attach().args(["--listen", "x", "--keep", "--exec", "cat"]));
    let to = (identity(&world, "west").id(), "x");
    let (stop, mut served) = (AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        let _end = AtEnd(|| stop.store(true, Ordering::Relaxed));
        for name in BAND {
            let client = Client::new(&relay, identity(&world, name), Kind::Pipe, Callers::Nobody);
            let mut crowd = Crowd::by(client, to, JOINED);
            crowd.drive(JOINED, Duration::from_secs(5));
            served.push(crowd.served);
            let stop = &stop;
            scope.spawn(move || crowd.idle(stop));
        }
    });
    assert_eq!(served.iter().sum::<usize>(), JOINED, "{served:?}");
    let dial = relay.party("shop").attach().args(["west:x", "--timeout", "120s"]).input(Input::Bytes(b"all".to_vec()));
    dial.run().expect(exit::DONE).expect_output(b"all");
    west.wait_error_line_like("who is gone", |line| line.contains("its place went to another that waited"));
}
