//! Names on the command line, checked by the lattice's own rules before anything is sent.

use wattle_protocol::name;

fn checked(text: &str, result: Result<(), wattle_protocol::Error>) -> Result<String, String> {
    result.map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// The id of a component.
pub(crate) fn component_id(text: &str) -> Result<String, String> {
    checked(text, name::check_id("component id", text))
}

/// The id of a provider.
pub(crate) fn provider_id(text: &str) -> Result<String, String> {
    checked(text, name::check_id("provider id", text))
}

/// The id of a component or provider.
pub(crate) fn workload_id(text: &str) -> Result<String, String> {
    checked(text, name::check_id("id", text))
}

/// The name of a config.
pub(crate) fn config_name(text: &str) -> Result<String, String> {
    checked(text, name::check_config_name(text))
}

/// The name of a link.
pub(crate) fn link_name(text: &str) -> Result<String, String> {
    checked(text, name::check_link_name(text))
}

/// A WIT namespace.
pub(crate) fn wit_namespace(text: &str) -> Result<String, String> {
    checked(text, name::check_wit_name("WIT namespace", text))
}

/// A WIT package.
pub(crate) fn wit_package(text: &str) -> Result<String, String> {
    checked(text, name::check_wit_name("WIT package", text))
}

/// A WIT interface.
pub(crate) fn wit_interface(text: &str) -> Result<String, String> {
    checked(text, name::check_wit_name("WIT interface", text))
}
