//! Names that are taken, limits, and sources that are not what they were.

use super::*;
use crate::store::batch::FinalName;
use crate::transfer::Fault;
use crate::transfer::outcome::{Failure, Unlike};
use std::fs::File;
use std::os::unix::fs::{FileExt, symlink};
use std::slice::from_ref;

fn only_fault(sent: &SendOutcome) -> Fault {
    assert_eq!(sent.tally.failures.len(), 1, "{sent:?}");
    sent.tally.failures[0].fault
}

#[test]
fn what_is_there_stays_unless_told_otherwise() {
    for (content, sent_bytes) in [(&b"longer than before"[..], 0), (b"same", 0)] {
        let home = Home::new();
        let file = home.put("f", content);
        fs::write(home.inbox().join("f"), b"SAME").unwrap();
        let (sent, got) = run(job(from_ref(&file)), into(&home.inbox()));
        assert_eq!((sent.status, got.status), (Status::Refused, Status::Refused));
        assert_eq!((only_fault(&sent), sent.sent_bytes), (Fault::Exists, sent_bytes));
        assert_eq!(fs::read(home.inbox().join("f")).unwrap(), b"SAME");
        assert_eq!(names(&home.inbox()), ["f"]);
    }
}

#[test]
fn the_same_content_is_never_sent_again_and_touched_only_where_files_are_replaced() {
    let home = Home::new();
    let file = home.put("f", b"same");
    fs::write(home.inbox().join("f"), b"same").unwrap();
    rustix::fs::chmod(&file, rustix::fs::Mode::from_raw_mode(0o751)).unwrap();
    File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let there = home.inbox().join("f");
    let before = picture(&there);
    for overwrite in [Overwrite::Never, Overwrite::Rename, Overwrite::Yes, Overwrite::Never] {
        let stays = picture(&there) == before && overwrite != Overwrite::Yes;
        let (sent, got) = run(job(from_ref(&file)), into_with(&home.inbox(), overwrite));
        assert_eq!((sent.status, sent.sent_bytes), (Status::NothingToDo, 0));
        let told = stays.then(|| Unlike { first: b"f".to_vec(), count: 1 });
        assert_eq!((&sent.tally.unlike, &got.tally.unlike), (&told, &told), "{overwrite:?}");
        assert_eq!(picture(&there), if stays { before.clone() } else { picture(&file) }, "{overwrite:?}");
    }
}

#[test]
fn overwriting_replaces_files_and_links_but_no_directory_with_something_in_it() {
    let home = Home::new();
    let sources = [home.put("dir", b"new"), home.put("file", b"new"), home.put("link", b"new")];
    fs::create_dir_all(home.inbox().join("dir/below")).unwrap();
    fs::write(home.inbox().join("file"), b"old").unwrap();
    fs::write(home.from("outside"), b"outside").unwrap();
    symlink(home.from("outside"), home.inbox().join("link")).unwrap();
    let (sent, _) = run(job(&sources), into_with(&home.inbox(), Overwrite::Yes));
    assert_eq!((sent.status, only_fault(&sent)), (Status::Partial, Fault::NotEmpty));
    assert!(home.inbox().join("dir/below").is_dir());
    assert_eq!(fs::read(home.inbox().join("file")).unwrap(), b"new");
    assert_eq!(fs::read(home.inbox().join("link")).unwrap(), b"new");
    assert_eq!(fs::read(home.from("outside")).unwrap(), b"outside");
}

#[test]
fn overwriting_replaces_each_kind_by_each_other() {
    let make = |at: &Path, kind: &str| match kind {
        "file" => fs::write(at, b"content").unwrap(),
        "link" => symlink("target", at).unwrap(),
        "directory" => fs::create_dir(at).unwrap(),
        kind => panic!("{kind}"),
    };
    let kind = |at: &Path| match fs::symlink_metadata(at).unwrap().file_type() {
        found if found.is_file() => "file",
        found if found.is_symlink() => "link",
        _ => "directory",
    };
    for (old, new) in
        ["file", "link", "directory"].iter().flat_map(|old| ["file", "link", "directory"].map(|n| (*old, n)))
    {
        for overwrite in [Overwrite::Yes, Overwrite::Never] {
            let home = Home::new();
            let tree = home.from("t");
            fs::create_dir(&tree).unwrap();
            make(&tree.join("x"), new);
            fs::create_dir(home.inbox().join("t")).unwrap();
            make(&home.inbox().join("t/x"), old);
            let (sent, _) = run(job(from_ref(&tree)), into_with(&home.inbox(), overwrite));
            let stays = old != new && overwrite == Overwrite::Never;
            assert_eq!(kind(&home.inbox().join("t/x")), if stays { old } else { new }, "{new} over {old}");
            assert_eq!(names(&home.inbox().join("t")), ["x"]);
            if stays {
                assert_eq!(only_fault(&sent), Fault::Exists);
            } else {
                assert!(matches!(sent.status, Status::Complete | Status::NothingToDo), "{new} over {old}: {sent:?}");
            }
        }
    }
}

#[test]
fn what_a_directory_gets_after_it_was_looked_at_stays() {
    let home = Home::new();
    let mut inbox = crate::store::inbox::Inbox::open(&home.inbox()).unwrap();
    let path = crate::transfer::path::TreePath::top(b"x").unwrap();
    let part = crate::store::part::PartName {
        key: crate::store::part::PartKey::new(&SENDER, &path, 0, crate::transfer::item::Mtime { seconds: 0, nanos: 0 }),
        run: 1,
    };
    fs::write(home.inbox().join(part.to_string()), b"new").unwrap();
    fs::create_dir(home.inbox().join("x")).unwrap();
    fs::write(home.inbox().join("x/late"), b"late").unwrap();
    assert_eq!(inbox.land(&part, &path, Overwrite::Yes, None), Err(Fault::NotEmpty));
    assert_eq!(fs::read(home.inbox().join("x/late")).unwrap(), b"late");
    fs::remove_file(home.inbox().join("x/late")).unwrap();
    assert_eq!(inbox.land(&part, &path, Overwrite::Yes, None), Ok(FinalName::Named(b"x".to_vec())));
}

#[test]
fn links_follow_the_same_policies() {
    for (overwrite, status, expected) in [
        (Overwrite::Never, Status::Partial, &[("l", "old")][..]),
        (Overwrite::Rename, Status::Complete, &[("l", "old"), ("l.1", "new")]),
        (Overwrite::Yes, Status::Complete, &[("l", "new")]),
    ] {
        let home = Home::new();
        let tree = home.from("t");
        fs::create_dir(&tree).unwrap();
        fs::create_dir(home.inbox().join("t")).unwrap();
        symlink("new", tree.join("l")).unwrap();
        symlink("old", home.inbox().join("t/l")).unwrap();
        let (sent, _) = run(job(from_ref(&tree)), into_with(&home.inbox(), overwrite));
        assert_eq!(sent.status, status, "{sent:?}");
        let there = names(&home.inbox().join("t"));
        let targets: Vec<_> = there
            .iter()
            .map(|name| (name.clone(), fs::read_link(home.inbox().join("t").join(name)).unwrap()))
            .collect();
        let expected: Vec<_> = expected.iter().map(|(name, to)| ((*name).to_owned(), PathBuf::from(to))).collect();
        assert_eq!(targets, expected);
    }
}

#[test]
fn renaming_keeps_both_and_does_not_pile_up() {
    let home = Home::new();
    let tree = home.put("t/f", b"version 1").parent().unwrap().to_path_buf();
    let with = || into_with(&home.inbox(), Overwrite::Rename);
    for (content, expected) in
        [(&b"version 1"[..], &["f"][..]), (b"version 2", &["f", "f.1"]), (b"longer version 3", &["f", "f.1", "f.2"])]
    {
        fs::write(tree.join("f"), content).unwrap();
        let (sent, _) = run(job(from_ref(&tree)), with());
        assert_eq!((sent.status, sent.sent_bytes), (Status::Complete, content.len() as u64));
        assert_eq!(names(&home.inbox().join("t")), expected);
        let (sent, _) = run(job(from_ref(&tree)), with());
        assert_eq!((sent.status, sent.sent_bytes), (Status::NothingToDo, 0));
        assert_eq!(names(&home.inbox().join("t")), expected);
    }
    assert_eq!(fs::read(home.inbox().join("t/f.1")).unwrap(), b"version 2");
}

#[test]
fn a_renamed_source_is_told_to_the_hook_by_its_new_name() {
    let home = Home::new();
    let file = home.put("f", b"new");
    fs::write(home.inbox().join("f"), b"what was there").unwrap();
    let mut seen = Vec::new();
    let mut receive = into_with(&home.inbox(), Overwrite::Rename);
    receive.on_received = Some(Box::new(|received: &Received| {
        seen.push(received.path.as_bytes().to_vec());
        0
    }));
    run(job(from_ref(&file)), receive);
    assert_eq!(seen, [b"f.1"]);
}

#[test]
fn a_command_that_failed_for_a_renamed_source_is_run_again_for_that_and_not_for_the_other() {
    for (other, source) in [(&b"not ours"[..], &b"new"[..]), (b"old", b"new"), (b"not ours", b"")] {
        let home = Home::new();
        let sources = [home.put("f", source), home.put("g", b"g")];
        fs::write(home.inbox().join("f"), other).unwrap();
        let mut seen = Vec::new();
        for (command_status, expected) in [(5, Status::CommandFailed), (0, Status::NothingToDo)] {
            let mut receive = into_with(&home.inbox(), Overwrite::Rename);
            receive.on_received = Some(Box::new(|received: &Received| {
                seen.push(received.path.as_bytes().to_vec());
                command_status
            }));
            assert_eq!(run(job(&sources), receive).1.status, expected);
        }
        assert_eq!(seen, [&b"f.1"[..], b"g", b"f.1", b"g"]);
        assert_eq!(fs::read(home.inbox().join("f")).unwrap(), other);
    }
}

#[test]
fn what_is_there_under_another_name_is_remembered_for_the_right_item() {
    let home = Home::new();
    let sources = ["a", "b", "c"].map(|name| home.put(name, b"content"));
    ["a", "b"].iter().for_each(|name| fs::write(home.inbox().join(name), b"other").unwrap());
    let mut seen = Vec::new();
    for command_status in [5, 0] {
        let mut receive = into_with(&home.inbox(), Overwrite::Rename);
        receive.on_received = Some(Box::new(|received: &Received| {
            seen.push(received.path.as_bytes().to_vec());
            command_status
        }));
        run(job(&sources), receive);
        fs::write(home.inbox().join("a.1"), b"CONTENT").unwrap();
    }
    assert_eq!(seen, [&b"a.1"[..], b"b.1", b"c", b"a.2", b"b.1", b"c"]);
}

#[test]
fn limits_refuse_what_is_beyond_them() {
    let home = Home::new();
    let sources = [home.put("a", b"12345"), home.put("b", b"1234567890"), home.put("c", b"123")];
    let mut receive = into(&home.inbox());
    receive.policy.items_max = Some(2);
    let (sent, got) = run_over(pair(), job(&sources), receive);
    assert!(matches!(sent, Err(TransferError::Refused(Fault::TooMany))), "{sent:?}");
    assert!(matches!(got, Err(TransferError::Refused(Fault::TooMany))), "{got:?}");
    assert!(names(&home.inbox()).is_empty());
    let mut receive = into(&home.inbox());
    receive.policy.bytes_max = Some(17);
    let (sent, got) = run_over(pair(), job(&sources), receive);
    assert!(matches!(sent, Err(TransferError::Refused(Fault::TooLarge))), "{sent:?}");
    assert!(matches!(got, Err(TransferError::Refused(Fault::TooLarge))), "{got:?}");
    let mut receive = into(&home.inbox());
    receive.policy.bytes_max = Some(18);
    assert_eq!(run(job(&sources), receive).0.status, Status::Complete);
}

#[test]
fn an_inbox_that_is_not_there_is_an_error_of_its_own_and_the_sender_hears_of_it() {
    let home = Home::new();
    let file = home.put("f", b"x");
    let (sent, got) = run_over(pair(), job(from_ref(&file)), into(&home.from("nowhere")));
    assert!(matches!(got, Err(TransferError::Inbox(_))), "{got:?}");
    assert!(matches!(sent, Err(TransferError::Refused(Fault::NotFound))), "{sent:?}");
}

#[test]
fn what_cannot_be_read_is_reported_and_the_rest_arrives() {
    let home = Home::new();
    let tree = home.put("t/good", b"x").parent().unwrap().to_path_buf();
    symlink("/etc/passwd", tree.join("escape")).unwrap();
    let (sent, got) = run(job(&[tree, home.from("missing")]), into(&home.inbox()));
    assert_eq!((sent.status, got.status), (Status::Partial, Status::Partial));
    let faults: Vec<Fault> = sent.tally.failures.iter().map(|failure| failure.fault).collect();
    assert_eq!(faults, [Fault::NotFound], "a link that leads out is no part of it");
    assert_eq!(got.tally.skipped, 1);
    assert_eq!(names(&home.inbox().join("t")), ["good"]);
    let (sent, _) = run(job(&[home.from("missing")]), into(&home.inbox()));
    assert_eq!(sent.status, Status::LocalIo);
}

/// Does something to a file when so many bytes of it have been sent.
struct Meddler<'a> {
    after_bytes: u64,
    action: Option<Box<dyn FnOnce() + 'a>>,
    warned: Vec<Failure>,
}

impl Progress for Meddler<'_> {
    fn report(&mut self, at: Snapshot<'_>) {
        if at.bytes_done >= self.after_bytes
            && at.current == b"f"
            && let Some(action) = self.action.take()
        {
            action();
        }
    }

    fn warn(&mut self, failure: &Failure) {
        self.warned.push(failure.clone());
    }
}

/// Until the clock of the file system has ticked.
fn write_with_the_time_put_back(path: &Path) {
    use std::os::unix::fs::MetadataExt;
    let file = File::options().write(true).open(path).unwrap();
    let before = file.metadata().unwrap();
    let changed = |meta: fs::Metadata| (meta.ctime(), meta.ctime_nsec());
    let mut writes = 0..1 << 20;
    while changed(file.metadata().unwrap()) == changed(before.clone()) {
        assert!(writes.next().is_some(), "the clock stands still");
        file.write_all_at(b"x", 5).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
    }
}

#[test]
fn a_source_that_changes_while_it_is_read_is_not_committed() {
    let size = 3_000_000;
    type Change = fn(&Path);
    let changes: [(u64, Change, Fault); 6] = [
        (1_000_000, write_with_the_time_put_back, Fault::Changed),
        (1_000_000, |f| File::options().append(true).open(f).unwrap().set_len(3_000_001).unwrap(), Fault::Changed),
        (1_000_000, |f| File::options().write(true).open(f).unwrap().set_len(2_000_000).unwrap(), Fault::Changed),
        (1_000_000, |f| File::options().write(true).open(f).unwrap().write_all_at(b"x", 5).unwrap(), Fault::Changed),
        (
            0,
            |f| {
                fs::rename(f, f.with_extension("old")).unwrap();
                fs::write(f, b"other").unwrap()
            },
            Fault::Changed,
        ),
        (0, |f| fs::remove_file(f).unwrap(), Fault::NotFound),
    ];
    for (number, (after_bytes, change, fault)) in changes.into_iter().enumerate() {
        let home = Home::new();
        let file = home.put("f", &noise(22, size));
        let after = home.put("g", b"after");
        let action: Option<Box<dyn FnOnce()>> = Some(Box::new(|| change(&file)));
        let mut meddler = Meddler { after_bytes, action, warned: Vec::new() };
        let send = job(&[file.clone(), after]);
        let (sent, got) = run_watched(send, into(&home.inbox()), &mut meddler);
        assert!(meddler.action.is_none());
        assert_eq!((sent.status, got.status), (Status::Partial, Status::Partial), "{number}");
        assert_eq!((only_fault(&sent), got.tally.failures[0].fault), (fault, fault), "{number}");
        assert_eq!(meddler.warned, sent.tally.failures);
        assert_eq!(names(&home.inbox()), ["g"], "{number}");
    }
}
