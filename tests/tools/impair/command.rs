//! What the proxy can be told: the grammar that tests build as values and that the standalone program reads as lines.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::time::Duration;

use vp::cli::units::{Rate, Size, UnitError, duration};

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
    Rate(Option<Rate>),
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
    pub expected: Expected,
}

/// What would have been right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// One of these words.
    Words(&'static str),
    /// A value of a unit.
    Unit(UnitError),
}

impl From<UnitError> for Expected {
    fn from(error: UnitError) -> Expected {
        Expected::Unit(error)
    }
}

impl fmt::Display for NoCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expected {
            Expected::Words(words) => write!(f, "{:?}: expected {words}", self.word),
            Expected::Unit(error) => write!(f, "{:?}: {error}", self.word),
        }
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
    NoCommand { word: word.to_owned(), expected: Expected::Words(expected) }
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
            "delay" => Command::Delay(self.duration()?),
            "jitter" => Command::Jitter(self.duration()?),
            "queue" => Command::Queue(to_usize(self.need("a size")?)?),
            "rate" => Command::Rate(match self.need("a size or off")? {
                "off" => None,
                word => Some(unit(word, word.parse())?),
            }),
            "slice" => Command::Slice(match self.need("a number of bytes or off")? {
                "off" => None,
                word => Some(NonZeroUsize::new(to_usize(word)?).ok_or(no(word, "at least 1"))?),
            }),
            "at" => {
                let way = self.way()?.ok_or_else(|| no("at", "up or down"))?;
                let byte = bytes(self.need("a byte count")?)?;
                let verb = self.need("a fault")?;
                Command::At { way, byte, fault: self.fault(verb, way)? }
            }
            "flip" => {
                let way = self.way()?.unwrap_or(Way::Up);
                let byte = self.next().map_or(Ok(0), bytes)?;
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

    fn duration(&mut self) -> Result<Duration, NoCommand> {
        let word = self.need("a duration")?;
        unit(word, duration(word))
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

fn bytes(word: &str) -> Result<u64, NoCommand> {
    unit(word, word.parse().map(|Size(bytes)| bytes))
}

fn to_usize(word: &str) -> Result<usize, NoCommand> {
    usize::try_from(bytes(word)?).map_err(|_| no(word, "a smaller size"))
}

/// A value of the command lines' own units, so that a person learns them once.
fn unit<T>(word: &str, value: Result<T, UnitError>) -> Result<T, NoCommand> {
    value.map_err(|error| NoCommand { word: word.to_owned(), expected: error.into() })
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
            ("jitter 3ms", Command::Jitter(Duration::from_millis(3))),
            ("rate 1M", Command::Rate("1M".parse().ok())),
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
