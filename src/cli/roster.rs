//! The peers file as it was read last. Whoever names peers shares it, so that a name means the same to all of a tool.

use std::cell::{Ref, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use super::config;
use super::env::Env;
use super::exit::Exit;
use super::report::Fault;
use crate::identity::PeerId;
use crate::names::{Conflict, Peers};
use crate::node::Callers;
use crate::run::callers::{Reload, Reread};

/// See the module's text.
#[derive(Clone)]
pub(super) struct Roster(Rc<Inner>);

/// Where the file is.
struct PeersFile {
    /// The one that was named, if one was.
    flag: Option<PathBuf>,
    env: Env,
}

struct Inner {
    place: PeersFile,
    /// Who is named and calls nobody: this party itself, relays.
    silent: Vec<PeerId>,
    peers: RefCell<Peers>,
    /// As it was before: names for those who have just gone.
    former: RefCell<Peers>,
    /// Why it could not be read again.
    trouble: RefCell<Option<Fault>>,
}

impl Roster {
    /// Reads the peers file, if there is one. Those in `silent` never call.
    ///
    /// # Errors
    /// A named file is missing, or a line is wrong.
    pub(super) fn load(flag: Option<PathBuf>, env: &Env, silent: Vec<PeerId>) -> Result<Self, Fault> {
        let peers = config::peers(flag.as_deref(), env)?;
        let peers = peers.unwrap_or_else(|| config::no_peers(flag.as_deref(), env));
        Ok(Self::new(PeersFile { flag, env: env.clone() }, peers, silent))
    }

    fn new(place: PeersFile, peers: Peers, silent: Vec<PeerId>) -> Self {
        let (former, trouble) = (RefCell::default(), RefCell::default());
        Self(Rc::new(Inner { place, silent, peers: RefCell::new(peers), former, trouble }))
    }

    /// One that stands in no file.
    #[cfg(test)]
    pub(super) fn of(peers: Peers) -> Self {
        Self::new(PeersFile { flag: None, env: Env::default() }, peers, Vec::new())
    }

    /// Who is called what.
    pub(super) fn peers(&self) -> Ref<'_, Peers> {
        self.0.peers.borrow()
    }

    /// The petname of a peer, or its id.
    pub(super) fn name(&self, id: &PeerId) -> String {
        let (now, before) = (self.peers(), self.0.former.borrow());
        now.by_id(id).or_else(|| before.by_id(id)).map_or_else(|| id.to_string(), |peer| peer.name.clone())
    }

    /// Reads the file again. False, and all stays as it was, if it has a mistake, or is there no more: an empty file says that
    /// nobody is known, none may be a slip of the hand.
    pub(super) fn reread(&self) -> bool {
        let PeersFile { flag, env } = &self.0.place;
        let found = config::peers(flag.as_deref(), env);
        let found = found.and_then(|peers| match peers {
            None if !self.peers().is_empty() => Err(Fault::new(Exit::Config, "there is no peers file any more")),
            peers => Ok(peers.unwrap_or_else(|| config::no_peers(flag.as_deref(), env))),
        });
        let (good, trouble) = match found {
            Ok(peers) => {
                *self.0.former.borrow_mut() = self.0.peers.replace(peers);
                (true, None)
            }
            Err(fault) => (false, Some(fault)),
        };
        *self.0.trouble.borrow_mut() = trouble;
        good
    }

    /// Why it could not be read again, the last time.
    pub(super) fn trouble(&self) -> String {
        self.0.trouble.borrow().as_ref().map_or_else(String::new, |fault| fault.message.clone())
    }

    /// Of each name that means nobody because lines contradict each other: the name, and which lines.
    pub(super) fn conflicts(&self) -> Vec<(String, String)> {
        let peers = self.peers();
        let file = peers.place().unwrap_or("the peers file");
        let said = peers.conflicts().iter().map(|Conflict { name, first_line, line }| {
            let text =
                format!("{file}: lines {first_line} and {line} say different things of {name}: nobody is called that");
            (name.clone(), text)
        });
        said.collect()
    }

    /// Whether nobody of these can ever call.
    pub(super) fn is_nobody(&self, callers: &Callers) -> bool {
        let are_silent = |ids: &[PeerId]| ids.iter().all(|id| self.0.silent.contains(id));
        match callers {
            Callers::Nobody => true,
            Callers::Only(ids) => are_silent(ids),
            Callers::Each(apps) => apps.iter().all(|(_, ids)| are_silent(ids)),
        }
    }

    /// The way to read again who may call a tool that lets `from` call. Of lines that contradict each other the start tells.
    pub(super) fn reload(&self, from: &[String]) -> Reload {
        let (roster, from) = (self.clone(), from.to_vec());
        let told = self.conflicts().into_iter().map(|(name, _)| name);
        Reload::new(told.collect(), move || roster.callers_again(&from))
    }

    /// Reads the file again for a tool that lets `from` call, or everybody where that is empty. A name that has gone from the
    /// file means nobody, and never everybody.
    pub(super) fn callers_again(&self, from: &[String]) -> Option<Reread> {
        if !self.reread() {
            return None;
        }
        let peers = self.peers();
        if from.is_empty() {
            let unknown = peers.conflicts().iter().map(|conflict| conflict.name.clone()).collect();
            let callers = everybody(&peers);
            return Some(Reread { is_nobody: self.is_nobody(&callers), callers, unknown });
        }
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for name in from {
            match config::peer_ids(std::slice::from_ref(name), &peers) {
                Ok(ids) => known.extend(ids),
                Err(_) => unknown.push(name.clone()),
            }
        }
        let callers = Callers::Only(known);
        Some(Reread { is_nobody: self.is_nobody(&callers), callers, unknown })
    }
}

/// Every peer there is.
pub(super) fn everybody(peers: &Peers) -> Callers {
    Callers::Only(peers.iter().map(|peer| peer.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn id(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    fn only(ids: &[u8]) -> Callers {
        Callers::Only(ids.iter().map(|byte| id(*byte)).collect())
    }

    #[test]
    fn a_name_that_goes_means_nobody_and_a_file_that_cannot_be_read_changes_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        let (path, env) = (home.path().join("vp/peers"), Env::from_iter([("XDG_CONFIG_HOME", home.path())]));
        fs::create_dir(home.path().join("vp")).expect("a directory");
        let put = |text: String| fs::write(&path, text).expect("a file");
        put(format!("a {}\nb {}\n", id(1), id(2)));
        let roster = Roster::load(None, &env, Vec::new()).expect("a good file");
        let again = |from: &[&str]| {
            let from: Vec<String> = from.iter().map(|name| (*name).to_owned()).collect();
            roster.callers_again(&from).map(|reread| (reread.callers, reread.unknown))
        };
        assert_eq!(again(&[]), Some((only(&[1, 2]), vec![])));
        put(format!("a {}\nc {}\n", id(1), id(3)));
        assert_eq!(again(&["a", "b"]), Some((only(&[1]), vec!["b".to_owned()])));
        assert_eq!(again(&["b"]), Some((only(&[]), vec!["b".to_owned()])));
        assert_eq!(roster.name(&id(3)), "c");
        put(format!("b {}\na {}\na {}\n", id(2), id(1), id(3)));
        assert_eq!(again(&[]), Some((only(&[2]), vec!["a".to_owned()])));
        assert_eq!(again(&["a", "b"]), Some((only(&[2]), vec!["a".to_owned()])));
        assert!(
            roster.conflicts()[0]
                .1
                .ends_with("/vp/peers: lines 2 and 3 say different things of a: nobody is called that")
        );
        put(format!("a {}\nc {}\n", id(1), id(3)));
        assert_eq!(again(&[]), Some((only(&[1, 3]), vec![])));
        put("a oops\n".to_owned());
        assert_eq!(again(&[]), None);
        assert!(roster.trouble().contains("/vp/peers: line 1, column 3"), "{}", roster.trouble());
        fs::remove_file(&path).expect("it is there");
        assert_eq!((again(&[]), roster.trouble()), (None, "there is no peers file any more".to_owned()));
        assert_eq!(roster.name(&id(3)), "c");
        put(String::new());
        assert_eq!(again(&[]), Some((only(&[]), vec![])));
        assert_eq!(roster.name(&id(3)), "c", "who has just gone keeps its name");
        assert_eq!(again(&[]), Some((only(&[]), vec![])));
        assert_eq!(roster.name(&id(3)), id(3).to_string());
    }
}
