//! Each row of the table of waits, section 4.1 of DESIGN.md, and the tests that hold what ends it.

use super::read;

/// Tests of one file.
type InFile = (&'static str, &'static [&'static str]);
/// Where the tests are, and their names.
type Tests = &'static [InFile];

// Tests that hold more than one row.
const BY_ITSELF: InFile = ("tests/sim/main.rs", &["a_session_of_which_nothing_comes_ends_by_itself"]);
const WITHOUT_A_LANE: InFile =
    ("src/session/ending.rs", &["without_a_lane_a_session_waits_for_its_timeout_or_briefly_when_both_ends_closed"]);
const WITHOUT_A_RELAY: InFile = ("tests/sim/main.rs", &["whoever_waits_for_a_relay_goes_on_by_itself"]);
const PATIENCE: InFile =
    ("src/tools/ports/connections.rs", &["whoever_waits_does_so_until_its_time_and_each_is_told_of_once"]);

/// Who waits, for what, and the tests.
const TRIED: &[(&str, &str, Tests)] = &[
    (
        "node",
        "the relay's address, its connection, an answer of a proxy on the way, message 2, each",
        &[
            WITHOUT_A_RELAY,
            ("tests/integration/proxies.rs", &["a_proxy_that_says_nothing_is_named_when_its_time_is_up"]),
        ],
    ),
    (
        "node",
        "a sign of life on its link",
        &[WITHOUT_A_RELAY, ("src/link/heartbeat.rs", &["an_answer_keeps_it_alive_and_a_stuck_write_kills_it"])],
    ),
    (
        "node",
        "the peer it calls, or an answer about it",
        &[("tests/sim/main.rs", &["whoever_waits_for_a_peer_does_so_for_as_long_as_it_was_told"])],
    ),
    (
        "node",
        "an answer of the relay to a question about a peer, or about others of its key",
        &[
            ("tests/sim/main.rs", &["whoever_waits_for_an_answer_of_the_relay_asks_again_over_the_next_link"]),
            ("src/relay/router/tests/mod.rs", &["nobody_there_means_at_once_without_patience_and_later_with_it"]),
            ("src/node/siblings.rs", &["nobody_is_asked_before_others_find_us_and_each_is_asked_once_a_link"]),
        ],
    ),
    (
        "node",
        "message 3 of a caller",
        &[(
            "src/node/tests/sessions.rs",
            &["a_caller_that_never_says_who_it_is_is_forgotten_in_time_and_others_find_a_place_before"],
        )],
    ),
    (
        "node",
        "room for a caller that was turned back",
        &[(
            "src/node/unheard.rs",
            &["whoever_was_turned_back_is_heard_again_when_there_is_room_and_not_at_the_pace_of_others"],
        )],
    ),
    (
        "node",
        "the first bytes of the answer to a request that carries a link; the end of one that waits for something to be said",
        &[(
            "src/carrier/tests/requests.rs",
            &["somebody_who_holds_answers_back_is_found_out_and_each_answer_is_whole_from_then_on"],
        )],
    ),
    (
        "node",
        "a command on the way that has closed its streams to say by its end why; one that is no more needed to end",
        &[
            ("src/run/leavers.rs", &["a_command_that_will_not_end_is_killed_in_time"]),
            (
                "tests/integration/proxies.rs",
                &["a_command_that_has_closed_its_streams_and_goes_on_is_waited_for_a_moment"],
            ),
        ],
    ),
    (
        "session",
        "a sign of life on its lane",
        &[
            BY_ITSELF,
            ("tests/integration/breaks.rs", &["black_hole_under_an_idle_session_is_noticed_within_ten_seconds"]),
        ],
    ),
    ("session", "a lane", &[BY_ITSELF, WITHOUT_A_LANE]),
    ("session", "the peer to know of the end", &[BY_ITSELF, WITHOUT_A_LANE]),
    (
        "tool",
        "the peer to know of the end",
        &[
            ("src/run/farewell.rs", &["the_peer_is_waited_for_as_long_as_its_knowing_is_worth_to_whoever_waits"]),
            (
                "tests/integration/signals.rs",
                &["peer_that_does_not_answer_holds_up_no_end", "relay_that_is_gone_holds_up_no_end"],
            ),
        ],
    ),
    (
        "a callee's tool",
        "a caller's stream, and `vp-recv` for its first message, each",
        &[(
            "src/run/farewell.rs",
            &["a_caller_with_a_path_has_so_long_to_say_something_and_one_without_as_long_again"],
        )],
    ),
    (
        "a callee's tool",
        "a place for a caller that is there",
        &[
            (
                "tests/integration/callee.rs",
                &["whoever_waits_for_the_only_place_keeps_its_timeout_and_gets_the_place_of_one_that_is_gone"],
            ),
            ("src/run/turns.rs", &["where_session_follows_session_one_without_a_path_gives_way_to_anybody_who_waits"]),
        ],
    ),
    (
        "`vp-recv`",
        "content, or that an answer is taken",
        &[
            (
                "src/run/turns.rs",
                &["one_that_is_still_gives_way_to_others_alone_and_the_one_that_is_so_for_longest_first"],
            ),
            (
                "src/tools/recv/running/place.rs",
                &["still_is_who_owes_something_and_moves_nothing_from_the_moment_that_is_seen"],
            ),
        ],
    ),
    (
        "`vp-recv`",
        "the sender to note what it was told of the end",
        &[(
            "src/tools/recv/running/deadlines.rs",
            &["a_sender_has_so_long_to_note_the_end_from_when_its_path_is_there"],
        )],
    ),
    (
        "`vp-recv`",
        "its command, and the disk",
        &[
            (
                "src/tools/recv/leash.rs",
                &[
                    "a_command_that_ends_by_itself_has_its_own_status_however_often_it_is_asked",
                    "one_that_is_let_go_of_ends_by_a_signal_while_it_is_waited_for",
                ],
            ),
            ("tests/integration/signals.rs", &["receiver_whose_sender_left_ends_with_its_command_and_not_later"]),
        ],
    ),
    (
        "`vp-send`",
        "the receiver to turn to it",
        &[("tests/integration/oneshot.rs", &["a_sender_that_was_not_served_keeps_its_deadline"])],
    ),
    (
        "`vp-send`",
        "credit, and the word on each item",
        &[(
            "tests/integration/stream.rs",
            &[
                "sender_waits_until_the_bytes_are_where_they_belong",
                "stuck_receivers_cost_bounded_memory_at_every_place",
            ],
        )],
    ),
    (
        "`vp-attach`",
        "the next byte of either side, and, once it has closed, the peer's last word",
        &[(
            "tests/integration/attach.rs",
            &[
                "output_that_nobody_reads_stops_the_writer_and_loses_nothing",
                "session_ends_when_both_sides_have_ended_and_not_later",
            ],
        )],
    ),
    (
        "`vp-attach`",
        "a command that was told to end",
        &[("tests/integration/attach.rs", &["whatever_a_command_has_started_ends_with_it"])],
    ),
    (
        "`vp-portrep`",
        "what an application wants of the SOCKS server, a session for a connection, the far side to take it, the answer of a probe",
        &[PATIENCE, ("tests/integration/ports/breaks.rs", &["a_connection_made_while_the_relay_is_down_waits_for_it"])],
    ),
    (
        "`vp-portrep`",
        "a target to take a connection, or a peer to name it",
        &[PATIENCE, ("tests/integration/ports/service.rs", &["check_gives_up_on_a_target_that_swallows_connections"])],
    ),
    (
        "`vp-portrep`",
        "bytes on a connection that is joined",
        &[("tests/integration/keepalive.rs", &["silent_connections_are_asked_after_as_told_and_links_always"])],
    ),
    (
        "`vp-portrep`",
        "the end of its sessions, when it ends",
        &[("src/tools/ports/ending.rs", &["it_ends_when_its_sessions_have_or_after_a_few_seconds"])],
    ),
    (
        "relay",
        "a handshake; a sign of life; a listener's answer",
        &[
            (
                "src/relay/tests/mod.rs",
                &[
                    "a_handshake_that_trickles_is_closed_at_its_deadline_without_a_word",
                    "a_silent_link_with_circuits_is_dead_in_time_and_a_parked_one_is_not",
                ],
            ),
            ("src/relay/router/tests/mod.rs", &["a_listener_that_does_not_answer_is_passed_over"]),
        ],
    ),
    (
        "relay",
        "somebody to listen for a call",
        &[(
            "src/relay/router/tests/mod.rs",
            &[
                "nobody_there_means_at_once_without_patience_and_later_with_it",
                "a_caller_that_gives_up_or_dies_takes_its_requests_back",
            ],
        )],
    ),
    (
        "relay",
        "a link that ends to take its last bytes",
        &[("src/relay/tests/mod.rs", &["a_link_that_ends_and_takes_nothing_any_more_is_closed_in_time"])],
    ),
    (
        "relay",
        "a connection of a link by requests that has none",
        &[(
            "src/server/tests/sockets.rs",
            &["a_link_without_a_connection_has_its_time_each_time_and_wherever_it_goes"],
        )],
    ),
    (
        "relay",
        "memory, and a way out that is slow",
        &[(
            "src/relay/tests/memory.rs",
            &["receivers_that_take_a_little_now_and_then_do_not_keep_the_memory_from_the_others"],
        )],
    ),
];

/// Who waits and for what, of each row; who is named once.
fn rows() -> Vec<(String, String)> {
    let design = read("DESIGN.md");
    let (_, rest) = design.split_once("### 4.1 ").expect("the section");
    let (section, _) = rest.split_once("\n## ").expect("its end");
    let mut who = String::new();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2).map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if !cells[1].is_empty() {
            cells[1].clone_into(&mut who);
        }
        (who.clone(), cells[2].to_owned())
    });
    rows.collect()
}

/// Whether a test of this name is in the text.
fn is_test(text: &str, name: &str) -> bool {
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let above = before.trim_end().lines().rev().map(str::trim).take_while(|line| line.starts_with(['#', '/']));
    above.into_iter().any(|line| line == "#[test]")
}

#[test]
fn each_wait_of_the_design_is_tried_by_a_test_that_is_there() {
    let tried: Vec<_> = TRIED.iter().map(|(who, what, _)| ((*who).to_owned(), (*what).to_owned())).collect();
    assert_eq!(rows(), tried, "rows of the table, and those that have tests");
    for (who, what, tests) in TRIED {
        assert!(!tests.is_empty(), "{who}: {what}");
        for (file, names) in *tests {
            let text = read(file);
            for name in *names {
                assert!(is_test(&text, name), "{file} has no test {name}, for {who}: {what}");
            }
        }
    }
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let text = "#[test]\nfn one() {}\n\n#[test]\n#[ignore]\nfn two() {}\n\nfn three() {}\n// fn four\n";
    assert_eq!(["one", "two", "three", "four"].map(|name| is_test(text, name)), [true, true, false, false]);
}
