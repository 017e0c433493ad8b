//! What is told of a mapping, or of its command, that will not work: before anything is done if it is known then, else with
//! what the far side is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::ports::{Target, closed_port};
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

#[test]
fn a_command_whose_mapping_leads_to_another_tool_ends_with_what_the_far_side_is() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    world.dir("inbox");
    let _recv = west.waiting(west.recv().args(["x", "--keep", "-d", "inbox"]));
    let asked = east.check("west:x").run().expect(exit::REFUSED);
    assert!(asked.stderr.contains("west:x: it is a receiver (vp-recv)"), "{asked}");
    for timeout in ["0", "2s"] {
        for command in [&["--", "touch", "began"][..], &[]] {
            let tool = east.portrep().args(["--timeout", timeout, "--import", "0=west:x"]).args(command);
            let done = tool.run().expect(exit::REFUSED);
            assert_eq!(done.stderr, asked.stderr, "as check says it, and once");
        }
    }
    assert!(!world.path("began").exists());
}

#[test]
fn a_command_whose_mappings_do_not_all_work_is_told_which_and_why() {
    let world = World::new();
    let relay = world.relay();
    let (east, west) = (relay.party("east"), relay.party("west"));
    let target = Target::echo();
    let (_held, nobody) = closed_port();
    world.dir("inbox");
    let _recv = west.waiting(west.recv().args(["inbox", "--keep", "-d", "inbox"]));
    let export = west.portrep().arg("--export").arg(format!("good={}", target.at));
    let export = export.arg("--export").arg(format!("down={nobody}")).spawn();
    export.wait_line("serving good ");
    export.wait_line("serving down ");
    for (bad, status, said) in [
        ("down", exit::FAILED, "west:down: at west: the target refuses connections"),
        ("inbox", exit::REFUSED, "west:inbox: "),
        ("nothing", exit::PEER_ABSENT, "west:nothing: "),
    ] {
        let tool = east.portrep().args(["--timeout", "3s", "--import", "0=west:good", "--import"]);
        let done = tool.arg(format!("0=west:{bad}")).args(["--", "touch", "began"]).run();
        drop(done.expect(status).expect_error(said));
    }
    assert!(!world.path("began").exists());
}
