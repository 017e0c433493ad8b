//! The name of a target, and the addresses it stands for: looked up at the start, again now and then, and once more before
//! a connection is turned away. Names move, and at the start of a machine nothing may be there yet that knows them.

use crate::net::lookup::Lookup;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What a name stood for so short a time ago is taken without another question.
const FRESH: Duration = Duration::from_secs(30);
/// A resolver that says nothing for so long is not waited for, if the name has stood for something before.
const RESOLVER_TIME: Duration = Duration::from_secs(2);
/// Between two questions for a name that has never stood for anything.
const RETRY: Duration = Duration::from_secs(5);

/// What came of a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// The name is known; before, it was not.
    Found,
    /// The name is known, still or again.
    Known,
    /// It is not; what it stood for before, if anything, is the best guess.
    Unknown(io::Error),
}

/// The name.
#[derive(Debug)]
pub(super) struct Name {
    host: String,
    addresses: Vec<SocketAddr>,
    /// Answers so far, whatever they said.
    answers: u64,
    answered: Option<Instant>,
    looking: Option<(Lookup, Instant)>,
}

impl Name {
    /// Of which nothing is known.
    pub(super) fn new(host: &str) -> Name {
        Name { host: host.to_owned(), addresses: Vec::new(), answers: 0, answered: None, looking: None }
    }

    /// What it stands for, as far as is known; with port 0.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many answers there were.
    pub(super) fn answers(&self) -> u64 {
        self.answers
    }

    /// Whether connections may go where it led last without another question.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        !self.addresses.is_empty() && self.answered.is_some_and(|at| now < at + FRESH)
    }

    /// Whether a question is under way.
    pub(super) fn is_looking(&self) -> bool {
        self.looking.is_some()
    }

    /// Asks, by `look`, unless a question is under way.
    pub(super) fn ask(&mut self, now: Instant, look: impl FnOnce(&str) -> io::Result<Lookup>) {
        if self.looking.is_none() {
            match look(&self.host) {
                Ok(lookup) => self.looking = Some((lookup, now)),
                // Without a thread there is no answer, and the next question may have one.
                Err(_) => self.take(now),
            }
        }
    }

    /// The answer, if it came.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Answer> {
        let (lookup, _) = self.looking.as_ref()?;
        let answer = lookup.poll()?;
        self.take(now);
        Some(match answer {
            Ok(addresses) => {
                let before = std::mem::replace(&mut self.addresses, addresses);
                if before.is_empty() { Answer::Found } else { Answer::Known }
            }
            Err(error) => Answer::Unknown(error),
        })
    }

    fn take(&mut self, now: Instant) {
        self.looking = None;
        self.answered = Some(now);
        self.answers += 1;
    }

    /// Until when a connection waits for the answer to the question that is under way.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        self.looking.as_ref().filter(|_| !self.addresses.is_empty()).map(|(_, since)| *since + RESOLVER_TIME)
    }

    /// When to ask again although nobody wants to connect.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.answered.filter(|_| self.addresses.is_empty() && self.looking.is_none()).map(|at| at + RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn answer(name: &mut Name, now: Instant, answer: io::Result<Vec<SocketAddr>>) -> Option<Answer> {
        name.ask(now, |_| Ok(Lookup::answered(answer)));
        name.poll(now)
    }

    fn unknown() -> io::Result<Vec<SocketAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[test]
    fn a_name_that_is_not_known_yet_is_asked_for_until_it_is() {
        let (mut name, now) = (Name::new("db"), Instant::now());
        assert!(matches!(answer(&mut name, now, unknown()), Some(Answer::Unknown(_))));
        assert!(!name.is_fresh(now), "nobody is told to go nowhere");
        assert_eq!(name.next_timeout(), Some(now + RETRY));
        let later = now + RETRY;
        assert!(matches!(answer(&mut name, later, Ok(vec![address("10.0.0.1:0")])), Some(Answer::Found)));
        assert_eq!((name.next_timeout(), name.is_fresh(later)), (None, true));
    }

    #[test]
    fn what_is_known_is_good_for_half_a_minute() {
        let (mut name, now) = (Name::new("db"), Instant::now());
        answer(&mut name, now, Ok(vec![address("10.0.0.1:0")]));
        assert!(name.is_fresh(now + FRESH / 2) && !name.is_fresh(now + FRESH));
        let moved = answer(&mut name, now + FRESH, Ok(vec![address("10.0.0.2:0")]));
        assert!(matches!(moved, Some(Answer::Known)));
        assert_eq!((name.addresses(), name.answers()), (&[address("10.0.0.2:0")][..], 2));
    }

    #[test]
    fn a_resolver_that_fails_takes_nothing_away_and_is_not_waited_for() {
        let (mut name, now) = (Name::new("db"), Instant::now());
        answer(&mut name, now, Ok(vec![address("10.0.0.1:0")]));
        let later = now + FRESH;
        name.ask(later, |_| Ok(Lookup::answered(unknown())));
        assert_eq!(name.waits_until(), Some(later + RESOLVER_TIME));
        name.ask(later, |_| panic!("it is asked already"));
        assert!(matches!(name.poll(later), Some(Answer::Unknown(_))));
        assert_eq!(name.addresses(), [address("10.0.0.1:0")]);
        assert!(name.is_fresh(later), "connections go on without it");
    }
}
