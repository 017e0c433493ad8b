//! What can be typed: one struct per tool, mirroring the words and nothing else. No file is opened, no default is
//! looked up here; values are parsed into types, so what a tool gets is well-formed.

mod attach;
mod common;
mod keygen;
mod line;
mod manual;
mod mapping;
mod portrep;
mod recv;
mod relay;
mod send;

pub use attach::Attach;
pub(crate) use common::ProxyWord;
pub use common::{Connect, OuterTls, Output};
pub use keygen::Keygen;
pub(crate) use line::{Flag, Part, parts};
pub use manual::{Example, Manual};
pub(crate) use mapping::{Allow, Bind, Export, Import, PortRange, SocketFile, Target, Where};
pub(crate) use portrep::{Check, PortrepCommand, ProxyProtocol};
pub use portrep::{Mappings, Portrep};
pub(crate) use recv::Overwrite;
pub use recv::Recv;
pub use relay::Relay;
pub use send::Send;
pub(crate) use send::{Compress, LinksHow};

use std::ffi::OsString;

use clap::{Command, Parser};

/// A tool as the command line knows it.
pub trait Arguments: Parser {
    /// What its manual page says beside the options.
    const MANUAL: &'static Manual;

    /// How it speaks; tools without such options speak as usual.
    fn output(&self) -> Output {
        Output::default()
    }

    /// Whether it serves whoever comes, until it is told to stop: then nobody need be there to read what it says.
    fn serves(&self) -> bool {
        false
    }

    /// The words in an order that clap understands.
    fn arranged(words: Vec<OsString>) -> Vec<OsString> {
        words
    }
}

/// A tool of this release, for whoever writes about it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What its manual page says beside the options.
    pub manual: &'static Manual,
    /// Its definition.
    pub command: Command,
    /// Why these words, the name of the tool first, are not taken.
    pub complaint: fn(&[String]) -> Option<clap::Error>,
}

/// The tools of this release, in the order in which one meets them.
pub fn tools() -> Vec<Entry> {
    vec![entry::<Keygen>(), entry::<Relay>(), entry::<Attach>(), entry::<Send>(), entry::<Recv>(), entry::<Portrep>()]
}

fn entry<T: Arguments>() -> Entry {
    let complaint = |words: &[String]| T::try_parse_from(words).err();
    Entry { manual: T::MANUAL, command: T::command(), complaint }
}

#[cfg(test)]
mod tests;
