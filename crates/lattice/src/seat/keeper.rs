//! What has to be done from time to time: pings while calls are in flight, renewals, and forgetting what is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ring::rand::SecureRandom;
use wattle_seal::message::{CallId, Ping};
use wattle_seal::{Kind, Monotonic};

use super::core::Core;
use super::counters::Counted;
use super::links::Link;
use super::party::Established;
use super::stream::Ongoing;
use super::watch::Verdict;

/// How often calls in flight are looked after.
const TICK: Duration = Duration::from_millis(100);

/// The same while a process may be gone.
const HASTY_TICK: Duration = Duration::from_millis(20);

/// How often what is over is forgotten.
const SWEEP: Duration = Duration::from_secs(5);

/// A session or link that nothing uses is kept for so many milliseconds.
const KEPT_MILLIS: u64 = 30_000;

/// For so long a caller that may be gone may still show that it is not.
const ABSENT: Duration = Duration::from_millis(500);

/// A process whose calls run here is asked for a sign of life after so many milliseconds without one, and given up after
/// as many again.
const CALLER_QUIET_MILLIS: u64 = 10_000;

/// When the connection to NATS was down for so many milliseconds, calls in flight are lost.
const DOWN_MILLIS: u64 = 2_000;

/// Looks after the calls that are in flight.
pub(super) async fn watch(core: Arc<Core>) {
    let mut busy = HashMap::new();
    let mut down_since = None;
    loop {
        if core.pending.len() == 0 && busy.is_empty() {
            core.pending.began.notified().await;
        }
        let suspected = busy.values().any(|link: &Arc<Link>| link.liveness().is_suspected());
        let tick = if suspected { HASTY_TICK } else { TICK };
        tokio::select! {
            () = tokio::time::sleep(tick) => {}
            () = core.suspicion.notified() => {}
        }
        let now = core.clock.now();
        let mut links: HashMap<u64, Arc<Link>> =
            core.links.busy().into_iter().map(|link| (link.party.id, link)).collect();
        std::mem::swap(&mut busy, &mut links);
        let idle = links.into_iter().filter(|(id, _)| !busy.contains_key(id));
        idle.for_each(|(_, link)| rest(&link));
        if let Some(reason) = core.connection.down() {
            // Nothing can be said about others now.
            busy.values().for_each(|link| rest(link));
            let since: Monotonic = *down_since.get_or_insert(now);
            if now.since(since) >= DOWN_MILLIS {
                core.pending.lose(|_| true, &format!("the connection to NATS was lost: {reason}"), false);
            }
            continue;
        }
        down_since = None;
        busy.values().for_each(|link| look_after(&core, link, now));
    }
}

fn rest(link: &Link) {
    link.liveness().rest();
    link.settle();
}

fn look_after(core: &Arc<Core>, link: &Arc<Link>, now: Monotonic) {
    let verdict = link.liveness().check(now, link.party.heard());
    match verdict {
        Verdict::Wait => {}
        Verdict::Ping => ping(core, link),
        Verdict::ThereAfterAll => {
            core.counters.word(Counted::Dropped, "untrue_no_responders");
            core.pending.delivered_after_all(link);
            link.settle();
        }
        Verdict::Absent => {
            let reason = format!("{} is gone: nobody listens there any more", link.address());
            core.lose(link, &reason, true);
        }
        Verdict::Silent(time) => {
            let reason = format!("{} did not answer for {time:?}", link.address());
            core.lose(link, &reason, false);
        }
    }
    if let Some(current) = link.party.current.load_full() {
        link.renew(core, &current, now);
    }
}

/// Asks a process for a sign of life.
pub(super) fn ping(core: &Core, link: &Link) {
    let mut token = [0; 8];
    // Nobody shall know it who does not see the ping.
    if core.random.fill(&mut token).is_err() {
        return;
    }
    let (token, now) = (u64::from_be_bytes(token), core.clock.now());
    let current = link.party.current.load();
    let Some(session) = current.as_ref() else { return };
    if let Ok(message) = session.session.seal(Kind::Ping, Ping { token }.encode(), now) {
        link.liveness().pinged(token, now);
        let reply = core.inbox.pair('p', link.party.id, token);
        core.outbox.post(link.subject.clone(), Some(reply), message.into());
    }
}

/// The server says that the caller of a call here is not there. It is asked for a sign of life, and given a moment.
pub(super) fn doubt(core: &Arc<Core>, party: u64, call: CallId) {
    let Some(served) = core.served.get(party, call) else { return };
    let since = core.clock.now();
    if served.absent.swap(since.as_millis(), Ordering::Relaxed) != 0 {
        return;
    }
    served.route.post(Kind::Ping, Ping { token: call }.encode());
    let core = Arc::clone(core);
    tokio::spawn(async move {
        tokio::time::sleep(ABSENT).await;
        served.absent.store(0, Ordering::Relaxed);
        if served.route.party.heard() < since {
            core.served.cancel(party, call, "the caller is gone");
        }
    });
}

/// A sign of life.
pub(super) fn ponged(core: &Core, session: &Established, token: u64) {
    if core.waiters.tell(token, super::handshake::Packet::Pong) {
        return;
    }
    let Some(link) = core.links.of(&session.party) else { return };
    let took = link.liveness().ponged(token);
    if let Some(took) = took {
        core.discovery.measured(link.address(), took);
    }
}

/// Forgets what is over.
pub(super) async fn sweep(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        let now = core.clock.now();
        for session in core.incoming.sweep(now) {
            core.counters.word(Counted::SessionEnded, "over");
            core.abandon_if_alone(&session.party, "the session with the caller has ended");
        }
        let since = Monotonic::from_millis(now.as_millis().saturating_sub(KEPT_MILLIS));
        let ended = core.outgoing.end(|session| is_over(session, now, since));
        ended.iter().for_each(|_| core.counters.word(Counted::SessionEnded, "over"));
        core.links.sweep(since);
        core.served.one_of_each().iter().for_each(|served| look_after_caller(&core, served, now));
    }
}

/// Callers that wait for an answer ask for signs of life by themselves; those that read a stream may have nothing to say.
fn look_after_caller(core: &Core, served: &Ongoing, now: Monotonic) {
    let quiet = now.since(served.route.party.heard());
    if quiet >= 2 * CALLER_QUIET_MILLIS && core.connection.down().is_none() {
        core.served.abandon(&served.route.party, "the caller is gone");
    } else if quiet >= CALLER_QUIET_MILLIS {
        served.route.post(Kind::Ping, Ping { token: served.route.call }.encode());
    }
}

/// A session in which this side calls is over at its end, or when another took its place and nothing came in it lately.
fn is_over(session: &Arc<Established>, now: Monotonic, since: Monotonic) -> bool {
    let current = session.party.current.load();
    let replaced = current.as_ref().is_some_and(|current| !Arc::ptr_eq(current, session));
    !session.is_good(now) || (replaced && session.used() < since.as_millis())
}
