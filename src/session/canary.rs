//! Planted defects, for the simulation to find. Without the feature `canaries` none can be switched on and the checks
//! compile to nothing.

/// A defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// Acknowledges a record that has not come yet.
    AckAhead,
    /// Drops one record more than was acknowledged.
    AckOffByOne,
    /// Forgets to keep records that carry the end of a stream.
    LostFin,
    /// Takes what the peer says of one dead lane for another.
    StaleLane,
    /// Forgets what a dead lane had under way.
    NoRequeue,
    /// Appends a copy instead of recognising it.
    CopyAppended,
    /// Reports bytes as consumed when they were only received.
    ConsumedEarly,
    /// Tells a new lane nothing of credit and consumption.
    NoSnapshot,
    /// Sends new data ahead of what must be sent again, and places bytes in order of arrival.
    OrderOfArrival,
    /// Sends bulk ahead of what is brief.
    BulkFirst,
    /// Keeps the session's window as narrow as it is while streams that nobody reads fill it.
    NarrowSession,
    /// Says nothing of credit that has become scarce.
    SilentCredit,
    /// Goes on with a stream that the peer wants no more of.
    IgnoredStop,
    /// Opens streams whatever their number.
    OpensWithoutEnd,
    /// Takes frames of later versions for malformed ones.
    StrictTowardsLater,
    /// Uses a feature that the other end has not named.
    OneEndsFeature,
}

impl Canary {
    /// Those that a few whole streams bring to light.
    pub const ALL: [Canary; 9] = [
        Canary::AckAhead,
        Canary::AckOffByOne,
        Canary::LostFin,
        Canary::StaleLane,
        Canary::NoRequeue,
        Canary::CopyAppended,
        Canary::ConsumedEarly,
        Canary::NoSnapshot,
        Canary::OrderOfArrival,
    ];

    /// Those that it takes many streams of many kinds to bring to light.
    pub const OF_CROWDS: [Canary; 3] = [Canary::BulkFirst, Canary::NarrowSession, Canary::IgnoredStop];
}

/// The defect planted in a session: none, unless a simulation says so.
#[derive(Clone, Copy, Default)]
pub(super) struct Planted {
    #[cfg(feature = "canaries")]
    canary: Option<Canary>,
}

impl Planted {
    /// Plants a defect.
    #[cfg(feature = "canaries")]
    pub(super) fn plant(&mut self, canary: Canary) {
        self.canary = Some(canary);
    }

    /// Whether this defect is planted.
    #[cfg(feature = "canaries")]
    pub(super) fn is(&self, canary: Canary) -> bool {
        self.canary == Some(canary)
    }

    /// Whether this defect is planted: never.
    #[cfg(not(feature = "canaries"))]
    pub(super) fn is(&self, _: Canary) -> bool {
        false
    }
}
