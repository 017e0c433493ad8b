//! The session breaks, or a program dies, at every place; the same again finishes the job.

use super::happy::{expected, nasty_tree};
use super::*;
use crate::transfer::messages::ANSWER_BYTES;
use std::slice::from_ref;

/// How an attempt ends early.
#[derive(Debug, Clone, Copy)]
enum Break {
    SenderCut,
    SenderKilled,
    ReceiverCut,
    ReceiverKilled,
}

const BREAKS: [Break; 4] = [Break::SenderCut, Break::SenderKilled, Break::ReceiverCut, Break::ReceiverKilled];

fn broken_pair(how: Break, chunks: usize) -> (MemoryPort, MemoryPort) {
    let (mut sender, mut receiver) = pair();
    let broken = match how {
        Break::SenderCut | Break::SenderKilled => &mut sender,
        Break::ReceiverCut | Break::ReceiverKilled => &mut receiver,
    };
    broken.chunks_left = Some(chunks);
    broken.deadly = matches!(how, Break::SenderKilled | Break::ReceiverKilled);
    (sender, receiver)
}

/// What of a file was sent in vain at most: what was under way, and in the sender's hands.
const LOST_BYTES_MAX: u64 = ANSWER_BYTES as u64 + 2 * CHUNK_BYTES as u64;

#[test]
fn one_large_file_goes_on_where_it_broke() {
    let content = noise(10, 2_500_000);
    for how in BREAKS {
        for chunks in (0..48).step_by(3) {
            let home = Home::in_memory();
            let source = home.put("large", &content);
            let attempt = || {
                let mut send = job(from_ref(&source));
                send.compression = Compression::Off;
                send
            };
            let (sent, got) = run_over(broken_pair(how, chunks), attempt(), into(&home.inbox()));
            if sent.is_ok() && got.is_ok() {
                continue; // so many chunks are not needed
            }
            let there: u64 =
                fs::read_dir(home.inbox()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
            let (sent, got) = run(attempt(), into(&home.inbox()));
            assert!(matches!(sent.status, Status::Complete | Status::NothingToDo), "{sent:?}");
            assert_eq!(got.status, sent.status);
            assert_eq!(sent.sent_bytes, content.len() as u64 - there, "{how:?} {chunks}");
            assert_eq!(fs::read(home.inbox().join("large")).unwrap(), content);
            assert_eq!(names(&home.inbox()), ["large"]);
        }
    }
}

#[test]
fn a_tree_is_finished_by_the_second_attempt_and_little_is_sent_twice() {
    let home = Home::in_memory();
    let root = nasty_tree(&home);
    let total: u64 = {
        let inbox = home.from("first");
        fs::create_dir(&inbox).unwrap();
        transfer(from_ref(&root), &inbox, Status::Complete).sent_bytes
    };
    for how in BREAKS {
        for chunks in (0..60).step_by(7) {
            let inbox = home.from(&format!("{how:?}{chunks}"));
            fs::create_dir(&inbox).unwrap();
            let first = broken_pair(how, chunks);
            if let (Ok(_), Ok(_)) = run_over(first, job(from_ref(&root)), into(&inbox)) {
                continue; // so many chunks are not needed
            }
            let (sent, _) = run(job(from_ref(&root)), into(&inbox));
            assert!(matches!(sent.status, Status::Complete | Status::NothingToDo), "{sent:?}");
            assert!(sent.sent_bytes <= total);
            assert_eq!(picture(&inbox.join("tree")), expected(&root), "{how:?} {chunks}");
            assert_eq!(names(&inbox), ["tree"], "{how:?} {chunks}");
        }
    }
}

#[test]
fn many_attempts_that_all_break_still_get_there() {
    let home = Home::in_memory();
    let root = home.from("t");
    for number in 0..300_usize {
        home.put(&format!("t/{number}"), &noise(11, number * 57));
    }
    home.put("t/large", &noise(12, 1_000_000));
    let total: u64 = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let mut sent_in_all = 0;
    for attempt in 0..200 {
        let ports = broken_pair(BREAKS[attempt % 4], 12);
        let (mut ours, mut theirs) = ports;
        ours.piece_bytes = 20_000;
        theirs.piece_bytes = 20_000;
        let mut send = job(from_ref(&root));
        send.compression = Compression::Off;
        let before = committed_bytes(&home.inbox());
        let done = run_over((ours, theirs), send, into(&home.inbox()));
        sent_in_all += committed_bytes(&home.inbox()) - before;
        if done.0.is_ok() {
            break;
        }
        assert!(attempt < 199, "no progress");
    }
    assert_eq!(picture(&home.inbox().join("t")), picture(&root));
    assert_eq!(sent_in_all, total);
}

/// Bytes in the inbox, finished or not.
fn committed_bytes(directory: &Path) -> u64 {
    let mut total = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        total += if meta.is_dir() { committed_bytes(&entry.path()) } else { meta.len() };
    }
    total
}

#[test]
fn a_damaged_tail_costs_only_the_tail() {
    let home = Home::in_memory();
    let content = noise(13, 5 << 20);
    let source = home.put("f", &content);
    let mut send = job(from_ref(&source));
    send.compression = Compression::Off;
    let (sent, _) = run_over(broken_pair(Break::ReceiverKilled, 60), send.clone(), into(&home.inbox()));
    assert!(sent.is_err());
    let [part] = &names(&home.inbox())[..] else { panic!("one part expected") };
    let part = home.inbox().join(part);
    let mut bytes = fs::read(&part).unwrap();
    assert!(bytes.len() > 3 << 20);
    let length = bytes.len();
    bytes[length - 4_096..].fill(0); // as a power cut leaves it
    fs::write(&part, &bytes).unwrap();
    let (sent, _) = run(send, into(&home.inbox()));
    assert_eq!(sent.status, Status::Complete);
    assert_eq!(sent.sent_bytes, (2 << 20), "3 of 5 MiB were intact");
    assert_eq!(fs::read(home.inbox().join("f")).unwrap(), content);
}

#[test]
fn another_sender_and_another_version_start_from_nothing() {
    let home = Home::in_memory();
    let content = noise(14, 1_000_000);
    let source = home.put("f", &content);
    let attempt = |ports, sender| {
        let mut receive = into(&home.inbox());
        receive.sender = sender;
        let mut send = job(from_ref(&source));
        send.compression = Compression::Off;
        run_over(ports, send, receive)
    };
    assert!(attempt(broken_pair(Break::ReceiverCut, 10), SENDER).0.is_err());
    let parts = names(&home.inbox());
    assert_eq!(parts.len(), 1);
    let (sent, _) = attempt(pair(), [1; 32]);
    assert_eq!(sent.unwrap().sent_bytes, 1_000_000);
    fs::remove_file(home.inbox().join("f")).unwrap();
    assert_eq!(names(&home.inbox()), parts, "the other sender's part was left alone");

    let longer = noise(15, 1_000_001);
    fs::write(&source, &longer).unwrap();
    let (sent, _) = attempt(pair(), SENDER);
    assert_eq!(sent.unwrap().sent_bytes, 1_000_001);
    assert_eq!(fs::read(home.inbox().join("f")).unwrap(), longer);
    assert_eq!(names(&home.inbox()), ["f"], "the stale part went with the commit");
}

#[test]
fn a_lost_megabyte_is_the_most_that_a_break_costs() {
    let home = Home::in_memory();
    let content = noise(16, 4_000_000);
    let source = home.put("f", &content);
    let mut send = job(from_ref(&source));
    send.compression = Compression::Off;
    let mut ports = broken_pair(Break::ReceiverCut, 30);
    ports.1.chunks_left = Some(30);
    let (sent, _) = run_over(ports, send.clone(), into(&home.inbox()));
    assert!(sent.is_err());
    let kept = committed_bytes(&home.inbox());
    let (sent, _) = run(send, into(&home.inbox()));
    assert_eq!(sent.sent_bytes + kept, content.len() as u64);
    assert!(kept + LOST_BYTES_MAX >= 30 * CHUNK_BYTES as u64 / 2);
}
