//! The config file as a layer of settings. A field that is unknown, given twice or of the wrong type is refused
//! with its name and line: a typing error must not become a default in silence. A field whose name begins with `//` is
//! a comment.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use wattle_artifact::{Registries, RegistrySettings};

use super::env::url;
use super::layer::{Layer, Origin};
use super::table::{HOST_PORTS, Key, ROWS, row};
use super::value::{Kind, Value};
use crate::failure::{not_found, usage};

/// Reads a config file.
///
/// # Errors
/// When the file can't be read; a usage error with field and line when something in it is wrong.
pub(crate) fn layer(path: &Path) -> anyhow::Result<Layer> {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => not_found(format!("there is no config file {}", path.display())),
        _ => anyhow::Error::from(error).context(format!("cannot read the config file {}", path.display())),
    })?;
    parse(&text, path)
}

/// Whether other users may read a file that holds a seed, a password or a token.
pub(crate) fn shows_a_secret(path: &Path, layer: &Layer) -> bool {
    let secret = layer.iter().any(|(key, found)| match &found.value {
        Value::Registries(registries) => registries.values().any(|registry| registry.credentials.is_some()),
        _ => row(key).is_some_and(|row| matches!(row.kind, Kind::Secret | Kind::Seed(_))),
    });
    secret && std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

/// Reads the text of a config file; `path` is for messages.
///
/// # Errors
/// As for [`layer`].
pub(crate) fn parse(text: &str, path: &Path) -> anyhow::Result<Layer> {
    let mut json = serde_json::Deserializer::from_str(text);
    let layer = json.deserialize_map(Fields { path }).and_then(|layer| json.end().map(|()| layer));
    layer.map_err(|error| usage(format!("the config file {}: {error}", path.display())))
}

/// What a field of the file is.
enum Field {
    Setting(Key, Kind),
    Host(Key),
    Port(Key),
}

impl Field {
    /// Whether both say the same, so that only one of them may stand in a file. A host and its port are two.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Host(_), Self::Port(_)) | (Self::Port(_), Self::Host(_)) => false,
            _ => self.key() == other.key(),
        }
    }

    fn key(&self) -> Key {
        match self {
            Self::Setting(key, _) | Self::Host(key) | Self::Port(key) => *key,
        }
    }
}

fn field(name: &str) -> Option<Field> {
    let setting = ROWS.iter().find_map(|row| {
        let found = row.file.iter().find(|known| known.name == name)?;
        Some(Field::Setting(row.key, found.kind.unwrap_or(row.kind)))
    });
    setting.or_else(|| {
        HOST_PORTS.iter().find_map(|pair| match name {
            _ if name == pair.file.0 => Some(Field::Host(pair.key)),
            _ if name == pair.file.1 => Some(Field::Port(pair.key)),
            _ => None,
        })
    })
}

/// Reads the object that the file is.
struct Fields<'a> {
    path: &'a Path,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Layer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with settings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Layer, A::Error> {
        let mut layer = Layer::default();
        let mut seen: Vec<(Field, String)> = Vec::new();
        let mut addresses: BTreeMap<Key, (Option<String>, Option<u16>)> = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if name.starts_with("//") {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let in_field = |error: A::Error| A::Error::custom(format!("field `{name}`: {error}"));
            let field = field(&name).ok_or_else(|| A::Error::custom(unknown(&name)))?;
            if let Some((_, first)) = seen.iter().find(|(known, _)| known.excludes(&field)) {
                return Err(A::Error::custom(format!("field `{name}`: `{first}` already says it")));
            }
            match field {
                Field::Host(key) => {
                    let host: Option<String> = map.next_value().map_err(in_field)?;
                    url(host.as_deref(), None).map_err(A::Error::custom).map_err(in_field)?;
                    addresses.entry(key).or_default().0 = host;
                }
                Field::Port(key) => {
                    addresses.entry(key).or_default().1 = map.next_value().map_err(in_field)?;
                }
                Field::Setting(key, kind) => {
                    if let Some(value) = map.next_value_seed(Seed(kind)).map_err(in_field)? {
                        let origin = Origin::Field { field: name.clone(), file: self.path.to_owned() };
                        layer.add(key, value, origin);
                    }
                }
            }
            seen.push((field, name));
        }
        for (key, (host, port)) in addresses {
            let host = host.filter(|host| !host.is_empty());
            if host.is_some() || port.is_some() {
                let field = HOST_PORTS.iter().find(|pair| pair.key == key).map_or("", |pair| pair.file.0);
                let origin = Origin::Field { field: field.to_owned(), file: self.path.to_owned() };
                layer.add(key, url(host.as_deref(), port).map_err(A::Error::custom)?, origin);
            }
        }
        Ok(layer)
    }
}

fn unknown(name: &str) -> String {
    format!("unknown field `{name}`: host_config.example.json shows those that there are")
}

/// Reads the value of a field; `null` and empty text count as not set.
struct Seed(Kind);

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Switch | Kind::StructuredLogs => "`true` or `false`",
            Kind::Count => "a whole number",
            Kind::Bytes => "a number of bytes or text such as \"256MiB\"",
            Kind::Duration => "seconds or text such as \"30s\"",
            Kind::Millis => "milliseconds",
            kind if kind.is_list() => "a list of texts",
            Kind::Pairs => "an object whose values are texts",
            Kind::Registries => "an object with an object for each registry",
            _ => "text",
        })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<Option<Value>, E> {
        match self.0 {
            Kind::Switch => Ok(Some(Value::Switch(on))),
            Kind::StructuredLogs => Ok(Some(Value::Text(if on { "json" } else { "text" }.to_owned()))),
            _ => Err(E::invalid_type(serde::de::Unexpected::Bool(on), &self)),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Option<Value>, E> {
        match self.0 {
            Kind::Count | Kind::Bytes | Kind::Duration | Kind::Millis => {
                self.0.parse(&number.to_string()).map(Some).map_err(E::custom)
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Unsigned(number), &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<Value>, E> {
        match self.0 {
            Kind::Switch | Kind::StructuredLogs | Kind::Count | Kind::Pairs | Kind::Registries => {
                Err(E::invalid_type(serde::de::Unexpected::Str(text), &self))
            }
            _ if text.is_empty() => Ok(None),
            kind => kind.parse(text).map(Some).map_err(E::custom),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Value>, A::Error> {
        if !self.0.is_list() {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut texts = Vec::new();
        while let Some(text) = items.next_element()? {
            texts.push(text);
        }
        self.0.parse_list(texts).map(Some).map_err(A::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Value>, A::Error> {
        match self.0 {
            Kind::Pairs => Ok(Some(Value::Pairs(entries(map)?))),
            Kind::Registries => {
                let registries: BTreeMap<String, RegistrySettings> = entries(map)?;
                Registries::new(registries.clone()).map_err(A::Error::custom)?;
                Ok(Some(Value::Registries(registries)))
            }
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }
}

/// The entries of an object, none of them twice.
fn entries<'de, A: MapAccess<'de>, V: Deserialize<'de>>(mut map: A) -> Result<BTreeMap<String, V>, A::Error> {
    let mut entries = BTreeMap::new();
    while let Some(name) = map.next_key::<String>()? {
        let value = map.next_value()?;
        if entries.contains_key(&name) {
            return Err(A::Error::custom(format!("`{name}` is given twice")));
        }
        entries.insert(name, value);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::layer::Settings;

    fn read(text: &str) -> anyhow::Result<Settings> {
        Ok(Settings::new([parse(text, Path::new("host_config.json"))?]))
    }

    #[test]
    fn the_forerunners_file_is_understood() {
        let settings = read(
            r#"{
                "lattice_prefix": "lab", "js_domain": "core", "cluster_issuers": [], "cluster_seed": "",
                "ctl_host": "hub", "ctl_port": 4333, "ctl_jwt": "eyJ", "ctl_seed": null, "ctl_tls": true,
                "rpc_host": "127.0.0.1", "provider_delay": 400, "allow_latest": true,
                "allowed_insecure": ["localhost:5000"], "structured_logging_enabled": true, "log_level": "INFO"
            }"#,
        )
        .unwrap();
        assert_eq!(settings.text(Key::Lattice), Some("lab"));
        assert_eq!(settings.text(Key::JsDomain), Some("core"));
        assert_eq!(settings.text(Key::ClusterSeed), None);
        assert_eq!(settings.list(Key::NatsUrls).unwrap(), ["nats://hub:4333"]);
        assert_eq!(settings.list(Key::RpcUrls).unwrap(), ["nats://127.0.0.1:4222"]);
        assert_eq!(settings.switch(Key::NatsTls), Some(true));
        assert_eq!(settings.duration(Key::ProviderShutdownDelay), Some(Duration::from_millis(400)));
        assert_eq!(settings.list(Key::AllowInsecure).unwrap(), ["localhost:5000"]);
        assert_eq!(settings.text(Key::LogFormat), Some("json"));
    }

    #[test]
    fn a_comment_is_no_field() {
        let settings = read(r#"{"// lattice": ["what", "it", "means"], "lattice": "lab", "//": 1}"#).unwrap();
        assert_eq!(settings.text(Key::Lattice), Some("lab"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, field, line) in [
            ("{\n\"lattise\": \"lab\"\n}", "`lattise`", "line 2"),
            ("{\n\n\"labels\": \"zone=attic\"\n}", "`labels`", "line 3"),
            ("{\n\"labels\": {\"zone\": 5}\n}", "`labels`", "line 2"),
            ("{\n\"allow_latest\": \"yes\"\n}", "`allow_latest`", "line 2"),
            ("{\n\"nats_urls\": [1]\n}", "`nats_urls`", "line 2"),
            ("{\n\"nats_urls\": {}\n}", "`nats_urls`", "line 2"),
            ("{\n\"ctl_port\": \"x\"\n}", "`ctl_port`", "line 2"),
            ("{\n\"ctl_port\": 70000\n}", "`ctl_port`", "line 2"),
            ("{\n\"max_memory\": -1\n}", "`max_memory`", "line 2"),
            ("{\n\"max_memory\": \"lots\"\n}", "`max_memory`", "line 2"),
            ("{\n\"lattice\": \"a b\"\n}", "`lattice`", "line 2"),
            ("{\n\"lattice\": [\"lab\"]\n}", "`lattice`", "line 2"),
            ("{\n\"lattice\": \"lab\",\n\"lattice_prefix\": \"lab\"\n}", "`lattice_prefix`", "line 3"),
            ("{\n\"cluster_issuers\": [\"SCX\"]\n}", "`cluster_issuers`", "line 2"),
            (
                "{\n\"registries\": {\"registry.other.example\": {\"passwort\": \"x\"}}\n}",
                "`passwort`",
                "line 2",
            ),
            ("{\n\"registries\": {\"no host\": {}}\n}", "`registries`", "line 2"),
            ("{\n\"oci_registry\": \"http://hub\"\n}", "`oci_registry`", "line 2"),
            ("{\n\"allow_insecure\": [\"a/b\"]\n}", "`allow_insecure`", "line 2"),
            ("{\n\"ctl_host\": \"a\",\n\"ctl_host\": \"b\"\n}", "`ctl_host`", "line 3"),
            ("{\n\"nats_urls\": [\"a\"],\n\"ctl_host\": \"b\"\n}", "`ctl_host`", "line 3"),
            ("{\n\"ctl_port\": 1,\n\"nats_url\": \"b\"\n}", "`nats_url`", "line 3"),
            ("{\n\"labels\": {\"a\": \"b\", \"a\": \"c\"}\n}", "`a`", "line 2"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(field) && error.contains(line), "{text}: {error}");
            assert!(error.contains("host_config.json"), "{error}");
            assert_eq!(error.matches("at line").count(), 1, "{error}");
        }
    }

    #[test]
    fn credentials_in_an_address_are_refused_and_not_shown() {
        for text in [
            r#"{"nats_urls": ["nats://ada:hunter2@hub"]}"#,
            r#"{"ctl_port": 1, "ctl_host": "ada:hunter2@hub"}"#,
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("credentials") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_a_secret_needs_a_private_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let shows = |text: &str, mode| {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            shows_a_secret(file.path(), &parse(text, file.path()).unwrap())
        };
        assert!(shows(r#"{"nats_token": "t"}"#, 0o644));
        assert!(shows(r#"{"registries": {"registry.example": {"token": "t"}}}"#, 0o640));
        assert!(!shows(r#"{"nats_token": "t"}"#, 0o600));
        assert!(!shows(r#"{"lattice": "lab"}"#, 0o644));
    }

    #[test]
    fn text_that_is_no_json_is_refused_with_its_line() {
        for text in ["", "{\n\"lattice\": \"lab\",\n}", "[]", "{} {}"] {
            assert!(read(text).unwrap_err().to_string().contains("line"), "{text}");
        }
    }
}
