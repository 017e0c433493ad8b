//! The peers file as it was read last. Whoever names peers shares it, so that a name means the same to all of a tool.

use std::cell::{Cell, Ref, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::config;
use super::env::Env;
use super::exit::Exit;
use super::report::Fault;
use crate::identity::PeerId;
use crate::names::{Conflict, Peers};
use crate::net::list::settles_in;
use crate::node::Callers;
use crate::run::callers::{Reload, Reread, Unread};

/// A file that is changed again and again is taken as it is after this time.
const UNSETTLED_MAX: Duration = Duration::from_secs(4);

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
    /// Since when it was found as if somebody was writing it.
    unsettled_since: Cell<Option<Instant>>,
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
        let (former, trouble, unsettled_since) = (RefCell::default(), RefCell::default(), Cell::default());
        Self(Rc::new(Inner { place, silent, peers: RefCell::new(peers), former, trouble, unsettled_since }))
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

    /// Reads the file again. All stays as it was if it has a mistake, or is there no more: an empty file says that nobody is
    /// known, once nobody can be about to write it, and none may be a slip of the hand.
    pub(super) fn reread(&self) -> Result<(), Unread> {
        let PeersFile { flag, env } = &self.0.place;
        let found = config::peers(flag.as_deref(), env);
        if let Some(time) = config::peers_file(flag.as_deref(), env).as_deref().and_then(settles_in) {
            let since = self.0.unsettled_since.get().unwrap_or_else(Instant::now);
            self.0.unsettled_since.set(Some(since));
            if since.elapsed() < UNSETTLED_MAX {
                return Err(Unread::Unsettled(time));
            }
        }
        self.0.unsettled_since.set(None);
        let found = found.and_then(|peers| match peers {
            None if !self.peers().is_empty() => Err(Fault::new(Exit::Config, "there is no peers file any more")),
            peers => Ok(peers.unwrap_or_else(|| config::no_peers(flag.as_deref(), env))),
        });
        let (read, trouble) = match found {
            Ok(peers) => {
                *self.0.former.borrow_mut() = self.0.peers.replace(peers);
                (Ok(()), None)
            }
            Err(fault) => (Err(Unread::Unusable), Some(fault)),
        };
        *self.0.trouble.borrow_mut() = trouble;
        read
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
    pub(super) fn callers_again(&self, from: &[String]) -> Result<Reread, Unread> {
        self.reread()?;
        let peers = self.peers();
        if from.is_empty() {
            let unknown = peers.conflicts().iter().map(|conflict| conflict.name.clone()).collect();
            let callers = everybody(&peers);
            return Ok(Reread { is_nobody: self.is_nobody(&callers), callers, unknown });
        }
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for name in from {
            match config::peer_ids(std::slice::from_ref(name), &peers) {
                Ok(ids) => known.extend(ids),
                Err(_) => unknown.push(name.clone()),
            }
        }
        let callers = Callers::Only(known);
        Ok(Reread { is_nobody: self.is_nobody(&callers), callers, unknown })
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
    use std::time::SystemTime;

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
        let put_just_now = |text: String| fs::write(&path, text).expect("a file");
        let put = |text: String| {
            put_just_now(text);
            let file = fs::File::options().write(true).open(&path).expect("a file");
            file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("a time");
        };
        put(format!("a {}\nb {}\n", id(1), id(2)));
        let roster = Roster::load(None, &env, Vec::new()).expect("a good file");
        let again = |from: &[&str]| {
            let from: Vec<String> = from.iter().map(|name| (*name).to_owned()).collect();
            roster.callers_again(&from).map(|reread| (reread.callers, reread.unknown))
        };
        let is_unsettled = |again| matches!(again, Err(Unread::Unsettled(time)) if time <= UNSETTLED_MAX);
        assert_eq!(again(&[]), Ok((only(&[1, 2]), vec![])));
        put(format!("a {}\nc {}\n", id(1), id(3)));
        assert_eq!(again(&["a", "b"]), Ok((only(&[1]), vec!["b".to_owned()])));
        assert_eq!(again(&["b"]), Ok((only(&[]), vec!["b".to_owned()])));
        assert_eq!(roster.name(&id(3)), "c");
        put(format!("b {}\na {}\na {}\n", id(2), id(1), id(3)));
        assert_eq!(again(&[]), Ok((only(&[2]), vec!["a".to_owned()])));
        assert_eq!(again(&["a", "b"]), Ok((only(&[2]), vec!["a".to_owned()])));
        assert!(
            roster.conflicts()[0]
                .1
                .ends_with("/vp/peers: lines 2 and 3 say different things of a: nobody is called that")
        );
        put(format!("a {}\nc {}\n", id(1), id(3)));
        assert_eq!(again(&[]), Ok((only(&[1, 3]), vec![])));
        put("a oops\n".to_owned());
        assert_eq!(again(&[]), Err(Unread::Unusable));
        assert!(roster.trouble().contains("/vp/peers: line 1, column 3"), "{}", roster.trouble());
        fs::remove_file(&path).expect("it is there");
        assert_eq!(
            (again(&[]), roster.trouble()),
            (Err(Unread::Unusable), "there is no peers file any more".to_owned())
        );
        assert_eq!(roster.name(&id(3)), "c");
        put_just_now(String::new());
        assert!(is_unsettled(again(&[])), "somebody may be writing it");
        put(String::new());
        assert_eq!(again(&[]), Ok((only(&[]), vec![])));
        assert_eq!(roster.name(&id(3)), "c", "who has just gone keeps its name");
        assert_eq!(again(&[]), Ok((only(&[]), vec![])));
        assert_eq!(roster.name(&id(3)), id(3).to_string());
    }
}
