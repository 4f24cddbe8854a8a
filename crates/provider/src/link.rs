//! Links as a provider sees them.

use std::{collections::BTreeMap, fmt};

/// A link with the configuration of both of its ends.
#[derive(Clone, PartialEq, Eq)]
pub struct ResolvedLink {
    /// The id of the end that calls: a component, or a provider.
    pub source: String,
    /// The id of the end that is called.
    pub target: String,
    /// The link's name, most often `default`. It tells several links of one source and interface apart.
    pub name: String,
    /// The namespace of the interfaces, as `wasi` in `wasi:http`.
    pub namespace: String,
    /// The package of the interfaces, as `http` in `wasi:http`.
    pub package: String,
    /// The interfaces of that package which the link is for, as `incoming-handler`.
    pub interfaces: Vec<String>,
    /// The source's named configs, merged.
    pub source_config: BTreeMap<String, String>,
    /// The target's named configs, merged.
    pub target_config: BTreeMap<String, String>,
}

impl ResolvedLink {
    /// What the link is told apart by: two versions of one link have the same key.
    pub fn key(&self) -> LinkKey {
        LinkKey {
            source: self.source.clone(),
            target: self.target.clone(),
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            package: self.package.clone(),
        }
    }
}

impl fmt::Debug for ResolvedLink {
    /// Names the configuration keys only: values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedLink")
            .field("source", &self.source)
            .field("target", &self.target)
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("package", &self.package)
            .field("interfaces", &self.interfaces)
            .field("source_config", &Keys(&self.source_config))
            .field("target_config", &Keys(&self.target_config))
            .finish()
    }
}

struct Keys<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a link is told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkKey {
    /// The id of the end that calls.
    pub source: String,
    /// The id of the end that is called.
    pub target: String,
    /// The link's name.
    pub name: String,
    /// The namespace of the interfaces.
    pub namespace: String,
    /// The package of the interfaces.
    pub package: String,
}

impl fmt::Display for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, target, name, namespace, package } = self;
        write!(f, "{source} -> {target} ({namespace}:{package}, `{name}`)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> ResolvedLink {
        ResolvedLink {
            source: "VSOURCE".into(),
            target: "MTARGET".into(),
            name: "default".into(),
            namespace: "wasi".into(),
            package: "http".into(),
            interfaces: vec!["incoming-handler".into()],
            source_config: BTreeMap::from([("password".into(), "hunter2".into())]),
            target_config: BTreeMap::from([("token".into(), "hunter3".into())]),
        }
    }

    #[test]
    fn debug_names_keys_and_hides_values() {
        let shown = format!("{:?}", link());
        assert!(shown.contains("password") && shown.contains("token"), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn two_versions_of_a_link_have_one_key() {
        let changed = ResolvedLink { source_config: BTreeMap::new(), interfaces: Vec::new(), ..link() };
        assert_eq!(changed.key(), link().key());
        assert_ne!(ResolvedLink { name: "other".into(), ..link() }.key(), link().key());
        assert_eq!(link().key().to_string(), "VSOURCE -> MTARGET (wasi:http, `default`)");
    }
}
