//! Orders that people mix up, because other tools have them so, and the line that was meant. Only words that were refused
//! come here: nothing that works is ever guessed at.

mod address;
mod options;
mod ports;

pub use address::{address, one_of_many};
pub use options::tip;

use std::net::IpAddr;
use std::path::Path;

/// Words that were refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The tool that they were for.
    pub tool: &'a str,
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
    /// Whether one of these stands among the words.
    fn has(self, flags: &[&str]) -> bool {
        let is_flag = |word: &str| flags.contains(&word.split_once('=').map_or(word, |(flag, _)| flag));
        self.words.iter().any(|word| is_flag(word))
    }

    /// Whether what is unknown is one of these.
    fn knows_no(self, flags: &[&str]) -> bool {
        self.unknown.is_some_and(|unknown| flags.contains(&unknown))
    }

    /// The value of an option, in either form.
    fn values(self, long: &'a str, short: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.words.iter().zip(self.words.iter().skip(1));
        let apart = pairs.filter(move |(word, _)| *word == long || *word == short).map(|(_, value)| value.as_str());
        apart.chain(self.words.iter().filter_map(move |word| word.strip_prefix(long)?.strip_prefix('=')))
    }

    /// The words that are no options. Values of options are among them.
    fn plain(self) -> Vec<&'a str> {
        self.words.iter().map(String::as_str).filter(|word| *word == "-" || !word.starts_with('-')).collect()
    }

    /// What stands behind the unknown option, or as a placeholder this.
    fn value_or(self, placeholder: &'a str) -> &'a str {
        let flag = self.unknown.unwrap_or_default();
        self.values(flag, flag).next().filter(|value| !value.starts_with('-')).unwrap_or(placeholder)
    }
}

/// A relay without its id: a host, with or without a port or a scheme.
fn nameless_relay(refused: Refused<'_>) -> Option<String> {
    let odd = refused.values("--relay", "-r").find(|value| !value.contains('@'))?;
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
        return Some(format!("vp-keygen -o {} makes a key, -y shows its id", refused.value_or("FILE")));
    }
    match (refused.unknown, &refused.plain()[..]) {
        (Some(unknown), [file]) if unknown == *file => {
            Some(format!("vp-keygen -o {file} makes a key, -y {file} shows its id"))
        }
        _ => None,
    }
}

fn send(refused: Refused<'_>) -> Option<String> {
    if let [flag, command] = refused.words
        && flag == "--exec"
    {
        return Some(format!("to whom is missing: vp-send --exec '{command}' PEER[:APP]"));
    }
    if let Some(odd) = refused.values("--relay", "-r").find(|value| !value.contains('@')) {
        return Some(format!("-r names a relay; directories are sent whole without an option: vp-send {odd} PEER"));
    }
    if let Some(unknown) = refused.unknown {
        return send_unknown(refused, unknown);
    }
    if refused.words.last().is_some_and(|word| word.starts_with('-') && word != "-") {
        // The value of that option is missing, and what is a value here is not known.
        return None;
    }
    match refused.plain()[..] {
        [file] if file == "-" || Path::new(file).exists() => {
            Some(format!("to whom is missing: vp-send {file} PEER[:APP]"))
        }
        [peer] => {
            Some(format!("what to send comes first, to whom last: vp-send FILE {peer}, or COMMAND | vp-send - {peer}"))
        }
        [file, peer] if refused.has(&["-n"]) => {
            Some(format!("-n gives a stream a name; to see what would be sent: vp-send --dry-run {file} {peer}"))
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
    if let Some(odd) = refused.values("--relay", "-r").find(|value| !value.contains('@')) {
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
    let lacks_sink = refused.unknown.is_none() && !refused.has(&["-d", "--directory", "--exec"]);
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
    if let Some(odd) = refused.values("--listen", "-l").find(|value| value.contains(':')) {
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
    if refused.has(&["--listen"]) || refused.words.iter().any(|word| word.starts_with("-l")) {
        if refused.has(&["--keep"]) && !refused.has(&["--exec"]) && refused.plain().len() < 3 {
            return Some(
                "each session needs a command of its own: vp-attach --listen APP --keep --exec CMD".to_owned(),
            );
        }
        let is_both = !refused.has(&["--keep", "--exec"]) || refused.plain().len() > 2;
        return is_both
            .then(|| "one side waits, the other dials: vp-attach --listen APP, vp-attach PEER:APP".to_owned());
    }
    let waits = refused.has(&["--from", "--keep", "--exec", "--exclusive"]);
    waits.then(|| {
        "--from, --keep, --exec and --exclusive are for the side that waits: vp-attach --listen APP ...".to_owned()
    })
}

fn relay(refused: Refused<'_>) -> Option<String> {
    let every = |port: &str| format!("vp-relay --listen [::]:{port}, for every address of this machine");
    if let Some(port) = refused.values("--port", "-p").next() {
        return Some(every(port.rsplit(':').next().unwrap_or(port)));
    }
    if refused.knows_no(&["--peers"]) {
        return Some(format!("who may connect is said by --allow {}", refused.value_or("FILE")));
    }
    if refused.knows_no(&["--daemon", "-d", "-D", "--background"]) {
        return Some(foreground("vp-relay serves until it is told to stop"));
    }
    let bind = ["--bind", "--address", "--host"].iter().find_map(|flag| refused.values(flag, flag).next());
    let is_place = |word: &&str| !word.starts_with('-') && word.contains(|c: char| c.is_ascii_digit() || c == ':');
    let alone = || refused.unknown.filter(is_place);
    if let Some(place) = bind.or_else(alone) {
        return Some(match place.parse::<u16>() {
            Ok(_) => every(place),
            Err(_) => format!("vp-relay --listen {}", address::listening(place)),
        });
    }
    let odd = refused.values("--listen", "-l").find(|value| value.parse::<std::net::SocketAddr>().is_err());
    match odd {
        Some(odd) => {
            let place = address::listening(odd);
            let note = if place.starts_with("[::]") { ", for every address of this machine" } else { "" };
            Some(format!("an address and a port are wanted: vp-relay --listen {place}{note}"))
        }
        None if refused.unknown.is_none() && !refused.has(&["--allow", "-a", "--open"]) => {
            Some("--allow FILE names who may connect, a line NAME ID each; --open lets in anybody".to_owned())
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::tools;
    use clap::error::{ContextKind, ContextValue, ErrorKind};

    /// What is said of this line, which the tool itself must refuse.
    fn hint(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let tool = tools().into_iter().find(|tool| tool.manual.name == words[0]).expect("a tool");
        let error = (tool.complaint)(&words)?;
        let unknown = match (error.kind(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::UnknownArgument, Some(ContextValue::String(unknown))) => Some(unknown.as_str()),
            _ => None,
        };
        meant(Refused { tool: &words[0], words: &words[1..], unknown })
    }

    #[test]
    fn word_that_means_nothing_gets_no_line_that_leads_astray() {
        for line in ["vp-relay start", "vp-send f.txt -k", "vp-send a depot --timeout 10x", "vp-recv -q -v"] {
            assert_eq!(hint(line), None, "{line}");
        }
    }

    #[test]
    fn each_mixed_up_order_has_its_line() {
        for (line, meant_part) in [
            ("vp-send depot", "vp-send FILE depot"),
            ("vp-send -r photos depot", "vp-send photos PEER"),
            ("vp-send -r 127.0.0.1:4433 a depot", "-r ID@127.0.0.1:4433"),
            ("vp-send --exec dump", "vp-send --exec 'dump' PEER"),
            ("vp-send --overwrite yes a depot", "--overwrite is for the receiver"),
            ("vp-send --keep a depot", "--keep is for the receiver"),
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
            ("vp-send Cargo.toml", "vp-send Cargo.toml PEER[:APP]"),
            ("vp-send -avz photos depot", "need no option"),
            ("vp-send --bwlimit 1M a depot", "--limit 1M"),
            ("vp-send --progress a depot", "-v names each file"),
            ("vp-send --exclude-from x a depot", "--exclude PATTERN"),
            ("vp-send -i key a depot", "-k key"),
            ("vp-send a --to depot", "vp-send SOURCE... depot"),
            ("vp-send -n a depot", "--dry-run a depot"),
            ("vp-recv shop backup", "vp-recv backup --from shop"),
            ("vp-recv orders in", "vp-recv orders -d in"),
            ("vp-recv user@shop:backup", "vp-recv backup --from shop"),
            ("vp-recv rsync://shop/backup", "vp-recv backup --from shop"),
            ("vp-send a depot --relay relay.example.com", "-r ID@relay.example.com"),
            ("vp-attach -r https://relay.example.com:443 depot:x", "-r ID@relay.example.com:443"),
            ("vp-send a depot -p 4433", "the only port is the relay's"),
            ("vp-send a --host depot", "vp-send SOURCE... depot"),
            ("vp-send --files-from list depot", "one by one"),
            ("vp-attach -lvp 22", "one side waits"),
            ("vp-attach -L 22:localhost:22 depot", "vp-portrep"),
            ("vp-attach depot:ssh whoami", "--exec CMD"),
            ("vp-attach -w 5 depot:y", "--timeout 5s"),
            ("vp-attach -i key depot:y", "-k key"),
            ("vp-relay -p 4433:4433 --open", "--listen [::]:4433,"),
            ("vp-relay --listen tcp://0.0.0.0:4433 --open", "--listen 0.0.0.0:4433"),
            ("vp-relay --peers x --open", "--allow x"),
            ("vp-keygen --pubkey key", "vp-keygen -y key"),
            ("vp-portrep -NL 5432:localhost:5432 depot", "--import 5432=depot:APP"),
            ("vp-portrep --export pg=/run/pg.sock", "--export pg=unix:/run/pg.sock"),
            ("vp-portrep --import /tmp/pg.sock=depot:pg", "--import unix:/tmp/pg.sock=depot:pg"),
            ("vp-portrep --import 5432,5433=depot:pg", "--import 5432=depot:APP"),
            ("vp-portrep --import 5432:5433=depot:pg", "--import 5432-5433=depot:pg"),
            ("vp-recv ./inbox", "vp-recv -d ./inbox"),
            ("vp-recv -d inbox -f shop", "--from shop"),
            ("vp-recv -o out.txt", "vp-recv > out.txt"),
            ("vp-recv --listen orders", "vp-recv orders"),
            ("vp-recv -p 4433", "no port"),
            ("vp-recv --daemon", "--keep"),
            ("vp-recv --keep", "--keep -d DIR"),
            ("vp-recv --overwrite yes", "-d DIR"),
            ("vp-attach depot ssh", "vp-attach depot:ssh"),
            ("vp-attach depot 22", "not a port"),
            ("vp-attach - depot:x", "vp-attach depot:x"),
            ("vp-attach --listen depot:x", "vp-attach --listen x --from depot"),
            ("vp-attach --listen 0.0.0.0:22", "vp-attach --listen APP"),
            ("vp-attach -e /bin/sh --listen x", "--exec '/bin/sh'"),
            ("vp-attach --keep depot:y", "--listen APP"),
            ("vp-attach --listen x --keep", "--keep --exec CMD"),
            ("vp-attach --listen x depot:y", "one side waits"),
            ("vp-relay 4433", "vp-relay --listen [::]:4433"),
            ("vp-relay --listen localhost:4433 --open", "--listen 127.0.0.1:4433"),
            ("vp-relay --listen 0.0.0.0 --open", "--listen 0.0.0.0:4433"),
            ("vp-relay --listen *:4433 --open", "--listen [::]:4433"),
            ("vp-relay --bind 10.0.0.1:443 --open", "--listen 10.0.0.1:443"),
            ("vp-relay --listen [::]:1", "--allow FILE"),
            ("vp-relay -d --open", "foreground"),
            ("vp-keygen key", "vp-keygen -o key"),
            ("vp-keygen -f key", "vp-keygen -o key"),
            ("vp-keygen -t ed25519", "vp-keygen -o FILE"),
            ("vp-keygen -l key", "vp-keygen -y key"),
            ("vp-portrep -L 5432:db:5432 depot", "--import 5432=depot:APP"),
            ("vp-portrep -L 5432:db:5432 depot", "--export APP=db:5432"),
            ("vp-portrep -L 127.0.0.1:5432:db:5433 depot", "--import 127.0.0.1:5432=depot:APP"),
            ("vp-portrep -R 8080:localhost:80 shop", "--export APP=localhost:80"),
            ("vp-portrep -D 1080", "--socks 1080=PEER:APP"),
            ("vp-portrep --export 8080:80", "--export APP=127.0.0.1:80"),
            ("vp-portrep --export db.example.com:5432", "--export APP=db.example.com:5432"),
            ("vp-portrep --export pg=db.example.com", "--export pg=db.example.com:PORT"),
            ("vp-portrep --export pg=tcp://127.0.0.1:5432", "--export pg=127.0.0.1:5432"),
            ("vp-portrep --import 5432:depot", "--import 5432=depot:APP"),
            ("vp-portrep --import depot=5432", "--import 5432=depot:APP"),
            ("vp-portrep --import 0.0.0.0:5432:depot:pg", "--import 0.0.0.0:5432=depot:pg"),
            ("vp-portrep --import depot:pg", "--import PORT=depot:pg"),
            ("vp-portrep --import pg=depot:5432", "--import 5432=depot:pg"),
            ("vp-portrep --socks 1080", "--socks 1080=PEER:APP"),
            ("vp-portrep --import 5432=depot:pg psql -h 127.0.0.1", "behind --"),
            ("vp-portrep check depot pg", "vp-portrep check depot:pg"),
            ("vp-portrep check -k key depot pg", "vp-portrep check depot:pg"),
            ("vp-portrep --import 5432=depot:pg --allow shop", "--export APP=HOST:PORT"),
            ("vp-portrep check --import 5432=depot:pg", "vp-portrep check depot:pg"),
            ("vp-portrep --export pg=5432 check depot:pg", "vp-portrep check depot:pg"),
            ("vp-portrep check", "vp-portrep check PEER:APP"),
        ] {
            let found = hint(line).unwrap_or_default();
            assert!(found.contains(meant_part), "{line}: {found}");
        }
    }
}
