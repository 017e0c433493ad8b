//! The figures that the engine has to reach. In a debug build, only that it works.

use super::*;
use std::time::{Duration, Instant};

/// Time goals hold for optimised code alone.
fn at_most(goal: Duration, took: Duration, what: &str) {
    let note = format!("{what}: {took:?} (goal {goal:?})");
    std::io::Write::write_all(&mut std::io::stderr(), format!("{note}\n").as_bytes()).unwrap();
    assert!(cfg!(debug_assertions) || took <= goal * 2, "{note}");
}

fn shm() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

#[test]
fn ten_thousand_small_files() {
    let home = shm();
    let (from, inbox) = (home.path().join("tree"), home.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    let content = noise(6, 4_096);
    for directory in 0..100 {
        let directory = from.join(directory.to_string());
        fs::create_dir_all(&directory).unwrap();
        for file in 0..100 {
            fs::write(directory.join(file.to_string()), &content).unwrap();
        }
    }
    let begin = Instant::now();
    let sent = transfer(&[from.clone()], &inbox, Status::Complete);
    at_most(
        Duration::from_secs(1),
        begin.elapsed(),
        "10,000 files of 4 KiB",
    );
    assert_eq!(sent.tally.counts.committed, 10_101);
    let begin = Instant::now();
    transfer(&[from], &inbox, Status::NothingToDo);
    at_most(Duration::from_secs(1), begin.elapsed(), "the same again");
}

#[test]
fn one_large_file() {
    let home = shm();
    let (from, inbox) = (home.path().join("large"), home.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    let bytes = if cfg!(debug_assertions) {
        64 << 20
    } else {
        1 << 30
    };
    let block = noise(7, 1 << 20);
    let mut file = fs::File::create(&from).unwrap();
    for _ in 0..bytes / block.len() {
        std::io::Write::write_all(&mut file, &block).unwrap();
    }
    let begin = Instant::now();
    transfer(&[from], &inbox, Status::Complete);
    at_most(
        Duration::from_secs(1),
        begin.elapsed(),
        "1 GiB through both engines",
    );
    assert_eq!(
        fs::metadata(inbox.join("large")).unwrap().len(),
        bytes as u64
    );
}
