//! What is at an end: told in the first message of the callee, so that a caller who means something else learns it before a
//! byte of either crosses, and the callee goes on waiting for those who mean it.

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
    /// The capabilities of who calls himself this.
    pub fn caps(self) -> [u8; 1] {
        [self as u8]
    }

    /// What capabilities say; None if nothing that this version knows.
    pub fn of_caps(caps: &[u8]) -> Option<Kind> {
        [Kind::Pipe, Kind::Transfer, Kind::Ports].into_iter().find(|kind| caps.first() == Some(&(*kind as u8)))
    }

    /// Whether a caller of this kind can do something with a callee of that. A pipe may lead into a port, which takes bytes
    /// as they are.
    pub fn goes_with(self, callee: Kind) -> bool {
        self == callee || (self, callee) == (Kind::Pipe, Kind::Ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_was_written_and_nothing_else_is_one() {
        for kind in [Kind::Pipe, Kind::Transfer, Kind::Ports] {
            assert_eq!(Kind::of_caps(&kind.caps()), Some(kind));
            assert_eq!(Kind::of_caps(&[kind as u8, 9, 9]), Some(kind), "what a later version adds is not read");
        }
        assert_eq!([&[][..], &[0], &[4], &[255, 1]].map(Kind::of_caps), [None; 4]);
    }

    #[test]
    fn only_a_pipe_may_lead_elsewhere_than_to_its_like() {
        let all = [Kind::Pipe, Kind::Transfer, Kind::Ports];
        let pairs = all.into_iter().flat_map(|caller| all.map(|callee| (caller, callee)));
        let odd: Vec<_> = pairs.filter(|(caller, callee)| caller != callee && caller.goes_with(*callee)).collect();
        assert_eq!(odd, [(Kind::Pipe, Kind::Ports)]);
    }
}
