//! Where a call goes by the links: source, link name and interface lead to a target.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use wattle_lattice::{Snapshot, Store};
use wattle_protocol::state::ComponentSpec;

/// The links of the lattice, arranged for look-up. Replaced whole when the state changes, so calls find it without a
/// lock, and no call pays for links that are not its own.
#[derive(Default)]
pub(crate) struct Routes {
    table: ArcSwap<Table>,
    /// Held while the table is replaced, so that an older one never takes the place of a newer one.
    replacing: Mutex<()>,
}

/// Links at one revision of the state.
#[derive(Default)]
pub(crate) struct Table {
    /// Source, then link name, then `namespace:package/interface`.
    sources: HashMap<String, HashMap<String, HashMap<String, Arc<str>>>>,
    /// Revision of the state that the table was made from.
    pub(crate) revision: u64,
}

impl Routes {
    pub(crate) fn load(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Takes over the links of the state as it is now.
    pub(crate) fn follow(&self, store: &Store) {
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        self.table.store(Arc::new(Table::new(&store.snapshot())));
    }
}

impl Table {
    fn new(snapshot: &Snapshot) -> Self {
        Self::of(snapshot, snapshot.specs.values())
    }

    /// The links of one source alone; the others are left out.
    pub(crate) fn of_source(snapshot: &Snapshot, source: &str) -> Self {
        Self::of(snapshot, snapshot.specs.get(source))
    }

    fn of<'a>(snapshot: &Snapshot, specs: impl IntoIterator<Item = &'a Arc<ComponentSpec>>) -> Self {
        let mut table = Self { revision: snapshot.revisions.lattice, ..Self::default() };
        let mut targets: HashMap<&str, Arc<str>> = HashMap::new();
        for link in specs.into_iter().flat_map(|spec| &spec.links) {
            let target = targets.entry(&link.target).or_insert_with(|| link.target.as_str().into());
            let names = table.sources.entry(link.source_id.clone()).or_default();
            let interfaces = names.entry(link.name.clone()).or_default();
            for interface in &link.interfaces {
                let interface = format!("{}:{}/{interface}", link.wit_namespace, link.wit_package);
                interfaces.insert(interface, target.clone());
            }
        }
        table
    }

    /// The target of a call, by the interface as the caller imports it, with or without a version.
    pub(crate) fn target(&self, source: &str, link_name: &str, interface: &str) -> Option<&Arc<str>> {
        self.sources.get(source)?.get(link_name)?.get(unversioned(interface))
    }

    /// Whether there is a link of any name for the interface.
    pub(crate) fn has_link(&self, source: &str, interface: &str) -> bool {
        let interface = unversioned(interface);
        self.sources
            .get(source)
            .is_some_and(|names| names.values().any(|interfaces| interfaces.contains_key(interface)))
    }
}

/// `ns:pkg/iface@1.2.3` without its version: links have none.
pub(crate) fn unversioned(interface: &str) -> &str {
    interface.split_once('@').map_or(interface, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wattle_protocol::link::Link;

    fn link(source: &str, name: &str, interface: &str, target: &str) -> Link {
        Link {
            source_id: source.to_owned(),
            target: target.to_owned(),
            name: name.to_owned(),
            wit_namespace: "wattle".to_owned(),
            wit_package: "test".to_owned(),
            interfaces: vec![interface.to_owned()],
            source_config: Vec::new(),
            target_config: Vec::new(),
        }
    }

    #[test]
    fn source_name_and_interface_lead_to_the_target() {
        let mut snapshot = Snapshot::default();
        let spec = ComponentSpec {
            links: vec![
                link("a", "default", "echo", "b"),
                link("a", "backup", "echo", "c"),
                link("a", "default", "log", "d"),
            ],
            ..ComponentSpec::default()
        };
        snapshot.specs.insert("a".to_owned(), Arc::new(spec));
        snapshot.revisions.lattice = 7;
        let table = Table::new(&snapshot);
        let target = |source, name, interface| table.target(source, name, interface).map(AsRef::as_ref);
        assert_eq!(target("a", "default", "wattle:test/echo@0.1.0"), Some("b"));
        assert_eq!(target("a", "backup", "wattle:test/echo"), Some("c"));
        assert_eq!(target("a", "default", "wattle:test/log@1.0.0-rc.1"), Some("d"));
        assert_eq!(target("a", "other", "wattle:test/echo"), None);
        assert_eq!(target("b", "default", "wattle:test/echo"), None);
        assert_eq!(target("a", "default", "wasi:test/echo"), None);
        assert!(table.has_link("a", "wattle:test/echo@0.2.0"));
        assert!(!table.has_link("a", "wattle:test/more"));
        assert_eq!(table.revision, 7);
        let of_source = |source| Table::of_source(&snapshot, source);
        assert!(of_source("a").target("a", "default", "wattle:test/echo").is_some());
        assert!(of_source("b").target("a", "default", "wattle:test/echo").is_none());
    }
}
