//! Any types, and any values of them.

use std::sync::Arc;

use proptest::prelude::*;
use wasmtime::component::Val;

use crate::values::FunctionType;
use crate::values::types::{Case, Field, Name, Type};

/// A function and its parameters.
pub(super) fn parameters() -> impl Strategy<Value = (FunctionType, Vec<Val>)> {
    prop::collection::vec(ty(), 0..4).prop_flat_map(|types| {
        let named: Vec<_> = types.iter().enumerate().map(|(at, ty)| format!("p{at}: {ty}")).collect();
        let text = format!("func({})", named.join(", "));
        let vals: Vec<_> = types.iter().map(val).collect();
        vals.prop_map(move |vals| (super::function(&text), vals))
    })
}

fn ty() -> impl Strategy<Value = Type> {
    let plain = prop_oneof![
        Just(Type::Bool),
        Just(Type::U8),
        Just(Type::U16),
        Just(Type::U32),
        Just(Type::U64),
        Just(Type::S8),
        Just(Type::S16),
        Just(Type::S32),
        Just(Type::S64),
        Just(Type::F32),
        Just(Type::F64),
        Just(Type::Char),
        Just(Type::String),
        names().prop_map(|names| Type::enumeration(names).unwrap()),
        names().prop_map(|names| Type::flags(names).unwrap()),
    ];
    plain.prop_recursive(4, 30, 5, |inner| {
        let maybe = || prop::option::of(inner.clone());
        prop_oneof![
            inner.clone().prop_map(Type::list),
            (inner.clone(), 1..4u32).prop_map(|(ty, length)| Type::fixed_list(ty, length).unwrap()),
            (inner.clone(), inner.clone()).prop_map(|(key, value)| Type::Map(Arc::new([key, value]))),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|types| Type::tuple(types).unwrap()),
            inner.clone().prop_map(|ty| Type::Option(Arc::new(ty))),
            (maybe(), maybe()).prop_map(|(ok, err)| Type::Result(Arc::new([ok, err]))),
            (names(), prop::collection::vec(inner.clone(), 5)).prop_map(|(names, types)| {
                let fields = names.into_iter().zip(types).map(|(name, ty)| Field { name, ty });
                Type::record(fields.collect()).unwrap()
            }),
            (names(), prop::collection::vec(maybe(), 5)).prop_map(|(names, types)| {
                let cases = names.into_iter().zip(types).map(|(name, ty)| Case { name, ty });
                Type::variant(cases.collect()).unwrap()
            }),
        ]
    })
}

/// Some of them are words of the text notation.
fn names() -> impl Strategy<Value = Vec<Name>> {
    let all =
        ["a", "some", "none", "ok", "err", "true", "inf", "list", "u8", "x-1", "result", "long-name-Z9"];
    prop::sample::subsequence(all.map(Name::from).to_vec(), 1..=5)
}

fn val(ty: &Type) -> BoxedStrategy<Val> {
    match ty {
        Type::Bool => any::<bool>().prop_map(Val::Bool).boxed(),
        Type::U8 => any::<u8>().prop_map(Val::U8).boxed(),
        Type::U16 => any::<u16>().prop_map(Val::U16).boxed(),
        Type::U32 => any::<u32>().prop_map(Val::U32).boxed(),
        Type::U64 => any::<u64>().prop_map(Val::U64).boxed(),
        Type::S8 => any::<i8>().prop_map(Val::S8).boxed(),
        Type::S16 => any::<i16>().prop_map(Val::S16).boxed(),
        Type::S32 => any::<i32>().prop_map(Val::S32).boxed(),
        Type::S64 => any::<i64>().prop_map(Val::S64).boxed(),
        Type::F32 => any::<u32>().prop_map(|bits| Val::Float32(f32::from_bits(bits))).boxed(),
        Type::F64 => any::<u64>().prop_map(|bits| Val::Float64(f64::from_bits(bits))).boxed(),
        Type::Char => any::<char>().prop_map(Val::Char).boxed(),
        Type::String => any::<String>().prop_map(Val::String).boxed(),
        Type::List(items) => prop::collection::vec(val(&items.ty), 0..4).prop_map(Val::List).boxed(),
        Type::FixedList(items, length) => {
            prop::collection::vec(val(&items.ty), *length as usize).prop_map(Val::FixedLengthList).boxed()
        }
        Type::Map(types) => {
            prop::collection::vec((val(&types[0]), val(&types[1])), 0..4).prop_map(Val::Map).boxed()
        }
        Type::Record(fields) => {
            let names: Vec<_> = fields.iter().map(|field| field.name.to_string()).collect();
            let vals: Vec<_> = fields.iter().map(|field| val(&field.ty)).collect();
            vals.prop_map(move |vals| Val::Record(names.iter().cloned().zip(vals).collect())).boxed()
        }
        Type::Tuple(types) => types.iter().map(val).collect::<Vec<_>>().prop_map(Val::Tuple).boxed(),
        Type::Variant(cases) => {
            let cases = cases.iter().map(|case| {
                let name = case.name.to_string();
                payload(case.ty.as_ref()).prop_map(move |val| Val::Variant(name.clone(), val)).boxed()
            });
            prop::strategy::Union::new(cases.collect::<Vec<_>>()).boxed()
        }
        Type::Enum(names) => {
            prop::sample::select(names.to_vec()).prop_map(|name| Val::Enum(name.to_string())).boxed()
        }
        Type::Option(ty) => {
            prop_oneof![Just(Val::Option(None)), payload(Some(ty)).prop_map(Val::Option)].boxed()
        }
        Type::Result(types) => prop_oneof![
            payload(types[0].as_ref()).prop_map(|val| Val::Result(Ok(val))),
            payload(types[1].as_ref()).prop_map(|val| Val::Result(Err(val))),
        ]
        .boxed(),
        Type::Flags(names) => prop::sample::subsequence(names.to_vec(), 0..=names.len())
            .prop_map(|names| Val::Flags(names.iter().map(ToString::to_string).collect()))
            .boxed(),
        Type::Stream(_) | Type::Future(_) => unreachable!("no stream is made here"),
    }
}

fn payload(ty: Option<&Type>) -> BoxedStrategy<Option<Box<Val>>> {
    match ty {
        Some(ty) => val(ty).prop_map(|val| Some(Box::new(val))).boxed(),
        None => Just(None).boxed(),
    }
}
