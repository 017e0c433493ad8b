//! Words of `vp-send` and `vp-recv`: what came, and how a transfer ends that is not whole.

use super::connect::Between;
use super::task::Role;
use super::transfer_fault::{fault_text, transfer_text, violation_text};
use super::{AsFault, Hears, Voice, command_fault, output_gone};
use crate::cli::counted::counted;
use crate::cli::escape::printable;
use crate::cli::events::seconds;
use crate::cli::exit::Exit;
use crate::cli::progress::{Amount, Totals};
use crate::cli::report::{Fault, Format, Level};
use crate::identity::PeerId;
use crate::run::tool::RunError;
use crate::store::attributes::Unkept;
use crate::store::found::Skipped;
use crate::store::links::{LeftLinks, Links};
use crate::store::omit::{LeftOut, OmitReason, PatternFault};
use crate::tools::recv::Recv;
use crate::tools::send::Send;
use crate::tools::transfers::engine::{Item, ItemKind};
use crate::tools::transfers::{Ending, Error, News, Transfer};
use crate::transfer::Fault as StoreFault;
use crate::transfer::fault::DanglingLink;
use crate::transfer::messages::{ENTRIES_MAX, ItemOutcome};
use crate::transfer::outcome::{Side, Unlike};
use crate::transfer::status::Counts;
use crate::transfer::{Status, TransferError};
use crate::wire::CloseCode;
use std::path::Path;

/// What to do about what is kept because it differs.
const OVERWRITE: &str =
    "send it under another name, with the date in it for example, or receive with --overwrite yes or rename";
/// What is told of a fifo, which may be one that a shell has made for what a program writes.
pub(crate) const SPECIAL: &str =
    "to send what a program writes, give it to vp-send as standard input: COMMAND | vp-send - --name NAME PEER";
const NO_DIRECTORY: &str = "files and directories need a receiver that was started with vp-recv -d DIR";
const FULL_DIRECTORY: &str = "a directory with something in it stays, whatever --overwrite says: move it away there";

/// A secret key lies in what is sent.
pub(crate) fn key_left_out(key: &LeftOut) -> String {
    let deliberately = if key.why == OmitReason::Key { "" } else { "; to send it all the same, name the file itself" };
    format!("{}: a secret key, which is not sent: left out{deliberately}", printable(&key.path[..]))
}

/// Why a pattern of what is left out could never match.
pub(in crate::cli) fn pattern_text(fault: &PatternFault) -> &str {
    match fault {
        PatternFault::Empty => "it names nothing",
        PatternFault::Comment => "it starts with #, as a comment does: write \\#",
        PatternFault::Step => "paths start below the directory that is sent, and have no . or .. in them",
        PatternFault::Syntax(words) => words,
    }
}

/// A link that leads to nothing.
pub(super) fn dangling(DanglingLink { target, is_loop }: &DanglingLink) -> String {
    let end = if *is_loop { "which leads back to it" } else { "which is not there" };
    format!("a link to {}, {end}", printable(&target[..]))
}

/// Something is such a link, and cannot be sent.
pub(super) fn dangling_line(path: &[u8], link: &DanglingLink) -> String {
    format!("{} is {}", printable(path), dangling(link))
}

/// Something cannot be sent, for a reason of its own.
pub(crate) fn skipped_line(Skipped { path, fault, dangling }: &Skipped) -> String {
    match dangling {
        Some(link) => dangling_line(path, link),
        None => format!("{}: {}", printable(&path[..]), fault_text(*fault)),
    }
}

impl Voice<'_> {
    /// Says what happened to items and transfers.
    fn hear_transfer(&mut self, news: &News<'_>) {
        if let News::Run(news) = news {
            return self.hear(news);
        }
        if let News::Transferred(peer, ..) = news {
            self.show.end_bar();
            self.last_was_of(peer);
        }
        self.tell_event(|voice| voice.event_of_transfer(news));
        match news {
            News::Run(_) => {}
            News::SessionFailed(peer, error) => self.session_failed(peer, *error),
            News::Progress { bytes, skipped, total, items, name } => {
                let (done, all) = items.unwrap_or_default();
                (*name).clone_into(&mut self.show.current);
                let bar = self.show.bar(self.report, Totals { bytes: *total, items: all });
                bar.set(Amount { bytes: *bytes, skipped: *skipped }, done, &String::from_utf8_lossy(name));
            }
            News::Unlike(peer, app, items) => {
                let text = format!("{}{}", self.caller(peer, app), unlike(items));
                self.warn_of(Some(peer), &text);
            }
            News::LeftOut(_, _, key) if key.is_key() => self.warn(&key_left_out(key)),
            // Whoever reads words has the sum of links, and has named the rest.
            News::LeftOut(..) => {}
            // As an event each item is told anyway.
            News::ItemFailed(_, _, failure) if self.report.format() == Format::Json && !failure.late => {}
            // It is the only one, and the end tells more.
            News::ItemFailed(_, _, failure) if failure.fault == StoreFault::Cancelled => {}
            News::ItemFailed(peer, app, failure) => {
                let whole = self.caller(peer, app);
                let line = match &failure.dangling {
                    Some(link) => format!("{whole}{}", dangling_line(&failure.path, link)),
                    None => {
                        let why = item_fault(failure.fault, failure.side, &self.between(Some(peer)));
                        format!("{whole}{}: {why}", printable(&failure.path[..]))
                    }
                };
                if !self.told.knows(&line) {
                    self.warn_of(Some(peer), &line);
                }
            }
            // As an event each is told anyway.
            News::LinksLeftOut(_) if self.report.format() == Format::Json => {}
            News::LinksLeftOut(links) => self.tell_left_links(links),
            News::Unkept(place, what) => self.warn_of(None, &unkept(place, *what)),
            News::Item(peer, _, item) => {
                if let Some(line) = item_line(item) {
                    self.info_of(peer, &line);
                }
            }
            News::Transferred(peer, app, transfer) => {
                if transfer.error.is_none() || transfer.counts != Counts::default() {
                    let whom = format!("{}:{app}", self.name(peer));
                    self.info_of(peer, &transfer_line(transfer, self.task.role == Role::Dials, &whom));
                }
            }
        }
    }
}

impl Hears<Send> for Voice<'_> {
    fn hear_tool(&mut self, news: &News<'_>) {
        self.hear_transfer(news);
    }
}

impl Hears<Recv> for Voice<'_> {
    fn hear_tool(&mut self, news: &News<'_>) {
        self.hear_transfer(news);
    }
}

impl AsFault for Error {
    fn fault(&self, between: &Between<'_>) -> Fault {
        match self {
            Error::Run(RunError::PeerClosed(CloseCode::Limit)) => {
                let what = format!("{} heard nothing of us for long, and gave our place to another", between.peer);
                between.fault(Exit::PeerAbsent, &what)
            }
            Error::Run(error) => error.fault(between),
            Error::BegunAnew => {
                Fault::new(Exit::Deadline, "the sender was gone and began anew: what has been written is not all")
                    .hint("receive once more, into an empty place")
            }
            Error::GaveWay => {
                between.fault(Exit::Deadline, "the sender was gone, and its place went to another that waited")
            }
            Error::WasStill => between
                .fault(Exit::Deadline, "the sender sent nothing for long, and its place went to another that waited"),
            Error::NotBack => between
                .fault(Exit::PeerAbsent, "the receiver's process ended, and none came back in time")
                .hint("run the same command again to send what is missing"),
            Error::Command(status) => command_fault(*status, between),
            Error::Transfer(error) => transfer_fault(error, between),
            Error::Items(ending) => items_fault(ending, between),
            Error::NothingToDo => Fault::new(Exit::NothingToDo, "there was nothing to transfer"),
            Error::Broken => Fault::new(Exit::Failed, "a thread of this program came to a bad end"),
            Error::OutputGone => output_gone(),
        }
    }

    fn run(&self) -> Option<&RunError> {
        match self {
            Error::Run(error) => Some(error),
            _ => None,
        }
    }
}

/// One item that is where it belongs. Of the others there is a warning.
fn item_line(item: &Item) -> Option<String> {
    let name = printable(&item.path[..]);
    let name = if name.is_empty() { "-" } else { &name };
    let what = match item.kind {
        Some(ItemKind::Directory) => "directory".to_owned(),
        Some(ItemKind::Link) => "link".to_owned(),
        Some(ItemKind::File | ItemKind::Stream) | None => counted(item.bytes, "byte"),
    };
    match item.outcome {
        ItemOutcome::Committed => Some(format!("{name}: {what}")),
        ItemOutcome::Exists | ItemOutcome::ExistsUnlike => Some(format!("{name}: {what}, there already")),
        ItemOutcome::Refused(_) | ItemOutcome::Failed(_) => None,
    }
}

/// The totals of a transfer.
fn transfer_line(transfer: &Transfer<'_>, sends: bool, whom: &str) -> String {
    let (verb, way) = if sends { ("sent", "to") } else { ("received", "from") };
    let (counts, bytes, took) = (transfer.counts, transfer.bytes, seconds(transfer.took));
    let there = if counts.exists > 0 { format!(", {} there already", counts.exists) } else { String::new() };
    let (items, bytes) = (counted(counts.committed, "item"), counted(bytes, "byte"));
    format!("{verb} {items}, {bytes}, {way} {whom} in {took} s{there}")
}

impl Voice<'_> {
    /// Whose item it is, for whoever has been called; who calls sends to one peer, and all its lines are about that.
    fn caller(&self, peer: &PeerId, app: &str) -> String {
        if self.task.role == Role::Dials { String::new() } else { format!("{}:{app}: ", self.name(peer)) }
    }

    /// Something named cannot be sent, which the transfer will come upon when it is there. As words it need not say so again;
    /// as an event it is told then.
    pub(crate) fn warn_of_unsent(&mut self, skipped: &Skipped) {
        if self.report.format() == Format::Json {
            return;
        }
        let line = skipped_line(skipped);
        self.warn(&line);
        self.told.note(&line);
    }

    /// Once a run, as loudly as it deserves.
    fn tell_left_links(&mut self, links: &LeftLinks) {
        if self.told.take_links() {
            self.say(left_links_level(links), &left_links_line(links));
        }
    }
}

/// Whoever asked for links to be left out need not hear that they were.
pub(crate) fn left_links_level(left: &LeftLinks) -> Level {
    if left.links == Links::Skip { Level::Info } else { Level::Warning }
}

/// Links that are not sent.
pub(crate) fn left_links_line(LeftLinks { links, count, first }: &LeftLinks) -> String {
    let first = printable(&first[..]);
    let whither = match links {
        Links::Skip => "",
        Links::Keep => " that lead out of what is sent",
        Links::Follow => " that lead back into a directory above",
    };
    match count {
        1 => format!("1 link{} is left out: {first}; see --links", whither.replacen("lead", "leads", 1)),
        _ => format!("{count} links{whither} are left out, the first: {first}; see --links"),
    }
}

/// Why an item did not come about, and at whom.
fn item_fault(fault: StoreFault, side: Side, between: &Between<'_>) -> String {
    let at_receiver = between.called.is_some() == (side == Side::There);
    let at = between.at(side);
    match fault {
        // Where files are made, what is missing was there before.
        StoreFault::NotFound if at_receiver => format!("{at}it was removed while it came, or its directory was"),
        _ => format!("{at}{}", fault_text(fault)),
    }
}

/// The status of whoever is refused a transfer as a whole: whether it may be taken another time.
fn refusal(fault: StoreFault) -> Exit {
    match fault {
        StoreFault::NotFound | StoreFault::NoDescriptors | StoreFault::NoSpace | StoreFault::Busy | StoreFault::Io => {
            Exit::Failed
        }
        _ => Exit::Refused,
    }
}

/// Why a transfer came to no end.
pub(super) fn transfer_fault(error: &TransferError, between: &Between<'_>) -> Fault {
    let exit = match error {
        TransferError::Malformed(_) | TransferError::Violation(_) => Exit::Integrity,
        TransferError::Refused(fault) => refusal(*fault),
        TransferError::Closed(_) | TransferError::Truncated | TransferError::Inbox(_) => Exit::Failed,
    };
    let peer = &between.peer;
    let message = match error {
        TransferError::Refused(StoreFault::NotFound) if between.called.is_some() => {
            format!("at {peer}: the directory that it receives into is gone")
        }
        TransferError::Refused(fault) if between.called.is_some() => {
            format!("{peer} refused the transfer: {}", fault_text(*fault))
        }
        TransferError::Truncated => format!("{peer} stopped in the middle of the transfer"),
        TransferError::Violation(violation) => {
            format!("{peer} broke the protocol: {}", violation_text(*violation))
        }
        _ => transfer_text(error),
    };
    let fault = between.fault(exit, &message);
    match error {
        TransferError::Refused(StoreFault::Exists) => fault.hint(OVERWRITE),
        TransferError::Refused(StoreFault::Name) => {
            fault.hint("what goes into a directory needs the name of a file there: vp-send --name gives a stream one")
        }
        TransferError::Refused(StoreFault::Terminal) => {
            fault.hint("vp-recv -d DIR puts files into a directory; vp-recv > FILE takes one")
        }
        TransferError::Refused(StoreFault::TreeNotTaken) => fault.hint(NO_DIRECTORY),
        TransferError::Refused(StoreFault::NotEmpty) => fault.hint(FULL_DIRECTORY),
        TransferError::Refused(StoreFault::TooLarge) => fault.hint(too_large(between)),
        TransferError::Refused(StoreFault::TooMany) => fault.hint(too_many(between)),
        _ => fault,
    }
}

/// Which limit is too small for what is sent, and who sets it.
fn too_large(between: &Between<'_>) -> String {
    let option = match between.limits.size {
        Some(size) => format!("--max-size {size} of this vp-recv"),
        None => "--max-size of the receiver's vp-recv".to_owned(),
    };
    format!("the limit is {option}, or of the system for a file there (ulimit -f, its file system)")
}

fn too_many(between: &Between<'_>) -> String {
    let option = match between.limits.items {
        Some(items) => format!("--max-items {items} of this vp-recv"),
        None => "--max-items of the receiver's vp-recv".to_owned(),
    };
    format!("the limit is {option}, and {ENTRIES_MAX} in any case: send a part at a time")
}

/// Some items were there with another mode or time, and keep them.
fn unlike(Unlike { first, count }: &Unlike) -> String {
    let more = if *count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let first = printable(&first[..]);
    format!(
        "{first}{more}: already there with other permissions or another time, which stay: vp-recv --overwrite yes sets those of files, and of directories that the sender made"
    )
}

/// Some items, or all, are not where they belong. Each was named when it happened, up to a bound.
pub(super) fn items_fault(ending: &Ending, between: &Between<'_>) -> Fault {
    let counts = ending.counts;
    let good = u64::from(counts.committed) + u64::from(counts.exists);
    let bad = u64::from(counts.refused) + u64::from(counts.failed) + u64::from(ending.skipped);
    let exit = match ending.status {
        // What came last, the directories.
        Status::Partial if bad == 0 => Exit::Partial,
        // Who tries again whatever is partial would do so for ever.
        Status::Partial if ending.lasting && counts.refused > 0 => Exit::Refused,
        Status::Partial if ending.lasting => Exit::Failed,
        Status::Partial => Exit::Partial,
        Status::Refused => Exit::Refused,
        Status::Integrity => Exit::Integrity,
        _ => Exit::Failed,
    };
    let message = match (good, bad) {
        (0, 0 | 1) => "nothing was transferred".to_owned(),
        (1, 0) => "the one item came, but not every directory is in its place and in order".to_owned(),
        (good, 0) => format!("all {good} items came, but not every directory is in its place and in order"),
        (0, bad) => format!("none of {bad} items was transferred"),
        (good, bad) => {
            let were = if bad == 1 { "was" } else { "were" };
            format!("{bad} of {} items {were} not transferred", good + bad)
        }
    };
    let message = match ending.first_fault {
        Some(first) if bad > 1 => {
            format!("{message}; the first: {}", item_fault(first, ending.fault_side, between))
        }
        Some(only) => format!("{message}: {}", item_fault(only, ending.fault_side, between)),
        // The sender has told its own people.
        None if ending.skipped > 0 => format!("{message}: the sender could not offer what is missing"),
        None => message,
    };
    let fault = between.fault(exit, &message);
    let fault = if ending.lasting && exit != Exit::Partial { fault.lasting() } else { fault };
    let fault = match ending.first_fault {
        Some(StoreFault::TreeNotTaken) => fault.hint(NO_DIRECTORY),
        Some(StoreFault::Exists) => fault.hint(OVERWRITE),
        Some(StoreFault::NotEmpty) => fault.hint(FULL_DIRECTORY),
        Some(StoreFault::TooLarge) => fault.hint(too_large(between)),
        Some(StoreFault::TooMany) => fault.hint(too_many(between)),
        Some(StoreFault::Special) => fault.hint(SPECIAL),
        Some(StoreFault::OnlyReplaces) => fault.hint("vp-recv --overwrite yes replaces what has the name"),
        _ => fault,
    };
    match exit {
        Exit::Partial => fault.hint("run the same command again to send what is missing"),
        _ => fault,
    }
}

/// What a file system did not keep of what came.
fn unkept(place: &Path, what: Unkept) -> String {
    let what = match what {
        Unkept { permissions: true, times: true } => "times and permissions",
        Unkept { permissions: true, times: false } => "permissions",
        Unkept { .. } => "times",
    };
    format!("{what} are not kept in {}: its file system refuses them", printable(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_short_of_something_for_a_while_has_refused_nothing() {
        for fault in [StoreFault::NoDescriptors, StoreFault::NoSpace, StoreFault::Busy, StoreFault::Io] {
            assert_eq!(refusal(fault), Exit::Failed, "{fault:?}");
        }
        for fault in [StoreFault::Denied, StoreFault::ReadOnly, StoreFault::TreeNotTaken, StoreFault::Version] {
            assert_eq!(refusal(fault), Exit::Refused, "{fault:?}");
        }
    }
}
