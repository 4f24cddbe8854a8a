//! Where wattle keeps things in a person's home, as the XDG base directory specification lays it out.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::settings::Variables;

/// Keys: `$XDG_CONFIG_HOME/wattle`, else `~/.config/wattle`.
pub(crate) fn config(variables: &Variables) -> anyhow::Result<PathBuf> {
    folder(variables, "XDG_CONFIG_HOME", ".config")
}

/// What hosts keep: `$XDG_DATA_HOME/wattle`, else `~/.local/share/wattle`.
pub(crate) fn data(variables: &Variables) -> anyhow::Result<PathBuf> {
    folder(variables, "XDG_DATA_HOME", ".local/share")
}

/// What can be fetched again: `$XDG_CACHE_HOME/wattle`, else `~/.cache/wattle`.
pub(crate) fn cache(variables: &Variables) -> anyhow::Result<PathBuf> {
    folder(variables, "XDG_CACHE_HOME", ".cache")
}

fn folder(variables: &Variables, variable: &str, in_home: &str) -> anyhow::Result<PathBuf> {
    // The specification: paths that are not absolute are to be ignored.
    let base = variables.path(variable).filter(|path| path.is_absolute());
    let base = base.or_else(|| Some(variables.path("HOME")?.join(in_home)));
    let base = base.with_context(|| format!("neither {variable} nor HOME says where to keep files"))?;
    Ok(base.join("wattle"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_is_followed() {
        let home = Variables::of(&[("HOME", "/home/ada")]);
        assert_eq!(data(&home).unwrap(), PathBuf::from("/home/ada/.local/share/wattle"));
        let set = Variables::of(&[("HOME", "/home/ada"), ("XDG_CACHE_HOME", "/fast")]);
        assert_eq!(cache(&set).unwrap(), PathBuf::from("/fast/wattle"));
        let relative = Variables::of(&[("HOME", "/home/ada"), ("XDG_CONFIG_HOME", "here")]);
        assert_eq!(config(&relative).unwrap(), PathBuf::from("/home/ada/.config/wattle"));
        assert!(config(&Variables::default()).is_err());
    }
}
