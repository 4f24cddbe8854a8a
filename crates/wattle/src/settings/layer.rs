//! Layers of settings: what one source says, where it says it, and which source wins.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wattle_artifact::RegistrySettings;
use zeroize::Zeroizing;

use super::table::{Key, row};
use super::value::Value;

/// Where a value comes from, in the words of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(String),
    /// A field of the config file.
    Field {
        /// The field's name as written.
        field: String,
        /// The file.
        file: PathBuf,
    },
    /// What a command decides by itself.
    Command(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "--{flag}"),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Field { field, file } => write!(f, "the field `{field}` of {}", file.display()),
            Self::Command(command) => write!(f, "`{command}`"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What one source says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layer {
    values: BTreeMap<Key, Found>,
}

impl Layer {
    /// Sets a value; lists and pairs that are set again grow.
    pub(crate) fn add(&mut self, key: Key, value: Value, origin: Origin) {
        match (self.values.get_mut(&key).map(|found| &mut found.value), value) {
            (Some(Value::List(list)), Value::List(more)) => list.extend(more),
            (Some(Value::Pairs(pairs)), Value::Pairs(more)) => pairs.extend(more),
            (_, value) => {
                self.values.insert(key, Found { value, origin });
            }
        }
    }

    /// What this source says of a setting.
    pub(crate) fn get(&self, key: Key) -> Option<&Found> {
        self.values.get(&key)
    }

    /// Everything this source says.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Found)> {
        self.values.iter().map(|(key, found)| (*key, found))
    }

    /// Forgets the settings that `keep` refuses.
    pub(crate) fn retain(&mut self, keep: impl Fn(Key) -> bool) {
        self.values.retain(|key, _| keep(*key));
    }

    fn says_something_of_the_group_of(&self, key: Key) -> bool {
        let Some(group) = row(key).and_then(|row| row.group) else { return self.values.contains_key(&key) };
        self.values.keys().any(|other| row(*other).and_then(|row| row.group) == Some(group))
    }
}

/// All layers together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    layers: Vec<Layer>,
}

impl Settings {
    /// The strongest layer comes first.
    pub(crate) fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        Self { layers: layers.into_iter().collect() }
    }

    /// The value that holds. Of the settings of one [group](super::table::Group) all come from the same layer.
    pub(crate) fn find(&self, key: Key) -> Option<&Found> {
        self.layers
            .iter()
            .find(|layer| layer.says_something_of_the_group_of(key))
            .and_then(|layer| layer.get(key))
    }

    fn value(&self, key: Key) -> Option<&Value> {
        self.find(key).map(|found| &found.value)
    }

    /// The text of a setting.
    pub(crate) fn text(&self, key: Key) -> Option<&str> {
        match self.value(key)? {
            Value::Text(text) => Some(text),
            Value::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    /// The secret of a setting.
    pub(crate) fn secret(&self, key: Key) -> Option<Zeroizing<String>> {
        self.text(key).map(|text| Zeroizing::new(text.to_owned()))
    }

    /// The texts of a setting.
    pub(crate) fn list(&self, key: Key) -> Option<&[String]> {
        match self.value(key)? {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// Whether something is switched on; `None` when nobody says.
    pub(crate) fn switch(&self, key: Key) -> Option<bool> {
        match self.value(key)? {
            Value::Switch(on) => Some(*on),
            _ => None,
        }
    }

    /// The number of a setting.
    pub(crate) fn number(&self, key: Key) -> Option<u64> {
        match self.value(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The time of a setting.
    pub(crate) fn duration(&self, key: Key) -> Option<Duration> {
        match self.value(key)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    /// The path of a setting.
    pub(crate) fn path(&self, key: Key) -> Option<&Path> {
        match self.value(key)? {
            Value::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The address of a setting.
    pub(crate) fn address(&self, key: Key) -> Option<SocketAddr> {
        match self.value(key)? {
            Value::Address(address) => Some(*address),
            _ => None,
        }
    }

    /// The registries of the config file.
    pub(crate) fn registries(&self) -> BTreeMap<String, RegistrySettings> {
        match self.value(Key::Registries) {
            Some(Value::Registries(registries)) => registries.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// The labels of all layers, each label from the strongest one that has it.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for layer in self.layers.iter().rev() {
            if let Some(Value::Pairs(more)) = layer.get(Key::Labels).map(|found| &found.value) {
                labels.extend(more.clone());
            }
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(values: &[(Key, Value)]) -> Layer {
        let mut layer = Layer::default();
        for (key, value) in values {
            layer.add(*key, value.clone(), Origin::Command("test"));
        }
        layer
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    #[test]
    fn a_group_comes_from_one_layer() {
        let strong = layer(&[(Key::NatsCreds, Value::Path("/creds".into()))]);
        let weak = layer(&[(Key::NatsUser, text("user")), (Key::Lattice, text("lab"))]);
        let settings = Settings::new([strong, weak]);
        assert_eq!(settings.path(Key::NatsCreds), Some(Path::new("/creds")));
        assert_eq!(settings.text(Key::NatsUser), None, "the stronger layer chose another way to log in");
        assert_eq!(settings.text(Key::Lattice), Some("lab"));
    }

    #[test]
    fn labels_are_joined() {
        let pairs = |pairs: &[(&str, &str)]| {
            Value::Pairs(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let strong = layer(&[(Key::Labels, pairs(&[("zone", "flag")]))]);
        let weak = layer(&[(Key::Labels, pairs(&[("zone", "file"), ("disk", "file")]))]);
        let labels = Settings::new([strong, weak]).labels();
        assert_eq!(labels.get("zone").unwrap(), "flag");
        assert_eq!(labels.get("disk").unwrap(), "file");
    }
}
