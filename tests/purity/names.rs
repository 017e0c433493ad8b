//! Who may name what: the core nothing of the system, a folder those below it, a few things one place alone; and who may speak.

use super::source::{Source, first_name};
use std::collections::BTreeSet;

/// What a core folder may not name. Time is an argument there, and bytes come and go through the caller.
const FORBIDDEN_IN_CORE: [&str; 22] = [
    // Whatever the clock is called.
    "::now",
    "elapsed(",
    "= Instant;",
    "SystemTime",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "std::os::",
    "std::fs",
    "std::env",
    "std::io::std",
    "std::thread",
    "std::process",
    "mio::",
    "socket2::",
    "rustix::",
    "signal_hook",
    "exists(",
    "getrandom",
    "extern crate",
    "indicatif::",
    "clap::",
];

/// Modules that have what the core may not name: one that is imported whole says nothing of what is used of it.
const NEVER_WHOLE: [&str; 4] = ["std", "std::io", "std::net", "std::time"];

/// Pure folders, which tests and fuzzers can drive without a system under them.
pub const CORE: [&str; 12] =
    ["identity", "names", "noise", "wire", "carrier", "link", "lane", "session", "relay", "node", "ports", "transfer"];

/// Who may use whom. A folder may always use itself.
const ARROWS: [(&str, &[&str]); 19] = [
    ("identity", &[]),
    ("names", &["identity"]),
    ("noise", &["identity"]),
    ("wire", &["names", "identity"]),
    ("carrier", &["names"]),
    ("link", &["noise", "wire", "identity"]),
    ("lane", &["link", "noise", "wire", "identity"]),
    ("session", &["lane", "noise", "wire"]),
    ("relay", &["link", "wire", "names", "identity"]),
    ("node", &["session", "lane", "link", "carrier", "wire", "noise", "names", "identity"]),
    ("ports", &["node", "names", "identity"]),
    ("net", &[]),
    ("store", &["transfer", "names", "identity"]),
    ("transfer", &["session", "wire"]),
    ("run", &["node", "session", "carrier", "wire", "names", "identity", "net"]),
    ("tools", &["run", "transfer", "ports", "node", "session", "wire", "names", "identity", "net", "store"]),
    ("server", &["relay", "carrier", "wire", "link", "names", "identity", "net"]),
    (
        "cli",
        &[
            "tools", "server", "run", "relay", "transfer", "ports", "node", "session", "carrier", "wire", "names",
            "identity", "net", "store",
        ],
    ),
    ("bin", &["cli"]),
];

/// What is named in one place alone: a file, or a folder with its slash.
const ALONE: [(&str, &[&str]); 18] = [
    ("bincode", &["wire/control.rs"]),
    ("mio::", &["net/"]),
    ("socket2::", &["net/"]),
    // One loop, whatever it drives; readiness that says what a poll of its own would.
    ("Poll::new", &["net/reactor.rs"]),
    ("Events::with_capacity", &["net/reactor.rs"]),
    ("poll_ready(", &["net/reactor.rs"]),
    // One loop that accepts, with one idea of what a shortage is.
    ("try_accept(", &["net/listen.rs", "net/accept.rs"]),
    ("listener.accept(", &["net/listen.rs"]),
    // These ask what is so at once, wait before there is a loop, or wait in a thread of their own.
    ("event::poll", &["net/stdio.rs", "net/list.rs", "tools/recv/leash.rs"]),
    // It may take as long as it likes: a thread of its own waits.
    ("to_socket_addrs", &["net/lookup.rs"]),
    // Nothing ends the process but the end of `main`.
    ("process::exit", &[]),
    ("process::abort", &[]),
    // Nothing speaks but cli: of what goes on in three places, and what was asked for wherever a tool has it. What a peer sent
    // goes out through the file of net that knows how to wait for a pipe.
    ("print!(", &[]),
    ("println!(", &[]),
    ("dbg!(", &[]),
    ("io::stderr", &["cli/report.rs", "cli/progress.rs", "cli/screen.rs"]),
    ("io::stdout", &["cli/", "net/stdio.rs"]),
    // Whoever starts a command elsewhere hands it what a supervisor said to us, and asks for a status that, as process 1,
    // another may have asked for already.
    ("process::Command", &["net/child.rs", "net/reaper.rs"]),
];
/// What is written in one way wherever it is: values, and what goes through an `io::Error`.
const WRITTEN: [&str; 19] = [
    "Address",
    "AppName",
    "Barred",
    "CommandEnded",
    "Endpoint",
    "ListenError",
    "Network",
    "PartName",
    "PeerId",
    "ProxyAddress",
    "Referral",
    "RelayAddress",
    "RequestPath",
    "Rule",
    "Rules",
    "Scheme",
    "Service",
    "Source",
    "Target",
];
/// Errors that come to whoever builds on the core, in words of their own as `std::error::Error` asks for them. No user reads these:
/// `cli` names none of them, and has no error whose type it does not know but what is inside one of the system's. To others it may
/// hand the cause of an error on.
const FOR_BUILDERS: [&str; 10] = [
    "BadSignature",
    "CardError",
    "ControlError",
    "HandshakeError",
    "HandshakeFailure",
    "HeaderError",
    "LinkError",
    "OpenError",
    "SealError",
    "UnknownSuite",
];
/// Where the errors inside one of the system's are put together.
const OF_THE_SYSTEM: &str = "cli/report.rs";

pub fn impurities(source: &Source) -> Vec<String> {
    if !CORE.contains(&source.folder()) {
        return Vec::new();
    }
    let complaint = |(line, code): (usize, &str)| {
        let named = FORBIDDEN_IN_CORE.into_iter().filter(|name| code.contains(*name));
        let whole = imported(code).map(whole).filter(|path| NEVER_WHOLE.contains(path));
        named.chain(whole).map(|name| source.at(line, &format!("the core names {name}"))).collect::<Vec<_>>()
    };
    source.numbered().flat_map(complaint).collect()
}

/// The paths that a line imports.
fn imported(code: &str) -> impl Iterator<Item = &str> {
    let words = code.trim_start();
    let statement = words.split_once("use ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
    let words = statement.map_or("", |(_, paths)| paths).split([' ', ';']);
    words.filter(|word| !word.is_empty()).map(|path| path.trim_start_matches("::"))
}

/// The module that is imported with all it has: `std::io` of `std::io`, `std::io::self` and `std::io::*`.
fn whole(path: &str) -> &str {
    path.trim_end_matches("::*").trim_end_matches("::self")
}

/// What belongs elsewhere alone.
pub fn strays(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (name, places) in ALONE {
        let is_home = |place: &str| source.path == place || (place.ends_with('/') && source.path.starts_with(place));
        if places.iter().any(|place| is_home(place)) {
            continue;
        }
        let lines = source.numbered().filter(|(_, code)| code.contains(name));
        let who = if places.is_empty() { "nothing".to_owned() } else { format!("only {}", places.join(", ")) };
        found.extend(lines.map(|(line, _)| source.at(line, &format!("{who} names {name}"))));
    }
    found
}

/// Words for people where none belong.
pub fn words_for_people(source: &Source) -> Vec<String> {
    if source.folder() == "cli" {
        return words_of_others(source);
    }
    let speaker = |code: &str| code.split_once("Display for ").map(|(_, rest)| first_name(rest).to_owned());
    let found = source.numbered().filter_map(|(line, code)| Some((line, speaker(code)?)));
    let found = found.filter(|(_, name)| !WRITTEN.contains(&name.as_str()) && !FOR_BUILDERS.contains(&name.as_str()));
    found.map(|(line, name)| source.at(line, &format!("the words for {name} belong in cli"))).collect()
}

/// Where `cli` could say what others have words for.
fn words_of_others(source: &Source) -> Vec<String> {
    let found = source.numbered().filter_map(|(line, code)| {
        let mut words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let hidden = ["dyn Error", "dyn std::error::Error"].into_iter().find(|name| code.contains(*name));
        let hidden = hidden.filter(|_| source.path != OF_THE_SYSTEM && !code.contains("fn source(&self)"));
        let name = words.find(|word| FOR_BUILDERS.contains(word)).or(hidden)?;
        Some(source.at(line, &format!("{name} has words that are not of cli")))
    });
    found.collect()
}

/// The folders of ours that some code names: `crate::wire::…`, `vp::cli::…`, or through enough `super::`.
fn named_folders<'a>(code: &'a str, upwards: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    for root in ["crate::", "vp::", upwards].into_iter().filter(|root| !root.is_empty()) {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_') {
                found.push(first_name(code[at + root.len()..].trim_start_matches("super::")));
            }
        }
    }
    found
}

pub fn backward_arrows(source: &Source) -> Vec<String> {
    let Some((folder, allowed)) = ARROWS.iter().find(|(folder, _)| *folder == source.folder()) else {
        return match source.folder() {
            "" => Vec::new(),
            _ => vec![source.at(1, "a folder that the table of arrows does not know")],
        };
    };
    // As many `super` as lead out of the folder: two from `wire/frame.rs`, one from `wire/mod.rs`.
    let depth = source.path.split('/').count() - usize::from(source.path.ends_with("/mod.rs"));
    let known = |name: &&str| ARROWS.iter().any(|(folder, _)| folder == name);
    let upwards = "super::".repeat(depth);
    let named = named_folders(&source.code, &upwards).into_iter().filter(known);
    let backward = named.filter(|name| name != folder && !allowed.contains(name));
    let backward = backward.map(|name| format!("src/{}: {folder} may not use {name}", source.path));
    let roots = ["crate", "vp", upwards.trim_end_matches("::")];
    let is_root = |path: &str| roots.contains(&whole(path).trim_start_matches("self::"));
    let root = source.numbered().filter(|(_, code)| imported(code).any(is_root));
    backward.chain(root.map(|(line, _)| source.at(line, "imports the root, and with it every folder"))).collect()
}

/// Functions and constants that are `pub`, and that nobody outside names. `outside` is all there is: tools, tests, benchmarks,
/// fuzzers. A type may be `pub` for what is.
pub fn uncalled(source: &Source, outside: &BTreeSet<&str>) -> Vec<String> {
    let item = |code: &'_ str| {
        let rest = code.trim_start().strip_prefix("pub ")?;
        let kinds = ["const fn ", "fn ", "const ", "static "];
        Some(first_name(kinds.iter().find_map(|kind| rest.strip_prefix(kind))?).to_owned())
    };
    let found = source.numbered().filter_map(|(line, code)| Some((line, item(code)?)));
    let found = found.filter(|(_, name)| !outside.contains(name.as_str()));
    found.map(|(line, name)| source.at(line, &format!("{name} is pub, and named in the crate alone"))).collect()
}

/// Where a question may need what changes: whoever looks at a disk keeps what it has opened.
const LOOK_AT_DISKS: [&str; 2] = ["store/", "tools/transfers/engine/tree.rs"];

/// Questions that may act: by their names they tell something, and they could change it.
pub fn questions_that_act(source: &Source) -> Vec<String> {
    if LOOK_AT_DISKS.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let name = |code: &str| code.split_once("fn ").map(|(_, rest)| first_name(rest).to_owned());
    let asks = |name: &str| name.starts_with("is_") || name.starts_with("has_");
    let found = source.numbered().filter(|(_, code)| code.contains("(&mut self"));
    let found = found.filter_map(|(line, code)| Some((line, name(code).filter(|name| asks(name))?)));
    found.map(|(line, name)| source.at(line, &format!("{name} is a question and may change something"))).collect()
}
