//! Everything that can go wrong with keys, claims and signatures.

use crate::certificate::Role;
use crate::keys::KeyKind;

/// Why a key, a set of claims or a signature was refused. Times are in seconds since the Unix epoch.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A word was given as a kind of key that names none.
    #[error("`{0}` is not a kind of key: use account, component, provider, host, cluster, operator or user")]
    UnknownKind(String),

    /// A seed could not be read. The seed itself is never part of the message.
    #[error("cannot read the seed: {reason}")]
    BadSeed {
        /// What is wrong with it.
        reason: String,
    },

    /// A public key could not be read.
    #[error("`{key}` is not a public key: {reason}")]
    BadPublicKey {
        /// The text that was given.
        key: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A signature is not the named key's over these bytes.
    #[error(
        "the signature is not one of {public_key}: the signed text was changed, or another key signed it"
    )]
    BadSignature {
        /// The key that should have signed.
        public_key: String,
    },

    /// The operating system gave no random bytes.
    #[error("the operating system gave no random numbers, so no key or id was made")]
    Random,

    /// Claims were about to be signed with another key than the one that they name as issuer.
    #[error("cannot sign claims issued by {claims} with the key of {key}")]
    IssuerMismatch {
        /// The issuer that the claims name.
        claims: String,
        /// The public half of the key that was given.
        key: String,
    },

    /// The issuer of claims is not an account key: met when signing as well as when checking.
    #[error("the issuer `{issuer}` is not an account key (A…): claims are issued by accounts")]
    WrongIssuer {
        /// The issuer that the claims name.
        issuer: String,
    },

    /// The subject of claims is not a key of the kind that these claims are about: met when signing as well as when
    /// checking.
    #[error("the subject `{subject}` is not a {expected} key ({}…)", .expected.prefix())]
    WrongSubject {
        /// The subject that the claims name.
        subject: String,
        /// The kind that it should be.
        expected: KeyKind,
    },

    /// Claims were about to be signed whose validity ends before it begins.
    #[error(
        "the claims would never be valid: they expire at {expires}, not after they begin at {not_before}"
    )]
    NeverValid {
        /// Begin of the validity.
        not_before: u64,
        /// End of the validity.
        expires: u64,
    },

    /// Text is not a token with the claims that were expected.
    #[error("malformed claims: {reason}")]
    MalformedToken {
        /// What is wrong with it.
        reason: String,
    },

    /// The validity of the claims has ended.
    #[error("the claims expired at {expires} and it is {now}: sign again, or correct this machine's clock")]
    Expired {
        /// End of the validity.
        expires: u64,
        /// The time of the check.
        now: u64,
    },

    /// The validity of the claims has not begun.
    #[error(
        "the claims are not valid before {not_before} and it is {now}: wait, or correct this machine's clock"
    )]
    NotYetValid {
        /// Begin of the validity.
        not_before: u64,
        /// The time of the check.
        now: u64,
    },

    /// Bytes that should be a component or a core module are neither.
    #[error("not a WebAssembly component or module: {reason} (at byte {offset})")]
    MalformedWasm {
        /// What is wrong.
        reason: String,
        /// Where, counted in bytes from the beginning.
        offset: usize,
    },

    /// A component is not the one that its claims were signed for.
    #[error("the component was changed after it was signed: its hash is {found}, the claims say {signed}")]
    Tampered {
        /// Hash in the claims.
        signed: String,
        /// Hash of the component without its claims.
        found: String,
    },

    /// Claims in a format from before hashes were compared do not match their component, so that nothing ties them to
    /// it.
    #[error("the claims are in an old format that does not bind them to the component: sign it again")]
    Unbound,

    /// An archive's claims were to be made without any program.
    #[error("a provider archive needs at least one program")]
    NoBinaries,

    /// A target is not a name such as `x86_64-linux`.
    #[error("`{0}` is not a target: use the form ARCH-OS, such as x86_64-linux or aarch64-macos")]
    BadTarget(String),

    /// The claims of a provider have no hash for a program.
    #[error("the claims have no hash for {target}: they cover {covered}")]
    MissingHash {
        /// The program's target.
        target: String,
        /// What the claims do cover, comma-separated.
        covered: String,
    },

    /// A provider's program is not the one that the claims were signed for.
    #[error(
        "the program for {target} was changed after it was signed: its hash is {found}, the claims say {signed}"
    )]
    BinaryMismatch {
        /// The program's target.
        target: String,
        /// Hash in the claims.
        signed: String,
        /// Hash of the program.
        found: String,
    },

    /// Text is not a member certificate: form, lengths and the names in it are checked.
    #[error("malformed certificate: {reason}")]
    MalformedCertificate {
        /// What is wrong with it.
        reason: String,
    },

    /// A certificate gives its holder something that its role can't have: met when signing as well as when checking.
    #[error("a {role}'s certificate cannot have {what}: {reason}")]
    WrongGrant {
        /// The role in the certificate.
        role: Role,
        /// What it must not have.
        what: &'static str,
        /// The rule.
        reason: &'static str,
    },

    /// A certificate's subject is not a key of the kind that its role asks for: met when signing as well as when
    /// checking.
    #[error("a {role} has a {} key ({}…), not `{key}`", .role.key_kind(), .role.key_kind().prefix())]
    WrongMemberKey {
        /// The role in the certificate.
        role: Role,
        /// The subject in the certificate.
        key: String,
    },

    /// A certificate is issued by a key of a kind that issues none: met when signing as well as when checking.
    #[error(
        "`{issuer}` cannot issue certificates: a cluster key (C…) does, and a host's (N…) for its providers"
    )]
    WrongCertificateIssuer {
        /// The issuer that the certificate names.
        issuer: String,
    },

    /// A host's key signed a certificate for something else than a provider: met when signing as well as when checking.
    #[error("the host {issuer} cannot certify a {role}: a host certifies only the providers that it runs")]
    NotDelegable {
        /// The host.
        issuer: String,
        /// The role in the certificate.
        role: Role,
    },

    /// A member showed no certificate.
    #[error("no certificate was shown: a member shows its own, and its host's if that signed it")]
    EmptyChain,

    /// A member showed more certificates than there can be.
    #[error("{found} certificates were shown: a chain has at most two, a provider's and its host's")]
    ChainTooLong {
        /// How many there were.
        found: usize,
    },

    /// A certificate was signed by a host whose own certificate was not shown.
    #[error("the certificate is signed by {issuer}, whose own certificate is missing")]
    MissingIssuer {
        /// The host that signed.
        issuer: String,
    },

    /// The second certificate of a chain is not that of the issuer of the first.
    #[error("the certificate is signed by {issuer}, but the next one in the chain is that of {shown}")]
    BrokenChain {
        /// The issuer that the first certificate names.
        issuer: String,
        /// The subject of the second.
        shown: String,
    },

    /// A certificate or a revocation comes from a cluster key that is not trusted here.
    #[error("the issuer {issuer} is not one of the cluster issuers that are trusted here")]
    UntrustedIssuer {
        /// The key that signed.
        issuer: String,
    },

    /// A certificate or a revocation is for another lattice.
    #[error("it is for the lattice `{found}`, and this is `{expected}`")]
    WrongLattice {
        /// The lattice in which it was shown.
        expected: String,
        /// The lattice for which it was made.
        found: String,
    },

    /// A provider's certificate names an id for which its host may not answer, or may not speak.
    #[error("the certificate allows its holder to {verb} `{id}`, which the host {issuer} may not do itself")]
    ExceedsIssuer {
        /// The host that signed.
        issuer: String,
        /// `answer for` or `speak for`.
        verb: &'static str,
        /// The id.
        id: String,
    },

    /// A provider's certificate is valid for longer than its host's.
    #[error(
        "the certificate is valid until {expires}, longer than that of its issuer {issuer}, until {issuer_expires}"
    )]
    OutlivesIssuer {
        /// The host that signed.
        issuer: String,
        /// End of the certificate's validity.
        expires: u64,
        /// End of the validity of the host's.
        issuer_expires: u64,
    },

    /// The validity of a certificate has ended, by more than the tolerance.
    #[error(
        "the certificate of {subject} expired at {expires} and it is {now} here: renew it, or correct the clock"
    )]
    CertificateExpired {
        /// Whose certificate it is.
        subject: String,
        /// End of the validity.
        expires: u64,
        /// The time of the check.
        now: u64,
    },

    /// The validity of a certificate has not begun, by more than the tolerance.
    #[error(
        "the certificate of {subject} is not valid before {not_before} and it is {now} here: correct this machine's \
         clock, or that of the machine which issued it"
    )]
    CertificateNotYetValid {
        /// Whose certificate it is.
        subject: String,
        /// Begin of the validity.
        not_before: u64,
        /// The time of the check.
        now: u64,
    },

    /// A certificate was revoked.
    #[error("the certificate {id} of {subject} was revoked: issue a new one")]
    Revoked {
        /// Whose certificate it is.
        subject: String,
        /// The certificate's id.
        id: String,
    },

    /// A host was to certify a provider without being able to: its key is another, or it has no certificate of a
    /// cluster key.
    #[error("{key} cannot certify a provider: {reason}")]
    CannotCertify {
        /// The key that should have signed.
        key: String,
        /// What is missing.
        reason: &'static str,
    },

    /// Text is not a revocation.
    #[error("malformed revocation: {reason}")]
    MalformedRevocation {
        /// What is wrong with it.
        reason: String,
    },
}
