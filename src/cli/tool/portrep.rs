//! `vp-portrep`: words to work.

use super::party::{self, Called, drive, wait};
use super::{Context, Party, Tool};
use crate::cli::args::{
    Allow, Bind, Check, Connect, Export, Import, Mappings, PortRange, Portrep, PortrepCommand, ProxyProtocol,
    SocketFile, Target, Where,
};
use crate::cli::config::{is_nearly_known, peer_ids};
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::passed;
use crate::cli::ready::{Otherwise, Ready};
use crate::cli::report::{Fault, Level, chain};
use crate::cli::units::Patience;
use crate::cli::voice::setup_fault;
use crate::identity::PeerId;
use crate::names::{Address, AppName, Peers};
use crate::net::accounts;
use crate::net::endpoint::Endpoint;
use crate::net::listen;
use crate::net::options::Keepalive;
use crate::net::socket_file::Access;
use crate::node::{Callers, Kind};
use crate::ports::{APP_MAX, ProxyVersion, Rules, Service};
use crate::run::callers::{Reload, Reread};
use crate::tools::ports::{self as portrep, Options, Speaks};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Sessions of callers at once: one for each peer and process.
const CALLERS_MAX: usize = 512;
/// A relay lets a link have 1024 names: these, and one for each session.
const EXPORTS_MAX: usize = 500;
/// How long a check waits for relay and peer, unless told.
const CHECK_TIME: Duration = Duration::from_secs(10);

impl Tool for Portrep {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        match &self.command {
            Some(PortrepCommand::Check(words)) => check(words, context),
            None => replicate(&self.mappings, &self.connect, context),
        }
    }
}

fn check(words: &Check, context: &Context) -> Result<Exit, Fault> {
    let mut connect = words.connect.clone();
    if connect.timeout == Patience::Endless {
        connect.timeout = Patience::For(CHECK_TIME);
    }
    let ready = Ready::open(connect.ready_fd, Otherwise::Stdout, &context.env)
        .map_err(|error| Fault::new(Exit::Usage, format!("--ready-fd: {}", chain(&error))))?;
    let party = Party::load(&connect, context)?;
    let to = party.address(&words.to)?;
    short_enough(&to.app)?;
    let voice = party::voice(context, &party, ready).of_check(to.peer, &to.app);
    let mut tool = portrep::Check::new(to.peer, Service { app: to.app, offset: 0 });
    drive(party.client(&connect, Kind::Ports, Called::nobody())?, &mut tool, voice)
}

fn replicate(mappings: &Mappings, connect: &Connect, context: &Context) -> Result<Exit, Fault> {
    let passed = passed::take()?;
    if mappings.listen_when_up && !passed.is_empty() {
        return Err(Fault::new(Exit::Config, "--listen-when-up: a socket that was passed listens already"));
    }
    // A command has standard output for itself.
    let otherwise = if mappings.run.is_empty() { Otherwise::Stdout } else { Otherwise::Nowhere };
    let ready = Ready::open(connect.ready_fd, otherwise, &context.env)
        .map_err(|error| Fault::new(Exit::Usage, format!("--ready-fd: {}", chain(&error))))?;
    let party = Party::load(connect, context)?;
    let options = options(mappings, connect, &party)?;
    for app in unreachable(mappings, &options.exports, &party)? {
        context.report.say(Level::Warning, &format!("{app}: nobody may use it: every --allow is for another export"));
    }
    for Export { app, .. } in mappings.exports.iter().filter(|_| mappings.allow.is_empty()) {
        let alone = format!("to let {app} alone use an export: vp-portrep --export APP=TARGET --allow {app}");
        party.warn_of_namesake(&context.report, app, &alone);
    }
    let voice = party::voice(context, &party, ready).with_command(mappings.run.first().map(OsStr::new));
    let voice = match options.imports.first() {
        Some(import) => voice.of_mapping(import.peer, &import.service.app),
        None => voice,
    };
    let mut tool = portrep::Portrep::new(Instant::now(), Options { passed, ..options }).map_err(|e| setup_fault(&e))?;
    let called = Called { by: tool.callers(), most: CALLERS_MAX, exclusive: mappings.exclusive };
    let mut client = party.client(connect, Kind::Ports, called)?;
    if !mappings.run.is_empty() {
        // Nobody else has any use for them: without a command they do what they always do.
        let caught = client.catch(&portrep::HANDED_OVER);
        caught.map_err(|error| Fault::new(Exit::Failed, format!("cannot catch signals: {}", chain(&error))))?;
    }
    drive(client, &mut tool, voice)
}

fn options(mappings: &Mappings, connect: &Connect, party: &Party) -> Result<Options, Fault> {
    let mut imports = Vec::new();
    for import in &mappings.imports {
        imports.extend(ports(import, exporter("--import", import, party)?, Speaks::Plain)?);
    }
    for import in &mappings.socks {
        if matches!(import.at, Where::Tcp { ports, .. } if ports.first != ports.last) {
            return Err(Fault::new(Exit::Usage, "--socks: one port is enough for all targets"));
        }
        imports.extend(ports(import, exporter("--socks", import, party)?, Speaks::Socks)?);
    }
    let (mappings_again, roster) = (mappings.clone(), party.roster.clone());
    let told = roster.conflicts().into_iter().map(|(name, _)| name);
    Ok(Options {
        imports,
        exports: exports(mappings, &party.peers)?,
        passed: Vec::new(),
        listen_when_up: mappings.listen_when_up,
        proxy: mappings.proxy_protocol.map(|version| match version {
            ProxyProtocol::V1 => ProxyVersion::V1,
            ProxyProtocol::V2 => ProxyVersion::V2,
        }),
        limit: mappings.limit.map(|rate| rate.0),
        keepalive: Keepalive::after(mappings.keepalive),
        max_connections: mappings.max_connections.map(|most| usize::try_from(most.get()).unwrap_or(usize::MAX)),
        run: mappings.run.clone(),
        wait: wait(connect.timeout),
        callers_max: CALLERS_MAX,
        reload: Reload::new(told.collect(), move || {
            roster.reread()?;
            let again = allowed_still(&mappings_again, &roster.peers());
            Ok(Reread { is_nobody: !mappings_again.exports.is_empty() && roster.is_nobody(&again.callers), ..again })
        }),
    })
}

/// Whose export is brought here, and which. A word alone that no peer has or nearly has may be an application's.
fn exporter(option: &str, import: &Import, party: &Party) -> Result<Address, Fault> {
    let fault = match party.address(&import.to) {
        Ok(address) => return Ok(address),
        Err(fault) => fault,
    };
    let word = import.to.split(':').next().unwrap_or_default();
    let is_peer = party.peers.by_name(word).is_some() || is_nearly_known(word, &party.peers);
    match import.with_peer.as_ref().filter(|_| fault.exit == Exit::Config && !is_peer) {
        Some(line) => {
            let line = format!("an application comes behind its peer: vp-portrep {option} {}", printable::<str>(line));
            Err(Fault { hints: [vec![line], fault.hints].concat(), ..fault })
        }
        None => Err(fault),
    }
}

/// The exports that nobody could use.
///
/// # Errors
/// There are exports, and all are such.
fn unreachable<'a>(
    mappings: &Mappings,
    exports: &'a [portrep::Export],
    party: &Party,
) -> Result<Vec<&'a AppName>, Fault> {
    let is_idle = |export: &&portrep::Export| party.roster.is_nobody(&Callers::Only(export.allow.clone()));
    let idle: Vec<&AppName> = exports.iter().filter(is_idle).map(|export| &export.app).collect();
    if exports.is_empty() || idle.len() < exports.len() {
        return Ok(idle);
    }
    let names: Vec<String> = mappings.allow.iter().map(|allow| allow.peer.clone()).collect();
    Err(party.nobody("--allow", &peer_ids(&names, &party.peers)?))
}

fn exports(mappings: &Mappings, peers: &Peers) -> Result<Vec<portrep::Export>, Fault> {
    if mappings.exports.len() > EXPORTS_MAX {
        let fault = Fault::new(Exit::Usage, format!("--export: {EXPORTS_MAX} at most, not {}", mappings.exports.len()));
        return Err(fault.hint("neighbouring ports are one export: --export APP=HOST:FIRST-LAST"));
    }
    let mut names = BTreeSet::new();
    let mut exports = Vec::new();
    for (export, allow) in mappings.exports.iter().zip(allowed(mappings, peers)?) {
        if !names.insert(&export.app) {
            return Err(Fault::new(Exit::Usage, format!("{}: exported twice", export.app)));
        }
        short_enough(&export.app)?;
        exports.push(portrep::Export { app: export.app.clone(), target: target(&export.target), allow });
    }
    Ok(exports)
}

fn target(typed: &Target) -> portrep::Target {
    match typed {
        Target::Tcp { host, ports } => {
            portrep::Target::Tcp { host: host.clone(), first: ports.first, last: ports.last }
        }
        Target::Unix(path) => portrep::Target::Unix(path.clone()),
        Target::Socks(rules) => portrep::Target::Socks(Rules::new(rules.clone())),
    }
}

/// Who may reach each export: those allowed for it or for all, or else every peer there is.
fn allowed(mappings: &Mappings, peers: &Peers) -> Result<Vec<Vec<PeerId>>, Fault> {
    let is_export = |word: &str| mappings.exports.iter().any(|export| export.app.as_str() == word);
    // `pg:shop`, as an address has it.
    let mut sides = mappings.allow.iter().filter_map(|allow| allow.peer.split_once(':'));
    if let Some((app, peer)) = sides.find(|(app, _)| is_export(app)) {
        let fault =
            Fault::new(Exit::Usage, format!("--allow {}: an = is missing", printable(&format!("{app}:{peer}"))));
        return Err(fault.hint(format!("one peer for one export is --allow {app}={}", printable(peer))));
    }
    let strangers = mappings.allow.iter().filter_map(|allow| allow.app.as_ref());
    for app in strangers {
        if !mappings.exports.iter().any(|export| export.app == *app) {
            let swapped = mappings.allow.iter().find(|allow| allow.app.as_ref() == Some(app));
            let meant = swapped.filter(|allow| mappings.exports.iter().any(|export| export.app.as_str() == allow.peer));
            let hints = meant.map(|allow| format!("the export comes first: --allow {}={app}", printable(&allow.peer)));
            let fault = Fault::new(Exit::Usage, format!("--allow: {app} is not exported"));
            return Err(hints.into_iter().fold(fault, Fault::hint));
        }
    }
    mappings.exports.iter().map(|export| allowed_for(&export.app, &mappings.allow, peers)).collect()
}

fn allowed_for(app: &AppName, allow: &[Allow], peers: &Peers) -> Result<Vec<PeerId>, Fault> {
    let meant = allow.iter().filter(|allow| allow.app.as_ref().is_none_or(|only| only == app));
    let named: Vec<String> = meant.map(|allow| allow.peer.clone()).collect();
    if allow.is_empty() { Ok(peers.iter().map(|peer| peer.id).collect()) } else { peer_ids(&named, peers) }
}

/// The same when the peers file has changed. A name that has gone from it means nobody.
fn allowed_still(mappings: &Mappings, peers: &Peers) -> Reread {
    let is_known = |allow: &Allow| peer_ids(std::slice::from_ref(&allow.peer), peers).is_ok();
    let (known, unknown): (Vec<Allow>, Vec<Allow>) = mappings.allow.iter().cloned().partition(is_known);
    let one = |app: &AppName| match mappings.allow.is_empty() {
        true => Some(peers.iter().map(|peer| peer.id).collect()),
        false if known.is_empty() => None,
        false => allowed_for(app, &known, peers).ok(),
    };
    let exports = mappings.exports.iter().map(|export| &export.app);
    let callers = Callers::Each(exports.map(|app| (app.clone(), one(app).unwrap_or_default())).collect());
    let spoilt = peers.conflicts().iter().filter(|_| mappings.allow.is_empty()).map(|conflict| conflict.name.clone());
    Reread { callers, is_nobody: false, unknown: unknown.into_iter().map(|allow| allow.peer).chain(spoilt).collect() }
}

/// One import for each port of a range: the first port of the range is the first of the export.
fn ports(import: &Import, to: Address, speaks: Speaks) -> Result<Vec<portrep::Import>, Fault> {
    short_enough(&to.app)?;
    let one = |at, offset| {
        let service = Service { app: to.app.clone(), offset };
        portrep::Import { at, access: Access::default(), peer: to.peer, service, speaks, twin: false }
    };
    Ok(match &import.at {
        Where::Unix(file) => {
            vec![portrep::Import { access: access(file)?, ..one(Endpoint::Unix(file.path.clone()), 0) }]
        }
        Where::Tcp { bind, ports: PortRange { first, last } } => {
            let addresses = match bind {
                Bind::Address(address) => vec![*address],
                Bind::Localhost => listen::loopbacks(),
            };
            let mut imports = Vec::new();
            for port in *first..=*last {
                let at = |address: &IpAddr| Endpoint::Tcp(SocketAddr::new(*address, port));
                imports.extend(
                    (0..)
                        .zip(&addresses)
                        .map(|(n, address)| portrep::Import { twin: n > 0, ..one(at(address), port - first) }),
                );
            }
            imports
        }
    })
}

/// For whom a socket file is.
fn access(file: &SocketFile) -> Result<Access, Fault> {
    let id = |what, name: &Option<String>, look: fn(&str) -> std::io::Result<Option<u32>>| {
        let Some(name) = name else { return Ok(None) };
        let fault = |why: &str| Fault::new(Exit::Config, format!("{what}={}: {why}", printable::<str>(name)));
        match look(name) {
            Ok(Some(id)) => Ok(Some(id)),
            Ok(None) => Err(fault(&format!("no {what} of this system is called that"))),
            Err(error) => Err(fault(&chain(&error))),
        }
    };
    let (user, group) = (id("user", &file.user, accounts::user_id)?, id("group", &file.group, accounts::group_id)?);
    Ok(Access { mode: file.mode, user, group })
}

fn short_enough(app: &AppName) -> Result<(), Fault> {
    if app.as_str().len() <= APP_MAX {
        return Ok(());
    }
    Err(Fault::new(Exit::Usage, format!("{app}: the name of a replicated port has at most {APP_MAX} characters")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const PEERS: &str = "hq vp1ue9ed36y33tfamjlx63y8f5qh5ymn23cj0wwe9w054v050y4l2js80fedd\n";

    fn mappings(words: &[&str]) -> Mappings {
        Portrep::try_parse_from(["vp-portrep"].iter().chain(words)).expect("words that parse").mappings
    }

    fn peers() -> Peers {
        Peers::parse(PEERS).expect("a peers file")
    }

    #[test]
    fn a_range_becomes_one_import_for_each_port() {
        let typed = mappings(&["--import", "1099-1101=hq:rmi"]);
        let to = |import: &Import| crate::cli::config::address(&import.to, &peers()).expect("a known peer");
        let imports = ports(&typed.imports[0], to(&typed.imports[0]), Speaks::Plain).expect("short names");
        let shown: Vec<_> = imports.iter().map(|i| format!("{} {}", i.at, i.service)).collect();
        assert_eq!(shown, ["127.0.0.1:1099 rmi", "127.0.0.1:1100 rmi/1", "127.0.0.1:1101 rmi/2"]);
        let whole = mappings(&["--import", "1-65535=hq:all"]);
        assert_eq!(
            ports(&whole.imports[0], to(&whole.imports[0]), Speaks::Plain).map(|imports| imports.len()),
            Ok(65_535)
        );
    }

    #[test]
    fn everybody_known_is_allowed_unless_somebody_is_named() {
        let hq = peers().iter().next().expect("a peer").id;
        let lists = |words: &[&str]| allowed(&mappings(words), &peers());
        assert_eq!(lists(&["--export", "pg=1"]), Ok(vec![vec![hq]]));
        assert_eq!(lists(&["--export", "pg=1", "--export", "web=2", "--allow", "pg=hq"]), Ok(vec![vec![hq], vec![]]));
        assert_eq!(lists(&["--export", "pg=1", "--allow", "x=hq"]).map_err(|f| f.exit), Err(Exit::Usage));
        assert_eq!(lists(&["--export", "pg=1", "--allow", "nobody"]).map_err(|f| f.exit), Err(Exit::Config));
    }

    #[test]
    fn a_name_that_goes_from_the_peers_file_means_nobody_and_never_everybody() {
        let hq = peers().iter().next().expect("a peer").id;
        let still = |words: &[&str]| {
            let again = allowed_still(&mappings(words), &peers());
            let Callers::Each(lists) = again.callers else { panic!("a list for each export") };
            (lists.into_iter().map(|(_, allow)| allow).collect::<Vec<_>>(), again.unknown)
        };
        assert_eq!(still(&["--export", "pg=1", "--allow", "gone"]), (vec![vec![]], vec!["gone".to_owned()]));
        let both = ["--export", "pg=1", "--allow", "gone", "--allow", "hq"];
        assert_eq!(still(&both), (vec![vec![hq]], vec!["gone".to_owned()]));
        assert_eq!(still(&["--export", "pg=1"]), (vec![vec![hq]], vec![]));
    }

    #[test]
    fn names_that_leave_no_room_and_names_twice_are_refused() {
        let long = format!("{}=1", "a".repeat(58));
        let fault = |words: &[&str]| exports(&mappings(words), &peers()).map_err(|fault| fault.exit).err();
        assert_eq!(fault(&["--export", &long]), Some(Exit::Usage));
        assert_eq!(fault(&["--export", "pg=1", "--export", "pg=2"]), Some(Exit::Usage));
        assert_eq!(fault(&["--export", "pg=1", "--export", "web=2"]), None);
    }
}
