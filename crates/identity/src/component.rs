//! Claims inside a component, or a core module: the token is the payload of the custom section `wasmcloud_jwt` at the
//! end (`jwt` in old ones), and its hash is that of everything else.

mod sections;

use wasm_encoder::{CustomSection, Section};

use crate::Error;
use crate::claims::{Claims, ComponentMetadata, FORMAT_REVISION};
use crate::hash::sha256_hex_upper;
use crate::keys::KeyPair;

pub use crate::claims::Verified;

/// What to say about a component when signing it. Times are in seconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignOptions {
    /// Name for people.
    pub name: Option<String>,
    /// Version for people.
    pub version: Option<String>,
    /// Number that grows from one version to the next.
    pub revision: Option<i32>,
    /// Free words.
    pub tags: Vec<String>,
    /// Short name; written in lower case, ASCII only, with `_` for space, `-` and `.`.
    pub call_alias: Option<String>,
    /// When the claims begin to be valid; at once if `None`.
    pub not_before: Option<u64>,
    /// When they stop being valid; never if `None`.
    pub expires: Option<u64>,
}

/// Signs a component: returns it with new claims, which replace those that it may have had.
///
/// Sections are written anew (with lengths in their shortest form), because the hash is over that form.
///
/// # Errors
/// [`Error::MalformedWasm`]; or as [`Claims::encode`], when `issuer` is not an account key, `subject` is not a component
/// key, or the claims would expire before they begin.
pub fn sign(
    component: &[u8],
    options: SignOptions,
    issuer: &KeyPair,
    subject: &KeyPair,
    now: u64,
) -> Result<Vec<u8>, Error> {
    let mut bytes = sections::take_apart(component)?.stripped;
    let metadata = ComponentMetadata {
        name: options.name,
        hash: sha256_hex_upper(&bytes),
        tags: (!options.tags.is_empty()).then_some(options.tags),
        revision: options.revision,
        version: options.version,
        call_alias: options.call_alias.as_deref().map(normal_alias),
    };
    let mut claims = Claims::new(issuer, &subject.public_key(), metadata, now)?;
    claims.not_before = options.not_before;
    claims.expires = options.expires;
    let token = claims.encode(issuer)?;
    CustomSection { name: sections::CLAIMS.into(), data: token.as_bytes().into() }.append_to(&mut bytes);
    Ok(bytes)
}

/// The token in a component, unchecked; `None` when it has none.
///
/// # Errors
/// [`Error::MalformedWasm`], also where there are two, and [`Error::MalformedToken`] when the section does not hold text.
pub fn token(component: &[u8]) -> Result<Option<String>, Error> {
    sections::take_apart(component)?.token()
}

/// The component without claims: the bytes that the claims' hash is over.
///
/// # Errors
/// [`Error::MalformedWasm`].
pub fn strip(component: &[u8]) -> Result<Vec<u8>, Error> {
    Ok(sections::take_apart(component)?.stripped)
}

/// Checks a component's claims: signature, kinds of keys, times against `now` (in seconds since the Unix epoch), and that
/// the component is the one that was signed. `None` when it has no claims.
///
/// # Errors
/// [`Error::MalformedWasm`]; as [`Claims::decode_verified`]; [`Error::Tampered`] when the hash is another;
/// [`Error::Unbound`] for very old claims, which have none that could be compared.
pub fn verify(component: &[u8], now: u64) -> Result<Option<Verified<ComponentMetadata>>, Error> {
    let parts = sections::take_apart(component)?;
    let Some(token) = parts.token()? else { return Ok(None) };
    let claims = Claims::<ComponentMetadata>::decode_verified(&token, now)?;
    let found = sha256_hex_upper(&parts.stripped);
    if claims.metadata.hash == found {
        return Ok(Some(Verified { claims, token }));
    }
    if claims.format_revision.is_none_or(|revision| revision < FORMAT_REVISION) {
        return Err(Error::Unbound);
    }
    Err(Error::Tampered { signed: claims.metadata.hash, found })
}

fn normal_alias(alias: &str) -> String {
    alias
        .trim()
        .chars()
        .filter(char::is_ascii)
        .map(|c| if matches!(c, ' ' | '-' | '.') { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

#[cfg(test)]
mod tests;
