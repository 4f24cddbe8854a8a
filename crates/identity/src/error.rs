//! Everything that can go wrong with keys, claims and signatures.

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
}
