//! What a tool has to say as events (`--json`), and its status when that is asked for (SIGUSR1).

use super::connect::Failing;
use super::transfer::dangling;
use super::transfer_fault::fault_text;
use super::{AsFault, Voice};
use crate::cli::counted::counted;
use crate::cli::events::{Connection, Event, Item, LeftOut, Party, Planned, Status, Transfer, file_name, seconds};
use crate::cli::exit::Exit;
use crate::cli::report::{Fault, Format};
use crate::identity::PeerId;
use crate::run::News;
use crate::run::joint::Joined;
use crate::store::found::{Found, Skipped};
use crate::store::links::Links;
use crate::store::omit::{self, OmitReason};
use crate::tools::transfers;
use crate::tools::transfers::engine::{ItemEnd, ItemKind};
use crate::transfer::Fault as StoreFault;
use crate::transfer::messages::ItemOutcome;
use std::time::Duration;

impl Voice<'_> {
    /// With `--json`, tells what happened as an event, if it is one. Then it needs no words.
    pub(super) fn tell_event(&mut self, event: impl FnOnce(&Self) -> Option<Event>) {
        let event = match self.report.format() {
            Format::Json if !self.told.is_muted => event(self),
            Format::Json | Format::Text => None,
        };
        self.told.as_event = event.is_some();
        if let Some(event) = event {
            self.report.event(&event);
        }
    }

    pub(super) fn party(&self, peer: &PeerId, app: Option<&str>) -> Party {
        Party { peer: Some(self.name(peer)), peer_id: Some(peer.to_string()), application: app.map(str::to_owned) }
    }

    /// The event that this is, for news that have one of their own. The rest are words.
    pub(super) fn event_of(&self, news: &News<'_>) -> Option<Event> {
        Some(match news {
            News::RelayUp(relay) => Event::RelayUp { relay: relay.to_string() },
            News::RelayDown(relay, why, fault) => {
                let failing = Failing { why: *why, by: self.relay.by.as_ref(), fault: *fault };
                Event::RelayDown { relay: relay.to_string(), reason: failing.reason() }
            }
            News::Attached(app) => Event::Attached { application: (*app).to_owned() },
            News::Waiting(peer, app) => Event::Waiting(self.party(peer, Some(app))),
            News::Up(peer, app) => Event::Connected(self.party(peer, Some(app))),
            News::Lost(peer) => Event::Lost(self.party(peer, None)),
            News::Resumed(peer) => Event::Resumed(self.party(peer, None)),
            _ => return None,
        })
    }

    /// The event of news about a transfer, if it has one.
    pub(super) fn event_of_transfer(&self, news: &transfers::News<'_>) -> Option<Event> {
        match news {
            transfers::News::Item(peer, app, item) => Some(Event::Item(of_item(self.party(peer, Some(app)), item))),
            transfers::News::LeftOut(peer, app, what) => Some(left_out(self.party(peer, Some(app)), what)),
            transfers::News::Transferred(peer, app, transfer) => {
                let why = transfer.error.map(|error| self.why(peer, error));
                Some(Event::Transfer(of_transfer(self.party(peer, Some(app)), transfer, why.unwrap_or_default())))
            }
            _ => None,
        }
    }

    /// One connection, or the one pair of standard input and output, that was joined to this peer came to its end.
    pub(super) fn joined(&mut self, peer: &PeerId, app: &str, joined: &Joined<'_, impl AsFault>) {
        self.tell_event(|voice| {
            let Because { reason, cause } = joined.error.map(|error| voice.why(peer, error)).unwrap_or_default();
            Some(Event::Connection(Connection {
                party: voice.party(peer, Some(app)),
                bytes_sent: joined.sent,
                bytes_received: joined.received,
                result: if joined.is_reset { "reset" } else { "complete" },
                reason,
                cause,
                duration: seconds(joined.took),
            }))
        });
        let (sent, received, took) = (joined.sent, joined.received, seconds(joined.took));
        let how = if joined.is_reset { "reset" } else { "ended" };
        let whom = format!("{}:{app}", self.name(peer));
        let sent = counted(sent, "byte");
        self.info_of(peer, &format!("connection with {whom} {how}: {sent} sent, {received} received, in {took} s"));
    }

    fn why(&self, peer: &PeerId, error: &impl AsFault) -> Because {
        let Fault { exit, message, .. } = error.fault(&self.between(Some(peer)));
        let reason = match exit {
            // People are not told.
            Exit::Signal(number) if message.is_empty() => format!("ended by signal {number}"),
            _ => message,
        };
        Because { reason: Some(reason), cause: exit.word() }
    }

    /// How it stands.
    pub(super) fn status(&self) -> Status {
        match &self.show.bar {
            Some(bar) => {
                Status { file: Some(file_name(&self.show.current)).filter(|name| !name.is_empty()), ..bar.status() }
            }
            None => Status { message: self.state.text.clone(), ..Status::default() },
        }
    }

    /// What `check` finds is what it is asked for: it goes where its answer goes, in the form that is wanted.
    pub(super) fn tell_hop(&mut self, hop: &str, result: &str) {
        let line = match self.report.format() {
            Format::Text => format!("{hop} {result}"),
            Format::Json => self.report.render(&Event::Hop { hop: hop.to_owned(), result: result.to_owned() }),
        };
        self.ready_line(&line);
    }
}

/// Because something is no success, in words and in one word.
#[derive(Default)]
struct Because {
    reason: Option<String>,
    cause: Option<&'static str>,
}

impl From<StoreFault> for Because {
    fn from(fault: StoreFault) -> Because {
        Because { reason: Some(fault_text(fault).to_owned()), cause: Some(cause_of(fault)) }
    }
}

/// The word for a link that leads to nothing.
const DANGLING: &str = "dangling-link";

/// One word for a fault, which programs compare: it stays as it is.
fn cause_of(fault: StoreFault) -> &'static str {
    match fault {
        StoreFault::Name => "name",
        StoreFault::Duplicate => "duplicate",
        StoreFault::Exists => "exists",
        StoreFault::NotEmpty => "not-empty",
        StoreFault::Parent => "parent",
        StoreFault::LinkTarget => "link-target",
        StoreFault::TooLarge => "too-large",
        StoreFault::TooMany => "too-many",
        StoreFault::Special => "special",
        StoreFault::TreeNotTaken => "tree-not-taken",
        StoreFault::Terminal => "terminal",
        StoreFault::Version => "version",
        StoreFault::Changed => "changed",
        StoreFault::NotFound => "not-found",
        StoreFault::Denied => "denied",
        StoreFault::NoSpace => "no-space",
        StoreFault::ReadOnly => "read-only",
        StoreFault::NoDescriptors => "no-descriptors",
        StoreFault::Busy => "busy",
        StoreFault::Integrity => "integrity",
        StoreFault::Cancelled => "cancelled",
        StoreFault::OnlyReplaces => "only-replaces",
        StoreFault::NoLinks => "no-links",
        StoreFault::Io => "io",
    }
}

/// The event of something that is left out.
pub(crate) fn left_out(party: Party, what: &omit::LeftOut) -> Event {
    let (cause, reason) = match what.why {
        OmitReason::Key => ("key", "a secret key that is in use"),
        OmitReason::CopyOfKey => ("copy-of-key", "a secret key, which goes only if the file itself is named"),
        OmitReason::Pattern => ("exclude", "excluded by a pattern"),
        OmitReason::Link(Links::Skip) => ("link", "a link"),
        OmitReason::Link(Links::Keep) => ("link-outside", "a link that leads out of what is sent"),
        OmitReason::Link(Links::Follow) => ("link-loop", "a link that leads back into a directory above"),
    };
    Event::LeftOut(LeftOut { party, file: file_name(&what.path), reason, cause })
}

/// The event of an item that cannot be sent, where nobody is called.
pub(crate) fn not_offered(skipped: &Skipped) -> Event {
    let outcome = ItemOutcome::Failed(skipped.fault);
    let (path, took) = (&skipped.path[..], Duration::ZERO);
    let dangling = skipped.dangling.as_ref();
    let end = ItemEnd { path, kind: None, bytes: 0, hash: None, renamed: None, outcome, dangling, took };
    Event::Item(of_item(Party::default(), &end.into()))
}

/// The event of an item that would be sent.
pub(crate) fn planned(found: &Found) -> Event {
    let file = file_name(found.path.as_bytes());
    Event::Planned(Planned { file, kind: kind_word(ItemKind::from(&found.kind)), bytes: found.stamp.size })
}

fn kind_word(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::File => "file",
        ItemKind::Directory => "directory",
        ItemKind::Link => "link",
        ItemKind::Stream => "stream",
    }
}

fn of_item(party: Party, item: &crate::tools::transfers::engine::Item) -> Item {
    let (result, Because { reason, cause }) = match item.outcome {
        ItemOutcome::Committed => ("committed", Because::default()),
        ItemOutcome::Exists | ItemOutcome::ExistsUnlike => ("exists", Because::default()),
        ItemOutcome::Refused(fault) => ("refused", fault.into()),
        ItemOutcome::Failed(fault) => ("failed", fault.into()),
    };
    let (reason, cause) = match &item.dangling {
        Some(link) => (Some(dangling(link)), Some(DANGLING)),
        None => (reason, cause),
    };
    Item {
        party,
        file: Some(file_name(&item.path)).filter(|name| !name.is_empty()),
        kind: item.kind.map(kind_word),
        bytes: item.bytes,
        hash: item.hash.map(|hash| blake3::Hash::from_bytes(hash).to_hex().to_string()),
        renamed: item.renamed.as_deref().map(file_name),
        result,
        reason,
        cause,
        duration: seconds(item.took),
    }
}

fn of_transfer(party: Party, transfer: &transfers::Transfer<'_>, why: Because) -> Transfer {
    Transfer {
        party,
        committed: transfer.counts.committed.into(),
        exists: transfer.counts.exists.into(),
        refused: transfer.counts.refused.into(),
        failed: transfer.counts.failed.into(),
        left_out: transfer.left_out.into(),
        bytes: transfer.bytes,
        result: if transfer.error.is_some() { "failed" } else { "complete" },
        reason: why.reason,
        cause: why.cause,
        duration: seconds(transfer.took),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::messages::FAULTS;

    const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/man/src/vp-events.roff"));

    #[test]
    fn the_manual_page_lists_every_cause_and_no_other() {
        let (_, list) = PAGE.split_once(".B cause\n").expect("the list");
        let list = list.split(".TP\n").next().expect("it ends").replace('\\', "");
        let listed = list.lines().filter_map(|line| line.strip_prefix(".BR ")).flat_map(str::split_whitespace);
        let mut listed: Vec<&str> = listed.filter(|word| !["\",", "\"", ",", ".", ";", "or"].contains(word)).collect();
        let exits = [
            Exit::Failed,
            Exit::Usage,
            Exit::Config,
            Exit::Refused,
            Exit::PeerAbsent,
            Exit::NoRelay,
            Exit::Partial,
            Exit::Integrity,
            Exit::NothingToDo,
            Exit::Deadline,
            Exit::Signal(15),
            Exit::Command(3),
        ];
        let faults = FAULTS.iter().map(|(fault, _)| cause_of(*fault));
        let links = [Links::Keep, Links::Skip, Links::Follow].map(OmitReason::Link);
        let whys = [OmitReason::Key, OmitReason::CopyOfKey, OmitReason::Pattern].into_iter().chain(links);
        let left = whys.map(|why| match left_out(Party::default(), &omit::LeftOut { path: Vec::new(), why }) {
            Event::LeftOut(left) => left.cause,
            other => panic!("{other:?}"),
        });
        let mut given: Vec<&str> = faults.chain(exits.iter().filter_map(|exit| exit.word())).chain(left).collect();
        given.push(DANGLING);
        listed.sort_unstable();
        given.sort_unstable();
        assert_eq!(listed, given);
    }
}
