//! The caller's end of a session with a host, and what came back over it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use wattle_protocol::rpc::rpc_subject;
use wattle_seal::message::{self, Encoding, End, Frame, Ping, Refused, Reply, Request};
use wattle_seal::{Address, Initiator, Kind, Local, Packet, Plaintext, Response, Session, Trust};
use wattle_tests::within;

use super::{now, plaintext, random, refusal_code, wall};

/// The interface and the function that every test component has.
const HANDLER: &str = "wasi:http/incoming-handler@0.2.0";
const HANDLE: &str = "handle";

/// Behind the head of a request or response: it has no body.
pub(crate) const NO_BODY: u8 = 0;
/// Its body follows at once.
pub(crate) const INLINE_BODY: u8 = 1;

/// It is the first stream of its direction.
pub(crate) const STREAMED_BODY: u8 = 2;

/// The number of the stream that a response's body is.
const RESPONSE_BODY: u32 = 1;

/// Messages that are older are not opened: some wait here until a test looks at them.
const MAX_AGE: u64 = 3_600_000;

/// What a host made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A value, encoded.
    Value(Vec<u8>),
    /// The call failed after it was begun.
    Failed(u16, String),
    /// A sealed refusal.
    Refused(u16, String),
    /// A signed refusal in the clear.
    InTheClear(u16),
}

impl Verdict {
    /// The number of the refusal.
    #[track_caller]
    pub(crate) fn refusal(&self) -> u16 {
        match self {
            Self::Refused(code, _) | Self::InTheClear(code) => *code,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The status of the HTTP response that was the value.
    #[track_caller]
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Value(value) => u16::from_be_bytes(value[..2].try_into().unwrap()),
            other => panic!("no response: {other:?}"),
        }
    }
}

/// A session with a host.
pub(crate) struct Line {
    pub(crate) session: Session,
    pub(crate) target: Address,
    /// Where the target listens.
    pub(crate) subject: String,
    /// Where the target answers.
    pub(crate) inbox: String,
    /// The packets of the handshake.
    pub(crate) offer: Vec<u8>,
    pub(crate) answer: Vec<u8>,
    client: Client,
    replies: Subscriber,
}

impl Line {
    /// Shakes hands. The session exists at the target once something was sent over it.
    pub(crate) async fn open(client: &Client, local: &Local, issuers: &[String], target: &Address) -> Self {
        let subject = rpc_subject(local.member().lattice(), &target.member, target.instance.as_bytes());
        let inbox = client.new_inbox();
        let mut replies = client.subscribe(inbox.clone()).await.unwrap();
        let initiator = Initiator::start(local, target.clone(), now(), wall(), &random()).unwrap();
        let offer = initiator.offer().to_vec();
        client.publish_with_reply(subject.clone(), inbox.clone(), offer.clone().into()).await.unwrap();
        let packet = within("the answer to an offer", replies.next()).await.unwrap();
        let answer = packet.payload.to_vec();
        assert!(!answer.is_empty(), "nobody listens on {subject}");
        let revoked = BTreeSet::new();
        let trust = Trust { cluster_issuers: issuers, revoked: &revoked };
        let good = match initiator.read(&answer, &trust, now(), wall()).unwrap() {
            Response::Answer(good) => good,
            Response::Refusal(refusal) => panic!("a good offer was refused: {refusal:?}"),
        };
        let session = initiator.finish(good).unwrap();
        Self {
            session,
            target: target.clone(),
            subject,
            inbox,
            offer,
            answer,
            client: client.clone(),
            replies,
        }
    }

    /// Seals.
    pub(crate) fn seal(&self, kind: Kind, plaintext: Plaintext) -> Vec<u8> {
        self.session.seal(kind, plaintext, now()).unwrap()
    }

    /// Sends any bytes to the target, with the session's inbox for replies.
    pub(crate) async fn send(&self, packet: &[u8]) {
        self.send_to(&self.subject, packet).await;
    }

    /// Sends any bytes anywhere, with the session's inbox for replies.
    pub(crate) async fn send_to(&self, subject: &str, packet: &[u8]) {
        let packet = Bytes::copy_from_slice(packet);
        self.client.publish_with_reply(subject.to_owned(), self.inbox.clone(), packet).await.unwrap();
        self.client.flush().await.unwrap();
    }

    /// Seals and sends a request, and waits for what becomes of it.
    pub(crate) async fn ask(&mut self, request: Plaintext) -> Verdict {
        let packet = self.seal(Kind::Request, request);
        self.submit(&packet).await
    }

    /// Sends a packet, and waits for a reply, a refusal, or a refusal in the clear.
    pub(crate) async fn submit(&mut self, packet: &[u8]) -> Verdict {
        self.send(packet).await;
        self.verdict(packet).await
    }

    /// Waits for what a packet led to.
    pub(crate) async fn verdict(&mut self, packet: &[u8]) -> Verdict {
        loop {
            let answer = within("a verdict", self.replies.next()).await.unwrap().payload.to_vec();
            assert!(!answer.is_empty(), "nobody listens on {}", self.subject);
            if let Some(verdict) = self.read(answer, packet) {
                return verdict;
            }
        }
    }

    /// What a packet says, unless it is but a piece of a stream or a sign of life.
    fn read(&self, mut answer: Vec<u8>, packet: &[u8]) -> Option<Verdict> {
        if Packet::classify(&answer).unwrap() == Packet::Refusal {
            return Some(Verdict::InTheClear(refusal_code(&answer, packet, &self.target)));
        }
        let opened = self.session.open(&mut answer, now(), MAX_AGE).unwrap();
        match opened.kind {
            Kind::Reply => Some(match Reply::decode(opened.plaintext).unwrap().outcome {
                message::Outcome::Value { value, .. } => Verdict::Value(value.to_vec()),
                message::Outcome::Failed { code, message } => Verdict::Failed(code, message.to_owned()),
            }),
            Kind::Refusal => {
                let refused = Refused::decode(opened.plaintext).unwrap();
                Some(Verdict::Refused(refused.reason.code(), refused.message.to_owned()))
            }
            _ => None,
        }
    }

    /// The body of the response to a call, whether it comes with the head or as a stream, for which credit is given
    /// without end. An error where the call fails, or the body breaks off.
    pub(crate) async fn body(&mut self, call: u64) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        let mut next = 0;
        loop {
            let mut packet = within("a piece of a body", self.replies.next()).await.unwrap().payload.to_vec();
            let Ok(opened) = self.session.open(&mut packet, now(), MAX_AGE) else { continue };
            match opened.kind {
                Kind::Reply => {
                    let reply = Reply::decode(opened.plaintext).unwrap();
                    match reply.outcome {
                        _ if reply.call != call => {}
                        message::Outcome::Failed { code, message } => {
                            return Err(format!("{code}: {message}"));
                        }
                        message::Outcome::Value { value, streams: 0 } => return Ok(inline_body(value)),
                        message::Outcome::Value { .. } => {}
                    }
                }
                Kind::Refusal => {
                    let refused = Refused::decode(opened.plaintext).unwrap();
                    if refused.call == call {
                        return Err(format!("{:?}: {}", refused.reason, refused.message));
                    }
                }
                Kind::Frame => {
                    let frame = Frame::decode(opened.plaintext).unwrap();
                    if (frame.call, frame.stream) != (call, RESPONSE_BODY) {
                        continue;
                    }
                    assert_eq!(frame.sequence, next, "frames are without gaps");
                    next += 1;
                    body.extend_from_slice(frame.data.get(1..).unwrap_or_default());
                    match frame.end {
                        End::Open => {}
                        End::Complete => return Ok(body),
                        End::Aborted => return Err("the body broke off".to_owned()),
                    }
                }
                _ => {}
            }
        }
    }

    /// The target answers a ping. Gives what came before the answer, which a reply to what was sent earlier would have,
    /// but for pieces of bodies, which nobody reads here.
    pub(crate) async fn ping(&mut self) -> Vec<Vec<u8>> {
        let token = u64::from_be_bytes(super::random_bytes());
        let ping = self.seal(Kind::Ping, Ping { token }.encode());
        self.send(&ping).await;
        let mut before = Vec::new();
        loop {
            let answer = within("the answer to a ping", self.replies.next()).await.unwrap().payload.to_vec();
            match self.session.open(&mut answer.clone(), now(), MAX_AGE) {
                Ok(opened) if opened.kind == Kind::Frame => {}
                Ok(opened)
                    if opened.kind == Kind::Pong
                        && Ping::decode(opened.plaintext).unwrap().token == token =>
                {
                    return before;
                }
                _ => before.push(answer),
            }
        }
    }
}

/// What follows the head of a response that has its body with it.
fn inline_body(value: &[u8]) -> Vec<u8> {
    let mut rest = &value[2..];
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at(length);
        rest = left;
        taken
    };
    for _ in 0..u16::from_be_bytes(take(2).try_into().unwrap()) {
        let name = take(1)[0];
        take(name.into());
        let value = u16::from_be_bytes(take(2).try_into().unwrap());
        take(value.into());
    }
    assert!(matches!(take(1)[0], NO_BODY | INLINE_BODY));
    rest.to_vec()
}

/// The number of a call that no other call of the kit has.
pub(crate) fn call_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A request for HTTP, from one component to another, to which nothing is wrong.
pub(crate) fn request<'a>(source: &'a str, target: &'a str, parameters: &'a [u8]) -> Request<'a> {
    Request {
        call: call_number(),
        remaining: 20_000,
        depth: 0,
        state_revision: 0,
        encoding: Encoding::Http,
        types: [0; 8],
        streams: 0,
        source,
        target,
        link_name: "default",
        interface: HANDLER,
        function: HANDLE,
        trace_parent: "",
        trace_state: "",
        parameters,
    }
}

/// The parameters of a GET without a header and without a body.
pub(crate) fn http_get(uri: &str) -> Vec<u8> {
    let mut head = http_head("GET", uri, &[]);
    head.push(NO_BODY);
    head
}

/// The parameters of a POST whose body is stream 0.
pub(crate) fn streamed_post(uri: &str) -> Vec<u8> {
    let mut head = http_head("POST", uri, &[]);
    head.push(STREAMED_BODY);
    head
}

/// The value of a response with this status and body.
pub(crate) fn http_response(status: u16, body: &[u8]) -> Vec<u8> {
    let mut value = status.to_be_bytes().to_vec();
    value.extend_from_slice(&0_u16.to_be_bytes());
    value.push(INLINE_BODY);
    value.extend_from_slice(body);
    value
}

/// The head of an HTTP request, behind which the kind of its body has to follow.
pub(crate) fn http_head(method: &str, uri: &str, headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut head = vec![u8::try_from(method.len()).unwrap()];
    head.extend_from_slice(method.as_bytes());
    head.extend_from_slice(&u32::try_from(uri.len()).unwrap().to_be_bytes());
    head.extend_from_slice(uri.as_bytes());
    head.extend_from_slice(&u16::try_from(headers.len()).unwrap().to_be_bytes());
    for (name, value) in headers {
        head.push(u8::try_from(name.len()).unwrap());
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        head.extend_from_slice(value);
    }
    head
}

/// A request whose plaintext has other bytes than the protocol allows its writer.
pub(crate) fn patched(request: &Request<'_>, change: impl FnOnce(&mut Vec<u8>)) -> Plaintext {
    let mut bytes = request.encode().unwrap().as_bytes().to_vec();
    change(&mut bytes);
    plaintext(&bytes)
}
