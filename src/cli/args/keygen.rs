//! Words of `vp-keygen`.

use std::path::PathBuf;

use clap::Parser;

use super::Arguments;
use super::manual::{Example, Manual, TEMPLATE};

const MANUAL: Manual = Manual {
    name: "vp-keygen",
    purpose: "make a key, or show the id of one",
    examples: &[
        Example { does: "make this user's key and print its id", line: "vp-keygen -o ~/.config/vp/key" },
        Example { does: "print the id of a key again", line: "vp-keygen -y ~/.config/vp/key" },
        Example {
            does: "keep a service's key encrypted",
            line: "vp-keygen | systemd-creds encrypt --name=key - key.cred",
        },
    ],
    variables: &["XDG_CONFIG_HOME", "VP_DUMPABLE", "NO_COLOR", "HOME"],
    files: &[("~/.config/vp/key", "where the other tools look for this user's key")],
};

/// Make a key, or show the id of one
#[derive(Parser, Clone, Debug)]
#[command(name = MANUAL.name, version, help_template = TEMPLATE, args_override_self = true)]
#[command(before_long_help = MANUAL.before_help(), after_long_help = MANUAL.after_help())]
pub struct Keygen {
    /// Write the new key to FILE and print its id
    ///
    /// The file is made with mode 0600, and so is its directory with 0700 if it is ~/.config/vp and missing. Without -o the
    /// key itself goes to standard output, but not to a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Replace FILE if it exists; the old key is lost
    #[arg(long, requires = "output")]
    pub force: bool,

    /// Print the id of the key in FILE and make none
    #[arg(short = 'y', long = "show-id", value_name = "FILE", conflicts_with = "output")]
    pub show_id: Option<PathBuf>,
}

impl Arguments for Keygen {
    const MANUAL: &'static Manual = &MANUAL;
}
