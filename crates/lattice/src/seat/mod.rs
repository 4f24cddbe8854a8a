//! A seat: where a member takes part in sealed calls, as one that calls and as one that is called.

mod bucket;
mod call;
mod caller;
mod clock;
mod core;
mod counters;
mod gate;
mod handshake;
mod keeper;
mod links;
mod outbox;
mod party;
mod pending;
mod receive;
mod serve;
mod served;
mod service;
mod sessions;
mod standing;
mod stream;
mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use tokio_util::sync::{CancellationToken, DropGuard};
use wattle_protocol::rpc::rpc_subject;
use wattle_seal::{Address, InstanceId};

pub use self::call::{Answer, Call, CallError, Executed, Trace};
pub use self::service::{Incoming, Outcome, Service};
pub use self::standing::Membership;
pub(crate) use self::standing::{SharedStanding, Standing};
pub use self::stream::{InStream, MAX_STREAM_MESSAGE_LEN, OutStream, StreamBroken};

use self::clock::{Clock, wall};
use self::core::{Core, Inbox};
use self::counters::{Counted, Counters};
use self::gate::Gate;
use self::outbox::Outbox;
use self::pending::PendingCalls;
use self::served::ServedCalls;
use self::sessions::Incoming as IncomingSessions;
use crate::discovery::Discovery;
use crate::{Connection, Error};

/// With so many calls under way, or fewer, messages are not gathered before they are sent.
const FEW_CALLS: usize = 4;

/// How long the last answers may take to be sent when this process leaves.
const GOODBYE: Duration = Duration::from_secs(2);

/// Where a member sits.
#[derive(Debug, Clone)]
pub struct SeatOptions {
    /// The lattice's name.
    pub lattice: String,
    /// How much the seat takes.
    pub limits: SeatLimits,
}

impl SeatOptions {
    /// A seat on a lattice, with the usual limits.
    #[must_use]
    pub fn new(lattice: &str) -> Self {
        Self { lattice: lattice.to_owned(), limits: SeatLimits::default() }
    }
}

/// How much a seat takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatLimits {
    /// Calls of others that run here at once; more are refused as busy.
    pub calls: usize,
    /// Sessions in which others call; of the member that has most of them, the one that was idle longest goes first.
    pub sessions: usize,
}

impl Default for SeatLimits {
    /// 65,536 calls, 16,384 sessions.
    fn default() -> Self {
        Self { calls: 65_536, sessions: 16_384 }
    }
}

/// A member's seat on the lattice. Clones share it; it is left when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Seat {
    core: Arc<Core>,
    _tasks: Arc<DropGuard>,
}

impl Seat {
    /// Takes a seat: from now on others can call this member, and it can call others.
    ///
    /// # Errors
    /// [`Error::Membership`] when others would not accept the membership, or the operating system gives no random
    /// numbers; [`Error::Name`] for a lattice's name that fits in no subject; [`Error::Permission`] when the NATS user
    /// may not subscribe where it must; [`Error::Disconnected`], [`Error::Timeout`], [`Error::Message`] when the NATS
    /// server can't be asked.
    pub async fn join(
        connection: &Connection,
        options: SeatOptions,
        membership: Membership,
        service: Arc<dyn Service>,
    ) -> Result<Self, Error> {
        let SeatOptions { lattice, limits } = options;
        wattle_protocol::name::check_lattice_name(&lattice)?;
        let random = SystemRandom::new();
        let instance = InstanceId::random(&random)?;
        let standing = Standing::new(membership, instance, &lattice, wall())?;
        let address = Address { member: standing.local.member().key().to_owned(), instance };
        let standing: SharedStanding = Arc::new(ArcSwap::from_pointee(standing));

        let client = connection.client().clone();
        let subject = rpc_subject(&lattice, &address.member, instance.as_bytes());
        let inbox = Inbox::new(client.new_inbox());
        let calls = subscribe(connection, &subject).await?;
        let answers = subscribe(connection, &inbox.wildcard()).await?;
        connection.round_trip().await?;
        for subject in [subject, inbox.wildcard()] {
            if let Some(reason) = connection.refused(&subject) {
                return Err(Error::Permission { what: format!("subscribe to `{subject}`"), reason });
            }
        }
        let discovery =
            Discovery::start(connection, &lattice, Arc::clone(&standing), Arc::clone(&service)).await?;
        let (outbox, queue) = Outbox::new();
        let (gate, queues) = Gate::new();
        let closed = CancellationToken::new();
        let core = Arc::new(Core {
            connection: connection.clone(),
            client,
            lattice,
            address,
            limits,
            clock: Clock::new(),
            pending: PendingCalls::new(first_call(&random)?),
            random,
            standing,
            service,
            discovery,
            counters: Counters::default(),
            outbox,
            gate,
            inbox,
            waiters: handshake::Waiters::default(),
            links: links::Links::default(),
            outgoing: sessions::Outgoing::default(),
            incoming: IncomingSessions::new(limits.sessions),
            served: ServedCalls::new(),
            draining: false.into(),
            suspicion: tokio::sync::Notify::new(),
            quit: CancellationToken::new(),
            quiet: CancellationToken::new(),
            closed: closed.clone(),
        });
        spawn(&core, {
            let core = Arc::clone(&core);
            async move {
                // With a few calls, each is to be quick; with many, all of them.
                let many = || core.pending.len() + core.served.len() > FEW_CALLS;
                core.outbox.run(queue, &core.client, many).await;
            }
        });
        spawn(&core, gate::run(Arc::clone(&core), queues));
        spawn(&core, receive::calls(Arc::clone(&core), calls));
        spawn(&core, receive::inbox(Arc::clone(&core), answers));
        spawn(&core, keeper::watch(Arc::clone(&core)));
        spawn(&core, keeper::sweep(Arc::clone(&core)));
        tokio::spawn(close(Arc::clone(&core)));
        Ok(Self { core, _tasks: Arc::new(closed.drop_guard()) })
    }

    /// The process that this is, where others call it.
    #[must_use]
    pub fn address(&self) -> Address {
        self.core.address.clone()
    }

    /// Makes a call: finds a peer for the target, and another one if that certainly did not begin it. When the future is
    /// dropped, the call is cancelled.
    ///
    /// # Errors
    /// See [`CallError`], whose [`executed`](CallError::executed) says whether the call may have been carried out.
    pub async fn call(&self, mut call: Call) -> Result<Answer, CallError> {
        caller::call(&self.core, &mut call).await
    }

    /// Makes a call at every member that answers for the target, such as one that watches what they do. The call can't
    /// have streams of its own. Members that don't answer it are left out.
    ///
    /// # Errors
    /// What the last member said, when none answered.
    pub async fn call_everywhere(&self, call: Call) -> Result<Vec<Answer>, CallError> {
        caller::call_everywhere(&self.core, call).await
    }

    /// From now on a target runs here: others are told, and it is answered for when they ask.
    pub fn serve(&self, target: &str) {
        self.core.discovery.serve(target);
    }

    /// A target does not run here any more.
    pub fn unserve(&self, target: &str) {
        self.core.discovery.unserve(target);
    }

    /// Whether another member is known that runs a target; where none is, one is looked for in the background.
    #[must_use]
    pub fn knows_peer_for(&self, target: &str) -> bool {
        self.core.discovery.knows_or_seeks(target)
    }

    /// Tells others that no more calls are taken here, refuses those that still come, and waits for those that run.
    pub async fn drain(&self) {
        self.core.draining.store(true, Ordering::Relaxed);
        self.core.discovery.announce_draining().await;
        self.core.served.none_left().await;
        if tokio::time::timeout(GOODBYE, self.say_goodbye()).await.is_err() {
            tracing::warn!("the last answers over the lattice may not have been sent");
        }
    }

    /// Sees to it that whoever has sent a call here has an answer, and whoever sends one from now on learns that nobody
    /// is here.
    async fn say_goodbye(&self) {
        let core = &self.core;
        core.quit.cancel();
        tokio::select! {
            () = core.quiet.cancelled() => {}
            () = core.closed.cancelled() => return,
        }
        core.served.none_left().await;
        core.outbox.published().await;
        if let Err(error) = core.connection.flush().await {
            tracing::warn!(%error, "the last answers over the lattice may not have been sent");
        }
    }

    /// Takes the place of the membership until now: new certificates, or other trust. Sessions with members that are no
    /// longer trusted end, and calls with them.
    ///
    /// # Errors
    /// [`Error::Membership`] when others would not accept it; then nothing changes.
    pub fn set_membership(&self, membership: Membership) -> Result<(), Error> {
        let core = &self.core;
        let (wall, instance) = (wall(), core.address.instance);
        let standing = Arc::new(Standing::new(membership, instance, &core.lattice, wall)?);
        if standing.local.member().key() != core.address.member {
            let (certificate, key) = (standing.local.member().key().to_owned(), core.address.member.clone());
            return Err(wattle_seal::Error::WrongKey { certificate, key }.into());
        }
        core.standing.store(Arc::clone(&standing));
        let untrusted = |session: &Arc<party::Established>| {
            session.session.peer().check(&standing.issuers, wall.as_secs(), &standing.revoked).is_err()
        };
        for session in core.incoming.end(untrusted) {
            core.counters.word(Counted::SessionEnded, "untrusted");
            core.served.abandon(&session.party, "the caller is no longer trusted");
        }
        for session in core.outgoing.end(untrusted) {
            core.counters.word(Counted::SessionEnded, "untrusted");
            let reason = format!("{} is no longer trusted", session.member.key());
            core.pending.lose(|pending| Arc::ptr_eq(&pending.link.party, &session.party), &reason, false);
        }
        Ok(())
    }

    /// What was counted, and what there is now: name, label (empty for none) and number.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, String, u64)> {
        let core = &self.core;
        let now = [
            ("calls_in_flight", "made", core.pending.len()),
            ("calls_in_flight", "served", core.served.len()),
            ("sessions", "made", core.outgoing.len()),
            ("sessions", "taken", core.incoming.len()),
        ];
        let now = now.map(|(name, label, count)| (name, label.to_owned(), count as u64));
        now.into_iter().chain(core.counters.snapshot()).chain(core.discovery.counters()).collect()
    }

    /// Leaves the lattice now: calls that run end, in both directions.
    pub fn leave(&self) {
        self.core.closed.cancel();
    }
}

async fn subscribe(connection: &Connection, subject: &str) -> Result<async_nats::Subscriber, Error> {
    let subscribed = connection.client().subscribe(subject.to_owned()).await;
    subscribed.map_err(|error| Error::Message {
        what: format!("subscribe to `{subject}`"),
        reason: error.to_string(),
    })
}

fn first_call(random: &SystemRandom) -> Result<u64, Error> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes).map_err(|_| wattle_seal::Error::Random)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Runs a task until the seat is left.
fn spawn(core: &Core, task: impl Future<Output = ()> + Send + 'static) {
    let closed = core.closed.clone();
    tokio::spawn(async move {
        closed.run_until_cancelled(task).await;
    });
}

/// Ends everything when the seat is left.
async fn close(core: Arc<Core>) {
    core.closed.cancelled().await;
    core.discovery.stop();
    let reason = "the lattice was left";
    core.served.give_up_all(|_| true, reason);
    core.pending.lose(|_| true, reason, false);
    core.incoming.end(|_| true);
    core.outgoing.end(|_| true);
}
