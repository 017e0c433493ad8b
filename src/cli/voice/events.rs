//! What a tool has to say, as events, and what it is asked for.

use super::connect::down;
use super::{End, Voice};
use crate::cli::events::{Connection, Event, Item, Party, Status, Transfer, file_name, seconds};
use crate::cli::report::{Format, chain};
use crate::identity::PeerId;
use crate::run::News;
use crate::run::joint::Joined;
use crate::tools::transfers;
use crate::tools::transfers::engine::ItemKind;
use crate::transfer::messages::ItemOutcome;

impl Voice<'_> {
    /// With `--json`, tells what happened as an event, if it is one. Then it needs no words.
    pub(super) fn tell_event(&mut self, event: impl FnOnce(&Self) -> Option<Event>) {
        let event = match self.report.format() {
            Format::Json => event(self),
            Format::Text => None,
        };
        self.is_told = event.is_some();
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
            News::RelayDown(relay, why, error) => {
                let reason =
                    error.map_or_else(|| down(*why).to_owned(), |error| format!("{}: {}", down(*why), chain(error)));
                Event::RelayDown { relay: relay.to_string(), reason }
            }
            News::Attached(app) => Event::Attached { application: (*app).to_owned() },
            News::Waiting(peer, app) => Event::Waiting(self.party(peer, Some(app))),
            News::Up(peer, app) => Event::Connected(self.party(peer, Some(app))),
            News::Lost(peer) => Event::Lost(self.party(peer, None)),
            News::Resumed(peer) => Event::Resumed(self.party(peer, None)),
            News::TurnedAway(peer, app) => Event::TurnedAway(self.party(peer, Some(app))),
            _ => return None,
        })
    }

    /// The event of news about a transfer, if it has one.
    pub(super) fn event_of_transfer(&self, news: &transfers::News<'_>) -> Option<Event> {
        match news {
            transfers::News::Item(peer, app, item) => Some(Event::Item(of_item(self.party(peer, Some(app)), item))),
            transfers::News::Transferred(peer, app, transfer) => {
                let reason = transfer.error.and_then(|error| self.reason(peer, error));
                Some(Event::Transfer(of_transfer(self.party(peer, Some(app)), transfer, reason)))
            }
            _ => None,
        }
    }

    /// One connection, or the one pair of standard input and output, that was joined to this peer came to its end.
    pub(super) fn joined(&mut self, peer: &PeerId, app: &str, joined: &Joined<'_, impl End>) {
        self.tell_event(|voice| {
            Some(Event::Connection(Connection {
                party: voice.party(peer, Some(app)),
                bytes_sent: joined.sent,
                bytes_received: joined.received,
                result: if joined.is_reset { "reset" } else { "complete" },
                reason: joined.error.and_then(|error| voice.reason(peer, error)),
                duration: seconds(joined.took),
            }))
        });
        let (sent, received, took) = (joined.sent, joined.received, seconds(joined.took));
        let how = if joined.is_reset { "reset" } else { "ended" };
        let whom = format!("{}:{app}", self.name(peer));
        self.info(&format!("connection with {whom} {how}: {sent} bytes sent, {received} received, in {took} s"));
    }

    fn reason(&self, peer: &PeerId, error: &impl End) -> Option<String> {
        let message = error.fault(&self.between(Some(peer))).message;
        (!message.is_empty()).then_some(message)
    }

    /// How it stands.
    pub(super) fn status(&self) -> Status {
        match &self.bar {
            Some(bar) => {
                Status { file: Some(file_name(&self.current)).filter(|name| !name.is_empty()), ..bar.status() }
            }
            None => Status { message: self.state.clone(), ..Status::default() },
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

fn of_item(party: Party, item: &crate::tools::transfers::engine::Item) -> Item {
    let (result, reason) = match item.outcome {
        ItemOutcome::Committed => ("committed", None),
        ItemOutcome::Exists | ItemOutcome::ExistsUnlike => ("exists", None),
        ItemOutcome::Refused(fault) => ("refused", Some(fault.to_string())),
        ItemOutcome::Failed(fault) => ("failed", Some(fault.to_string())),
    };
    let kind = item.kind.map(|kind| match kind {
        ItemKind::File => "file",
        ItemKind::Directory => "directory",
        ItemKind::Link => "link",
        ItemKind::Stream => "stream",
    });
    Item {
        party,
        file: Some(file_name(&item.path)).filter(|name| !name.is_empty()),
        kind,
        bytes: item.bytes,
        hash: item.hash.map(|hash| blake3::Hash::from_bytes(hash).to_hex().to_string()),
        renamed: item.renamed.as_deref().map(file_name),
        result,
        reason,
        duration: seconds(item.took),
    }
}

fn of_transfer(party: Party, transfer: &transfers::Transfer<'_>, reason: Option<String>) -> Transfer {
    Transfer {
        party,
        committed: transfer.counts.committed.into(),
        exists: transfer.counts.exists.into(),
        refused: transfer.counts.refused.into(),
        failed: transfer.counts.failed.into(),
        left_out: transfer.left_out.into(),
        bytes: transfer.bytes,
        result: if transfer.error.is_some() { "failed" } else { "complete" },
        reason,
        duration: seconds(transfer.took),
    }
}
