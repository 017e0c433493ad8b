//! What was said, and so need not be said again, or not so soon.

use super::often::Often;
use std::collections::BTreeSet;

/// See the module's text.
#[derive(Default)]
pub(super) struct Told {
    /// What is said once.
    said: BTreeSet<String>,
    /// How often what others make happen was said.
    pub often: Often,
    /// There was so much of what is being heard that nothing is said of it.
    pub is_muted: bool,
    /// What is being heard has been told as an event, and needs no words.
    pub as_event: bool,
    /// Nothing more is said of links: a send that begins anew meets the same.
    links: bool,
}

impl Told {
    /// Notes that this is said. Whether it was not before.
    pub(super) fn note(&mut self, text: &str) -> bool {
        !self.said.contains(text) && self.said.insert(text.to_owned())
    }

    /// Whether it was said.
    pub(super) fn knows(&self, text: &str) -> bool {
        self.said.contains(text)
    }

    /// It is news when it happens again.
    pub(super) fn forget(&mut self, text: &str) {
        self.said.remove(text);
    }

    /// Whether there is something to say about links. Only once.
    pub(super) fn take_links(&mut self) -> bool {
        !std::mem::replace(&mut self.links, true)
    }

    /// Whether what is being heard is said in words.
    pub(super) fn is_for_words(&self) -> bool {
        !self.as_event && !self.is_muted
    }
}
