//! Words of `vp-send`.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

use super::manual::{Example, KEY_FILES, Manual, PEERS_FILES, RELAYS_FILES, TEMPLATE};
use super::{Arguments, Connect, Output};
use crate::cli::units::{Patience, Rate};

const MANUAL: Manual = Manual {
    name: "vp-send",
    purpose: "send files, directories or a stream to a peer",
    examples: &[
        Example { does: "send files and directories", line: "vp-send report.pdf photos/ depot" },
        Example { does: "send a stream of any length", line: "pg_dump shop | vp-send - depot:backup" },
        Example {
            does: "give the stream a name for a receiver that keeps files",
            line: "tar c src | vp-send - --name src.tar depot:drop",
        },
        Example {
            does: "from cron: give up if nobody is there, take half the line",
            line: "vp-send --wait 5m --limit 6M outbox/ depot:orders",
        },
    ],
    variables: &super::common::VARIABLES,
    files: &[KEY_FILES, PEERS_FILES, RELAYS_FILES],
};

/// Send files, directories or a stream to a peer
///
/// Exit status 0 means that the peer has it all: a stream has been read, files are verified, on disk and under their
/// final names.
#[derive(Parser, Clone, Debug)]
#[command(name = MANUAL.name, version, help_template = TEMPLATE)]
#[command(before_long_help = MANUAL.before_help(), after_long_help = MANUAL.after_help())]
pub struct Send {
    /// Files and directories, or - for standard input
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<PathBuf>,

    /// Whom to send to; without :APP, the application drop
    #[arg(value_name = "PEER[:APP]", required = true)]
    pub to: String,

    /// Name of the stream from standard input at the receiver
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,

    /// Compress with zstd: auto (where it helps), off, or a level from 1 to 19
    #[arg(short, long, value_name = "HOW", default_value = "auto")]
    pub compress: Compress,

    /// Send at most this many bytes a second
    #[arg(long, value_name = "RATE")]
    pub limit: Option<Rate>,

    /// The same as --timeout
    #[arg(long, value_name = "DUR", conflicts_with = "timeout")]
    pub wait: Option<Patience>,

    /// How to reach relays and peers.
    #[command(flatten)]
    pub connect: Connect,

    /// How the tool speaks.
    #[command(flatten)]
    pub output: Output,
}

impl Send {
    /// How long to wait for the peer, by whichever name it was given.
    pub fn patience(&self) -> Patience {
        self.wait.unwrap_or(self.connect.timeout)
    }
}

impl Arguments for Send {
    const MANUAL: &'static Manual = &MANUAL;

    fn output(&self) -> Output {
        self.output
    }
}

/// What to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// Where measuring shows that it helps.
    Auto,
    /// Nothing.
    Off,
    /// Everything, at this level of zstd, 1 to 19.
    Level(u8),
}

impl Compress {
    /// Highest level: those above 19 want more memory at the receiver than it grants.
    pub const LEVEL_MAX: u8 = 19;
}

impl FromStr for Compress {
    type Err = CompressError;

    fn from_str(text: &str) -> Result<Self, CompressError> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => match text.parse() {
                Ok(level @ 1..=Self::LEVEL_MAX) => Ok(Self::Level(level)),
                _ => Err(CompressError),
            },
        }
    }
}

/// Not a way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompressError;

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use auto, off or a level from 1 to {}", Compress::LEVEL_MAX)
    }
}

impl Error for CompressError {}
