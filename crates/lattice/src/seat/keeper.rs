//! What has to be done from time to time: pings while calls are in flight, renewals, and forgetting what is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wattle_seal::message::Ping;
use wattle_seal::{Kind, Monotonic};

use super::core::Core;
use super::counters::Counted;
use super::links::Link;
use super::party::Established;
use super::watch::Verdict;

/// How often calls in flight are looked after.
const TICK: Duration = Duration::from_millis(100);

/// The same while a process may be gone.
const HASTY_TICK: Duration = Duration::from_millis(20);

/// How often what is over is forgotten.
const SWEEP: Duration = Duration::from_secs(5);

/// A session or link that nothing uses is kept for so many milliseconds.
const KEPT_MILLIS: u64 = 30_000;

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
        idle.for_each(|(_, link)| link.liveness().rest());
        if let Some(reason) = core.connection.down() {
            // Nothing can be said about others now.
            busy.values().for_each(|link| link.liveness().rest());
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

fn look_after(core: &Arc<Core>, link: &Arc<Link>, now: Monotonic) {
    let verdict = link.liveness().check(now, link.party.heard());
    match verdict {
        Verdict::Wait => {}
        Verdict::Ping => ping(core, link),
        Verdict::ThereAfterAll => {
            core.counters.word(Counted::Dropped, "untrue_no_responders");
            core.pending.delivered_after_all(link);
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
    let (token, now) = (core.waiters.token(), core.clock.now());
    let current = link.party.current.load();
    let Some(session) = current.as_ref() else { return };
    if let Ok(message) = session.session.seal(Kind::Ping, Ping { token }.encode(), now) {
        link.liveness().pinged(token, now);
        let reply = core.inbox.subject('p', link.party.id);
        core.control.post(link.subject.clone(), Some(reply), message.into());
    }
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
    }
}

/// A session in which this side calls is over at its end, or when another took its place and nothing came in it lately.
fn is_over(session: &Arc<Established>, now: Monotonic, since: Monotonic) -> bool {
    let current = session.party.current.load();
    let replaced = current.as_ref().is_some_and(|current| !Arc::ptr_eq(current, session));
    !session.is_good(now) || (replaced && session.used() < since.as_millis())
}
