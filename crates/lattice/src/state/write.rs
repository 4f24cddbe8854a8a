//! Changing the lattice's state.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use wattle_protocol::{
    name,
    state::{ClaimsRecord, ComponentSpec, claims_key, component_key, revocation_key},
};

use super::{Bucket, Revision, Store, StoreStatus, jetstream::WriteFailure, snapshot::read_token};
use crate::Error;

/// How often an edit is made anew because somebody else was faster. Of any number of writers one gets through each
/// time, so only a crowd of them ever sees this.
const MOST_ATTEMPTS: u32 = 64;

impl Store {
    /// Changes the spec of a component or provider, starting from an empty one when there is none. The closure is
    /// called again, with the newer spec, whenever somebody else changed it meanwhile; it says whether it changed
    /// anything. Returns the revision that includes the change, or `None` when there was nothing to do.
    ///
    /// # Errors
    /// Whatever the closure refuses with; [`Error::Conflict`] when others were faster again and again;
    /// [`Error::Malformed`] when the stored spec can't be read; and what keeps JetStream from being written.
    pub async fn edit_spec<E: From<Error>>(
        &self,
        id: &str,
        mut edit: impl FnMut(&mut ComponentSpec) -> Result<bool, E>,
    ) -> Result<Option<Revision>, E> {
        name::check_id("component or provider id", id).map_err(Error::from)?;
        let key = component_key(id);
        self.edit(&key, |stored| {
            let mut spec = match stored {
                Some(value) => serde_json::from_slice(value)
                    .map_err(|error| Error::Malformed { key: key.clone(), reason: error.to_string() })?,
                None => ComponentSpec::default(),
            };
            Ok(if edit(&mut spec)? { Some(encode(&key, &spec)?) } else { None })
        })
        .await
    }

    /// Changes the revocation that is stored for a cluster key: the closure makes a signed token of the one that is
    /// there, or of none, and says `None` when nothing is to be changed. What is stored and is no token counts as none.
    /// The closure is called again, with the newer one, whenever somebody else changed it meanwhile. Returns the
    /// revision that includes the change, or `None` when there was nothing to do.
    ///
    /// # Errors
    /// Whatever the closure refuses with; [`Error::Name`] for an issuer that can't be part of a key;
    /// [`Error::Malformed`] when what the closure made is no token; [`Error::Conflict`] when others were faster again
    /// and again; and what keeps JetStream from being written.
    pub async fn edit_revocation<E: From<Error>>(
        &self,
        issuer: &str,
        mut edit: impl FnMut(Option<&str>) -> Result<Option<String>, E>,
    ) -> Result<Option<Revision>, E> {
        name::check_id("issuer of a revocation", issuer).map_err(Error::from)?;
        let key = revocation_key(issuer);
        self.edit(&key, |stored| {
            let stored = stored.and_then(|value| read_token(value).ok());
            let Some(token) = edit(stored.as_deref())? else { return Ok(None) };
            let malformed = |reason| Error::Malformed { key: key.clone(), reason };
            read_token(token.as_bytes()).map_err(malformed)?;
            Ok(Some(token.into()))
        })
        .await
    }

    /// Changes the value of a key of the lattice's bucket, and begins anew whenever somebody else was faster.
    async fn edit<E: From<Error>>(
        &self,
        key: &str,
        mut edit: impl FnMut(Option<&[u8]>) -> Result<Option<bytes::Bytes>, E>,
    ) -> Result<Option<Revision>, E> {
        let bucket = Bucket::Lattice.name(self.lattice());
        for attempt in 0..MOST_ATTEMPTS {
            let stored = self.jetstream.last(&bucket, key).await?;
            let expected = stored.as_ref().map_or(0, |stored| stored.sequence);
            let stored = stored.and_then(|stored| stored.value);
            let Some(value) = edit(stored.as_deref())? else { return Ok(None) };
            match self.jetstream.write(&bucket, key, value, Some(expected)).await {
                Ok(sequence) => return Ok(Some(Revision { bucket: Bucket::Lattice, sequence })),
                Err(WriteFailure::Other(error)) => return Err(error.into()),
                Err(WriteFailure::Outdated) => {
                    tokio::time::sleep(Duration::from_millis(attempt.min(20).into())).await;
                }
            }
        }
        Err(Error::Conflict { key: key.to_owned(), attempts: MOST_ATTEMPTS }.into())
    }

    /// Stores the claims of a component or provider. Returns `None` when the very same are known to be there.
    ///
    /// # Errors
    /// [`Error::Name`] for a subject that can't be a key, and what keeps JetStream from being written.
    pub async fn put_claims(&self, claims: &ClaimsRecord) -> Result<Option<Revision>, Error> {
        name::check_id("claims subject", claims.subject())?;
        let ready = *self.shared.status.borrow() == StoreStatus::Ready;
        if ready && self.snapshot().claims.get(claims.subject()) == Some(claims) {
            return Ok(None);
        }
        let key = claims_key(claims.subject());
        self.put(Bucket::Lattice, &key, encode(&key, claims)?).await.map(Some)
    }

    /// Stores a named config, in place of the one of that name.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that can't be a key, and what keeps JetStream from being written.
    pub async fn put_config(
        &self,
        config: &str,
        values: &BTreeMap<String, String>,
    ) -> Result<Revision, Error> {
        name::check_config_name(config)?;
        self.put(Bucket::Config, config, encode(config, values)?).await
    }

    /// Deletes a named config with its history. It need not exist.
    ///
    /// # Errors
    /// [`Error::Name`] for a name that can't be a key, and what keeps JetStream from being written.
    pub async fn delete_config(&self, config: &str) -> Result<Revision, Error> {
        name::check_config_name(config)?;
        let bucket = Bucket::Config.name(self.lattice());
        let written = self.jetstream.purge(&bucket, config).await;
        revision(Bucket::Config, config, written)
    }

    async fn put(&self, bucket: Bucket, key: &str, value: bytes::Bytes) -> Result<Revision, Error> {
        let written = self.jetstream.write(&bucket.name(self.lattice()), key, value, None).await;
        revision(bucket, key, written)
    }
}

fn revision(bucket: Bucket, key: &str, written: Result<u64, WriteFailure>) -> Result<Revision, Error> {
    match written {
        Ok(sequence) => Ok(Revision { bucket, sequence }),
        Err(WriteFailure::Other(error)) => Err(error),
        Err(WriteFailure::Outdated) => Err(Error::Conflict { key: key.to_owned(), attempts: 1 }),
    }
}

fn encode(key: &str, value: &impl Serialize) -> Result<bytes::Bytes, Error> {
    let encoded = serde_json::to_vec(value);
    encoded
        .map(Into::into)
        .map_err(|error| Error::Malformed { key: key.to_owned(), reason: error.to_string() })
}
