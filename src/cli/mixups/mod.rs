//! Command lines that people mix up, because other tools take them so, and the line that was meant. Only words that were refused
//! come here: nothing that works is ever guessed at.

mod address;
mod options;
mod ports;
mod transfer;

pub(super) use address::{address, one_of_many};
pub(super) use options::tip;

use std::net::IpAddr;
use std::path::Path;

use clap::Command;

use super::args::{Flag, Part, parts};
use super::units::Rate;

/// Words that were refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused<'a> {
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
pub(super) fn meant(refused: Refused<'_>) -> Option<String> {
    if let Some(line) = nameless_relay(refused).or_else(|| rate(refused)).or_else(|| unquoted(refused)) {
        return Some(line);
    }
    match refused.tool {
        "vp-keygen" => keygen(refused),
        "vp-send" => transfer::send(refused),
        "vp-recv" => transfer::recv(refused),
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

/// A rate as other tools have it: of bits, or with what a rate is anyway.
fn rate(refused: Refused<'_>) -> Option<String> {
    let odd = refused.values("--limit").into_iter().find(|value| value.parse::<Rate>().is_err())?;
    let number = odd.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = odd[number.len()..].to_ascii_lowercase();
    if number.is_empty() {
        return None;
    }
    if unit.contains("bit") || unit.contains("bps") {
        return Some(
            "a rate is of bytes a second, a byte being 8 bits: --limit 1M is 8 Mbit/s and a little more".to_owned(),
        );
    }
    let bare = odd.strip_suffix("/s").or_else(|| odd.strip_suffix("ps"))?;
    bare.parse::<Rate>().is_ok().then(|| format!("a rate is of a second anyway: --limit {bare}"))
}

/// A command whose words stand apart: `--exec nc localhost 22`.
fn unquoted(refused: Refused<'_>) -> Option<String> {
    let at = refused.words.iter().position(|word| word == "--exec")?;
    let behind = refused.words.get(at + 1..)?;
    let words = behind.iter().take_while(|word| !word.starts_with("--")).count();
    // The last word of vp-send is the peer's.
    let words = if refused.tool == "vp-send" && words == behind.len() { words.checked_sub(1)? } else { words };
    let typed = &behind[..words];
    let is_stray = match refused.unknown {
        Some(unknown) => typed.iter().skip(1).any(|word| word.starts_with(unknown)),
        None => refused.tool == "vp-send" && refused.plain().len() > 1,
    };
    let command = typed.join(" ");
    is_stray.then(|| format!("a command is one word, in quotes: --exec '{command}'"))
}

/// What a key is asked for by, where other tools have orders for that.
const SHOWS: [&str; 6] = ["show", "id", "public", "pubkey", "pub", "print"];
/// What a key is made by there.
const MAKES: [&str; 6] = ["generate", "gen", "genkey", "new", "create", "make"];

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
    if refused.knows_no(&["-q", "-v", "--quiet", "--verbose"]) {
        return Some("vp-keygen says nothing but the id: leave the option out".to_owned());
    }
    match (refused.unknown, &refused.plain()[..]) {
        (Some(unknown), [order, rest @ ..]) if unknown == *order && rest.len() < 2 && SHOWS.contains(order) => {
            let file = rest.first().unwrap_or(&"FILE");
            Some(format!("the id of a key is shown by vp-keygen -y {file}"))
        }
        (Some(unknown), [order, rest @ ..]) if unknown == *order && rest.len() < 2 && MAKES.contains(order) => {
            Some(format!("a key is made by vp-keygen -o {}", rest.first().unwrap_or(&"FILE")))
        }
        (Some(unknown), [file]) if unknown == *file => {
            Some(format!("vp-keygen -o {file} makes a key, -y {file} shows its id"))
        }
        _ => None,
    }
}

/// What is said to whoever looks for a daemon.
fn foreground(instead: &str) -> String {
    format!("{instead}; it stays in the foreground, for a supervisor such as systemd")
}

/// That `vp-attach` has no ports.
const NO_PORT: &str = "an application is named, not a port: vp-attach PEER:APP; the relay's port is in its address";

/// Options that nc and ssh have.
fn attach_unknown(refused: Refused<'_>) -> Option<String> {
    Some(match refused.unknown? {
        "-p" | "--port" => NO_PORT.to_owned(),
        "-e" | "-c" | "--sh-exec" => format!("a command is named by --exec '{}'", refused.value_or("CMD")),
        "-i" | "--identity" => format!("a key is named by -k {}", refused.value_or("FILE")),
        "--to" | "--peer" | "--host" | "--connect" | "--dial" => {
            format!("whom to call is named without an option: vp-attach {}", refused.value_or("PEER:APP"))
        }
        "-u" | "-N" | "-T" | "-t" | "-4" | "-6" => {
            "a pipe is a stream of bytes and needs no such option: vp-attach PEER:APP".to_owned()
        }
        "-J" => "a relay is named by -r ID@HOST:PORT".to_owned(),
        "-w" => format!("how long to wait is said by --timeout {}s", refused.value_or("5")),
        "-L" | "-R" | "-D" | "-W" => "ports are replicated by vp-portrep: vp-portrep --import PORT=PEER:APP".to_owned(),
        _ => return None,
    })
}

fn attach(refused: Refused<'_>) -> Option<String> {
    if let Some(line) = attach_unknown(refused) {
        return Some(line);
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
                Ok(_) => NO_PORT.to_owned(),
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
    if refused.knows_no(&["--allow-all", "--any", "--public"]) {
        return Some("--open lets in anybody".to_owned());
    }
    if refused.knows_no(&["--config", "-c", "-f"]) {
        return Some("there is no file of settings: options say all, --allow FILE who may connect".to_owned());
    }
    if refused.knows_no(&["--tls", "--cert", "--ssl"]) {
        return Some("every link is encrypted, without an option or a certificate".to_owned());
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
