//! What a relay says over the link: frames of circuits, and control messages.

use super::incoming::Incoming;
use super::{Down, Event, Node};
use crate::link::Frame;
use crate::wire::{CloseCode, Control, Name};
use std::time::Instant;

/// A node, while it takes what its relay says.
pub(super) struct Heard<'n> {
    pub node: &'n mut Node,
    pub now: Instant,
}

impl Heard<'_> {
    /// A frame whose bytes, if it has any, stand in `input`. An error if no relay may send it.
    pub(super) fn handle_frame(self, frame: Frame, input: &[u8]) -> Result<(), Down> {
        match frame {
            Frame::Data { circuit, bytes, credit } => {
                self.node.uplink.circuits.handle_credit(circuit, credit);
                return self.node.calls(self.now).handle_bytes(circuit, &input[bytes]);
            }
            Frame::Control(message) => self.handle_control(message),
            Frame::Credit { circuit, credit } => self.node.uplink.circuits.handle_credit(circuit, credit),
            // Lanes end by RESET or with their link; a FIN from the relay says that no more comes, which is as good.
            Frame::Fin { circuit } => self.node.calls(self.now).handle_ended(circuit, CloseCode::PeerGone),
            Frame::Reset { circuit, code } => {
                self.node.calls(self.now).handle_ended(circuit, CloseCode::from_wire(code))
            }
            Frame::Ping(token) => self.node.uplink.send_pong(token)?,
            Frame::Pong(_) | Frame::Nothing => {}
        }
        Ok(())
    }

    fn handle_control(self, message: Control) {
        let Heard { node, now } = self;
        match message {
            Control::Welcome { .. } => {
                let up = node.uplink.handle_welcome(now).map(|relay| Event::RelayUp { relay });
                node.events.extend(up);
            }
            Control::Listening { name: Name::App(app) } => {
                node.meeting.handle_listening(now);
                node.events.push_back(Event::Listening { app });
            }
            Control::Listening { name } => node.siblings.handle_listening(&name),
            Control::Incoming { circuit, from, name, early } => {
                Incoming { node, now, circuit, from }.answer(name, &early);
            }
            Control::Opened { circuit, early } => node.calls(now).handle_opened(circuit, &early),
            Control::Status { circuit, code } => node.calls(now).handle_status(circuit, CloseCode::from_wire(code)),
            Control::Bye { code } => node.lose_link(now, Down::Said(CloseCode::from_wire(code)), None),
            // What only clients say: a relay that says it is of a later version, and means something we need not know.
            Control::Listen { .. }
            | Control::Unlisten { .. }
            | Control::Connect { .. }
            | Control::Accept { .. }
            | Control::Reject { .. }
            | Control::Unknown { .. } => {}
        }
    }
}
