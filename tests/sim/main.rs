//! Deterministic simulation: the pure machines under virtual time, cut, stalled, split and resumed by a seed.
//!
//! A seed is a whole history: print it and it can be run again (`VP_SIM_SEED=n cargo test --test sim`). `VP_SIM_COUNT`
//! sets how many seeds a run takes. Each planted defect (canary) must be found, or the simulation proves nothing.

mod chain;
mod crowd;
mod limits;
mod nodes;
mod pair;
mod random;
mod siblings;
mod waits;

use pair::{Fate, Plan, run};
use vp::session::canary::Canary;
use vp::wire::features::TRIAL;

/// Seeds that once showed a defect.
const REGRESSIONS: &[u64] = &[
    // A second death while the first one's records were half sent: OPEN went out behind its stream's data.
    768,
];

/// Those of whole nodes.
const CHAIN_REGRESSIONS: &[u64] = &[
    // The first: what both said last was still under way when the relay was looked at, and was taken for bytes that it had kept.
    // The second: both had let go of the session while the last words of one were still on its link, and it asked to be woken at
    // a time that had passed, over and over. The third: content in so many small pieces that the records around them were more than
    // was reckoned with. The fourth: content that was said again after a fault, beside what was in order of it already.
    3030, 5314, 10_654, 35_740,
];

fn count() -> u64 {
    std::env::var("VP_SIM_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

#[test]
fn sessions_survive_every_schedule() {
    if let Some(seed) = std::env::var("VP_SIM_SEED").ok().and_then(|text| text.parse().ok()) {
        run(&Plan::of_seed(seed)).unwrap_or_else(|fate| panic!("seed {seed}: {fate}"));
        return;
    }
    let seeds = REGRESSIONS.iter().copied().chain(0..count());
    let mut lanes = 0;
    for seed in seeds {
        match run(&Plan::of_seed(seed)) {
            Ok(told) => lanes += told.lanes,
            Err(fate) => panic!("seed {seed}: {fate}"),
        }
    }
    assert!(lanes > count(), "the schedules did cut lanes: {lanes} were joined");
}

#[test]
fn sessions_survive_when_buffers_change_hands() {
    let plan = |seed| Plan { in_parcels: true, ..Plan::of_seed(seed) };
    for seed in 0..count() / 5 {
        run(&plan(seed)).unwrap_or_else(|fate| panic!("seed {seed}: {fate}"));
    }
    let planted = |seed| Plan { canary: Some(Canary::CopyAppended), ..plan(seed) };
    assert!((0..count() / 5).any(|seed| run(&planted(seed)).is_err()), "a planted defect was not found");
}

#[test]
fn a_seed_is_a_whole_history() {
    for seed in 0..20 {
        let first = run(&Plan::of_seed(seed)).map(|told| told.digest).map_err(|fate: Fate| fate.to_string());
        let second = run(&Plan::of_seed(seed)).map(|told| told.digest).map_err(|fate: Fate| fate.to_string());
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn every_canary_is_found() {
    for canary in Canary::ALL {
        // Whatever somebody says besides takes places and gives occasion to tell what was forgotten.
        let plan = |seed| Plan { canary: Some(canary), unknown_one_in: 0, ..Plan::of_seed(seed) };
        let found = (0..count()).find(|seed| run(&plan(*seed)).is_err());
        assert!(found.is_some(), "{canary:?} was not found");
    }
}

/// Many streams of many kinds in one session, opened by both ends, read fast, slowly or not at all, reset, stopped and refused.
#[test]
fn a_crowd_of_streams_shares_a_session_and_none_stalls_another() {
    if let Some(seed) = std::env::var("VP_SIM_CROWD_SEED").ok().and_then(|text| text.parse().ok()) {
        crowd::run(seed, None).unwrap_or_else(|fate| panic!("seed {seed}: {fate}"));
        return;
    }
    let seeds = count() / 20;
    let mut told = crowd::Told::default();
    for seed in 0..seeds {
        match crowd::run(seed, None) {
            Ok(more) => told.add(&more),
            Err(fate) => panic!("seed {seed} (VP_SIM_CROWD_SEED={seed}): {fate}"),
        }
    }
    assert!(told.is_rich(seeds), "the crowds were of all kinds and met cuts: {told:?}");
}

#[test]
fn every_canary_of_crowds_is_found() {
    for canary in Canary::OF_CROWDS {
        let found = (0..count() / 20).find(|seed| crowd::run(*seed, Some(canary)).is_err());
        assert!(found.is_some(), "{canary:?} was not found");
    }
}

#[test]
fn whoever_opens_streams_without_end_ends_its_own_session() {
    limits::opens_without_end();
}

#[test]
fn whoever_waits_for_a_relay_goes_on_by_itself() {
    waits::for_a_relay();
}

#[test]
fn whoever_waits_for_a_peer_does_so_for_as_long_as_it_was_told() {
    waits::for_a_peer();
    waits::for_a_peer_that_is_stopped();
}

#[test]
fn whoever_waits_for_an_answer_of_the_relay_asks_again_over_the_next_link() {
    waits::for_an_answer();
}

#[test]
fn a_session_of_which_nothing_comes_ends_by_itself() {
    waits::in_a_session();
}

#[test]
fn many_processes_of_one_key_ask_each_other_little_and_find_who_receives_the_same() {
    siblings::of_many_apps();
    siblings::of_one_app();
}

#[test]
fn streams_that_are_over_leave_their_places_though_nobody_has_looked() {
    limits::turns_over_at_the_limit();
}

#[test]
fn fast_streams_that_are_read_no_more_leave_credit_to_others() {
    limits::fast_streams_that_stop_leave_credit();
}

#[test]
fn credit_that_has_become_scarce_is_told_though_nobody_consumes() {
    assert_eq!(limits::comes_through_scarce_credit(None), 200_000);
    assert!(limits::comes_through_scarce_credit(Some(Canary::SilentCredit)) < 200_000, "it was never scarce");
}

/// Frames lost and doubled between the ends, ends that are lost, and counts that are wrong, through a relay too.
#[test]
fn every_canary_in_a_chain_is_found() {
    let canaries = [
        Canary::NoRequeue,
        Canary::CopyAppended,
        Canary::LostFin,
        Canary::StaleLane,
        Canary::AckAhead,
        Canary::AckOffByOne,
        Canary::ConsumedEarly,
    ];
    for canary in canaries {
        assert!(
            (0..count()).any(|seed| goes_wrong(|plan| plan.canary = Some(canary), seed)),
            "{canary:?} was not found"
        );
    }
}

/// Whether a history goes wrong in a chain that is changed like this.
fn goes_wrong(change: impl Fn(&mut chain::Plan) + std::panic::RefUnwindSafe, seed: u64) -> bool {
    std::panic::catch_unwind(|| {
        let mut plan = chain::Plan::of_seed(seed);
        change(&mut plan);
        chain::run(plan);
    })
    .is_err()
}

#[test]
fn whoever_minds_what_a_later_version_says_is_found() {
    let goes_well = |seed, unknown_one_in| {
        run(&Plan { canary: Some(Canary::StrictTowardsLater), unknown_one_in, ..Plan::of_seed(seed) }).is_ok()
    };
    assert!((0..20).any(|seed| !goes_well(seed, 3)), "it was not found");
    assert!((0..20).all(|seed| goes_well(seed, 0)), "it shows though nobody is of a later version");
}

/// Two ends and a relay of different age: each feature is missing at each of them in turn, and everything works.
#[test]
fn versions_hold_together_whatever_each_of_them_has() {
    for features in chain::Plan::of_versions() {
        for seed in 0..count().div_ceil(100) {
            let told = std::panic::catch_unwind(|| {
                chain::run(chain::Plan { features: features.clone(), ..chain::Plan::of_seed(seed) })
            });
            assert!(told.is_ok(), "seed {seed} with {features:?}");
        }
    }
}

/// The other way round: who uses what the other has not named ends the session.
#[test]
fn a_feature_of_one_end_alone_would_be_noticed() {
    let canary = Some(Canary::OneEndsFeature);
    for features in chain::Plan::of_versions() {
        let both_have_it = features[..2].iter().all(|end| end.has(TRIAL));
        let went_wrong = (0..5).any(|seed| {
            let change = |plan: &mut chain::Plan| (plan.canary, plan.features) = (canary, features.clone());
            goes_wrong(change, seed)
        });
        assert_eq!(went_wrong, !both_have_it, "{features:?}");
    }
}

/// Client, relay, client: relay deaths, cuts, black holes and clock jumps.
#[test]
fn nodes_find_each_other_again_whatever_happens_to_the_relay() {
    if let Some(seed) = std::env::var("VP_SIM_CHAIN_SEED").ok().and_then(|text| text.parse().ok()) {
        chain::run(chain::Plan::of_seed(seed));
        return;
    }
    let (mut faults, mut held) = (0, 0);
    for seed in CHAIN_REGRESSIONS.iter().copied().chain(0..count()) {
        let run = std::panic::catch_unwind(|| chain::run(chain::Plan::of_seed(seed)));
        let told = run.unwrap_or_else(|_| panic!("seed {seed} (VP_SIM_CHAIN_SEED={seed})"));
        faults += told.faults;
        held = held.max(told.held_most_bytes);
    }
    assert!(faults > count(), "the schedules did harm: {faults} faults");
    assert!(held > 50_000, "the relay had much to forget: {held} bytes at most");
}

/// The same, by WebSocket: its handshake and its frames are cut wherever bytes are.
#[test]
fn nodes_find_each_other_again_by_websocket_whatever_happens_to_the_relay() {
    let mut faults = 0;
    for seed in 0..count().div_ceil(4) {
        let plan = chain::Plan { by_websocket: true, ..chain::Plan::of_seed(seed) };
        let run = std::panic::catch_unwind(|| chain::run(plan));
        faults += run.unwrap_or_else(|_| panic!("seed {seed}")).faults;
    }
    assert!(faults > count() / 4, "the schedules did harm: {faults} faults");
}

/// Of any patience: the relay's own does not depend on it.
#[test]
fn links_that_only_wait_show_signs_of_life() {
    for seconds in [1, 10, 60, 600] {
        (0..4).for_each(|seed| chain::waits_for_a_callee_that_has_ended(seed, std::time::Duration::from_secs(seconds)));
    }
}

/// Nobody else is blamed for what breaks because a process was stopped; and one that was stopped briefly loses nothing.
#[test]
fn a_process_that_was_stopped_blames_nobody_else() {
    use std::time::Duration;
    use vp::node::Down;
    let patient = Duration::from_secs(10);
    assert_eq!(chain::stops_for(Duration::from_secs(8), Duration::from_secs(1)), []);
    assert_eq!(chain::stops_for(Duration::from_secs(30), patient), [(0, Down::Paused)]);
}
