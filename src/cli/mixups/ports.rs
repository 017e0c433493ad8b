//! Orders of `vp-portrep` as ssh, docker and socat have them.

use super::Refused;
use crate::cli::args::{Export, Import, PortRange};
use crate::cli::config::is_one_slip;
use crate::names::AppName;

pub(super) fn portrep(refused: Refused<'_>) -> Option<String> {
    if refused.plain().contains(&"check") {
        return check(refused);
    }
    if let Some(line) = forwarding(refused).or_else(|| slip_of_check(refused)) {
        return Some(line);
    }
    if refused.knows_no(&["-p", "-L", "-R", "--port"]) {
        return Some(both());
    }
    if refused.knows_no(&["--from", "--peer"]) {
        return Some(format!("who may use an export is said by --allow {}", refused.value_or("PEER")));
    }
    if refused.knows_no(&["--exec"]) {
        return Some(format!("a command comes behind --: -- {}", refused.value_or("CMD")));
    }
    if refused.knows_no(&["-d", "--daemon", "--background"]) {
        return Some(super::foreground("vp-portrep goes on until it is told to stop"));
    }
    if let Some(line) = apart(refused) {
        return Some(line);
    }
    let exports = refused.has(&["--export"]);
    if refused.unknown.is_none() && !exports && refused.has(&["--allow", "--exclusive", "--proxy-protocol"]) {
        return Some(
            "--allow, --exclusive and --proxy-protocol are for the side that has --export APP=HOST:PORT".to_owned(),
        );
    }
    let first = |flag: &str, meant: fn(&str) -> Option<String>| {
        refused.values(flag).into_iter().find_map(meant).map(|line| format!("vp-portrep {flag} {line}"))
    };
    let import = || first("--import", meant_import);
    let line = import().or_else(|| first("--socks", meant_import)).or_else(|| first("--export", meant_export));
    if line.is_some() {
        return line;
    }
    match refused.unknown {
        _ if refused.is_open() => None,
        _ if !refused.has(&["--import", "--export", "--socks"]) => unmarked(refused).or_else(|| Some(both())),
        Some(word) if !word.starts_with('-') => {
            Some(format!("a command comes behind --: vp-portrep --import PORT=PEER:APP -- {word} ..."))
        }
        _ => None,
    }
}

/// A mapping whose sides are words apart, or that stands behind a word without the dashes of an option.
fn apart(refused: Refused<'_>) -> Option<String> {
    let unknown = refused.unknown?;
    let at = refused.words.iter().position(|word| word == unknown)?;
    if let ("import" | "export" | "socks", Some(mapping)) = (unknown, refused.words.get(at + 1)) {
        return Some(format!("vp-portrep --{unknown} {mapping}"));
    }
    let [option, left] = refused.words.get(at.checked_sub(2)?..at)? else { return None };
    let mapping = format!("{left}={unknown}");
    let (option, is_whole) = match &**option {
        "-i" | "--import" => ("--import", mapping.parse::<Import>().is_ok()),
        "-e" | "--export" => ("--export", mapping.parse::<Export>().is_ok()),
        _ => return None,
    };
    (is_whole && !left.contains('=')).then(|| format!("vp-portrep {option} {mapping}"))
}

/// Words for `check` in the mouth of those who know other tools.
const CHECKS: [&str; 5] = ["test", "status", "ping", "try", "doctor"];

/// `checks depot:pg`, `test depot:pg`.
fn slip_of_check(refused: Refused<'_>) -> Option<String> {
    let is_check = |word: &&str| is_one_slip(word, "check") || CHECKS.contains(word);
    refused.unknown.filter(is_check)?;
    let address = refused.plain().into_iter().find(|word| word.contains(':')).unwrap_or("PEER:APP");
    Some(format!("whether a mapping works is said by vp-portrep check {address}"))
}

fn both() -> String {
    "vp-portrep --import PORT=PEER:APP brings a port here, --export APP=HOST:PORT offers one".to_owned()
}

/// `-L`, `-R` and `-D` of ssh. Who has the target chooses it, so such an order is one at each end.
fn forwarding(refused: Refused<'_>) -> Option<String> {
    // Bundled, as in -NL.
    let is_it = |word: &str, letter: char| word.starts_with('-') && !word.starts_with("--") && word.ends_with(letter);
    let value = |letter| {
        let pairs = refused.words.iter().zip(refused.words.iter().skip(1));
        pairs.filter(|(word, _)| is_it(word, letter)).map(|(_, value)| value.as_str()).next()
    };
    let peer_beside = |spec: &str| {
        refused.plain().last().copied().filter(|word| *word != spec && !word.contains(':')).unwrap_or("PEER")
    };
    if let Some(at) = value('D') {
        let peer = peer_beside(at);
        return Some(format!("vp-portrep --socks {at}={peer}:APP, where {peer} exports APP=socks:TARGET,..."));
    }
    let (spec, here) = value('L').map(|spec| (spec, true)).or_else(|| value('R').map(|spec| (spec, false)))?;
    let mut parts = spec.rsplitn(3, ':');
    let (port, host, at) = (parts.next()?, parts.next()?, parts.next()?);
    let peer = peer_beside(spec);
    Some(match here {
        true => format!("vp-portrep --import {at}={peer}:APP here, vp-portrep --export APP={host}:{port} at {peer}"),
        false => format!("vp-portrep --export APP={host}:{port} here, vp-portrep --import {at}=PEER:APP at {peer}"),
    })
}

/// `check` with a mapping, or with the two words of an address apart.
fn check(refused: Refused<'_>) -> Option<String> {
    let all = refused.plain();
    let at = all.iter().position(|word| *word == "check")?;
    let plain = &all[at + 1..];
    let mapped = || ["--import", "--socks"].iter().find_map(|flag| refused.values(flag).first().copied());
    let address = |word: &str| word.rsplit('=').next().unwrap_or(word).to_owned();
    // The two words of an address apart: the second is the one too many.
    if let ([peer, app], Some(unknown)) = (plain, refused.unknown)
        && (*app == unknown || unknown == "check")
        && !peer.contains([':', '='])
    {
        return Some(format!("the application comes behind a colon: vp-portrep check {peer}:{app}"));
    }
    let to = match (plain, mapped()) {
        ([.., one], _) if one.contains(':') => address(one),
        (_, Some(mapping)) => address(mapping),
        _ => "PEER:APP".to_owned(),
    };
    // What is wrong with an option that it has is said already.
    let is_mapped = refused.has(&["--import", "--export", "--socks"]);
    let is_other =
        refused.unknown.is_some() || plain.is_empty() || is_mapped || plain.iter().any(|word| word.contains('='));
    is_other.then(|| format!("check takes one address and no mapping: vp-portrep check {to}"))
}

/// A mapping without its option, or `shop:pg` alone, which may be meant to be here, or only to be tried.
fn unmarked(refused: Refused<'_>) -> Option<String> {
    let [word] = refused.plain()[..] else { return None };
    if word.parse::<Import>().is_ok() && word.contains('=') {
        return Some(format!("vp-portrep --import {word}"));
    }
    if word.parse::<Export>().is_ok() && word.contains('=') {
        return Some(format!("vp-portrep --export {word}"));
    }
    let (peer, app) = word.split_once(':')?;
    if is_port(peer) || word.contains('=') {
        return meant_import(word).map(|line| format!("vp-portrep --import {line}"));
    }
    Some(format!("vp-portrep --import PORT={peer}:{app} has it here, vp-portrep check {peer}:{app} tries it"))
}

fn is_port(text: &str) -> bool {
    text.parse::<PortRange>().is_ok()
}

/// What was meant by an import that was refused: `shop:pg=5434` and `5434:shop:pg` are `5434=shop:pg`.
fn meant_import(value: &str) -> Option<String> {
    if value.parse::<Import>().is_ok() {
        return None;
    }
    if let Some((left, right)) = value.split_once('=') {
        let with_colon = format!("{left}={}", right.replacen('=', ":", 1));
        if right.contains('=') && with_colon.parse::<Import>().is_ok() {
            return Some(with_colon);
        }
        if left == "localhost" {
            return Some(format!("localhost:PORT={right}"));
        }
        if let Some(port) = left.strip_prefix('*').unwrap_or(left).strip_prefix(':').filter(|port| is_port(port)) {
            return Some(format!("0.0.0.0:{port}={right}, for every address of this machine"));
        }
        if let Some((peer, port)) = left.split_once(':').filter(|(_, port)| is_port(port) && !right.contains(':'))
            && !is_port(right)
            && !is_port(peer)
        {
            return Some(format!("{port}={peer}:{right}"));
        }
        let each = left.split([',', ':']).all(is_port).then(|| left.split_once([',', ':'])).flatten();
        match each {
            Some((first, _)) if left.contains(',') => {
                let peer = right.split(':').next().unwrap_or(right);
                return Some(format!("{first}={peer}:APP, and one --import for each of the others"));
            }
            Some((first, last)) => return Some(format!("{first}-{last}={right}")),
            None if left.starts_with(['/', '.']) => return Some(format!("unix:{left}={right}")),
            None => {}
        }
        let app = || {
            right.split_once(':').filter(|(_, port)| is_port(port)).map(|(peer, port)| format!("{port}={peer}:{left}"))
        };
        return match is_port(right) {
            true if left.contains(':') => Some(format!("{right}={left}")),
            true => Some(format!("{right}={left}:APP")),
            false => app(),
        };
    }
    match value.split(':').collect::<Vec<_>>()[..] {
        [port] if is_port(port) => Some(format!("{port}=PEER:APP")),
        [_] => Some("PORT=PEER:APP".to_owned()),
        [port, peer] if is_port(port) => Some(format!("{port}={peer}:APP")),
        [peer, app] if !is_port(app) => Some(format!("PORT={peer}:{app}")),
        [port, peer, app] if is_port(port) => Some(format!("{port}={peer}:{app}")),
        [bind, port, peer, app] if is_port(port) => Some(format!("{bind}:{port}={peer}:{app}")),
        _ => None,
    }
}

/// What was meant by an export that was refused.
fn meant_export(value: &str) -> Option<String> {
    if value.parse::<Export>().is_ok() {
        return None;
    }
    let Some((left, right)) = value.split_once('=') else {
        let path = value.strip_prefix("unix:").unwrap_or(value);
        if path.starts_with(['/', '.']) {
            return Some(format!("APP=unix:{path}"));
        }
        let Some((host, port)) = value.rsplit_once(':').filter(|(_, port)| is_port(port)) else {
            // With a dot it may be either, and is more often a host.
            let is_app = !value.contains('.') && value.parse::<AppName>().is_ok();
            let line = if is_app { format!("{value}=HOST:PORT") } else { format!("APP={value}:PORT") };
            return (!value.contains(':')).then_some(line);
        };
        if let Some((app, host)) = host.split_once(':').filter(|(app, _)| !app.contains('.') && !is_port(app)) {
            return Some(format!("{app}={host}:{port}"));
        }
        // As docker has it, the first is the port elsewhere.
        let host = if is_port(host) { "127.0.0.1" } else { host };
        return Some(format!("APP={host}:{port}"));
    };
    if left.contains(':') || (is_port(left) && !is_port(right) && !right.contains([':', '.', '/', ','])) {
        return Some(format!("{right}={left}"));
    }
    if right == "socks" {
        return Some(format!("{left}=socks:HOST:PORT"));
    }
    match right.split_once(['/', ',']) {
        Some((port, more)) if is_port(port) => {
            let others = if right.contains(',') { ", and one --export for each of the others" } else { "" };
            let is_meant = ["tcp", "udp"].contains(&more) || !others.is_empty();
            return is_meant.then(|| format!("{left}={port}{others}"));
        }
        _ => {}
    }
    if let Some((host, _)) =
        right.split_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<AppName>().is_ok())
    {
        return (!["unix", "socks"].contains(&host) && !is_port(host)).then(|| format!("{left}={host}:PORT"));
    }
    if let Some(port) = right.strip_prefix(':').filter(|port| is_port(port)) {
        return Some(format!("{left}=127.0.0.1:{port}"));
    }
    if let Some((_, target)) = right.split_once("://") {
        return Some(format!("{left}={}", target.trim_end_matches('/')));
    }
    if right.starts_with(['/', '.']) {
        return Some(format!("{left}=unix:{right}"));
    }
    (!right.contains([':', ','])).then(|| format!("{left}={right}:PORT"))
}
