//! Members of a lattice for one test: a cluster key, and seats with services that do as the target's name says.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use wattle_identity::{Certificate, Grant, KeyKind, KeyPair};
use wattle_lattice::{
    Answer, Call, CallError, ConnectOptions, Connection, Encoding, Incoming, Membership, OutStream, Outcome,
    Reason, Seat, SeatOptions, Service, StreamBroken, Trace, async_trait, connect,
};

use crate::server::{SOON, Server, within};

pub(crate) const LATTICE: &str = "default";

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The key that all members are certified with.
pub(crate) struct Cluster(pub(crate) KeyPair);

impl Cluster {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate(KeyKind::Cluster).unwrap())
    }

    /// What a holder of this key is by a certificate that ends so many seconds from now; and the certificate's id.
    pub(crate) fn certify(&self, key: &KeyPair, grant: Grant, left: i64) -> (Membership, String) {
        let mut certificate = Certificate::new(&self.0, &key.public_key(), grant, now() - 3600).unwrap();
        certificate.expires = now().saturating_add_signed(left);
        let membership = Membership {
            key: key.clone(),
            chain: vec![certificate.encode(&self.0).unwrap()],
            issuers: vec![self.0.public_key()],
            revoked: BTreeSet::new(),
        };
        (membership, certificate.id)
    }

    /// A host without limits.
    pub(crate) fn host(&self) -> Membership {
        let key = KeyPair::generate(KeyKind::Host).unwrap();
        self.certify(&key, Grant::host(LATTICE), 3600).0
    }
}

/// What a service did.
pub(crate) struct Script {
    /// Calls that were begun.
    pub(crate) begun: AtomicUsize,
    /// Calls that were dropped before they ended.
    pub(crate) dropped: AtomicUsize,
    pub(crate) changed: Notify,
    /// How many calls of `wait` may go on.
    pub(crate) go: Semaphore,
    /// Messages of streams that were taken from the service.
    pub(crate) pulled: Arc<AtomicUsize>,
    pub(crate) callers: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            changed: Notify::new(),
            go: Semaphore::new(0),
            pulled: Arc::default(),
            callers: Mutex::default(),
        })
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                let _ = tokio::time::timeout(Duration::from_millis(20), self.changed.notified()).await;
            }
        };
        within(what, reached).await;
    }
}

struct Begun<'a>(&'a Script, bool);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
            self.0.changed.notify_waiters();
        }
    }
}

/// The messages of a stream that counts how often it was pulled.
pub(crate) fn counted(pulled: &Arc<AtomicUsize>, messages: usize, length: usize) -> OutStream {
    let pulled = Arc::clone(pulled);
    Box::pin(futures::stream::iter(0..messages).map(move |number| {
        pulled.fetch_add(1, Ordering::SeqCst);
        Ok(Bytes::from(vec![number as u8; length]))
    }))
}

#[async_trait]
impl Service for Script {
    async fn serve(&self, mut call: Incoming) -> Outcome {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
        self.callers.lock().unwrap().push(call.caller.key().to_owned());
        let mut begun = Begun(self, false);
        let outcome = match &*call.function {
            "echo" => Outcome::Value { value: call.parameters, streams: Vec::new() },
            "fields" => {
                let text = format!(
                    "{} {} {} {} {:?} {:?} {} {} {:?}",
                    call.source,
                    call.target,
                    call.link_name,
                    call.interface,
                    call.encoding,
                    call.types,
                    call.state_revision,
                    call.depth,
                    call.trace
                );
                assert!(call.deadline > Instant::now());
                Outcome::Value { value: text.into(), streams: Vec::new() }
            }
            "busy" => Outcome::Refused { reason: Reason::Busy, message: "full".to_owned() },
            "denied" => Outcome::Refused { reason: Reason::Denied, message: "no".to_owned() },
            "fail" => Outcome::Failed { code: 7, message: "it trapped".to_owned() },
            "panic" => panic!("as told"),
            "wait" => {
                self.go.acquire().await.unwrap().forget();
                Outcome::Value { value: call.parameters, streams: Vec::new() }
            }
            "block" => {
                std::thread::sleep(Duration::from_secs(8));
                Outcome::Value { value: Bytes::new(), streams: Vec::new() }
            }
            // Each stream comes back as it goes in.
            "mirror" => {
                let streams = call.streams.drain(..).map(|stream| Box::pin(stream) as OutStream).collect();
                Outcome::Value { value: call.parameters, streams }
            }
            "bulk" => {
                Outcome::Value { value: Bytes::new(), streams: vec![counted(&self.pulled, 1000, 10_000)] }
            }
            "broken" => {
                let messages = [Ok(Bytes::from_static(b"a")), Err(StreamBroken::new("as told"))];
                let stream: OutStream = Box::pin(futures::stream::iter(messages));
                Outcome::Value { value: Bytes::new(), streams: vec![stream] }
            }
            // Says how many bytes came in.
            "sum" => {
                let mut sum = 0;
                let mut problem = None;
                for stream in &mut call.streams {
                    while let Some(message) = stream.next().await {
                        match message {
                            Ok(data) => sum += data.len(),
                            Err(error) => problem = Some(error.to_string()),
                        }
                    }
                }
                let value = problem.unwrap_or_else(|| sum.to_string()).into();
                Outcome::Value { value, streams: Vec::new() }
            }
            // Takes one message of each stream, and goes on.
            "first" => {
                for stream in &mut call.streams {
                    stream.next().await;
                }
                Outcome::Value { value: Bytes::new(), streams: Vec::new() }
            }
            other => Outcome::Refused { reason: Reason::NoFunction, message: other.to_owned() },
        };
        begun.1 = true;
        outcome
    }

    fn load(&self, _: &str) -> Option<u16> {
        Some(0)
    }
}

/// A seat with a connection of its own.
pub(crate) struct Member {
    pub(crate) seat: Seat,
    pub(crate) script: Arc<Script>,
}

impl Member {
    pub(crate) async fn join(server: &Server, membership: Membership) -> Self {
        Self::join_with(server, membership, SeatOptions::new(LATTICE)).await
    }

    pub(crate) async fn join_with(server: &Server, membership: Membership, options: SeatOptions) -> Self {
        Self::sit(server.connect().await, membership, options).await
    }

    /// For a runtime of its own.
    pub(crate) async fn join_at(url: &str, membership: Membership) -> Self {
        let connection = connect(&ConnectOptions::new([url])).await.unwrap();
        Self::sit(connection, membership, SeatOptions::new(LATTICE)).await
    }

    async fn sit(connection: Connection, membership: Membership, options: SeatOptions) -> Self {
        let script = Script::new();
        let service = Arc::clone(&script) as Arc<dyn Service>;
        let seat = within("the seat", Seat::join(&connection, options, membership, service)).await.unwrap();
        Self { seat, script }
    }

    pub(crate) async fn call(
        &self,
        target: &str,
        function: &str,
        parameters: &[u8],
    ) -> Result<Answer, CallError> {
        self.make(call(target, function, parameters)).await
    }

    pub(crate) async fn make(&self, call: Call) -> Result<Answer, CallError> {
        within("the call", self.seat.call(call)).await
    }

    /// What was counted under a name and a label.
    pub(crate) fn count(&self, name: &str, label: &str) -> u64 {
        let counters = self.seat.counters();
        counters.iter().filter(|(n, l, _)| *n == name && l == label).map(|(_, _, count)| count).sum()
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(SOON, reached).await.is_err() {
            panic!("waited for: {what}; counted: {:?}", self.seat.counters());
        }
    }
}

pub(crate) fn call(target: &str, function: &str, parameters: &[u8]) -> Call {
    Call {
        source: "gateway".into(),
        target: target.into(),
        link_name: "default".into(),
        interface: "test:lattice/target@1.0.0".into(),
        function: function.into(),
        encoding: Encoding::Values,
        types: [0; 8],
        state_revision: 0,
        deadline: Instant::now() + Duration::from_secs(30),
        depth: 0,
        trace: Trace::default(),
        parameters: Bytes::copy_from_slice(parameters),
        streams: Vec::new(),
        repeatable: false,
    }
}
