//! Takes the claims out of a component.

use std::mem;

use wasm_encoder::{ComponentSectionId, RawSection, Section};
use wasmparser::{Encoding, Parser, Payload};

use crate::Error;

/// Name of the section that claims are written to.
pub(super) const CLAIMS: &str = "wasmcloud_jwt";
/// Its name before 2022.
const OLD_CLAIMS: &str = "jwt";

/// How deep components may be nested. Bytes are copied once per level, so without a limit a small file of many levels
/// would keep a processor busy for minutes.
const MAX_DEPTH: usize = 16;

/// A component taken apart.
pub(super) struct Parts<'a> {
    /// The component without claims sections, at any depth, in the form that is hashed.
    pub(super) stripped: Vec<u8>,
    claims: Option<&'a [u8]>,
    /// Where a second claims section stands: outside the hash, so something that nobody signed.
    second_claims: Option<usize>,
}

impl Parts<'_> {
    pub(super) fn token(&self) -> Result<Option<String>, Error> {
        if let Some(offset) = self.second_claims {
            return Err(malformed("it has two sections with claims", offset));
        }
        let Some(claims) = self.claims else { return Ok(None) };
        let text = str::from_utf8(claims).map_err(|error| Error::MalformedToken {
            reason: format!("the claims section does not hold text: {error}"),
        })?;
        Ok(Some(text.to_owned()))
    }
}

pub(super) fn take_apart(wasm: &[u8]) -> Result<Parts<'_>, Error> {
    let mut claims = None;
    let mut second_claims = None;
    let mut output = Vec::with_capacity(wasm.len());
    // What encloses the component or module that is being read, as far as it has been read.
    let mut enclosing: Vec<Vec<u8>> = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|error| malformed(error.message(), error.offset()))?;
        match &payload {
            Payload::Version { encoding, .. } => output.extend_from_slice(header(*encoding)),
            Payload::ModuleSection { unchecked_range: range, .. }
            | Payload::ComponentSection { unchecked_range: range, .. } => {
                if enclosing.len() == MAX_DEPTH {
                    return Err(malformed("components are nested too deep", range.start));
                }
                enclosing.push(mem::take(&mut output));
            }
            Payload::End(_) => {
                if let Some(parent) = enclosing.pop() {
                    let nested = mem::replace(&mut output, parent);
                    RawSection { id: section_id(&nested), data: &nested }.append_to(&mut output);
                }
            }
            Payload::CustomSection(section) if [CLAIMS, OLD_CLAIMS].contains(&section.name()) => {
                if enclosing.is_empty() {
                    match claims {
                        None => claims = Some(section.data()),
                        Some(_) => second_claims = second_claims.or(Some(section.data_offset())),
                    }
                }
            }
            _ => {
                if let Some((id, range)) = payload.as_section() {
                    let start = range.start;
                    let data = wasm.get(range).ok_or_else(|| malformed("a section is cut off", start))?;
                    RawSection { id, data }.append_to(&mut output);
                }
            }
        }
    }
    Ok(Parts { stripped: output, claims, second_claims })
}

fn header(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Component => &wasm_encoder::Component::HEADER,
        Encoding::Module => &wasm_encoder::Module::HEADER,
    }
}

/// The id of the section that holds a nested component or module.
fn section_id(nested: &[u8]) -> u8 {
    let id = if nested.starts_with(&wasm_encoder::Component::HEADER) {
        ComponentSectionId::Component
    } else {
        ComponentSectionId::CoreModule
    };
    id.into()
}

fn malformed(reason: &str, offset: usize) -> Error {
    Error::MalformedWasm { reason: reason.to_owned(), offset }
}
