//! Values as text for people: WAVE, WebAssembly's notation for values. A map is written as a list of pairs.

use std::borrow::Cow;

use wasmtime::component::Val;
use wasmtime::component::wasm_wave;
use wasmtime::component::wasm_wave::ast::{Node, NodeType};
use wasmtime::component::wasm_wave::parser::ParserError;
use wasmtime::component::wasm_wave::untyped::UntypedFuncCall;
use wasmtime::component::wasm_wave::wasm::{WasmType, WasmTypeKind, WasmValue};

use super::types::{Name, Type};

/// The most of the text that an error repeats, in characters.
const EXCERPT: usize = 40;

/// Reads values, separated by commas. Options at the end may be left out.
pub(super) fn read(text: &str, types: &[Type]) -> Result<Vec<Val>, String> {
    // The notation has calls, but no bare arguments; the name doesn't matter.
    let source = format!("f({text})");
    let source = source.as_str();
    let call = UntypedFuncCall::parse(source).map_err(|error| describe(&error, source))?;
    let nodes: Vec<_> = match call.params_node() {
        Some(node) => node.as_tuple().map_err(|error| describe(&error, source))?.collect(),
        None => Vec::new(),
    };
    if nodes.len() > types.len() {
        return Err(format!("there are {} of them, but the function has {}", nodes.len(), types.len()));
    }
    let mut nodes = nodes.into_iter();
    let vals = types.iter().enumerate().map(|(at, ty)| match (nodes.next(), ty) {
        (Some(node), ty) => Text { source }.read(node, ty),
        (None, Type::Option(_)) => Ok(Val::Option(None)),
        (None, _) => Err(format!("number {} is missing", at + 1)),
    });
    vals.collect()
}

struct Text<'a> {
    source: &'a str,
}

type Read<T> = Result<T, String>;

impl Text<'_> {
    fn read(&self, node: &Node, ty: &Type) -> Read<Val> {
        self.read_as(node, ty).map_err(|problem| match problem {
            Problem::Here(error) => {
                format!("{} is no {ty} ({})", excerpt(self.source, node), error.kind())
            }
            Problem::Inside(problem) => problem,
        })
    }

    fn read_as(&self, node: &Node, ty: &Type) -> Result<Val, Problem> {
        let source = self.source;
        Ok(match ty {
            Type::Bool => Val::Bool(node.as_bool()?),
            Type::U8 => Val::U8(node.as_number(source)?),
            Type::U16 => Val::U16(node.as_number(source)?),
            Type::U32 => Val::U32(node.as_number(source)?),
            Type::U64 => Val::U64(node.as_number(source)?),
            Type::S8 => Val::S8(node.as_number(source)?),
            Type::S16 => Val::S16(node.as_number(source)?),
            Type::S32 => Val::S32(node.as_number(source)?),
            Type::S64 => Val::S64(node.as_number(source)?),
            Type::F32 => Val::Float32(node.as_number(source)?),
            Type::F64 => Val::Float64(node.as_number(source)?),
            Type::Char => Val::Char(node.as_char(source)?),
            Type::String => Val::String(node.as_str(source)?.into_owned()),
            Type::List(items) => Val::List(self.items(node, &items.ty)?),
            Type::FixedList(items, length) => {
                let vals = self.items(node, &items.ty)?;
                if vals.len() as u64 != u64::from(*length) {
                    let problem = format!("a {ty} has {length} items, but {} were given", vals.len());
                    return Err(Problem::Inside(problem));
                }
                Val::FixedLengthList(vals)
            }
            Type::Map(types) => {
                let pair = |node: &Node| {
                    let parts: Vec<_> = node.as_tuple()?.collect();
                    let [key, value] = parts[..] else {
                        return Err(Problem::Inside("an entry of a map is a key and a value".into()));
                    };
                    Ok((self.read(key, &types[0])?, self.read(value, &types[1])?))
                };
                Val::Map(node.as_list()?.map(pair).collect::<Result<_, Problem>>()?)
            }
            Type::Record(fields) => {
                let given: Vec<_> = node.as_record(source)?.collect();
                if let Some((name, _)) =
                    given.iter().find(|(name, _)| !fields.iter().any(|field| *field.name == **name))
                {
                    return Err(Problem::Inside(format!("there is no field {name} in {ty}")));
                }
                let read = fields.iter().map(|field| {
                    let found = given.iter().find(|(name, _)| *field.name == **name);
                    let val = match (found, &field.ty) {
                        (Some((_, node)), ty) => self.read(node, ty)?,
                        (None, Type::Option(_)) => Val::Option(None),
                        (None, _) => {
                            return Err(Problem::Inside(format!("field {} of {ty} is missing", field.name)));
                        }
                    };
                    Ok((field.name.to_string(), val))
                });
                Val::Record(read.collect::<Result<_, Problem>>()?)
            }
            Type::Tuple(types) => {
                let nodes = node.as_tuple()?;
                if nodes.len() != types.len() {
                    let problem = format!("a {ty} has {} parts, but {} were given", types.len(), nodes.len());
                    return Err(Problem::Inside(problem));
                }
                Val::Tuple(
                    nodes.zip(types.iter()).map(|(node, ty)| self.read(node, ty)).collect::<Read<_>>()?,
                )
            }
            Type::Variant(cases) => {
                let (label, payload) = node.as_variant(source)?;
                let case = cases.iter().find(|case| *case.name == *label);
                let case =
                    case.ok_or_else(|| Problem::Inside(format!("there is no case {label} in {ty}")))?;
                Val::Variant(label.into(), self.payload(label, case.ty.as_ref(), payload)?)
            }
            Type::Enum(names) => Val::Enum(known(names, node.as_enum(source)?, ty)?),
            Type::Option(inner) => Val::Option(match node.ty() {
                NodeType::OptionSome | NodeType::OptionNone => match node.as_option()? {
                    Some(node) => Some(Box::new(self.read(node, inner)?)),
                    None => None,
                },
                _ => Some(Box::new(self.plain(node, inner)?)),
            }),
            Type::Result(types) => Val::Result(match (node.as_result(), &types[0]) {
                (Ok(Ok(payload)), ok) => Ok(self.payload("ok", ok.as_ref(), payload)?),
                (Ok(Err(payload)), _) => Err(self.payload("err", types[1].as_ref(), payload)?),
                (Err(_), Some(ok)) => Ok(Some(Box::new(self.plain(node, ok)?))),
                (Err(error), None) => return Err(error.into()),
            }),
            Type::Flags(names) => {
                let labels = node.as_flags(source)?.map(|name| name.strip_prefix('%').unwrap_or(name));
                let set = labels.map(|name| known(names, name, ty)).collect::<Result<Vec<_>, _>>()?;
                let in_order = names.iter().filter(|name| set.iter().any(|set| **set == ***name));
                Val::Flags(in_order.map(ToString::to_string).collect())
            }
            Type::Stream(_) | Type::Future(_) => {
                return Err(Problem::Inside(format!("text can't stand for a {ty}")));
            }
        })
    }

    /// A value that stands for `some` or `ok` of itself, as the notation allows it where that is unambiguous.
    fn plain(&self, node: &Node, ty: &Type) -> Result<Val, Problem> {
        if matches!(ty, Type::Option(_) | Type::Result(_)) {
            return Err(Problem::Inside(format!("{} is ambiguous", excerpt(self.source, node))));
        }
        Ok(self.read(node, ty)?)
    }

    fn items(&self, node: &Node, ty: &Type) -> Result<Vec<Val>, Problem> {
        Ok(node.as_list()?.map(|node| self.read(node, ty)).collect::<Read<_>>()?)
    }

    fn payload(
        &self,
        case: &str,
        ty: Option<&Type>,
        node: Option<&Node>,
    ) -> Result<Option<Box<Val>>, Problem> {
        match (ty, node) {
            (Some(ty), Some(node)) => Ok(Some(Box::new(self.read(node, ty)?))),
            (None, None) => Ok(None),
            (Some(ty), None) => Err(Problem::Inside(format!("{case} needs a {ty}"))),
            (None, Some(_)) => Err(Problem::Inside(format!("{case} takes no value"))),
        }
    }
}

/// Why text is no value.
enum Problem {
    /// It is one of another kind.
    Here(ParserError),
    /// Something in it is wrong, which has been said.
    Inside(String),
}

impl From<ParserError> for Problem {
    fn from(error: ParserError) -> Self {
        Self::Here(error)
    }
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Inside(problem)
    }
}

fn known(names: &[Name], name: &str, ty: &Type) -> Result<String, Problem> {
    if names.iter().any(|known| **known == *name) {
        return Ok(name.to_owned());
    }
    Err(Problem::Inside(format!("there is no {name} in {ty}")))
}

fn excerpt(source: &str, node: &Node) -> String {
    cut(source.get(node.span()).unwrap_or_default())
}

fn describe(error: &ParserError, source: &str) -> String {
    let rest = source.get(error.span().start..).unwrap_or_default();
    let rest = rest.strip_suffix(')').unwrap_or(rest);
    let place = if rest.is_empty() { "at its end".into() } else { format!("at {}", cut(rest)) };
    format!("{} {place}", error.kind())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Writes a value.
pub(super) fn write(val: &Val) -> Result<String, String> {
    wasm_wave::to_string(&Shown::Val(val)).map_err(|error| error.to_string())
}

/// A value as the notation's writer wants it. The writer asks for what [`kind`](WasmValue::kind) says only.
#[derive(Clone, Copy)]
enum Shown<'a> {
    Val(&'a Val),
    Entry(&'a (Val, Val)),
}

/// The notation's own types are not used: values say what they are.
#[derive(Clone, Copy)]
struct NoType;

impl WasmType for NoType {
    fn kind(&self) -> WasmTypeKind {
        WasmTypeKind::Unsupported
    }
}

type Parts<'a, T> = Box<dyn Iterator<Item = T> + 'a>;

macro_rules! plain {
    ($($name:ident $val:ident $ty:ty),* $(,)?) => {
        $(fn $name(&self) -> $ty {
            match self {
                Self::Val(Val::$val(val)) => *val,
                _ => <$ty>::default(),
            }
        })*
    };
}

impl WasmValue for Shown<'_> {
    type Type = NoType;

    fn kind(&self) -> WasmTypeKind {
        let Self::Val(val) = self else { return WasmTypeKind::Tuple };
        match val {
            Val::Bool(_) => WasmTypeKind::Bool,
            Val::U8(_) => WasmTypeKind::U8,
            Val::U16(_) => WasmTypeKind::U16,
            Val::U32(_) => WasmTypeKind::U32,
            Val::U64(_) => WasmTypeKind::U64,
            Val::S8(_) => WasmTypeKind::S8,
            Val::S16(_) => WasmTypeKind::S16,
            Val::S32(_) => WasmTypeKind::S32,
            Val::S64(_) => WasmTypeKind::S64,
            Val::Float32(_) => WasmTypeKind::F32,
            Val::Float64(_) => WasmTypeKind::F64,
            Val::Char(_) => WasmTypeKind::Char,
            Val::String(_) => WasmTypeKind::String,
            Val::List(_) | Val::FixedLengthList(_) | Val::Map(_) => WasmTypeKind::List,
            Val::Record(_) => WasmTypeKind::Record,
            Val::Tuple(_) => WasmTypeKind::Tuple,
            Val::Variant(..) => WasmTypeKind::Variant,
            Val::Enum(_) => WasmTypeKind::Enum,
            Val::Option(_) => WasmTypeKind::Option,
            Val::Result(_) => WasmTypeKind::Result,
            // Nothing with one of the latter is shown: functions which have them are refused.
            Val::Flags(_) | Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => {
                WasmTypeKind::Flags
            }
        }
    }

    plain! {
        unwrap_bool Bool bool,
        unwrap_u8 U8 u8,
        unwrap_u16 U16 u16,
        unwrap_u32 U32 u32,
        unwrap_u64 U64 u64,
        unwrap_s8 S8 i8,
        unwrap_s16 S16 i16,
        unwrap_s32 S32 i32,
        unwrap_s64 S64 i64,
        unwrap_f32 Float32 f32,
        unwrap_f64 Float64 f64,
        unwrap_char Char char,
    }

    fn unwrap_string(&self) -> Cow<'_, str> {
        match self {
            Self::Val(Val::String(val)) => val.as_str().into(),
            _ => "".into(),
        }
    }

    fn unwrap_list(&self) -> Parts<'_, Cow<'_, Self>> {
        match self {
            Self::Val(Val::List(vals) | Val::FixedLengthList(vals)) => Box::new(vals.iter().map(shown)),
            Self::Val(Val::Map(entries)) => {
                Box::new(entries.iter().map(|entry| Cow::Owned(Self::Entry(entry))))
            }
            _ => Box::new(std::iter::empty()),
        }
    }

    fn unwrap_record(&self) -> Parts<'_, (Cow<'_, str>, Cow<'_, Self>)> {
        match self {
            Self::Val(Val::Record(fields)) => {
                Box::new(fields.iter().map(|(name, val)| (name.as_str().into(), shown(val))))
            }
            _ => Box::new(std::iter::empty()),
        }
    }

    fn unwrap_tuple(&self) -> Parts<'_, Cow<'_, Self>> {
        match self {
            Self::Val(Val::Tuple(vals)) => Box::new(vals.iter().map(shown)),
            Self::Entry((key, value)) => Box::new([key, value].into_iter().map(shown)),
            Self::Val(_) => Box::new(std::iter::empty()),
        }
    }

    fn unwrap_variant(&self) -> (Cow<'_, str>, Option<Cow<'_, Self>>) {
        match self {
            Self::Val(Val::Variant(case, payload)) => (case.as_str().into(), payload.as_deref().map(shown)),
            _ => ("".into(), None),
        }
    }

    fn unwrap_enum(&self) -> Cow<'_, str> {
        match self {
            Self::Val(Val::Enum(case)) => case.as_str().into(),
            _ => "".into(),
        }
    }

    fn unwrap_option(&self) -> Option<Cow<'_, Self>> {
        match self {
            Self::Val(Val::Option(payload)) => payload.as_deref().map(shown),
            _ => None,
        }
    }

    fn unwrap_result(&self) -> Result<Option<Cow<'_, Self>>, Option<Cow<'_, Self>>> {
        match self {
            Self::Val(Val::Result(Err(payload))) => Err(payload.as_deref().map(shown)),
            Self::Val(Val::Result(Ok(payload))) => Ok(payload.as_deref().map(shown)),
            _ => Ok(None),
        }
    }

    fn unwrap_flags(&self) -> Parts<'_, Cow<'_, str>> {
        match self {
            Self::Val(Val::Flags(names)) => Box::new(names.iter().map(|name| name.as_str().into())),
            _ => Box::new(std::iter::empty()),
        }
    }
}

fn shown<'a, 'v: 'a>(val: &'v Val) -> Cow<'a, Shown<'v>> {
    Cow::Owned(Shown::Val(val))
}
