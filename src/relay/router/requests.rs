//! CONNECTs that are not open yet: parked until somebody listens, or offered to a listener that has not answered.

use crate::identity::PeerId;
use crate::relay::LinkId;
use crate::wire::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::time::Instant;

/// Parked and offered requests in all. Each holds the early bytes of a lane, about 1.5 KiB.
pub const REQUESTS_MAX: usize = 16_384;
/// Parked requests of one link.
pub const PARKED_PER_LINK_MAX: usize = 64;

/// A request's own name; later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(u64);

/// One side of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side {
    /// The link.
    pub link: LinkId,
    /// The link's number for the circuit.
    pub circuit: u32,
}

impl Side {
    /// Those of a link.
    pub fn all_of(link: LinkId) -> RangeInclusive<Side> {
        Side { link, circuit: 0 }..=Side { link, circuit: u32::MAX }
    }
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nobody to offer it to: waits until the caller's patience ends.
    Parked,
    /// A listener has an INCOMING and has to answer by then.
    Offered {
        /// The listener's side.
        callee: Side,
        /// When it counts as no answer.
        until: Instant,
    },
}

/// A CONNECT that is not open.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The caller's side.
    pub caller: Side,
    /// Who calls.
    pub from: PeerId,
    /// Who is called.
    pub to: PeerId,
    /// What is called.
    pub name: Name,
    /// The first bytes of the lane.
    pub early: Vec<u8>,
    /// When the caller's patience ends; None if it does not wait at all.
    pub expires: Option<Instant>,
    /// Whether the caller knows that it waits.
    pub told_waiting: bool,
    /// Listeners that did not answer.
    pub tried: Vec<LinkId>,
    /// Where it stands.
    pub stage: Stage,
}

impl Request {
    fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Parked => self.expires,
            Stage::Offered { until, .. } => Some(until),
        }
    }
}

/// All requests, findable by caller, by callee, by what they ask for, and by deadline.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    next: u64,
    all: HashMap<RequestId, Request>,
    by_caller: BTreeMap<Side, RequestId>,
    by_callee: BTreeMap<Side, RequestId>,
    parked: HashMap<(PeerId, Name), BTreeSet<RequestId>>,
    deadlines: BTreeSet<(Instant, RequestId)>,
}

impl Requests {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// A new name, for a request that is about to be put in.
    pub(crate) fn issue_id(&mut self) -> RequestId {
        self.next += 1;
        RequestId(self.next)
    }

    /// Puts a request in, under the name it was taken out with or a fresh one.
    pub(crate) fn put(&mut self, id: RequestId, request: Request) {
        self.by_caller.insert(request.caller, id);
        match request.stage {
            Stage::Parked => {
                self.parked.entry((request.to, request.name.clone())).or_default().insert(id);
            }
            Stage::Offered { callee, .. } => {
                self.by_callee.insert(callee, id);
            }
        }
        if let Some(deadline) = request.deadline() {
            self.deadlines.insert((deadline, id));
        }
        self.all.insert(id, request);
    }

    /// Takes a request out.
    pub(crate) fn take(&mut self, id: RequestId) -> Option<Request> {
        let request = self.all.remove(&id)?;
        self.by_caller.remove(&request.caller);
        match request.stage {
            Stage::Parked => {
                let key = (request.to, request.name.clone());
                if let Some(ids) = self.parked.get_mut(&key) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.parked.remove(&key);
                    }
                }
            }
            Stage::Offered { callee, .. } => {
                self.by_callee.remove(&callee);
            }
        }
        if let Some(deadline) = request.deadline() {
            self.deadlines.remove(&(deadline, id));
        }
        Some(request)
    }

    /// The request of a caller.
    pub(crate) fn of_caller(&self, caller: Side) -> Option<RequestId> {
        self.by_caller.get(&caller).copied()
    }

    /// The request that a listener has to answer.
    pub(crate) fn of_callee(&self, callee: Side) -> Option<RequestId> {
        self.by_callee.get(&callee).copied()
    }

    /// All requests a link made, oldest number first.
    pub(crate) fn made_by(&self, link: LinkId) -> Vec<RequestId> {
        self.by_caller.range(Side::all_of(link)).map(|(_, &id)| id).collect()
    }

    /// All requests a link has to answer.
    pub(crate) fn offered_to(&self, link: LinkId) -> Vec<RequestId> {
        self.by_callee.range(Side::all_of(link)).map(|(_, &id)| id).collect()
    }

    /// How many requests of a link are parked.
    pub(crate) fn parked_by(&self, link: LinkId) -> usize {
        let made = self.by_caller.range(Side::all_of(link));
        made.filter(|(_, id)| self.all.get(id).is_some_and(|request| request.stage == Stage::Parked)).count()
    }

    /// The requests parked for a name, oldest first.
    pub(crate) fn parked_for(&self, to: PeerId, name: &Name) -> Vec<RequestId> {
        self.parked.get(&(to, name.clone())).map(|ids| ids.iter().copied().collect()).unwrap_or_default()
    }

    /// The link that has waited longest for a name.
    pub(crate) fn first_parked_caller(&self, to: PeerId, name: &Name) -> Option<LinkId> {
        let first = self.parked.get(&(to, name.clone()))?.first()?;
        self.all.get(first).map(|request| request.caller.link)
    }

    /// The next deadline of any.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// One request whose deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Option<RequestId> {
        self.deadlines.first().filter(|(at, _)| *at <= now).map(|&(_, id)| id)
    }
}
