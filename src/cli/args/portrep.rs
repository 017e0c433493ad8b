//! Words of `vp-portrep`.

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::{ArgGroup, Args, Command, Parser, Subcommand, ValueEnum};

use super::line::takes_next;
use super::manual::{Example, KEY_FILES, Manual, PEERS_FILES, RELAYS_FILES, TEMPLATE};
use super::{Allow, Arguments, Connect, Export, Import, Output};
use crate::cli::units::{Rate, UnitError, count, duration};
use crate::net::options::KEEPALIVE_MAX;

const MANUAL: Manual = Manual {
    name: "vp-portrep",
    purpose: "replicate TCP ports of one network in another",
    examples: &[
        Example {
            does: "serve a database of this network to one peer",
            line: "vp-portrep --export pg=127.0.0.1:5432 --allow hq",
        },
        Example { does: "have it here", line: "vp-portrep --import 5432=depot:pg" },
        Example {
            does: "only as long as a command needs it",
            line: "vp-portrep --import 5432=depot:pg -- psql -h 127.0.0.1 shop",
        },
        Example { does: "does the mapping work?", line: "vp-portrep check depot:pg" },
        Example {
            does: "let a peer choose among the web servers of a domain",
            line: "vp-portrep --export web=socks:*.example.com:443 --allow hq",
        },
        Example {
            does: "and choose here",
            line: "vp-portrep --socks 1080=depot:web -- curl -x socks5h://127.0.0.1:1080 https://a.example.com",
        },
    ],
    variables: &VARIABLES,
    files: &[KEY_FILES, PEERS_FILES, RELAYS_FILES],
};

/// As of every tool that connects, and one for a tool that listens.
const VARIABLES: [&str; super::common::VARIABLES.len() + 1] = {
    let mut all = ["LISTEN_FDS"; super::common::VARIABLES.len() + 1];
    let mut at = 0;
    while at < super::common::VARIABLES.len() {
        all[at] = super::common::VARIABLES[at];
        at += 1;
    }
    all
};

/// Replicate TCP ports of one network in another
#[derive(Parser, Clone, Debug)]
#[command(name = MANUAL.name, version, help_template = TEMPLATE, args_override_self = true)]
#[command(before_long_help = MANUAL.before_help(), after_long_help = MANUAL.after_help())]
#[command(override_usage = "vp-portrep [OPTIONS] --export APP=TARGET [--allow [APP=]PEER]\n       \
    vp-portrep [OPTIONS] --import WHERE=PEER:APP [-- CMD ARGS]\n       \
    vp-portrep check [OPTIONS] PEER:APP")]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
#[command(group = ArgGroup::new("mapping").required(true).multiple(true).args(["exports", "imports", "socks"]))]
pub struct Portrep {
    /// Something else to do than to replicate.
    #[command(subcommand)]
    pub(crate) command: Option<PortrepCommand>,

    /// What to replicate.
    #[command(flatten)]
    pub mappings: Mappings,

    /// How to reach relays and peers.
    #[command(flatten)]
    pub connect: Connect,

    /// How the tool speaks.
    #[command(flatten)]
    pub output: Output,
}

/// What to replicate.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Mappings {
    /// Serve HOST:PORT, a range HOST:PORT-PORT, or unix:PATH under this name; may be repeated
    ///
    /// Without HOST it is this machine. A port or a range alone is its own name: 5432 is 5432=127.0.0.1:5432.
    ///
    /// With socks:TARGET,TARGET... peers that import it with --socks name the target themselves. A TARGET is HOST:PORT,
    /// where HOST is a name, *.NAME, an address, a network (10.0.0.0/8; IPv6 in brackets) or *, and PORT a number, a range or *.
    /// Only what is listed can be reached. A *, alone or before a name, and a network of all addresses (/0) never lead to this
    /// machine, by none of the addresses that it has at the time; an address or a name that is listed does, and so does a
    /// network that this machine is in.
    #[arg(short, long = "export", value_name = "APP=TARGET")]
    pub(crate) exports: Vec<Export>,

    /// Listen on PORT, BIND:PORT, a range of ports, or unix:PATH, and reach the peer's export; may be repeated
    ///
    /// Without BIND it is 127.0.0.1; IPv6 goes in brackets; localhost is loopback of both versions of IP; port 0 takes a
    /// free one. All of IPv6 (::) is all of IPv4 too, unless an IPv4 address is given with the same port. The first port of
    /// a range leads to the first of the export. A socket's file is for whom the umask leaves it, or as
    /// unix:PATH,mode=660,user=NAME,group=NAME says, as much of that as is wanted. PEER:PORT is PORT=PEER:PORT, for an
    /// export named by its port. A socket passed by systemd is served by the import that is where it listens, else by the
    /// one whose application is its name.
    #[arg(short, long = "import", value_name = "WHERE=PEER:APP")]
    pub(crate) imports: Vec<Import>,

    /// A SOCKS5 server on PORT or BIND:PORT; the peer's export says which targets are allowed
    #[arg(long, value_name = "WHERE=PEER:APP")]
    pub(crate) socks: Vec<Import>,

    /// Let this peer use all exports, or the one named; default: every peer in the peers file
    ///
    /// SIGHUP reads the peers file again, where there is no terminal. A name that has gone from it means nobody; connections
    /// of a peer who may no more are reset, all others go on.
    #[arg(long, value_name = "[APP=]PEER", requires = "exports")]
    pub(crate) allow: Vec<Allow>,

    /// Leave it to another process with this key that exports the same: of two, the newer one ends with status 3
    ///
    /// It is enough that one of the two says so. Without it both go on, each says that there is another, and calls come to the
    /// one that attached to the relay last. A process that is gone does not count, and one at another relay is not seen.
    #[arg(long, requires = "exports")]
    pub exclusive: bool,

    /// Listen only while the peer serves the export and reaches its target
    #[arg(long)]
    pub listen_when_up: bool,

    /// Tell targets who connects, with the PROXY protocol
    #[arg(long, value_name = "VERSION", requires = "exports")]
    pub(crate) proxy_protocol: Option<ProxyProtocol>,

    /// Carry at most this many bytes a second each way
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub limit: Option<Rate>,

    /// Ask silent connections of applications and targets after this time whether they are still there; 0: never
    ///
    /// It keeps them alive in firewalls, which forget what is silent. One that does not answer nine times in a row is taken
    /// for dead, and reset at the other end.
    #[arg(long, value_name = "DUR", default_value = "60s", value_parser = keepalive, allow_hyphen_values = true)]
    pub keepalive: Duration,

    /// Connections at a time; further ones are reset
    ///
    /// Default: 65536, or what the limit of descriptors leaves. Of these an eighth, and one at least, is kept in equal
    /// parts for each of several peers and for imports beside exports. When all are in use, the peer that has most, if
    /// that is more than one, gives way to one that has none, and to imports that have none: the connection that has
    /// moved nothing for longest is reset, and a warning says so. A peer has at most 8192 in any case.
    #[arg(long, value_name = "N", value_parser = count::<NonZeroU32>, allow_hyphen_values = true)]
    pub max_connections: Option<NonZeroU32>,

    /// Run CMD once the mappings work, and end with its status
    ///
    /// With --timeout the mappings have that long, or CMD is not run. What CMD has left in connections when it ends is
    /// delivered before its status is passed on.
    #[arg(last = true, value_name = "CMD")]
    pub run: Vec<OsString>,
}

/// A silence that the kernel can be told to wait for.
fn keepalive(text: &str) -> Result<Duration, UnitError> {
    duration(text)
        .and_then(|time| if time > KEEPALIVE_MAX { Err(UnitError::LongerThan(KEEPALIVE_MAX)) } else { Ok(time) })
}

/// Something else to do than to replicate.
#[derive(Subcommand, Clone, Debug)]
pub(crate) enum PortrepCommand {
    /// Say whether a mapping works, and if not, which hop fails
    Check(Check),
}

/// Words of `vp-portrep check`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Check {
    /// The export to try
    #[arg(value_name = "PEER:APP")]
    pub to: String,

    /// How to reach relays and peers.
    #[command(flatten)]
    pub connect: Connect,

    /// How the tool speaks.
    #[command(flatten)]
    pub output: Output,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyProtocol {
    /// One line of text
    V1,
    /// Binary; carries the verified id of the peer too
    V2,
}

impl Arguments for Portrep {
    const MANUAL: &'static Manual = &MANUAL;

    /// Options of `check` may stand before it, as elsewhere options stand before everything.
    fn arranged(mut words: Vec<OsString>) -> Vec<OsString> {
        if let Some(at) = check_behind_options(&words) {
            words[1..=at].rotate_right(1);
        }
        words
    }

    fn output(&self) -> Output {
        match &self.command {
            Some(PortrepCommand::Check(check)) => check.output,
            None => self.output,
        }
    }

    fn serves(&self) -> bool {
        self.command.is_none()
    }
}

/// Where `check` stands, if nothing but its own options, with their values, is before it.
fn check_behind_options(words: &[OsString]) -> Option<usize> {
    let check = Check::augment_args(Command::new("check"));
    let mut at = 1;
    loop {
        let word = words.get(at)?.to_str()?;
        if word == "check" {
            return Some(at);
        }
        at += if takes_next(&check, word)? { 2 } else { 1 };
    }
}
