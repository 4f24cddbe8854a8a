use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const LATTICE: &str = "default";
const MEMBER: &str = "NDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LQHOST";

/// No signature, but it depends on all that is signed.
fn seal(message: &[u8]) -> Vec<u8> {
    let hash = digest(&SHA256, message);
    [hash.as_ref(), hash.as_ref()].concat()
}

fn is_good<T>(signed: &Signed<'_, T>, lattice: &str) -> bool {
    seal(&signed.message(lattice)) == signed.signature
}

fn answer() -> Answer<'static> {
    Answer {
        version: 1,
        nonce: [1; 16],
        target: [2; 32],
        instance: [3; 16],
        sequence: 4,
        load: 500,
        draining: false,
        member: "MEMBER",
        chain: vec!["own", "host"],
    }
}

fn announcement() -> Announcement<'static> {
    Announcement {
        action: Action::Started,
        time: 1_790_000_000,
        instance: [3; 16],
        sequence: 4,
        target: Some([2; 32]),
        member: "MEMBER",
        chain: vec!["own"],
    }
}

#[test]
fn subjects_are_spelled_as_specified() {
    let mut instance = [0; 16];
    instance[15] = 0xab;
    let expected = format!("wattle.rpc.v1.default.{MEMBER}.000000000000000000000000000000ab");
    assert_eq!(rpc_subject(LATTICE, MEMBER, &instance), expected);
    assert_eq!(find_subject(LATTICE, 0), "wattle.find.v1.default.00");
    assert_eq!(find_subject(LATTICE, 0xfe), "wattle.find.v1.default.fe");
    assert_eq!(answer_subjects("_INBOX.abc"), "_INBOX.abc.*");
}

#[test]
fn a_target_has_another_hash_in_each_lattice() {
    let echo = target_hash(LATTICE, "echo");
    let known = [0x3e, 0x37, 0x6f, 0x77];
    assert_eq!(echo[..4], known, "{echo:02x?}");
    assert_ne!(echo, target_hash("other", "echo"));
    assert_ne!(echo, target_hash(LATTICE, "echo2"));
    // The zero byte between keeps what ends one from beginning the other.
    assert_ne!(target_hash("ab", "c"), target_hash("a", "bc"));
}

#[test]
fn answers_go_to_inboxes_only() {
    let nonce = [0xa0; 16];
    let subject = answer_subject("_INBOX.abc", &nonce);
    assert!(is_answer_subject(&subject, &nonce));
    assert_eq!(nonce_of(&subject), Some(nonce));
    assert!(!is_answer_subject(&subject, &[0xa1; 16]));
    for elsewhere in ["$KV.LATTICEDATA_default", "$JS.API", "", ".x", "a..b"] {
        assert!(!is_answer_subject(&answer_subject(elsewhere, &nonce), &nonce), "{elsewhere}");
    }
    assert!(!is_answer_subject("wasmbus.ctl.v1.default.host.ping", &nonce));
    for other in
        ["_INBOX.abc", "", "a.+0000000000000000000000000000000", "a.A0000000000000000000000000000000"]
    {
        assert_eq!(nonce_of(other), None, "{other}");
    }
}

#[test]
fn layouts_are_those_of_the_specification() {
    let query = Query { lowest: 1, highest: 2, nonce: [1; 16], target: [2; 32] };
    assert_eq!(query.encode(), [&[1, 1, 2][..], &[1; 16], &[2; 32]].concat());

    let expected = [
        &[2, 1][..],
        &[1; 16],
        &[2; 32],
        &[3; 16],
        &4_u64.to_be_bytes(),
        &500_u16.to_be_bytes(),
        &[0],
        b"\x06MEMBER\x02\x00\x03own\x00\x04host",
    ]
    .concat();
    let signature = seal(&[b"wattle.find.v1 answer\0default\0", &expected[..]].concat());
    assert_eq!(answer().encode(LATTICE, seal).unwrap(), [expected, signature].concat());

    let head = [&[3, 1][..], &1_790_000_000_u64.to_be_bytes(), &[3; 16], &4_u64.to_be_bytes()].concat();
    let expected = [&head[..], &[1], &[2; 32], b"\x06MEMBER\x01\x00\x03own"].concat();
    let signature = seal(&[b"wattle.find.v1 announcement\0default\0", &expected[..]].concat());
    assert_eq!(announcement().encode(LATTICE, seal).unwrap(), [expected, signature].concat());
    let all = Announcement { action: Action::Draining, target: None, ..announcement() };
    let head = [&[3, 3], &head[2..], &[0], b"\x06MEMBER\x01\x00\x03own"].concat();
    assert!(all.encode(LATTICE, seal).unwrap().starts_with(&head));
}

#[test]
fn what_is_beyond_the_limits_is_neither_written_nor_read() {
    let long = "x".repeat(MAX_CERTIFICATE_LEN + 1);
    let full = &long[1..];
    let biggest = Answer { chain: vec![full, full], ..answer() }.encode(LATTICE, seal).unwrap();
    assert!(biggest.len() <= MAX_PACKET_LEN && Packet::decode(&biggest).is_ok());
    for bad in [
        Answer { version: 0, ..answer() },
        Answer { load: FULL_LOAD + 1, ..answer() },
        Answer { member: "", ..answer() },
        Answer { member: &long[..65], ..answer() },
        Answer { chain: vec![], ..answer() },
        Answer { chain: vec!["a"; 3], ..answer() },
        Answer { chain: vec![&long], ..answer() },
    ] {
        assert!(bad.encode(LATTICE, seal).is_err(), "{bad:?}");
    }
    assert!(answer().encode(LATTICE, |_| vec![0; 63]).is_err());
    assert!(Announcement { target: None, ..announcement() }.encode(LATTICE, seal).is_err());

    let good = answer().encode(LATTICE, seal).unwrap();
    let with = |place: usize, value: u8| {
        let mut changed = good.clone();
        changed[place] = value;
        changed
    };
    // Kind, version, load, state, length of the member, number of certificates, length of the first, its text.
    let changes =
        [(0, 9), (1, 0), (74, 0xff), (76, 2), (77, 0), (77, 65), (84, 0), (84, 3), (85, 0xff), (87, 0xff)];
    for (place, value) in changes {
        assert!(Packet::decode(&with(place, value)).is_err(), "{place}");
    }
    let query = Query { lowest: 1, highest: 1, nonce: [0; 16], target: [0; 32] };
    for (lowest, highest) in [(0, 1), (2, 1)] {
        assert!(Query::decode(&Query { lowest, highest, ..query }.encode()).is_err());
    }
    for packet in [vec![], vec![0; 40], vec![2; MAX_PACKET_LEN + 1]] {
        assert!(Packet::decode(&packet).is_err());
    }
}

#[test]
fn cut_or_longer_packets_are_not_read() {
    let query = Query { lowest: 1, highest: 1, nonce: [0; 16], target: [0; 32] }.encode();
    let packets =
        [query, answer().encode(LATTICE, seal).unwrap(), announcement().encode(LATTICE, seal).unwrap()];
    for packet in packets {
        for length in 0..packet.len() {
            assert!(Packet::decode(&packet[..length]).is_err(), "{length} of {packet:?}");
        }
        assert!(Packet::decode(&[&packet[..], &[0]].concat()).is_err());
    }
}

fn chain() -> impl Strategy<Value = Vec<String>> {
    vec("[A-Za-z0-9_.-]{0,300}", 1..=MAX_CHAIN)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![Just(Action::Started), Just(Action::Stopped), Just(Action::Draining)]
}

proptest! {
    #[test]
    fn a_query_survives_the_wire(nonce: Nonce, target: TargetHash, a in 1..=255_u8, b in 1..=255_u8) {
        let query = Query { lowest: a.min(b), highest: a.max(b), nonce, target };
        prop_assert_eq!(Query::decode(&query.encode()), Ok(query));
    }

    #[test]
    fn an_answer_survives_the_wire(
        version in 1..=255_u8, nonce: Nonce, target: TargetHash, instance: Instance, sequence: u64,
        load in 0..=FULL_LOAD, draining: bool, member in "[A-Z2-7]{1,64}", chain in chain(),
    ) {
        let chain = chain.iter().map(String::as_str).collect();
        let answer = Answer { version, nonce, target, instance, sequence, load, draining, member: &member, chain };
        let packet = answer.encode(LATTICE, seal).unwrap();
        let read = Answer::decode(&packet).unwrap();
        prop_assert!(is_good(&read, LATTICE) && !is_good(&read, "other"));
        prop_assert_eq!(read.content, answer);
    }

    #[test]
    fn an_announcement_survives_the_wire(
        action in action(), time: u64, instance: Instance, sequence: u64, target: TargetHash, all: bool,
        member in "[A-Z2-7]{1,64}", chain in chain(),
    ) {
        let target = (!all || action == Action::Started).then_some(target);
        let chain = chain.iter().map(String::as_str).collect();
        let announcement = Announcement { action, time, instance, sequence, target, member: &member, chain };
        let packet = announcement.encode(LATTICE, seal).unwrap();
        let read = Announcement::decode(&packet).unwrap();
        prop_assert!(is_good(&read, LATTICE) && !is_good(&read, "other"));
        prop_assert_eq!(read.content, announcement);
    }

    #[test]
    fn a_changed_bit_is_not_read_or_breaks_the_signature(place: prop::sample::Index, bit in 0..8_u8) {
        let answer = answer().encode(LATTICE, seal).unwrap();
        let announcement = announcement().encode(LATTICE, seal).unwrap();
        for mut packet in [answer, announcement] {
            let place = place.index(packet.len());
            packet[place] ^= 1 << bit;
            match Packet::decode(&packet) {
                Ok(Packet::Answer(signed)) => prop_assert!(!is_good(&signed, LATTICE)),
                Ok(Packet::Announcement(signed)) => prop_assert!(!is_good(&signed, LATTICE)),
                Ok(Packet::Query(query)) => prop_assert!(false, "{:?}", query),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn whatever_is_read_is_written_back_to_the_same_bytes(kind in 0..5_u8, body in vec(any::<u8>(), 0..400)) {
        let packet = [&[kind][..], &body].concat();
        let signature = packet[packet.len().saturating_sub(64)..].to_vec();
        match Packet::decode(&packet) {
            Ok(Packet::Query(query)) => prop_assert_eq!(query.encode(), packet),
            Ok(Packet::Answer(read)) => {
                prop_assert_eq!(read.content.encode(LATTICE, |_| signature).unwrap(), packet.clone());
            }
            Ok(Packet::Announcement(read)) => {
                prop_assert_eq!(read.content.encode(LATTICE, |_| signature).unwrap(), packet.clone());
            }
            Err(_) => {}
        }
    }
}
