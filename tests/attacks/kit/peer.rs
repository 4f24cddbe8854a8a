//! A member of the lattice that is called: it keeps to the protocol where the test does not make it do otherwise.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_nats::{Client, Message, Subscriber};
use futures::StreamExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use wattle_identity::Grant;
use wattle_seal::message::{Outcome, Ping, Reply, Request};
use wattle_seal::{Error, Kind, Limits, Local, Packet, Refusal, Responder, Session, SessionId, Trust};
use wattle_tests::within;

use super::discovery::Finder;
use super::line::http_response;
use super::{Arena, Insider, now, plaintext, random, wall};

const MAX_AGE: u64 = 60_000;

/// A request that came in.
pub(crate) struct Arrived {
    /// The number of the call.
    pub(crate) call: u64,
    pub(crate) target: String,
    /// The packet as it came, sealed.
    pub(crate) packet: Vec<u8>,
    /// Where its sender waits for the reply.
    pub(crate) inbox: String,
    pub(crate) session: Arc<Session>,
}

impl Arrived {
    /// A sealed reply with any outcome.
    pub(crate) fn reply(&self, outcome: Outcome<'_>) -> Vec<u8> {
        let reply = Reply { call: self.call, outcome }.encode();
        self.session.seal(Kind::Reply, reply, now()).unwrap()
    }

    /// A sealed HTTP response.
    pub(crate) fn page(&self, text: &str) -> Vec<u8> {
        let value = http_response(200, text.as_bytes());
        self.reply(Outcome::Value { streams: 0, value: &value })
    }
}

/// A member with a certificate that answers for some targets.
pub(crate) struct Peer {
    pub(crate) insider: Insider,
    pub(crate) local: Local,
    pub(crate) subject: String,
    pub(crate) finder: Finder,
    client: Client,
    state: Arc<State>,
    arrivals: tokio::sync::Mutex<UnboundedReceiver<Arrived>>,
    server: JoinHandle<()>,
}

struct State {
    /// Pings and offers are not answered, as when somebody on the way swallows them.
    no_pongs: AtomicBool,
    no_answers: AtomicBool,
    local: Local,
    issuers: Vec<String>,
    client: Client,
    responder: Mutex<Responder>,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    arrived: UnboundedSender<Arrived>,
}

impl Peer {
    /// A host by its certificate that answers for everything, and says that it runs these.
    pub(crate) async fn join(arena: &Arena, targets: &[&str]) -> Self {
        Self::join_with(arena, Grant::host(arena.lattice()), targets).await
    }

    /// The same with another certificate.
    pub(crate) async fn join_with(arena: &Arena, grant: Grant, targets: &[&str]) -> Self {
        Self::join_as(arena, arena.insider(grant), targets).await
    }

    /// The same as somebody that there is already.
    pub(crate) async fn join_as(arena: &Arena, insider: Insider, targets: &[&str]) -> Self {
        let local = arena.local(&insider);
        let client = arena.stage.nats.connect().await;
        let subject = arena.subject(&insider.address());
        let messages = client.subscribe(subject.clone()).await.unwrap();
        client.flush().await.unwrap();
        let (arrived, arrivals) = unbounded_channel();
        let state = Arc::new(State {
            no_pongs: AtomicBool::new(false),
            no_answers: AtomicBool::new(false),
            local: local.clone(),
            issuers: arena.issuers.clone(),
            client: client.clone(),
            responder: Mutex::new(Responder::new(Limits::default())),
            sessions: Mutex::default(),
            arrived,
        });
        let server = tokio::spawn(serve(Arc::clone(&state), messages));
        let finder = Finder::start(&client, arena.lattice(), &insider, targets).await;
        let arrivals = tokio::sync::Mutex::new(arrivals);
        Self { insider, local, subject, finder, client, state, arrivals, server }
    }

    /// Waits for a request.
    pub(crate) async fn request(&self) -> Arrived {
        within("a request", async { self.arrivals.lock().await.recv().await }).await.unwrap()
    }

    /// The request that has come already, if one has.
    pub(crate) async fn waiting(&self) -> Option<Arrived> {
        self.arrivals.lock().await.try_recv().ok()
    }

    /// Sends bytes.
    pub(crate) async fn send(&self, subject: &str, packet: Vec<u8>) {
        self.client.publish(subject.to_owned(), packet.into()).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Its answers to pings get lost from now on.
    pub(crate) fn lose_pongs(&self) {
        self.state.no_pongs.store(true, Ordering::Relaxed);
    }

    /// Its answers to offers get lost, or don't any more.
    pub(crate) fn lose_answers(&self, lose: bool) {
        self.state.no_answers.store(lose, Ordering::Relaxed);
    }

    /// The answer to an offer.
    pub(crate) fn answer(&self, offer: &[u8]) -> Vec<u8> {
        self.state.accept(offer).unwrap()
    }

    /// Forgets all sessions, as a process does that starts anew.
    pub(crate) fn forget_sessions(&self) {
        self.state.sessions.lock().unwrap().clear();
    }

    /// The refusal of a packet for a session that is not known here.
    pub(crate) fn unknown_session(&self, packet: &[u8]) -> Vec<u8> {
        unknown_session(&self.local, packet)
    }
}

/// A refusal in the clear for a session that is not known, signed by any member.
pub(crate) fn unknown_session(local: &Local, packet: &[u8]) -> Vec<u8> {
    let Ok(Packet::Sealed(head)) = Packet::classify(packet) else { panic!("no sealed message") };
    Refusal::sign(local, packet, &Error::UnknownSession { session: head.session }, wall())
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(state: Arc<State>, mut messages: Subscriber) {
    while let Some(message) = messages.next().await {
        let Some(inbox) = message.reply.as_ref().map(ToString::to_string) else { continue };
        if let Some(answer) = state.take(&message, &inbox) {
            state.client.publish(inbox, answer.into()).await.unwrap();
        }
    }
}

impl State {
    /// Takes a packet, and gives the one with which it is answered at once.
    fn take(&self, message: &Message, inbox: &str) -> Option<Vec<u8>> {
        let packet = &message.payload[..];
        match Packet::classify(packet).ok()? {
            Packet::Offer if self.no_answers.load(Ordering::Relaxed) => None,
            Packet::Offer => self.accept(packet),
            Packet::Sealed(head) => {
                let mut opened = packet.to_vec();
                let (session, kind, content) = self.open(head.session, &mut opened)?;
                match kind {
                    Kind::Ping if self.no_pongs.load(Ordering::Relaxed) => None,
                    Kind::Ping => {
                        let pong = plaintext(&Ping::decode(&content).ok()?.token.to_be_bytes());
                        session.seal(Kind::Pong, pong, now()).ok()
                    }
                    Kind::Request => {
                        let request = Request::decode(&content).unwrap();
                        let (call, target) = (request.call, request.target.to_owned());
                        let (packet, inbox) = (packet.to_vec(), inbox.to_owned());
                        let _ = self.arrived.send(Arrived { call, target, packet, inbox, session });
                        None
                    }
                    _ => None,
                }
            }
            Packet::Answer | Packet::Refusal => None,
        }
    }

    fn accept(&self, offer: &[u8]) -> Option<Vec<u8>> {
        let revoked = BTreeSet::new();
        let trust = Trust { cluster_issuers: &self.issuers, revoked: &revoked };
        let mut responder = self.responder.lock().unwrap();
        match responder.accept(&self.local, &trust, offer, now(), wall(), &random()) {
            Ok(answer) => Some(answer),
            Err(error) if error.deserves_refusal() => Some(Refusal::sign(&self.local, offer, &error, wall())),
            Err(_) => None,
        }
    }

    fn open(&self, id: SessionId, packet: &mut [u8]) -> Option<(Arc<Session>, Kind, Vec<u8>)> {
        let mut sessions = self.sessions.lock().unwrap();
        if let Some(session) = sessions.get(&id) {
            let opened = session.open(packet, now(), MAX_AGE).ok()?;
            return Some((Arc::clone(session), opened.kind, opened.plaintext.to_vec()));
        }
        let mut responder = self.responder.lock().unwrap();
        let (session, opened) = responder.confirm(packet, now(), MAX_AGE).ok()?;
        let session = Arc::new(session);
        sessions.insert(id, Arc::clone(&session));
        Some((session, opened.kind, opened.plaintext.to_vec()))
    }
}
