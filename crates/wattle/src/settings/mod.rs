//! Settings: by precedence a flag, an environment variable, a field of the config file, or a default.
//!
//! * [`table`] says which settings there are, and all their names;
//! * [`value`] reads and checks their values;
//! * [`flags`], [`env`] and [`file`] are the three sources, [`layer`] puts them one above the other;
//! * [`connect`] and [`host`] make of them what the libraries want, and [`cluster`] does so again when files change;
//! * [`shared`] writes the file that a second machine is given.

pub(crate) mod cluster;
pub(crate) mod connect;
pub(crate) mod env;
pub(crate) mod file;
pub(crate) mod flags;
pub(crate) mod host;
pub(crate) mod layer;
pub(crate) mod shared;
pub(crate) mod table;
pub(crate) mod value;

pub(crate) use env::Variables;
pub(crate) use flags::{ConnectionFlags, HostFlags};
pub(crate) use layer::{Found, Layer, Origin, Settings};
pub(crate) use table::Key;
pub(crate) use value::Value;

/// The config file that is read where none is named, and written where there is no cluster seed.
pub(crate) const DEFAULT_CONFIG_FILE: &str = "host_config.json";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::table::{ROWS, Row, Scope};
    use super::value::Kind;
    use super::*;
    use clap::{Args as _, FromArgMatches as _};
    use wattle_identity::keys::{KeyKind, KeyPair};

    /// Two different values for a row, as text: what they are does not matter, only which of them holds.
    fn samples(kind: Kind) -> [String; 3] {
        let three = |values: [&str; 3]| values.map(str::to_owned);
        let keys = |kind| [(); 3].map(|()| KeyPair::generate(kind).unwrap());
        match kind {
            Kind::Switch | Kind::StructuredLogs => three(["true", "false", "true"]),
            Kind::Count | Kind::Bytes | Kind::Duration | Kind::Millis => three(["1", "2", "3"]),
            Kind::Address => three(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]),
            Kind::Pairs => three(["k=a", "k=b", "k=c"]),
            Kind::LogFormat => three(["json", "text", "json"]),
            Kind::LogLevel => three(["debug", "warn", "error"]),
            Kind::Seed(kind) => keys(kind).map(|key| key.seed().to_string()),
            Kind::Keys(kind) | Kind::Issuers(kind) => keys(kind).map(|key| key.public_key()),
            Kind::Registries => three(["{}", "{}", "{}"]),
            Kind::RegistryName | Kind::RegistryNames => {
                three(["one.example", "two.example", "three.example"])
            }
            _ => three(["one", "two", "three"]),
        }
    }

    fn from_flag(row: &'static Row, text: &str) -> Layer {
        let Some(flag) = row.flag else { return Layer::default() };
        let line = ["wattle".to_owned(), format!("--{flag}={text}")];
        match row.scope {
            Scope::Connection => {
                let command = ConnectionFlags::augment_args(clap::Command::new("wattle"));
                ConnectionFlags::from_arg_matches(&command.get_matches_from(line)).unwrap().0
            }
            Scope::Host => {
                let command = HostFlags::augment_args(clap::Command::new("wattle"));
                HostFlags::from_arg_matches(&command.get_matches_from(line)).unwrap().0
            }
        }
    }

    fn from_env(row: &'static Row, text: &str) -> Layer {
        let pair = match (row.env.first(), row.key) {
            (Some(name), _) => (name.name, text),
            (None, Key::Labels) => ("WATTLE_LABEL_k", text.split_once('=').unwrap().1),
            (None, _) => return Layer::default(),
        };
        env::layer(&Variables::of(&[pair]), |_| true).unwrap()
    }

    fn from_file(row: &'static Row, text: &str) -> Layer {
        let Some(field) = row.file.first() else { return Layer::default() };
        let value = match row.kind {
            Kind::Switch | Kind::Count | Kind::Bytes | Kind::Duration | Kind::Millis | Kind::Registries => {
                text.to_owned()
            }
            Kind::Pairs => format!("{{\"k\": \"{}\"}}", text.split_once('=').unwrap().1),
            kind if kind.is_list() => format!("[\"{text}\"]"),
            _ => format!("\"{text}\""),
        };
        file::parse(&format!("{{\"{}\": {value}}}", field.name), Path::new("f.json")).unwrap()
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        for row in ROWS {
            let [a, b, c] = samples(row.kind);
            let layers = [from_flag(row, &a), from_env(row, &b), from_file(row, &c)];
            let mut said: Vec<_> = layers.iter().filter_map(|layer| layer.get(row.key)).collect();
            assert!(!said.is_empty(), "{:?} can't be set", row.key);
            let mut settings = layers.to_vec();
            while let Some(layer) = settings.first().cloned() {
                if layer.get(row.key).is_some() {
                    let holds = Settings::new(settings.clone()).find(row.key).cloned();
                    assert_eq!(holds.as_ref(), Some(said.remove(0)), "{:?}", row.key);
                }
                settings.remove(0);
            }
            assert_eq!(Settings::new([Layer::default()]).find(row.key), None);
        }
    }

    #[test]
    fn every_value_that_a_source_can_give_has_the_same_type() {
        for row in ROWS {
            let [a, b, c] = samples(row.kind);
            let layers = [from_flag(row, &a), from_env(row, &b), from_file(row, &c)];
            let types: std::collections::BTreeSet<_> = layers
                .iter()
                .filter_map(|layer| layer.get(row.key))
                .map(|found| format!("{:?}", std::mem::discriminant(&found.value)))
                .collect();
            assert_eq!(types.len(), 1, "{:?}", row.key);
        }
    }

    #[test]
    fn the_example_file_shows_every_field_and_is_accepted() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../host_config.example.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let layer = file::parse(&text, &path).unwrap();
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        for field in ROWS.iter().filter_map(|row| row.file.first()) {
            assert!(fields.contains_key(field.name), "{} is not in the example", field.name);
        }
        // Whoever copies it gets no label and no registry that was only meant as an example.
        let settings = Settings::new([layer]);
        assert_eq!(settings.text(Key::Lattice), Some("default"));
        assert!(settings.labels().is_empty() && settings.registries().is_empty());
    }

    #[test]
    fn a_seed_of_the_wrong_kind_is_refused_everywhere() {
        let seed = KeyPair::generate(KeyKind::Account).unwrap().seed();
        let line = ["wattle".to_owned(), format!("--cluster-seed={}", seed.as_str())];
        let command = HostFlags::augment_args(clap::Command::new("wattle"));
        assert!(HostFlags::from_arg_matches(&command.get_matches_from(line)).is_err());
        assert!(env::layer(&Variables::of(&[("WATTLE_CLUSTER_SEED", &seed)]), |_| true).is_err());
        let text = format!("{{\"cluster_seed\": \"{}\"}}", seed.as_str());
        assert!(file::parse(&text, Path::new("f.json")).is_err());
    }
}
