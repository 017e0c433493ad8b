//! What the sender named on its command line, for whoever is told when it is here: files and directories with a path of
//! one name.

use super::policy::Received;
use crate::transfer::Fault;
use crate::transfer::item::Kind;
use crate::transfer::messages::ItemOutcome;
use crate::transfer::path::TreePath;
use std::collections::HashMap;

/// Memory for them. They were words of a command line, which has 2 MiB, or 20,000 names of a hundred bytes.
const BYTES_MAX: usize = 32 << 20;
/// What one costs beside its name, which is kept three times.
const OVERHEAD_BYTES: usize = 256;

/// Those that have been accepted so far.
#[derive(Debug, Default)]
pub(crate) struct Tops {
    all: Vec<Top>,
    by_name: HashMap<Vec<u8>, usize>,
    bytes: usize,
}

#[derive(Debug)]
struct Top {
    /// What the sender calls it.
    name: Vec<u8>,
    received: Received,
    whole: bool,
}

impl Tops {
    /// Whether one more can be kept, if it has to be.
    ///
    /// # Errors
    /// [`Fault::TooMany`] if not.
    pub(super) fn check_room(&self, path: &TreePath) -> Result<(), Fault> {
        if path.depth() == 1 && self.bytes + price(path) > BYTES_MAX { Err(Fault::TooMany) } else { Ok(()) }
    }

    /// Keeps an accepted item, if it is one of those.
    pub(super) fn add(&mut self, path: &TreePath, kind: &Kind) {
        if path.depth() > 1 || self.by_name.contains_key(path.as_bytes()) {
            return;
        }
        self.bytes += price(path);
        self.by_name.insert(path.as_bytes().to_vec(), self.all.len());
        let received = Received { path: path.clone(), kind: kind.clone() };
        self.all.push(Top { name: path.as_bytes().to_vec(), received, whole: true });
    }

    /// Notes how an item in one of them, or one of them itself, has ended.
    pub(super) fn settle(&mut self, path: &TreePath, outcome: ItemOutcome, renamed: Option<&[u8]>) {
        let Some(top) = self.by_name.get(path.first()).and_then(|at| self.all.get_mut(*at)) else {
            return;
        };
        top.whole &= matches!(outcome, ItemOutcome::Committed | ItemOutcome::Exists | ItemOutcome::ExistsUnlike);
        if let Some(name) = renamed.filter(|_| path.depth() == 1)
            && let Ok(path) = TreePath::top(name)
        {
            top.received.path = path;
        }
    }

    /// Those of which nothing is missing: what the sender calls them, and what they are here.
    pub(super) fn whole(&self) -> impl Iterator<Item = (&[u8], &Received)> {
        self.all.iter().filter(|top| top.whole).map(|top| (&top.name[..], &top.received))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

fn price(path: &TreePath) -> usize {
    3 * path.as_bytes().len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_million_long_names_is_bounded() {
        let mut tops = Tops::default();
        let mut refused = 0;
        for number in 0..100_000 {
            let path = TreePath::top(format!("{number:0255}").as_bytes()).unwrap();
            match tops.check_room(&path) {
                Ok(()) => tops.add(&path, &Kind::File),
                Err(fault) => {
                    assert_eq!(fault, Fault::TooMany);
                    refused += 1;
                }
            }
        }
        assert!(tops.len() > 20_000 && refused > 0);
        assert!(tops.len() * 3 * 255 < BYTES_MAX, "{} names", tops.len());
        let below = TreePath::from_components([&b"a"[..], b"b"]).unwrap();
        assert_eq!(tops.check_room(&below), Ok(()), "what is below one of them is not kept");
    }

    #[test]
    fn one_failure_inside_spoils_the_whole() {
        let mut tops = Tops::default();
        let [a, b] = [b"a", b"b"].map(|name| TreePath::top(name).unwrap());
        tops.add(&a, &Kind::Directory);
        tops.add(&b, &Kind::File);
        tops.settle(&a, ItemOutcome::Exists, None);
        tops.settle(&b, ItemOutcome::Committed, Some(b"b.1"));
        let told =
            |tops: &Tops| tops.whole().map(|(name, top)| [name, top.path.as_bytes()].concat()).collect::<Vec<_>>();
        assert_eq!(told(&tops), [&b"aa"[..], b"bb.1"]);
        tops.settle(&a.child(b"x").unwrap(), Fault::Io.into(), None);
        assert_eq!(told(&tops), [&b"bb.1"[..]]);
    }
}
