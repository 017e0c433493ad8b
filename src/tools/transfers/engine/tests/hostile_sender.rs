//! A sender that does what it should not, against the receiver.

use super::script::{Say, WHEN, entry, hello, play, play_files};
use super::*;
use crate::store::attributes::Attributes;
use crate::store::inbox::Inbox;
use crate::store::maker::Maker;
use crate::store::privilege::without_privilege;
use crate::tools::transfers::engine::directories::Directories;
use crate::transfer::Fault;
use crate::transfer::decoder::Malformed;
use crate::transfer::encode::{ZDATA, header};
use crate::transfer::item::Kind;
use crate::transfer::messages::*;
use crate::transfer::outcome::Violation;
use crate::transfer::path::TreePath;
use std::os::unix::fs::{PermissionsExt, symlink};

fn violation(got: Got) -> Violation {
    match got {
        Err(TransferError::Violation(violation)) => violation,
        other => panic!("no violation: {other:?}"),
    }
}

fn refused(index: u32, fault: Fault) -> Answer {
    Answer::Item { index, outcome: ItemOutcome::Refused(fault) }
}

#[test]
fn names_that_lead_astray_are_refused_one_by_one() {
    let home = Home::new();
    let bad: [&[&[u8]]; 10] = [
        &[b".."],
        &[b"..", b"evil"],
        &[b"."],
        &[b"", b"etc"],
        &[b"/etc/passwd"],
        &[b"a/../../b"],
        &[b"nul\0"],
        &[b"\x1b]0;owned\x07"],
        &[b"c1\x9b"],
        &[b".vp-part.mine"],
    ];
    let mut script: Vec<Say> = Vec::new();
    for (index, names) in (0..).zip(bad) {
        script.push(entry(index, Kind::File, 4, names).into());
    }
    script.push(entry(10, Kind::File, 4, &[b"good"]).into());
    script.push(Offer::Begin { index: 10, offset: 0 }.into());
    script.push(Say::Data(b"fine"));
    script.push(Offer::End { index: 10, hash: *blake3::hash(b"fine").as_bytes() }.into());
    script.push(Offer::Finish { entries: 11, skipped: 0 }.into());
    let (answers, got) = play_files(&home.inbox(), script);
    for index in 0..10 {
        assert!(answers.contains(&refused(index, Fault::Name)), "{index}");
    }
    assert_eq!(got.unwrap().status, Status::Partial);
    assert_eq!(names(&home.inbox()), ["good"]);
    assert_eq!(names(&home.inbox().join("..")), ["from", "inbox"]);
}

#[test]
fn links_out_of_the_tree_and_files_below_links_are_refused() {
    let home = Home::new();
    symlink("/tmp", home.inbox().join("planted")).unwrap();
    let link = |target: &str| Kind::Link(target.as_bytes().to_vec());
    let script = vec![
        entry(0, Kind::Directory, 0, &[b"t"]).into(),
        entry(1, link("/etc/passwd"), 0, &[b"t", b"abs"]).into(),
        entry(2, link("../../x"), 0, &[b"t", b"up"]).into(),
        entry(3, link("a/../.."), 0, &[b"t", b"sly"]).into(),
        entry(4, link("x"), 0, &[b"top"]).into(),
        entry(5, Kind::Directory, 0, &[b"t", b"d"]).into(),
        entry(6, link("d"), 0, &[b"t", b"l"]).into(),
        entry(7, Kind::File, 0, &[b"t", b"l", b"f"]).into(),
        entry(8, Kind::File, 0, &[b"planted", b"f"]).into(),
        entry(9, Kind::Directory, 0, &[b"planted"]).into(),
        entry(10, Kind::File, 0, &[b"missing", b"f"]).into(),
        Offer::Finish { entries: 11, skipped: 0 }.into(),
    ];
    let (answers, got) = play_files(&home.inbox(), script);
    for index in [1, 2, 3, 4] {
        assert!(answers.contains(&refused(index, Fault::LinkTarget)), "{index}");
    }
    for index in [7, 8, 10] {
        assert!(answers.contains(&refused(index, Fault::Parent)), "{index}");
    }
    assert!(answers.contains(&refused(9, Fault::Exists)));
    assert_eq!(got.unwrap().tally.counts.committed, 3);
    assert_eq!(names(&home.inbox().join("t")), ["d", "l"]);
    assert_eq!(names(&home.inbox().join("t/d")), [""; 0]);
}

#[test]
fn the_second_of_two_equal_paths_is_refused() {
    let home = Home::new();
    let script = vec![
        entry(0, Kind::Directory, 0, &[b"d"]).into(),
        entry(1, Kind::Directory, 0, &[b"d"]).into(),
        entry(2, Kind::File, 1, &[b"d"]).into(),
        Offer::Finish { entries: 3, skipped: 0 }.into(),
    ];
    let (answers, _) = play_files(&home.inbox(), script);
    assert!(answers.contains(&refused(1, Fault::Duplicate)));
    assert!(answers.contains(&refused(2, Fault::Duplicate)));
}

#[test]
fn a_wrong_hash_is_an_integrity_failure_and_leaves_nothing() {
    let home = Home::new();
    let script = vec![
        entry(0, Kind::File, 4, &[b"f"]).into(),
        Offer::Begin { index: 0, offset: 0 }.into(),
        Say::Data(b"evil"),
        Offer::End { index: 0, hash: *blake3::hash(b"good").as_bytes() }.into(),
        Offer::Finish { entries: 1, skipped: 0 }.into(),
    ];
    let (answers, got) = play_files(&home.inbox(), script);
    let failed = ItemOutcome::Failed(Fault::Integrity);
    assert!(answers.contains(&Answer::Item { index: 0, outcome: failed }));
    assert_eq!(got.unwrap().status, Status::Integrity);
    assert_eq!(names(&home.inbox()), [""; 0]);
}

#[test]
fn sizes_that_lie_end_the_transfer() {
    let home = Home::new();
    let begin = |size| {
        let begin = Offer::Begin { index: 0, offset: 0 };
        vec![entry(0, Kind::File, size, &[b"f"]).into(), begin.into()]
    };
    let with = |size, more: Vec<Say>| begin(size).into_iter().chain(more).collect::<Vec<_>>();
    let end = || Offer::End { index: 0, hash: *blake3::hash(b"1234").as_bytes() }.into();
    for script in [
        with(3, vec![Say::Data(b"1234")]),
        with(5, vec![Say::Data(b"1234"), end()]),
        with(4, vec![Say::Data(b"1234"), Offer::Hole(1).into()]),
        with(4, vec![Say::Data(b"1234"), Offer::Hole(HOLE_BYTES_MAX).into()]),
    ] {
        let (_, got) = play_files(&home.inbox(), script);
        assert_eq!(violation(got), Violation::Length);
        assert!(!names(&home.inbox()).contains(&"f".to_owned()));
    }
}

#[test]
fn absurd_sizes_are_refused_without_room_being_made() {
    let home = Home::new();
    let script = vec![
        entry(0, Kind::File, u64::MAX - 1, &[b"a"]).into(),
        entry(1, Kind::File, 1 << 62, &[b"b"]).into(),
        entry(2, Kind::File, 1 << 62, &[b"c"]).into(),
        Offer::Failed { index: 1, fault: Fault::Io }.into(),
        Offer::Finish { entries: 3, skipped: 0 }.into(),
    ];
    let (answers, got) = play_files(&home.inbox(), script);
    assert!(answers.contains(&refused(0, Fault::TooLarge)));
    assert!(answers.contains(&refused(2, Fault::TooLarge)));
    assert_eq!(got.unwrap().status, Status::LocalIo);
    assert_eq!(names(&home.inbox()), [""; 0]);
}

#[test]
fn bombs_and_damaged_blocks_end_the_transfer() {
    let home = Home::new();
    let bomb = zstd::bulk::compress(&vec![0; 8 << 20], 19).unwrap();
    for (declared, frame) in [(8_u32 << 20, &bomb[..]), (1_000, &bomb), (4, b"junk"), (0, b"x")] {
        let body = [&declared.to_le_bytes()[..], frame].concat();
        let script = vec![
            entry(0, Kind::File, 8 << 20, &[b"f"]).into(),
            Offer::Begin { index: 0, offset: 0 }.into(),
            Say::Bytes([&header(ZDATA, body.len())[..], &body].concat()),
        ];
        let (_, got) = play_files(&home.inbox(), script);
        match got {
            Err(TransferError::Violation(Violation::Block)) => {}
            Err(TransferError::Malformed(Malformed::Field(ZDATA))) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(names(&home.inbox()).iter().filter(|name| *name == "f").count(), 0);
    }
}

#[test]
fn messages_out_of_order_end_the_transfer() {
    let home = Home::new();
    let file = |index| entry(index, Kind::File, 4, &[b"f"]);
    let begin = |index, offset| Offer::Begin { index, offset }.into();
    let cases: Vec<(Vec<Say>, Violation)> = vec![
        (vec![hello(Content::Files, b"").into()], Violation::Hello),
        (vec![file(1).into()], Violation::Index),
        (vec![Say::Data(b"x")], Violation::Order),
        (vec![begin(0, 0)], Violation::Index),
        (vec![file(0).into(), begin(0, 2)], Violation::Offset),
        (vec![file(0).into(), begin(0, 0), begin(0, 0)], Violation::Order),
        (vec![file(0).into(), begin(0, 0), file(1).into()], Violation::Order),
        (vec![file(0).into(), Offer::Same { index: 0 }.into()], Violation::Order),
        (vec![file(0).into(), Offer::Differs { index: 0 }.into()], Violation::Order),
        (vec![file(0).into(), Offer::Finish { entries: 1, skipped: 0 }.into()], Violation::Order),
        (vec![Offer::Finish { entries: 1, skipped: 0 }.into()], Violation::Order),
        (vec![file(0).into(), Offer::End { index: 0, hash: [0; 32] }.into()], Violation::Index),
        (vec![Offer::Hole(1).into()], Violation::Order),
    ];
    for (number, (script, expected)) in cases.into_iter().enumerate() {
        let (_, got) = play_files(&home.inbox(), script);
        assert_eq!(violation(got), expected, "case {number}");
        assert!(!home.inbox().join("f").exists());
    }
    let (_, got) = play(into(&home.inbox()), [file(0).into()]);
    assert_eq!(violation(got), Violation::Hello);
    let (_, got) = play(into(&home.inbox()), [Say::Bytes(b"GET / HTTP/1.1\r\n".to_vec())]);
    assert!(matches!(got, Err(TransferError::Malformed(Malformed::Type(b'G')))), "{got:?}");
    let (_, got) = play(into(&home.inbox()), []);
    assert!(matches!(got, Err(TransferError::Truncated)), "{got:?}");
}

#[test]
fn more_than_the_allowed_look_ahead_ends_the_transfer() {
    let home = Home::new();
    let entries = (0..=2_048_u32).map(|index| entry(index, Kind::File, 1, &[index.to_string().as_bytes()]).into());
    let (_, got) = play_files(&home.inbox(), entries.collect());
    assert_eq!(violation(got), Violation::Entries);
}

#[test]
fn another_version_is_refused() {
    let home = Home::new();
    let newer = Hello { version: 2, content: Content::Files, totals: None, name: Vec::new() };
    let (answers, got) = play(into(&home.inbox()), [Offer::Hello(newer).into()]);
    assert_eq!(answers, [Answer::Refused(Fault::Version)]);
    assert!(matches!(got, Err(TransferError::Refused(Fault::Version))), "{got:?}");
}

/// A directory with these permission bits.
fn directory(index: u32, mode: u16, names: &[&[u8]]) -> Say {
    match entry(index, Kind::Directory, 0, names) {
        Offer::Entry(entry) => Offer::Entry(Entry { mode, ..entry }).into(),
        other => other.into(),
    }
}

fn make_directory(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap();
    // Not by the numbers that a umask is taken from.
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// All that this sender says, to its end or not.
fn play_as(sender: [u8; 32], receive: ReceiveJob<'static>, offers: Vec<Say>, ends: bool) -> (Vec<Answer>, Got) {
    let entries = u32::try_from(offers.len()).unwrap();
    let end = ends.then(|| Offer::Finish { entries, skipped: 0 }.into());
    let script = std::iter::once(hello(Content::Files, b"").into()).chain(offers).chain(end);
    play(ReceiveJob { sender, ..receive }, script)
}

#[test]
fn directories_that_were_there_are_not_the_senders_to_change() {
    let there =
        [("closed", 0o755, 0o055), ("sticky", 0o1777, 0o777), ("group", 0o2775, 0o775), ("private", 0o700, 0o777)];
    for overwrite in [Overwrite::Never, Overwrite::Rename, Overwrite::Yes] {
        let home = Home::new();
        there.iter().for_each(|(name, mode, _)| make_directory(&home.inbox().join(name), *mode));
        // To tell that this one is otherwise takes a try in the one around it, which shows in no time either.
        make_directory(&home.inbox().join("closed/below"), 0o755);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
        fs::File::open(home.inbox().join("closed")).unwrap().set_modified(time).unwrap();
        // Another sender's is one of those.
        let made = vec![directory(0, 0o755, &[b"theirs"])];
        play_as([8; 32], into(&home.inbox()), made, true).1.unwrap();
        let all: Vec<_> = there.into_iter().chain([("theirs", 0o755, 0o055), ("closed/below", 0, 0o700)]).collect();
        let pictures = || all.iter().map(|(name, ..)| picture(&home.inbox().join(name))).collect::<Vec<_>>();
        let before = pictures();
        let offers = (0..).zip(&all).map(|(index, (name, _, mode))| {
            let names: Vec<_> = name.split('/').map(str::as_bytes).collect();
            directory(index, *mode, &names)
        });
        let (answers, got) = play_as(SENDER, into_with(&home.inbox(), overwrite), offers.collect(), true);
        assert_eq!(got.unwrap().status, Status::NothingToDo, "{answers:?}");
        assert_eq!(pictures(), before, "{overwrite:?}");
        for index in [0, 3, 4, 5] {
            let unlike = Answer::Item { index, outcome: ItemOutcome::ExistsUnlike };
            assert!(answers.contains(&unlike), "{index} {answers:?}");
        }
    }
}

#[test]
fn what_is_put_into_a_directory_that_was_there_changes_no_more_of_it() {
    let home = Home::new();
    make_directory(&home.inbox().join("theirs"), 0o1755);
    let offers = vec![directory(0, 0o055, &[b"theirs"]), directory(1, 0o750, &[b"theirs", b"new"])];
    play_as(SENDER, into(&home.inbox()), offers, true).1.unwrap();
    assert_eq!(["theirs", "theirs/new"].map(|path| mode_of(&home.inbox().join(path))), [0o1755, 0o750]);
    let time = |path: &str| fs::metadata(home.inbox().join(path)).unwrap().mtime();
    assert!(time("theirs") > WHEN.seconds, "something was put into it now");
    assert_eq!(time("theirs/new"), WHEN.seconds);
}

#[test]
fn new_directories_belong_to_the_group_that_the_one_around_them_gives() {
    let home = Home::new();
    make_directory(&home.inbox().join("group"), 0o2775);
    let offers = || {
        vec![
            directory(0, 0o775, &[b"group"]),
            directory(1, 0o750, &[b"group", b"new"]),
            directory(2, 0o555, &[b"group", b"new", b"below"]),
        ]
    };
    for _ in 0..2 {
        play_as(SENDER, into(&home.inbox()), offers(), true).1.unwrap();
        let modes = ["group", "group/new", "group/new/below"].map(|path| mode_of(&home.inbox().join(path)));
        assert_eq!(modes, [0o2775, 0o2750, 0o2555]);
    }
    assert_eq!(names(&home.inbox()), ["group"]);
}

#[test]
fn what_a_run_made_is_for_later_ones_of_the_same_sender_to_finish_and_for_nobody_else() {
    for (sender, mode, seconds) in [(SENDER, 0o550, WHEN.seconds), ([8; 32], 0o750, 5)] {
        // Interrupted, or come to its end.
        for ends in [false, true] {
            let home = Home::new();
            let new = home.inbox().join("new");
            let offer = |mode| vec![directory(0, mode, &[b"new"])];
            let done = play_as(SENDER, into(&home.inbox()), offer(if ends { 0o750 } else { 0o550 }), ends);
            assert_eq!(done.1.is_ok(), ends);
            assert_eq!(mode_of(&new), 0o750, "it can go on");
            // As if it had got more, some time ago.
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
            fs::File::open(&new).unwrap().set_modified(time).unwrap();
            play_as(sender, into(&home.inbox()), offer(0o550), true).1.unwrap();
            assert_eq!((mode_of(&new), fs::metadata(&new).unwrap().mtime()), (mode, seconds), "{ends}");
        }
    }
}

#[test]
fn what_its_owner_may_not_fill_is_opened_for_whoever_made_it_and_for_nobody_else() {
    let home = Home::new();
    let made = home.inbox().join("made");
    without_privilege(|| {
        make_directory(&home.inbox().join("closed"), 0o555);
        make_directory(&home.inbox().join("shut"), 0o000);
        let offers = |index, name: &'static str| {
            let file = entry(index + 1, Kind::File, 0, &[name.as_bytes(), b"f"]);
            let content =
                [Offer::Begin { index: index + 1, offset: 0 }, Offer::End { index: index + 1, hash: empty() }];
            std::iter::once(directory(index, 0o555, &[name.as_bytes()]))
                .chain([file.into()])
                .chain(content.map(Say::from))
        };
        play_as(SENDER, into(&home.inbox()), vec![directory(0, 0o555, &[b"made"])], true).1.unwrap();
        assert_eq!(mode_of(&made), 0o555);
        let script: Vec<_> = offers(0, "made").chain(offers(2, "closed")).collect();
        let greeting = std::iter::once(hello(Content::Files, b"").into());
        let script = greeting
            .chain(script)
            .chain([directory(4, 0o777, &[b"shut"]), Offer::Finish { entries: 5, skipped: 0 }.into()]);
        let (answers, got) = play(into(&home.inbox()), script);
        assert_eq!(got.unwrap().status, Status::Partial);
        for (index, outcome) in [(1, ItemOutcome::Committed), (3, Fault::Denied.into()), (4, ItemOutcome::ExistsUnlike)]
        {
            assert!(answers.contains(&Answer::Item { index, outcome }), "{index} {answers:?}");
        }
        assert_eq!(["made", "closed", "shut"].map(|name| mode_of(&home.inbox().join(name))), [0o555, 0o555, 0]);
        assert_eq!(names(&made), ["f"]);
        assert_eq!(names(&home.inbox().join("closed")), [""; 0]);
    });
}

#[test]
fn a_mode_that_the_owner_has_given_since_stays_and_keeps_out_whoever_made_the_directory() {
    let stat = |path: &Path| fs::metadata(path).map(|meta| (meta.mode(), meta.mtime(), meta.ctime_nsec())).unwrap();
    for overwrite in [Overwrite::Never, Overwrite::Rename, Overwrite::Yes] {
        let home = Home::new();
        let made = home.inbox().join("made");
        without_privilege(|| {
            let announced = |mode| directory(0, mode, &[b"made"]);
            play_as(SENDER, into(&home.inbox()), vec![announced(0o755)], true).1.unwrap();
            for owners in [0o700, 0o777, 0o555, 0o000] {
                fs::set_permissions(&made, PermissionsExt::from_mode(owners)).unwrap();
                let before = stat(&made);
                // What an interrupted transfer of the same tree would have left is 0o700.
                let mut offers = vec![announced(0o500)];
                let is_closed = owners & 0o200 == 0;
                if is_closed {
                    offers.push(directory(1, 0o755, &[b"made", b"below"]));
                }
                let (answers, _) = play_as(SENDER, into_with(&home.inbox(), overwrite), offers, true);
                assert_eq!(stat(&made), before, "{owners:o}");
                let unlike = Answer::Item { index: 0, outcome: ItemOutcome::ExistsUnlike };
                assert!(answers.contains(&unlike), "{owners:o} {answers:?}");
                let below = Answer::Item { index: 1, outcome: Fault::Denied.into() };
                assert_eq!(answers.contains(&below), is_closed, "{owners:o} {answers:?}");
            }
            // One that has its mode back is its maker's again.
            fs::set_permissions(&made, PermissionsExt::from_mode(0o755)).unwrap();
            let again = into_with(&home.inbox(), Overwrite::Yes);
            play_as(SENDER, again, vec![announced(0o550)], true).1.unwrap();
            assert_eq!(mode_of(&made), 0o550);
        });
    }
}

#[test]
fn what_the_owner_changes_while_a_run_makes_it_is_his() {
    let home = Home::new();
    let announced = Attributes { mode: 0o550, mtime: WHEN };
    let paths = ["closed", "moved", "stays"].map(|name| TreePath::top(name.as_bytes()).unwrap());
    let mut inbox = Inbox::open(&home.inbox()).unwrap().serving(Maker::new(SENDER));
    let mut directories = Directories::default();
    for path in &paths {
        let made = inbox.make_directory(path, announced.mode).unwrap();
        directories.add(path, (made, Overwrite::Yes), announced);
    }
    let [closed, moved, stays] = ["closed", "moved", "stays"].map(|name| home.inbox().join(name));
    fs::set_permissions(&closed, PermissionsExt::from_mode(0o711)).unwrap();
    fs::rename(&moved, home.inbox().join("aside")).unwrap();
    make_directory(&moved, 0o750);
    let before = [picture(&closed), picture(&moved)];
    assert_eq!(directories.finish(&mut inbox, &SENDER), []);
    assert_eq!([picture(&closed), picture(&moved)], before);
    assert_eq!((mode_of(&stays), fs::metadata(&stays).unwrap().mtime()), (0o550, WHEN.seconds));
}

fn empty() -> Hash {
    blake3::hash(b"").into()
}
