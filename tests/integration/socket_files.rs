//! Socket files of imports: for whom they are, from the first moment on.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{AtEnd, World, exit};

/// Starts a program that leaves everything open of the files it makes, unless it sees to that itself.
const OPEN: [&str; 4] = ["sh", "-c", "umask 0; exec \"$@\"", "sh"];
/// And one that leaves nothing open.
const CLOSED: [&str; 4] = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];

/// A group that a file can be given to here: any for root, else one's own.
fn group(world: &World) -> u32 {
    let own = std::fs::metadata(world.path("peers")).expect("a file");
    if own.uid() == 0 { 4711 } else { own.gid() }
}

#[test]
fn a_socket_file_has_the_mode_and_the_group_that_were_asked_for_at_no_time_more() {
    let world = World::new();
    let relay = world.relay();
    let (path, group) = (world.path("db.sock"), group(&world));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also when what follows fails.
        let _end = AtEnd(|| over.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let Ok(file) = std::fs::symlink_metadata(&path) else { continue };
                assert_eq!(file.mode() & 0o777 & !0o660, 0, "open to others");
            }
        });
        for under in [OPEN, CLOSED] {
            let at = format!("unix:{},mode=660,group={group}=west:app", path.display());
            let import = relay.party("east").portrep().args(["--import", &at]).under(under).spawn();
            import.wait_line(&format!("listening unix:{} west:app", path.display()));
            let file = std::fs::symlink_metadata(&path).expect("a file");
            assert!(file.file_type().is_socket());
            assert_eq!((file.mode() & 0o777, file.gid()), (0o660, group));
            UnixStream::connect(&path).expect("a listener");
            // It dies without a chance to tidy up: the next one finds its file, and replaces it.
            import.kill();
            assert!(path.exists());
        }
    });
}

#[test]
fn users_and_groups_that_nobody_knows_are_a_configuration_error() {
    let world = World::new();
    let relay = world.relay();
    for (option, says) in [("user=no-such", "user=no-such: no user"), ("group=no-such", "group=no-such: no group")] {
        let at = format!("unix:{},{option}=west:app", world.path("sock").display());
        let done = relay.party("east").portrep().args(["--import", &at]).run();
        done.expect(exit::CONFIG).expect_error(says);
    }
    for (option, says) in [("mode=999", "octal"), ("mod=660", "mode="), ("mode=", "empty")] {
        let at = format!("unix:{},{option}=west:app", world.path("sock").display());
        let done = relay.party("east").portrep().args(["--import", &at]).run();
        done.expect(exit::USAGE).expect_error(says);
    }
    assert!(!world.path("sock").exists());
}

#[test]
fn a_socket_file_that_cannot_be_given_away_is_not_left_over() {
    let world = World::new();
    let relay = world.relay();
    let path = world.path("sock");
    let at = format!("unix:{},user=4711,mode=666=west:app", path.display());
    let import = relay.party("east").portrep().args(["--import", &at]);
    // Root without the right to give files away; nobody else has it anyway.
    let root = std::fs::metadata(world.path("peers")).expect("a file").uid() == 0;
    let import = if root { import.under(["setpriv", "--bounding-set=-chown"]) } else { import };
    let done = import.run().expect(exit::FAILED).expect_error("cannot give unix:");
    assert!(done.stderr.contains("hint: only root"), "{done}");
    assert!(!path.exists());
}
