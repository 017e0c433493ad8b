//! Orders that people mix up, because other tools have them so, and the line that was meant. Only words that were refused
//! come here: nothing that works is ever guessed at.

mod address;
mod options;
mod ports;

pub use address::{address, one_of_many};
pub use options::tip;

use std::net::IpAddr;
use std::path::Path;

use clap::Command;

use super::args::{Flag, Part, parts};

/// Words that were refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The tool that they were for.
    pub tool: &'a str,
    /// Its options.
    pub command: &'a Command,
    /// All of them.
    pub words: &'a [String],
    /// The one that the tool does not know, if that is what is wrong. Of `-avz` it is `-a`.
    pub unknown: Option<&'a str>,
}

/// The line that somebody meant who typed these words and had them refused.
pub fn meant(refused: Refused<'_>) -> Option<String> {
    if let Some(line) = nameless_relay(refused) {
        return Some(line);
    }
    match refused.tool {
        "vp-keygen" => keygen(refused),
        "vp-send" => send(refused),
        "vp-recv" => recv(refused),
        "vp-relay" => relay(refused),
        "vp-portrep" => ports::portrep(refused),
        "vp-attach" => attach(refused),
        _ => None,
    }
}

impl<'a> Refused<'a> {
    /// The options among the words.
    fn flags(self) -> impl Iterator<Item = Flag<'a>> {
        parts(self.command, self.words).into_iter().filter_map(|part| match part {
            Part::Flag(flag) => Some(flag),
            Part::Operand(_) => None,
        })
    }

    /// Whether one of these options stands among the words. Each has its long name.
    fn has(self, flags: &[&str]) -> bool {
        self.flags().any(|flag| flags.contains(&&*flag.name))
    }

    /// Whether what is unknown is one of these.
    fn knows_no(self, flags: &[&str]) -> bool {
        self.unknown.is_some_and(|unknown| flags.contains(&unknown))
    }

    /// The values of an option, by its long name, or by the one typed if the tool does not have it.
    fn values(self, name: &str) -> Vec<&'a str> {
        self.flags().filter(|flag| flag.name == name).filter_map(|flag| flag.value).collect()
    }

    /// The words that are neither options nor values of options that the tool has.
    fn plain(self) -> Vec<&'a str> {
        let operand = |part| if let Part::Operand(word) = part { Some(word) } else { None };
        parts(self.command, self.words).into_iter().filter_map(operand).collect()
    }

    /// Whether an option lacks its value: then that is what is wrong.
    fn is_open(self) -> bool {
        self.flags().any(|flag| flag.is_open)
    }

    /// What stands behind the unknown option, or as a placeholder this.
    fn value_or(self, placeholder: &'a str) -> &'a str {
        let flag = self.unknown.unwrap_or_default();
        self.values(flag).first().copied().unwrap_or(placeholder)
    }
}

/// A relay without its id: a host, with or without a port or a scheme.
fn nameless_relay(refused: Refused<'_>) -> Option<String> {
    let odd = refused.values("--relay").into_iter().find(|value| !value.contains('@'))?;
    let host = odd.split_once("://").map_or(odd, |(_, host)| host);
    let is_host = host != odd || (host.contains(['.', ':']) && !Path::new(host).exists() && !host.starts_with('.'));
    is_host.then(|| format!("the relay's id is missing: -r ID@{host}, as vp-relay printed it"))
}

fn keygen(refused: Refused<'_>) -> Option<String> {
    if refused.knows_no(&["-t", "-b", "-N", "-C", "-P"]) {
        return Some("a key has one kind, no passphrase and no comment: vp-keygen -o FILE".to_owned());
    }
    if refused.knows_no(&["-l", "-k", "-i", "--key", "--id", "--pubkey", "--public"]) {
        return Some(format!("the id of a key is shown by vp-keygen -y {}", refused.value_or("FILE")));
    }
    if refused.knows_no(&["-f"]) {
        let file = refused.value_or("FILE");
        return Some(format!("vp-keygen -o {file} makes a key, -y {file} shows its id"));
    }
    if refused.is_open() {
        return Some(match refused.has(&["--show-id"]) {
            true => "the id of this user's key is shown by vp-keygen -y ~/.config/vp/key".to_owned(),
            false => "this user's key is made by vp-keygen -o ~/.config/vp/key".to_owned(),
        });
    }
    match (refused.unknown, &refused.plain()[..]) {
        (Some(unknown), [file]) if unknown == *file => {
            Some(format!("vp-keygen -o {file} makes a key, -y {file} shows its id"))
        }
        _ => None,
    }
}

fn send(refused: Refused<'_>) -> Option<String> {
    if let Some(odd) = refused.values("--relay").into_iter().find(|value| !value.contains('@')) {
        return Some(format!("-r names a relay; directories are sent whole without an option: vp-send {odd} PEER"));
    }
    if let Some(unknown) = refused.unknown {
        return send_unknown(refused, unknown);
    }
    if refused.is_open() {
        return None;
    }
    let plain = refused.plain();
    if let Some(command) = refused.values("--exec").last().filter(|_| plain.is_empty()) {
        return Some(format!("vp-send --exec '{command}' PEER[:APP]"));
    }
    match plain[..] {
        [] => Some(
            "vp-send FILE... PEER[:APP] sends files, COMMAND | vp-send - PEER[:APP] what a command writes".to_owned(),
        ),
        [file] if file == "-" || Path::new(file).exists() => {
            Some(format!("to whom is missing: vp-send {file} PEER[:APP]"))
        }
        // As other tools have it.
        [peer] if refused.words.iter().any(|word| word == "-n") => {
            let file = refused.values("--name").last().copied().unwrap_or("FILE");
            Some(format!("-n gives a stream a name; to see what would be sent: vp-send --dry-run {file} {peer}"))
        }
        [peer] => {
            let name = refused.values("--name").last().map(|name| format!("--name {name} ")).unwrap_or_default();
            Some(format!(
                "what to send comes first, to whom last: vp-send FILE {peer}, or COMMAND | vp-send - {name}{peer}"
            ))
        }
        _ => None,
    }
}

/// Where ports are, and where they are not.
const PORT: &str = "the only port is the relay's, in its address: -r ID@HOST:PORT";

fn send_unknown(refused: Refused<'_>, unknown: &str) -> Option<String> {
    Some(match unknown {
        "--delete" | "--delete-after" | "--remove" => {
            "nothing is ever deleted at the receiver; vp-recv -d DIR --overwrite yes replaces what differs".to_owned()
        }
        "-p" | "-P" | "--port" if refused.value_or("").parse::<u16>().is_ok() => PORT.to_owned(),
        "-a" | "-p" | "-R" | "-z" | "-P" | "-C" | "--archive" | "--recursive" => {
            "directories, modes, times and compression need no option: vp-send SOURCE... PEER".to_owned()
        }
        "--overwrite" | "--from" | "--keep" | "-d" | "--directory" | "--max-size" | "--max-items" => {
            format!("{unknown} is for the receiver to say, by its vp-recv: vp-recv [APP] -d DIR ...")
        }
        "--bwlimit" => format!("vp-send --limit {} takes so many bytes a second at most", refused.value_or("RATE")),
        "--progress" | "--stats" => "on a terminal progress is shown without an option; -v names each file".to_owned(),
        "--exclude-from" | "--include" => {
            "patterns are given one by one, as often as wanted: --exclude PATTERN, and --exclude '!PATTERN' takes in again"
                .to_owned()
        }
        "--files-from" => "files are named one by one, before the peer: vp-send SOURCE... PEER".to_owned(),
        "-e" | "--rsh" => "no other program carries what is sent; --exec CMD sends what CMD writes".to_owned(),
        "-i" | "--identity" => format!("a key is named by -k {}", refused.value_or("FILE")),
        "--to" | "-t" | "--host" => format!("to whom is the last word: vp-send SOURCE... {}", refused.value_or("PEER[:APP]")),
        _ => return None,
    })
}

fn recv(refused: Refused<'_>) -> Option<String> {
    if let Some(odd) = refused.values("--relay").into_iter().find(|value| !value.contains('@')) {
        return Some(format!("-r names a relay; files go into a directory by vp-recv -d {odd}"));
    }
    let value = refused.value_or("PEER");
    match refused.unknown {
        Some("-o" | "--output") => {
            let file = refused.value_or("FILE");
            return Some(format!(
                "a stream goes to standard output: vp-recv > {file}; files go into a directory: -d DIR"
            ));
        }
        Some("-l" | "--listen" | "-p" | "--port") if value.parse::<u16>().is_ok() => {
            return Some("vp-recv attaches to the relay and listens on no port: vp-recv [APP] --from PEER".to_owned());
        }
        Some("-l" | "--listen") => {
            return Some(format!("vp-recv waits without an option: vp-recv {}", refused.value_or("APP")));
        }
        Some("-p" | "--to") => return Some("a peer is named by --from PEER, a directory by -d DIR".to_owned()),
        Some("-f") => return Some(format!("a peer is named by --from {value}")),
        Some("--daemon" | "-D" | "--background") => {
            return Some(foreground("--keep receives until it is told to stop"));
        }
        _ => {}
    }
    let bare = |word: &'_ str| {
        let word = word.split_once("://").map_or(word, |(_, rest)| rest);
        word.split_once('@').map_or(word, |(_, rest)| rest).replacen('/', ":", usize::from(!word.contains(':')))
    };
    let foreign = |word: &&str| word.contains(':') || word.contains('@');
    let called = refused.plain().into_iter().find(foreign).map(bare);
    let address = called.as_deref().and_then(|word| word.split_once(':'));
    if let Some((peer, app)) = address.filter(|(peer, app)| !peer.is_empty() && !app.contains(['/', ':'])) {
        return Some(format!("vp-recv is called, and calls nobody: vp-recv {app} --from {peer}"));
    }
    let plain = refused.plain();
    match (refused.unknown, &plain[..]) {
        (Some(unknown), [peer, app]) if *app == unknown => {
            return Some(format!(
                "one word names the application: vp-recv {app} --from {peer}, or vp-recv {peer} -d {app}"
            ));
        }
        (None, [path]) if path.contains('/') => {
            return Some(format!("a word alone names an application; a directory is named by vp-recv -d {path}"));
        }
        _ => {}
    }
    let lacks_sink = refused.unknown.is_none() && !refused.has(&["--directory", "--exec"]);
    (lacks_sink && refused.has(&["--keep", "--overwrite"]))
        .then(|| "say where to, each time: vp-recv [APP] --keep -d DIR, or --keep --exec CMD".to_owned())
}

/// What is said to whoever looks for a daemon.
fn foreground(instead: &str) -> String {
    format!("{instead}; it stays in the foreground, for a supervisor such as systemd")
}

fn attach(refused: Refused<'_>) -> Option<String> {
    let named =
        || "an application is named, not a port: vp-attach PEER:APP; the relay's port is in its address".to_owned();
    if refused.knows_no(&["-p", "--port"]) {
        return Some(named());
    }
    match refused.unknown {
        Some("-e" | "-c" | "--sh-exec") => {
            return Some(format!("a command is named by --exec '{}'", refused.value_or("CMD")));
        }
        Some("-i" | "--identity") => return Some(format!("a key is named by -k {}", refused.value_or("FILE"))),
        Some("-J") => return Some("a relay is named by -r ID@HOST:PORT".to_owned()),
        Some("-w") => return Some(format!("how long to wait is said by --timeout {}s", refused.value_or("5"))),
        Some("-L" | "-R" | "-D" | "-W") => {
            return Some("ports are replicated by vp-portrep: vp-portrep --import PORT=PEER:APP".to_owned());
        }
        _ => {}
    }
    if let Some(odd) = refused.values("--listen").into_iter().find(|value| value.contains(':')) {
        let (peer, app) = odd.split_once(':')?;
        let is_host = app.parse::<u16>().is_ok() || peer.parse::<IpAddr>().is_ok();
        return Some(if is_host {
            "an application is named, and no address: vp-attach --listen APP".to_owned()
        } else {
            format!("vp-attach --listen {app} --from {peer}")
        });
    }
    match (refused.unknown, &refused.plain()[..]) {
        (Some(unknown), ["-", peer]) | (Some(unknown), [peer, "-"]) if unknown == *peer || unknown == "-" => {
            return Some(format!("standard input and output are joined without a word: vp-attach {peer}"));
        }
        (Some(unknown), [peer, app]) if unknown == *app && !peer.contains(':') => {
            return Some(match app.parse::<u16>() {
                Ok(_) => named(),
                Err(_) => format!("vp-attach {peer}:{app}"),
            });
        }
        (Some(unknown), [peer, ..]) if !unknown.starts_with('-') && peer.contains(':') && peer != &unknown => {
            return Some("what runs at the other end is said there: vp-attach --listen APP --exec CMD".to_owned());
        }
        _ => {}
    }
    if refused.unknown.is_some() {
        return None;
    }
    if refused.words.iter().any(|word| word == "-") {
        return Some("standard input and output are joined without a word: vp-attach PEER:APP".to_owned());
    }
    let called = !refused.plain().is_empty();
    if refused.has(&["--listen"]) {
        if refused.has(&["--keep"]) && !refused.has(&["--exec"]) && !called {
            return Some(
                "each session needs a command of its own: vp-attach --listen APP --keep --exec CMD".to_owned(),
            );
        }
        return called
            .then(|| "one side waits, the other dials: vp-attach --listen APP, vp-attach PEER:APP".to_owned());
    }
    if refused.has(&["--from", "--keep", "--exec", "--exclusive"]) {
        let line = "--from, --keep, --exec and --exclusive are for the side that waits: vp-attach --listen APP ...";
        return Some(line.to_owned());
    }
    let is_bare = !called && !refused.is_open();
    is_bare.then(|| "vp-attach PEER:APP calls a peer, vp-attach --listen APP waits to be called".to_owned())
}

fn relay(refused: Refused<'_>) -> Option<String> {
    let every = |port: &str| format!("vp-relay --listen [::]:{port}, for every address of this machine");
    if let Some(port) = ["--port", "-p"].iter().find_map(|flag| refused.values(flag).first().copied()) {
        return Some(every(port.rsplit(':').next().unwrap_or(port)));
    }
    if refused.knows_no(&["--peers"]) {
        return Some(format!("who may connect is said by --allow {}", refused.value_or("FILE")));
    }
    if refused.knows_no(&["--daemon", "-d", "-D", "--background"]) {
        return Some(foreground("vp-relay serves until it is told to stop"));
    }
    let bind = ["--bind", "--address", "--host"].iter().find_map(|flag| refused.values(flag).first().copied());
    let is_place = |word: &&str| !word.starts_with('-') && word.contains(|c: char| c.is_ascii_digit() || c == ':');
    let alone = || refused.unknown.filter(is_place);
    if let Some(place) = bind.or_else(alone) {
        return Some(match place.parse::<u16>() {
            Ok(_) => every(place),
            Err(_) => format!("vp-relay --listen {}", address::listening(place)),
        });
    }
    let odd = refused.values("--listen").into_iter().find(|value| value.parse::<std::net::SocketAddr>().is_err());
    match odd {
        Some(odd) => {
            let place = address::listening(odd);
            let note = if place.starts_with("[::]") { ", for every address of this machine" } else { "" };
            Some(format!("an address and a port are wanted: vp-relay --listen {place}{note}"))
        }
        None if refused.unknown.is_none() && !refused.has(&["--allow", "--open"]) => {
            Some("--allow FILE names who may connect, a line NAME ID each; --open lets in anybody".to_owned())
        }
        None => None,
    }
}

#[cfg(test)]
mod tests;
