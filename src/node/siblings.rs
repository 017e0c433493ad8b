//! Whether another process of the same key receives the same: a second receiver by mistake, or a copied key.
//!
//! The relay brings calls to whoever attached last, and nobody would hear of it. So each process asks the others itself, by a
//! name that every process listens to which receives that application: [`name_of`]. Other processes of the key have other names,
//! but for one in 255, so it matters little how many there are. A link that only seems to be there answers nothing, so a
//! process that was restarted, or whose link was replaced, makes no noise. The one that answers has proven to have the key; that
//! the other one asked is the relay's word, which could keep both from meeting anybody anyway.

use super::claim::Claim;
use super::handshakes::Standing;
use crate::names::AppName;
use crate::wire::Name;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The name by which those are called that receive this application: what anybody can guess, and so begins with 15 zero bytes. There
/// are few of them, as a relay bounds the names of a link, and has them for other things. A session has one with a probability of
/// 2^-120.
pub(super) fn name_of(app: &AppName) -> Name {
    let mut name = [0; 16];
    let [hash, ..] = *blake3::hash(app.as_str().as_bytes()).as_bytes();
    // With 0 it is another question's.
    name[15] = hash.max(1);
    Name::Session(name)
}

/// Whether a session's name is one of those.
pub(super) fn is_siblings(name: &[u8; 16]) -> bool {
    matches!(name, [head @ .., last] if *last > 0 && head.iter().all(|byte| *byte == 0))
}

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

/// What another process's claim comes to.
pub(super) struct Verdict {
    /// What we say of ourselves.
    pub ours: Standing,
    /// What that makes of us.
    pub sharing: Sharing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Not yet: others do not find us.
    Early,
    Wanted,
    /// Under way. What it says counts until it is answered: the other one may be asking, too, and both are to compare the
    /// same two claims, however long those take.
    Asked {
        held: u64,
    },
    Answered,
}

#[derive(Debug)]
struct Received {
    question: Question,
    /// Since when we receive this, as far as the others are concerned.
    since: Option<Instant>,
    told: Option<Instant>,
}

/// What a process knows of the others with its key.
#[derive(Debug)]
pub(super) struct Siblings {
    number: u64,
    exclusive: bool,
    apps: BTreeMap<AppName, Received>,
    /// Something may be wanted.
    asks: bool,
}

impl Siblings {
    /// Of a process with this number, which means to be the only one or not.
    pub(super) fn new(number: u64, exclusive: bool) -> Siblings {
        Siblings { number, exclusive, apps: BTreeMap::new(), asks: false }
    }

    pub(super) fn add(&mut self, app: AppName) {
        self.apps.insert(app, Received { question: Question::Early, since: None, told: None });
    }

    /// The name by which nobody is to be found any more, if it is no other application's too.
    pub(super) fn remove(&mut self, app: &AppName) -> Option<Name> {
        self.apps.remove(app);
        let name = name_of(app);
        self.apps.keys().all(|other| name_of(other) != name).then_some(name)
    }

    /// There is another link: whoever is there now has not been asked.
    pub(super) fn forget_answers(&mut self) {
        self.apps.values_mut().for_each(|received| received.question = Question::Early);
        self.asks = false;
    }

    /// Others find us by this name now: those who come later ask us.
    pub(super) fn handle_listening(&mut self, name: &Name) {
        for (_, received) in self.apps.iter_mut().filter(|(app, _)| name_of(app) == *name) {
            if received.question == Question::Early {
                received.question = Question::Wanted;
                self.asks = true;
            }
        }
    }

    /// Whoever means to be the only one takes no call before it knows that it is.
    pub(super) fn may_receive(&self, app: &AppName) -> bool {
        !self.exclusive || self.apps.get(app).is_some_and(|received| received.since.is_some())
    }

    /// What we say of ourselves about this application, if we receive it.
    fn claim(&self, now: Instant, app: &AppName) -> Option<Claim> {
        let Received { question, since, .. } = self.apps.get(app)?;
        let millis = |since| u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let held = match question {
            Question::Asked { held } => *held,
            Question::Early | Question::Wanted | Question::Answered => {
                since.map_or(0, |since| millis(since).saturating_add(1))
            }
        };
        Some(Claim { number: self.number, held, exclusive: self.exclusive, app: app.clone() })
    }

    /// The question to ask next, with so many under way.
    pub(super) fn next(&mut self, now: Instant, under_way: usize) -> Option<Claim> {
        if !self.asks || under_way >= ASKING_MAX {
            return None;
        }
        let wanted = self.apps.iter().find(|(_, received)| received.question == Question::Wanted);
        let claim = wanted.and_then(|(app, _)| self.claim(now, app));
        self.asks = claim.is_some();
        let claim = claim?;
        if let Some(received) = self.apps.get_mut(&claim.app) {
            received.question = Question::Asked { held: claim.held };
        }
        Some(claim)
    }

    /// Another process with our key claims what we may receive. Nothing if we do not, or if it is ourselves: our own link gets
    /// the question too.
    pub(super) fn judge(&self, now: Instant, theirs: &Claim) -> Option<Verdict> {
        let ours = self.claim(now, &theirs.app).filter(|ours| ours.number != theirs.number)?;
        let standing = Standing { is_older: ours.is_older_than(theirs), exclusive: ours.exclusive };
        let sharing = match (ours.exclusive || theirs.exclusive, standing.is_older) {
            (true, false) => Sharing::Yielded,
            (true, true) => Sharing::Kept,
            (false, _) => Sharing::Overtaken,
        };
        Some(Verdict { ours: standing, sharing })
    }

    /// What the answer of another process makes of us.
    pub(super) fn sharing_with(&self, theirs: Standing) -> Sharing {
        match (self.exclusive || theirs.exclusive, theirs.is_older) {
            (true, true) => Sharing::Yielded,
            (true, false) => Sharing::Kept,
            (false, _) => Sharing::Joined,
        }
    }

    /// Counts it as told that this is shared. False if that was told not long ago.
    pub(super) fn tell(&mut self, now: Instant, app: &AppName) -> bool {
        let Some(received) = self.apps.get_mut(app) else { return false };
        let old = received.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_AGAIN);
        if !old {
            received.told = Some(now);
        }
        !old
    }

    /// Nobody older objects, or nobody who could be asked. True if calls may come from now on that could not before.
    pub(super) fn hold(&mut self, now: Instant, app: &AppName) -> bool {
        self.asks = true;
        let Some(received) = self.apps.get_mut(app) else { return false };
        let is_new = received.since.is_none();
        if let Question::Asked { .. } = received.question {
            received.question = Question::Answered;
        }
        received.since.get_or_insert(now);
        is_new && self.exclusive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppName {
        name.parse().expect("a name")
    }

    fn siblings(number: u64, exclusive: bool) -> Siblings {
        let mut siblings = Siblings::new(number, exclusive);
        siblings.add(app("x"));
        siblings
    }

    #[test]
    fn nobody_is_asked_before_others_find_us_and_each_is_asked_once_a_link() {
        let mut siblings = siblings(1, false);
        siblings.add(app("y"));
        let now = Instant::now();
        let next = |siblings: &mut Siblings, under_way| siblings.next(now, under_way).map(|claim| claim.app);
        assert_eq!(next(&mut siblings, 0), None);
        let found = |siblings: &mut Siblings, name| siblings.handle_listening(&name_of(&app(name)));
        found(&mut siblings, "x");
        assert_eq!(next(&mut siblings, ASKING_MAX), None);
        assert_eq!(
            [0, 1].map(|n| next(&mut siblings, n)),
            [Some(app("x")), None],
            "by the other name nobody finds us yet"
        );
        ["y", "x"].into_iter().for_each(|name| found(&mut siblings, name));
        assert_eq!([1, 2].map(|n| next(&mut siblings, n)), [Some(app("y")), None]);
        siblings.forget_answers();
        assert_eq!(next(&mut siblings, 0), None, "of the new link nobody knows yet");
        found(&mut siblings, "x");
        assert_eq!(next(&mut siblings, 0), Some(app("x")));
    }

    #[test]
    fn a_name_is_the_applications_and_no_sessions_and_goes_with_the_last_application_that_has_it() {
        let names: Vec<AppName> = (0..2000).map(|number| app(&number.to_string())).collect();
        let twin = names[1..].iter().find(|name| name_of(name) == name_of(&names[0])).expect("of so many one");
        let mut siblings = Siblings::new(1, false);
        [&names[0], twin].into_iter().for_each(|name| siblings.add(name.clone()));
        assert_eq!([&names[0], twin].map(|name| siblings.remove(name)), [None, Some(name_of(twin))]);
        assert_ne!(name_of(&app("x")), name_of(&app("y")));
        assert!(name_of(&app("x")).is_guessable(), "a stranger is to hear of it what it hears of an absent peer's");
        assert!(!is_siblings(&[0; 16]) && matches!(name_of(twin), Name::Session(name) if is_siblings(&name)));
    }

    #[test]
    fn the_two_sides_of_a_question_come_to_the_same_end() {
        let now = Instant::now();
        for (exclusive, asked_says, asker_says) in
            [(false, Sharing::Overtaken, Sharing::Joined), (true, Sharing::Kept, Sharing::Yielded)]
        {
            let (mut old, new) = (siblings(2, exclusive), siblings(1, false));
            old.hold(now, &app("x"));
            let claim = new.claim(now, &app("x")).expect("it receives it");
            let verdict = old.judge(now, &claim).expect("it is another process");
            assert_eq!((verdict.sharing, new.sharing_with(verdict.ours)), (asked_says, asker_says));
        }
    }

    #[test]
    fn our_own_question_is_nobodys() {
        let one = siblings(1, true);
        let claim = one.claim(Instant::now(), &app("x")).expect("it receives it");
        assert!(one.judge(Instant::now(), &claim).is_none());
    }

    #[test]
    fn only_who_is_to_be_the_only_one_waits_for_the_answer() {
        let now = Instant::now();
        for exclusive in [false, true] {
            let mut one = siblings(1, exclusive);
            assert_eq!(one.may_receive(&app("x")), !exclusive);
            assert_eq!((one.hold(now, &app("x")), one.hold(now, &app("x"))), (exclusive, false));
            assert!(one.may_receive(&app("x")));
        }
    }

    #[test]
    fn a_second_process_is_worth_a_line_an_hour() {
        let now = Instant::now();
        let mut one = siblings(1, false);
        assert!(one.tell(now, &app("x")) && !one.tell(now + TOLD_AGAIN / 2, &app("x")));
        assert!(one.tell(now + TOLD_AGAIN, &app("x")));
    }

    const DELAY: Duration = Duration::from_millis(40);

    /// A process that has received it since then, if it does, and has not asked on its new link.
    fn process(number: u64, since: Option<Instant>) -> Siblings {
        let mut siblings = siblings(number, true);
        siblings.apps.values_mut().for_each(|received| received.since = since);
        siblings.handle_listening(&name_of(&app("x")));
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
            let first = one.next(asks_at, 0).expect("a question");
            let second = two.next(also_at, 0).expect("a question");
            let at_two = two.judge(asks_at + DELAY, &first).expect("another process");
            let at_one = one.judge(also_at + DELAY, &second).expect("another process");
            assert_ne!(at_two.ours.is_older, at_one.ours.is_older, "{row:?}");
        }
    }

    #[test]
    fn whoever_has_its_answer_counts_on() {
        let start = Instant::now();
        let mut siblings = process(1, None);
        assert_eq!(siblings.next(start, 0).map(|claim| claim.held), Some(0));
        assert_eq!(siblings.claim(start + DELAY, &app("x")).map(|claim| claim.held), Some(0));
        assert!(siblings.hold(start + DELAY, &app("x")) && siblings.next(start + DELAY, 0).is_none());
        assert_eq!(siblings.claim(start + 2 * DELAY, &app("x")).map(|claim| claim.held), Some(41));
        siblings.forget_answers();
        siblings.handle_listening(&name_of(&app("x")));
        assert_eq!(siblings.next(start + 3 * DELAY, 0).map(|claim| claim.held), Some(81));
    }
}
