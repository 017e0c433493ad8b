//! What `--json` tells: one event for each item, each connection and the end, with the fields that vp-events(7) lists; and
//! what `-v` tells people of the same.

mod left_out;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::harness::data::digest;
use crate::harness::ports::{Mapping, Target, connect, expect_end};
use crate::harness::{Done, Input, Party, Random, Running, Signal, World, eventually, exit};

/// The page that says which events there are.
const PAGE: &str = include_str!("../../man/src/vp-events.roff");

/// The fields of each event, as the page lists them.
fn documented() -> BTreeMap<String, Vec<String>> {
    let (_, list) = PAGE.split_once(".SH EVENTS\n").expect("the list");
    let entries = list.split(".SH ").next().expect("it ends").split(".TP\n.B ").skip(1);
    let events = entries.map(|entry| {
        let (name, rest) = entry.split_once('\n').expect("a line of its own");
        let fields = rest.lines().next().and_then(|line| line.strip_prefix(".I ")).unwrap_or_default();
        let fields = ["time tool event", fields].join(" ").replace('\\', "");
        let mut fields: Vec<String> = fields.split_whitespace().map(str::to_owned).collect();
        fields.sort();
        (name.replace('\\', ""), fields)
    });
    events.collect()
}

/// Reads the events of a text, each of which must be as documented.
#[track_caller]
fn read(text: &str) -> Vec<Value> {
    let documented = documented();
    let mut events = Vec::new();
    // The ready line, for which the tests use the same descriptor, is no event.
    for line in text.lines().filter(|line| line.starts_with('{') || line.contains('"')) {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let name = event["event"].as_str().expect("a name");
        let mut fields: Vec<&str> = event.as_object().expect("an object").keys().map(String::as_str).collect();
        fields.sort();
        assert_eq!(Some(fields), documented.get(name).map(|f| f.iter().map(String::as_str).collect()), "{line}");
        let time = event["time"].as_str().expect("a time");
        assert!(humantime::parse_rfc3339(time).is_ok() && time.ends_with('Z'), "{line}");
        events.push(event);
    }
    events
}

/// Those of this name.
fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

/// The last one, which must be the only one that says so.
#[track_caller]
fn end(events: &[Value]) -> &Value {
    assert_eq!(named(events, "end").len(), 1, "{events:#?}");
    let last = events.last().expect("an event");
    assert_eq!(last["event"], "end", "{events:#?}");
    last
}

#[track_caller]
fn events_of(done: &Done) -> Vec<Value> {
    read(&done.stderr)
}

/// Waits for an event of a running tool.
fn wait_event(running: &Running, name: &str) -> Value {
    let find = || named(&read(whole_lines(&running.error_text())), name).first().map(|event| (*event).clone());
    eventually(name, || find().is_some());
    find().expect("it is there")
}

/// What has come so far may end in the middle of a line.
fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..end])
}

#[test]
fn each_item_and_the_end_of_a_transfer_are_events_on_both_sides() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    let odd = OsStr::from_bytes(b"odd\xff\\");
    fs::write(tree.join("a"), "content").expect("a file");
    fs::write(tree.join(odd), "").expect("a file");
    symlink("a", tree.join("link")).expect("a link");
    world.dir("inbox");
    for result in ["committed", "exists"] {
        let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--json"]));
        let send = east.send().args(["tree", "west", "--json"]).run().expect(exit::DONE);
        let recv = recv.wait().expect(exit::DONE);
        for (done, peer) in [(send, "west"), (recv, "east")] {
            let events = events_of(&done);
            let items = named(&events, "item");
            let mut found: Vec<_> = items
                .iter()
                .map(|item| {
                    assert_eq!((&item["peer"], &item["peer_id"]), (&peer.into(), &world.id(peer).into()));
                    assert_eq!((&item["application"], &item["result"]), (&"drop".into(), &result.into()), "{item}");
                    assert!(item["duration"].is_number(), "{item}");
                    (item["file"].as_str().expect("a name"), item["kind"].as_str(), item["bytes"].as_u64())
                })
                .collect();
            found.sort();
            let expected = [
                ("tree", Some("directory"), Some(0)),
                ("tree/a", Some("file"), Some(7)),
                ("tree/link", Some("link"), Some(0)),
                ("tree/odd\\xff\\\\", Some("file"), Some(0)),
            ];
            assert_eq!(found, expected, "{done}");
            for (file, hash) in [("tree/a", Some(blake3::hash(b"content").to_hex().to_string())), ("tree/link", None)] {
                let item = items.iter().find(|item| item["file"] == file).expect("it is told");
                assert_eq!(item["hash"].as_str().map(str::to_owned), hash, "{item}");
            }
            let [transfer] = named(&events, "transfer")[..] else { panic!("{done}") };
            let bytes = if result == "committed" { 7 } else { 0 };
            assert_eq!((&transfer[result], &transfer["bytes"]), (&4.into(), &bytes.into()), "{transfer}");
            let end = end(&events);
            let said = ["code", "items", "items_failed", "bytes"].map(|field| end[field].as_u64().expect("a number"));
            assert_eq!(said, [0, 4, 0, bytes], "{end}");
            assert_eq!((&end["peer"], &end["application"]), (&peer.into(), &"drop".into()));
        }
    }
}

#[test]
fn what_does_not_come_about_is_told_with_its_reason() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.write("inbox-note", "new");
    world.dir("inbox");
    world.write("inbox/inbox-note", "old");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--json"]));
    let send = east.send().args(["inbox-note", "absent", "west", "--json"]).run();
    for (done, files) in [(send, &["absent", "inbox-note"][..]), (recv.wait(), &["inbox-note"])] {
        let events = events_of(&done);
        assert!(named(&events, "warning").is_empty(), "what has an event of its own is not said twice: {done}");
        let mut found: Vec<_> = named(&events, "item").iter().map(|item| item["file"].as_str().unwrap_or("")).collect();
        found.sort();
        assert_eq!(found, files, "{done}");
        let item = named(&events, "item").into_iter().find(|item| item["file"] == "inbox-note").expect("it is told");
        assert_eq!(item["result"], "refused");
        assert_eq!((&item["reason"], &item["cause"]), (&"exists and differs".into(), &"exists".into()));
        assert_eq!(item["hash"], Value::Null);
        let error = named(&events, "error");
        assert_eq!(error.len(), 1, "{done}");
        assert_eq!(
            (end(&events)["code"].as_i64(), end(&events)["code"] == error[0]["code"]),
            (done.code().map(Into::into), true)
        );
    }
}

#[test]
fn a_stream_is_one_item_with_a_hash_wherever_it_goes() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    let bytes = 3_000_000;
    let kinds: [(&[&str], &[&str]); 4] = [
        (&["drop", "-d", "inbox"], &["--name", "dump", "--compress", "off"]),
        (&["drop"], &["--name", "dump", "--compress", "off"]),
        (&["drop"], &["--name", "dump", "--compress", "3"]),
        (&["drop", "--exec", "cat >/dev/null"], &["--name", "dump", "--limit", "20M"]),
    ];
    for (how, words) in kinds {
        let recv = west.waiting(west.recv().args(how).arg("--json"));
        let send = east.send().args(["-", "west", "--json"]).args(words).input(Input::Random { seed: 5, bytes });
        let send = send.run().expect(exit::DONE);
        for done in [send, recv.wait().expect(exit::DONE)] {
            let events = events_of(&done);
            let [item] = named(&events, "item")[..] else { panic!("{done}") };
            assert_eq!((&item["file"], &item["kind"]), (&"dump".into(), &"stream".into()), "{item}");
            assert_eq!((&item["bytes"], &item["result"]), (&bytes.into(), &"committed".into()), "{item}");
            let hash = Random::digest(5, bytes).to_hex().to_string();
            assert_eq!(item["hash"], hash, "{item}");
            assert_eq!(end(&events)["bytes"], bytes);
        }
    }
    assert_eq!(digest(&world.path("inbox/dump")), Random::digest(5, bytes));
}

/// A transfer that is under way: a small file has come, and of a large one something.
fn under_way<'w>(east: &Party<'w>, west: &Party<'w>, world: &World) -> (Running, Running) {
    let tree = world.dir("tree");
    fs::write(tree.join("a"), "content").expect("a file");
    Random::file(&tree.join("b"), 1, 20_000_000);
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--json"]));
    let words = ["tree", "west", "--json", "--limit", "100K", "--resume-timeout", "1s"];
    let send = east.send().args(words).spawn();
    for running in [&send, &recv] {
        eventually("both are told", || named(&read(whole_lines(&running.error_text())), "item").len() == 2);
        eventually("some of it has come", || {
            running.signal(Signal::USR1);
            let all = read(whole_lines(&running.error_text()));
            named(&all, "status").last().is_some_and(|status| status["bytes"].as_u64() > Some(7))
        });
    }
    (send, recv)
}

/// What the end of a transfer that was cut off says: bytes and cause.
#[track_caller]
fn cut_off(done: &Done) -> (u64, String) {
    let events = events_of(done);
    let [transfer] = named(&events, "transfer")[..] else { panic!("{done}") };
    assert_eq!((&transfer["result"], &transfer["committed"]), (&"failed".into(), &2.into()), "{done}");
    assert_eq!(named(&events, "item").len(), 2, "{done}");
    assert!(transfer["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{done}");
    let end = end(&events);
    assert_eq!((&end["items"], &end["bytes"]), (&2.into(), &transfer["bytes"]), "{done}");
    (transfer["bytes"].as_u64().expect("a number"), transfer["cause"].as_str().expect("a word").to_owned())
}

#[test]
fn a_transfer_that_is_cut_off_tells_what_it_moved_and_why() {
    for sender_ends in [true, false] {
        let world = World::new();
        let relay = world.relay();
        let (send, recv) = under_way(&relay.party("east"), &relay.party("west"), &world);
        let ended = if sender_ends { &send } else { &recv };
        ended.signal(Signal::TERM);
        let (send, recv) = (send.wait(), recv.wait());
        let ((sent, send_cause), (received, recv_cause)) = (cut_off(&send), cut_off(&recv));
        assert!(7 < received && received <= sent && sent < 20_000_007, "{received} of {sent}");
        let causes = if sender_ends { ("signal", "peer-absent") } else { ("peer-absent", "signal") };
        assert_eq!((&send_cause[..], &recv_cause[..]), causes, "{send}\n{recv}");
        let ended = if sender_ends { &send } else { &recv };
        let events = events_of(ended);
        assert_eq!(named(&events, "transfer")[0]["reason"], "ended by signal 15");
        assert_eq!((&end(&events)["cause"], ended.code()), (&"signal".into(), Some(143)), "{ended}");
    }
}

#[test]
fn a_receiver_that_keeps_on_tells_of_each_transfer_and_once_of_its_end() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--keep", "--json", "--overwrite", "rename"]));
    for text in ["one", "other"] {
        world.write("note", text);
        east.send().args(["note", "west"]).run().expect(exit::DONE);
    }
    eventually("both are told", || named(&read(whole_lines(&recv.error_text())), "transfer").len() == 2);
    recv.signal(Signal::TERM);
    let done = recv.wait();
    let events = events_of(&done);
    let renamed: Vec<_> = named(&events, "item").iter().map(|item| item["renamed"].as_str()).collect();
    assert_eq!(renamed, [None, Some("note.1")], "{done}");
    let end = end(&events);
    assert_eq!((&end["items"], &end["bytes"], &end["code"]), (&2.into(), &8.into(), &143.into()), "{end}");
}

#[test]
fn more_items_than_wait_to_be_told_are_told_all() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    for number in 0..2_000 {
        fs::write(tree.join(number.to_string()), "").expect("a file");
    }
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--json"]));
    let send = east.send().args(["tree", "west", "--json"]).run().expect(exit::DONE);
    for done in [send, recv.wait().expect(exit::DONE)] {
        let told = done.stderr.lines().filter(|line| line.contains("\"event\":\"item\"")).count();
        assert_eq!(told, 2_001);
    }
}

#[test]
fn who_asks_a_tool_that_speaks_json_has_json() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let lonely = east.attach().args(["west:nobody", "--json"]).spawn();
    wait_event(&lonely, "waiting");
    lonely.signal(Signal::USR1);
    let status = wait_event(&lonely, "status");
    assert_eq!((&status["message"], &status["peer"]), (&"waiting for west:nobody".into(), &"west".into()));
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "--json"]));
    let mut send = east.send().args(["-", "west", "--name", "dump", "--json"]).input(Input::Held).spawn();
    send.write(b"12345");
    wait_event(&send, "connected");
    let asked = |running: &Running| {
        let before = named(&read(whole_lines(&running.error_text())), "status").len();
        running.signal(Signal::USR1);
        let all = || read(whole_lines(&running.error_text()));
        eventually("an answer", || named(&all(), "status").len() > before);
        (*named(&all(), "status").last().expect("an answer")).clone()
    };
    eventually("the bytes are counted", || asked(&send)["bytes"] == 5);
    let status = asked(&send);
    assert_eq!(
        (&status["file"], &status["peer"], &status["bytes_total"]),
        (&"dump".into(), &"west".into(), &Value::Null)
    );
    send.close_input();
    send.wait().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    relay.process().signal(Signal::USR1);
    relay.process().wait_error_line("vp-relay: status: ");
}

#[test]
fn a_check_answers_in_json_when_asked() {
    let world = World::new();
    let relay = world.relay();
    let target = Target::echo();
    let _mapping = Mapping::start(&relay, target.at);
    let done = relay.party("east").check("west:app").arg("--json").run().expect(exit::DONE);
    let hops = read(std::str::from_utf8(&done.stdout).expect("text"));
    let hops: Vec<_> =
        hops.iter().map(|hop| [&hop["event"], &hop["hop"], &hop["result"]].map(|v| v.as_str())).collect();
    let expected = ["relay", "peer", "export", "target"].map(|hop| [Some("hop"), Some(hop), Some("ok")]);
    assert_eq!(hops, expected, "{done}");
    assert_eq!(end(&events_of(&done))["code"], 0);
}

#[test]
fn connections_and_sessions_are_told_with_what_they_moved() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let target = Target::serving(|mut stream| {
        use std::io::{Read, Write};
        stream.read_exact(&mut [0; 3]).expect("a question");
        stream.write_all(b"answer").expect("written");
    });
    let export = west.portrep().args(["--export", &format!("app={}", target.at), "--json"]).spawn();
    export.wait_line("serving app ");
    let import = east.portrep().args(["--import", "0=west:app", "--json"]).spawn();
    let at = crate::harness::ports::listening(&import, "west:app");
    wait_event(&import, "connected");
    let stream = connect(at);
    ask_and_end(&stream);
    for (running, peer, sent, received) in [(&import, "west", 3, 6), (&export, "east", 6, 3)] {
        let told = wait_event(running, "connection");
        let party = [&told["peer"], &told["peer_id"], &told["application"]].map(|value| value.as_str());
        assert_eq!(party, [Some(peer), Some(&world.id(peer)[..]), Some("app")], "{told}");
        assert_eq!((&told["bytes_sent"], &told["bytes_received"]), (&sent.into(), &received.into()), "{told}");
        assert_eq!(told["result"], "complete", "{told}");
    }
    import.signal(Signal::USR1);
    assert_eq!(wait_event(&import, "status")["connections_total"], 1);
    import.signal(Signal::TERM);
    let done = import.wait();
    let events = events_of(&done);
    assert_eq!((&end(&events)["connections"], &end(&events)["bytes"]), (&1.into(), &9.into()), "{done}");

    let listen =
        west.waiting(west.attach().args(["--listen", "chat", "--json"]).input(Input::Bytes(b"12345".to_vec())));
    let dial =
        east.attach().args(["west:chat", "--json"]).input(Input::Bytes(b"123".to_vec())).run().expect(exit::DONE);
    for (done, sent, received) in [(dial, 3, 5), (listen.wait().expect(exit::DONE), 5, 3)] {
        let events = events_of(&done);
        let [told] = named(&events, "connection")[..] else { panic!("{done}") };
        assert_eq!((&told["bytes_sent"], &told["bytes_received"]), (&sent.into(), &received.into()), "{told}");
        assert_eq!((&end(&events)["connections"], &end(&events)["bytes"]), (&1.into(), &8.into()), "{done}");
    }
}

fn ask_and_end(stream: &std::net::TcpStream) {
    use std::io::Write;
    let mut writer = stream;
    writer.write_all(b"ask").expect("written");
    stream.shutdown(std::net::Shutdown::Write).expect("ended");
    expect_end(stream, b"answer");
}

#[test]
fn saying_more_names_files_and_totals() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    fs::write(world.dir("tree").join("a"), "content").expect("a file");
    world.dir("inbox");
    let expected = [
        ["tree: directory", "tree/a: 7 bytes", "2 items, 7 bytes, "],
        ["tree: directory, there already", "tree/a: 7 bytes, there already", "0 items, 0 bytes, "],
    ];
    for lines in expected {
        let recv = west.waiting(west.recv().args(["drop", "-d", "inbox", "-v"]));
        let send = east.send().args(["tree", "west", "-v"]).run().expect(exit::DONE);
        for (done, verb) in
            [(send, "vp-send: info: sent "), (recv.wait().expect(exit::DONE), "vp-recv: info: received ")]
        {
            let (tool, _) = verb.split_once(": ").expect("a tool");
            let [directory, file, totals] = lines;
            for line in [directory, file] {
                let line = format!("{tool}: info: {line}");
                assert!(done.stderr.lines().any(|said| said == line), "{line}: {done}");
            }
            let totals = format!("{verb}{totals}");
            assert!(done.stderr.lines().any(|said| said.starts_with(&totals)), "{totals}: {done}");
        }
    }
}
