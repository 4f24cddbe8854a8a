//! `wasmcloud:bus/lattice`: a component chooses, for the rest of one call, which of its links an interface takes.
//!
//! Both published generations: in 1.0 the choice can't fail, in 2.0 one without a link is an error.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType};

use crate::state::State;

/// The longest name of a link, namespace, package or interface, in bytes. The host keeps what a component says here, so
/// it is bounded. No call over the lattice carries longer names.
const MAX_NAME: usize = 256;

/// An interface, as a component names it to choose its link.
struct Target {
    /// `ns:package/interface`
    interface: String,
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut first = linker.instance("wasmcloud:bus/lattice@1.0.0")?;
    add_target(&mut first)?;
    first.func_wrap("set-link-name", |store: StoreContextMut<'_, State>, (name, targets): Choice| {
        choose(store, name, targets, false).map(drop)
    })?;
    let mut second = linker.instance("wasmcloud:bus/lattice@2.0.0")?;
    add_target(&mut second)?;
    second.func_wrap("set-link-name", |store: StoreContextMut<'_, State>, (name, targets): Choice| {
        Ok((choose(store, name, targets, true)?,))
    })
}

type Choice = (String, Vec<Resource<Target>>);

fn add_target(lattice: &mut wasmtime::component::LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    lattice.resource("call-target-interface", ResourceType::host::<Target>(), |mut store, target| {
        store.data_mut().table.delete(Resource::<Target>::new_own(target))?;
        Ok(())
    })?;
    lattice.func_wrap(
        "[constructor]call-target-interface",
        |mut store: StoreContextMut<'_, State>, (namespace, package, interface): (String, String, String)| {
            if let Some(long) =
                [&namespace, &package, &interface].into_iter().find(|name| name.len() > MAX_NAME)
            {
                return Err(wasmtime::Error::msg(too_long("an interface is named with", long)));
            }
            let interface = format!("{namespace}:{package}/{interface}");
            Ok((store.data_mut().table.push(Target { interface })?,))
        },
    )
}

fn too_long(what: &str, name: &str) -> String {
    format!("{what} {} bytes, and no name has more than {MAX_NAME}", name.len())
}

/// Takes the targets, and chooses the link for all of them or, where `checked` and one of them has none, for none.
fn choose(
    mut store: StoreContextMut<'_, State>,
    name: String,
    targets: Vec<Resource<Target>>,
    checked: bool,
) -> wasmtime::Result<Result<(), String>> {
    let State { table, outward, .. } = store.data_mut();
    let taken: Result<Vec<_>, _> = targets.into_iter().map(|target| table.delete(target)).collect();
    let interfaces = taken?;
    if name.len() > MAX_NAME {
        let reason = too_long("a link is named with", &name);
        return if checked { Ok(Err(reason)) } else { Err(wasmtime::Error::msg(reason)) };
    }
    let missing = |target: &&Target| checked && !outward.may_choose(&name, &target.interface);
    if let Some(Target { interface }) = interfaces.iter().find(missing) {
        return Ok(Err(format!("interface `{interface}` does not have an existing link with name `{name}`")));
    }
    let name: Arc<str> = name.into();
    for Target { interface } in &interfaces {
        if let Err(reason) = outward.choose(&name, interface) {
            return if checked { Ok(Err(reason)) } else { Err(wasmtime::Error::msg(reason)) };
        }
    }
    Ok(Ok(()))
}
