//! Linking: what this host gives every component, and the imports that lead to other components.
//!
//! An import that is an interface of values needs no code here: its functions are made from its types, and each call
//! goes to the [`Imports`](crate::Imports) of the component that makes it.

use std::pin::Pin;
use std::sync::Arc;

use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use wasmtime::component::{Accessor, Component, Linker, LinkerInstance, Val};
use wasmtime::{AsContextMut, Engine, StoreContextMut};

use crate::bus;
use crate::error::LoadError;
use crate::exports::full_name;
use crate::imports::{ImportCall, ImportError};
use crate::names;
use crate::outward::{Pending, aside};
use crate::state::State;
use crate::values::{FunctionType, Values};

/// The packages that this host itself implements; what they lack is refused by the engine, by name.
const PROVIDED: [&str; 9] = [
    "wasi:io/",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:sockets/",
    "wasi:random/",
    "wasi:http/",
    "wasi:config/",
    "wasmcloud:bus/",
];

/// What every component may import.
pub(crate) fn base_linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_config::add_to_linker(&mut linker, State::config)?;
    bus::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Defines what the component imports beyond that, and says which functions these are.
pub(crate) fn link_imports(
    linker: &mut Linker<State>,
    component: &Component,
) -> Result<Vec<Arc<FunctionType>>, LoadError> {
    let engine = component.engine();
    let mut functions = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        if PROVIDED.iter().any(|package| name.starts_with(package)) {
            continue;
        }
        match item.ty {
            ComponentItem::ComponentInstance(ty) => {
                link_interface(linker, engine, name, &ty, &mut functions)?
            }
            ComponentItem::ComponentFunc(ty) => functions.push(define(&mut linker.root(), "", name, &ty)?),
            // The engine refuses, by name, what it can't do without.
            _ => {}
        }
    }
    Ok(functions)
}

fn link_interface(
    linker: &mut Linker<State>,
    engine: &Engine,
    name: &str,
    ty: &ComponentInstance,
    functions: &mut Vec<Arc<FunctionType>>,
) -> Result<(), LoadError> {
    refuse_resources(engine, name, ty)?;
    let mut interface = linker.instance(name).map_err(invalid)?;
    for (function, item) in ty.exports(engine) {
        if let ComponentItem::ComponentFunc(ty) = item.ty {
            functions.push(define(&mut interface, name, function, &ty)?);
        }
    }
    Ok(())
}

/// A resource stays where it was made, so an interface that defines one can't lead elsewhere.
fn refuse_resources(engine: &Engine, name: &str, ty: &ComponentInstance) -> Result<(), LoadError> {
    let resource = ty.exports(engine).find_map(|(resource, item)| {
        matches!(item.ty, ComponentItem::Resource(_)).then(|| resource.to_owned())
    });
    let Some(resource) = resource else { return Ok(()) };
    for (function, item) in ty.exports(engine) {
        if let ComponentItem::ComponentFunc(ty) = item.ty {
            // The first that uses a resource says so, by name.
            FunctionType::new(name, function, &ty).map_err(|reason| {
                LoadError::CannotCross(format!("{reason} (the resource is `{resource}`)"))
            })?;
        }
    }
    Err(LoadError::CannotCross(format!(
        "`{name}` defines the resource `{resource}`, which can't leave its component"
    )))
}

fn invalid(error: wasmtime::Error) -> LoadError {
    LoadError::Invalid(format!("{error:#}"))
}

fn define(
    target: &mut LinkerInstance<'_, State>,
    interface: &str,
    name: &str,
    ty: &ComponentFunc,
) -> Result<Arc<FunctionType>, LoadError> {
    let function = FunctionType::new(interface, name, ty).map(Arc::new).map_err(LoadError::CannotCross)?;
    let import =
        Arc::new(Import { function: function.clone(), key: names::without_version(interface).into() });
    let defined = if function.is_async() {
        target.func_new_concurrent(name, move |accessor, _, parameters, results| {
            Box::pin(import.clone().call_concurrent(accessor, parameters, results))
        })
    } else {
        target.func_new_async(name, move |store, _, parameters, results| {
            Box::new(import.clone().call(store, parameters, results))
        })
    };
    defined.map_err(invalid)?;
    Ok(function)
}

/// An imported function that leads to another component.
struct Import {
    function: Arc<FunctionType>,
    /// The interface as links name it: without a version.
    key: Box<str>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Values, ImportError>> + Send>>;

impl Import {
    /// The caller's fiber waits, and with it whatever else runs in its instance.
    async fn call(
        self: Arc<Self>,
        mut store: StoreContextMut<'_, State>,
        parameters: &[Val],
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        let (pending, answer) = self.start(store.as_context_mut(), parameters)?;
        let values = answer.await.map_err(|error| self.failed(&error))?;
        drop(pending);
        self.finish(store, values, results)
    }

    /// The rest of the caller's instance goes on meanwhile. What answers may run an event loop of its own, which can't
    /// be done from within this one, so it gets a task.
    async fn call_concurrent(
        self: Arc<Self>,
        accessor: &Accessor<State>,
        parameters: &[Val],
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        let (pending, answer) =
            accessor.with(|mut access| self.start(access.as_context_mut(), parameters))?;
        let values = aside(answer).await.map_err(|error| self.failed(&error))?;
        drop(pending);
        accessor.with(|mut access| self.finish(access.as_context_mut(), values, results))
    }

    fn start(
        &self,
        mut store: StoreContextMut<'_, State>,
        parameters: &[Val],
    ) -> wasmtime::Result<(Pending, Answer)> {
        let parameters =
            Values::take_parameters(store.as_context_mut(), &self.function, parameters.to_vec())?;
        let outward = &store.data().outward;
        let call =
            ImportCall { caller: outward.caller(&self.key), function: self.function.clone(), parameters };
        Ok((outward.wait(), outward.imports.call(call)))
    }

    fn finish(
        &self,
        store: StoreContextMut<'_, State>,
        values: Values,
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        let values = values.put_results(store, &self.function)?;
        for (result, value) in results.iter_mut().zip(values) {
            *result = value;
        }
        Ok(())
    }

    fn failed(&self, error: &ImportError) -> wasmtime::Error {
        let name = full_name(self.function.interface(), self.function.name());
        wasmtime::Error::msg(format!("calling {name} failed: {error}"))
    }
}
