//! From what the compiler gives to a component.

use anyhow::{Context, Result, bail};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wit_component::{ComponentEncoder, DecodedWasm};

/// To be raised when [`from_build`] or the compiler's arguments change, so that everything is built again.
pub(super) const RECIPE: u32 = 1;

/// A component stays as it is. A core module that says in its custom sections which world it is made for becomes a
/// component of that world; where it uses the first preview of WASI, the adapter stands between.
pub(super) fn from_build(bytes: &[u8]) -> Result<Vec<u8>> {
    // After the magic number come two bytes of version and two of layer: 0 is a core module, 1 a component.
    let component = match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => bytes.to_vec(),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => ComponentEncoder::default()
            .module(bytes)?
            .adapter(ADAPTER_NAME, ADAPTER)?
            .validate(true)
            .encode()
            .context("the module can't be made a component")?,
        _ => bail!("the compiler's output is not WebAssembly"),
    };
    if exports(&component)?.is_empty() {
        bail!("the component exports nothing: is there an `export!` in its source?");
    }
    Ok(component)
}

/// The names of what a component exports.
pub(super) fn exports(component: &[u8]) -> Result<Vec<String>> {
    match wit_component::decode(component).context("the component can't be read")? {
        DecodedWasm::Component(resolve, world) => {
            Ok(resolve.worlds[world].exports.keys().map(|name| resolve.name_world_key(name)).collect())
        }
        DecodedWasm::WitPackage(..) => bail!("the compiler's output is an interface, not a component"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_and_can_be_none_is_refused() {
        let refusal = |bytes: &[u8]| format!("{:#}", from_build(bytes).unwrap_err());
        assert!(refusal(b"\x7fELF").contains("not WebAssembly"));
        // The smallest module says nothing of a world, so the component would export nothing.
        assert!(refusal(b"\0asm\x01\0\0\0").contains("exports nothing"), "{}", refusal(b"\0asm\x01\0\0\0"));
        assert!(refusal(b"\0asm\x0d\0\x01\0").contains("exports nothing"));
    }
}
