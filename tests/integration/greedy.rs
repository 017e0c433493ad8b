//! What one admitted client can take from the others at a relay, and what comes of one that asks for much at once.

use std::time::Duration;

use vp::link::Frame;
use vp::wire::{CloseCode, Control};

use crate::harness::hostile::{Heard, Raw, app_name};
use crate::harness::{Relay, World};

#[test]
fn a_link_that_is_wanted_at_one_worker_after_the_other_in_one_write_is_answered_to_the_end() {
    let world = World::new();
    let relay = Relay::start(&world, &["--allow", "peers", "--workers", "2"]);
    let callees: Vec<(String, Raw)> = (0..6)
        .map(|n| {
            let (app, mut raw) = (format!("app{n}"), Raw::attach(&relay, "west"));
            raw.listen(&app);
            raw.settle();
            (app, raw)
        })
        .collect();
    let mut caller = Raw::attach(&relay, "east");
    let rounds = 5;
    for (app, callee) in callees.iter().cycle().take(rounds * callees.len()) {
        let circuit = caller.connect(callee.id(), app_name(app), 0, vec![1]);
        caller.reset(circuit, CloseCode::Cancelled.to_wire());
        (0..200).for_each(|_| caller.listen("own"));
    }
    let listens = rounds * callees.len() * 200;
    caller.ping(7);
    // The relay reads on only while somebody takes its answers.
    let mut answers = 0;
    while !caller.write_within(Duration::from_millis(1)) || answers < listens {
        let heard = caller.wait("an answer to each LISTEN", |heard| match heard {
            Heard::Frame(Frame::Control(Control::Listening { .. })) => Some(1),
            Heard::Frame(_) => Some(0),
            _ => None,
        });
        answers += heard;
    }
    caller.settle();
    for (_, mut callee) in callees {
        callee.settle();
    }
}
