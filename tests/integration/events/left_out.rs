//! What is told of what is not sent.

use super::*;

/// What is told as left out: path and cause, in order.
fn left_out(events: &[Value]) -> Vec<(&str, &str)> {
    let word = |value: &'_ Value| -> bool { value.as_str().is_some_and(|word| !word.is_empty()) };
    let left = named(events, "left-out");
    assert!(left.iter().all(|left| word(&left["reason"])), "{left:?}");
    let pairs = left.into_iter().map(|left| (left["file"].as_str(), left["cause"].as_str()));
    pairs.map(|(file, cause)| (file.expect("a path"), cause.expect("a word"))).collect()
}

#[test]
fn all_that_is_left_out_is_told_with_the_cause_by_a_send_and_by_a_dry_run() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    world.dir("tree/build");
    world.dir("tree/d");
    for file in ["tree/a.o", "tree/build/out", "tree/d/f"] {
        world.write(file, "12345");
    }
    fs::copy(world.key("west"), tree.join("copy")).expect("a copy");
    fs::hard_link(world.key("east"), tree.join("d/mine")).expect("a link");
    symlink("/etc/passwd", tree.join("out")).expect("a link");
    symlink(".", tree.join("self")).expect("a link");
    let never = [("tree/copy", "copy-of-key"), ("tree/d/mine", "key")];
    let patterns = [("tree/a.o", "exclude"), ("tree/build", "exclude")];
    let kept = ["tree", "tree/d", "tree/d/f"];
    let runs: [(&str, &[&str], &[&str]); 3] =
        [("keep", &["out"], &["tree/self"]), ("skip", &["out", "self"], &[]), ("follow", &["self"], &["tree/out"])];
    for (how, links, more) in runs {
        let cause = [("keep", "link-outside"), ("skip", "link"), ("follow", "link-loop")];
        let cause = cause.iter().find(|(name, _)| *name == how).expect("one of them").1;
        let links: Vec<String> = links.iter().map(|name| format!("tree/{name}")).collect();
        let mut expected: Vec<_> = never.iter().chain(&patterns).copied().collect();
        expected.extend(links.iter().map(|link| (&link[..], cause)));
        expected.sort_unstable();
        let mut items: Vec<&str> = kept.iter().chain(more).copied().collect();
        items.sort_unstable();
        let words = ["tree", "west", "--json", "--links", how, "--exclude", "*.o", "--exclude", "build/"];

        let dry = east.send().args(words).arg("--dry-run").run().expect(exit::DONE);
        let plan = read(std::str::from_utf8(&dry.stdout).expect("text"));
        let mut planned: Vec<_> = named(&plan, "planned").iter().filter_map(|item| item["file"].as_str()).collect();
        planned.sort_unstable();
        assert_eq!((&planned, plan.len()), (&items, items.len()), "{dry}");
        let file = plan.iter().find(|item| item["file"] == "tree/d/f").expect("a file");
        assert_eq!((&file["kind"], &file["bytes"]), (&"file".into(), &5.into()), "{dry}");

        world.dir(&format!("inbox-{how}"));
        let recv = west.waiting(west.recv().args(["drop", "-d", &format!("inbox-{how}")]));
        let send = east.send().args(words).run().expect(exit::DONE);
        recv.wait().expect(exit::DONE);
        let events = events_of(&send);
        let mut sent: Vec<_> = named(&events, "item").iter().filter_map(|item| item["file"].as_str()).collect();
        sent.sort_unstable();
        assert_eq!(sent, items, "{send}");
        assert_eq!(named(&events, "transfer")[0]["left_out"], 0, "it is no failure: {send}");
        for done in [&dry, &send] {
            let events = events_of(done);
            let mut told = left_out(&events);
            told.sort_unstable();
            assert_eq!(told, expected, "{done}");
            assert!(named(&events, "warning").is_empty() && named(&events, "info").is_empty(), "{done}");
            assert_eq!(end(&events)["code"], 0);
        }
    }
}

#[test]
fn what_a_dry_run_cannot_offer_is_an_item_that_failed() {
    let world = World::new();
    world.write("here", "12345");
    let words = ["here", "absent", "west", "--dry-run", "--json"];
    let done = world.tool("vp-send").args(words).run().expect(exit::PARTIAL);
    let events = events_of(&done);
    let [item] = named(&events, "item")[..] else { panic!("{done}") };
    assert_eq!((&item["file"], &item["result"]), (&"absent".into(), &"failed".into()), "{item}");
    assert_eq!((&item["cause"], &item["peer"]), (&"not-found".into(), &Value::Null), "{item}");
    assert_eq!(end(&events)["cause"], "partial");
    let plan = read(std::str::from_utf8(&done.stdout).expect("text"));
    assert_eq!((plan.len(), &plan[0]["event"], &plan[0]["file"]), (1, &"planned".into(), &"here".into()));
}

#[test]
fn more_left_out_than_wait_to_be_told_is_told_all() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let tree = world.dir("tree");
    for number in 0..3_000 {
        fs::write(tree.join(format!("{number}.o")), "").expect("a file");
    }
    world.dir("inbox");
    let recv = west.waiting(west.recv().args(["drop", "-d", "inbox"]));
    let send = east.send().args(["tree", "west", "--json", "--exclude", "*.o"]).run().expect(exit::DONE);
    recv.wait().expect(exit::DONE);
    assert_eq!(send.stderr.lines().filter(|line| line.contains("\"event\":\"left-out\"")).count(), 3_000);
}
