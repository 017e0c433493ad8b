//! What a relay tells of its links and circuits.

use super::*;
use crate::relay::{EndReason, Source};

/// One word for each fact, with what it says of circuits.
fn told(relay: &mut RelayCore) -> Vec<(&'static str, u64, u64)> {
    let facts = std::iter::from_fn(|| relay.poll_fact());
    let word = |fact| match fact {
        Fact::Attached { .. } => ("attached", 0, 0),
        Fact::Detached { .. } => ("detached", 0, 0),
        Fact::Listening { .. } => ("listening", 0, 0),
        Fact::Unlistened { .. } => ("unlistened", 0, 0),
        Fact::Opened(_) => ("opened", 0, 0),
        Fact::Closed(closed) => ("closed", closed.caller_bytes, closed.callee_bytes),
    };
    facts.map(word).collect()
}

#[test]
fn a_circuits_life_is_told_once_with_what_went_each_way() {
    for workers in [1, 2] {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let (mut caller, mut callee) = joined(now, &mut relay, id);
        let begins = ["attached", "attached", "listening", "opened"].map(|word| (word, 0, 0));
        assert_eq!(told(&mut relay), begins, "{workers} workers");
        caller.data(2, b"hello");
        caller.bare(Kind::Fin, 2, 0);
        caller.flush(now, &mut relay);
        callee.all(now, &mut relay);
        assert_eq!(told(&mut relay), [], "half of it is open");
        callee.data(1, b"late reply");
        callee.bare(Kind::Fin, 1, 0);
        callee.say(Control::Unlisten { name: app("a") });
        callee.say(Control::Unlisten { name: app("a") });
        callee.flush(now, &mut relay);
        caller.all(now, &mut relay);
        let mut ends = told(&mut relay);
        ends.sort_unstable();
        assert_eq!(ends, [("closed", 5, 10), ("unlistened", 0, 0)]);
        relay.handle_closed(now, caller.id);
        assert_eq!(told(&mut relay), [("detached", 0, 0)]);
    }
}

#[test]
fn who_is_called_for_what_and_why_it_ended_is_told() {
    for workers in [1, 2] {
        let start = Instant::now();
        let (mut relay, id) = relay(workers);
        let (mut caller, mut callee) = joined(start, &mut relay, id);
        let facts: Vec<Fact> = std::iter::from_fn(|| relay.poll_fact()).collect();
        let Some(Fact::Opened(info)) = facts.last() else { panic!("{facts:?}") };
        assert_eq!((info.from, info.to, &info.name), (caller.peer, callee.peer, &app("a")));
        assert_eq!((info.caller.circuit, info.callee.circuit), (2, 1));
        // The callee's word is the reason, though its link ends before the caller hears it.
        let later = start + Duration::from_secs(3);
        callee.link_reset(1, CloseCode::Failed);
        callee.flush(later, &mut relay);
        relay.handle_closed(later, callee.id);
        caller.all(later, &mut relay);
        let facts: Vec<Fact> = std::iter::from_fn(|| relay.poll_fact()).collect();
        let closed = facts.iter().find_map(|fact| if let Fact::Closed(closed) = fact { Some(closed) } else { None });
        let closed = closed.expect("it is closed");
        assert_eq!((closed.why, closed.lasted), (CloseReason::Reset(CloseCode::Failed), later - start));
        let (link, peer, why) = (closed.info.callee.link, callee.peer, EndReason::Closed);
        let here = Some(Source::of([127, 0, 0, 1].into()));
        assert!(facts.contains(&Fact::Detached { link, peer, source: here, why }));
        assert!(facts.iter().all(|fact| fact.source() == here), "anybody may attach: {facts:?}");
    }
}

#[test]
fn a_link_that_ends_closes_its_circuits_even_those_that_were_just_accepted() {
    for workers in [1, 2] {
        let now = Instant::now();
        let (mut relay, id) = relay(workers);
        let (caller, callee) = joined(now, &mut relay, id);
        relay.handle_closed(now, if workers == 1 { callee.id } else { caller.id });
        assert_eq!(why_closed(&mut relay), [CloseReason::LinkEnded]);
    }
}
