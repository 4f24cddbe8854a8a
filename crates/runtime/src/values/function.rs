//! Types of functions, and values of all of a function's parameters or results together.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Val;
use wasmtime::component::types::ComponentFunc;

use super::codec::{self, Decoder};
use super::error::CodecError;
use super::syntax;
use super::types::{self, Builder, Refused, Type};
use super::{ByteStream, Values, wave};

/// The type of a function that one component imports or exports and that another may answer or call.
///
/// Two functions can be joined if their texts are equal.
///
/// ```
/// use bytes::Bytes;
/// use wattle_runtime::FunctionType;
///
/// let greet = FunctionType::parse("example:greeting/greet@1.0.0", "greet", "func(name: string) -> string")?;
/// let values = greet.decode_parameters(Bytes::from_static(b"\x03Ada"), Vec::new())?;
/// let (bytes, streams) = greet.encode_parameters(values)?;
/// assert_eq!((bytes.as_ref(), streams.len()), (b"\x03Ada".as_slice(), 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FunctionType {
    interface: Arc<str>,
    name: Arc<str>,
    parameters: Side,
    results: Side,
    is_async: bool,
    text: String,
    digest: [u8; 8],
}

impl fmt::Debug for FunctionType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.full_name(), self.text)
    }
}

/// All parameters, or the result, of a function.
pub(super) struct Side {
    what: &'static str,
    /// The results have no names.
    names: Vec<Arc<str>>,
    types: Vec<Type>,
    has_streams: bool,
}

impl FunctionType {
    /// The type of a function of a component. `interface` is empty for one that belongs to no interface.
    ///
    /// # Errors
    ///
    /// Where a value of the function can't cross to another component. The text names the function and the type.
    pub fn new(interface: &str, name: &str, ty: &ComponentFunc) -> Result<Self, String> {
        let mut builder = Builder::default();
        let refused = |place: String| move |ty: Refused| cannot_cross(interface, name, &place, &ty);
        let (mut names, mut parameters) = (Vec::new(), Vec::new());
        for (parameter, ty) in ty.params() {
            names.push(parameter.into());
            parameters.push(builder.build(&ty).map_err(refused(format!("its parameter {parameter}")))?);
        }
        let results: Result<_, _> = ty.results().map(|ty| builder.build(&ty)).collect();
        let results = results.map_err(refused("its result".into()))?;
        let parameters = Side::new("parameters", names, parameters);
        Ok(Self::assemble(
            interface,
            name,
            ty.async_(),
            parameters,
            Side::new("results", Vec::new(), results),
        ))
    }

    /// The type of a function from its [text](Self::text), for those who have no component at hand.
    ///
    /// # Errors
    ///
    /// Where the text is none that a function can have.
    pub fn parse(interface: &str, name: &str, text: &str) -> Result<Self, String> {
        let parsed =
            syntax::function(text).map_err(|problem| format!("no type of a function: {problem}: {text}"))?;
        let parameters = Side::new("parameters", parsed.names, parsed.parameters);
        let results = Side::new("results", Vec::new(), parsed.result.into_iter().collect());
        Ok(Self::assemble(interface, name, parsed.is_async, parameters, results))
    }

    fn assemble(interface: &str, name: &str, is_async: bool, parameters: Side, results: Side) -> Self {
        let text = format!("{}func{parameters}{results}", if is_async { "async " } else { "" });
        let hash = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let mut digest = [0; 8];
        digest.copy_from_slice(&hash.as_ref()[..8]);
        Self { interface: interface.into(), name: name.into(), parameters, results, is_async, text, digest }
    }

    /// The interface that the function belongs to, as WIT writes it (`namespace:package/interface@version`); empty for
    /// a function that belongs to none.
    #[must_use]
    pub fn interface(&self) -> &Arc<str> {
        &self.interface
    }

    /// The function's own name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it is an `async` function in WIT.
    #[must_use]
    pub fn is_async(&self) -> bool {
        self.is_async
    }

    /// The type, written out: `func(pairs: list<tuple<string, u8>>) -> string`. Names of parameters, fields, cases and
    /// flags are part of it, names of types are not.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first 8 bytes of the SHA-256 hash of [`text`](Self::text).
    #[must_use]
    pub fn digest(&self) -> [u8; 8] {
        self.digest
    }

    /// Encodes a call's parameters. The streams are those of the values, in order of appearance.
    ///
    /// # Errors
    ///
    /// Where the values are not of this function's types.
    pub fn encode_parameters(&self, values: Values) -> Result<(Bytes, Vec<ByteStream>), CodecError> {
        self.parameters.encode(values)
    }

    /// Encodes a call's result.
    ///
    /// # Errors
    ///
    /// Where the values are not of this function's types.
    pub fn encode_results(&self, values: Values) -> Result<(Bytes, Vec<ByteStream>), CodecError> {
        self.results.encode(values)
    }

    /// Decodes a call's parameters.
    ///
    /// # Errors
    ///
    /// Where the bytes are no values of this function's types, or the streams are not as many as they have.
    pub fn decode_parameters(&self, bytes: Bytes, streams: Vec<ByteStream>) -> Result<Values, CodecError> {
        self.parameters.decode(&bytes, streams)
    }

    /// Decodes a call's result.
    ///
    /// # Errors
    ///
    /// Where the bytes are no values of this function's types, or the streams are not as many as they have.
    pub fn decode_results(&self, bytes: Bytes, streams: Vec<ByteStream>) -> Result<Values, CodecError> {
        self.results.decode(&bytes, streams)
    }

    /// Parameters as people write them: WAVE values, separated by commas.
    pub(crate) fn parameters_from_wave(&self, text: &str) -> Result<Values, CodecError> {
        self.without_streams()?;
        let vals = wave::read(text, &self.parameters.types)
            .map_err(|reason| CodecError::Text { reason, expected: self.parameters.to_string() })?;
        Ok(Values { vals, streams: Vec::new() })
    }

    /// The result as WAVE and as JSON; empty and `null` for a function without one.
    pub(crate) fn results_to_text(&self, values: &Values) -> Result<(String, String), CodecError> {
        self.without_streams()?;
        let Some(val) = values.vals.first() else { return Ok((String::new(), "null".into())) };
        let text =
            wave::write(val).map_err(|reason| CodecError::malformed(reason).within("the result as text"))?;
        Ok((text, super::json::write(val)))
    }

    fn without_streams(&self) -> Result<(), CodecError> {
        if self.parameters.has_streams || self.results.has_streams {
            return Err(CodecError::NoText { function: self.full_name() });
        }
        Ok(())
    }

    pub(super) fn parameters(&self) -> &Side {
        &self.parameters
    }

    pub(super) fn results(&self) -> &Side {
        &self.results
    }

    fn full_name(&self) -> String {
        full_name(&self.interface, &self.name)
    }
}

fn full_name(interface: &str, name: &str) -> String {
    if interface.is_empty() { name.into() } else { format!("{interface}.{name}") }
}

fn cannot_cross(interface: &str, name: &str, place: &str, ty: &str) -> String {
    let name = full_name(interface, name);
    format!("function {name} uses {ty} in {place}, which can't be passed from one component to another")
}

impl Side {
    fn new(what: &'static str, names: Vec<Arc<str>>, types: Vec<Type>) -> Self {
        let has_streams = types.iter().any(Type::has_streams);
        Self { what, names, types, has_streams }
    }

    pub(super) fn has_streams(&self) -> bool {
        self.has_streams
    }

    #[cfg(test)]
    pub(super) fn types(&self) -> &[Type] {
        &self.types
    }

    /// Calls `found` for each stream and future in the values, in order of appearance.
    pub(super) fn each_stream(
        &self,
        vals: &mut [Val],
        found: &mut dyn FnMut(&Type, &mut Val) -> wasmtime::Result<()>,
    ) -> wasmtime::Result<()> {
        self.check_count(vals.len())?;
        for (ty, val) in self.types.iter().zip(vals) {
            codec::each_stream(ty, val, found)?;
        }
        Ok(())
    }

    fn encode(&self, values: Values) -> Result<(Bytes, Vec<ByteStream>), CodecError> {
        self.check_count(values.vals.len())?;
        let (mut out, mut expected) = (Vec::new(), 0);
        for (at, (ty, val)) in self.types.iter().zip(&values.vals).enumerate() {
            codec::encode(ty, val, &mut out, &mut expected).map_err(|error| error.within(self.place(at)))?;
        }
        check_streams(expected, &values.streams)?;
        Ok((out.into(), values.streams))
    }

    fn decode(&self, bytes: &[u8], streams: Vec<ByteStream>) -> Result<Values, CodecError> {
        let mut decoder = Decoder::new(bytes);
        let vals = self.types.iter().enumerate();
        let vals = vals.map(|(at, ty)| decoder.decode(ty).map_err(|error| error.within(self.place(at))));
        let vals = vals.collect::<Result<_, _>>()?;
        check_streams(decoder.finish()?, &streams)?;
        Ok(Values { vals, streams })
    }

    fn check_count(&self, given: usize) -> Result<(), CodecError> {
        if given != self.types.len() {
            return Err(CodecError::Count { what: self.what, expected: self.types.len(), given });
        }
        Ok(())
    }

    fn place(&self, at: usize) -> String {
        self.names.get(at).map_or_else(|| "the result".into(), |name| format!("parameter {name}"))
    }
}

fn check_streams(expected: usize, given: &[ByteStream]) -> Result<(), CodecError> {
    if expected != given.len() {
        return Err(CodecError::Streams { expected, given: given.len() });
    }
    Ok(())
}

/// Parameters in parentheses with their names; a result behind its arrow, or nothing.
impl Display for Side {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.what == "parameters" {
            let parameters: Vec<_> = self.names.iter().zip(&self.types).collect();
            return types::write_all(f, "(", parameters.iter(), ")", |f, (name, ty)| {
                write!(f, "{name}: {ty}")
            });
        }
        match self.types.first() {
            Some(ty) => write!(f, " -> {ty}"),
            None => Ok(()),
        }
    }
}
