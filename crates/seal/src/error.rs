//! Every reason for refusing a packet, each with a number of its own.

use wattle_identity::Error as IdentityError;

use crate::{Kind, SessionId, VersionRange};

/// Why a handshake, a message or a field was refused. [`code`](Self::code) gives each its number in the protocol.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A packet of the handshake is cut, too long, or has a field that can't be.
    #[error("malformed handshake: {field} {problem}")]
    MalformedHandshake {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// An offer is for another lattice than that of the member that got it.
    #[error("the offer is for the lattice `{found}`, and this is `{expected}`")]
    WrongLattice {
        /// The lattice of the member.
        expected: String,
        /// The lattice in the offer.
        found: String,
    },

    /// An offer is for another member or another process than the one that got it.
    #[error(
        "the offer is for {found}, and this is {expected}: it was redirected, or the target started anew"
    )]
    WrongTarget {
        /// Member and instance that got the offer.
        expected: String,
        /// Member and instance in the offer.
        found: String,
    },

    /// The clocks of the two members differ by more than a minute.
    #[error(
        "the clocks differ by more than 60 s: the other member's says {theirs} and ours {ours} (seconds since 1970); \
         correct the wrong one"
    )]
    ClockSkew {
        /// The time in the packet.
        theirs: u64,
        /// The time here.
        ours: u64,
    },

    /// The two members speak no common version of the protocol. Raised on both sides.
    #[error(
        "no common protocol version: we speak {ours} and the other member {theirs}; upgrade the older one"
    )]
    NoCommonVersion {
        /// The versions spoken here.
        ours: VersionRange,
        /// The versions spoken there.
        theirs: VersionRange,
    },

    /// A chain of certificates was refused. Each reason has its own number here, too.
    #[error(transparent)]
    Certificate(#[from] IdentityError),

    /// A packet of the handshake, or a refusal, is not signed by the member that it should come from.
    #[error("the signature is not one of {member}: the packet was changed, or is someone else's")]
    BadSignature {
        /// The member that should have signed.
        member: String,
    },

    /// An offer was shown again after it had led to a session or had been given up.
    #[error("the offer was already used: make a new one")]
    OfferReplayed,

    /// An answer or a refusal comes from another member than the one that was asked.
    #[error("the answer comes from {found}, and {expected} was asked")]
    WrongMember {
        /// The member that was asked.
        expected: String,
        /// The member that answered.
        found: String,
    },

    /// An answer or a refusal comes from another process of the member than the one that was asked.
    #[error("the answer comes from another instance of {member} than the one that was asked")]
    WrongInstance {
        /// The member.
        member: String,
    },

    /// The answer's choice of version or features is not the best one that both sides can do.
    #[error("the answer chose another {what} than both sides agree on")]
    WrongChoice {
        /// `version` or `features`.
        what: &'static str,
    },

    /// The other member's key gives no shared secret.
    #[error("no secret could be agreed on with the key of {member}: it is not a good X25519 key")]
    KeyAgreement {
        /// The other member.
        member: String,
    },

    /// An answer came too late.
    #[error("the handshake took {took} ms, more than {limit} ms: make a new one")]
    HandshakeTooSlow {
        /// Milliseconds that it took.
        took: u64,
        /// Milliseconds that it may take.
        limit: u64,
    },

    /// A member was set up with a key that is not the one in its certificate.
    #[error(
        "the certificate is that of {certificate}, and the key is {key}: use the pair that belongs together"
    )]
    WrongKey {
        /// The key in the certificate.
        certificate: String,
        /// The key that was given.
        key: String,
    },

    /// An answer that was checked for one offer was used to finish another.
    #[error("the answer belongs to another offer")]
    OtherOffer,

    /// The operating system gave no random bytes.
    #[error("the operating system gave no random numbers, so no key was made")]
    Random,

    /// The other member refused, with its signature.
    #[error(
        "the other member refused with code {code}; its clock says {theirs} and ours {ours} (seconds since 1970)"
    )]
    Refused {
        /// The number of its reason, as of [`code`](Self::code).
        code: u16,
        /// The time there.
        theirs: u64,
        /// The time here.
        ours: u64,
    },

    /// Bytes are too few for a sealed message, or are of no known kind.
    #[error("malformed message: {field} {problem}")]
    MalformedHead {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A message has another version than its session.
    #[error("the message has version {found}, and its session has version {expected}")]
    WrongVersion {
        /// The version of the session.
        expected: u8,
        /// The version in the message.
        found: u8,
    },

    /// A message is for a session that is not known here: it ended, or was another process's.
    #[error("the session {session} is not known here: make a new one")]
    UnknownSession {
        /// The session in the message.
        session: SessionId,
    },

    /// A message did not open: it was changed, or sealed with another key.
    #[error("the message did not open: it was changed, or sealed for another session")]
    NotAuthentic,

    /// A message was opened before.
    #[error("message {counter} of the session was opened before")]
    Replayed {
        /// The message's counter.
        counter: u64,
    },

    /// A message is so far behind the latest one that nobody can tell whether it was opened before.
    #[error("message {counter} of the session is too far behind the latest, {latest}")]
    OutsideWindow {
        /// The message's counter.
        counter: u64,
        /// The highest counter that was opened.
        latest: u64,
    },

    /// A message was sealed too long ago.
    #[error("the message is {age} ms old, more than {max} ms: it was held back")]
    Expired {
        /// Its age in milliseconds.
        age: u64,
        /// The age that was allowed.
        max: u64,
    },

    /// A message claims to be sealed later than now: one of the machines was asleep, and the session is of no more use.
    #[error("the message comes {by} ms early: a machine was suspended; make a new session")]
    AheadOfTime {
        /// By how many milliseconds.
        by: u64,
    },

    /// The session has ended: it is too old, or the certificates that it was made with expired.
    #[error("the session has ended: make a new one")]
    SessionEnded,

    /// A session has sealed, or is shown, more messages than its keys may be used for.
    #[error("the session's keys are used up: make a new one")]
    SessionExhausted,

    /// A message is longer than the protocol allows.
    #[error("the {kind} has {length} bytes, more than {max}: split it")]
    MessageTooLarge {
        /// What it is.
        kind: Kind,
        /// Its length.
        length: usize,
        /// The limit.
        max: usize,
    },

    /// A message is of a kind that only the other side of the session sends: met when sealing as well as when opening.
    #[error("a {kind} goes the other way in this session")]
    WrongDirection {
        /// The kind.
        kind: Kind,
    },

    /// The plaintext of a message can't be read.
    #[error("malformed content: {field} {problem}")]
    MalformedContent {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A field is longer than the protocol allows.
    #[error("{field} has {length} bytes, more than {max}")]
    FieldTooLong {
        /// The field.
        field: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit.
        max: usize,
    },

    /// A call comes at the end of too long a chain of calls.
    #[error(
        "the call is number {depth} in a chain of calls, more than {max}: components call each other in a circle"
    )]
    TooDeep {
        /// The depth of the call.
        depth: u8,
        /// The limit.
        max: u8,
    },
}

impl Error {
    /// Code of [`UnknownSession`](Self::UnknownSession).
    pub const UNKNOWN_SESSION: u16 = 202;
    /// Code of [`NoCommonVersion`](Self::NoCommonVersion).
    pub const NO_COMMON_VERSION: u16 = 105;
    /// Code of [`ClockSkew`](Self::ClockSkew).
    pub const CLOCK_SKEW: u16 = 104;

    /// The number of the reason. It never changes its meaning: other members, counters and logs use it.
    pub fn code(&self) -> u16 {
        match self {
            Self::MalformedHandshake { .. } => 101,
            Self::WrongLattice { .. } => 102,
            Self::WrongTarget { .. } => 103,
            Self::ClockSkew { .. } => Self::CLOCK_SKEW,
            Self::NoCommonVersion { .. } => Self::NO_COMMON_VERSION,
            Self::BadSignature { .. } => 106,
            Self::OfferReplayed => 107,
            Self::WrongMember { .. } => 108,
            Self::WrongInstance { .. } => 109,
            Self::WrongChoice { .. } => 110,
            Self::KeyAgreement { .. } => 111,
            Self::HandshakeTooSlow { .. } => 112,
            Self::WrongKey { .. } => 113,
            Self::OtherOffer => 114,
            Self::Random => 115,
            Self::Refused { .. } => 116,
            Self::Certificate(error) => certificate_code(error),
            Self::MalformedHead { .. } => 201,
            Self::UnknownSession { .. } => Self::UNKNOWN_SESSION,
            Self::WrongVersion { .. } => 203,
            Self::NotAuthentic => 204,
            Self::Replayed { .. } => 205,
            Self::OutsideWindow { .. } => 206,
            Self::Expired { .. } => 207,
            Self::AheadOfTime { .. } => 208,
            Self::SessionEnded => 209,
            Self::SessionExhausted => 210,
            Self::MessageTooLarge { .. } => 211,
            Self::WrongDirection { .. } => 212,
            Self::MalformedContent { .. } => 301,
            Self::FieldTooLong { .. } => 302,
            Self::TooDeep { .. } => 303,
        }
    }

    /// Whether the sender of a packet that was refused for this reason should be told so, with a signed
    /// [`Refusal`](crate::Refusal): it could be an honest member that can do something about it. Anything else is counted
    /// and passed over in silence.
    pub fn deserves_refusal(&self) -> bool {
        match self {
            Self::ClockSkew { .. }
            | Self::NoCommonVersion { .. }
            | Self::UnknownSession { .. }
            | Self::SessionEnded => true,
            Self::Certificate(error) => !matches!(
                error,
                IdentityError::MalformedCertificate { .. }
                    | IdentityError::BadSignature { .. }
                    | IdentityError::EmptyChain
                    | IdentityError::ChainTooLong { .. }
            ),
            _ => false,
        }
    }
}

/// Numbers of the reasons for which certificates are refused. What can only go wrong when signing has none of its own.
fn certificate_code(error: &IdentityError) -> u16 {
    match error {
        IdentityError::MalformedCertificate { .. } => 121,
        IdentityError::EmptyChain => 122,
        IdentityError::ChainTooLong { .. } => 123,
        IdentityError::MissingIssuer { .. } => 124,
        IdentityError::BrokenChain { .. } => 125,
        IdentityError::UntrustedIssuer { .. } => 126,
        IdentityError::WrongCertificateIssuer { .. } => 127,
        IdentityError::NotDelegable { .. } => 128,
        IdentityError::WrongMemberKey { .. } => 129,
        IdentityError::WrongGrant { .. } => 130,
        IdentityError::WrongLattice { .. } => 131,
        IdentityError::ExceedsIssuer { .. } => 132,
        IdentityError::OutlivesIssuer { .. } => 133,
        IdentityError::NeverValid { .. } => 134,
        IdentityError::CertificateExpired { .. } => 135,
        IdentityError::CertificateNotYetValid { .. } => 136,
        IdentityError::Revoked { .. } => 137,
        IdentityError::BadSignature { .. } => 138,
        _ => 120,
    }
}
