//! Control messages between client and relay. The only file that names the serialiser.
//!
//! Layout: bincode 2 "standard" (little-endian, variable-length integers), the variant number first. A message has exactly
//! one encoding: trailing bytes, over-long integers and anything else that would not re-encode to itself are refused. A message
//! whose first byte is 80 to fa is of a later version, and whatever follows is its own.

use super::limits::{CONTROL_BODY_MAX, EARLY_MAX, TAG_BYTES};
use crate::identity::PeerId;
use crate::names::AppName;
use bincode::{Decode, Encode, config};
use std::fmt;
use std::ops::RangeInclusive;

/// What a circuit is opened to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// An application, by its public name: begins a session.
    App(AppName),
    /// A running session, by the rendezvous id that only its two ends and the relay know: adds a lane.
    Session([u8; 16]),
}

impl Name {
    /// Whether somebody who has to do with nobody can say it: an application's, and what means the same for all peers, of which
    /// all bytes but the last are zero. That of a session is as good as secret.
    pub(crate) fn is_guessable(&self) -> bool {
        match self {
            Name::App(_) => true,
            Name::Session([first @ .., _]) => first.iter().all(|byte| *byte == 0),
        }
    }
}

/// A message between a client and its relay, as the rest of the program sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Relay to client, first message: the link is authenticated and admitted.
    Welcome {
        /// Circuits this link may have open at once.
        circuits: u32,
    },
    /// Client to relay: circuits to this name may come to this link.
    Listen {
        /// The name to answer to.
        name: Name,
    },
    /// Relay to client: the name is registered.
    Listening {
        /// The registered name.
        name: Name,
    },
    /// Client to relay: stop listening.
    Unlisten {
        /// The name to forget.
        name: Name,
    },
    /// Client to relay: open a circuit.
    Connect {
        /// Even, chosen by the client, not used before on this link.
        circuit: u32,
        /// Whom to reach.
        to: PeerId,
        /// What to reach there.
        name: Name,
        /// How long the relay keeps the request when nobody answers to the name, milliseconds; 0 does not wait.
        wait_ms: u32,
        /// The first bytes of the lane, at most [`EARLY_MAX`].
        early: Vec<u8>,
    },
    /// Relay to client: somebody opens a circuit to one of your names.
    Incoming {
        /// Odd, chosen by the relay.
        circuit: u32,
        /// Who, by the relay's word: the session handshake decides.
        from: PeerId,
        /// The name that was asked for.
        name: Name,
        /// The first bytes of the lane.
        early: Vec<u8>,
    },
    /// Client to relay: the answer to INCOMING.
    Accept {
        /// The circuit of the INCOMING.
        circuit: u32,
        /// The first bytes back.
        early: Vec<u8>,
    },
    /// Client to relay: the other answer to INCOMING.
    Reject {
        /// The circuit of the INCOMING.
        circuit: u32,
        /// Why, a close code.
        code: u16,
    },
    /// Relay to client: the circuit is open.
    Opened {
        /// The circuit of the CONNECT.
        circuit: u32,
        /// The first bytes back.
        early: Vec<u8>,
    },
    /// Relay to client: news of a CONNECT that is not open. [`super::CloseCode::Waiting`] is the only one that is not final.
    Status {
        /// The circuit of the CONNECT.
        circuit: u32,
        /// A close code.
        code: u16,
    },
    /// Relay to client: the link ends, with the reason; the last message.
    Bye {
        /// A close code.
        code: u16,
    },
    /// Either way: a message of a later version. Whoever does not know it skips it.
    Unknown {
        /// One of [`UNKNOWN`].
        number: u8,
        /// All the rest of it.
        body: Vec<u8>,
    },
}

/// Numbers of messages that a reader skips if it does not know them: the upper half of those that take one byte.
pub const UNKNOWN: RangeInclusive<u8> = 128..=250;

/// A control message that authenticated but cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// Not a message, or not its one encoding.
    Malformed,
    /// Early bytes or a name beyond their caps.
    TooLong,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ControlError::Malformed => "malformed control message",
            ControlError::TooLong => "control message beyond its caps",
        })
    }
}

impl std::error::Error for ControlError {}

// The layout, apart from the types above so that neither bends to the other. Variants and fields are append-only.

#[derive(Encode, Decode)]
enum WireName {
    App(String),
    Session([u8; 16]),
}

#[derive(Encode, Decode)]
enum Wire {
    Welcome(u32),
    Listen(WireName),
    Listening(WireName),
    Unlisten(WireName),
    Connect(u32, [u8; 32], WireName, u32, Vec<u8>),
    Incoming(u32, [u8; 32], WireName, Vec<u8>),
    Accept(u32, Vec<u8>),
    Reject(u32, u16),
    Opened(u32, Vec<u8>),
    Status(u32, u16),
    Bye(u16),
}

/// Longest message, bytes.
const MESSAGE_MAX: usize = CONTROL_BODY_MAX - TAG_BYTES;
const CONFIG: config::Configuration<config::LittleEndian, config::Varint, config::Limit<MESSAGE_MAX>> =
    config::standard().with_limit::<MESSAGE_MAX>();

impl Control {
    /// The message's bytes, or [`ControlError::TooLong`] if a caller put in more than the caps allow.
    pub fn encode(&self) -> Result<Vec<u8>, ControlError> {
        if let Control::Unknown { number, body } = self {
            let whole = [&[*number], &body[..]].concat();
            return if whole.len() > MESSAGE_MAX { Err(ControlError::TooLong) } else { Ok(whole) };
        }
        let wire = Wire::try_from(self.clone())?;
        wire.check()?;
        bincode::encode_to_vec(&wire, CONFIG).map_err(|_| ControlError::TooLong)
    }

    /// Reads one message that fills `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Control, ControlError> {
        if let Some((number, body)) = bytes.split_first().filter(|(number, _)| UNKNOWN.contains(number)) {
            return Ok(Control::Unknown { number: *number, body: body.to_vec() });
        }
        let (wire, used): (Wire, usize) =
            bincode::decode_from_slice(bytes, CONFIG).map_err(|_| ControlError::Malformed)?;
        wire.check()?;
        let canonical = bincode::encode_to_vec(&wire, CONFIG).map_err(|_| ControlError::Malformed)?;
        if used != bytes.len() || canonical != bytes {
            return Err(ControlError::Malformed);
        }
        Control::try_from(wire)
    }
}

impl Wire {
    fn check(&self) -> Result<(), ControlError> {
        let early = match self {
            Wire::Connect(.., early) | Wire::Incoming(.., early) | Wire::Accept(_, early) | Wire::Opened(_, early) => {
                early
            }
            _ => return Ok(()),
        };
        if early.len() > EARLY_MAX { Err(ControlError::TooLong) } else { Ok(()) }
    }
}

impl From<Name> for WireName {
    fn from(name: Name) -> WireName {
        match name {
            Name::App(app) => WireName::App(app.as_str().to_owned()),
            Name::Session(id) => WireName::Session(id),
        }
    }
}

impl TryFrom<WireName> for Name {
    type Error = ControlError;
    fn try_from(wire: WireName) -> Result<Name, ControlError> {
        Ok(match wire {
            WireName::App(app) => Name::App(app.parse().map_err(|_| ControlError::Malformed)?),
            WireName::Session(id) => Name::Session(id),
        })
    }
}

impl TryFrom<Control> for Wire {
    type Error = ControlError;
    fn try_from(control: Control) -> Result<Wire, ControlError> {
        Ok(match control {
            Control::Welcome { circuits } => Wire::Welcome(circuits),
            Control::Listen { name } => Wire::Listen(name.into()),
            Control::Listening { name } => Wire::Listening(name.into()),
            Control::Unlisten { name } => Wire::Unlisten(name.into()),
            Control::Connect { circuit, to, name, wait_ms, early } => {
                Wire::Connect(circuit, *to.as_bytes(), name.into(), wait_ms, early)
            }
            Control::Incoming { circuit, from, name, early } => {
                Wire::Incoming(circuit, *from.as_bytes(), name.into(), early)
            }
            Control::Accept { circuit, early } => Wire::Accept(circuit, early),
            Control::Reject { circuit, code } => Wire::Reject(circuit, code),
            Control::Opened { circuit, early } => Wire::Opened(circuit, early),
            Control::Status { circuit, code } => Wire::Status(circuit, code),
            Control::Bye { code } => Wire::Bye(code),
            Control::Unknown { .. } => return Err(ControlError::Malformed),
        })
    }
}

impl TryFrom<Wire> for Control {
    type Error = ControlError;
    fn try_from(wire: Wire) -> Result<Control, ControlError> {
        Ok(match wire {
            Wire::Welcome(circuits) => Control::Welcome { circuits },
            Wire::Listen(name) => Control::Listen { name: name.try_into()? },
            Wire::Listening(name) => Control::Listening { name: name.try_into()? },
            Wire::Unlisten(name) => Control::Unlisten { name: name.try_into()? },
            Wire::Connect(circuit, to, name, wait_ms, early) => {
                Control::Connect { circuit, to: PeerId::from_bytes(to), name: name.try_into()?, wait_ms, early }
            }
            Wire::Incoming(circuit, from, name, early) => {
                Control::Incoming { circuit, from: PeerId::from_bytes(from), name: name.try_into()?, early }
            }
            Wire::Accept(circuit, early) => Control::Accept { circuit, early },
            Wire::Reject(circuit, code) => Control::Reject { circuit, code },
            Wire::Opened(circuit, early) => Control::Opened { circuit, early },
            Wire::Status(circuit, code) => Control::Status { circuit, code },
            Wire::Bye(code) => Control::Bye { code },
        })
    }
}

/// Fuzz entry: whatever decodes has one encoding.
#[cfg(feature = "fuzzing")]
pub fn fuzz_control(bytes: &[u8]) {
    if let Ok(message) = Control::decode(bytes) {
        assert_eq!(message.encode().as_deref(), Ok(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Control {
        Control::Connect {
            circuit: 300,
            to: PeerId::from_bytes([7; 32]),
            name: Name::App("ab".parse().unwrap()),
            wait_ms: 251,
            early: vec![9, 8],
        }
    }

    #[test]
    fn a_message_is_laid_out_as_documented() {
        let mut expected = vec![4, 0xfb, 0x2c, 0x01];
        expected.extend([7; 32]);
        expected.extend([0, 2, b'a', b'b', 0xfb, 251, 0, 2, 9, 8]);
        assert_eq!(sample().encode().unwrap(), expected);
        assert_eq!(Control::decode(&expected), Ok(sample()));
    }

    #[test]
    fn trailing_bytes_and_overlong_integers_are_refused() {
        let mut long = Control::Bye { code: 3 }.encode().unwrap();
        assert_eq!(long, [10, 3]);
        long.push(0);
        assert_eq!(Control::decode(&long), Err(ControlError::Malformed));
        assert_eq!(Control::decode(&[10, 0xfb, 3, 0]), Err(ControlError::Malformed));
    }

    #[test]
    fn a_claimed_length_allocates_nothing_beyond_the_cap() {
        let bomb = [6, 2, 0xfc, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(Control::decode(&bomb), Err(ControlError::Malformed));
        let early = vec![0; EARLY_MAX + 1];
        assert_eq!(Control::Accept { circuit: 1, early }.encode(), Err(ControlError::TooLong));
    }

    #[test]
    fn a_name_outside_its_alphabet_is_refused() {
        assert_eq!(Control::decode(&[1, 0, 1, b'\n']), Err(ControlError::Malformed));
        assert!(Control::decode(&[1, 0, 1, b'a']).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz_control(&bytes);
        }

        #[test]
        fn any_damage_decodes_canonically_or_is_refused(at in 0usize..48, to in any::<u8>()) {
            let mut bytes = sample().encode().unwrap();
            if let Some(byte) = bytes.get_mut(at) { *byte = to; }
            fuzz_control(&bytes);
        }
    }
}
