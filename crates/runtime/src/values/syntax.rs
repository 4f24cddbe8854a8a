//! Reads the text of a function's type back.

use std::sync::Arc;

use super::types::{Builder, Case, Element, Field, Name, Refused, Type};

pub(super) struct Function {
    pub(super) is_async: bool,
    pub(super) names: Vec<Name>,
    pub(super) parameters: Vec<Type>,
    pub(super) result: Option<Type>,
}

pub(super) fn function(text: &str) -> Result<Function, Refused> {
    let mut parser = Parser { rest: text, builder: Builder::default() };
    let is_async = parser.accept("async ");
    parser.expect("func(")?;
    let (mut names, mut parameters) = (Vec::new(), Vec::new());
    if !parser.accept(")") {
        loop {
            names.push(parser.name()?);
            parser.expect(": ")?;
            parameters.push(parser.ty()?);
            if !parser.accept(", ") {
                break;
            }
        }
        parser.expect(")")?;
    }
    let result = if parser.accept(" -> ") { Some(parser.ty()?) } else { None };
    if !parser.rest.is_empty() {
        return Err(format!("nothing should follow before {:?}", parser.rest));
    }
    Ok(Function { is_async, names, parameters, result })
}

struct Parser<'a> {
    rest: &'a str,
    builder: Builder,
}

impl Parser<'_> {
    fn accept(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str) -> Result<(), Refused> {
        if self.accept(text) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(20).collect();
        Err(format!("{text:?} is expected where it goes on with {found:?}"))
    }

    fn name(&mut self) -> Result<Name, Refused> {
        let is_part = |char: char| char.is_ascii_alphanumeric() || char == '-';
        let end = self.rest.find(|char| !is_part(char)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        if name.is_empty() { Err("a name is missing".into()) } else { Ok(name.into()) }
    }

    fn ty(&mut self) -> Result<Type, Refused> {
        self.builder.enter()?;
        let ty = self.one();
        self.builder.leave();
        ty
    }

    fn one(&mut self) -> Result<Type, Refused> {
        let name = self.name()?;
        Ok(match name.as_ref() {
            "bool" => Type::Bool,
            "u8" => Type::U8,
            "u16" => Type::U16,
            "u32" => Type::U32,
            "u64" => Type::U64,
            "s8" => Type::S8,
            "s16" => Type::S16,
            "s32" => Type::S32,
            "s64" => Type::S64,
            "f32" => Type::F32,
            "f64" => Type::F64,
            "char" => Type::Char,
            "string" => Type::String,
            "list" => self.list()?,
            "map" => {
                self.expect("<")?;
                let key = self.ty()?;
                self.expect(", ")?;
                let value = self.ty()?;
                self.expect(">")?;
                Type::Map(Arc::new([key, value]))
            }
            "option" => Type::Option(Arc::new(self.inner()?)),
            "tuple" => Type::tuple(self.all("<", ">", Self::ty)?)?,
            "result" => self.result()?,
            "record" => Type::record(self.all(" { ", " }", |this| {
                let name = this.name()?;
                this.expect(": ")?;
                Ok(Field { name, ty: this.ty()? })
            })?)?,
            "variant" => Type::variant(self.all(" { ", " }", |this| {
                let name = this.name()?;
                let ty = if this.accept("(") {
                    let ty = this.ty()?;
                    this.expect(")")?;
                    Some(ty)
                } else {
                    None
                };
                Ok(Case { name, ty })
            })?)?,
            "enum" => Type::enumeration(self.all(" { ", " }", Self::name)?)?,
            "flags" => Type::flags(self.all(" { ", " }", Self::name)?)?,
            "stream" => Type::Stream(self.element("stream")?),
            "future" => Type::Future(self.element("future")?),
            other => return Err(format!("there is no type {other:?}")),
        })
    }

    fn inner(&mut self) -> Result<Type, Refused> {
        self.expect("<")?;
        let ty = self.ty()?;
        self.expect(">")?;
        Ok(ty)
    }

    fn list(&mut self) -> Result<Type, Refused> {
        self.expect("<")?;
        let ty = self.ty()?;
        let length = if self.accept(", ") {
            let length = self.name()?;
            let number = length.parse().ok().filter(|number: &u32| number.to_string() == *length);
            Some(number.ok_or_else(|| format!("{length:?} is no length of a list"))?)
        } else {
            None
        };
        self.expect(">")?;
        match length {
            Some(length) => Type::fixed_list(ty, length),
            None => Ok(Type::list(ty)),
        }
    }

    fn result(&mut self) -> Result<Type, Refused> {
        if !self.accept("<") {
            return Ok(Type::Result(Arc::new([None, None])));
        }
        let ok = if self.accept("_") { None } else { Some(self.ty()?) };
        let err = if ok.is_none() || self.rest.starts_with(',') {
            self.expect(", ")?;
            Some(self.ty()?)
        } else {
            None
        };
        self.expect(">")?;
        Ok(Type::Result(Arc::new([ok, err])))
    }

    fn element(&mut self, kind: &str) -> Result<Arc<Element>, Refused> {
        let ty = if self.rest.starts_with('<') { Some(self.inner()?) } else { None };
        Element::find(kind, ty)
    }

    fn all<T>(
        &mut self,
        before: &str,
        after: &str,
        mut part: impl FnMut(&mut Self) -> Result<T, Refused>,
    ) -> Result<Vec<T>, Refused> {
        self.expect(before)?;
        let mut parts = Vec::new();
        loop {
            self.builder.count(1)?;
            parts.push(part(self)?);
            if !self.accept(", ") {
                break;
            }
        }
        self.expect(after)?;
        Ok(parts)
    }
}
