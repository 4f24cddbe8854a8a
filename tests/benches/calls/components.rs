//! Calls between two components of one host process, into reused instances, as the calling component times them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use wattle_identity::certificate::{Grant, Ids, Role};
use wattle_identity::keys::{KeyKind, KeyPair};
use wattle_lattice::{Call, Encoding, Seat, Trace};
use wattle_tests::{Cli, Host, HostOptions, Nats, guest_path};

use crate::{BYTES, CALLERS, median_micros, member};

/// Calls that the caller makes for one figure, in all.
const CALLS: usize = 200_000;

const CALLER: &str = "caller";
const ECHO: &str = "echo";

/// A host with a caller and what it calls, and a client that tells the caller to begin.
pub(crate) struct Components {
    client: Seat,
    source: String,
    _host: Host,
}

impl Components {
    pub(crate) async fn start(nats: &Nats) -> Self {
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let options =
            HostOptions::new().arg("--allow-file-load").env("WATTLE_CLUSTER_SEED", &*cluster.seed());
        let host = Host::start(nats, options).await;
        let cli = Cli::new(nats);
        let file = format!("file://{}", guest_path("bench-calls").display());
        for id in [CALLER, ECHO] {
            cli.run(["start", "component", &file, id, "--max-instance-reuse", "1000000"]).await.ok();
        }
        cli.run(["link", "put", CALLER, ECHO, "wattle", "bench", "--interface", "echo"]).await.ok();
        let key = KeyPair::generate(KeyKind::User).unwrap();
        let source = key.public_key();
        let grant = Grant {
            role: Role::Client,
            lattice: nats.lattice().to_owned(),
            answers_for: Ids::default(),
            speaks_for: Ids::default(),
            may_call: Ids::only([CALLER]),
            may_spy: Ids::default(),
            artifact: None,
        };
        Self { client: member::join(&nats.url(), &cluster, key, grant).await, source, _host: host }
    }

    /// So many calls, one after another, each timed in nanoseconds by the caller.
    async fn run(&self, calls: usize) -> Vec<u64> {
        let call = Call {
            source: self.source.as_str().into(),
            target: CALLER.into(),
            link_name: "".into(),
            interface: "wattle:bench/run@0.1.0".into(),
            function: "run".into(),
            encoding: Encoding::Wave,
            types: [0; 8],
            state_revision: 0,
            deadline: tokio::time::Instant::now() + Duration::from_secs(60),
            depth: 0,
            trace: Trace::default(),
            parameters: Bytes::from(format!("{calls}, {BYTES}")),
            streams: Vec::new(),
            repeatable: false,
        };
        let answer = self.client.call(call).await.unwrap();
        let (length, texts) = answer.value.split_first_chunk::<4>().unwrap();
        let wave = std::str::from_utf8(&texts[..u32::from_be_bytes(*length) as usize]).unwrap();
        let nanos = wave.trim_matches(['[', ']']).split(',');
        nanos.map(|nanos| nanos.trim().parse().expect("nanoseconds")).collect()
    }

    /// The median of one call at a time.
    pub(crate) async fn latency(&self) -> f64 {
        median_micros(self.run(CALLS / 10).await)
    }

    /// Calls per second of many at a time.
    pub(crate) async fn rate(&self) -> f64 {
        let calls = CALLS / CALLERS;
        let began = Instant::now();
        let _: Vec<Vec<u64>> = join_all((0..CALLERS).map(|_| self.run(calls))).await;
        (calls * CALLERS) as f64 / began.elapsed().as_secs_f64()
    }
}
