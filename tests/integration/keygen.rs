//! `vp-keygen`: keys that nobody else can read, that are never overwritten, and ids that can be typed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::harness::{World, exit, names};

const ID_LETTERS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

#[test]
fn new_key_is_private_and_its_id_is_printed() {
    let world = World::new();
    let done = world.keygen().arg("-o").arg(world.path("new")).run().expect(exit::DONE).expect_silence();
    let id = String::from_utf8(done.stdout).expect("text");
    let data = id.strip_prefix("vp1").and_then(|rest| rest.strip_suffix('\n')).expect("one line, one id");
    assert!(data.chars().all(|letter| ID_LETTERS.contains(letter)), "{id}");
    // 32 bytes are 52 letters of five bits, and six more are the checksum.
    assert_eq!(data.len(), 58);
    let mode = fs::metadata(world.path("new")).expect("a key file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn without_a_file_the_key_goes_to_standard_output_and_works_as_a_file() {
    let world = World::new();
    let done = world.keygen().run().expect(exit::DONE).expect_silence();
    let text = String::from_utf8(done.stdout).expect("text");
    let path = world.write("piped", &text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    let id = world.keygen().arg("-y").arg(&path).run().expect(exit::DONE).stdout;
    let id = String::from_utf8(id).expect("text");
    assert!(text.contains(id.trim()), "the key file says whose it is");
}

#[test]
fn ids_differ_and_are_stable() {
    let world = World::new();
    assert_ne!(world.id("east"), world.id("west"));
    assert_eq!(world.id("east"), world.id("east"));
}

#[test]
fn existing_file_is_never_overwritten_without_force() {
    let world = World::new();
    let before = fs::read(world.key("east")).expect("a key");
    let done = world.keygen().arg("-o").arg(world.key("east")).run();
    done.expect(exit::CONFIG).expect_output(b"").expect_error("east.key");
    assert_eq!(fs::read(world.key("east")).expect("a key"), before);
    let kept = world.path("kept");
    fs::write(&kept, "something of mine").expect("a file");
    world.keygen().arg("-o").arg(&kept).arg("--force").run().expect(exit::DONE);
    assert_ne!(fs::read_to_string(&kept).expect("a key"), "something of mine");
    assert_eq!(fs::metadata(&kept).expect("a key").permissions().mode() & 0o7777, 0o600);
}

#[test]
fn key_is_not_written_through_a_dangling_link_nor_into_a_missing_directory() {
    let world = World::new();
    let dir = world.dir("keys");
    symlink(dir.join("victim"), dir.join("link")).expect("a link");
    world
        .keygen()
        .arg("-o")
        .arg(dir.join("link"))
        .run()
        .expect_one_of(&[exit::FAILED, exit::CONFIG])
        .expect_error("link");
    let absent = dir.join("no/such/key");
    world.keygen().arg("-o").arg(&absent).run().expect_one_of(&[exit::FAILED, exit::CONFIG]).expect_error("no/such");
    assert_eq!(names(&dir), ["link"]);
}

#[test]
fn directory_for_the_users_own_key_is_made_and_no_other() {
    let world = World::new();
    let home = world.dir("home");
    let keygen = |path: &str| world.keygen().env("HOME", &home).arg("-o").arg(home.join(path));
    keygen(".config/vp/key").run().expect(exit::DONE).expect_silence();
    for (name, mode) in [(".config", 0o700), (".config/vp", 0o700), (".config/vp/key", 0o600)] {
        let found = fs::metadata(home.join(name)).expect("it was made").permissions().mode();
        assert_eq!(found & 0o7777, mode, "{name}");
    }
    let other = keygen(".confg/vp/key").run().expect(exit::CONFIG).expect_output(b"").expect_error("no such");
    assert!(other.stderr.contains("hint: make the directory first: mkdir -p "), "{other}");
    let below = world.path("xdg");
    let typed = world.keygen().env("XDG_CONFIG_HOME", &below).arg("-o").arg(below.join("vp/second"));
    typed.run().expect(exit::DONE).expect_silence();
    assert_eq!(names(&home), [".config", ".config/vp", ".config/vp/key"]);
    assert_eq!(names(&below), ["vp", "vp/second"]);
}

#[test]
fn key_file_that_others_can_read_is_refused() {
    let world = World::new();
    for mode in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(world.key("east"), fs::Permissions::from_mode(mode)).expect("a mode");
        let done = world.keygen().arg("-y").arg(world.key("east")).run();
        done.expect(exit::CONFIG).expect_output(b"").expect_error("east.key");
    }
    fs::set_permissions(world.key("east"), fs::Permissions::from_mode(0o400)).expect("a mode");
    world.keygen().arg("-y").arg(world.key("east")).run().expect(exit::DONE);
}

#[test]
fn what_is_no_key_is_refused_and_not_repeated() {
    let world = World::new();
    let good = fs::read_to_string(world.key("east")).expect("a key");
    let secret = good.lines().find(|line| !line.starts_with('#')).expect("a secret line").to_owned();
    let cut = &secret[..secret.len() - 1];
    for bad in ["", "not a key", cut, &format!("{secret}{secret}"), &format!("{good}trailing"), &"#\n".repeat(10_000)] {
        let path = world.write("bad", bad);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        let done = world.keygen().arg("-y").arg(&path).run();
        let done = done.expect(exit::CONFIG).expect_output(b"").expect_error("bad");
        assert!(!done.stderr.contains(cut), "a secret was repeated: {}", done.stderr);
    }
}

#[test]
fn directory_device_and_absent_file_are_no_keys() {
    let world = World::new();
    for path in [world.dir("keys"), world.path("absent"), "/dev/null".into(), "/dev/zero".into()] {
        world.keygen().arg("-y").arg(path).run().expect(exit::CONFIG).expect_output(b"").expect_error("");
    }
}
