//! What is at an end: told in the first message of the callee, so that a caller who means something else learns it before a
//! byte of either crosses, and the callee goes on waiting for those who mean it.

use crate::wire::Features;

/// What a tool does with sessions. On the wire, its number here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Bytes both ways, as they are: `vp-attach`.
    Pipe = 1,
    /// Transfers: `vp-send` and `vp-recv`.
    Transfer = 2,
    /// Connections: `vp-portrep`.
    Ports = 3,
}

impl Kind {
    /// The capabilities of who calls himself this and can do that.
    pub fn caps(self, features: &Features) -> Vec<u8> {
        [&[self as u8][..], &features.encode()].concat()
    }

    /// What capabilities say; the kind is none if this version does not know it. None if they say nothing.
    pub(crate) fn of_caps(caps: &[u8]) -> Option<(Option<Kind>, Features)> {
        let Some((number, features)) = caps.split_first() else { return Some((None, Features::NONE)) };
        let kind = [Kind::Pipe, Kind::Transfer, Kind::Ports].into_iter().find(|kind| *kind as u8 == *number);
        Some((kind, Features::decode(features)?))
    }

    /// Whether a caller of this kind can do something with a callee of that. A pipe may lead into a port, which takes bytes
    /// as they are.
    pub(crate) fn goes_with(self, callee: Kind) -> bool {
        self == callee || (self, callee) == (Kind::Pipe, Kind::Ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_was_written_and_nothing_else_is_one() {
        for kind in [Kind::Pipe, Kind::Transfer, Kind::Ports] {
            for features in [Features::NONE, Features::of(&[1, 0x7fff])] {
                assert_eq!(Kind::of_caps(&kind.caps(&features)), Some((Some(kind), features)));
            }
            assert_eq!(Kind::of_caps(&[kind as u8, 9]), None, "half a number");
        }
        for other in [&[][..], &[0], &[4], &[255]] {
            assert_eq!(Kind::of_caps(other), Some((None, Features::NONE)));
        }
    }

    #[test]
    fn only_a_pipe_may_lead_elsewhere_than_to_its_like() {
        let all = [Kind::Pipe, Kind::Transfer, Kind::Ports];
        let pairs = all.into_iter().flat_map(|caller| all.map(|callee| (caller, callee)));
        let odd: Vec<_> = pairs.filter(|(caller, callee)| caller != callee && caller.goes_with(*callee)).collect();
        assert_eq!(odd, [(Kind::Pipe, Kind::Ports)]);
    }
}
