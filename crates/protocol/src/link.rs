//! Links: which target satisfies which import of a source, and the rules by which they are put and deleted.

use serde::{Deserialize, Serialize};

use crate::{Error, control::DeleteLink, name, state::ComponentSpec};

/// Name of a link that was given none.
pub const DEFAULT_LINK_NAME: &str = "default";

pub(crate) fn default_link_name() -> String {
    DEFAULT_LINK_NAME.to_owned()
}

/// A link, as `link.put` and `link.get` carry it, as events tell of it and as the state keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// Id of the component or provider that calls.
    pub source_id: String,
    /// Id of the component or provider that is called.
    pub target: String,
    /// Name by which the source may choose among several targets of one interface.
    #[serde(default = "default_link_name")]
    pub name: String,
    /// WIT namespace of the interfaces, such as `wasi`.
    pub wit_namespace: String,
    /// WIT package of the interfaces, such as `http`.
    pub wit_package: String,
    /// WIT interfaces, without versions, such as `incoming-handler`.
    pub interfaces: Vec<String>,
    /// Named configs for the source, merged from left to right.
    #[serde(default)]
    pub source_config: Vec<String>,
    /// Named configs for the target, merged from left to right.
    #[serde(default)]
    pub target_config: Vec<String>,
}

/// What a link is deleted by. One key may have several links, for different interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkKey {
    /// Id of the calling component or provider.
    pub source_id: String,
    /// Name of the link.
    pub name: String,
    /// WIT namespace.
    pub wit_namespace: String,
    /// WIT package.
    pub wit_package: String,
}

/// What putting a link did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// There was no such link.
    Added,
    /// A link with the same key and target gave way; it is handed back.
    Replaced(Link),
    /// The same link was already there.
    Unchanged,
}

/// A link with the same key and at least one interface in common already leads to another target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "link already exists with different target, consider deleting the existing link or using a different link name"
)]
pub struct LinkConflict {
    /// The link that is in the way.
    pub existing: Box<Link>,
}

impl Link {
    /// What the link is deleted by.
    #[must_use]
    pub fn key(&self) -> LinkKey {
        LinkKey {
            source_id: self.source_id.clone(),
            name: self.name.clone(),
            wit_namespace: self.wit_namespace.clone(),
            wit_package: self.wit_package.clone(),
        }
    }

    /// Whether both links have the same source, name, namespace and package.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.source_id == other.source_id
            && self.name == other.name
            && self.wit_namespace == other.wit_namespace
            && self.wit_package == other.wit_package
    }

    /// Whether the two can't both exist: the source could not tell which target an interface means.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.same_key(other)
            && self.target != other.target
            && self.interfaces.iter().any(|interface| other.interfaces.contains(interface))
    }

    /// Whether putting this link replaces `other`: same key, same target.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        self.same_key(other) && self.target == other.target
    }

    /// Checks every name in the link.
    ///
    /// # Errors
    /// [`Error::InvalidName`] with the name of the first field that the lattice can't carry.
    pub fn check(&self) -> Result<(), Error> {
        name::check_id("source_id", &self.source_id)?;
        name::check_id("target", &self.target)?;
        name::check_link_name(&self.name)?;
        name::check_wit_name("wit_namespace", &self.wit_namespace)?;
        name::check_wit_name("wit_package", &self.wit_package)?;
        if self.interfaces.is_empty() {
            let reason = "a link names at least one interface";
            return Err(Error::InvalidName { field: "interfaces", value: String::new(), reason });
        }
        self.interfaces.iter().try_for_each(|interface| name::check_wit_name("interfaces", interface))?;
        self.source_config
            .iter()
            .chain(&self.target_config)
            .try_for_each(|config| name::check_config_name(config))
    }
}

impl DeleteLink {
    /// Whether the request means this link.
    #[must_use]
    pub fn matches(&self, link: &Link) -> bool {
        self.source_id == link.source_id
            && self.name == link.name
            && self.wit_namespace == link.wit_namespace
            && self.wit_package == link.wit_package
    }
}

impl From<LinkKey> for DeleteLink {
    fn from(key: LinkKey) -> Self {
        Self {
            source_id: key.source_id,
            wit_namespace: key.wit_namespace,
            wit_package: key.wit_package,
            name: key.name,
        }
    }
}

impl ComponentSpec {
    /// Puts a link: replaces the one with the same key and target, otherwise appends.
    ///
    /// # Errors
    /// [`LinkConflict`] when a link with the same key and a common interface leads to another target; then nothing
    /// was changed.
    pub fn put_link(&mut self, link: Link) -> Result<PutOutcome, LinkConflict> {
        if let Some(existing) = self.links.iter().find(|existing| existing.conflicts_with(&link)) {
            return Err(LinkConflict { existing: Box::new(existing.clone()) });
        }
        match self.links.iter_mut().find(|existing| link.replaces(existing)) {
            Some(existing) if *existing == link => Ok(PutOutcome::Unchanged),
            Some(existing) => Ok(PutOutcome::Replaced(std::mem::replace(existing, link))),
            None => {
                self.links.push(link);
                Ok(PutOutcome::Added)
            }
        }
    }

    /// Removes every link that the request means and hands them back. The others keep their order.
    pub fn delete_links(&mut self, request: &DeleteLink) -> Vec<Link> {
        let (removed, kept) =
            std::mem::take(&mut self.links).into_iter().partition(|link| request.matches(link));
        self.links = kept;
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*, sample::subsequence};
    use serde_json::json;

    fn link(target: &str, interfaces: &[&str]) -> Link {
        Link {
            source_id: "http".to_owned(),
            target: target.to_owned(),
            name: "default".to_owned(),
            wit_namespace: "wasi".to_owned(),
            wit_package: "http".to_owned(),
            interfaces: interfaces.iter().map(|&interface| interface.to_owned()).collect(),
            source_config: Vec::new(),
            target_config: Vec::new(),
        }
    }

    #[test]
    fn reads_a_link_as_clients_write_it() {
        let read: Link = serde_json::from_value(json!({
            "source_id": "http", "target": "echo", "wit_namespace": "wasi", "wit_package": "http",
            "interfaces": ["incoming-handler"]
        }))
        .unwrap();
        assert_eq!(read, link("echo", &["incoming-handler"]));
        assert_eq!(
            serde_json::to_value(&read).unwrap(),
            json!({
                "source_id": "http", "target": "echo", "name": "default", "wit_namespace": "wasi",
                "wit_package": "http", "interfaces": ["incoming-handler"], "source_config": [],
                "target_config": []
            })
        );
    }

    #[test]
    fn another_target_for_the_same_interface_is_a_conflict() {
        let mut spec = ComponentSpec::default();
        assert_eq!(spec.put_link(link("echo", &["incoming-handler"])), Ok(PutOutcome::Added));
        let conflict = spec.put_link(link("other", &["types", "incoming-handler"])).unwrap_err();
        assert_eq!(conflict.existing.target, "echo");
        assert_eq!(
            conflict.to_string(),
            "link already exists with different target, consider deleting the existing link or using a different \
             link name"
        );
        assert_eq!(spec.put_link(link("other", &["types"])), Ok(PutOutcome::Added));
        let named = Link { name: "second".to_owned(), ..link("third", &["incoming-handler"]) };
        assert_eq!(spec.put_link(named), Ok(PutOutcome::Added));
        assert_eq!(spec.links.len(), 3);
    }

    #[test]
    fn the_same_target_is_replaced_with_interfaces_and_configs() {
        let mut spec = ComponentSpec::default();
        let first = link("echo", &["incoming-handler"]);
        spec.put_link(first.clone()).unwrap();
        let second = Link { source_config: vec!["addr".to_owned()], ..link("echo", &["types"]) };
        assert_eq!(spec.put_link(second.clone()), Ok(PutOutcome::Replaced(first)));
        assert_eq!(spec.put_link(second.clone()), Ok(PutOutcome::Unchanged));
        assert_eq!(spec.links, [second]);
    }

    #[test]
    fn check_names_the_field() {
        let bad = Link { target: "a.b".to_owned(), ..link("x", &["y"]) };
        assert!(bad.check().unwrap_err().to_string().contains("invalid target `a.b`"));
        assert!(link("x", &[]).check().unwrap_err().to_string().contains("interfaces"));
        link("x", &["incoming-handler"]).check().unwrap();
    }

    fn any_link() -> impl Strategy<Value = Link> {
        let interfaces = subsequence(vec!["x", "y", "z"], 1..=3);
        ("[ab]", "[tu]", "[mn]", "[pq]", interfaces, vec("[cd]", 0..2)).prop_map(
            |(source_id, target, name, wit_package, interfaces, source_config)| Link {
                source_id,
                target,
                name,
                wit_namespace: "wasi".to_owned(),
                wit_package,
                interfaces: interfaces.into_iter().map(str::to_owned).collect(),
                source_config,
                target_config: Vec::new(),
            },
        )
    }

    fn spec_of(links: Vec<Link>) -> ComponentSpec {
        let mut spec = ComponentSpec::default();
        for link in links {
            let _ = spec.put_link(link);
        }
        spec
    }

    proptest! {
        #[test]
        fn stored_links_never_conflict(links in vec(any_link(), 0..12)) {
            let spec = spec_of(links);
            for (at, one) in spec.links.iter().enumerate() {
                for other in &spec.links[at + 1..] {
                    prop_assert!(!one.conflicts_with(other) && !one.replaces(other));
                }
            }
        }

        #[test]
        fn a_put_link_is_there_and_a_refused_one_changes_nothing(links in vec(any_link(), 0..12), link in any_link()) {
            let before = spec_of(links);
            let mut after = before.clone();
            match after.put_link(link.clone()) {
                Ok(outcome) => {
                    prop_assert!(after.links.contains(&link));
                    let grown = usize::from(outcome == PutOutcome::Added);
                    prop_assert_eq!(after.links.len(), before.links.len() + grown);
                    prop_assert_eq!(outcome == PutOutcome::Unchanged, before == after);
                }
                Err(conflict) => {
                    prop_assert!(before.links.contains(&conflict.existing));
                    prop_assert_eq!(before, after);
                }
            }
        }

        #[test]
        fn deleting_removes_all_matches_and_nothing_else(links in vec(any_link(), 0..12), key in any_link()) {
            let before = spec_of(links);
            let mut after = before.clone();
            let request = DeleteLink::from(key.key());
            let removed = after.delete_links(&request);
            prop_assert!(removed.iter().all(|link| link.same_key(&key) && request.matches(link)));
            prop_assert!(!after.links.iter().any(|link| link.same_key(&key)));
            let mut expected = before.links;
            expected.retain(|link| !removed.contains(link));
            prop_assert_eq!(after.links, expected);
        }

        #[test]
        fn links_round_trip_through_json(link in any_link()) {
            let json = serde_json::to_string(&link).unwrap();
            prop_assert_eq!(serde_json::from_str::<Link>(&json).unwrap(), link);
        }
    }
}
