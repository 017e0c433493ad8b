//! Who gives way. A process that was killed and started again should not have to wait for `--resume-timeout` of the one that
//! it was; and one that lives, and is only without a path, must not lose its place to another process of its peer.
//!
//! Nobody can see from here whether a process lives. But its peer's next call shows that the relay can be reached. Who lives
//! is then at worst in the middle of a dial that will fail, waits once more, and dials again. The same time is all that a
//! session without a path has while a process of another peer waits for its place, where transfer follows transfer; a tool that
//! takes one alone takes the one that has begun.

use crate::identity::PeerId;
use crate::node::REDIAL_MAX;
use crate::wire::limits::HANDSHAKE_DEADLINE;
use std::time::{Duration, Instant};

/// So long after both, the loss of its path and the call of whoever waits for its place, a session gives way.
pub const GIVES_WAY_AFTER: Duration = REDIAL_MAX.saturating_add(HANDSHAKE_DEADLINE.saturating_mul(2));

/// What counts of one session.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Who sends.
    pub peer: PeerId,
    /// When it came up.
    pub called_at: Instant,
    /// Since when it has no path, if it has none.
    pub lost_since: Option<Instant>,
    /// Whether it has work to give up: it has begun, and not come to its end.
    pub works: bool,
    /// Whether it waits for a place.
    pub waits: bool,
}

/// A session that gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Going {
    /// Its slot.
    pub slot: usize,
    /// When.
    pub at: Instant,
    /// Whether that is because its own peer has called again.
    pub is_followed: bool,
}

/// To whom sessions give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The next process of their peer.
    Own,
    /// Whoever waits.
    Anybody,
}

/// Of these sessions, by slots in the order in which they came, the one to give way first: it works, has no path, and its peer
/// has called again, or somebody else waits.
pub fn gives_way(standings: &[(usize, Standing)], to: To) -> Option<Going> {
    let next_call = |slot: usize, peer: PeerId| {
        let later = standings.iter().filter(|(other, standing)| *other > slot && standing.peer == peer);
        later.filter(|(_, standing)| standing.lost_since.is_none()).map(|(_, standing)| standing.called_at).min()
    };
    let other_call = |peer: PeerId| {
        let others = standings.iter().filter(|(_, standing)| standing.waits && standing.peer != peer);
        let present = others.filter(|(_, standing)| to == To::Anybody && standing.lost_since.is_none());
        present.map(|(_, standing)| standing.called_at).min()
    };
    let going = standings.iter().filter(|(_, standing)| standing.works).filter_map(|(slot, standing)| {
        let lost_since = standing.lost_since?;
        let due = |call: Instant| lost_since.max(call) + GIVES_WAY_AFTER;
        let (own, other) = (next_call(*slot, standing.peer).map(due), other_call(standing.peer).map(due));
        let at = own.into_iter().chain(other).min()?;
        Some(Going { slot: *slot, at, is_followed: own == Some(at) })
    });
    going.min_by_key(|going| going.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 32])
    }

    #[test]
    fn only_a_session_without_a_path_whose_peer_called_again_gives_way() {
        let start = Instant::now();
        let second = |count| start + Duration::from_secs(count);
        let works = |number, lost: Option<u64>| Standing {
            peer: peer(number),
            called_at: start,
            lost_since: lost.map(second),
            works: true,
            waits: false,
        };
        let waits =
            |number, called| Standing { called_at: second(called), works: false, waits: true, ..works(number, None) };
        let due = |slot, from| Some(Going { slot, at: second(from) + GIVES_WAY_AFTER, is_followed: true });
        let gives_way = |standings: &[(usize, Standing)]| gives_way(standings, To::Own);
        assert_eq!(gives_way(&[(0, works(1, None)), (1, waits(1, 2))]), None, "it has its path");
        assert_eq!(gives_way(&[(0, works(1, Some(1))), (1, waits(2, 2))]), None, "the caller is somebody else");
        assert_eq!(gives_way(&[(0, works(1, Some(1))), (1, waits(1, 7))]), due(0, 7));
        assert_eq!(gives_way(&[(0, works(1, Some(9))), (1, waits(1, 7))]), due(0, 9));
        let lost = Standing { lost_since: Some(second(8)), ..waits(1, 7) };
        assert_eq!(gives_way(&[(0, works(1, Some(9))), (1, lost)]), None, "the caller is gone as well");
        assert_eq!(gives_way(&[(4, waits(1, 7)), (5, works(1, Some(9)))]), None, "the earlier call is no sign");
        let crowd = [(0, works(1, Some(3))), (1, works(1, Some(2))), (2, works(1, None)), (3, waits(2, 5))];
        assert_eq!(gives_way(&crowd), due(1, 2), "whoever waits; the one that is gone longest goes first");
    }

    #[test]
    fn where_transfer_follows_transfer_a_session_without_a_path_gives_way_to_anybody_who_waits() {
        let start = Instant::now();
        let second = |count| start + Duration::from_secs(count);
        let works = |number, lost: Option<u64>| Standing {
            peer: peer(number),
            called_at: start,
            lost_since: lost.map(second),
            works: true,
            waits: false,
        };
        let waits =
            |number, called| Standing { called_at: second(called), works: false, waits: true, ..works(number, None) };
        let due = |slot, from| Some(Going { slot, at: second(from) + GIVES_WAY_AFTER, is_followed: false });
        let to = |standings: &[(usize, Standing)]| gives_way(standings, To::Anybody);
        assert_eq!(to(&[(0, works(1, Some(1))), (1, waits(2, 7))]), due(0, 7));
        assert_eq!(to(&[(0, works(1, Some(9))), (1, waits(2, 7))]), due(0, 9));
        assert_eq!(to(&[(0, works(1, None)), (1, waits(2, 7))]), None, "it has its path");
        let lost = Standing { lost_since: Some(second(8)), ..waits(2, 7) };
        assert_eq!(to(&[(0, works(1, Some(9))), (1, lost)]), None, "whoever waited is gone as well");
        let followed = to(&[(0, works(1, Some(1))), (1, waits(1, 5)), (2, waits(2, 7))]);
        assert!(followed.is_some_and(|going| going.is_followed && going.at == second(5) + GIVES_WAY_AFTER));
    }
}
