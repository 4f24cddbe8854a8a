//! The functions that a component exports, found by name or by what was found before.

use std::collections::HashMap;
use std::sync::Arc;

use semver::Version;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::names;
use crate::values::FunctionType;

/// What a component exports for others to call.
#[derive(Default)]
pub(crate) struct Exports {
    functions: Vec<Arc<FunctionType>>,
    /// Where the engine finds each of `functions`.
    places: Vec<ComponentExportIndex>,
    /// Interfaces by full name and by what their compatible versions share; bare functions are in the one without a
    /// name.
    interfaces: HashMap<String, Interface>,
    /// Why a function can't be called by others, by `interface.function`.
    refused: HashMap<String, String>,
}

#[derive(Clone, Default)]
struct Interface {
    /// For a track: the version that stands for it.
    version: Option<Version>,
    /// Places in `Exports::functions`.
    functions: HashMap<String, usize>,
}

impl Exports {
    pub(crate) fn of(component: &Component) -> Self {
        let engine = component.engine();
        let mut exports = Self::default();
        let mut bare = Interface::default();
        for (name, item) in component.component_type().exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(ty) => {
                    let place = component.get_export_index(None, name);
                    exports.add(&mut bare, "", name, &ty, place);
                }
                ComponentItem::ComponentInstance(ty) => {
                    let mut interface = Interface::default();
                    let instance = component.get_export_index(None, name);
                    for (function, item) in ty.exports(engine) {
                        if let ComponentItem::ComponentFunc(ty) = item.ty {
                            let place = component.get_export_index(instance.as_ref(), function);
                            exports.add(&mut interface, name, function, &ty, place);
                        }
                    }
                    exports.name(name, interface);
                }
                _ => {}
            }
        }
        exports.interfaces.insert(String::new(), bare);
        exports
    }

    fn add(
        &mut self,
        interface: &mut Interface,
        interface_name: &str,
        name: &str,
        ty: &ComponentFunc,
        place: Option<ComponentExportIndex>,
    ) {
        let Some(place) = place else { return };
        match FunctionType::new(interface_name, name, ty) {
            Ok(function) => {
                interface.functions.insert(name.to_owned(), self.functions.len());
                self.functions.push(Arc::new(function));
                self.places.push(place);
            }
            Err(reason) => {
                self.refused.insert(full_name(interface_name, name), reason);
            }
        }
    }

    /// Files an interface under its name, and under its track where it is the newest version there.
    fn name(&mut self, name: &str, interface: Interface) {
        if let Some((track, version)) = names::track(name) {
            let newest =
                self.interfaces.get(&track).is_none_or(|other| other.version < Some(version.clone()));
            if newest {
                self.interfaces.insert(track, Interface { version: Some(version), ..interface.clone() });
            }
        }
        self.interfaces.insert(name.to_owned(), interface);
    }

    pub(crate) fn functions(&self) -> &[Arc<FunctionType>] {
        &self.functions
    }

    /// The exact version if it is there, else a compatible one.
    pub(crate) fn find(&self, interface: &str, function: &str) -> Option<&Arc<FunctionType>> {
        let found = match self.interfaces.get(interface) {
            Some(found) => found,
            None => self.interfaces.get(&names::track(interface)?.0)?,
        };
        found.functions.get(function).map(|place| &self.functions[*place])
    }

    /// Why an exported function can't be called by others, where it can't.
    pub(crate) fn refusal(&self, interface: &str, function: &str) -> Option<&str> {
        self.refused.get(&full_name(interface, function)).map(String::as_str)
    }

    /// The place of a function: this very one, or what another build of the component calls the same, with the same
    /// types.
    pub(crate) fn position(&self, wanted: &Arc<FunctionType>) -> Option<usize> {
        let place =
            |wanted: &Arc<FunctionType>| self.functions.iter().position(|known| Arc::ptr_eq(known, wanted));
        place(wanted).or_else(|| {
            let found = self.find(wanted.interface(), wanted.name())?;
            if found.text() == wanted.text() { place(found) } else { None }
        })
    }

    /// The function at a position, and where the engine finds it.
    pub(crate) fn at(&self, position: usize) -> (&FunctionType, &ComponentExportIndex) {
        (&self.functions[position], &self.places[position])
    }
}

/// `interface.function`, or the function alone where it is bare.
pub(crate) fn full_name(interface: &str, function: &str) -> String {
    if interface.is_empty() { function.to_owned() } else { format!("{interface}.{function}") }
}
