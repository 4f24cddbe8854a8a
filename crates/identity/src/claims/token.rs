//! The compact form of a token: header, claims and signature in unpadded base64url, joined by dots.

use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::keys::KeyPair;

const TYPE: &str = "jwt";
const ALGORITHM: &str = "Ed25519";

#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "typ")]
    kind: String,
    #[serde(rename = "alg")]
    algorithm: String,
}

/// A token taken apart, with its header already checked.
pub(crate) struct Parts<'a> {
    /// The bytes that the signature covers.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    claims: Vec<u8>,
}

impl Parts<'_> {
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.claims).map_err(|error| malformed(format!("its claims: {error}")))
    }
}

pub(crate) fn encode(claims: &impl Serialize, issuer: &KeyPair) -> Result<String, Error> {
    let header = Header { kind: TYPE.to_owned(), algorithm: ALGORITHM.to_owned() };
    let mut token = segment(&header)?;
    token.push('.');
    token.push_str(&segment(claims)?);
    let signature = issuer.sign(token.as_bytes());
    token.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut token);
    Ok(token)
}

fn segment(value: &impl Serialize) -> Result<String, Error> {
    let json = serde_json::to_vec(value).map_err(|error| malformed(format!("its fields: {error}")))?;
    Ok(BASE64URL_NOPAD.encode(&json))
}

pub(crate) fn split(token: &str) -> Result<Parts<'_>, Error> {
    let (signed, signature) = token.rsplit_once('.').ok_or_else(not_three_parts)?;
    let (header, claims) = signed.split_once('.').ok_or_else(not_three_parts)?;
    if claims.contains('.') {
        return Err(not_three_parts());
    }
    let header: Header = serde_json::from_slice(&decode(header, "header")?)
        .map_err(|error| malformed(format!("its header: {error}")))?;
    if !header.kind.eq_ignore_ascii_case(TYPE) || header.algorithm != ALGORITHM {
        return Err(malformed(format!(
            "its header says type `{}` and algorithm `{}`, not {TYPE} and {ALGORITHM}",
            header.kind, header.algorithm
        )));
    }
    Ok(Parts {
        signed: signed.as_bytes(),
        signature: decode(signature, "signature")?,
        claims: decode(claims, "claims")?,
    })
}

fn decode(part: &str, name: &str) -> Result<Vec<u8>, Error> {
    BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|error| malformed(format!("its {name}: {error}")))
}

fn not_three_parts() -> Error {
    malformed("a token is three parts joined by dots".to_owned())
}

fn malformed(reason: String) -> Error {
    Error::MalformedToken { reason }
}
