//! The types that streams and futures between components may be made of. The engine carries such elements only where
//! their type is known when this crate is compiled, so there is a table of them; `docs/protocol.md` lists it.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, FutureAny, Lift, Lower, StreamAny, Val};

use super::error::CodecError;
use super::outlet::StreamHost;
use super::reader::{self, Reader};
use super::types::{Element, Type};
use super::{ByteStream, ends};

/// A Rust type that stands for the elements of a stream or the value of a future.
pub(super) trait Wire: ComponentType + Lift + Lower + Send + Sync + Sized + 'static {
    /// Its type in WIT; `None` stands for no type at all, as in `stream` and `future`.
    fn ty() -> Option<Type>;

    fn put(&self, out: &mut Vec<u8>);

    fn get(reader: &mut Reader<'_>) -> Result<Self, CodecError>;

    /// Takes a stream of these out of a store.
    fn take_stream<D: StreamHost>(
        store: StoreContextMut<'_, D>,
        stream: StreamAny,
    ) -> wasmtime::Result<ByteStream> {
        ends::take_stream::<D, Self>(store, stream)
    }

    /// Puts a stream of these into a store.
    fn put_stream<D: StreamHost>(store: StoreContextMut<'_, D>, stream: ByteStream) -> wasmtime::Result<Val> {
        ends::put_stream::<D, Self>(store, stream)
    }
}

/// How streams and futures of one type leave a store and get into one.
pub(super) struct Ends<D: 'static> {
    take_stream: fn(StoreContextMut<'_, D>, StreamAny) -> wasmtime::Result<ByteStream>,
    put_stream: fn(StoreContextMut<'_, D>, ByteStream) -> wasmtime::Result<Val>,
    take_future: fn(StoreContextMut<'_, D>, FutureAny) -> wasmtime::Result<ByteStream>,
    put_future: fn(StoreContextMut<'_, D>, ByteStream) -> wasmtime::Result<Val>,
}

impl<D: StreamHost> Ends<D> {
    const fn of<T: Wire>() -> Self {
        Self {
            take_stream: T::take_stream::<D>,
            put_stream: T::put_stream::<D>,
            take_future: ends::take_future::<D, T>,
            put_future: ends::put_future::<D, T>,
        }
    }

    pub(super) fn take_stream(
        &self,
        store: StoreContextMut<'_, D>,
        stream: StreamAny,
    ) -> wasmtime::Result<ByteStream> {
        (self.take_stream)(store, stream)
    }

    pub(super) fn put_stream(
        &self,
        store: StoreContextMut<'_, D>,
        stream: ByteStream,
    ) -> wasmtime::Result<Val> {
        (self.put_stream)(store, stream)
    }

    pub(super) fn take_future(
        &self,
        store: StoreContextMut<'_, D>,
        future: FutureAny,
    ) -> wasmtime::Result<ByteStream> {
        (self.take_future)(store, future)
    }

    pub(super) fn put_future(
        &self,
        store: StoreContextMut<'_, D>,
        future: ByteStream,
    ) -> wasmtime::Result<Val> {
        (self.put_future)(store, future)
    }
}

macro_rules! table {
    ($($element:ty),* $(,)?) => {
        const TYPES: &[fn() -> Option<Type>] = &[$(<$element as Wire>::ty),*];

        impl<D: StreamHost> Ends<D> {
            const ALL: &[Self] = &[$(Self::of::<$element>()),*];
        }
    };
}

type Bytes = Vec<u8>;

table![
    (),
    bool,
    u8,
    u16,
    u32,
    u64,
    i8,
    i16,
    i32,
    i64,
    f32,
    f64,
    char,
    String,
    Bytes,
    Option<bool>,
    Option<u32>,
    Option<u64>,
    Option<i32>,
    Option<i64>,
    Option<f64>,
    Option<String>,
    Option<Bytes>,
    Result<(), ()>,
    Result<(), String>,
    Result<u32, String>,
    Result<u64, String>,
    Result<String, String>,
    Result<Bytes, String>,
    (u32, u32),
    (u64, u64),
    (f64, f64),
    (u64, String),
    (u64, Bytes),
    (String, u64),
    (String, String),
    (String, Bytes),
    (Bytes, Bytes),
    (String, String, String),
];

/// The place of a type in the table, if it is there.
pub(super) fn index(ty: Option<&Type>) -> Option<usize> {
    TYPES.iter().position(|known| known().as_ref() == ty)
}

pub(super) fn ends<D: StreamHost>(element: &Element) -> &'static Ends<D> {
    &Ends::ALL[element.index]
}

macro_rules! wire {
    ($($element:ty, $ty:ident, |$self:ident, $out:ident| $put:expr, |$reader:ident| $get:expr;)*) => {
        $(impl Wire for $element {
            fn ty() -> Option<Type> {
                Some(Type::$ty)
            }

            fn put(&self, $out: &mut Vec<u8>) {
                let $self = self;
                $put;
            }

            fn get($reader: &mut Reader<'_>) -> Result<Self, CodecError> {
                Ok($get)
            }
        })*
    };
}

wire! {
    bool, Bool, |val, out| out.push(u8::from(*val)), |reader| reader.flag("a bool")?;
    u16, U16, |val, out| reader::put_unsigned(out, (*val).into()), |reader| reader.unsigned(16)? as u16;
    u32, U32, |val, out| reader::put_unsigned(out, (*val).into()), |reader| reader.unsigned(32)? as u32;
    u64, U64, |val, out| reader::put_unsigned(out, *val), |reader| reader.unsigned(64)?;
    i8, S8, |val, out| out.push(val.cast_unsigned()), |reader| reader.byte()?.cast_signed();
    i16, S16, |val, out| reader::put_signed(out, (*val).into()), |reader| reader.signed(16)? as i16;
    i32, S32, |val, out| reader::put_signed(out, (*val).into()), |reader| reader.signed(32)? as i32;
    i64, S64, |val, out| reader::put_signed(out, *val), |reader| reader.signed(64)?;
    f32, F32, |val, out| reader::put_f32(out, *val), |reader| f32::from_le_bytes(reader.array()?);
    f64, F64, |val, out| reader::put_f64(out, *val), |reader| f64::from_le_bytes(reader.array()?);
    char, Char, |val, out| reader::put_char(out, *val), |reader| reader.char()?;
    String, String, |val, out| reader::put_bytes(out, val.as_bytes()), |reader| reader.string()?.to_owned();
}

/// Bytes need no decoding, and are copied between a component's memory and a message at once.
impl Wire for u8 {
    fn ty() -> Option<Type> {
        Some(Type::U8)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.byte()
    }

    fn take_stream<D: StreamHost>(
        store: StoreContextMut<'_, D>,
        stream: StreamAny,
    ) -> wasmtime::Result<ByteStream> {
        ends::take_bytes(store, stream)
    }

    fn put_stream<D: StreamHost>(store: StoreContextMut<'_, D>, stream: ByteStream) -> wasmtime::Result<Val> {
        ends::put_bytes(store, stream)
    }
}

/// No value at all. An element has to be seen, so where it isn't part of another it is the byte 0.
impl Wire for () {
    fn ty() -> Option<Type> {
        None
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(0);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        match reader.byte()? {
            0 => Ok(()),
            other => {
                Err(CodecError::malformed(format!("an element without a type is the byte 0, not {other}")))
            }
        }
    }
}

impl Wire for Vec<u8> {
    fn ty() -> Option<Type> {
        Some(Type::list(Type::U8))
    }

    fn put(&self, out: &mut Vec<u8>) {
        reader::put_bytes(out, self);
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let length = reader.length()?;
        Ok(reader.take(length)?.to_vec())
    }
}

impl<T: Wire> Wire for Option<T> {
    fn ty() -> Option<Type> {
        Some(Type::Option(T::ty()?.into()))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(val) = self {
            val.put(out);
        }
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        reader.flag("an option")?.then(|| T::get(reader)).transpose()
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn ty() -> Option<Type> {
        Some(Type::Result([T::ty(), E::ty()].into()))
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_err()));
        match self {
            Ok(val) => put_payload(val, out),
            Err(val) => put_payload(val, out),
        }
    }

    fn get(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(match reader.flag("a result")? {
            false => Ok(get_payload(reader)?),
            true => Err(get_payload(reader)?),
        })
    }
}

/// A case without a type has no bytes of its own.
fn put_payload<T: Wire>(val: &T, out: &mut Vec<u8>) {
    if !T::IS_RUST_UNIT_TYPE {
        val.put(out);
    }
}

fn get_payload<T: Wire>(reader: &mut Reader<'_>) -> Result<T, CodecError> {
    if T::IS_RUST_UNIT_TYPE { T::get(&mut Reader::new(&[0])) } else { T::get(reader) }
}

macro_rules! wire_tuple {
    ($($part:ident $at:tt),*) => {
        impl<$($part: Wire),*> Wire for ($($part,)*) {
            fn ty() -> Option<Type> {
                Some(Type::Tuple([$($part::ty()?),*].into()))
            }

            fn put(&self, out: &mut Vec<u8>) {
                $(self.$at.put(out);)*
            }

            fn get(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
                Ok(($($part::get(reader)?,)*))
            }
        }
    };
}

wire_tuple!(A 0, B 1);
wire_tuple!(A 0, B 1, C 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_type_twice() {
        for (at, ty) in TYPES.iter().enumerate() {
            let ty = ty();
            assert_eq!(index(ty.as_ref()), Some(at), "{ty:?}");
        }
    }

    #[test]
    fn the_protocol_lists_the_table() {
        let protocol = include_str!("../../../../docs/protocol.md");
        for ty in TYPES.iter().filter_map(|ty| ty()) {
            assert!(protocol.contains(&format!("`{ty}`")), "docs/protocol.md doesn't have {ty}");
        }
    }

    fn check<T: Wire + PartialEq + std::fmt::Debug>(val: T, bytes: &[u8]) {
        let mut out = Vec::new();
        val.put(&mut out);
        assert_eq!(out, bytes);
        let mut reader = Reader::new(&out);
        assert_eq!(T::get(&mut reader).unwrap(), val);
        assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn elements_are_encoded_as_values_are() {
        check((), &[0]);
        check(Ok::<(), ()>(()), &[0]);
        check(Err::<(), ()>(()), &[1]);
        check(Err::<u32, String>("no".into()), &[1, 2, b'n', b'o']);
        check(Some(-1i32), &[1, 0x7f]);
        check((300u64, vec![1u8, 2]), &[0xac, 2, 2, 1, 2]);
        check(('ß', "ß".to_string(), 1.5f32), &[0xc3, 0x9f, 2, 0xc3, 0x9f, 0, 0, 0xc0, 0x3f]);
    }
}
