//! Claims: what an account says about a component or a provider, as a compact JSON Web Token (RFC 7519) in the format
//! of wasmCloud 1.x. Its header is `{"typ":"jwt","alg":"Ed25519"}`, its own fields are in `wascap`, and the signature
//! is the issuer's over the first two parts.

mod metadata;
pub(crate) mod token;

use ring::rand::{SecureRandom, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::keys::{self, KeyKind, KeyPair};

pub use metadata::{ComponentMetadata, ProviderMetadata};

/// The revision of the format that is written.
pub const FORMAT_REVISION: u32 = 3;

/// What claims can be about.
pub trait Metadata: Serialize + DeserializeOwned {
    /// The kind of key that the subject must be.
    const SUBJECT: KeyKind;
}

/// The statements of one token. Times are in seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims<M> {
    /// When they stop being valid; never if `None`.
    #[serde(rename = "exp", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Differs from one token to the next.
    #[serde(rename = "jti")]
    pub id: String,
    /// When they were made.
    #[serde(rename = "iat")]
    pub issued_at: u64,
    /// Public key of the account that signs them.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// Public key of what they are about.
    #[serde(rename = "sub")]
    pub subject: String,
    /// When they begin to be valid; at once if `None`.
    #[serde(rename = "nbf", default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// What they say.
    #[serde(rename = "wascap")]
    pub metadata: M,
    /// Revision of the format, [`FORMAT_REVISION`] for all but very old ones.
    #[serde(rename = "wascap_revision", default, skip_serializing_if = "Option::is_none")]
    pub format_revision: Option<u32>,
}

/// Claims whose signature, times and kinds of keys have been checked, with the token that they came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<M> {
    /// What the token says.
    pub claims: Claims<M>,
    /// The token itself.
    pub token: String,
}

impl<M: Metadata> Claims<M> {
    /// New claims with a random id, issued at `now`, valid at once and for ever (set [`not_before`](Self::not_before)
    /// and [`expires`](Self::expires) to change that). [`encode`](Self::encode) signs them.
    ///
    /// # Errors
    /// [`Error::Random`] when the operating system gives no random numbers.
    pub fn new(issuer: &KeyPair, subject: &str, metadata: M, now: u64) -> Result<Self, Error> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| Error::Random)?;
        Ok(Self {
            expires: None,
            id: data_encoding::BASE32_NOPAD.encode(&id),
            issued_at: now,
            issuer: issuer.public_key(),
            subject: subject.to_owned(),
            not_before: None,
            metadata,
            format_revision: Some(FORMAT_REVISION),
        })
    }

    /// Signs the claims.
    ///
    /// # Errors
    /// [`Error::IssuerMismatch`], [`Error::WrongIssuer`], [`Error::WrongSubject`] or [`Error::NeverValid`] when the
    /// result could not be verified at any time.
    pub fn encode(&self, issuer: &KeyPair) -> Result<String, Error> {
        if self.issuer != issuer.public_key() {
            return Err(Error::IssuerMismatch { claims: self.issuer.clone(), key: issuer.public_key() });
        }
        self.check_keys()?;
        if let (Some(not_before), Some(expires)) = (self.not_before, self.expires)
            && expires <= not_before
        {
            return Err(Error::NeverValid { not_before, expires });
        }
        token::encode(self, issuer)
    }

    /// Reads claims without believing them: nothing but the form is checked.
    ///
    /// # Errors
    /// [`Error::MalformedToken`].
    pub fn decode_unverified(token: &str) -> Result<Self, Error> {
        token::split(token)?.claims()
    }

    /// Reads claims and checks the kinds of their keys, the issuer's signature, and their times against `now`. Whether
    /// the issuer is one to trust is for the caller to say.
    ///
    /// # Errors
    /// [`Error::MalformedToken`], [`Error::WrongIssuer`], [`Error::WrongSubject`], [`Error::BadSignature`],
    /// [`Error::Expired`], [`Error::NotYetValid`].
    pub fn decode_verified(token: &str, now: u64) -> Result<Self, Error> {
        let parts = token::split(token)?;
        let claims: Self = parts.claims()?;
        claims.check_keys()?;
        keys::verify(&claims.issuer, parts.signed, &parts.signature)?;
        claims.check_times(now)?;
        Ok(claims)
    }

    fn check_keys(&self) -> Result<(), Error> {
        if !keys::public_key_kind(&self.issuer).is_ok_and(|kind| kind == KeyKind::Account) {
            return Err(Error::WrongIssuer { issuer: self.issuer.clone() });
        }
        if !keys::public_key_kind(&self.subject).is_ok_and(|kind| kind == M::SUBJECT) {
            return Err(Error::WrongSubject { subject: self.subject.clone(), expected: M::SUBJECT });
        }
        Ok(())
    }

    fn check_times(&self, now: u64) -> Result<(), Error> {
        match (self.not_before, self.expires) {
            (_, Some(expires)) if expires <= now => Err(Error::Expired { expires, now }),
            (Some(not_before), _) if now < not_before => Err(Error::NotYetValid { not_before, now }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
