//! `vp-send --exclude` and `--dry-run`: what is left out, and what is left.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Context;
use crate::cli::args::Send;
use crate::cli::env::Env;
use crate::cli::escape::printable;
use crate::cli::events::Party;
use crate::cli::exit::Exit;
use crate::cli::files::secret_keys;
use crate::cli::report::{Fault, Format, Level, chain};
use crate::cli::voice::pattern_text;
use crate::cli::voice::{
    key_left_out, left_links_level, left_links_line, left_out, not_offered, planned, skipped_line,
};
use crate::store::found::{Found, Skipped};
use crate::store::omit::{KEYS_TOLD_MAX, LeftOut, Omit};
use crate::store::source::Met;
use crate::tools::transfers::engine::SendJob;
use crate::transfer::item::Kind;

/// What a send leaves out: secret keys that are in use here, and what the user's patterns say.
///
/// # Errors
/// One is no pattern, or the user has named a key as what to send.
pub(super) fn omit(words: &Send, env: &Env) -> Result<Omit, Fault> {
    let identity = |path: PathBuf| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let keys = secret_keys(words.connect.key.as_deref(), env).into_iter().filter_map(identity).collect();
    let omit = Omit::new(keys, &words.exclude)
        .map_err(|bad| format!("--exclude '{}': {}", printable(&bad.pattern), pattern_text(&bad.why)))
        .map_err(|words| Fault::new(Exit::Usage, words))?;
    let is_key = |source: &Path| identity(source.to_owned()).is_some_and(|it| omit.is_key(it));
    match words.operands.sources.iter().find(|source| is_key(source)) {
        Some(key) => {
            Err(Fault::new(Exit::Usage, format!("{}: this is a secret key, which is not sent", printable(key)))
                .hint(format!("others need the id alone: vp-keygen -y {}", printable(key))))
        }
        None => Ok(omit),
    }
}

/// Lists what would be sent, under the names it would have, and says what cannot be and what is left out.
///
/// # Errors
/// Nothing of it could be sent, or some could not.
pub(super) fn list(job: &SendJob, context: &Context) -> Result<Exit, Fault> {
    let mut listing = Listing { context, keys_told: 0, good: 0, bad: 0, passing: false };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut walk = job.walk();
    while let Some(met) = walk.meet() {
        match met {
            Met::Item(Ok(found)) => writeln!(out, "{}", listing.line(&found)).map_err(|error| unwritten(&error))?,
            Met::Item(Err(skipped)) => listing.skip(&skipped),
            Met::LeftOut(what) => listing.leave_out(&what),
        }
    }
    let links = walk.left_links();
    if links.count > 0 && context.report.format() == Format::Text {
        context.report.say(left_links_level(links), &left_links_line(links));
    }
    out.flush().map_err(|error| unwritten(&error))?;
    listing.end()
}

/// What has been listed so far.
struct Listing<'c> {
    context: &'c Context,
    keys_told: usize,
    good: u64,
    bad: u64,
    /// Of what cannot be sent something may be the next time.
    passing: bool,
}

impl Listing<'_> {
    fn line(&mut self, found: &Found) -> String {
        self.good += 1;
        match self.context.report.format() {
            Format::Text => {
                let end = if found.kind == Kind::Directory { "/" } else { "" };
                format!("{}{end}", printable(found.path.as_bytes()))
            }
            Format::Json => self.context.report.render(&planned(found)),
        }
    }

    fn skip(&mut self, skipped: &Skipped) {
        self.bad += 1;
        self.passing |= !skipped.fault.is_refusal();
        let report = &self.context.report;
        match report.format() {
            Format::Text => report.say(Level::Warning, &skipped_line(skipped)),
            Format::Json => report.event(&not_offered(skipped)),
        }
    }

    fn leave_out(&mut self, what: &LeftOut) {
        let report = &self.context.report;
        match report.format() {
            Format::Text if what.is_key() && self.keys_told < KEYS_TOLD_MAX => {
                self.keys_told += 1;
                report.say(Level::Warning, &key_left_out(what));
            }
            Format::Text => {}
            Format::Json => report.event(&left_out(Party::default(), what)),
        }
    }

    /// As the run itself would end.
    fn end(&self) -> Result<Exit, Fault> {
        match (self.good, self.bad) {
            (_, 0) => Ok(Exit::Done),
            (0, _) => Err(Fault::new(Exit::Failed, "nothing of it could be sent")),
            (good, bad) => {
                let exit = if self.passing { Exit::Partial } else { Exit::Failed };
                Err(Fault::new(exit, format!("{bad} of {} items could not be sent", good + bad)))
            }
        }
    }
}

fn unwritten(error: &io::Error) -> Fault {
    Fault::new(Exit::Failed, format!("cannot write to standard output: {}", chain(error)))
}
