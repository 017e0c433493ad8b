//! Somebody changes the receiver's directory while it is written to.

use super::*;
use std::os::unix::fs::symlink;
use std::slice::from_ref;
use std::sync::atomic::{AtomicBool, Ordering};

/// Dropping it says that it is over.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn links_planted_during_the_transfer_lead_nowhere() {
    let home = Home::in_memory();
    let root = home.from("t");
    for directory in 0..20 {
        for file in 0..40 {
            home.put(&format!("t/{directory}/{file}"), b"must not get out");
        }
    }
    let outside = home.from("outside");
    fs::create_dir(&outside).unwrap();
    let over = AtomicBool::new(false);
    let mut swaps = 0_u32;
    thread::scope(|scope| {
        let (over, outside, inbox) = (&over, &outside, home.inbox());
        let racer = scope.spawn(move || {
            let mut swaps = 0_u32;
            while !over.load(Ordering::Relaxed) {
                for directory in 0..20 {
                    let (real, away) = (inbox.join(format!("t/{directory}")), inbox.join("away"));
                    if fs::rename(&real, &away).is_ok() {
                        // The receiver may make it anew at any time; then there is no room.
                        if symlink(outside, &real).is_ok() {
                            swaps += 1;
                            thread::yield_now();
                            fs::remove_file(&real).unwrap();
                        }
                        let _ = fs::rename(&away, &real);
                        let _ = fs::remove_dir_all(&away);
                    }
                }
            }
            swaps
        });
        // Also when a transfer fails: the racer is waited for.
        let end = AtEnd(over);
        for _ in 0..20 {
            let (sent, got) = run_over(pair(), job(from_ref(&root)), into(&home.inbox()));
            let (sent, got) = (sent.unwrap(), got.unwrap());
            assert_eq!(sent.tally.counts, got.tally.counts);
        }
        drop(end);
        swaps = racer.join().unwrap();
    });
    assert!(swaps > 0, "the racer never won, so nothing was tested");
    assert_eq!(names(&outside), [""; 0]);
}

#[test]
fn two_transfers_of_the_same_file_at_once_never_mix() {
    let home = Home::in_memory();
    let content = noise(23, 2_000_000);
    let source = home.put("f", &content);
    for _ in 0..10 {
        let ends = thread::scope(|scope| {
            let attempt = || {
                scope.spawn(|| {
                    let receive = into_with(&home.inbox(), Overwrite::Yes);
                    run_over(pair(), job(from_ref(&source)), receive)
                })
            };
            [attempt(), attempt()].map(|running| running.join().unwrap())
        });
        for (sent, _) in &ends {
            let sent = sent.as_ref().unwrap();
            assert!(matches!(sent.status, Status::Complete | Status::NothingToDo), "{sent:?}");
        }
        assert_eq!(fs::read(home.inbox().join("f")).unwrap(), content);
        fs::remove_file(home.inbox().join("f")).unwrap();
    }
}

#[test]
fn a_directory_that_vanishes_before_the_commit_costs_its_items_only() {
    let home = Home::in_memory();
    let mut sources = vec![home.put("d/f", b"x").parent().unwrap().to_path_buf()];
    sources.push(home.put("z", b"y"));
    let inbox = home.inbox();
    // The receiver's own progress comes between taking the file and committing it.
    struct Remover(PathBuf);
    impl Progress for Remover {
        fn report(&mut self, at: Snapshot<'_>) {
            if at.current == b"z" {
                let _ = fs::remove_dir_all(self.0.join("d"));
            }
        }
    }
    let (mut ours, mut theirs) = pair();
    let (sent, got) = thread::scope(|scope| {
        let sender = scope.spawn(move || job(&sources).run(&mut ours, &mut ()));
        let got = into(&inbox).run(&mut theirs, &mut Remover(inbox.clone()));
        drop(theirs);
        (sender.join().unwrap().unwrap(), got.unwrap())
    });
    assert_eq!((sent.status, got.status), (Status::Partial, Status::Partial));
    assert_eq!(names(&home.inbox()), ["z"]);
}

#[test]
fn transfers_of_one_tree_at_once_all_have_it_there() {
    for overwrite in [Overwrite::Never, Overwrite::Yes, Overwrite::Rename] {
        for senders in [[SENDER, SENDER, SENDER], [SENDER, [1; 32], [2; 32]]] {
            let home = Home::in_memory();
            let tree = home.from("t");
            for number in 0..300 {
                home.put(&format!("t/{}/{number}", number % 3), format!("content {number}").as_bytes());
            }
            let ends = thread::scope(|scope| {
                let attempt = |sender| {
                    let (tree, inbox) = (&tree, home.inbox());
                    let receive = move || ReceiveJob { sender, ..into_with(&inbox, overwrite) };
                    scope.spawn(move || run_over(pair(), job(from_ref(tree)), receive()))
                };
                senders.map(attempt).map(|running| running.join().unwrap())
            });
            for (sent, got) in &ends {
                assert!(sent.as_ref().unwrap().tally.failures.is_empty(), "{overwrite:?} {sent:?}");
                assert!(got.as_ref().unwrap().tally.failures.is_empty(), "{overwrite:?} {got:?}");
            }
            // What one sender has made is not another's to give a time, whose items may have come into it later.
            let alone = senders[0] == senders[1] && keeps_attributes(&home.inbox());
            let seen = |root: &Path| {
                let timeless = |kept| match kept {
                    Kept::Directory { mode, .. } if !alone => Kept::Directory { mode, time: None },
                    kept => kept,
                };
                picture(root).into_iter().map(|(path, kept)| (path, timeless(kept))).collect::<BTreeMap<_, _>>()
            };
            assert_eq!(seen(&home.inbox().join("t")), seen(&tree), "{overwrite:?}: nothing twice, nothing half-made");
        }
    }
}
