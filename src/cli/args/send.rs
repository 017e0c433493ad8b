//! Words of `vp-send`.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Parser, ValueEnum, value_parser};

use super::manual::{Example, KEY_FILES, Manual, PEERS_FILES, RELAYS_FILES, TEMPLATE};
use super::{Arguments, Connect, Output};
use crate::cli::units::Rate;

const MANUAL: Manual = Manual {
    name: "vp-send",
    purpose: "send files, directories or a stream to a peer",
    examples: &[
        Example { does: "send files and directories", line: "vp-send report.pdf photos/ depot" },
        Example {
            does: "send what a command writes, and its end only if it succeeded",
            line: "vp-send --exec 'pg_dump -Fc shop' depot:backup",
        },
        Example { does: "send a stream of any length", line: "tar c src | vp-send - depot:backup" },
        Example {
            does: "give the stream a name for a receiver that keeps files",
            line: "vp-send --exec 'tar c src' --name src.tar depot:drop",
        },
        Example {
            does: "leave something out, and see what is left",
            line: "vp-send --exclude '*.o' --dry-run src/ depot",
        },
        Example {
            does: "every night, under a name of its own (in a crontab % is written \\%)",
            line: "vp-send --exec 'pg_dump -Fc shop' --name \"shop-$(date +%F).dump\" depot:backup",
        },
        Example {
            does: "from cron: give up if nobody is there, take half the line",
            line: "vp-send --wait 5m --limit 6M outbox/ depot:orders",
        },
    ],
    variables: &super::common::VARIABLES,
    files: &[KEY_FILES, PEERS_FILES, RELAYS_FILES],
};

/// clap's id of [`Send::exec`].
const EXEC: &str = "exec";
/// clap's id of [`Operands`].
const OPERANDS: &str = "operands";

/// Send files, directories or a stream to a peer
///
/// Exit status 0 means that the peer has it all: a stream has been read, files are verified, on disk and under their
/// final names.
#[derive(Parser, Clone, Debug)]
#[command(name = MANUAL.name, version, help_template = TEMPLATE, args_override_self = true)]
#[command(before_long_help = MANUAL.before_help(), after_long_help = MANUAL.after_help())]
#[command(
    override_usage = "vp-send [OPTIONS] <SOURCE>... <PEER[:APP]>\n       vp-send [OPTIONS] --exec <CMD> <PEER[:APP]>"
)]
pub struct Send {
    /// What to send, and to whom.
    #[command(flatten)]
    pub(crate) operands: Operands,

    /// Send what CMD writes, run by /bin/sh, as a stream
    ///
    /// CMD is started when the receiver is there. The end of the stream is sent only when CMD has ended with 0;
    /// otherwise the receiver drops what came, or ends its command, and the send fails. CMD finds the peer in VP_PEER
    /// and the application in VP_APP.
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,

    /// Leave out what PATTERN matches, in the manner of .gitignore; may be repeated
    ///
    /// *.o is a name anywhere, /build a path from the directory that is sent on, cache/ a directory, a/**/b anything
    /// between; !PATTERN takes in again what one before it leaves out. What is named as a SOURCE is sent.
    #[arg(long, value_name = "PATTERN", conflicts_with = "exec")]
    pub exclude: Vec<String>,

    /// List what would be sent, one path a line, and contact nobody
    #[arg(long, conflicts_with = "exec")]
    pub dry_run: bool,

    /// Name of the stream at the receiver
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<String>,

    /// Compress with zstd: auto (where it helps), off, or a level from 1 to 19
    #[arg(short, long, value_name = "HOW", default_value = "auto", allow_hyphen_values = true)]
    pub(crate) compress: Compress,

    /// What to do with symbolic links in directories
    #[arg(long, value_name = "HOW", default_value = "keep")]
    pub(crate) links: LinksHow,

    /// Send at most this many bytes a second, counted after compression
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    pub limit: Option<Rate>,

    /// How to reach relays and peers.
    #[command(flatten)]
    pub connect: Connect,

    /// How the tool speaks.
    #[command(flatten)]
    pub output: Output,
}

impl Arguments for Send {
    const MANUAL: &'static Manual = &MANUAL;

    fn output(&self) -> Output {
        self.output
    }
}

/// `SOURCE... PEER[:APP]`: the last word is the peer, wherever options stand between the words. clap by itself takes
/// the word before an option for the last one, so it is given one list, which is divided here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operands {
    /// Files and directories, or `-` for standard input; at least one, but none with `--exec`.
    pub sources: Vec<PathBuf>,
    /// Whom to send to, to be looked up in the peers file.
    pub to: String,
}

impl Args for Operands {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new(OPERANDS)
                .value_name("SOURCE")
                .help("Files and directories, or - for standard input; last, whom to send to")
                .long_help(
                    "Files and directories, or - for standard input; last, whom to send to\n\n\
                     The last word is PEER[:APP], a name or id and an application; without :APP, the application drop.",
                )
                .num_args(1..)
                .value_parser(value_parser!(OsString)),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Operands {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut words: Vec<OsString> = matches.get_many(OPERANDS).unwrap_or_default().cloned().collect();
        let to = words.pop().map(OsString::into_string);
        let exec = matches.contains_id(EXEC);
        match (words.is_empty() == exec, to) {
            (true, Some(Ok(to))) => Ok(Self { sources: words.into_iter().map(PathBuf::from).collect(), to }),
            (false, Some(Ok(_))) if exec => Err(clap::Error::raw(
                ErrorKind::ArgumentConflict,
                "--exec sends what its command writes: there is no other source beside it\n",
            )),
            (_, Some(Err(_))) => Err(clap::Error::raw(ErrorKind::InvalidUtf8, "the peer's name is not UTF-8 text\n")),
            (true, None) => Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, "to whom is missing\n")),
            (_, _) => Err(clap::Error::raw(
                ErrorKind::MissingRequiredArgument,
                "two words are needed at least: what to send, and to whom\n",
            )),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// What to do with symbolic links in directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LinksHow {
    /// Send them as links; leave out, and count in a warning, those that lead out of what is sent
    Keep,
    /// Leave all of them out
    Skip,
    /// Send what they lead to in their place
    Follow,
}

/// What to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compress {
    /// Where measuring shows that it helps.
    Auto,
    /// Nothing.
    Off,
    /// Everything, at this level of zstd, 1 to 19.
    Level(u8),
}

impl Compress {
    /// Highest level: those above 19 want more memory at the receiver than it grants.
    pub(crate) const LEVEL_MAX: u8 = 19;
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
pub(crate) struct CompressError;

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use auto, off or a level from 1 to {}", Compress::LEVEL_MAX)
    }
}

impl Error for CompressError {}
