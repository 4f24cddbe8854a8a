use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use super::*;
use crate::testing::*;
use crate::{Head, Packet};
use proptest::prelude::*;

fn pair() -> (Session, Session) {
    let world = World::new();
    world.session(&world.host(), &world.host())
}

fn seal(session: &Session, what: &str) -> Vec<u8> {
    session.seal(Kind::Frame, text(what), NOW).unwrap()
}

fn open(session: &Session, message: &[u8]) -> Result<String, Error> {
    let mut message = message.to_vec();
    let opened = session.open(&mut message, NOW, AGE)?;
    Ok(String::from_utf8(opened.plaintext.to_vec()).unwrap())
}

fn head(message: &[u8]) -> Head {
    match Packet::classify(message).unwrap() {
        Packet::Sealed(head) => head,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_its_head_and_nothing_readable() {
    let (near, far) = pair();
    let message = seal(&near, "a marker");
    assert_eq!(message.len(), 8 + OVERHEAD);
    let head = head(&message);
    // The ping was number 0.
    assert_eq!((head.version, head.kind, head.session, head.counter), (1, Kind::Frame, near.id(), 1));
    assert!(!message.windows(6).any(|window| window == b"marker"));
    assert_eq!(open(&far, &message).unwrap(), "a marker");
}

#[test]
fn every_damaged_message_is_refused_and_the_good_one_still_counts() {
    let (near, far) = pair();
    let message = seal(&near, "hello");
    for packet in damaged(&message) {
        assert!(open(&far, &packet).is_err());
    }
    assert_eq!(open(&far, &message).unwrap(), "hello");
}

#[test]
fn a_message_opens_once() {
    let (near, far) = pair();
    let message = seal(&near, "hello");
    open(&far, &message).unwrap();
    assert!(matches!(open(&far, &message), Err(Error::Replayed { counter: 1 })));
    for _ in 0..WINDOW {
        open(&far, &seal(&near, "more")).unwrap();
    }
    assert!(
        matches!(open(&far, &message), Err(Error::OutsideWindow { counter: 1, latest }) if latest == WINDOW + 1)
    );
}

#[test]
fn a_message_opens_in_its_direction_and_session_only() {
    let world = World::new();
    let (caller, target) = (world.host(), world.host());
    let (near, far) = world.session(&caller, &target);
    let message = seal(&near, "hello");
    // Back to its sender, who has not yet opened any, so that its counter can't be the reason.
    assert!(matches!(open(&near, &message), Err(Error::NotAuthentic)));

    // A second session between the same two, and one in which the other of them is the caller.
    for (near, far) in [world.session(&caller, &target), world.session(&target, &caller)] {
        for session in [&near, &far] {
            assert!(matches!(open(session, &message), Err(Error::UnknownSession { .. })));
            let mut renamed = message.clone();
            renamed[2..18].copy_from_slice(session.id().as_bytes());
            assert!(matches!(open(session, &renamed), Err(Error::NotAuthentic)));
        }
    }
    open(&far, &message).unwrap();
}

#[test]
fn each_side_sends_its_own_kinds() {
    let (near, far) = pair();
    let sent = |session: &Session| {
        let sealed = |kind: &Kind| session.seal(*kind, text("x"), NOW).is_ok();
        Kind::ALL.into_iter().filter(sealed).collect::<Vec<_>>()
    };
    assert_eq!(sent(&near), [Kind::Request, Kind::Frame, Kind::Ping, Kind::Pong, Kind::Cancel]);
    assert_eq!(sent(&far), [Kind::Reply, Kind::Frame, Kind::Ping, Kind::Pong, Kind::Refusal]);

    // A caller that seals with its key, but not by these rules.
    let mut message = seal(&near, "x");
    for kind in [Kind::Reply, Kind::Refusal] {
        message[1] = kind as u8;
        assert!(matches!(open(&far, &message), Err(Error::WrongDirection { .. })));
    }
}

#[test]
fn the_directions_count_apart() {
    let (near, far) = pair();
    for number in 0..10 {
        let (there, back) = (seal(&near, "there"), seal(&far, "back"));
        assert_eq!((head(&there).counter, head(&back).counter), (number + 1, number));
        assert_eq!(open(&far, &there).unwrap(), "there");
        assert_eq!(open(&near, &back).unwrap(), "back");
    }
    // The same plaintext under the same counter in both directions: the keys differ.
    let (near, far) = pair();
    let _ = seal(&far, "skip the ping's number");
    let (there, back) = (seal(&near, "same"), seal(&far, "same"));
    assert_eq!(there[..HEAD_LEN], back[..HEAD_LEN]);
    assert_ne!(there[HEAD_LEN..], back[HEAD_LEN..]);
}

#[test]
fn a_message_that_was_held_back_is_refused() {
    let (near, far) = pair();
    let open_at =
        |message: &[u8], now, max| far.open(&mut message.to_vec(), now, max).map(|opened| opened.age);
    let (one, two) = (seal(&near, "x"), seal(&near, "y"));
    assert!(matches!(open_at(&one, NOW.plus(1001), 1000), Err(Error::Expired { age: 1001, max: 1000 })));
    // It stays refused, whatever age is allowed then.
    assert!(matches!(open_at(&one, NOW.plus(1001), 2000), Err(Error::Replayed { .. })));
    assert_eq!(open_at(&two, NOW.plus(1000), 1000).unwrap(), 1000);
}

#[test]
fn a_receiver_that_slept_notices() {
    let (near, far) = pair();
    // The sender's clock went on while the receiver's stood still.
    let at = |ahead| near.seal(Kind::Request, text("x"), NOW.plus(ahead)).unwrap();
    assert_eq!(far.open(&mut at(MAX_AHEAD_MILLIS), NOW, AGE).unwrap().age, 0);
    let mut early = at(MAX_AHEAD_MILLIS + 1);
    assert!(matches!(far.open(&mut early, NOW, AGE), Err(Error::AheadOfTime { by: 5001 })));
}

#[test]
fn a_session_is_renewed_after_an_hour_and_ends_soon_after() {
    let (near, far) = pair();
    let hour = NOW.plus(RENEW_AFTER_MILLIS);
    assert!(!near.should_renew(Monotonic::from_millis(hour.as_millis() - 1)));
    assert!(near.should_renew(hour));
    let end = NOW.plus(SESSION_MILLIS);
    assert_eq!(near.ends_at(), end);
    let last = Monotonic::from_millis(end.as_millis() - 1);
    let mut message = near.seal(Kind::Request, text("x"), last).unwrap();
    assert!(matches!(near.seal(Kind::Request, text("x"), end), Err(Error::SessionEnded)));
    assert!(matches!(far.open(&mut message.clone(), end, AGE), Err(Error::SessionEnded)));
    assert_eq!(far.open(&mut message, last, AGE).unwrap().age, 0);
}

#[test]
fn a_session_ends_with_its_certificates() {
    let world = World::new();
    let (near, far) = world.session(&world.host_for(60), &world.host());
    // The certificate's minute, and the minute of tolerance.
    let (last, end) = (NOW.plus(119_999), NOW.plus(120_000));
    for (from, to) in [(&near, &far), (&far, &near)] {
        let message = from.seal(Kind::Frame, text("x"), last).unwrap();
        assert!(matches!(to.open(&mut message.clone(), end, AGE), Err(Error::SessionEnded)));
        to.open(&mut message.clone(), last, AGE).unwrap();
        assert!(matches!(from.seal(Kind::Frame, text("x"), end), Err(Error::SessionEnded)));
        // The last quarter is for renewal.
        assert!(!from.should_renew(NOW.plus(89_999)) && from.should_renew(NOW.plus(90_000)));
    }
}

#[test]
fn keys_are_used_up() {
    let (near, far) = pair();
    near.seal.skip_to(RENEW_AFTER_MESSAGES - 2);
    seal(&near, "x");
    assert!(!near.should_renew(NOW));
    seal(&near, "x");
    assert!(near.should_renew(NOW));
    near.seal.skip_to(MAX_MESSAGES - 1);
    let last = seal(&near, "last");
    for _ in 0..3 {
        let refused = near.seal(Kind::Request, text("x"), NOW);
        assert!(matches!(refused, Err(Error::SessionExhausted)));
    }
    assert_eq!(open(&far, &last).unwrap(), "last");
    let mut beyond = last;
    beyond[18..26].copy_from_slice(&MAX_MESSAGES.to_be_bytes());
    assert!(matches!(open(&far, &beyond), Err(Error::SessionExhausted)));
}

#[test]
fn messages_have_a_greatest_length() {
    let (near, far) = pair();
    let of = |length| {
        let mut plaintext = Plaintext::with_capacity(length);
        plaintext.extend_from_slice(&vec![0; length]);
        plaintext
    };
    let mut longest = near.seal(Kind::Request, of(MAX_PLAINTEXT_LEN), NOW).unwrap();
    assert_eq!(longest.len(), MAX_PLAINTEXT_LEN + OVERHEAD);
    let mut longer = longest.clone();
    longer.push(0);
    assert!(matches!(far.open(&mut longer, NOW, AGE), Err(Error::MessageTooLarge { .. })));
    assert_eq!(far.open(&mut longest, NOW, AGE).unwrap().plaintext.len(), MAX_PLAINTEXT_LEN);
    let refused = near.seal(Kind::Request, of(MAX_PLAINTEXT_LEN + 1), NOW);
    assert!(matches!(refused, Err(Error::MessageTooLarge { kind: Kind::Request, .. })));
}

#[test]
fn threads_that_seal_at_once_never_share_a_counter() {
    let (near, far) = pair();
    const THREADS: usize = 8;
    const EACH: usize = 500;
    let start = Barrier::new(THREADS);
    let messages: Vec<_> = thread::scope(|scope| {
        let run = || {
            start.wait();
            (0..EACH).map(|_| seal(&near, "x")).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let counters: BTreeSet<_> = messages.iter().map(|message| head(message).counter).collect();
    assert_eq!(counters, (1..=(THREADS * EACH) as u64).collect());
    // They are fewer than the window has places, so each opens, though one thread's come after another's.
    for message in &messages {
        open(&far, message).unwrap();
    }
}

#[test]
fn of_threads_that_open_the_same_message_one_gets_it() {
    let (near, far) = pair();
    let start = Barrier::new(8);
    for _ in 0..50 {
        let message = seal(&near, "x");
        let opened = thread::scope(|scope| {
            let run = || {
                start.wait();
                open(&far, &message).is_ok()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(opened, 1);
    }
}

#[test]
fn debug_shows_no_key() {
    let (near, _) = pair();
    let shown = format!("{near:?}");
    assert!(shown.contains("SealKey { next: 1, .. }") && shown.contains("OpenKey { .. }"), "{shown}");
    assert_eq!(format!("{:?}", text("secret")), "Plaintext(6 bytes)");
}

proptest! {
    #[test]
    fn any_plaintext_of_any_kind_survives(
        plaintext: Vec<u8>, kind in proptest::sample::select(Kind::ALL.to_vec()), back: bool,
    ) {
        let (near, far) = pair();
        let (from, to) = if back { (&far, &near) } else { (&near, &far) };
        let mut sealed = Plaintext::with_capacity(0);
        sealed.extend_from_slice(&plaintext);
        if !kind.comes_from(if back { Side::Target } else { Side::Caller }) {
            let refused = from.seal(kind, sealed, NOW);
            prop_assert!(matches!(refused, Err(Error::WrongDirection { .. })), "{:?}", refused);
            return Ok(());
        }
        let mut message = from.seal(kind, sealed, NOW).unwrap();
        let opened = to.open(&mut message, NOW, AGE).unwrap();
        prop_assert_eq!((opened.kind, opened.plaintext.to_vec()), (kind, plaintext));
    }

    #[test]
    fn any_order_within_the_window_is_accepted(order in Just((0..200usize).collect::<Vec<_>>()).prop_shuffle()) {
        let (near, far) = pair();
        let messages: Vec<_> = (0..200).map(|number| seal(&near, &number.to_string())).collect();
        for number in order {
            prop_assert_eq!(open(&far, &messages[number]).unwrap(), number.to_string());
            prop_assert!(open(&far, &messages[number]).is_err());
        }
    }

    #[test]
    fn any_bytes_are_opened_without_panic(bytes: Vec<u8>, kind in 0..9u8, counter: u64) {
        let (_near, far) = pair();
        let head = [&[1, kind][..], far.id().as_bytes(), &counter.to_be_bytes()].concat();
        for bytes in [bytes.clone(), [head, bytes].concat()] {
            prop_assert!(open(&far, &bytes).is_err());
        }
    }
}
