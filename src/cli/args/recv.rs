//! Words of `vp-recv`.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{ArgGroup, Parser, ValueEnum};

use super::manual::{Example, KEY_FILES, Manual, PEERS_FILES, RELAYS_FILES, TEMPLATE};
use super::{Arguments, Connect, Output};
use crate::cli::units::{Size, count};
use crate::names::AppName;

const MANUAL: Manual = Manual {
    name: "vp-recv",
    purpose: "receive a stream, files or directories from a peer",
    examples: &[
        Example { does: "receive a stream", line: "vp-recv backup --from shop | pg_restore -d shop" },
        Example { does: "receive files and directories, once", line: "vp-recv -d inbox" },
        Example { does: "as a service, for ever", line: "vp-recv orders -d /srv/orders --keep --max-size 2G" },
        Example {
            does: "run a command for each stream that comes",
            line: "vp-recv logs --keep --exec 'gzip >> all.gz'",
        },
    ],
    variables: &super::common::VARIABLES,
    files: &[KEY_FILES, PEERS_FILES, RELAYS_FILES],
};

/// Receive a stream, files or directories from a peer
///
/// A stream goes to standard output, and so does a single file unless that is a terminal. Files and directories need -d;
/// nothing half-written ever has its final name there.
#[derive(Parser, Clone, Debug)]
#[command(name = MANUAL.name, version, help_template = TEMPLATE, args_override_self = true)]
#[command(before_long_help = MANUAL.before_help(), after_long_help = MANUAL.after_help())]
#[command(group = ArgGroup::new("sink").multiple(true).args(["directory", "exec"]))]
pub struct Recv {
    /// The application to receive for
    #[arg(value_name = "APP", default_value = AppName::DEFAULT)]
    pub app: AppName,

    /// Accept this peer, by name or id; may be repeated; default: every peer in the peers file
    #[arg(long, value_name = "PEER")]
    pub from: Vec<String>,

    /// Put what comes into DIR, under the names that the sender gives; DIR is made if its parent is there
    ///
    /// In the last name of DIR, %p is the name of the peer: each has a directory of its own then, made when it sends for the
    /// first time, and does not learn what others have sent. A peer without a name, or with one that begins with a dot, is
    /// %p by its id.
    #[arg(short, long, value_name = "DIR")]
    pub directory: Option<PathBuf>,

    /// Receive until told to stop
    #[arg(long, requires = "sink")]
    pub keep: bool,

    /// Leave it to another process with this key that receives the same: of two, the newer one ends with status 3
    ///
    /// It is enough that one of the two says so. Without it both go on, each says that there is another, and calls come to the
    /// one that attached to the relay last. A process that is gone does not count, and one at another relay is not seen.
    #[arg(long)]
    pub exclusive: bool,

    /// Run CMD by /bin/sh for each item; if it fails, so does the send
    ///
    /// A stream is its standard input; with -d it runs when the item has its final name. CMD finds the peer in
    /// VP_PEER, the application in VP_APP, and the item's name in VP_NAME; with -d, its path in VP_PATH.
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,

    /// What to do about a file that exists and differs
    #[arg(long, value_name = "WHAT", default_value = "never", requires = "directory")]
    pub(crate) overwrite: Overwrite,

    /// Refuse a send of more bytes than this
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub max_size: Option<Size>,

    /// Refuse a send of more files and directories than this; of one too large to be counted, what is beyond it
    #[arg(long, value_name = "N", value_parser = count::<NonZeroU64>, allow_hyphen_values = true)]
    pub max_items: Option<NonZeroU64>,

    /// How to reach relays and peers.
    #[command(flatten)]
    pub connect: Connect,

    /// How the tool speaks.
    #[command(flatten)]
    pub output: Output,
}

impl Arguments for Recv {
    const MANUAL: &'static Manual = &MANUAL;

    fn output(&self) -> Output {
        self.output
    }

    fn serves(&self) -> bool {
        self.keep
    }
}

/// What to do about a file that exists and differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Overwrite {
    /// Refuse the item
    Never,
    /// Give the new one a free name
    Rename,
    /// Replace the old one, by whatever kind of thing is sent; a directory only if it is empty
    Yes,
}
