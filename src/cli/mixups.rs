//! Orders that people mix up, because other tools have them so, and the line that was meant. Only words that were refused
//! come here: nothing that works is ever guessed at.

/// The line that somebody meant who typed these words to this tool, and had them refused.
pub fn meant(tool: &str, words: &[String]) -> Option<String> {
    match tool {
        "vp-send" => send(words),
        "vp-recv" => recv(words),
        "vp-relay" => relay(words),
        "vp-portrep" => portrep(words),
        "vp-attach" => attach(words),
        _ => None,
    }
}

fn has(words: &[String], flags: &[&str]) -> bool {
    words.iter().any(|word| flags.contains(&word.as_str()))
}

/// The value of an option, in either form.
fn values<'a>(words: &'a [String], long: &'a str, short: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = words.iter().zip(words.iter().skip(1));
    let apart = pairs.filter(move |(word, _)| *word == long || *word == short).map(|(_, value)| value.as_str());
    apart.chain(words.iter().filter_map(move |word| word.strip_prefix(long)?.strip_prefix('=')))
}

fn send(words: &[String]) -> Option<String> {
    if let [flag, command] = words
        && flag == "--exec"
    {
        return Some(format!("to whom is missing: vp-send --exec '{command}' PEER[:APP]"));
    }
    if let Some(odd) = values(words, "--relay", "-r").find(|value| !value.contains('@')) {
        if odd.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
            return Some(format!("the relay's id is missing: -r ID@{odd}, as vp-relay printed it"));
        }
        return Some(format!("-r names a relay; directories are sent whole without an option: vp-send {odd} PEER"));
    }
    if has(words, &["--delete", "--delete-after", "--remove"]) {
        return Some(
            "nothing is ever deleted at the receiver; vp-recv -d DIR --overwrite yes replaces what differs".to_owned(),
        );
    }
    if has(words, &["-a", "-p", "-R", "-z", "-P"]) {
        return Some("directories, modes, times and compression need no option: vp-send SOURCE... PEER".to_owned());
    }
    if has(words, &["--overwrite", "--from", "--keep", "-d", "--directory"]) {
        return Some(
            "that is for the receiver to say: vp-recv [APP] --from PEER -d DIR --overwrite yes --keep".to_owned(),
        );
    }
    let one = |word: &&String| !word.starts_with('-');
    match words.iter().filter(one).collect::<Vec<_>>()[..] {
        [peer] => {
            Some(format!("what to send comes first, to whom last: vp-send FILE {peer}, or COMMAND | vp-send - {peer}"))
        }
        _ => None,
    }
}

fn recv(words: &[String]) -> Option<String> {
    if let Some(odd) = values(words, "--relay", "-r").find(|value| !value.contains('@')) {
        return Some(format!("-r names a relay; files go into a directory by vp-recv -d {odd}"));
    }
    if has(words, &["-p", "-o", "--to", "--output"]) {
        return Some("a peer is named by --from PEER, a directory by -d DIR".to_owned());
    }
    let address = words.iter().find_map(|word| word.split_once(':').filter(|(peer, _)| !peer.starts_with('-')));
    let (peer, app) = address?;
    Some(format!("vp-recv is called, and calls nobody: vp-recv {app} --from {peer}"))
}

fn attach(words: &[String]) -> Option<String> {
    has(words, &["-p", "--port"]).then(|| {
        "an application is named, not a port: vp-attach PEER:APP; the relay's port is in its address".to_owned()
    })
}

fn relay(words: &[String]) -> Option<String> {
    if let Some(port) = values(words, "--port", "-p").next() {
        return Some(format!("vp-relay --listen [::]:{port}, for every address of this machine"));
    }
    let odd = values(words, "--listen", "-l").find(|value| value.parse::<std::net::SocketAddr>().is_err())?;
    let port = odd.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok()).unwrap_or("4433");
    Some(format!("an address and a port are wanted: vp-relay --listen [::]:{port}, for every address of this machine"))
}

fn portrep(words: &[String]) -> Option<String> {
    let both = || "vp-portrep --import PORT=PEER:APP brings a port here, --export APP=HOST:PORT offers one".to_owned();
    if has(words, &["-p", "-L", "-R", "--port"]) {
        return Some(both());
    }
    let import = values(words, "--import", "-i").find_map(swapped_import);
    let import = import.map(|line| format!("vp-portrep --import {line}"));
    let import = import.or_else(|| unmarked(words));
    import.or_else(|| {
        let export = values(words, "--export", "-e")
            .find_map(|value| value.split_once('=').filter(|(target, _)| target.contains(':')));
        let export = export.map(|(target, app)| format!("vp-portrep --export {app}={target}"));
        let is_mapping = |word: &String| ["-e", "-i", "--e", "--i", "--s"].iter().any(|start| word.starts_with(start));
        export.or_else(|| (!words.iter().any(is_mapping) && !has(words, &["check"])).then(both))
    })
}

/// `shop:pg` alone, which may be meant to be here, or only to be tried.
fn unmarked(words: &[String]) -> Option<String> {
    let [word] = words else { return None };
    let (peer, app) =
        word.split_once(':').filter(|(peer, _)| !peer.starts_with('-') && peer.parse::<u16>().is_err())?;
    Some(format!("vp-portrep --import PORT={peer}:{app} has it here, vp-portrep check {peer}:{app} tries it"))
}

/// `shop:pg=5434` and `5434:shop:pg` for `5434=shop:pg`.
fn swapped_import(value: &str) -> Option<String> {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    if let Some((peer, at)) = value.split_once('=') {
        return (peer.contains(':') && is_port(at)).then(|| format!("{at}={peer}"));
    }
    match value.split(':').collect::<Vec<_>>()[..] {
        [port, peer, app] if is_port(port) => Some(format!("{port}={peer}:{app}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mixed_up_order_has_its_line() {
        for (line, meant_part) in [
            ("vp-send depot", "vp-send FILE depot"),
            ("vp-send -r photos depot", "vp-send photos PEER"),
            ("vp-send -r 127.0.0.1:4433 a depot", "-r ID@127.0.0.1:4433"),
            ("vp-send --exec dump", "vp-send --exec 'dump' PEER"),
            ("vp-send --overwrite yes a depot", "vp-recv [APP]"),
            ("vp-send --delete a depot", "--overwrite yes"),
            ("vp-send -p a depot", "vp-send SOURCE... PEER"),
            ("vp-recv shop:backup", "vp-recv backup --from shop"),
            ("vp-recv -r photos", "vp-recv -d photos"),
            ("vp-recv -p shop", "--from PEER"),
            ("vp-relay --listen 4433 --open", "vp-relay --listen [::]:4433"),
            ("vp-relay --listen=:443 --open", "vp-relay --listen [::]:443"),
            ("vp-portrep --import shop:pg=5434", "vp-portrep --import 5434=shop:pg"),
            ("vp-portrep --import=5434:shop:pg", "vp-portrep --import 5434=shop:pg"),
            ("vp-portrep --export 10.0.0.7:5432=pg", "vp-portrep --export pg=10.0.0.7:5432"),
            ("vp-portrep --import 5434:shop:5432", "vp-portrep --import 5434=shop:5432"),
            ("vp-portrep shop:pg", "vp-portrep --import PORT=shop:pg"),
            ("vp-relay --open -p 4433", "vp-relay --listen [::]:4433"),
            ("vp-attach -p 22 shop", "vp-attach PEER:APP"),
            ("vp-portrep --limit 1M -- psql", "vp-portrep --import PORT=PEER:APP"),
            ("vp-portrep -p 5432", "vp-portrep --import PORT=PEER:APP"),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let found = meant(&words[0], &words[1..]).unwrap_or_default();
            assert!(found.contains(meant_part), "{line}: {found}");
        }
    }
}
