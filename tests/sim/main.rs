//! Deterministic simulation: the pure machines under virtual time, cut, stalled, split and resumed by a seed.
//!
//! A seed is a whole history: print it and it can be run again (`VP_SIM_SEED=n cargo test --test sim`). `VP_SIM_COUNT`
//! sets how many seeds a run takes. Each planted defect (canary) must be found, or the simulation proves nothing.

mod chain;
mod pair;
mod random;

use pair::{Fate, Plan, run};
use vp::session::canary::Canary;

/// Seeds that once showed a defect.
const REGRESSIONS: &[u64] = &[
    // A second death while the first one's records were half sent: OPEN went out behind its stream's data.
    768,
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
        let found = (0..count()).find(|seed| run(&Plan { canary: Some(canary), ..Plan::of_seed(*seed) }).is_err());
        assert!(found.is_some(), "{canary:?} was not found");
    }
}

/// Client, relay, client: relay deaths, cuts, black holes and clock jumps.
#[test]
fn nodes_find_each_other_again_whatever_happens_to_the_relay() {
    if let Some(seed) = std::env::var("VP_SIM_CHAIN_SEED").ok().and_then(|text| text.parse().ok()) {
        chain::run(seed);
        return;
    }
    let mut faults = 0;
    for seed in 0..count() {
        let run = std::panic::catch_unwind(|| chain::run(seed));
        faults += run.unwrap_or_else(|_| panic!("seed {seed} (VP_SIM_CHAIN_SEED={seed})"));
    }
    assert!(faults > count(), "the schedules did harm: {faults} faults");
}
