use super::*;
use crate::discovery::target::MAX_INSTANCES;
use crate::discovery::testing::{LATTICE, Process, World};
use proptest::prelude::*;

const ECHO: &str = "echo";

struct Fixture {
    world: World,
    table: Table,
    start: Instant,
}

impl Fixture {
    fn new() -> Self {
        let start = Instant::now();
        let mut table = Table::new(LATTICE, Dice::new(1));
        table.using(ECHO, start);
        Self { world: World::new(), table, start }
    }

    fn at(&self, secs: u64) -> Instant {
        self.start + Duration::from_secs(secs)
    }

    /// An answer at `secs` to a query that was sent at `asked`.
    fn answer(&mut self, from: &Process, sequence: u64, asked: u64, secs: u64) -> Result<(), Dropped> {
        let said = Said {
            address: from.address.clone(),
            member: self.world.member(from),
            load: 0,
            sequence,
            draining: false,
            asked: self.at(asked),
        };
        let now = self.at(secs);
        self.table.answered(ECHO, said, now)
    }

    fn announce(
        &mut self,
        from: &Process,
        action: Action,
        all: bool,
        sequence: u64,
        secs: u64,
    ) -> Result<(), Dropped> {
        let said = Announcement {
            action,
            time: 0,
            instance: *from.address.instance.as_bytes(),
            sequence,
            target: (!all).then(|| target_hash(LATTICE, ECHO)),
            member: &from.address.member,
            chain: vec![],
        };
        let target = self.table.concerns(&said, &from.address)?;
        let (member, now) = (self.world.member(from), self.at(secs));
        self.table.announced(target.as_deref(), &said, &from.address, member, now)
    }

    fn pick(&mut self, exclude: &[Address]) -> Found {
        self.table.pick(ECHO, exclude, |_| true, self.start)
    }

    fn knows(&self) -> bool {
        self.table.knows(ECHO)
    }
}

#[test]
fn an_answer_makes_a_peer_that_is_picked_unless_excluded() {
    let mut fixture = Fixture::new();
    let (a, b) = (fixture.world.process(), fixture.world.process());
    assert!(matches!(fixture.pick(&[]), Found::Nobody));
    fixture.answer(&a, 0, 0, 0).unwrap();
    let Found::Peer(peer) = fixture.pick(&[]) else { panic!("a peer is known") };
    assert_eq!(peer.address, a.address);
    assert!(matches!(fixture.pick(std::slice::from_ref(&a.address)), Found::Excluded));
    fixture.answer(&b, 0, 0, 0).unwrap();
    let Found::Peer(other) = fixture.pick(std::slice::from_ref(&a.address)) else { panic!("two are known") };
    assert_eq!(other.address, b.address);
    assert!(matches!(fixture.table.pick("other", &[], |_| true, fixture.start), Found::Nobody));
}

#[test]
fn calls_in_flight_are_a_load() {
    let mut fixture = Fixture::new();
    let (a, b) = (fixture.world.process(), fixture.world.process());
    fixture.answer(&a, 0, 0, 0).unwrap();
    fixture.answer(&b, 0, 0, 0).unwrap();
    let mut held = Vec::new();
    let mut counts: HashMap<Address, u32> = HashMap::new();
    for _ in 0..100 {
        let Found::Peer(peer) = fixture.pick(&[]) else { panic!("two are known") };
        *counts.entry(peer.address.clone()).or_default() += 1;
        held.push(peer);
    }
    assert_eq!((counts[&a.address], counts[&b.address]), (50, 50));
    drop(held);
    assert!(fixture.table.remotes.values().all(|remote| remote.in_flight() == 0));
}

#[test]
fn whom_trust_has_left_is_not_picked() {
    let mut fixture = Fixture::new();
    let (a, b) = (fixture.world.process(), fixture.world.process());
    fixture.answer(&a, 0, 0, 0).unwrap();
    fixture.answer(&b, 0, 0, 0).unwrap();
    let trusted = |member: &Member| member.key() == b.address.member;
    for _ in 0..10 {
        let Found::Peer(peer) = fixture.table.pick(ECHO, &[], trusted, fixture.start) else {
            panic!("one is trusted")
        };
        assert_eq!(peer.address, b.address);
    }
    assert!(matches!(fixture.table.pick(ECHO, &[], |_| false, fixture.start), Found::Nobody));
    assert!(!fixture.knows());
}

#[test]
fn who_is_gone_comes_back_only_by_an_answer_to_a_later_query() {
    let mut fixture = Fixture::new();
    let a = fixture.world.process();
    fixture.answer(&a, 0, 0, 0).unwrap();
    fixture.table.gone(&a.address, fixture.at(5));
    assert!(!fixture.knows());
    fixture.answer(&a, 0, 4, 6).unwrap();
    assert!(!fixture.knows(), "that was asked before");
    assert_eq!(fixture.announce(&a, Action::Started, false, 1, 7), Err(Dropped::Unneeded));
    assert!(!fixture.knows());
    fixture.answer(&a, 0, 8, 9).unwrap();
    assert!(fixture.knows());
}

#[test]
fn who_refused_comes_back_by_a_later_answer_or_announcement() {
    let mut fixture = Fixture::new();
    let a = fixture.world.process();
    fixture.answer(&a, 3, 0, 0).unwrap();
    fixture.table.not_here(ECHO, &a.address, fixture.at(5));
    assert!(!fixture.knows());
    assert_eq!(fixture.answer(&a, 3, 4, 6), Err(Dropped::Repeated));
    assert_eq!(fixture.announce(&a, Action::Started, false, 3, 7), Err(Dropped::Repeated));
    assert!(!fixture.knows());
    fixture.announce(&a, Action::Started, false, 4, 7).unwrap();
    assert!(fixture.knows());
    fixture.table.not_here(ECHO, &a.address, fixture.at(8));
    fixture.answer(&a, 4, 9, 9).unwrap();
    assert!(fixture.knows());
}

#[test]
fn announcements_count_in_their_order_only() {
    let mut fixture = Fixture::new();
    let a = fixture.world.process();
    assert_eq!(fixture.announce(&a, Action::Stopped, false, 1, 0), Err(Dropped::Unneeded));
    fixture.announce(&a, Action::Started, false, 3, 0).unwrap();
    assert!(fixture.knows());
    for old in [2, 3] {
        assert_eq!(fixture.announce(&a, Action::Stopped, false, old, 1), Err(Dropped::Repeated));
    }
    assert!(fixture.knows());
    fixture.announce(&a, Action::Stopped, false, 4, 1).unwrap();
    assert!(!fixture.knows());
    assert_eq!(fixture.announce(&a, Action::Started, false, 3, 2), Err(Dropped::Repeated));
    // An answer that was made before the latest announcement, and one after it.
    assert_eq!(fixture.answer(&a, 3, 2, 2), Err(Dropped::Repeated));
    assert!(!fixture.knows());
    fixture.answer(&a, 4, 2, 2).unwrap();
    assert!(fixture.knows());
}

#[test]
fn what_is_announced_for_all_goes_before_what_is_older() {
    let mut fixture = Fixture::new();
    let a = fixture.world.process();
    assert_eq!(fixture.announce(&a, Action::Draining, true, 9, 0), Err(Dropped::Unneeded));
    fixture.answer(&a, 2, 0, 0).unwrap();
    fixture.announce(&a, Action::Draining, true, 5, 1).unwrap();
    assert!(!fixture.knows());
    assert_eq!(fixture.announce(&a, Action::Draining, true, 5, 1), Err(Dropped::Repeated));
    assert_eq!(fixture.announce(&a, Action::Started, false, 4, 1), Err(Dropped::Repeated));
    assert_eq!(fixture.answer(&a, 4, 2, 2), Err(Dropped::Repeated));
    assert!(!fixture.knows());
}

#[test]
fn a_draining_answer_takes_a_peer_out() {
    let mut fixture = Fixture::new();
    let a = fixture.world.process();
    let draining = |fixture: &Fixture| Said {
        address: a.address.clone(),
        member: fixture.world.member(&a),
        load: 0,
        sequence: 0,
        draining: true,
        asked: fixture.start,
    };
    let (said, now) = (draining(&fixture), fixture.at(1));
    fixture.table.answered(ECHO, said, now).unwrap();
    assert!(!fixture.knows());
    fixture.answer(&a, 0, 1, 1).unwrap();
    let (said, now) = (draining(&fixture), fixture.at(2));
    fixture.table.answered(ECHO, said, now).unwrap();
    assert!(!fixture.knows());
}

#[test]
fn a_peer_that_misses_three_queries_is_left_out() {
    let mut fixture = Fixture::new();
    let (a, b) = (fixture.world.process(), fixture.world.process());
    let ask = |fixture: &mut Fixture, secs| {
        let now = fixture.at(secs);
        fixture.table.target(ECHO).unwrap().asking(now);
    };
    ask(&mut fixture, 0);
    fixture.answer(&a, 0, 0, 1).unwrap();
    fixture.answer(&b, 0, 0, 1).unwrap();
    for secs in [30, 31, 60, 61, 90] {
        ask(&mut fixture, secs);
        // One of them takes calls meanwhile.
        fixture.table.measured(&b.address, Duration::from_millis(1), fixture.at(secs));
    }
    assert!(matches!(fixture.pick(std::slice::from_ref(&b.address)), Found::Peer(_)));
    ask(&mut fixture, 120);
    assert!(matches!(fixture.pick(std::slice::from_ref(&b.address)), Found::Excluded));
    let target = fixture.table.target(ECHO).unwrap();
    assert!(!target.is_due(fixture.start + Duration::from_secs(149)));
    assert!(target.is_due(fixture.start + Duration::from_secs(150)));
    fixture.answer(&a, 0, 121, 121).unwrap();
    assert!(matches!(fixture.pick(std::slice::from_ref(&b.address)), Found::Peer(_)));
}

#[test]
fn peers_of_one_target_and_of_one_member_are_bounded() {
    let mut fixture = Fixture::new();
    let mut a = fixture.world.process();
    let mut addresses = Vec::new();
    for _ in 0..MAX_INSTANCES + 2 {
        a.address.instance = crate::discovery::testing::instance();
        fixture.answer(&a, 0, 0, 0).unwrap();
        addresses.push(a.address.clone());
    }
    let target = &fixture.table.targets[ECHO];
    assert!(target.entry(&addresses[1]).is_none() && target.entry(&addresses[2]).is_some());
    assert_eq!(target.usable(), MAX_INSTANCES);
    for _ in 0..MAX_PEERS {
        let other = fixture.world.process();
        fixture.answer(&other, 0, 0, 0).unwrap();
    }
    assert_eq!(fixture.table.targets[ECHO].usable(), MAX_PEERS);
    let last = fixture.world.process();
    assert_eq!(fixture.table.admits(ECHO, &last.address), Err(Dropped::Surplus));
    fixture.table.admits(ECHO, &addresses[2]).unwrap();
    assert_eq!(fixture.announce(&last, Action::Started, false, 1, 0), Err(Dropped::Surplus));
    fixture.table.gone(&addresses[2], fixture.at(1));
    fixture.table.admits(ECHO, &last.address).unwrap();
    fixture.answer(&last, 0, 0, 0).unwrap();
    assert!(fixture.table.targets[ECHO].entry(&last.address).is_some());
}

#[test]
fn what_is_over_is_forgotten() {
    let mut fixture = Fixture::new();
    let (a, b) = (fixture.world.process(), fixture.world.process());
    fixture.answer(&a, 0, 0, 0).unwrap();
    fixture.answer(&b, 0, 0, 0).unwrap();
    fixture.announce(&a, Action::Stopped, false, 1, 10).unwrap();
    fixture.table.tidy(fixture.at(160));
    assert_eq!(fixture.announce(&a, Action::Started, false, 1, 160), Err(Dropped::Repeated));
    fixture.table.tidy(fixture.at(161));
    assert_eq!((fixture.table.targets(), fixture.table.remotes()), (1, 1));
    fixture.table.tidy(fixture.at(601));
    fixture.table.tidy(fixture.at(601));
    assert_eq!((fixture.table.targets(), fixture.table.remotes()), (0, 0));
    assert_eq!(fixture.table.hashes().count(), 0);
}

#[test]
fn of_too_many_targets_the_one_used_least_recently_is_forgotten() {
    let mut fixture = Fixture::new();
    for number in 1..MAX_TARGETS {
        let now = fixture.at(1);
        fixture.table.using(&number.to_string(), now);
    }
    let now = fixture.at(2);
    fixture.table.using(ECHO, now);
    fixture.table.using("one more", now);
    assert_eq!((fixture.table.targets(), fixture.table.hashes().count()), (MAX_TARGETS, MAX_TARGETS));
    assert!(fixture.table.target(ECHO).is_some() && fixture.table.target("one more").is_some());
}

/// What can happen to one of two peers.
#[derive(Debug, Clone, Copy)]
enum Event {
    Answer { peer: usize, sequence: u64, age: u64 },
    Announce { peer: usize, action: Action, all: bool, sequence: u64 },
    Gone { peer: usize },
    NotHere { peer: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let action = prop_oneof![Just(Action::Started), Just(Action::Stopped), Just(Action::Draining)];
    let peer = 0..2_usize;
    prop_oneof![
        (peer.clone(), 0..9_u64, 0..3_u64).prop_map(|(peer, sequence, age)| Event::Answer {
            peer,
            sequence,
            age
        }),
        (peer.clone(), action, any::<bool>(), 1..9_u64).prop_map(|(peer, action, all, sequence)| {
            Event::Announce { peer, action, all: all && action != Action::Started, sequence }
        }),
        peer.clone().prop_map(|peer| Event::Gone { peer }),
        peer.prop_map(|peer| Event::NotHere { peer }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in whatever order, twice as well: a peer that is gone is not picked without an answer to a later
    /// query, and what is told a second time changes nothing.
    #[test]
    fn nothing_old_brings_a_peer_back(events in proptest::collection::vec(event(), 1..30)) {
        let mut fixture = Fixture::new();
        let peers = [fixture.world.process(), fixture.world.process()];
        let mut gone: [Option<u64>; 2] = [None; 2];
        for (secs, event) in (10..).zip(events) {
            match event {
                Event::Answer { peer, sequence, age } => {
                    let asked = secs - age;
                    let _ = fixture.answer(&peers[peer], sequence, asked, secs);
                    gone[peer] = gone[peer].filter(|gone| *gone >= asked);
                }
                Event::Announce { peer, action, all, sequence } => {
                    let _ = fixture.announce(&peers[peer], action, all, sequence, secs);
                    let before = fixture.knows();
                    let again = fixture.announce(&peers[peer], action, all, sequence, secs);
                    prop_assert!(again.is_err());
                    prop_assert_eq!(before, fixture.knows());
                }
                Event::Gone { peer } => {
                    let now = fixture.at(secs);
                    let known = fixture.table.remotes.contains_key(&peers[peer].address);
                    fixture.table.gone(&peers[peer].address, now);
                    gone[peer] = known.then_some(secs);
                }
                Event::NotHere { peer } => {
                    let now = fixture.at(secs);
                    fixture.table.not_here(ECHO, &peers[peer].address, now);
                    let other = peers[1 - peer].address.clone();
                    prop_assert!(!matches!(fixture.pick(&[other]), Found::Peer(_)));
                }
            }
            for (peer, gone) in gone.iter().enumerate() {
                let other = peers[1 - peer].address.clone();
                let is_picked = matches!(fixture.pick(&[other]), Found::Peer(_));
                prop_assert!(!(is_picked && gone.is_some()), "{event:?}");
            }
        }
    }
}
