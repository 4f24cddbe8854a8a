//! Types of values: an owned tree, made once per function from the engine's types.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use wasmtime::component;

use super::elements;

/// How deeply types may be nested.
pub(super) const MAX_DEPTH: usize = 64;
/// How many types, fields and cases one function may have. Types are shared by name in a component, so a small one can
/// describe a tree of any size.
pub(super) const MAX_NODES: usize = 20_000;

/// The type of a value that can cross from one component to another. Each one's encoding has at least one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F32,
    F64,
    Char,
    String,
    List(Arc<Items>),
    FixedList(Arc<Items>, u32),
    Map(Arc<[Type; 2]>),
    Record(Arc<[Field]>),
    Tuple(Arc<[Type]>),
    Variant(Arc<[Case]>),
    Enum(Arc<[Name]>),
    Option(Arc<Type>),
    Result(Arc<[Option<Type>; 2]>),
    Flags(Arc<[Name]>),
    Stream(Arc<Element>),
    Future(Arc<Element>),
}

pub(super) type Name = Arc<str>;

/// The items of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Items {
    pub(super) ty: Type,
    /// The fewest bytes that one is encoded in.
    pub(super) min_encoded: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) ty: Type,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: Name,
    pub(super) ty: Option<Type>,
}

/// What a stream or future is made of: one of the types that this crate knows when it is compiled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) ty: Option<Type>,
    /// Its place in the table of [`elements`].
    pub(super) index: usize,
}

/// Builds types, bounded over all of one function.
#[derive(Default)]
pub(super) struct Builder {
    nodes: usize,
    depth: usize,
}

/// Why a type can't cross: what it is, to follow "uses".
pub(super) type Refused = String;

impl Builder {
    /// Goes into a type; [`Self::leave`] comes out again.
    pub(super) fn enter(&mut self) -> Result<(), Refused> {
        self.count(1)?;
        if self.depth == MAX_DEPTH {
            return Err(format!("types nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn count(&mut self, nodes: usize) -> Result<(), Refused> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} types, fields and cases"));
        }
        Ok(())
    }

    pub(super) fn build(&mut self, ty: &component::Type) -> Result<Type, Refused> {
        self.enter()?;
        let built = self.build_one(ty);
        self.leave();
        built
    }

    fn build_one(&mut self, ty: &component::Type) -> Result<Type, Refused> {
        use component::Type as Engine;
        Ok(match ty {
            Engine::Bool => Type::Bool,
            Engine::U8 => Type::U8,
            Engine::U16 => Type::U16,
            Engine::U32 => Type::U32,
            Engine::U64 => Type::U64,
            Engine::S8 => Type::S8,
            Engine::S16 => Type::S16,
            Engine::S32 => Type::S32,
            Engine::S64 => Type::S64,
            Engine::Float32 => Type::F32,
            Engine::Float64 => Type::F64,
            Engine::Char => Type::Char,
            Engine::String => Type::String,
            Engine::List(list) => Type::list(self.build(&list.ty())?),
            Engine::FixedLengthList(list) => Type::fixed_list(self.build(&list.ty())?, list.len())?,
            Engine::Map(map) => Type::Map(Arc::new([self.build(&map.key())?, self.build(&map.value())?])),
            Engine::Record(record) => Type::record(
                record
                    .fields()
                    .map(|field| Ok(Field { name: field.name.into(), ty: self.build(&field.ty)? }))
                    .collect::<Result<_, Refused>>()?,
            )?,
            Engine::Tuple(tuple) => {
                Type::tuple(tuple.types().map(|ty| self.build(&ty)).collect::<Result<_, Refused>>()?)?
            }
            Engine::Variant(variant) => Type::variant(
                variant
                    .cases()
                    .map(|case| {
                        self.count(1)?;
                        Ok(Case { name: case.name.into(), ty: self.build_maybe(case.ty.as_ref())? })
                    })
                    .collect::<Result<_, Refused>>()?,
            )?,
            Engine::Enum(cases) => Type::enumeration(self.names(cases.names())?)?,
            Engine::Option(option) => Type::Option(Arc::new(self.build(&option.ty())?)),
            Engine::Result(result) => Type::Result(Arc::new([
                self.build_maybe(result.ok().as_ref())?,
                self.build_maybe(result.err().as_ref())?,
            ])),
            Engine::Flags(flags) => Type::flags(self.names(flags.names())?)?,
            Engine::Stream(stream) => {
                Type::Stream(Element::find("stream", self.build_maybe(stream.ty().as_ref())?)?)
            }
            Engine::Future(future) => {
                Type::Future(Element::find("future", self.build_maybe(future.ty().as_ref())?)?)
            }
            Engine::Own(_) | Engine::Borrow(_) => return Err("a resource".into()),
            Engine::ErrorContext => return Err("an error-context".into()),
        })
    }

    fn build_maybe(&mut self, ty: Option<&component::Type>) -> Result<Option<Type>, Refused> {
        ty.map(|ty| self.build(ty)).transpose()
    }

    fn names<'a>(&mut self, names: impl ExactSizeIterator<Item = &'a str>) -> Result<Vec<Name>, Refused> {
        self.count(names.len())?;
        Ok(names.map(Name::from).collect())
    }
}

impl Element {
    pub(super) fn find(kind: &str, ty: Option<Type>) -> Result<Arc<Self>, Refused> {
        match elements::index(ty.as_ref()) {
            Some(index) => Ok(Arc::new(Self { ty, index })),
            None => Err(format!("a {kind} of {}", ty.map(|ty| ty.to_string()).unwrap_or_default())),
        }
    }
}

impl Type {
    pub(super) fn list(ty: Self) -> Self {
        Self::List(Arc::new(Items::new(ty)))
    }

    pub(super) fn fixed_list(ty: Self, length: u32) -> Result<Self, Refused> {
        if length == 0 {
            return Err("a list of fixed length 0".into());
        }
        Ok(Self::FixedList(Arc::new(Items::new(ty)), length))
    }

    pub(super) fn record(fields: Vec<Field>) -> Result<Self, Refused> {
        some("record", fields).map(Self::Record)
    }

    pub(super) fn tuple(types: Vec<Self>) -> Result<Self, Refused> {
        some("tuple", types).map(Self::Tuple)
    }

    pub(super) fn variant(cases: Vec<Case>) -> Result<Self, Refused> {
        some("variant", cases).map(Self::Variant)
    }

    pub(super) fn enumeration(cases: Vec<Name>) -> Result<Self, Refused> {
        some("enum", cases).map(Self::Enum)
    }

    pub(super) fn flags(names: Vec<Name>) -> Result<Self, Refused> {
        some("flags", names).map(Self::Flags)
    }

    /// Whether a stream or future is inside.
    pub(super) fn has_streams(&self) -> bool {
        match self {
            Self::Stream(_) | Self::Future(_) => true,
            Self::List(items) | Self::FixedList(items, _) => items.ty.has_streams(),
            Self::Map(types) => types.iter().any(Self::has_streams),
            Self::Record(fields) => fields.iter().any(|field| field.ty.has_streams()),
            Self::Tuple(types) => types.iter().any(Self::has_streams),
            Self::Variant(cases) => cases.iter().filter_map(|case| case.ty.as_ref()).any(Self::has_streams),
            Self::Option(ty) => ty.has_streams(),
            Self::Result(types) => types.iter().flatten().any(Self::has_streams),
            _ => false,
        }
    }

    /// The fewest bytes that a value is encoded in.
    fn min_encoded(&self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::FixedList(items, length) => {
                usize::try_from(*length).map_or(usize::MAX, |length| items.min_encoded.saturating_mul(length))
            }
            Self::Record(fields) => sum(fields.iter().map(|field| &field.ty)),
            Self::Tuple(types) => sum(types.iter()),
            Self::Flags(names) => names.len().div_ceil(8),
            _ => 1,
        }
    }
}

impl Items {
    fn new(ty: Type) -> Self {
        Self { min_encoded: ty.min_encoded(), ty }
    }
}

fn sum<'a>(types: impl Iterator<Item = &'a Type>) -> usize {
    types.fold(0, |sum: usize, ty| sum.saturating_add(ty.min_encoded()))
}

fn some<T>(what: &str, parts: Vec<T>) -> Result<Arc<[T]>, Refused> {
    if parts.is_empty() { Err(format!("an empty {what}")) } else { Ok(parts.into()) }
}

/// The structural text: names of fields, cases and flags, but not of types.
impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::U8 => f.write_str("u8"),
            Self::U16 => f.write_str("u16"),
            Self::U32 => f.write_str("u32"),
            Self::U64 => f.write_str("u64"),
            Self::S8 => f.write_str("s8"),
            Self::S16 => f.write_str("s16"),
            Self::S32 => f.write_str("s32"),
            Self::S64 => f.write_str("s64"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Char => f.write_str("char"),
            Self::String => f.write_str("string"),
            Self::List(items) => write!(f, "list<{}>", items.ty),
            Self::FixedList(items, length) => write!(f, "list<{}, {length}>", items.ty),
            Self::Map(types) => write!(f, "map<{}, {}>", types[0], types[1]),
            Self::Record(fields) => write_all(f, "record { ", fields.iter(), " }", |f, field| {
                write!(f, "{}: {}", field.name, field.ty)
            }),
            Self::Tuple(types) => write_all(f, "tuple<", types.iter(), ">", |f, ty| ty.fmt(f)),
            Self::Variant(cases) => {
                write_all(f, "variant { ", cases.iter(), " }", |f, case| match &case.ty {
                    Some(ty) => write!(f, "{}({ty})", case.name),
                    None => f.write_str(&case.name),
                })
            }
            Self::Enum(names) => write_all(f, "enum { ", names.iter(), " }", |f, name| f.write_str(name)),
            Self::Option(ty) => write!(f, "option<{ty}>"),
            Self::Result(types) => match types.as_ref() {
                [None, None] => f.write_str("result"),
                [Some(ok), None] => write!(f, "result<{ok}>"),
                [None, Some(err)] => write!(f, "result<_, {err}>"),
                [Some(ok), Some(err)] => write!(f, "result<{ok}, {err}>"),
            },
            Self::Flags(names) => write_all(f, "flags { ", names.iter(), " }", |f, name| f.write_str(name)),
            Self::Stream(element) => write_element(f, "stream", element),
            Self::Future(element) => write_element(f, "future", element),
        }
    }
}

fn write_element(f: &mut Formatter<'_>, kind: &str, element: &Element) -> fmt::Result {
    match &element.ty {
        Some(ty) => write!(f, "{kind}<{ty}>"),
        None => f.write_str(kind),
    }
}

pub(super) fn write_all<'a, T: 'a>(
    f: &mut Formatter<'_>,
    before: &str,
    parts: impl Iterator<Item = &'a T>,
    after: &str,
    mut write: impl FnMut(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_str(before)?;
    for (at, part) in parts.enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        write(f, part)?;
    }
    f.write_str(after)
}
