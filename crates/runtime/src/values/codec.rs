//! The value encoding: section "Values" of `docs/protocol.md`.

use wasmtime::component::Val;

use super::error::CodecError;
use super::placeholder;
use super::reader::{self, Reader};
use super::types::{Items, Name, Type};

/// What decoded values may take at most, in bytes, however long their encoding is.
pub(crate) const MAX_DECODED_BYTES: usize = 64 << 20;
/// What decoded values may take for each byte of their encoding, and on top of that.
const DECODED_PER_BYTE: usize = 1024;
const DECODED_BESIDES: usize = 64 << 10;
/// What a stream or future is in a value: not there yet, it follows on a stream of the call.
const PENDING: u8 = 0;

/// Appends a value, and counts the streams and futures in it.
pub(super) fn encode(ty: &Type, val: &Val, out: &mut Vec<u8>, streams: &mut usize) -> Result<(), CodecError> {
    match (ty, val) {
        (Type::Bool, Val::Bool(val)) => out.push(u8::from(*val)),
        (Type::U8, Val::U8(val)) => out.push(*val),
        (Type::S8, Val::S8(val)) => out.push(val.cast_unsigned()),
        (Type::U16, Val::U16(val)) => reader::put_unsigned(out, (*val).into()),
        (Type::U32, Val::U32(val)) => reader::put_unsigned(out, (*val).into()),
        (Type::U64, Val::U64(val)) => reader::put_unsigned(out, *val),
        (Type::S16, Val::S16(val)) => reader::put_signed(out, (*val).into()),
        (Type::S32, Val::S32(val)) => reader::put_signed(out, (*val).into()),
        (Type::S64, Val::S64(val)) => reader::put_signed(out, *val),
        (Type::F32, Val::Float32(val)) => reader::put_f32(out, *val),
        (Type::F64, Val::Float64(val)) => reader::put_f64(out, *val),
        (Type::Char, Val::Char(val)) => reader::put_char(out, *val),
        (Type::String, Val::String(val)) => reader::put_bytes(out, val.as_bytes()),
        (Type::List(items), Val::List(vals)) => {
            reader::put_unsigned(out, vals.len() as u64);
            encode_items(items, vals, out, streams)?;
        }
        (Type::FixedList(items, length), Val::FixedLengthList(vals))
            if u64::from(*length) == vals.len() as u64 =>
        {
            encode_items(items, vals, out, streams)?;
        }
        (Type::Map(types), Val::Map(pairs)) => {
            reader::put_unsigned(out, pairs.len() as u64);
            for (at, (key, value)) in pairs.iter().enumerate() {
                encode(&types[0], key, out, streams).map_err(|error| error.within(format!("[{at}].key")))?;
                encode(&types[1], value, out, streams)
                    .map_err(|error| error.within(format!("[{at}].value")))?;
            }
        }
        (Type::Record(fields), Val::Record(vals)) if fields.len() == vals.len() => {
            for (field, (name, val)) in fields.iter().zip(vals) {
                if *field.name != **name {
                    return Err(mismatch(ty, val));
                }
                encode(&field.ty, val, out, streams)
                    .map_err(|error| error.within(format!(".{}", field.name)))?;
            }
        }
        (Type::Tuple(types), Val::Tuple(vals)) if types.len() == vals.len() => {
            for (at, (ty, val)) in types.iter().zip(vals).enumerate() {
                encode(ty, val, out, streams).map_err(|error| error.within(format!(".{at}")))?;
            }
        }
        (Type::Variant(cases), Val::Variant(name, payload)) => {
            let found = cases.iter().enumerate().find(|(_, case)| *case.name == **name);
            let (at, case) = found.ok_or_else(|| mismatch(ty, val))?;
            reader::put_unsigned(out, at as u64);
            encode_payload(ty, val, case.ty.as_ref(), payload.as_deref(), out, streams)
                .map_err(|error| error.within(format!(".{name}")))?;
        }
        (Type::Enum(names), Val::Enum(name)) => {
            reader::put_unsigned(out, position(names, name).ok_or_else(|| mismatch(ty, val))? as u64);
        }
        (Type::Option(inner), Val::Option(payload)) => {
            out.push(u8::from(payload.is_some()));
            if let Some(payload) = payload {
                encode(inner, payload, out, streams).map_err(|error| error.within(".some"))?;
            }
        }
        (Type::Result(types), Val::Result(result)) => {
            out.push(u8::from(result.is_err()));
            let (inner, payload, step) = match result {
                Ok(payload) => (&types[0], payload, ".ok"),
                Err(payload) => (&types[1], payload, ".err"),
            };
            encode_payload(ty, val, inner.as_ref(), payload.as_deref(), out, streams)
                .map_err(|error| error.within(step))?;
        }
        (Type::Flags(names), Val::Flags(set)) => {
            let mut bits = vec![0u8; names.len().div_ceil(8)];
            for name in set {
                let at = position(names, name).ok_or_else(|| mismatch(ty, val))?;
                bits[at / 8] |= 1 << (at % 8);
            }
            out.extend_from_slice(&bits);
        }
        (Type::Stream(_) | Type::Future(_), _) => {
            *streams += 1;
            out.push(PENDING);
        }
        _ => return Err(mismatch(ty, val)),
    }
    Ok(())
}

fn encode_items(
    items: &Items,
    vals: &[Val],
    out: &mut Vec<u8>,
    streams: &mut usize,
) -> Result<(), CodecError> {
    out.reserve(vals.len().saturating_mul(items.min_encoded));
    if items.ty == Type::U8 {
        for val in vals {
            let Val::U8(byte) = val else { return Err(mismatch(&items.ty, val)) };
            out.push(*byte);
        }
        return Ok(());
    }
    for (at, val) in vals.iter().enumerate() {
        encode(&items.ty, val, out, streams).map_err(|error| error.within(format!("[{at}]")))?;
    }
    Ok(())
}

/// What a case may or may not carry.
fn encode_payload(
    whole: &Type,
    val: &Val,
    ty: Option<&Type>,
    payload: Option<&Val>,
    out: &mut Vec<u8>,
    streams: &mut usize,
) -> Result<(), CodecError> {
    match (ty, payload) {
        (Some(ty), Some(payload)) => encode(ty, payload, out, streams),
        (None, None) => Ok(()),
        _ => Err(mismatch(whole, val)),
    }
}

fn position(names: &[Name], name: &str) -> Option<usize> {
    names.iter().position(|other| **other == *name)
}

/// Calls `found` for each stream and future in a value, in order of appearance.
pub(super) fn each_stream(
    ty: &Type,
    val: &mut Val,
    found: &mut dyn FnMut(&Type, &mut Val) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    if !ty.has_streams() {
        return Ok(());
    }
    match (ty, val) {
        (Type::Stream(_) | Type::Future(_), val) => found(ty, val),
        (Type::List(items), Val::List(vals)) | (Type::FixedList(items, _), Val::FixedLengthList(vals)) => {
            vals.iter_mut().try_for_each(|val| each_stream(&items.ty, val, found))
        }
        (Type::Map(types), Val::Map(pairs)) => pairs.iter_mut().try_for_each(|(key, value)| {
            each_stream(&types[0], key, found)?;
            each_stream(&types[1], value, found)
        }),
        (Type::Record(fields), Val::Record(vals)) => {
            fields.iter().zip(vals).try_for_each(|(field, (_, val))| each_stream(&field.ty, val, found))
        }
        (Type::Tuple(types), Val::Tuple(vals)) => {
            types.iter().zip(vals).try_for_each(|(ty, val)| each_stream(ty, val, found))
        }
        (Type::Variant(cases), Val::Variant(name, payload)) => {
            let case = cases.iter().find(|case| *case.name == **name);
            match (case.and_then(|case| case.ty.as_ref()), payload) {
                (Some(ty), Some(payload)) => each_stream(ty, payload, found),
                _ => Ok(()),
            }
        }
        (Type::Option(ty), Val::Option(Some(payload))) => each_stream(ty, payload, found),
        (Type::Result(types), Val::Result(result)) => {
            let (ty, payload) = match result {
                Ok(payload) => (&types[0], payload),
                Err(payload) => (&types[1], payload),
            };
            match (ty, payload) {
                (Some(ty), Some(payload)) => each_stream(ty, payload, found),
                _ => Ok(()),
            }
        }
        (Type::Option(_), Val::Option(None)) => Ok(()),
        (ty, val) => Err(mismatch(ty, val).into()),
    }
}

/// Decodes values within the memory that their encoding allows.
pub(super) struct Decoder<'a> {
    reader: Reader<'a>,
    encoded: usize,
    limit: usize,
    left: usize,
    streams: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let limit = bytes.len().saturating_mul(DECODED_PER_BYTE).saturating_add(DECODED_BESIDES);
        let limit = limit.min(MAX_DECODED_BYTES);
        Self { reader: Reader::new(bytes), encoded: bytes.len(), limit, left: limit, streams: 0 }
    }

    /// Makes sure that nothing follows, and says how many streams and futures the values have.
    pub(super) fn finish(self) -> Result<usize, CodecError> {
        match self.reader.remaining() {
            0 => Ok(self.streams),
            bytes => Err(CodecError::Trailing { bytes }),
        }
    }

    pub(super) fn decode(&mut self, ty: &Type) -> Result<Val, CodecError> {
        Ok(match ty {
            Type::Bool => Val::Bool(self.reader.flag("a bool")?),
            Type::U8 => Val::U8(self.reader.byte()?),
            Type::S8 => Val::S8(self.reader.byte()?.cast_signed()),
            Type::U16 => Val::U16(self.reader.unsigned(16)? as u16),
            Type::U32 => Val::U32(self.reader.unsigned(32)? as u32),
            Type::U64 => Val::U64(self.reader.unsigned(64)?),
            Type::S16 => Val::S16(self.reader.signed(16)? as i16),
            Type::S32 => Val::S32(self.reader.signed(32)? as i32),
            Type::S64 => Val::S64(self.reader.signed(64)?),
            Type::F32 => Val::Float32(f32::from_le_bytes(self.reader.array()?)),
            Type::F64 => Val::Float64(f64::from_le_bytes(self.reader.array()?)),
            Type::Char => Val::Char(self.reader.char()?),
            Type::String => {
                let text = self.reader.string()?;
                Val::String(self.own(text)?)
            }
            Type::List(items) => {
                let length = self.length(items.min_encoded)?;
                Val::List(self.items(items, length)?)
            }
            Type::FixedList(items, length) => {
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                self.check_length(length, items.min_encoded)?;
                Val::FixedLengthList(self.items(items, length)?)
            }
            Type::Map(types) => self.map(types)?,
            Type::Record(fields) => {
                let mut vals = self.vec(fields.len())?;
                for field in fields.iter() {
                    let name = self.own(&field.name)?;
                    let val = self.decode(&field.ty);
                    vals.push((name, val.map_err(|error| error.within(format!(".{}", field.name)))?));
                }
                Val::Record(vals)
            }
            Type::Tuple(types) => {
                let mut vals = self.vec(types.len())?;
                for (at, ty) in types.iter().enumerate() {
                    vals.push(self.decode(ty).map_err(|error| error.within(format!(".{at}")))?);
                }
                Val::Tuple(vals)
            }
            Type::Variant(cases) => {
                let case = &cases[self.case(cases.len(), "variant")?];
                let payload = self.payload(case.ty.as_ref(), || format!(".{}", case.name))?;
                Val::Variant(self.own(&case.name)?, payload)
            }
            Type::Enum(names) => {
                let at = self.case(names.len(), "enum")?;
                Val::Enum(self.own(&names[at])?)
            }
            Type::Option(ty) => {
                let is_some = self.reader.flag("an option")?;
                Val::Option(self.payload(is_some.then_some(ty.as_ref()), || ".some".into())?)
            }
            Type::Result(types) => Val::Result(match self.reader.flag("a result")? {
                false => Ok(self.payload(types[0].as_ref(), || ".ok".into())?),
                true => Err(self.payload(types[1].as_ref(), || ".err".into())?),
            }),
            Type::Flags(names) => self.flags(names)?,
            Type::Stream(_) | Type::Future(_) => {
                match self.reader.byte()? {
                    PENDING => self.streams += 1,
                    other => {
                        let problem = format!("a stream or future is the byte {PENDING}, not {other}");
                        return Err(CodecError::malformed(problem));
                    }
                }
                placeholder()
            }
        })
    }

    fn items(&mut self, items: &Items, length: usize) -> Result<Vec<Val>, CodecError> {
        let mut vals = self.vec(length)?;
        if items.ty == Type::U8 {
            vals.extend(self.reader.take(length)?.iter().copied().map(Val::U8));
            return Ok(vals);
        }
        for at in 0..length {
            vals.push(self.decode(&items.ty).map_err(|error| error.within(format!("[{at}]")))?);
        }
        Ok(vals)
    }

    fn map(&mut self, types: &[Type; 2]) -> Result<Val, CodecError> {
        let length = self.length(2)?;
        let mut pairs = self.vec(length)?;
        for at in 0..length {
            let key = self.decode(&types[0]).map_err(|error| error.within(format!("[{at}].key")))?;
            let value = self.decode(&types[1]).map_err(|error| error.within(format!("[{at}].value")))?;
            pairs.push((key, value));
        }
        Ok(Val::Map(pairs))
    }

    fn flags(&mut self, names: &[Name]) -> Result<Val, CodecError> {
        let bits = self.reader.take(names.len().div_ceil(8))?;
        let is_set = |at: usize| bits.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
        if (names.len()..bits.len() * 8).any(is_set) {
            return Err(CodecError::malformed(format!("there are only {} flags", names.len())));
        }
        let mut set = self.vec((0..names.len()).filter(|at| is_set(*at)).count())?;
        for (_, name) in names.iter().enumerate().filter(|(at, _)| is_set(*at)) {
            set.push(self.own(name)?);
        }
        Ok(Val::Flags(set))
    }

    fn payload(
        &mut self,
        ty: Option<&Type>,
        step: impl FnOnce() -> String,
    ) -> Result<Option<Box<Val>>, CodecError> {
        let Some(ty) = ty else { return Ok(None) };
        self.charge(1, size_of::<Val>())?;
        Ok(Some(Box::new(self.decode(ty).map_err(|error| error.within(step()))?)))
    }

    fn case(&mut self, cases: usize, what: &str) -> Result<usize, CodecError> {
        let at = self.reader.length()?;
        if at >= cases {
            return Err(CodecError::malformed(format!(
                "the {what} has {cases} cases, and none is number {at}"
            )));
        }
        Ok(at)
    }

    /// A length of items of at least `min_encoded` bytes each.
    fn length(&mut self, min_encoded: usize) -> Result<usize, CodecError> {
        let length = self.reader.length()?;
        self.check_length(length, min_encoded)?;
        Ok(length)
    }

    fn check_length(&self, length: usize, min_encoded: usize) -> Result<(), CodecError> {
        let needed = length.saturating_mul(min_encoded);
        match needed.checked_sub(self.reader.remaining()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(CodecError::Truncated { place: String::new(), missing }),
        }
    }

    /// Room for `length` items, if that many are allowed.
    fn vec<T>(&mut self, length: usize) -> Result<Vec<T>, CodecError> {
        self.charge(length, size_of::<T>())?;
        Ok(Vec::with_capacity(length))
    }

    fn own(&mut self, text: &str) -> Result<String, CodecError> {
        self.charge(text.len(), 1)?;
        Ok(text.to_owned())
    }

    fn charge(&mut self, count: usize, size: usize) -> Result<(), CodecError> {
        match self.left.checked_sub(count.saturating_mul(size)) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                Err(CodecError::TooLarge { place: String::new(), encoded: self.encoded, limit: self.limit })
            }
        }
    }
}

pub(super) fn mismatch(expected: &Type, found: &Val) -> CodecError {
    CodecError::Mismatch { place: String::new(), expected: expected.to_string(), found: describe(found) }
}

/// What a value is, in a few words.
fn describe(val: &Val) -> String {
    match val {
        Val::Bool(_) => "a bool".into(),
        Val::S8(_) => "an s8".into(),
        Val::U8(_) => "a u8".into(),
        Val::S16(_) => "an s16".into(),
        Val::U16(_) => "a u16".into(),
        Val::S32(_) => "an s32".into(),
        Val::U32(_) => "a u32".into(),
        Val::S64(_) => "an s64".into(),
        Val::U64(_) => "a u64".into(),
        Val::Float32(_) => "an f32".into(),
        Val::Float64(_) => "an f64".into(),
        Val::Char(_) => "a char".into(),
        Val::String(_) => "a string".into(),
        Val::List(_) => "a list".into(),
        Val::FixedLengthList(vals) => format!("a list of fixed length {}", vals.len()),
        Val::Map(_) => "a map".into(),
        Val::Record(fields) => {
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            format!("a record of {}", names.join(", "))
        }
        Val::Tuple(vals) => format!("a tuple of {}", vals.len()),
        Val::Variant(case, None) | Val::Enum(case) => format!("case {case}"),
        Val::Variant(case, Some(_)) => format!("case {case} with a value"),
        Val::Option(_) => "an option".into(),
        Val::Result(_) => "a result".into(),
        Val::Flags(names) => format!("flags {}", names.join(", ")),
        Val::Resource(_) => "a resource".into(),
        Val::Future(_) => "a future".into(),
        Val::Stream(_) => "a stream".into(),
        Val::ErrorContext(_) => "an error-context".into(),
    }
}
