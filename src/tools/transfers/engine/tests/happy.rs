//! What works when nothing goes wrong.

use super::*;
use crate::tools::transfers::engine::memory::pair;
use std::ffi::OsStr;
use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::slice::from_ref;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn set_time(path: &Path, nanos: u64) {
    let when = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos);
    File::open(path).unwrap().set_times(FileTimes::new().set_modified(when)).unwrap();
}

/// A tree with everything in it that a copy could get wrong.
pub(super) fn nasty_tree(home: &Home) -> PathBuf {
    let root = home.from("tree");
    for file in ["a", "sub/b", "sub/deeper/c", "-rf", "with space", "łódź/日本", ".hidden"] {
        home.put(&format!("tree/{file}"), file.as_bytes());
    }
    fs::write(root.join(OsStr::from_bytes(b"latin1-\xe9\xff")), "bytes").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("x".repeat(255)), "long name").unwrap();
    home.put("tree/large", &noise(1, 3_000_001));
    home.put("tree/text", "all work and no play ".repeat(40_000).as_bytes());
    fs::create_dir(root.join("vide")).unwrap();
    let deep: PathBuf = std::iter::repeat_n("d", 62).collect();
    fs::create_dir_all(root.join(&deep)).unwrap();
    fs::write(root.join(&deep).join("bottom"), "deep").unwrap();
    symlink("sub/b", root.join("link")).unwrap();
    symlink("../a", root.join("sub/up")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    fs::hard_link(root.join("a"), root.join("second name")).unwrap();
    set_mode(&root.join("a"), 0o4751);
    set_mode(&root.join("-rf"), 0o600);
    set_time(&root.join("a"), 1_234_567_890_123_456_789);
    set_time(&root.join("sub/deeper/c"), 1);
    set_mode(&root.join("sub/deeper"), 0o555);
    set_time(&root.join("sub/deeper"), 999_999_999);
    set_time(&root.join("sub"), 77_000_000_001);
    set_time(&root, 88_000_000_002);
    root
}

/// The picture of the source, with what must not travel taken off: set-id bits.
pub(super) fn expected(root: &Path) -> BTreeMap<Vec<u8>, Kept> {
    let strip = |kept| match kept {
        Kept::File { mode: 0o104_751, time, hash } => Kept::File { mode: 0o100_751, time, hash },
        kept => kept,
    };
    picture(root).into_iter().map(|(path, kept)| (path, strip(kept))).collect()
}

#[test]
fn a_nasty_tree_arrives_as_it_was() {
    let home = Home::new();
    let root = nasty_tree(&home);
    let sent = transfer(from_ref(&root), &home.inbox(), Status::Complete);
    assert_eq!(picture(&home.inbox().join("tree")), expected(&root));
    assert_eq!(names(&home.inbox()), ["tree"]);
    let again = transfer(&[root], &home.inbox(), Status::NothingToDo);
    assert_eq!((again.sent_bytes, again.tally.counts.exists), (0, sent.tally.counts.committed));
}

#[test]
fn it_makes_no_difference_how_the_stream_is_cut() {
    let home = Home::new();
    let root = nasty_tree(&home);
    fs::remove_file(root.join("large")).unwrap();
    fs::remove_file(root.join("text")).unwrap();
    for piece_bytes in [1, 7, 4_096] {
        let inbox = home.from(&format!("inbox{piece_bytes}"));
        fs::create_dir(&inbox).unwrap();
        let mut ports = pair();
        ports.0.piece_bytes = piece_bytes;
        ports.1.piece_bytes = piece_bytes;
        let (sent, got) = run_over(ports, job(from_ref(&root)), into(&inbox));
        assert_eq!((sent.unwrap().status, got.unwrap().status), (Status::Complete, Status::Complete));
        assert_eq!(picture(&inbox.join("tree")), expected(&root));
    }
}

#[test]
fn several_sources_and_links_named_on_the_command_line() {
    let home = Home::new();
    let file = home.put("one", b"1");
    let inside = home.put("dir/two", b"2");
    symlink(&inside, home.from("alias")).unwrap();
    let sources = [file, inside.parent().unwrap().to_path_buf(), home.from("alias")];
    transfer(&sources, &home.inbox(), Status::Complete);
    assert_eq!(names(&home.inbox()), ["alias", "dir", "one"]);
    assert_eq!(fs::read(home.inbox().join("alias")).unwrap(), b"2");
    assert!(fs::symlink_metadata(home.inbox().join("alias")).unwrap().is_file());
}

#[test]
fn sparse_files_stay_sparse_and_equal() {
    let home = Home::new();
    let path = home.from("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(&noise(2, 100_000), 30 << 20).unwrap();
    let all_hole = home.from("hole");
    File::create(&all_hole).unwrap().set_len(1 << 30).unwrap();
    let sent = transfer(&[path.clone(), all_hole.clone()], &home.inbox(), Status::Complete);
    assert!(sent.sent_bytes < 1 << 20, "{}", sent.sent_bytes);
    for source in [path, all_hole] {
        let copy = home.inbox().join(source.file_name().unwrap());
        let (before, after) = (fs::metadata(&source).unwrap(), fs::metadata(&copy).unwrap());
        assert_eq!(before.len(), after.len());
        assert!(after.blocks() * 512 < 1 << 20, "{} blocks", after.blocks());
    }
    assert_eq!(fs::read(home.from("sparse")).unwrap(), fs::read(home.inbox().join("sparse")).unwrap());
}

#[test]
fn every_way_of_compressing_gives_the_same_bytes() {
    let home = Home::new();
    let text = "the same words again and again, ".repeat(60_000);
    let mixed = [text.as_bytes(), &noise(3, 2_500_000), text.as_bytes(), b"tail"].concat();
    let source = home.put("mixed", &mixed);
    let levels = [1, 9].map(|level| Compression::Always(level.try_into().unwrap()));
    for (number, compression) in [Compression::Off, Compression::Auto, levels[0], levels[1]].into_iter().enumerate() {
        let inbox = home.from(&number.to_string());
        fs::create_dir(&inbox).unwrap();
        let mut send = job(from_ref(&source));
        send.compression = compression;
        let (sent, got) = run(send, into(&inbox));
        assert_eq!(sent.status, Status::Complete);
        assert_eq!((sent.sent_bytes, got.received_bytes), (mixed.len() as u64, mixed.len() as u64));
        assert_eq!(fs::read(inbox.join("mixed")).unwrap(), mixed);
    }
}

#[test]
fn one_file_goes_to_a_writer_and_a_tree_does_not() {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let home = Home::new();
    let file = home.put("f", &noise(4, 500_000));
    let shared = Shared::default();
    let to_writer = |on_received| ReceiveJob {
        greeted: None,
        destination: Destination::Writer(Box::new(shared.clone())),
        policy: ReceivePolicy::default(),
        sender: SENDER,
        on_received,
        given_up: Box::new(|| false),
    };
    let (sent, got) = run(job(from_ref(&file)), to_writer(None));
    assert_eq!((sent.status, got.status), (Status::Complete, Status::Complete));
    assert_eq!(*shared.0.lock().unwrap(), noise(4, 500_000));

    let failing: Option<Box<OnReceived<'_>>> = Some(Box::new(|_| 7));
    let (sent, _) = run(job(&[file]), to_writer(failing));
    assert_eq!((sent.status, sent.command_status), (Status::CommandFailed, Some(7)));

    shared.0.lock().unwrap().clear();
    let tree = home.put("t/inner", b"x").parent().unwrap().to_path_buf();
    // Of one item it is told when that comes.
    let empty = home.from("empty");
    fs::create_dir_all(&empty).unwrap();
    let (sent, _) = run(job(&[empty]), to_writer(None));
    assert_eq!(sent.status, Status::Refused);
    assert!(sent.tally.failures.iter().all(|failure| failure.fault == crate::transfer::Fault::TreeNotTaken));
    let (sent, got) = run_over(pair(), job(&[tree]), to_writer(None));
    for end in [sent.map(drop), got.map(drop)] {
        assert!(matches!(end, Err(TransferError::Refused(crate::transfer::Fault::TreeNotTaken))), "{end:?}");
    }
    assert!(shared.0.lock().unwrap().is_empty());
}

#[test]
fn the_hook_sees_each_source_once_when_it_is_whole() {
    let home = Home::new();
    let tree = home.put("t/inner/f", b"x").parent().unwrap().parent().unwrap().to_path_buf();
    let file = home.put("f", b"y");
    let mut seen = Vec::new();
    let inbox = home.inbox();
    let mut receive = into(&inbox);
    receive.on_received = Some(Box::new(|received: &Received| {
        assert!(inbox.join("t/inner/f").exists());
        seen.push(String::from_utf8_lossy(received.path.as_bytes()).into_owned());
        if received.path.as_bytes() == b"f" { 3 } else { 0 }
    }));
    let (sent, got) = run(job(&[tree, file]), receive);
    assert_eq!((sent.status, sent.command_status), (Status::CommandFailed, Some(3)));
    assert_eq!((got.status, got.command_status), (Status::CommandFailed, Some(3)));
    assert_eq!(seen, ["t", "f"]);
}

#[test]
fn the_hook_is_called_in_each_transfer_until_it_has_succeeded() {
    let home = Home::new();
    let tree = home.put("t/inner/f", b"x").parent().unwrap().parent().unwrap().to_path_buf();
    let file = home.put("f", b"y");
    let inbox = home.inbox();
    let send = |status: i32, hooked: bool| {
        let mut calls = 0;
        let mut receive = into(&inbox);
        if hooked {
            receive.on_received = Some(Box::new(|_| {
                calls += 1;
                status
            }));
        }
        run(job(&[tree.clone(), file.clone()]), receive);
        calls
    };
    assert_eq!([send(7, true), send(7, true), send(0, true), send(0, true)], [2, 2, 2, 0]);
    // What came without a hook is not owed one later.
    std::fs::remove_dir_all(inbox.join("t")).unwrap();
    assert_eq!([send(0, false), send(0, true)], [0, 0]);
    // Of a tree that was there something that is new is enough.
    std::fs::remove_file(inbox.join("t/inner/f")).unwrap();
    assert_eq!([send(0, true), send(0, true)], [1, 0]);
}

#[test]
fn a_rate_limit_holds() {
    let home = Home::new();
    let source = home.put("f", &noise(5, 300_000));
    let mut send = job(&[source]);
    send.limit = std::num::NonZeroU64::new(1_000_000);
    let begin = std::time::Instant::now();
    let (sent, _) = run(send, into(&home.inbox()));
    assert_eq!(sent.status, Status::Complete);
    // 0.3 s less a burst of 0.1 s and the last chunk, which nobody waits for.
    assert!(begin.elapsed() >= Duration::from_millis(130), "{:?}", begin.elapsed());
}
