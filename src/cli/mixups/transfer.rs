//! Orders of `vp-send` and `vp-recv` as scp, rsync and nc have them.

use std::path::Path;

use super::{Refused, foreground};

pub(super) fn send(refused: Refused<'_>) -> Option<String> {
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
        "--bwlimit" | "-l" => format!("vp-send --limit {} takes so many bytes a second at most", refused.value_or("RATE")),
        "--progress" | "--stats" => "on a terminal progress is shown without an option; -v names each file".to_owned(),
        "--exclude-from" | "--include" => {
            "patterns are given one by one, as often as wanted: --exclude PATTERN, and --exclude '!PATTERN' takes in again"
                .to_owned()
        }
        "--files-from" => "files are named one by one, before the peer: vp-send SOURCE... PEER".to_owned(),
        "-e" | "--rsh" => "no other program carries what is sent; --exec CMD sends what CMD writes".to_owned(),
        "-i" | "--identity" => format!("a key is named by -k {}", refused.value_or("FILE")),
        "-o" | "-F" | "-J" => "a relay is named by -r ID@HOST:PORT, a key by -k FILE, a peer by its name".to_owned(),
        "-f" | "--file" | "--source" | "--input" => {
            format!("files are named without an option: vp-send {} PEER[:APP]", refused.value_or("FILE"))
        }
        "--to" | "-t" | "--host" | "--peer" => format!("to whom is the last word: vp-send SOURCE... {}", refused.value_or("PEER[:APP]")),
        _ => return None,
    })
}

pub(super) fn recv(refused: Refused<'_>) -> Option<String> {
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
        Some("--once") => return Some("without --keep vp-recv ends after one send by itself".to_owned()),
        Some("--force") => return Some("vp-recv -d DIR --overwrite yes replaces what differs".to_owned()),
        Some("-f" | "--peer") => return Some(format!("a peer is named by --from {value}")),
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
        (Some(unknown), [app, file]) if *file == unknown && file.contains('.') => {
            return Some(format!("vp-recv {app} > {file} takes a stream, vp-recv {app} -d DIR files"));
        }
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
