//! The harness itself can fail: a deadline kills, a difference is found, nothing outlives its handle.

use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::tempdir;
use vp::link::Frame;
use vp::wire::{Control, Kind};

use super::data::{nasty_tree, on_disk, snapshot, sparse};
use super::hostile::{Heard, Raw};
use super::*;

fn sh(home: &Path, script: &str) -> Tool {
    Tool::new("sh", home).args(["-c", script])
}

fn fails(test: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(test)).is_err()
}

#[test]
fn programs_see_a_scrubbed_environment() {
    let home = tempdir().expect("a directory");
    let done = sh(home.path(), "env | cut -d= -f1 | sort").env("VP_KEY", "x").run().expect(0).expect_silence();
    let names = String::from_utf8(done.stdout).expect("text");
    let known = ["HOME", "LANG", "LLVM_PROFILE_FILE", "PATH", "PWD", "SHLVL", "TMPDIR", "VP_KEY", "OLDPWD", "_"];
    assert!(names.lines().all(|name| known.contains(&name)), "{names}");
    assert!(names.contains("VP_KEY"));
}

#[test]
fn random_input_comes_out_as_the_same_digest() {
    let home = tempdir().expect("a directory");
    let input = Input::Random { seed: 9, bytes: 3_000_001 };
    let done = sh(home.path(), "cat").input(input).run().expect(0).expect_random(9, 3_000_001);
    assert!(fails(|| drop(done.expect_random(8, 3_000_001))));
}

#[test]
fn deadline_kills_the_whole_group_and_fails() {
    let home = tempdir().expect("a directory");
    // It bounds the wait for the line too.
    let tool = sh(home.path(), "sleep 1000 & echo $!; wait").within(Duration::from_secs(3));
    let running = tool.spawn();
    let grandchild = running.wait_line("").trim().to_owned();
    let started = Instant::now();
    assert!(fails(|| drop(running.wait())));
    assert!(started.elapsed() < Duration::from_secs(30));
    // Until its new parent reaps it, a killed process is a zombie, state Z.
    eventually("the grandchild is dead", || match fs::read_to_string(format!("/proc/{grandchild}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    });
}

#[test]
fn waiting_for_what_never_comes_fails_at_the_end_of_the_program() {
    let home = tempdir().expect("a directory");
    assert!(fails(|| drop(sh(home.path(), "echo other").spawn().wait_line("ready"))));
    assert!(fails(|| sh(home.path(), "printf 12345").spawn().wait_bytes(6)));
    sh(home.path(), "printf 12345").spawn().wait_bytes(5);
}

#[test]
fn blocked_output_is_not_read_until_told() {
    let home = tempdir().expect("a directory");
    let mut running = sh(home.path(), "head -c 1000000 /dev/zero; echo done >&2").output(Output::Blocked).spawn();
    assert!(!running.ended_by(Instant::now() + Duration::from_millis(100)));
    running.read_on();
    assert_eq!(running.wait().expect(0).bytes, 1_000_000);
}

#[test]
fn held_input_is_written_piece_by_piece() {
    let home = tempdir().expect("a directory");
    let mut running = Tool::new("cat", home.path()).input(Input::Held).spawn();
    running.write(b"one");
    running.wait_output(b"one");
    running.write(b"two");
    running.wait_output(b"onetwo");
    running.close_input();
    running.wait().expect(0);
}

#[test]
fn error_lines_are_counted() {
    let home = tempdir().expect("a directory");
    let said = |text: &str| sh(home.path(), &format!("printf '{text}' >&2; exit 3")).run().expect(3);
    said("t: error: no such key\\nt: hint: make one\\n").expect_error("KEY");
    assert!(fails(|| drop(said("t: error: a\\nt: error: b\\n").expect_error(""))));
    assert!(fails(|| drop(said("t: error: a\\nthread panicked\\n").expect_error(""))));
    assert!(fails(|| drop(said("").expect_error(""))));
}

#[test]
fn every_difference_of_trees_is_found() {
    let dir = tempdir().expect("a directory");
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    nasty_tree(&a);
    let copied = Tool::new("cp", dir.path()).arg("-a").arg(&a).arg(&b).run().expect(0);
    drop(copied);
    assert_same_tree(&a, &b);
    assert!(snapshot(&a).len() > 25);
    let differs = |change: &dyn Fn(), back: &dyn Fn()| {
        change();
        assert!(fails(|| assert_same_tree(&a, &b)), "a difference was not seen");
        back();
    };
    let part = b.join(".vp-part.00");
    differs(&|| fs::write(&part, "").expect("written"), &|| fs::remove_file(&part).expect("removed"));
    differs(&|| symlink("elsewhere", b.join("extra")).expect("linked"), &|| {
        fs::remove_file(b.join("extra")).expect("removed");
    });
    let mode = |bits| move |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(bits)).expect("a mode");
    differs(&|| mode(0o640)(&b.join("modes/644")), &|| {});
}

#[test]
fn names_and_lengths_are_told_while_somebody_renames() {
    let dir = tempdir().expect("a directory");
    let below = dir.path().join("below");
    fs::create_dir(&below).expect("a directory");
    fs::write(below.join("still"), [0; 100]).expect("a file");
    std::thread::scope(|scope| {
        let renamer = scope.spawn(|| {
            for n in 0..3000 {
                let (part, whole) = (below.join(format!("part{n}")), below.join(format!("whole{}", n % 10)));
                fs::write(&part, [0; 7]).and_then(|()| fs::rename(&part, whole)).expect("a file");
            }
        });
        while !renamer.is_finished() {
            assert!(names(dir.path()).iter().any(|name| name == "below/still"));
            assert!((100..100 + 13 * 7).contains(&held(dir.path())));
        }
    });
    assert_eq!(names(dir.path()).len(), 12);
    assert_eq!(held(dir.path()), 100 + 10 * 7);
    assert!(fails(|| drop(names(&dir.path().join("absent")))));
}

#[test]
fn sparse_file_takes_little_room() {
    let dir = tempdir().expect("a directory");
    sparse(&dir.path().join("s"), 8 << 20);
    assert!(on_disk(&dir.path().join("s")) < 1 << 20);
}

/// Two links by hand: the moves that hostile clients are made of do what they say.
#[test]
fn links_by_hand_open_a_circuit_and_carry_bytes() {
    let world = World::new();
    let relay = world.relay();
    let (mut east, mut west) = (Raw::attach(&relay, "east"), Raw::attach(&relay, "west"));
    west.listen("x");
    west.settle();
    let (called, _reply) = east.call(west.id(), "x", 0);
    assert!(east.pending_bytes() > 1600 && east.write_within(DEADLINE) && east.pending_bytes() == 0);
    let offered = west.wait("INCOMING", |heard| match heard {
        Heard::Frame(Frame::Control(Control::Incoming { circuit, .. })) => Some(*circuit),
        _ => None,
    });
    west.say(&Control::Accept { circuit: offered, early: b"early".to_vec() });
    west.data(offered, 1 << 20, b"down");
    west.write();
    let early = east.wait("OPENED", |heard| match heard {
        Heard::Frame(Frame::Control(Control::Opened { early, .. })) => Some(early.clone()),
        _ => None,
    });
    assert_eq!(early, b"early");
    let body = east.wait("DATA", |heard| match heard {
        Heard::Data { circuit, bytes } => Some((*circuit, bytes.clone())),
        _ => None,
    });
    assert_eq!(body, (called, b"down".to_vec()));
    east.bare(Kind::Fin, called, 0);
    east.reset(called, 1);
    east.write();
    west.wait("RESET", |heard| matches!(heard, Heard::Frame(Frame::Reset { .. })).then_some(()));
}
