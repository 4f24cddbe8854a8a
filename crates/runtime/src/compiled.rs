//! A compiled component, linked to what this host provides.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Instance, InstancePre, Linker};
use wasmtime_wasi_http::handler::Proxy;
use wasmtime_wasi_http::p2::bindings::ProxyIndices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices;

use crate::error::LoadError;
use crate::exports::Exports;
use crate::lane::Lane;
use crate::link::link_imports;
use crate::served::{ServeOptions, Served};
use crate::state::State;
use crate::values::FunctionType;

/// A compiled component. Cheap to clone; the code is shared by all who loaded the same digest.
#[derive(Clone)]
pub struct Compiled(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    digest: String,
    imports: Vec<String>,
    exported: Vec<String>,
    imported_functions: Vec<Arc<FunctionType>>,
    pub(crate) exports: Exports,
    pub(crate) pre: InstancePre<State>,
    /// Where an instance has its HTTP handler; `None` where the component exports none.
    pub(crate) http: Option<HttpExport>,
    pub(crate) engine: wasmtime::Engine,
    pub(crate) instances: Arc<Semaphore>,
    pub(crate) lane: Arc<Lane>,
}

/// A component's HTTP handler of one generation.
pub(crate) enum HttpExport {
    Wasi02(ProxyIndices),
    Wasi03(ServiceIndices),
}

impl HttpExport {
    pub(crate) fn load(&self, store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Proxy> {
        match self {
            Self::Wasi02(indices) => indices.load(store, instance).map(Proxy::P2),
            Self::Wasi03(indices) => indices.load(store, instance).map(Proxy::P3),
        }
    }
}

/// Which generation of `wasi:http` a component answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpGeneration {
    /// `wasi:http/incoming-handler@0.2`
    Wasi02,
    /// `wasi:http/handler@0.3`
    Wasi03,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("digest", &self.0.digest).finish_non_exhaustive()
    }
}

impl Compiled {
    /// Links the component; instances are made later, at each call.
    pub(crate) fn new(
        component: &Component,
        digest: String,
        mut linker: Linker<State>,
        instances: Arc<Semaphore>,
        lane: Arc<Lane>,
    ) -> Result<Self, LoadError> {
        let engine = component.engine().clone();
        let ty = component.component_type();
        let functions = |item: &ComponentItem| !matches!(item, ComponentItem::Type(_));
        let names = |(name, item): (&str, _)| functions(&item).then(|| name.to_owned());
        let imports: Vec<_> = ty.imports(&engine).filter_map(|(name, item)| names((name, item.ty))).collect();
        let exported: Vec<_> =
            ty.exports(&engine).filter_map(|(name, item)| names((name, item.ty))).collect();
        let imported_functions = link_imports(&mut linker, component)?;
        let pre =
            linker.instantiate_pre(component).map_err(|error| LoadError::Imports(format!("{error:#}")))?;
        let http = http_handler(&exported, &pre).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        let exports = Exports::of(component);
        Ok(Self(Arc::new(Inner {
            digest,
            imports,
            exported,
            imported_functions,
            exports,
            pre,
            http,
            engine,
            instances,
            lane,
        })))
    }

    /// The digest (`sha256:…`) of the bytes that this was compiled from.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// The interfaces and functions that the component imports, as WIT writes them.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// The interfaces and functions that the component exports, as WIT writes them.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.0.exported
    }

    /// The functions that the component imports and that lead to other components.
    #[must_use]
    pub fn imported_functions(&self) -> &[Arc<FunctionType>] {
        &self.0.imported_functions
    }

    /// The functions that the component exports for others to call with values.
    #[must_use]
    pub fn exported_functions(&self) -> &[Arc<FunctionType>] {
        self.0.exports.functions()
    }

    /// An exported function of the interface in this version or a compatible one; of an interface without a name, a
    /// function that is exported bare.
    #[must_use]
    pub fn exported_function(&self, interface: &str, function: &str) -> Option<&Arc<FunctionType>> {
        self.0.exports.find(interface, function)
    }

    /// Why an exported function can't be called by others, where there is such a function and it can't: its values
    /// can't leave the component.
    #[must_use]
    pub fn export_refusal(&self, interface: &str, function: &str) -> Option<&str> {
        self.0.exports.refusal(interface, function)
    }

    /// Which `wasi:http` the component answers, if it does.
    #[must_use]
    pub fn http_generation(&self) -> Option<HttpGeneration> {
        self.0.http.as_ref().map(|export| match export {
            HttpExport::Wasi02(_) => HttpGeneration::Wasi02,
            HttpExport::Wasi03(_) => HttpGeneration::Wasi03,
        })
    }

    /// Gives the component an identity and limits; from then on it answers calls.
    #[must_use]
    pub fn serve(&self, options: ServeOptions) -> Served {
        Served::new(self.clone(), options)
    }
}

/// The newer handler wins where a component exports both.
fn http_handler(exports: &[String], pre: &InstancePre<State>) -> wasmtime::Result<Option<HttpExport>> {
    let exported = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    if exported("wasi:http/handler@0.3") {
        return ServiceIndices::new(pre).map(|indices| Some(HttpExport::Wasi03(indices)));
    }
    if exported("wasi:http/incoming-handler@0.2") {
        return ProxyIndices::new(pre).map(|indices| Some(HttpExport::Wasi02(indices)));
    }
    Ok(None)
}

/// Tells apart what is no WebAssembly, a core module and a component, by the preamble alone.
///
/// # Errors
///
/// [`LoadError::NotWasm`] and [`LoadError::CoreModule`].
pub fn check_component(bytes: &[u8]) -> Result<(), LoadError> {
    const MAGIC: &[u8; 4] = b"\0asm";
    const MODULE_LAYER: [u8; 2] = [0, 0];
    let Some(preamble) = bytes.first_chunk::<8>().filter(|preamble| preamble.starts_with(MAGIC)) else {
        return Err(LoadError::NotWasm { found: describe(bytes) });
    };
    if preamble[6..] == MODULE_LAYER {
        return Err(LoadError::CoreModule);
    }
    Ok(())
}

fn describe(bytes: &[u8]) -> String {
    match bytes {
        [] => "it is empty".into(),
        [0x1f, 0x8b, ..] => "it is a gzip archive; a provider archive is started as a provider".into(),
        [b'(', ..] => "it is WebAssembly text; compile it first".into(),
        [b'\0', b'a', b's', b'm', ..] => "it ends within the preamble".into(),
        _ => format!("{} bytes that begin with {:02x?}", bytes.len(), &bytes[..bytes.len().min(4)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preamble_tells_what_it_is() {
        assert!(matches!(check_component(b""), Err(LoadError::NotWasm { .. })));
        assert!(matches!(check_component(b"\0asm"), Err(LoadError::NotWasm { .. })));
        assert!(matches!(check_component(b"(component)"), Err(LoadError::NotWasm { .. })));
        assert!(matches!(check_component(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule)));
        assert!(check_component(b"\0asm\x0d\0\x01\0").is_ok());
    }
}
