//! A lattice with a host on it that runs something, and what everybody on its NATS server can do.

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::{Duration, timeout};
use wattle_identity::{Grant, Ids, KeyKind, KeyPair};
use wattle_seal::{Address, Local, Packet};
use wattle_tests::{
    Answer, DEADLINE, Host, HostOptions, Nats, NatsOptions, Stage, eventually, guest_path, http, within,
};

use super::{Bus, Insider, Line, find, http_get, refusal_code, request};

/// The component that runs on the host.
pub(crate) const HELLO: &str = "hello";

/// A component that runs nowhere; it has a link to [`HELLO`].
pub(crate) const FRONT: &str = "front";

/// The codes that are told to the sender of a packet where there is no session.
const REFUSED_IN_THE_CLEAR: [u16; 18] =
    [104, 105, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 202, 209];

/// For how long nothing may come that should not.
pub(crate) const SILENCE: Duration = Duration::from_millis(300);

/// The name under which a host counts packets that it did not take, by code.
const PACKETS_REFUSED: &str = "wattle_seat_packets_refused_total";

/// The name under which it counts the refusals that it sent. Of calls there are no others.
const REFUSALS_SENT: &str = "wattle_seat_refusals_sent_total";

/// The first code of refusals of calls.
const OF_CALLS: u16 = 300;

/// The greatest message that the NATS server takes: more than the protocol's greatest one.
const MAX_PAYLOAD: &str = "max_payload: 12582912\n";

/// A host that runs [`HELLO`], on a NATS server where somebody hostile is, too.
pub(crate) struct Arena {
    pub(crate) stage: Stage,
    /// The lattice's cluster key.
    pub(crate) cluster: KeyPair,
    /// Its public half, as those take it who check certificates.
    pub(crate) issuers: Vec<String>,
    /// The attacker's connection.
    pub(crate) client: Client,
    /// The attacker's ears.
    pub(crate) bus: Bus,
    /// Where the host is, by what it says itself.
    pub(crate) target: Address,
}

impl Arena {
    pub(crate) async fn start() -> Self {
        Self::start_with(|options| options).await
    }

    /// With more flags for the host.
    pub(crate) async fn start_with(more: impl FnOnce(HostOptions) -> HostOptions) -> Self {
        let nats =
            Nats::start_with(NatsOptions { config: MAX_PAYLOAD.to_owned(), ..NatsOptions::default() }).await;
        let bus = Bus::tap(&nats, "wattle.>").await;
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let seed = cluster.seed().to_string();
        let stage = Stage::start_on(nats, |options| more(options.env("WATTLE_CLUSTER_SEED", &seed))).await;
        let issuers = vec![cluster.public_key()];
        let client = stage.nats.connect().await;
        let component = guest("http-hello");
        stage.start_component(&component, HELLO, &["--count", "50"]).await.ok();
        let link = ["link", "put", FRONT, HELLO, "wasi", "http", "--interface", "incoming-handler"];
        stage.cli.run(link).await.ok();
        let target = find(&client, stage.nats.lattice(), &issuers, HELLO).await;
        assert_eq!(target.member, stage.host.id());
        Self { stage, cluster, issuers, client, bus, target }
    }

    /// One more host of the lattice, which trusts and takes the same.
    pub(crate) async fn another_host(&self, more: impl FnOnce(HostOptions) -> HostOptions) -> Host {
        let options = HostOptions::new().arg("--allow-file-load");
        let options = options.env("WATTLE_CLUSTER_SEED", self.cluster.seed().as_str());
        Host::start(&self.stage.nats, more(options)).await
    }

    pub(crate) fn lattice(&self) -> &str {
        self.stage.nats.lattice()
    }

    /// Somebody with a certificate of the lattice's cluster key.
    pub(crate) fn insider(&self, grant: Grant) -> Insider {
        Insider::new(&self.cluster, grant)
    }

    /// A host by its certificate, which may answer and speak for everything.
    pub(crate) fn host_by_certificate(&self) -> Insider {
        self.insider(Grant::host(self.lattice()))
    }

    /// A client that may call these.
    pub(crate) fn client_by_certificate(&self, may_call: &[&str]) -> Insider {
        self.insider(Grant::client(self.lattice(), Ids::only(may_call.iter().copied())))
    }

    /// Somebody as a member that keeps to the protocol.
    pub(crate) fn local(&self, insider: &Insider) -> Local {
        insider.local(self.lattice(), &self.issuers)
    }

    /// A session of somebody with the host.
    pub(crate) async fn line(&self, insider: &Insider) -> Line {
        self.line_to(insider, &self.target).await
    }

    /// A session of somebody with any member.
    pub(crate) async fn line_to(&self, insider: &Insider, target: &Address) -> Line {
        Line::open(&self.client, &self.local(insider), &self.issuers, target).await
    }

    /// A session with the host over which calls of [`HELLO`] succeed, and did so once.
    pub(crate) async fn good_line(&self) -> Line {
        let mut line = self.line(&self.host_by_certificate()).await;
        assert_good(&mut line).await;
        line
    }

    /// Sends a packet and gives the first one that comes back.
    pub(crate) async fn exchange(&self, packet: &[u8]) -> Vec<u8> {
        let subject = self.subject(&self.target);
        let packet = Bytes::copy_from_slice(packet);
        let answer = within("an answer", self.client.request(subject, packet)).await;
        answer.unwrap().payload.to_vec()
    }

    /// Sends a packet that the host should pass over in silence.
    pub(crate) async fn send(&self, packet: &[u8]) {
        self.send_to(&self.target, packet).await;
    }

    /// Sends a packet to any process. An answer would be seen on the bus only.
    pub(crate) async fn send_to(&self, target: &Address, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        let inbox = self.client.new_inbox();
        self.client.publish_with_reply(self.subject(target), inbox, packet).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Publishes anything anywhere, as somebody without a name.
    pub(crate) async fn publish(&self, subject: &str, packet: &[u8]) {
        self.client.publish(subject.to_owned(), Bytes::copy_from_slice(packet)).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// An offer that is answered.
    pub(crate) async fn assert_offer_taken(&self, offer: &[u8]) {
        let answer = self.exchange(offer).await;
        assert_eq!(
            Packet::classify(&answer).unwrap(),
            Packet::Answer,
            "a good offer was not answered: {answer:?}"
        );
    }

    /// An offer that is refused with this code: with a signed refusal where the protocol has one for it, in silence
    /// where not. It is counted once.
    pub(crate) async fn assert_offer_refused(&self, offer: &[u8], code: u16) {
        let before = self.refused(code).await;
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.unwrap();
        let packet = Bytes::copy_from_slice(offer);
        self.client.publish_with_reply(self.subject(&self.target), inbox, packet).await.unwrap();
        if REFUSED_IN_THE_CLEAR.contains(&code) {
            let answer = within("a refusal in the clear", answers.next()).await.unwrap();
            assert_eq!(refusal_code(&answer.payload, offer, &self.target), code);
        }
        self.wait_refused(code, before + 1).await;
        let more = timeout(SILENCE, answers.next()).await;
        assert!(more.is_err(), "an answer to what should be passed over in silence: {more:?}");
    }

    /// The subject of a process.
    pub(crate) fn subject(&self, target: &Address) -> String {
        wattle_protocol::rpc::rpc_subject(self.lattice(), &target.member, target.instance.as_bytes())
    }

    /// How many packets the host has refused with this code.
    pub(crate) async fn refused(&self, code: u16) -> u64 {
        refused_by(&self.stage.host, code).await
    }

    /// Waits until the host has counted as many refusals with this code.
    pub(crate) async fn wait_refused(&self, code: u16, count: u64) {
        wait_refused_by(&self.stage.host, code, count).await;
    }

    /// How many packets the host did not take, with any code or for want of one.
    pub(crate) async fn refused_in_all(&self) -> u64 {
        let dropped = metric(&self.stage.host, "wattle_seat_dropped_total", &[]).await;
        metric(&self.stage.host, PACKETS_REFUSED, &[]).await + dropped
    }

    /// Waits until the host has counted as many refusals with any code.
    pub(crate) async fn wait_refused_in_all(&self, count: u64) {
        eventually(&format!("{count} refusals"), DEADLINE, || async {
            (self.refused_in_all().await >= count).then_some(())
        })
        .await;
    }

    /// The host process is the same, takes calls, and does all that a host is for.
    pub(crate) async fn assert_lives(&mut self) {
        self.good_line().await;
        self.stage.assert_host_lives().await;
    }
}

/// A call of [`HELLO`] succeeds.
pub(crate) async fn assert_good(line: &mut Line) {
    let uri = http_get("http://hello/");
    let verdict = line.ask(request(FRONT, HELLO, &uri).encode().unwrap()).await;
    assert_eq!(verdict.status(), 200, "{verdict:?}");
}

/// A reference to a test component.
pub(crate) fn guest(name: &str) -> String {
    format!("file://{}", guest_path(name).display())
}

/// How many packets a host has refused with this code.
pub(crate) async fn refused_by(host: &Host, code: u16) -> u64 {
    let name = if code < OF_CALLS { PACKETS_REFUSED } else { REFUSALS_SENT };
    metric(host, name, &[("code", &code.to_string())]).await
}

/// Waits until a host has counted as many refusals with this code, and no more.
pub(crate) async fn wait_refused_by(host: &Host, code: u16, count: u64) {
    eventually(&format!("{count} refusals with code {code}"), DEADLINE, || async {
        (refused_by(host, code).await >= count).then_some(())
    })
    .await;
    assert_eq!(refused_by(host, code).await, count, "refusals with code {code}");
}

/// The sum of the lines of a host's metrics that have this name and these labels.
pub(crate) async fn metric(host: &Host, name: &str, labels: &[(&str, &str)]) -> u64 {
    let text = http(&format!("{}/metrics", host.admin_url())).await.unwrap().text();
    let fits = |line: &&str| {
        let (found, _) = line.split_once(['{', ' ']).unwrap_or_default();
        found == name && labels.iter().all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
    };
    let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole numbers")]
    let sum = text.lines().filter(fits).map(value).sum::<f64>() as u64;
    sum
}

/// A page that was asked for comes, with this text.
pub(crate) async fn assert_page_is(page: JoinHandle<anyhow::Result<Answer>>, text: &str) {
    let answer = within("the page", page).await.unwrap().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, text));
}
