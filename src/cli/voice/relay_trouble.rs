//! What is wrong with the relay, and how loudly that deserves to be said.

use super::proxy::By;
use crate::node::Down;
use crate::run::way::Way;
use crate::wire::CloseCode;
use std::collections::BTreeSet;

/// See the module's text.
#[derive(Debug)]
pub(super) struct RelayTrouble {
    /// It is the only one, so that its refusal is the end, and is said there.
    is_lone: bool,
    /// Why it could not be used, as last said.
    said: Option<Said>,
    /// The one that was last tried.
    pub name: Option<String>,
    /// What that is reached by, if not straight.
    pub by: Option<By>,
    /// It took the connection, and nothing has come of that yet.
    is_taken: bool,
    /// Why it could not be used, in full.
    fault: Option<InFull>,
    /// Relays of which the last try ended before they had proven who they are. A relay that is asked by many at once does that
    /// to some, so the first time in a row is nothing to be told of.
    doubted: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Said {
    why: Down,
    text: String,
}

/// Why a relay could not be used, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct InFull {
    pub text: String,
    pub advice: Option<String>,
}

impl RelayTrouble {
    /// Of one of so many relays.
    pub(super) fn new(relays: usize) -> RelayTrouble {
        RelayTrouble {
            is_lone: relays == 1,
            said: None,
            name: None,
            by: None,
            is_taken: false,
            fault: None,
            doubted: BTreeSet::new(),
        }
    }

    /// This one is dialled.
    pub(super) fn handle_dialling(&mut self, relay: &str) {
        self.name = Some(relay.to_owned());
        (self.by, self.is_taken) = (None, false);
    }

    /// It is dialled by this way.
    pub(super) fn handle_way(&mut self, way: &Way) {
        self.by = By::of(way);
    }

    /// It has taken the connection.
    pub(super) fn handle_connected(&mut self) {
        self.is_taken = true;
    }

    /// It is there. True if that is news to whoever heard that it was not.
    pub(super) fn handle_up(&mut self) -> bool {
        self.is_taken = false;
        if let Some(name) = &self.name {
            self.doubted.remove(name);
        }
        self.said.take().is_some()
    }

    /// It is not. True if that is to be said. `ends_soon`: the tool is about to end by this unless it passes.
    pub(super) fn handle_down(&mut self, relay: &str, why: Down, (fault, ends_soon): (&InFull, bool)) -> bool {
        (self.name, self.is_taken) = (Some(relay.to_owned()), false);
        self.fault = Some(fault.clone());
        let was_doubted = self.doubted.remove(relay);
        if why == Down::Unproven {
            self.doubted.insert(relay.to_owned());
            if !was_doubted {
                return false;
            }
        }
        // What a person has to mend is said even where the trouble began with something else.
        let lasts = matches!(
            why,
            Down::Impostor
                | Down::Unproven
                | Down::Mute
                | Down::NotTaken(_)
                | Down::ProxyLogin
                | Down::NotTls
                | Down::NotRelay
                | Down::TlsAlert(_)
                | Down::Untrusted(_)
                | Down::Said(CloseCode::Refused)
        );
        let is_final = matches!(why, Down::Impostor | Down::ProxyLogin | Down::Said(CloseCode::Refused));
        let is_end = self.is_lone && (ends_soon || is_final);
        let is_news = self.said.as_ref().is_none_or(|said| lasts && said.why != why);
        if is_news && !is_end {
            self.said = Some(Said { why, text: fault.text.clone() });
        }
        is_news && !is_end
    }

    /// Why none could be used, in full, if that is known better than by its kind.
    pub(super) fn reason(&self, why: Down) -> Option<&InFull> {
        // What takes the connection now has not failed yet.
        let is_now = self.is_taken && matches!(why, Down::Mute | Down::Undecided);
        self.fault.as_ref().filter(|_| !is_now && why != Down::Impostor)
    }

    /// Whether just that was said before.
    pub(super) fn has_said(&self, text: &str) -> bool {
        self.said.as_ref().is_some_and(|said| said.text == text)
    }
}
