//! What a tool has to say, as events, and what it is asked for.

use super::Voice;
use super::connect::down;
use crate::cli::events::{Connection, Event, Item, Party, Status, Transfer, file_name, seconds};
use crate::cli::report::{Format, chain};
use crate::identity::PeerId;
use crate::run::event_loop::{self as client, Notice, ToolError};
use crate::transfer::ItemKind;
use crate::transfer::messages::ItemOutcome;

impl Voice<'_> {
    /// With `--json`, tells what happened as an event, if it is one. Then it needs no words.
    pub(super) fn tell_event(&mut self, notice: &Notice<'_>) {
        let event = match self.report.format() {
            Format::Json => self.event_of(notice),
            Format::Text => None,
        };
        self.is_told = event.is_some();
        if let Some(event) = event {
            self.report.event(&event);
        }
    }

    /// The event that a notice is, for those that have one of their own. The rest are words.
    fn event_of(&self, notice: &Notice<'_>) -> Option<Event> {
        let party = |peer: &PeerId, app: Option<&str>| Party {
            peer: Some(self.name(peer)),
            peer_id: Some(peer.to_string()),
            application: app.map(str::to_owned),
        };
        Some(match notice {
            Notice::RelayUp(relay) => Event::RelayUp { relay: relay.to_string() },
            Notice::RelayDown(relay, why, error) => {
                let reason =
                    error.map_or_else(|| down(*why).to_owned(), |error| format!("{}: {}", down(*why), chain(error)));
                Event::RelayDown { relay: relay.to_string(), reason }
            }
            Notice::Attached(app) => Event::Attached { application: (*app).to_owned() },
            Notice::Waiting(peer, app) => Event::Waiting(party(peer, Some(app))),
            Notice::Up(peer, app) => Event::Connected(party(peer, Some(app))),
            Notice::Lost(peer) => Event::Lost(party(peer, None)),
            Notice::Resumed(peer) => Event::Resumed(party(peer, None)),
            Notice::TurnedAway(peer, app) => Event::TurnedAway(party(peer, Some(app))),
            Notice::Listening(place, peer, app) => {
                Event::Listening { address: place.to_string(), party: party(peer, Some(app)) }
            }
            Notice::Serving(app, target) => {
                Event::Serving { application: (*app).to_owned(), target: (*target).to_owned() }
            }
            Notice::Ready => Event::Ready,
            Notice::Item(peer, app, item) => Event::Item(of_item(party(peer, Some(app)), item)),
            Notice::Transferred(peer, app, transfer) => {
                let reason = transfer.error.and_then(|error| self.reason(peer, error));
                Event::Transfer(of_transfer(party(peer, Some(app)), transfer, reason))
            }
            Notice::Joined(peer, app, joined) => Event::Connection(Connection {
                party: party(peer, Some(app)),
                bytes_sent: joined.sent,
                bytes_received: joined.received,
                result: if joined.is_reset { "reset" } else { "complete" },
                reason: joined.error.and_then(|error| self.reason(peer, error)),
                duration: seconds(joined.took),
            }),
            _ => return None,
        })
    }

    fn reason(&self, peer: &PeerId, error: &ToolError) -> Option<String> {
        let message = super::fault(error, &self.between(Some(peer))).message;
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

fn of_item(party: Party, item: &client::Item) -> Item {
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

fn of_transfer(party: Party, transfer: &client::Transfer<'_>, reason: Option<String>) -> Transfer {
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
