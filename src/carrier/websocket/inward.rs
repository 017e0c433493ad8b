//! Frames that come in (RFC 6455, 5): their content in the place of their bytes, without a copy elsewhere.

use super::MESSAGE_MAX;
use crate::carrier::end::CloseStatus;

/// The longest head of a frame: two bytes, a length of eight, a mask.
pub(super) const HEAD_MAX: usize = 14;
/// Most content of a frame that says something about the connection (RFC 6455, 5.5).
const CONTROL_MAX: usize = 125;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What is to be done about something that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// All of it was used.
    Nothing,
    /// Somebody wants this back.
    Ping(Vec<u8>),
    /// Nothing follows, and why, by number.
    Close(Option<u16>),
}

/// What frames are hidden with: the same four bytes over and over (RFC 6455, 5.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mask(u32);

impl Mask {
    /// The mask of these four bytes.
    pub(super) fn new(key: [u8; 4]) -> Mask {
        Mask(u32::from_ne_bytes(key))
    }

    /// Hides bytes, or shows them; those that follow come next.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        if self.0 == 0 {
            return;
        }
        let key = self.0.to_ne_bytes();
        let wide = u128::from_ne_bytes(std::array::from_fn(|at| key[at % 4]));
        let (chunks, rest) = bytes.as_chunks_mut::<16>();
        for chunk in chunks {
            *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
        }
        rest.iter_mut().zip(key.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        let shift = u32::try_from(rest.len() % 4).unwrap_or(0) * 8;
        self.0 = if cfg!(target_endian = "little") { self.0.rotate_right(shift) } else { self.0.rotate_left(shift) };
    }
}

#[derive(Debug)]
enum Step {
    /// So many bytes of a frame's head.
    Head([u8; HEAD_MAX], usize),
    /// Content for the link, of which so much is left.
    Content(usize, Mask),
    /// What a frame says about the connection, of which so much is left.
    Control { opcode: u8, left: usize, mask: Mask, content: Vec<u8> },
}

const NO_HEAD: Step = Step::Head([0; HEAD_MAX], 0);

/// See the module.
#[derive(Debug)]
pub(super) struct Inward {
    /// Whether content has to be hidden, as a client's must be and a server's must not.
    masked: bool,
    step: Step,
    /// Bytes so far of a message that is not whole.
    message: Option<usize>,
}

impl Inward {
    /// Frames of a client.
    pub(super) fn masked() -> Inward {
        Inward { masked: true, step: NO_HEAD, message: None }
    }

    /// Frames of a server.
    pub(super) fn plain() -> Inward {
        Inward { masked: false, step: NO_HEAD, message: None }
    }

    /// Uses wire bytes from `read` on, and moves content to `kept`, which is never ahead of that; both go on.
    pub(super) fn handle_wire(
        &mut self,
        wire: &mut [u8],
        read: &mut usize,
        kept: &mut usize,
    ) -> Result<Said, CloseStatus> {
        while *read < wire.len() {
            match &mut self.step {
                Step::Head(head, have) => {
                    let count = (head_bytes(&head[..*have]) - *have).min(wire.len() - *read);
                    head[*have..*have + count].copy_from_slice(&wire[*read..*read + count]);
                    (*have, *read) = (*have + count, *read + count);
                    let (head, have) = (*head, *have);
                    if let Some(step) = self.begin(&head[..have])? {
                        self.step = step;
                    }
                }
                Step::Content(left, mask) => {
                    let count = (*left).min(wire.len() - *read);
                    wire.copy_within(*read..*read + count, *kept);
                    mask.apply(&mut wire[*kept..*kept + count]);
                    (*read, *kept, *left) = (*read + count, *kept + count, *left - count);
                }
                Step::Control { left, mask, content, .. } => {
                    let count = (*left).min(wire.len() - *read);
                    let at = content.len();
                    content.extend_from_slice(&wire[*read..*read + count]);
                    mask.apply(&mut content[at..]);
                    (*read, *left) = (*read + count, *left - count);
                }
            }
            match self.finish()? {
                Said::Nothing => {}
                said => return Ok(said),
            }
        }
        Ok(Said::Nothing)
    }

    /// What follows a head, if it is whole.
    fn begin(&mut self, head: &[u8]) -> Result<Option<Step>, CloseStatus> {
        let [first, second, rest @ ..] = head else { return Ok(None) };
        let (is_final, opcode, is_masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        if first & 0x70 != 0 || is_masked != self.masked {
            return Err(CloseStatus::Protocol);
        }
        let (long, short) = match second & 0x7f {
            126 => (2, None),
            127 => (8, None),
            short => (0, Some(u64::from(short))),
        };
        if opcode == TEXT {
            return Err(CloseStatus::Unsupported);
        }
        let is_control = opcode & 8 != 0;
        let is_known = matches!(opcode, CONTINUATION | BINARY | CLOSE | PING | PONG);
        let has_place = is_control || (opcode == CONTINUATION) == self.message.is_some();
        if !is_known || !has_place || (is_control && (!is_final || short.is_none_or(|short| short > 125))) {
            return Err(CloseStatus::Protocol);
        }
        let wanted = long + if is_masked { 4 } else { 0 };
        if rest.len() < wanted {
            return Ok(None);
        }
        let (length, key) = rest.split_at(long);
        let number = length.iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        // The shortest way to say it is the only one.
        let is_shortest = match long {
            2 => number > 125,
            8 => number > u64::from(u16::MAX) && number >> 63 == 0,
            _ => true,
        };
        if !is_shortest {
            return Err(CloseStatus::Protocol);
        }
        let left = usize::try_from(short.unwrap_or(number)).map_err(|_| CloseStatus::TooLarge)?;
        let mask = Mask::new(key.try_into().unwrap_or_default());
        if is_control {
            return Ok(Some(Step::Control { opcode, left, mask, content: Vec::with_capacity(left.min(CONTROL_MAX)) }));
        }
        let whole = self.message.unwrap_or(0).saturating_add(left);
        if whole > MESSAGE_MAX {
            return Err(CloseStatus::TooLarge);
        }
        self.message = (!is_final).then_some(whole);
        Ok(Some(Step::Content(left, mask)))
    }

    /// A frame may be whole: what it says, if it says something about the connection.
    fn finish(&mut self) -> Result<Said, CloseStatus> {
        match &mut self.step {
            Step::Content(0, _) => {
                self.step = NO_HEAD;
                Ok(Said::Nothing)
            }
            Step::Control { opcode, left: 0, content, .. } => {
                let (opcode, content) = (*opcode, std::mem::take(content));
                self.step = NO_HEAD;
                match opcode {
                    PING => Ok(Said::Ping(content)),
                    CLOSE => close(&content).map(Said::Close),
                    _ => Ok(Said::Nothing),
                }
            }
            _ => Ok(Said::Nothing),
        }
    }
}

/// How long the head of a frame is, as far as its first bytes tell: two of them, and then all.
fn head_bytes(head: &[u8]) -> usize {
    let [_, second, ..] = head else { return 2 };
    let long = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + long + if second & 0x80 != 0 { 4 } else { 0 }
}

/// The status in the content of a CLOSE, if there is one.
fn close(content: &[u8]) -> Result<Option<u16>, CloseStatus> {
    let Some((number, reason)) = content.split_first_chunk::<2>() else {
        return if content.is_empty() { Ok(None) } else { Err(CloseStatus::Protocol) };
    };
    let number = u16::from_be_bytes(*number);
    // RFC 6455, 7.4: those that may be sent, and what is left to libraries and applications.
    if !matches!(number, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(CloseStatus::Protocol);
    }
    std::str::from_utf8(reason).map(|_| Some(number)).map_err(|_| CloseStatus::NotText)
}

/// The head of a frame that is a message by itself, or says something about the connection.
pub(super) fn head(opcode: Opcode, length: usize, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let opcode = match opcode {
        Opcode::Binary => BINARY,
        Opcode::Close => CLOSE,
        Opcode::Pong => PONG,
    };
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(0x80 | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short <= 125 => out.push(masked | short),
        (_, Ok(middle)) => {
            out.push(masked | 126);
            out.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            // No machine has lengths of more than 64 bits.
            out.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    out.extend(mask.into_iter().flatten());
}

/// What a frame that goes out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    /// Bytes of a link.
    Binary,
    /// Nothing follows.
    Close,
    /// What somebody wanted back.
    Pong,
}
