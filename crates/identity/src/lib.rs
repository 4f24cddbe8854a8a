//! Who made this, and has it been changed since: keys, claims, and the signatures that bind claims to a component or
//! to the programs of a capability provider.
//!
//! Keys are [nkeys](https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth)
//! (Ed25519 keys whose first letter says what they stand for). Claims are compact JSON Web Tokens in the format of
//! wasmCloud 1.x: a component carries them in a custom section, a provider archive in a file of its own. What its
//! tools signed is accepted here, and they can read what is signed here. [Certificates](certificate) say who may be a
//! member of a lattice, and what it may do there.
//!
//! **Invariant**: no I/O and no async; the time is always passed in, and this is the only crate that holds long-lived
//! signing keys.
//!
//! ```
//! use wattle_identity::component::{self, SignOptions};
//! use wattle_identity::keys::{KeyKind, KeyPair};
//!
//! let issuer = KeyPair::generate(KeyKind::Account)?;
//! let subject = KeyPair::generate(KeyKind::Component)?;
//! let now = 1_790_000_000; // seconds since the Unix epoch
//! let unsigned = b"\0asm\x0d\0\x01\0"; // the smallest component
//!
//! let options = SignOptions { name: Some("hello".into()), ..SignOptions::default() };
//! let signed = component::sign(unsigned, options, &issuer, &subject, now)?;
//!
//! let verified = component::verify(&signed, now)?.expect("it was just signed");
//! assert_eq!(verified.claims.issuer, issuer.public_key());
//! assert_eq!(verified.claims.metadata.name.as_deref(), Some("hello"));
//! # Ok::<(), wattle_identity::Error>(())
//! ```

pub mod certificate;
pub mod claims;
pub mod component;
mod error;
pub mod hash;
pub mod keys;
pub mod provider;

pub use certificate::{Certificate, Grant, Ids, Member, Revocation, Role, verify_chain};
pub use claims::{Claims, ComponentMetadata, ProviderMetadata, Verified};
pub use error::Error;
pub use keys::{KeyKind, KeyPair};
