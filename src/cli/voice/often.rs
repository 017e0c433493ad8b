//! How often something is said that somebody else can make happen: nobody fills a log, or the disk that it is on, by calling
//! again and again. The same is said once a minute of a caller that is turned away, and a few times of one that is served, and
//! then with a count; and so many lines a minute are about one peer.

use super::Voice;
use crate::cli::events::Event;
use crate::cli::report::{Format, Level};
use crate::identity::PeerId;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Lines about a peer are counted for so long, then anew.
const PERIOD: Duration = Duration::from_secs(60);
/// Lines about one peer in that time.
const LINES_MAX: u64 = 600;
/// The same warning about what a peer does with what it may do: whoever tries twice is heard twice.
const SAME_MAX: u64 = 8;
/// Peers that are told of in that time: who calls is the relay's word, and there may be a new one for each call.
const PEERS_MAX: usize = 128;

/// Something that is said so often a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Warning<'a> {
    text: &'a str,
    most: u64,
}

/// What was said of one peer in its present minute.
#[derive(Debug)]
struct About {
    began: Instant,
    lines: u64,
    warnings: HashMap<u64, Count>,
}

/// How often a warning came in that minute.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    said: u64,
    /// Since it was said last.
    unsaid: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Often {
    peers: HashMap<Option<PeerId>, About>,
    hasher: RandomState,
}

impl Often {
    /// A warning about a peer, or about nobody, which is said so often a minute. If it is to be said: how often it came since it
    /// was said last.
    pub(super) fn repeat(&mut self, now: Instant, about: Option<PeerId>, warning: Warning<'_>) -> Option<u64> {
        let Warning { text, most } = warning;
        let hash = self.hasher.hash_one(text);
        let before = self.begin(now, about)?.get(&hash).map_or(0, |count| count.unsaid);
        let about = self.peers.get_mut(&about)?;
        let is_known = about.warnings.contains_key(&hash);
        about.lines += u64::from(!is_known || about.warnings[&hash].said < most);
        if about.lines > LINES_MAX && !is_known {
            return None;
        }
        let count = about.warnings.entry(hash).or_default();
        if count.said >= most || about.lines > LINES_MAX {
            count.unsaid += 1;
            return None;
        }
        count.said += 1;
        Some(before + 1)
    }

    /// Some other line about a peer, or about nobody; whether it is to be said.
    pub(super) fn spend(&mut self, now: Instant, about: Option<PeerId>) -> bool {
        self.begin(now, about);
        let Some(about) = self.peers.get_mut(&about) else { return false };
        about.lines += 1;
        about.lines <= LINES_MAX
    }

    /// Begins a minute, where one is over. Yields how often the warnings of the last one were not said, or nothing if there is
    /// no room for this peer.
    fn begin(&mut self, now: Instant, about: Option<PeerId>) -> Option<HashMap<u64, Count>> {
        let is_over = |about: &About| now >= about.began + PERIOD;
        if self.peers.get(&about).is_some_and(|about| !is_over(about)) {
            return Some(HashMap::new());
        }
        let last = self.peers.remove(&about);
        if self.peers.len() >= PEERS_MAX {
            self.peers.retain(|_, about| !is_over(about));
        }
        if self.peers.len() >= PEERS_MAX && about.is_some() {
            return None;
        }
        self.peers.insert(about, About { began: now, lines: 0, warnings: HashMap::new() });
        Some(last.map(|about| about.warnings).unwrap_or_default())
    }
}

impl Voice<'_> {
    /// A warning that somebody else can bring about, a peer or whoever uses what is served. The same is said a few times a
    /// minute.
    pub(super) fn warn_of(&mut self, about: Option<&PeerId>, text: &str) {
        if let Some(count) = self.told.often.repeat(Instant::now(), about.copied(), Warning { text, most: SAME_MAX }) {
            self.warn(&format!("{text}{}", times(count)));
        }
    }

    /// A warning about what is tried again and again. The same is said once a minute; whether it was now.
    pub(super) fn warn_rarely(&mut self, text: &str) -> bool {
        let count = self.told.often.repeat(Instant::now(), None, Warning { text, most: 1 });
        if let Some(count) = count {
            self.warn(&format!("{text}{}", times(count)));
        }
        count.is_some()
    }

    /// Lines about a peer follow that it can bring about: none, if there were too many.
    pub(super) fn count_line(&mut self, level: Level, about: Option<&PeerId>) {
        let is_shown = self.report.format() == Format::Json || self.report.shows(level);
        self.told.is_muted = is_shown && !self.told.often.spend(Instant::now(), about.copied());
    }

    /// Somebody called who may not.
    pub(super) fn turned_away(&mut self, peer: &PeerId, app: &str) {
        let text = format!("turned away a call of {} for {app}: not among the peers allowed", self.name(peer));
        if let Some(count) = self.told.often.repeat(Instant::now(), Some(*peer), Warning { text: &text, most: 1 }) {
            self.tell_event(|voice| Some(Event::TurnedAway { times: count, party: voice.party(peer, Some(app)) }));
            self.warn(&format!("{text}{}", times(count)));
        }
    }

    /// What a peer can bring about, for whoever wants to know. As an event each is told anyway.
    pub(super) fn info_of(&mut self, peer: &PeerId, text: &str) {
        if self.report.format() == Format::Text && self.report.shows(Level::Info) {
            self.count_line(Level::Info, Some(peer));
        }
        self.info(text);
        self.told.is_muted = false;
    }
}

/// What is put behind a warning that came so often since it was said.
pub(super) fn times(times: u64) -> String {
    if times > 1 { format!(", {times} times since this was last said") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Warning<'_> = Warning { text: "a", most: 1 };
    const FEW: Warning<'_> = Warning { text: "a", most: SAME_MAX };

    fn peer(number: usize) -> Option<PeerId> {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        Some(PeerId::from_bytes(id))
    }

    #[test]
    fn the_same_is_said_once_a_minute_and_then_with_a_count() {
        let (mut often, start) = (Often::default(), Instant::now());
        let mut repeat = |second, number, text| {
            often.repeat(start + Duration::from_secs(second), peer(number), Warning { text, most: 1 })
        };
        assert_eq!([repeat(0, 1, "a"), repeat(1, 1, "a"), repeat(2, 1, "a")], [Some(1), None, None]);
        assert_eq!([repeat(3, 1, "b"), repeat(3, 2, "a")], [Some(1), Some(1)]);
        assert_eq!([repeat(60, 1, "a"), repeat(60, 1, "b"), repeat(200, 1, "a")], [Some(3), Some(1), Some(1)]);
    }

    #[test]
    fn whoever_tries_a_few_times_is_heard_each_time() {
        let (mut often, now) = (Often::default(), Instant::now());
        let said = (0..20).filter(|_| often.repeat(now, peer(1), FEW).is_some()).count() as u64;
        assert_eq!((said, often.repeat(now + PERIOD, peer(1), FEW)), (SAME_MAX, Some(20 - SAME_MAX + 1)));
    }

    #[test]
    fn a_peer_with_something_else_to_be_said_each_time_has_a_bound_and_takes_nothing_from_others() {
        let (mut often, now) = (Often::default(), Instant::now());
        let said = (0..2000)
            .filter(|n| often.repeat(now, peer(1), Warning { text: &n.to_string(), most: SAME_MAX }).is_some())
            .count() as u64;
        assert_eq!(said, LINES_MAX);
        assert!(!often.spend(now, peer(1)) && often.spend(now, peer(2)) && often.spend(now, None));
        assert!(often.spend(now + PERIOD, peer(1)));
    }

    #[test]
    fn a_crowd_is_not_remembered_and_our_own_lines_are_said() {
        let (mut often, now) = (Often::default(), Instant::now());
        let said = (0..1000).filter(|n| often.repeat(now, peer(*n), ONCE).is_some()).count();
        assert_eq!((said, often.peers.len()), (PEERS_MAX, PEERS_MAX));
        assert_eq!((often.repeat(now, None, ONCE), often.repeat(now, peer(2000), ONCE)), (Some(1), None));
        assert_eq!(often.repeat(now + PERIOD, peer(2000), ONCE), Some(1));
        assert!(often.peers.len() <= 2);
    }
}
