//! Orders of `vp-portrep` as ssh, docker and socat have them.

use super::Refused;
use crate::cli::args::{Export, Import, PortRange};

pub(super) fn portrep(refused: Refused<'_>) -> Option<String> {
    if let Some(at) = refused.words.iter().position(|word| word == "check") {
        return check(refused, at);
    }
    if let Some(line) = forwarding(refused) {
        return Some(line);
    }
    if refused.knows_no(&["-p", "-L", "-R", "--port"]) {
        return Some(both());
    }
    let exports = refused.has(&["--export", "-e"]);
    if refused.unknown.is_none() && !exports && refused.has(&["--allow", "--exclusive", "--proxy-protocol"]) {
        return Some(
            "--allow, --exclusive and --proxy-protocol are for the side that has --export APP=HOST:PORT".to_owned(),
        );
    }
    let import =
        refused.values("--import", "-i").find_map(meant_import).map(|line| format!("vp-portrep --import {line}"));
    let socks =
        || refused.values("--socks", "--socks").find_map(meant_import).map(|line| format!("vp-portrep --socks {line}"));
    let export =
        || refused.values("--export", "-e").find_map(meant_export).map(|line| format!("vp-portrep --export {line}"));
    let line = import.or_else(socks).or_else(export).or_else(|| unmarked(refused.words));
    line.or_else(|| {
        let is_mapping = |word: &String| ["-e", "-i", "--e", "--i", "--s"].iter().any(|start| word.starts_with(start));
        match refused.unknown {
            _ if !refused.words.iter().any(is_mapping) => Some(both()),
            Some(word) if !word.starts_with('-') => {
                Some(format!("a command comes behind --: vp-portrep --import PORT=PEER:APP -- {word} ..."))
            }
            _ => None,
        }
    })
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
    if let Some(at) = value('D') {
        return Some(format!("vp-portrep --socks {at}=PEER:APP, where PEER exports APP=socks:TARGET,..."));
    }
    let (spec, here) = value('L').map(|spec| (spec, true)).or_else(|| value('R').map(|spec| (spec, false)))?;
    let mut parts = spec.rsplitn(3, ':');
    let (port, host, at) = (parts.next()?, parts.next()?, parts.next()?);
    let peer = refused.plain().last().copied().filter(|word| *word != spec && !word.contains(':')).unwrap_or("PEER");
    Some(match here {
        true => format!("vp-portrep --import {at}={peer}:APP here, vp-portrep --export APP={host}:{port} at {peer}"),
        false => format!("vp-portrep --export APP={host}:{port} here, vp-portrep --import {at}=PEER:APP at {peer}"),
    })
}

/// `check` with a mapping, or with the two words of an address apart.
fn check(refused: Refused<'_>, at: usize) -> Option<String> {
    let (before, behind) = (&refused.words[..at], &refused.words[at + 1..]);
    let plain: Vec<&str> = behind.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let mapped = || refused.values("--import", "-i").chain(refused.values("--socks", "--socks")).next();
    let address = |word: &str| word.rsplit('=').next().unwrap_or(word).to_owned();
    // The two words of an address apart: the second is the one too many.
    let apart = || {
        let app = refused.unknown.filter(|word| !word.starts_with('-'))?;
        let at = behind.iter().position(|word| word == app)?;
        behind[..at].last().filter(|peer| !peer.contains([':', '=']) && !peer.starts_with('-')).map(|peer| (peer, app))
    };
    if let Some((peer, app)) = apart() {
        return Some(format!("the application comes behind a colon: vp-portrep check {peer}:{app}"));
    }
    let to = match (&plain[..], mapped()) {
        ([.., one], _) if one.contains(':') => address(one),
        (_, Some(mapping)) => address(mapping),
        _ => "PEER:APP".to_owned(),
    };
    // What is wrong with an option that it has is said already.
    let is_other = refused.unknown.is_some()
        || plain.is_empty()
        || !before.is_empty()
        || plain.iter().any(|word| word.contains('='));
    is_other.then(|| format!("check takes an address and no mapping: vp-portrep check {to}"))
}

/// `shop:pg` alone, which may be meant to be here, or only to be tried.
fn unmarked(words: &[String]) -> Option<String> {
    let [word] = words else { return None };
    let (peer, app) =
        word.split_once(':').filter(|(peer, _)| !peer.starts_with('-') && peer.parse::<u16>().is_err())?;
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
        let (host, port) = value.rsplit_once(':').filter(|(_, port)| is_port(port))?;
        // As docker has it, the first is the port elsewhere.
        let host = if is_port(host) { "127.0.0.1" } else { host };
        return Some(format!("APP={host}:{port}"));
    };
    if left.contains(':') {
        return Some(format!("{right}={left}"));
    }
    if let Some((_, target)) = right.split_once("://") {
        return Some(format!("{left}={}", target.trim_end_matches('/')));
    }
    if right.starts_with(['/', '.']) {
        return Some(format!("{left}=unix:{right}"));
    }
    (!right.contains([':', ','])).then(|| format!("{left}={right}:PORT"))
}
