//! Whether another process of the same key receives the same: a second receiver by mistake, or a copied key.
//!
//! The relay brings calls to whoever attached last, and nobody would hear of it. So each process asks the others itself, by a
//! name that every process listens to which receives anything: [`SIBLING`]. A link that only seems to be there answers
//! nothing, so a process that was restarted, or whose link was replaced, makes no noise. The one that answers has proven to
//! have the key; that the other one asked is the relay's word, which could keep both from meeting anybody anyway.

use super::circuits::{Circuit, Use};
use super::claim::Claim;
use super::{Event, Failure, Key, Node, Phase};
use crate::identity::PeerId;
use crate::names::AppName;
use crate::noise::{ExpectReply, Initiator, MESSAGE_1_BYTES, Purpose, Responder, Suite};
use crate::wire::{CloseCode, Name};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The first of the early bytes of such a question.
pub const CLAIM: u8 = 4;
/// The name that is called. A session has it with a probability of 2^-128.
pub const SIBLING: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Questions are no session's.
const NOBODY: Key = Key(u64::MAX);
/// Questions of one node under way at once: they take places at the relay that calls need.
const ASKING_MAX: usize = 4;
/// A process that comes and goes beside us is worth a line so often.
const TOLD_AGAIN: Duration = Duration::from_secs(60 * 60);

/// How an application came to be received by two processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// We came to another: what comes now comes to us.
    Joined,
    /// Another came to us: what comes now goes there.
    Overtaken,
    /// One of the two is to be the only one, and we are the older: the other one ends.
    Kept,
    /// One of the two is to be the only one, and we are the newer: we end.
    Yielded,
}

/// What whoever was asked says: whether it is the older, and whether it means to be the only one.
fn caps(older: bool, exclusive: bool) -> [u8; 2] {
    [u8::from(older), u8::from(exclusive)]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Wanted,
    /// Under way. What it says counts until it is answered: the other one may be asking, too, and both are to compare the
    /// same two claims, however long those take.
    Asked {
        held: u64,
    },
    Answered,
}

#[derive(Debug)]
struct Standing {
    question: Question,
    /// Since when we receive this, as far as the others are concerned.
    since: Option<Instant>,
    told: Option<Instant>,
}

/// What a process knows of the others with its key.
#[derive(Debug)]
pub struct Siblings {
    number: u64,
    exclusive: bool,
    apps: BTreeMap<AppName, Standing>,
}

impl Siblings {
    /// Of a process with this number, which means to be the only one or not.
    pub fn new(number: u64, exclusive: bool) -> Siblings {
        Siblings { number, exclusive, apps: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, app: AppName) {
        self.apps.insert(app, Standing { question: Question::Wanted, since: None, told: None });
    }

    pub(super) fn remove(&mut self, app: &AppName) {
        self.apps.remove(app);
    }

    /// There is another link: whoever is there now has not been asked.
    pub(super) fn forget_answers(&mut self) {
        self.apps.values_mut().for_each(|standing| standing.question = Question::Wanted);
    }

    /// Whoever means to be the only one takes no call before it knows that it is.
    pub(super) fn may_receive(&self, app: &AppName) -> bool {
        !self.exclusive || self.apps.get(app).is_some_and(|standing| standing.since.is_some())
    }

    fn claim(&self, now: Instant, app: &AppName) -> Option<Claim> {
        let Standing { question, since, .. } = self.apps.get(app)?;
        let millis = |since| u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let held = match question {
            Question::Asked { held } => *held,
            Question::Wanted | Question::Answered => since.map_or(0, |since| millis(since).saturating_add(1)),
        };
        Some(Claim { number: self.number, held, exclusive: self.exclusive, app: app.clone() })
    }

    fn next_wanted(&mut self, now: Instant) -> Option<Claim> {
        let wanted = self.apps.iter().find(|(_, standing)| standing.question == Question::Wanted);
        let claim = self.claim(now, wanted?.0)?;
        if let Some(standing) = self.apps.get_mut(&claim.app) {
            standing.question = Question::Asked { held: claim.held };
        }
        Some(claim)
    }

    /// Whether it is to be told that this is shared.
    fn is_news(&mut self, now: Instant, app: &AppName) -> bool {
        let Some(standing) = self.apps.get_mut(app) else { return false };
        let old = standing.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_AGAIN);
        if !old {
            standing.told = Some(now);
        }
        !old
    }

    /// Nobody older objects. True if that is new.
    fn hold(&mut self, now: Instant, app: &AppName) -> bool {
        let Some(standing) = self.apps.get_mut(app) else { return false };
        let is_new = standing.since.is_none();
        if let Question::Asked { .. } = standing.question {
            standing.question = Question::Answered;
        }
        standing.since.get_or_insert(now);
        is_new
    }
}

impl Node {
    /// Registers an application, where nothing speaks against it.
    pub(super) fn send_listen_app(&mut self, app: AppName) {
        if self.findable && self.siblings.may_receive(&app) {
            self.send_listen(Name::App(app));
        }
    }

    /// Asks those who are there by now. Later ones ask us.
    pub(super) fn ask_siblings(&mut self, now: Instant) {
        while self.is_attached()
            && self.circuits.values().filter(|c| matches!(c.used_for, Use::Claiming { .. })).count() < ASKING_MAX
            && let Some(claim) = self.siblings.next_wanted(now)
        {
            self.ask_sibling(now, claim);
        }
        self.refresh_busy(now);
    }

    fn ask_sibling(&mut self, now: Instant, claim: Claim) {
        let (suite, context, us) = (Suite::preferred(), claim.encode(), self.config.identity.id());
        let started = Initiator::start(suite, Purpose::Session, &self.config.identity, us, &context, &[]);
        let app = claim.app;
        let Ok((reply, first)) = started else { return self.hold(now, &app) };
        let mut early = super::calls::early(CLAIM, suite, &first);
        early.extend_from_slice(&context);
        let circuit = self.connect(us, Name::Session(SIBLING), 0, early);
        self.circuits.insert(circuit, Circuit::new(NOBODY, Use::Claiming { app, reply: Box::new(reply) }));
    }

    /// Another process of our key asks. Our own link gets the question too, and those that listen for something else: they are
    /// not here, so that it goes to the next.
    pub(super) fn answer_claim(
        &mut self,
        now: Instant,
        from: &PeerId,
        hello: (u8, &[u8]),
    ) -> Result<Vec<u8>, CloseCode> {
        let (message, context) = hello.1.split_at_checked(MESSAGE_1_BYTES).ok_or(CloseCode::Protocol)?;
        let theirs = Claim::decode(context).ok_or(CloseCode::Protocol)?;
        let ours = self.siblings.claim(now, &theirs.app).filter(|ours| ours.number != theirs.number);
        let ours = ours.filter(|_| *from == self.config.identity.id() && !self.fatal).ok_or(CloseCode::NotHere)?;
        let suite = Suite::try_from(hello.0).map_err(|_| CloseCode::Protocol)?;
        let older = ours.is_older_than(&theirs);
        let caps = caps(older, ours.exclusive);
        let answer = Responder::accept(suite, Purpose::Session, &self.config.identity, context, message, &caps);
        let (_, second) = answer.map_err(|_| CloseCode::Refused)?;
        let one = ours.exclusive || theirs.exclusive;
        match (one, older) {
            (true, false) => self.give_way(ours.app),
            (true, true) => self.tell_shared(now, ours.app, Sharing::Kept),
            (false, _) => self.tell_shared(now, ours.app, Sharing::Overtaken),
        }
        Ok(second)
    }

    /// Somebody answered, and has proven to have our key or not.
    pub(super) fn handle_claim_answer(&mut self, now: Instant, what: (u32, AppName), reply: ExpectReply, early: &[u8]) {
        let (circuit, app) = what;
        self.send_reset(circuit, CloseCode::Done);
        let proven = reply.finish(early, &[]).ok().filter(|(_, proven)| !self.clock.has_passed(&proven.card));
        let Some((_, proven)) = proven else { return self.hold(now, &app) };
        let (older, one) = match proven.caps.as_slice() {
            [older, exclusive, ..] => (*older == 1, *exclusive == 1 || self.siblings.exclusive),
            _ => (false, self.siblings.exclusive),
        };
        match (one, older) {
            (true, true) => return self.give_way(app),
            (true, false) => self.tell_shared(now, app.clone(), Sharing::Kept),
            (false, _) => self.tell_shared(now, app.clone(), Sharing::Joined),
        }
        self.hold(now, &app);
    }

    /// Nobody older objects, or nobody who could be asked.
    pub(super) fn hold(&mut self, now: Instant, app: &AppName) {
        if self.siblings.hold(now, app) && self.siblings.exclusive {
            self.send_listen_app(app.clone());
        }
        self.ask_siblings(now);
    }

    fn tell_shared(&mut self, now: Instant, app: AppName, how: Sharing) {
        if self.siblings.is_news(now, &app) {
            self.events.push_back(Event::Shared { app, how });
        }
    }

    /// Ends, like a process that was told to. Callers find the other one.
    fn give_way(&mut self, app: AppName) {
        self.events.push_back(Event::Shared { app, how: Sharing::Yielded });
        for entry in self.entries.values_mut() {
            if let Phase::Up { session, .. } = &mut entry.phase {
                session.close(CloseCode::GoingAway);
            }
        }
        self.fail_all(Failure::Yielded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(40);

    fn app() -> AppName {
        "x".parse().expect("a name")
    }

    /// A process that has received it since then, if it does, and has not asked on its new link.
    fn process(number: u64, since: Option<Instant>) -> Siblings {
        let mut siblings = Siblings::new(number, true);
        siblings.add(app());
        siblings.apps.values_mut().for_each(|standing| standing.since = since);
        siblings
    }

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Each has its question on the way before it hears that of the other.
    #[test]
    fn of_two_whose_questions_cross_exactly_one_is_older_and_both_know_which() {
        // For how long each has received it, which number each has, and how much later the second asks.
        let rows = [
            ((Some(5000), 1), (Some(5000), 2), 0),
            ((Some(5000), 2), (Some(5000), 1), 0),
            ((Some(5000), 1), (Some(5010), 2), 0),
            ((Some(5010), 1), (Some(5000), 2), 30),
            ((Some(5000), 1), (Some(5039), 2), 39),
            ((Some(5000), 9), (Some(9000), 2), 10),
            ((None, 1), (None, 2), 20),
            ((None, 2), (None, 1), 20),
            ((None, 1), (Some(1), 2), 20),
            ((Some(20), 1), (None, 2), 20),
        ];
        let start = Instant::now() + Duration::from_secs(60);
        for row @ ((one_held, one_number), (two_held, two_number), later) in rows {
            let since = |held: Option<u64>| held.map(|held| start - millis(held));
            let (mut one, mut two) = (process(one_number, since(one_held)), process(two_number, since(two_held)));
            let (asks_at, also_at) = (start, start + millis(later));
            let first = one.next_wanted(asks_at).expect("a question");
            let second = two.next_wanted(also_at).expect("a question");
            let at_two = two.claim(asks_at + DELAY, &app()).expect("it receives it");
            let at_one = one.claim(also_at + DELAY, &app()).expect("it receives it");
            let (two_is_older, one_is_older) = (at_two.is_older_than(&first), at_one.is_older_than(&second));
            assert_ne!(two_is_older, one_is_older, "{row:?}");
        }
    }

    #[test]
    fn whoever_has_its_answer_counts_on() {
        let start = Instant::now();
        let mut siblings = process(1, None);
        assert_eq!(siblings.next_wanted(start).map(|claim| claim.held), Some(0));
        assert_eq!(siblings.claim(start + DELAY, &app()).map(|claim| claim.held), Some(0));
        assert!(siblings.hold(start + DELAY, &app()) && siblings.next_wanted(start + DELAY).is_none());
        assert_eq!(siblings.claim(start + 2 * DELAY, &app()).map(|claim| claim.held), Some(41));
        siblings.forget_answers();
        assert_eq!(siblings.next_wanted(start + 3 * DELAY).map(|claim| claim.held), Some(81));
    }
}
