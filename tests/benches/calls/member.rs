//! Sealed calls from member to member, without a component at either end.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use wattle_identity::certificate::{Certificate, Grant, Ids, Role};
use wattle_identity::keys::{KeyKind, KeyPair};
use wattle_lattice::{
    Call, ConnectOptions, Encoding, Incoming, Membership, Outcome, Seat, SeatOptions, Service, Trace,
    async_trait, connect,
};
use wattle_tests::now;

use crate::{BYTES, CALLERS, TIME, median_micros};

const LATTICE: &str = "bench";
const TARGET: &str = "echo";

/// The process at the other end; it ends with this one.
pub(crate) struct Echo(#[expect(dead_code, reason = "held so that it ends when this is dropped")] Child);

/// Starts this program again as the other end, and waits until it says that it listens.
pub(crate) async fn echo_process(arguments: &[&str]) -> Echo {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(Duration::from_secs(30), lines.next_line());
    assert_eq!(first.await.expect("the echo to listen within 30 s").unwrap().as_deref(), Some("ready"));
    Echo(child)
}

/// Answers with what it is given.
struct EchoService;

#[async_trait]
impl Service for EchoService {
    async fn serve(&self, call: Incoming) -> Outcome {
        Outcome::Value { value: call.parameters, streams: Vec::new() }
    }

    fn load(&self, target: &str) -> Option<u16> {
        (target == TARGET).then_some(0)
    }
}

async fn seat(url: &str, cluster: &KeyPair) -> Seat {
    let grant = Grant {
        role: Role::Host,
        lattice: LATTICE.to_owned(),
        answers_for: Ids::All,
        speaks_for: Ids::All,
        may_call: Ids::default(),
        may_spy: Ids::default(),
        artifact: None,
    };
    join(url, cluster, KeyPair::generate(KeyKind::Host).unwrap(), grant).await
}

/// A member with the key and the rights that it is given.
pub(crate) async fn join(url: &str, cluster: &KeyPair, key: KeyPair, grant: Grant) -> Seat {
    let connection = connect(&ConnectOptions::new([url])).await.unwrap();
    let lattice = grant.lattice.clone();
    let certificate = Certificate::new(cluster, &key.public_key(), grant, now()).unwrap();
    let membership = Membership {
        key,
        chain: vec![certificate.encode(cluster).unwrap()],
        issuers: vec![cluster.public_key()],
        revoked: BTreeSet::new(),
    };
    Seat::join(&connection, SeatOptions::new(&lattice), membership, Arc::new(EchoService)).await.unwrap()
}

/// Answers calls until the process is ended.
pub(crate) async fn serve(url: &str, seed: &str) {
    let seat = seat(url, &KeyPair::from_seed(seed).unwrap()).await;
    seat.serve(TARGET);
    println!("ready");
    std::future::pending().await
}

/// One call and its answer.
async fn call(seat: &Seat) {
    let call = Call {
        source: "bench".into(),
        target: TARGET.into(),
        link_name: "default".into(),
        interface: "wattle:bench/echo@0.1.0".into(),
        function: "echo".into(),
        encoding: Encoding::Values,
        types: [0; 8],
        state_revision: 0,
        deadline: tokio::time::Instant::now() + Duration::from_secs(30),
        depth: 0,
        trace: Trace::default(),
        parameters: Bytes::from(vec![7; BYTES]),
        streams: Vec::new(),
        repeatable: false,
    };
    let answer = seat.call(call).await.unwrap();
    assert_eq!(answer.value.len(), BYTES);
}

/// A member, and another in a process of its own that answers it.
pub(crate) struct Members {
    seat: Seat,
    _echo: Echo,
}

impl Members {
    pub(crate) async fn start(url: &str) -> Self {
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let echo = echo_process(&["serve-member", url, &cluster.seed()]).await;
        let members = Self { seat: seat(url, &cluster).await, _echo: echo };
        call(&members.seat).await;
        members
    }

    /// The median of one call at a time.
    pub(crate) async fn latency(&self) -> f64 {
        let mut nanos = Vec::new();
        let end = Instant::now() + TIME;
        while Instant::now() < end {
            let began = Instant::now();
            call(&self.seat).await;
            nanos.push(u64::try_from(began.elapsed().as_nanos()).unwrap());
        }
        median_micros(nanos)
    }

    /// Calls per second of many at a time.
    pub(crate) async fn rate(&self) -> f64 {
        let done = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let callers = (0..CALLERS).map(|_| {
            let (seat, done) = (self.seat.clone(), done.clone());
            tokio::spawn(async move {
                while began.elapsed() < TIME {
                    call(&seat).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        join_all(callers).await.into_iter().for_each(|caller| caller.unwrap());
        done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
    }
}
