//! What can be typed: one struct per tool, mirroring the words and nothing else. No file is opened, no default is
//! looked up here; values are parsed into types, so what a tool gets is well-formed.

mod attach;
mod common;
mod keygen;
mod manual;
mod mapping;
mod portrep;
mod recv;
mod relay;
mod send;

pub use attach::Attach;
pub use common::{Connect, Output};
pub use keygen::Keygen;
pub use manual::{Example, Manual};
pub use mapping::{Allow, Export, Import, MappingError, PortRange, Target, Where};
pub use portrep::{Check, Mappings, Portrep, PortrepCommand, ProxyProtocol};
pub use recv::{Overwrite, Recv};
pub use relay::Relay;
pub use send::{Compress, CompressError, Send};

use clap::{Command, CommandFactory, Parser};

/// A tool as the command line knows it.
pub trait Arguments: Parser {
    /// What its manual page says beside the options.
    const MANUAL: &'static Manual;

    /// How it speaks; tools without such options speak as usual.
    fn output(&self) -> Output {
        Output::default()
    }
}

/// The tools of this release with their manuals, in the order in which one meets them.
pub fn tools() -> Vec<(&'static Manual, Command)> {
    vec![
        (Keygen::MANUAL, Keygen::command()),
        (Relay::MANUAL, Relay::command()),
        (Attach::MANUAL, Attach::command()),
        (Send::MANUAL, Send::command()),
        (Recv::MANUAL, Recv::command()),
    ]
}

#[cfg(test)]
mod tests;
