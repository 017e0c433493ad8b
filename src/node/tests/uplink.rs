use super::*;
use crate::identity::Identity;
use crate::link::{Answer, Answered};

fn link_up(uplink: &mut Uplink, now: Instant, relay: &Identity, us: &Handshakes) {
    assert_eq!(uplink.handle_connected(now, us), Ok(()));
    assert_eq!(uplink.lack(), Down::Mute);
    let mut second = Vec::new();
    let answered = Answer::begin().handle_bytes(relay, uplink.output(), &mut second);
    assert!(matches!(answered, Ok(Answered::More(..))));
    assert!(uplink.handle_received(now, &second, us).is_ok_and(|received| received.is_new));
}

/// How long a tool takes to dial ten times, if each link is welcome for so long and then ends so.
fn ten_dials(lasts: Duration, why: Down) -> Duration {
    let born = Instant::now();
    let relay = Identity::from_seed(&[2; 32]);
    let us = Handshakes::new(Identity::from_seed(&[1; 32]), crate::node::Kind::Pipe);
    let mut uplink = Uplink::new(born, vec![relay.id()], Duration::from_secs(10), 1);
    let (mut now, mut waited) = (born, Duration::ZERO);
    for _ in 0..10 {
        let at = uplink.next_timeout().max(now);
        waited += at - now;
        now = at;
        assert_eq!(uplink.poll_dial(now), Some(0));
        link_up(&mut uplink, now, &relay, &us);
        assert_eq!(uplink.handle_welcome(now), Some(0));
        now += lasts;
        assert!(uplink.handle_down(now, why).is_some());
    }
    waited
}

#[test]
fn a_relay_that_ends_links_soon_after_its_welcome_is_dialled_less_and_less_often() {
    let long = Duration::from_secs(3600);
    assert_eq!(ten_dials(long, Down::Closed), Duration::ZERO, "breaks of links that were of use");
    assert_eq!(ten_dials(USEFUL_AFTER, Down::Closed), Duration::ZERO);
    assert_eq!(ten_dials(SAID_USEFUL_AFTER, Down::Said(CloseCode::GoingAway)), Duration::ZERO);
    let often = Duration::from_secs(5);
    assert!(ten_dials(Duration::from_millis(50), Down::Closed) > often);
    assert!(ten_dials(Duration::from_secs(1), Down::Said(CloseCode::GoingAway)) > often);
    assert!(ten_dials(long, Down::Said(CloseCode::Limit)) > often, "however long it took to be too much");
}

#[test]
fn what_a_relay_lacks_is_the_step_that_was_waited_for() {
    let now = Instant::now();
    let relay = Identity::from_seed(&[2; 32]);
    let us = Handshakes::new(Identity::from_seed(&[1; 32]), crate::node::Kind::Pipe);
    let mut uplink = Uplink::new(now, vec![relay.id()], Duration::from_secs(10), 1);
    assert_eq!(uplink.poll_dial(now), Some(0));
    assert_eq!(uplink.lack(), Down::Unresolved);
    assert_eq!(uplink.handle_timeout(now + HANDSHAKE_DEADLINE), Err(Down::Unresolved));
    uplink.handle_resolved();
    assert_eq!(uplink.lack(), Down::Unanswered);
    assert_eq!(uplink.handle_timeout(now + HANDSHAKE_DEADLINE), Err(Down::Unanswered));
    // Something on the way to it is to answer, whatever was known before.
    uplink.handle_on_the_way(Down::ProxyMute);
    assert_eq!(uplink.lack(), Down::ProxyMute);
    assert_eq!(uplink.handle_timeout(now + HANDSHAKE_DEADLINE), Err(Down::ProxyMute));
    // The carrier has a handshake of its own.
    uplink.handle_reached();
    assert_eq!(uplink.lack(), Down::Mute);
    assert_eq!(uplink.handle_timeout(now + HANDSHAKE_DEADLINE), Err(Down::Mute));
    link_up(&mut uplink, now, &relay, &us);
    assert_eq!((uplink.lack(), uplink.is_welcome()), (Down::Undecided, false));
    assert_eq!((uplink.handle_welcome(now), uplink.is_welcome()), (Some(0), true));
}

#[test]
fn what_answers_otherwise_than_a_relay_is_none() {
    let now = Instant::now();
    let relay = Identity::from_seed(&[2; 32]);
    let us = Handshakes::new(Identity::from_seed(&[1; 32]), crate::node::Kind::Pipe);
    for (answer, why) in [(&b"<html>Sign in</html>"[..], Down::NotRelay), (&[0, 1, 7], Down::Impostor)] {
        let mut uplink = Uplink::new(now, vec![relay.id()], Duration::from_secs(10), 1);
        assert_eq!(uplink.poll_dial(now), Some(0));
        assert_eq!(uplink.handle_connected(now, &us), Ok(()));
        assert_eq!(uplink.handle_received(now, answer, &us).err(), Some(why));
    }
}

#[test]
fn that_one_relay_failed_says_more_than_that_the_next_has_not_answered_yet() {
    let now = Instant::now();
    let relays = [2, 3].map(|byte| Identity::from_seed(&[byte; 32]).id());
    let mut uplink = Uplink::new(now, relays.to_vec(), Duration::from_secs(10), 1);
    assert_eq!(uplink.poll_dial(now), Some(0));
    assert!(uplink.handle_down(now, Down::Unproven).is_some());
    let later = uplink.next_timeout();
    assert_eq!((uplink.poll_dial(later), uplink.lack()), (Some(1), Down::Unproven));
}

#[test]
fn a_login_that_a_proxy_does_not_take_is_as_final_as_the_word_of_a_relay() {
    let mut now = Instant::now();
    let relays = [2, 3].map(|seed| Identity::from_seed(&[seed; 32]).id()).to_vec();
    for (second, is_end) in [(Down::ProxyLogin, true), (Down::Unreachable, false)] {
        let mut uplink = Uplink::new(now, relays.clone(), Duration::from_secs(10), 1);
        for why in [Down::ProxyLogin, second] {
            assert!(!uplink.is_refused_by_all());
            now = uplink.next_timeout().max(now);
            assert!(uplink.poll_dial(now).is_some() && uplink.handle_down(now, why).is_some());
        }
        assert_eq!(uplink.is_refused_by_all(), is_end);
    }
}
