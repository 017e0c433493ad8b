//! Whose each stream is, by session.

use crate::net::slots::Slot;
use crate::node::Key;
use std::collections::HashMap;

/// One stream of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamKey {
    /// The session.
    pub session: Key,
    /// The stream's id in it.
    pub id: u32,
}

/// What a stream belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Owner {
    /// A connection that this import accepted.
    Import(Slot, usize),
    /// A connection to the target of the export with this number.
    Export(Slot, usize),
    /// A probe of this import.
    Probe(usize),
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Streams {
    by_session: HashMap<Key, Owners>,
}

/// Those of one session.
#[derive(Default)]
struct Owners {
    by_stream: HashMap<u32, Owner>,
    /// How many of them are connections to targets.
    exports: usize,
}

impl Owners {
    fn insert(&mut self, id: u32, owner: Owner) {
        self.remove(id);
        self.exports += usize::from(matches!(owner, Owner::Export(..)));
        self.by_stream.insert(id, owner);
    }

    fn remove(&mut self, id: u32) {
        let was = self.by_stream.remove(&id);
        self.exports -= usize::from(matches!(was, Some(Owner::Export(..))));
    }
}

impl Streams {
    /// A session is up.
    pub(super) fn add_session(&mut self, session: Key) {
        self.by_session.entry(session).or_default();
    }

    /// A session is no more. Yields the owners of its streams.
    pub(super) fn remove_session(&mut self, session: Key) -> Vec<Owner> {
        self.by_session.remove(&session).unwrap_or_default().by_stream.into_values().collect()
    }

    /// The sessions there are.
    pub(super) fn sessions(&self) -> Vec<Key> {
        self.by_session.keys().copied().collect()
    }

    /// Each session, and how many of its streams have owners.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Key, usize)> {
        self.by_session.iter().map(|(session, streams)| (*session, streams.by_stream.len()))
    }

    /// Each session, and how many of its streams lead to targets.
    pub(super) fn exports(&self) -> impl Iterator<Item = (Key, usize)> {
        self.by_session.iter().map(|(session, streams)| (*session, streams.exports))
    }

    /// Whose a stream is.
    pub(super) fn owner(&self, stream: StreamKey) -> Option<Owner> {
        self.by_session.get(&stream.session)?.by_stream.get(&stream.id).copied()
    }

    /// Whose the streams of a session are.
    pub(super) fn owners(&self, session: Key) -> Vec<Owner> {
        let owners = |streams: &Owners| streams.by_stream.values().copied().collect();
        self.by_session.get(&session).map(owners).unwrap_or_default()
    }

    /// A stream has an owner.
    pub(super) fn insert(&mut self, stream: StreamKey, owner: Owner) {
        if let Some(streams) = self.by_session.get_mut(&stream.session) {
            streams.insert(stream.id, owner);
        }
    }

    /// It has none any more.
    pub(super) fn remove(&mut self, stream: StreamKey) {
        if let Some(streams) = self.by_session.get_mut(&stream.session) {
            streams.remove(stream.id);
        }
    }
}
