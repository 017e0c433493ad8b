//! Words of `vp-attach`.

use clap::{ArgGroup, Parser};

use super::manual::{Example, KEY_FILES, Manual, PEERS_FILES, RELAYS_FILES, TEMPLATE};
use super::{Arguments, Connect, Output};
use crate::names::AppName;

const MANUAL: Manual = Manual {
    name: "vp-attach",
    purpose: "join standard input and output to a peer",
    examples: &[
        Example { does: "wait for one peer and talk", line: "vp-attach --listen chat --from hq" },
        Example { does: "the other end of it", line: "vp-attach depot:chat" },
        Example { does: "run one process per session", line: "vp-attach --listen clock --keep --exec date" },
        Example {
            does: "serve an ssh server that no port leads to",
            line: "vp-attach --listen ssh --keep --exec 'nc 127.0.0.1 22'",
        },
        Example { does: "reach it", line: "ssh -o ProxyCommand='vp-attach depot:ssh' user@depot" },
    ],
    variables: &super::common::VARIABLES,
    files: &[KEY_FILES, PEERS_FILES, RELAYS_FILES],
};

/// Join standard input and output to a peer
#[derive(Parser, Clone, Debug)]
#[command(name = MANUAL.name, version, help_template = TEMPLATE, args_override_self = true)]
#[command(before_long_help = MANUAL.before_help(), after_long_help = MANUAL.after_help())]
#[command(group = ArgGroup::new("end").required(true).args(["to", "listen"]))]
#[command(group = ArgGroup::new("accepting").multiple(true).args(["from", "keep", "exec", "exclusive"]).conflicts_with("to"))]
pub struct Attach {
    /// Dial this application of this peer; without :APP, the application drop
    #[arg(value_name = "PEER[:APP]")]
    pub to: Option<String>,

    /// Wait for a peer that dials this application
    #[arg(short, long, value_name = "APP")]
    pub listen: Option<AppName>,

    /// Accept this peer, by name or id; may be repeated; default: every peer in the peers file
    #[arg(long, value_name = "PEER")]
    pub from: Vec<String>,

    /// Accept sessions until told to stop, a process for each
    #[arg(long, requires = "exec")]
    pub keep: bool,

    /// Leave it to another process with this key that receives the same: of two, the newer one ends with status 3
    ///
    /// It is enough that one of the two says so. Without it both go on, each says that there is another, and calls come to the
    /// one that attached to the relay last. A process that is gone does not count, and one at another relay is not seen.
    #[arg(long)]
    pub exclusive: bool,

    /// Join the peer to CMD, run by /bin/sh, instead of to standard input and output
    ///
    /// CMD finds the peer in VP_PEER and the application in VP_APP.
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,

    /// Send only: nothing goes to standard output
    #[arg(long, conflicts_with = "recv_only")]
    pub send_only: bool,

    /// Receive only: nothing is read from standard input
    #[arg(long)]
    pub recv_only: bool,

    /// How to reach relays and peers.
    #[command(flatten)]
    pub connect: Connect,

    /// How the tool speaks.
    #[command(flatten)]
    pub output: Output,
}

impl Arguments for Attach {
    const MANUAL: &'static Manual = &MANUAL;

    fn output(&self) -> Output {
        self.output
    }

    fn serves(&self) -> bool {
        self.keep
    }
}
