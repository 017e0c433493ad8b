//! `vp-send`: words to work.

use super::omit::{list, omit};
use super::party::{Called, drive, time_of, voice};
use super::{Context, Party, Tool};
use crate::cli::args::{Compress, LinksHow, Send};
use crate::cli::env::Env;
use crate::cli::escape::printable;
use crate::cli::exit::Exit;
use crate::cli::ready::{Otherwise, Ready};
use crate::cli::report::{self, Fault, chain};
use crate::cli::roster::Roster;
use crate::cli::voice::{SPECIAL, skipped_line};
use crate::names::Address;
use crate::node::Kind;
use crate::store::found::Skipped;
use crate::store::links::Links;
use crate::store::omit::Omit;
use crate::store::source::check_named;
use crate::tools::send::{self, CommandLine, Plain, What};
use crate::tools::transfers::engine::SendJob;
use crate::transfer::Compression;
use crate::transfer::{self, blocks::Level};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Stands for standard input among the sources.
const STDIN: &str = "-";
const NAME: &str = "no receiver takes this name: rename it, or send it as standard input with --name";
/// Longest name that crosses the wire, and that a file can have.
const NAME_BYTES_MAX: usize = 255;

impl Tool for Send {
    fn run(self, context: &Context) -> Result<Exit, Fault> {
        let ready = Ready::open(self.connect.ready_fd, Otherwise::Nowhere, &context.env)
            .map_err(|error| Fault::new(Exit::Usage, format!("--ready-fd: {}", chain(&error))))?;
        let mut what = self.what()?;
        let unsent = self.check_sources(context)?;
        if let What::Files(job) = &mut what {
            job.omit = omit(&self, &context.env)?;
            if self.dry_run {
                return list(job, context);
            }
        }
        let party = Party::load(&self.connect, context)?;
        let to = party.address(&self.operands.to).map_err(|fault| self.peer_elsewhere(&party, fault))?;
        if let What::Command(line, _) = &mut what {
            line.environment = vec![("VP_PEER", party.roster.name(&to.peer)), ("VP_APP", to.app.to_string())];
        }
        let to = (to.peer, to.app);
        let voice = voice(context, &party, ready).of_dialler((to.0, &to.1)).of_transfer();
        let mut voice = voice.with_command(self.exec.as_deref().map(OsStr::new));
        let resume = time_of(self.connect.resume_timeout);
        let mut tool = send::Send::new(to, what, resume).telling_items(context.report.tells_items());
        let client = party.client(&self.connect, Kind::Transfer, Called::nobody())?;
        unsent.iter().for_each(|skipped| voice.warn_of_unsent(skipped));
        drive(client, &mut tool, voice)
    }
}

/// A slip in the order of words.
fn usage(fault: Fault) -> Fault {
    Fault { exit: Exit::Usage, ..fault.lasting() }
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("{} ", printable(file))).collect()
}

/// The peer was named first.
fn misplaced(fault: Fault, peer: &str, files: &[PathBuf], to: &str) -> Fault {
    let line = format!("the peer comes last: vp-send {}{} {}", listed(files), printable(to), printable(peer));
    usage(Fault { hints: Vec::new(), ..fault }).hint(line)
}

impl Send {
    /// The sources that cannot be sent, if others can: whoever waits for the peer is to know. With nothing that can be sent
    /// nobody need be waited for.
    fn check_sources(&self, context: &Context) -> Result<Vec<Skipped>, Fault> {
        let files = || self.operands.sources.iter().filter(|source| !is_stdin(source));
        let mut unsent: Vec<Skipped> = files().filter_map(|source| check_named(source).err()).collect();
        if unsent.len() < self.operands.sources.len() {
            return Ok(unsent);
        }
        let Some(last) = unsent.pop() else { return Ok(unsent) };
        let fault = source_fault(&last);
        if let Some(misplaced) = self.peer_first(&context.env, &fault) {
            return Err(misplaced);
        }
        unsent.iter().for_each(|skipped| context.report.say(report::Level::Warning, &skipped_line(skipped)));
        Err(fault)
    }

    /// Whoever names the peer first has a file for the last word.
    fn peer_first(&self, env: &Env, fault: &Fault) -> Option<Fault> {
        let (sources, to) = (&self.operands.sources, &self.operands.to);
        let peers = Roster::load(self.connect.peers.clone(), env, Vec::new())
            .map(|roster| roster.peers().clone())
            .unwrap_or_default();
        let is_peer = |word: &str| Address::parse(word, &peers).is_ok();
        let first = sources.first().and_then(|first| first.to_str()).filter(|first| is_peer(first))?;
        let is_swapped = Path::new(to).exists() && !is_peer(to);
        is_swapped.then(|| misplaced(fault.clone(), first, &sources[1..], to))
    }

    /// A last word that is no peer, and one before it that is: files may have the names of peers, so this is said only now.
    fn peer_elsewhere(&self, party: &Party, fault: Fault) -> Fault {
        let (sources, to) = (&self.operands.sources, &self.operands.to);
        let Some((last, before)) = sources.split_last() else { return fault };
        let peer_of =
            |word: &'_ Path| word.to_str().filter(|word| Address::parse(word, &party.peers).is_ok()).map(str::to_owned);
        // `vp-send FILE PEER APP`
        if let Some(peer) = peer_of(last).filter(|peer| !before.is_empty() && !peer.contains(':') && !last.exists()) {
            let files = listed(before);
            let line =
                format!("the application comes behind a colon: vp-send {files}{peer}:{}", printable(to.as_str()));
            return usage(fault).hint(line);
        }
        match peer_of(&sources[0]) {
            Some(peer) => misplaced(fault, &peer, &sources[1..], to),
            None => fault,
        }
    }

    fn what(&self) -> Result<What, Fault> {
        let sources = &self.operands.sources;
        let streams = sources.iter().filter(|source| is_stdin(source)).count();
        let limit = self.limit.map(|rate| rate.0);
        let compression = compression(self.compress)?;
        let name = self.name.clone().unwrap_or_default().into_bytes();
        if name.len() > NAME_BYTES_MAX {
            return Err(Fault::new(Exit::Usage, format!("--name: longer than {NAME_BYTES_MAX} bytes")));
        }
        if let Some(command) = self.exec.clone() {
            let line = CommandLine { command: command.into(), environment: Vec::new() };
            return Ok(What::Command(line, Plain { name, compression, limit }));
        }
        match streams {
            0 if self.name.is_some() => {
                let fault = Fault::new(Exit::Usage, "--name is for standard input; files have names of their own");
                Err(match &sources[..] {
                    [file] if file.is_file() => {
                        let (name, to) = (self.name.as_deref().unwrap_or_default(), &self.operands.to);
                        let line = format!("vp-send - --name {name} {to} < {}", file.display());
                        fault.hint(format!("to send a file under another name: {}", printable(&line)))
                    }
                    _ => fault,
                })
            }
            0 => {
                let name = common_name(sources);
                let links = match self.links {
                    LinksHow::Keep => Links::Keep,
                    LinksHow::Skip => Links::Skip,
                    LinksHow::Follow => Links::Follow,
                };
                let omit = Omit::default();
                Ok(What::Files(SendJob { sources: sources.clone(), omit, links, name, compression, limit }))
            }
            1 if self.dry_run || !self.exclude.is_empty() => {
                Err(Fault::new(Exit::Usage, "--exclude and --dry-run are for files and directories"))
            }
            _ if sources.len() == 1 => Ok(What::Stream(Plain { name, compression, limit })),
            _ => Err(Fault::new(Exit::Usage, "- (standard input) must be the only source")
                .hint("to send a file of that name, write ./-")),
        }
    }
}

fn source_fault(skipped: &Skipped) -> Fault {
    let line = skipped_line(skipped);
    match skipped.fault {
        transfer::Fault::Special => Fault::new(Exit::Usage, line).hint(SPECIAL),
        transfer::Fault::Name => Fault::new(Exit::Usage, line).hint(NAME),
        _ => Fault::new(Exit::Failed, line),
    }
}

fn is_stdin(source: &Path) -> bool {
    source.as_os_str() == STDIN
}

/// What a command at the receiver that is fed with the one file is told of its name.
fn common_name(sources: &[PathBuf]) -> Vec<u8> {
    match sources {
        [one] => one.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn compression(typed: Compress) -> Result<Compression, Fault> {
    Ok(match typed {
        Compress::Auto => Compression::Auto,
        Compress::Off => Compression::Off,
        Compress::Level(level) => Compression::Always(
            Level::try_from(level)
                .map_err(|_| Fault::new(Exit::Usage, "--compress: compression level not within 1 to 19"))?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn what(words: &[&str]) -> Result<What, Exit> {
        let send = Send::try_parse_from(["vp-send"].iter().chain(words)).expect("words that parse");
        send.what().map_err(|fault| fault.exit)
    }

    #[test]
    fn standard_input_stands_alone() {
        assert!(matches!(what(&["-", "depot"]), Ok(What::Stream(_))));
        assert!(matches!(what(&["./-", "depot"]), Ok(What::Files(_))));
        assert_eq!(what(&["-", "a", "depot"]).err(), Some(Exit::Usage));
    }

    #[test]
    fn only_a_stream_is_given_a_name() {
        let Ok(What::Stream(plain)) = what(&["-", "--name", "a.tar", "depot"]) else { panic!("a stream") };
        assert_eq!(plain.name, b"a.tar");
        assert_eq!(what(&["a", "--name", "b", "depot"]).err(), Some(Exit::Usage));
        assert!(matches!(what(&["--exec", "tar c .", "--name", "a.tar", "depot"]), Ok(What::Command(..))));
        assert_eq!(what(&["-", "--name", &"x".repeat(256), "depot"]).err(), Some(Exit::Usage));
    }
}
