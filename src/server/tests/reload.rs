//! The list of who may attach, read again.

use super::*;
use crate::net::testkit::until;

/// Editors, and a shell's `>`, empty a file before they write it.
#[test]
fn an_allow_file_that_is_empty_for_a_moment_cuts_nobody_and_one_that_stays_so_everybody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("peers");
    let both = format!("one {}\ntwo {}\n", identity(1).id(), identity(2).id());
    std::fs::write(&path, &both).unwrap();
    let relay = start(2, |options| options.allow = Allow::File(path.clone()));
    let (_caller, mut callee) = joined(relay.address, 1, 2);
    std::fs::write(&path, "").unwrap();
    relay.handle.reload();
    // Whoever would read it at once has time for that.
    let _others: Vec<_> = (0..3).map(|_| Client::attach(relay.address, 1)).collect();
    std::fs::write(&path, format!("{both}three {}\n", identity(3).id())).unwrap();
    let is_in = |client: &mut Client| {
        client.say(Control::Listen { name: app() });
        client.control() == Control::Listening { name: app() }
    };
    until(|| is_in(&mut Client::attach(relay.address, 3)).then_some(()));
    assert!(is_in(&mut callee));
    std::fs::write(&path, "").unwrap();
    relay.handle.reload();
    assert_eq!(callee.control(), Control::Bye { code: CloseCode::Refused.to_wire() });
}
