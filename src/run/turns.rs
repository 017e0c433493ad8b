//! Which session gives way, where a tool has so many places for callers and somebody waits for one.
//!
//! Two things are wanted. A process that was killed and started again takes the place of the one that it was, without waiting for
//! `--resume-timeout`. A process that lives, and has lost its path for a moment, keeps its place.
//!
//! Nobody can see from here whether a process lives. But when its peer calls again, the relay can be reached: a process that lives
//! then fails at most the dial that it is in, waits, and dials once more. So a session gives way [`GIVES_WAY_AFTER`] both the loss
//! of its path and its peer's next call. Where sessions follow one another, another peer's call counts as much; a tool that takes
//! one session in all keeps the one that has begun.
//!
//! A session that has its path is *still* while its peer owes us the next word and nothing comes. Where that can only mean that a
//! transfer does not go on, it gives way to whoever waits, after the tool's patience; the one that is still for longest goes first.

use crate::identity::PeerId;
use crate::node::{Place, Places, REDIAL_MAX, Reach};
use crate::wire::limits::HANDSHAKE_DEADLINE;
use std::time::{Duration, Instant};

/// So long after both, the loss of its path and the call of whoever waits for its place, a session gives way.
pub(crate) const GIVES_WAY_AFTER: Duration = REDIAL_MAX.saturating_add(HANDSHAKE_DEADLINE.saturating_mul(2));
/// A peer has at least so long to say something: it may look for what to send, or its disk may stall.
pub(crate) const STILL_MIN: Duration = Duration::from_secs(60);

/// What counts of one session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Who has called.
    pub peer: PeerId,
    /// When it came up.
    pub called_at: Instant,
    /// Whether it has a path, or since when it has none.
    pub reach: Reach,
    /// Since when it is still, if it is.
    pub still_since: Option<Instant>,
    /// Whether it has work to give up: it has begun, and not come to its end.
    pub works: bool,
    /// Whether it waits for a place.
    pub waits: Waits,
}

/// Whether a session waits for a place, and for whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waits {
    /// It does not.
    Not,
    /// Its peer has so many that only one of them would do.
    ForOwn,
    /// Any would do.
    ForAny,
    /// Its peer has none, and none is free.
    ForFirst,
}

impl Waits {
    /// Of a session of this peer's, where there are so many places and these are taken.
    pub(crate) fn of(peer: &PeerId, places: &Places, most: usize) -> Waits {
        match places.of(peer) {
            _ if places.has_room_for(peer, most) => Waits::Not,
            0 => Waits::ForFirst,
            _ if places.has_room_for(peer, most.saturating_add(1)) => Waits::ForAny,
            _ => Waits::ForOwn,
        }
    }
}

impl Standing {
    /// When others may have its place although it has its path, if it stays as it is.
    pub(crate) fn yields_at(&self, to: To) -> Option<Instant> {
        let To::Anybody { patience: Some(patience) } = to else { return None };
        self.still_since.filter(|_| self.works)?.checked_add(patience)
    }

    /// What it takes of the places of callers.
    pub(crate) fn place(&self, now: Instant, to: To) -> Place {
        match self.reach.has_path() {
            false => Place::None,
            true if self.yields_at(to).is_some_and(|at| at <= now) => Place::Yielded,
            true => Place::Own,
        }
    }
}

/// A session that gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Going {
    /// Its slot.
    pub slot: usize,
    /// When.
    pub at: Instant,
    /// Why.
    pub why: YieldReason,
}

/// Why a session gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum YieldReason {
    /// It has no path, and its own peer has called again.
    Followed,
    /// It has no path, and somebody else waits.
    Lost,
    /// It has been still for too long, and somebody else waits who has no place.
    Still,
}

impl YieldReason {
    /// Whom it is for, at least.
    fn serves(self) -> Waits {
        match self {
            YieldReason::Followed => Waits::ForOwn,
            YieldReason::Lost => Waits::ForAny,
            YieldReason::Still => Waits::ForFirst,
        }
    }
}

/// To whom sessions give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// The next process of their peer.
    Own,
    /// Whoever waits, too.
    Anybody {
        /// So does one that has its path, and that has been still for so long; nobody is, where it is left out.
        patience: Option<Duration>,
    },
}

/// Of these sessions, by slots in the order in which they came, the one to give way first: it works, has no path, and its peer
/// has called again, or somebody else waits for whom it has been gone or still for long enough. For each that waits one is
/// enough, and so many are about to go.
pub(crate) fn next_to_go(standings: &[(usize, Standing)], to: To, going: usize) -> Option<Going> {
    let waiting = |least: Waits| standings.iter().filter(|(_, standing)| standing.waits >= least).count();
    gives_way(standings, to).filter(|next| going < waiting(next.why.serves()))
}

fn gives_way(standings: &[(usize, Standing)], to: To) -> Option<Going> {
    let next_call = |slot: usize, peer: PeerId| {
        let later = standings.iter().filter(|(other, standing)| *other > slot && standing.peer == peer);
        later.filter(|(_, standing)| standing.reach.has_path()).map(|(_, standing)| standing.called_at).min()
    };
    let other_call = |peer: PeerId, least: Waits| {
        let others = standings.iter().filter(|(_, standing)| standing.waits >= least && standing.peer != peer);
        let present = others.filter(|(_, standing)| to != To::Own && standing.reach.has_path());
        present.map(|(_, standing)| standing.called_at).min()
    };
    let going = standings.iter().filter(|(_, standing)| standing.works).flat_map(|(slot, standing)| {
        let due = |call: Instant| standing.reach.gone_after(call, GIVES_WAY_AFTER);
        let other = |why: YieldReason| other_call(standing.peer, why.serves());
        let still = other(YieldReason::Still).and_then(|call| Some(standing.yields_at(to)?.max(call)));
        let followed = next_call(*slot, standing.peer).and_then(due);
        let ways = [
            (followed, YieldReason::Followed),
            (other(YieldReason::Lost).and_then(due), YieldReason::Lost),
            (still, YieldReason::Still),
        ];
        let since = standing.reach.lost_since().or(standing.still_since);
        ways.map(|(at, why)| at.map(|at| (Going { slot: *slot, at, why }, since)))
    });
    going.flatten().min_by_key(|(going, since)| (going.at, *since)).map(|(going, _)| going)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANYBODY: To = To::Anybody { patience: None };

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    /// Sessions of a crowd, by seconds from its beginning.
    struct Crowd(Instant);

    impl Crowd {
        fn second(&self, count: u64) -> Instant {
            self.0 + Duration::from_secs(count)
        }

        fn works(&self, number: u8, lost: Option<u64>) -> Standing {
            Standing {
                peer: peer(number),
                called_at: self.0,
                reach: lost.map_or(Reach::default(), |count| Reach::lost(self.second(count))),
                still_since: None,
                works: true,
                waits: Waits::Not,
            }
        }

        fn still(&self, number: u8, since: u64) -> Standing {
            Standing { still_since: Some(self.second(since)), ..self.works(number, None) }
        }

        fn waits(&self, number: u8, called: u64) -> Standing {
            let called_at = self.second(called);
            Standing { called_at, works: false, waits: Waits::ForFirst, ..self.works(number, None) }
        }

        fn going(&self, slot: usize, from: u64, why: YieldReason) -> Option<Going> {
            Some(Going { slot, at: self.second(from) + GIVES_WAY_AFTER, why })
        }
    }

    #[test]
    fn only_a_session_without_a_path_whose_peer_called_again_gives_way() {
        let crowd = Crowd(Instant::now());
        let (works, waits) = (|n, lost| crowd.works(n, lost), |n, called| crowd.waits(n, called));
        let due = |slot, from| crowd.going(slot, from, YieldReason::Followed);
        let gives_way = |standings: &[(usize, Standing)]| gives_way(standings, To::Own);
        assert_eq!(gives_way(&[(0, works(1, None)), (1, waits(1, 2))]), None, "it has its path");
        assert_eq!(gives_way(&[(0, works(1, Some(1))), (1, waits(2, 2))]), None, "the caller is somebody else");
        assert_eq!(gives_way(&[(0, works(1, Some(1))), (1, waits(1, 7))]), due(0, 7));
        assert_eq!(gives_way(&[(0, works(1, Some(9))), (1, waits(1, 7))]), due(0, 9));
        let lost = Standing { reach: Reach::lost(crowd.second(8)), ..waits(1, 7) };
        assert_eq!(gives_way(&[(0, works(1, Some(9))), (1, lost)]), None, "the caller is gone as well");
        assert_eq!(gives_way(&[(4, waits(1, 7)), (5, works(1, Some(9)))]), None, "the earlier call is no sign");
        let all = [(0, works(1, Some(3))), (1, works(1, Some(2))), (2, works(1, None)), (3, waits(2, 5))];
        assert_eq!(gives_way(&all), due(1, 2), "whoever waits; the one that is gone longest goes first");
        assert_eq!(gives_way(&[(0, crowd.still(1, 1)), (1, waits(1, 7)), (2, waits(2, 7))]), None, "it has its path");
    }

    #[test]
    fn where_session_follows_session_one_without_a_path_gives_way_to_anybody_who_waits() {
        let crowd = Crowd(Instant::now());
        let (works, waits) = (|n, lost| crowd.works(n, lost), |n, called| crowd.waits(n, called));
        let due = |slot, from| crowd.going(slot, from, YieldReason::Lost);
        let to = |standings: &[(usize, Standing)]| gives_way(standings, ANYBODY);
        assert_eq!(to(&[(0, works(1, Some(1))), (1, waits(2, 7))]), due(0, 7));
        assert_eq!(to(&[(0, works(1, Some(9))), (1, waits(2, 7))]), due(0, 9));
        assert_eq!(to(&[(0, works(1, None)), (1, waits(2, 7))]), None, "it has its path");
        let lost = Standing { reach: Reach::lost(crowd.second(8)), ..waits(2, 7) };
        assert_eq!(to(&[(0, works(1, Some(9))), (1, lost)]), None, "whoever waited is gone as well");
        let followed = to(&[(0, works(1, Some(1))), (1, waits(1, 5)), (2, waits(2, 7))]);
        assert_eq!(followed, crowd.going(0, 5, YieldReason::Followed));
        assert_eq!(to(&[(0, crowd.still(1, 1)), (1, waits(2, 7))]), None, "where that is nothing unusual");
    }

    #[test]
    fn one_that_is_still_gives_way_to_others_alone_and_the_one_that_is_so_for_longest_first() {
        let crowd = Crowd(Instant::now());
        let (still, waits) = (|n, since| crowd.still(n, since), |n, called| crowd.waits(n, called));
        let patience = To::Anybody { patience: Some(STILL_MIN) };
        let to = |standings: &[(usize, Standing)]| gives_way(standings, patience);
        let at = |slot, at| Some(Going { slot, at, why: YieldReason::Still });
        assert_eq!(to(&[(0, still(1, 1)), (1, waits(2, 7))]), at(0, crowd.second(1) + STILL_MIN));
        assert_eq!(to(&[(0, still(1, 1)), (1, waits(2, 500))]), at(0, crowd.second(500)), "it gave way long ago");
        assert_eq!(to(&[(0, still(1, 1)), (1, waits(1, 7))]), None, "its peer has a place");
        assert_eq!(to(&[(0, still(1, 1))]), None, "nobody waits");
        assert_eq!(to(&[(0, crowd.works(1, None)), (1, waits(2, 500))]), None, "it goes on");
        // Both are due since the call; the one that stalls gives way behind the one that never began.
        let two = [(0, still(1, 90)), (1, still(3, 2)), (2, waits(2, 500))];
        assert_eq!(to(&two), at(1, crowd.second(500)));
        let more = Standing { waits: Waits::ForAny, ..waits(2, 500) };
        assert_eq!(to(&[(0, still(1, 1)), (1, more)]), None, "whoever waits has a place already");
        let gone = Standing { reach: Reach::lost(crowd.second(70)), ..still(1, 1) };
        assert_eq!(to(&[(0, gone), (1, waits(2, 71))]), at(0, crowd.second(71)), "that it is gone helps it nothing");
    }

    #[test]
    fn whoever_waits_is_made_room_for_once() {
        let crowd = Crowd(Instant::now());
        let all = [(0, crowd.still(1, 1)), (1, crowd.still(3, 2)), (2, crowd.waits(2, 500))];
        let next = |going| next_to_go(&all, To::Anybody { patience: Some(STILL_MIN) }, going).map(|going| going.slot);
        assert_eq!([next(0), next(1)], [Some(0), None]);
        let mut places = Places::default();
        assert_eq!(Waits::of(&peer(1), &places, 4), Waits::Not);
        [1, 1, 2].into_iter().for_each(|number| places.take(peer(number)));
        assert_eq!(
            [1, 2, 3].map(|number| Waits::of(&peer(number), &places, 4)),
            [Waits::ForOwn, Waits::ForAny, Waits::Not]
        );
        places.take(peer(3));
        assert_eq!([3, 4].map(|number| Waits::of(&peer(number), &places, 4)), [Waits::ForOwn, Waits::ForFirst]);
    }

    #[test]
    fn the_place_of_one_that_is_still_counts_for_its_peer_alone_and_that_of_one_that_is_gone_for_nobody() {
        let crowd = Crowd(Instant::now());
        let patience = To::Anybody { patience: Some(STILL_MIN) };
        let (still, end) = (crowd.still(1, 1), crowd.second(1) + STILL_MIN);
        assert_eq!([still.place(crowd.second(2), patience), still.place(end, patience)], [Place::Own, Place::Yielded]);
        assert_eq!([still.place(end, To::Own), still.place(end, ANYBODY)], [Place::Own, Place::Own]);
        assert_eq!(crowd.works(1, Some(1)).place(end, patience), Place::None);
        let waits = Standing { still_since: still.still_since, ..crowd.waits(1, 1) };
        assert_eq!((waits.place(end, patience), waits.yields_at(patience)), (Place::Own, None));
        let for_ever = To::Anybody { patience: Some(Duration::MAX) };
        assert_eq!(still.yields_at(for_ever), None);
    }
}
