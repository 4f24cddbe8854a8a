//! Gets bytes by reference: pull, push, cache on disk, provider archives, digests.
//!
//! **Invariant**: this crate knows nothing of lattices, nor of what the bytes mean to WebAssembly. It answers "which
//! bytes does this reference name, and are they the ones that the digest promises?" and stops there: signatures and
//! claims are for the caller.
//!
//! * [`mod@reference`] – the forms a reference is written in;
//! * [`registries`] – credentials and transport settings per registry;
//! * [`store`] – fetching, with the cache on disk;
//! * [`push`] – pushing;
//! * [`archive`] – provider archives (PAR).
//!
//! Registries are spoken to over TLS by rustls, which needs a process-wide crypto provider. The program's `main`
//! installs it, first thing: `rustls::crypto::ring::default_provider().install_default()`. Without it a pull fails
//! with [`Error::NoTlsProvider`].
//!
//! ```no_run
//! use wattle_artifact::{ArtifactKind, ArtifactStore, Reference, StoreOptions};
//!
//! # async fn example() -> Result<(), wattle_artifact::Error> {
//! let store = ArtifactStore::new(StoreOptions::new("/var/cache/wattle/artifacts"))?;
//! let reference = Reference::parse("registry.example/shop/cart:1.4.0")?;
//! let artifact = store.fetch(&reference, ArtifactKind::Component, None).await?;
//! println!("{} bytes of {}", artifact.bytes.len(), artifact.digest);
//! # Ok(())
//! # }
//! ```

pub mod archive;
pub mod push;
pub mod reference;
pub mod registries;
pub mod store;

mod cache;
mod client;
mod digest;
mod docker;
mod error;
mod flight;
mod manifest;
mod translate;

pub use archive::{ProviderArchive, native_target};
pub use error::Error;
pub use manifest::ArtifactKind;
pub use push::{ComponentInterfaces, PushDetails, Pushed};
pub use reference::{OciReference, Reference};
pub use registries::{Credentials, Registries, RegistrySettings};
pub use store::{Artifact, ArtifactStore, Origin, Progress, ProgressFn, StoreOptions};
