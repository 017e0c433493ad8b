//! The figures that the engine has to reach. In a debug build, only that it works.

use super::*;
use std::time::{Duration, Instant};

/// Says how long it took (with `--nocapture`). Only ten times the goal is an error, and only in
/// optimised code: a busy machine is none, work that grows with the square of its input is.
#[expect(clippy::print_stderr, reason = "a figure for whoever asks for it")]
fn at_most(goal: Duration, took: Duration, what: &str) {
    eprintln!("{what}: {took:?}, goal {goal:?}");
    assert!(cfg!(debug_assertions) || took <= goal * 10, "{what}: {took:?}");
}

#[test]
fn ten_thousand_small_files() {
    let home = memory_directory();
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
    let sent = transfer(std::slice::from_ref(&from), &inbox, Status::Complete);
    at_most(Duration::from_secs(1), begin.elapsed(), "10,000 files of 4 KiB");
    assert_eq!(sent.tally.counts.committed, 10_101);
    let begin = Instant::now();
    transfer(&[from], &inbox, Status::NothingToDo);
    at_most(Duration::from_secs(1), begin.elapsed(), "the same again");
}

#[test]
fn one_large_file() {
    let home = memory_directory();
    let (from, inbox) = (home.path().join("large"), home.path().join("inbox"));
    fs::create_dir(&inbox).unwrap();
    let bytes = if cfg!(debug_assertions) { 64 << 20 } else { 1 << 30 };
    let block = noise(7, 1 << 20);
    let mut file = fs::File::create(&from).unwrap();
    for _ in 0..bytes / block.len() {
        std::io::Write::write_all(&mut file, &block).unwrap();
    }
    let begin = Instant::now();
    transfer(&[from], &inbox, Status::Complete);
    at_most(Duration::from_secs(1), begin.elapsed(), "1 GiB through both engines");
    assert_eq!(fs::metadata(inbox.join("large")).unwrap().len(), bytes as u64);
}
