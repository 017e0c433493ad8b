//! What the proxy can be told: the grammar that tests build as values and that the standalone program reads as lines.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

/// A direction of every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the target.
    Up = 0,
    /// From the target to the client.
    Down = 1,
}

/// One direction or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// One of them.
    One(Way),
    /// Both of them.
    Both,
}

impl Ways {
    /// The directions meant, as indices up = 0, down = 1.
    pub fn each(self) -> impl Iterator<Item = usize> {
        let mask = match self {
            Ways::One(Way::Up) => [true, false],
            Ways::One(Way::Down) => [false, true],
            Ways::Both => [true, true],
        };
        (0..2).filter(move |&way| mask[way])
    }
}

/// What can go wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every connection ends in an orderly way, what is in flight is lost.
    Cut,
    /// Every connection ends with a reset; at byte N, the connection that carries it.
    Reset,
    /// Nothing comes out any more; the queue fills, then the sender is not read.
    Stall(Ways),
    /// Nothing is read or written any more, on sockets that stay open.
    HalfOpen,
    /// Bytes are taken and vanish; nothing is closed, nothing is said. New connections vanish too.
    Drop(Ways),
    /// New connections are refused.
    Refuse,
    /// One bit (0 to 7) of one byte is inverted: the next byte, or byte N.
    Flip(Way, u8),
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The fault happens now.
    Now(Fault),
    /// The fault happens once, when `byte` bytes have been delivered that way, counted over the proxy's life and all its
    /// connections. A count that has passed already means at the next byte.
    At { way: Way, byte: u64, fault: Fault },
    /// Every standing fault and every one still to come ends. A connection that lost bytes to a black hole stays lost.
    Heal,
    /// Delay each way.
    Delay(Duration),
    /// Jitter each way.
    Jitter(Duration),
    /// Bytes per second each way; none: as fast as it goes.
    Rate(Option<NonZeroU64>),
    /// Bytes per write; none: as they come.
    Slice(Option<NonZeroUsize>),
    /// Bytes in flight each way.
    Queue(usize),
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoCommand {
    /// The word that is wrong or that the line ends after.
    pub word: String,
    /// What was expected in its place.
    pub expected: &'static str,
}

impl fmt::Display for NoCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: expected {}", self.word, self.expected)
    }
}

impl std::error::Error for NoCommand {}

/// The grammar in one place, for the reader of an error.
const VERBS: &str = "cut, reset, stall [up|down], half-open, drop [up|down], refuse, flip [up|down] [BYTE] [BIT], \
                     at up|down BYTE FAULT, heal, delay DUR, jitter DUR, rate SIZE|off, slice BYTES|off, queue SIZE";

impl FromStr for Command {
    type Err = NoCommand;

    fn from_str(line: &str) -> Result<Command, NoCommand> {
        let mut words = Words { rest: line.split_whitespace().collect(), at: 0 };
        let command = words.command()?;
        match words.next() {
            None => Ok(command),
            Some(word) => Err(no(word, "the end of the line")),
        }
    }
}

fn no(word: &str, expected: &'static str) -> NoCommand {
    NoCommand { word: word.to_owned(), expected }
}

struct Words<'a> {
    rest: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.rest.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    fn need(&mut self, expected: &'static str) -> Result<&'a str, NoCommand> {
        self.next().ok_or_else(|| no(self.rest.last().unwrap_or(&""), expected))
    }

    fn command(&mut self) -> Result<Command, NoCommand> {
        Ok(match self.need(VERBS)? {
            "heal" => Command::Heal,
            "delay" => Command::Delay(duration(self.need("a duration")?)?),
            "jitter" => Command::Jitter(duration(self.need("a duration")?)?),
            "queue" => Command::Queue(to_usize(self.need("a size")?)?),
            "rate" => Command::Rate(match self.need("a size or off")? {
                "off" => None,
                word => Some(NonZeroU64::new(size(word)?).ok_or(no(word, "a rate above 0"))?),
            }),
            "slice" => Command::Slice(match self.need("a number of bytes or off")? {
                "off" => None,
                word => Some(NonZeroUsize::new(to_usize(word)?).ok_or(no(word, "at least 1"))?),
            }),
            "at" => {
                let way = self.way()?.ok_or_else(|| no("at", "up or down"))?;
                let byte = size(self.need("a byte count")?)?;
                let verb = self.need("a fault")?;
                Command::At { way, byte, fault: self.fault(verb, way)? }
            }
            "flip" => {
                let way = self.way()?.unwrap_or(Way::Up);
                let byte = self.next().map_or(Ok(0), size)?;
                Command::At { way, byte, fault: Fault::Flip(way, self.bit()?) }
            }
            verb => Command::Now(self.fault(verb, Way::Up)?),
        })
    }

    fn fault(&mut self, verb: &str, way: Way) -> Result<Fault, NoCommand> {
        Ok(match verb {
            "cut" => Fault::Cut,
            "reset" => Fault::Reset,
            "half-open" => Fault::HalfOpen,
            "refuse" => Fault::Refuse,
            "stall" => Fault::Stall(self.way()?.map_or(Ways::Both, Ways::One)),
            "drop" => Fault::Drop(self.way()?.map_or(Ways::Both, Ways::One)),
            "flip" => Fault::Flip(way, self.bit()?),
            word => return Err(no(word, VERBS)),
        })
    }

    fn way(&mut self) -> Result<Option<Way>, NoCommand> {
        let way = match self.rest.get(self.at) {
            Some(&"up") => Way::Up,
            Some(&"down") => Way::Down,
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(way))
    }

    fn bit(&mut self) -> Result<u8, NoCommand> {
        match self.next() {
            None => Ok(0),
            Some(word) => word.parse().ok().filter(|bit| *bit < 8).ok_or(no(word, "a bit, 0 to 7")),
        }
    }
}

/// A duration such as `300us`, `25ms`, `2s`.
pub fn duration(word: &str) -> Result<Duration, NoCommand> {
    let expected = "a duration such as 25ms or 2s";
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let count: u64 = word[..digits].parse().map_err(|_| no(word, expected))?;
    match &word[digits..] {
        "us" => Ok(Duration::from_micros(count)),
        "ms" => Ok(Duration::from_millis(count)),
        "s" => Ok(Duration::from_secs(count)),
        "" if count == 0 => Ok(Duration::ZERO),
        _ => Err(no(word, expected)),
    }
}

/// A size in bytes such as `1500`, `64K`, `16M`, `1G`; the letters are binary.
pub fn size(word: &str) -> Result<u64, NoCommand> {
    let expected = "a size such as 1500, 64K or 16M";
    let (digits, shift) = match word.as_bytes().last() {
        Some(b'K') => (&word[..word.len() - 1], 10),
        Some(b'M') => (&word[..word.len() - 1], 20),
        Some(b'G') => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    let count: u64 = digits.parse().map_err(|_| no(word, expected))?;
    count.checked_mul(1 << shift).ok_or_else(|| no(word, expected))
}

fn to_usize(word: &str) -> Result<usize, NoCommand> {
    usize::try_from(size(word)?).map_err(|_| no(word, "a smaller size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_reads_as_written() {
        let up = Ways::One(Way::Up);
        let flip = |way, byte, bit| Command::At { way, byte, fault: Fault::Flip(way, bit) };
        let cases = [
            ("cut", Command::Now(Fault::Cut)),
            ("reset", Command::Now(Fault::Reset)),
            ("stall", Command::Now(Fault::Stall(Ways::Both))),
            ("stall up", Command::Now(Fault::Stall(up))),
            ("drop down", Command::Now(Fault::Drop(Ways::One(Way::Down)))),
            ("half-open", Command::Now(Fault::HalfOpen)),
            ("refuse", Command::Now(Fault::Refuse)),
            ("heal", Command::Heal),
            ("flip", flip(Way::Up, 0, 0)),
            ("flip 1000", flip(Way::Up, 1000, 0)),
            ("flip down 1K 7", flip(Way::Down, 1024, 7)),
            ("at up 2M reset", Command::At { way: Way::Up, byte: 2 << 20, fault: Fault::Reset }),
            ("at down 5 stall up", Command::At { way: Way::Down, byte: 5, fault: Fault::Stall(up) }),
            ("at down 5 flip 3", flip(Way::Down, 5, 3)),
            ("delay 25ms", Command::Delay(Duration::from_millis(25))),
            ("jitter 300us", Command::Jitter(Duration::from_micros(300))),
            ("rate 1M", Command::Rate(NonZeroU64::new(1 << 20))),
            ("rate off", Command::Rate(None)),
            ("slice 1", Command::Slice(NonZeroUsize::new(1))),
            ("slice off", Command::Slice(None)),
            ("queue 64K", Command::Queue(65_536)),
        ];
        for (line, command) in cases {
            assert_eq!(line.parse(), Ok(command), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_no_command_names_the_word() {
        let cases = [
            ("", ""),
            ("cat", "cat"),
            ("cut now", "now"),
            ("delay", "delay"),
            ("delay 25", "25"),
            ("rate 0", "0"),
            ("slice 0", "0"),
            ("flip 1 8", "8"),
            ("at 5 cut", "at"),
            ("queue 99999999999G", "99999999999G"),
        ];
        for (line, word) in cases {
            assert_eq!(line.parse::<Command>().map_err(|e| e.word), Err(word.to_owned()), "{line}");
        }
    }
}
