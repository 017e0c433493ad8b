//! What is told of a mapping, or of its command, that will not work: before anything is done if it is known then, else with
//! what the far side is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::ports::closed_port;
use crate::harness::{World, exit};

#[test]
fn a_command_that_is_not_there_or_cannot_be_run_is_told_of_before_anything_else() {
    let world = World::new();
    // A relay that is dialled would have to be waited for, and a port that is taken would be what is told of.
    let (_silent, nobody) = closed_port();
    let (_taken, port) = closed_port();
    let east = world.party("east", &format!("{}@{nobody}", world.id("relay")));
    for directory in ["bin", "bin/folder"] {
        world.dir(directory);
    }
    let plain = world.write("bin/plain", "#!/bin/sh\n");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("a mode");
    for (command, status, said) in [
        ("nosuchcmd", 127, "nosuchcmd: command not found"),
        ("folder", 127, "folder: command not found"),
        ("bin/nosuchcmd", 127, "bin/nosuchcmd: command not found"),
        ("bin/plain/more", 127, "bin/plain/more: command not found"),
        ("", 127, ": command not found"),
        ("plain", 126, "plain: cannot be run: permission denied"),
        ("bin/plain", 126, "bin/plain: cannot be run: permission denied"),
        ("bin/folder", 126, "bin/folder: it is a directory, and no command"),
    ] {
        let tool = east.portrep().args(["--import", &format!("{port}=west:app"), "--", command]);
        let done = tool.env("PATH", world.path("bin")).run().expect(status).expect_output(b"");
        assert_eq!(done.stderr, format!("vp-portrep: error: {said}\n"), "{command}");
    }
    // The twin: with a command that is there, the port is what is wrong.
    let done = east.portrep().args(["--import", &format!("{port}=west:app"), "--", "true"]).run();
    done.expect(exit::FAILED).expect_error("cannot listen on");
}
