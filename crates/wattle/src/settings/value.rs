//! The values of settings: how each kind is written, and what is refused.
//!
//! Everything that can be checked without asking another machine is checked here, where it is still known
//! whether a flag, a variable or a line of a file said it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use wattle_artifact::{Registries, RegistrySettings};
use wattle_identity::keys::{KeyKind, KeyPair, public_key_kind};
use wattle_protocol::name;
use zeroize::Zeroizing;

/// How a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A lattice's name: letters, digits, `_` and `-`.
    Lattice,
    /// A JetStream domain: letters, digits, `_` and `-`.
    Domain,
    /// Subject tokens joined by dots.
    Subject,
    /// Text that is never shown.
    Secret,
    /// The seed of a key of this kind.
    Seed(KeyKind),
    /// Public keys of this kind.
    Keys(KeyKind),
    /// Public keys of this kind, or `*` for all.
    Issuers(KeyKind),
    /// Several texts, separated by commas or repeated.
    List,
    /// Addresses of servers, which never hold credentials; separated by commas or repeated.
    Urls,
    /// A registry: its host, with a port if it has one.
    RegistryName,
    /// Several registries, separated by commas or repeated.
    RegistryNames,
    /// Yes or no.
    Switch,
    /// A whole number.
    Count,
    /// A number of bytes: `268435456`, `256MiB`.
    Bytes,
    /// A time: `500ms`, `30s`, `10m`, `1h`, `30d`; seconds without a unit.
    Duration,
    /// A time, in milliseconds without a unit.
    Millis,
    /// A file or folder.
    Path,
    /// An IP address and a port.
    Address,
    /// `key=value`, repeated.
    Pairs,
    /// `text` or `json`.
    LogFormat,
    /// Yes for JSON logs.
    StructuredLogs,
    /// Log filters.
    LogLevel,
    /// Only in the config file: an object for each registry.
    Registries,
}

/// The value of a setting.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Secret(Zeroizing<String>),
    List(Vec<String>),
    Switch(bool),
    Number(u64),
    Duration(Duration),
    Path(PathBuf),
    Address(SocketAddr),
    Pairs(BTreeMap<String, String>),
    Registries(BTreeMap<String, RegistrySettings>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(_) => f.write_str("Secret(hidden)"),
            Self::Text(value) => value.fmt(f),
            Self::List(value) => value.fmt(f),
            Self::Switch(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Duration(value) => value.fmt(f),
            Self::Path(value) => value.fmt(f),
            Self::Address(value) => value.fmt(f),
            Self::Pairs(value) => value.fmt(f),
            Self::Registries(value) => value.fmt(f),
        }
    }
}

impl Kind {
    /// Reads a value as flags and environment variables write it.
    ///
    /// # Errors
    /// What is wrong with it, without the value where that is a secret.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Lattice => checked(name::check_lattice_name(text), Value::Text(text.to_owned())),
            Self::Domain => checked(name::check_domain(text), Value::Text(text.to_owned())),
            Self::Subject => checked(name::check_control_prefix(text), Value::Text(text.to_owned())),
            Self::Secret => Ok(Value::Secret(Zeroizing::new(text.to_owned()))),
            Self::Seed(kind) => seed(text, kind).map(Value::Secret),
            Self::Keys(kind) => keys(split(text), kind, false),
            Self::Issuers(kind) => keys(split(text), kind, true),
            Self::List => Ok(Value::List(split(text))),
            Self::Urls => urls(split(text)),
            Self::RegistryName => registry(text).map(|()| Value::Text(text.to_owned())),
            Self::RegistryNames => registry_names(split(text)),
            Self::Switch => switch(text).map(Value::Switch),
            Self::Count => count(text).map(Value::Number),
            Self::Bytes => bytes(text).map(Value::Number),
            Self::Duration => duration(text, Duration::from_secs(1)).map(Value::Duration),
            Self::Millis => duration(text, Duration::from_millis(1)).map(Value::Duration),
            Self::Path => Ok(Value::Path(text.into())),
            Self::Address => text
                .parse()
                .map(Value::Address)
                .map_err(|_| format!("`{text}` is not an address and port, such as 127.0.0.1:9090")),
            Self::Pairs => pair(text).map(|pair| Value::Pairs(BTreeMap::from([pair]))),
            Self::LogFormat => match text {
                "text" | "json" => Ok(Value::Text(text.to_owned())),
                _ => Err(format!("`{text}` is neither `text` nor `json`")),
            },
            Self::StructuredLogs => {
                switch(text).map(|json| Value::Text(if json { "json" } else { "text" }.to_owned()))
            }
            Self::LogLevel => crate::logging::check_level(text).map(|()| Value::Text(text.to_owned())),
            Self::Registries => Err("it can only be set in the config file".to_owned()),
        }
    }

    /// Reads what several texts say together, as a list in a config file or a repeated flag does.
    ///
    /// # Errors
    /// As for [`Kind::parse`].
    pub(crate) fn parse_list(self, texts: Vec<String>) -> Result<Value, String> {
        match self {
            Self::Keys(kind) => keys(texts, kind, false),
            Self::Issuers(kind) => keys(texts, kind, true),
            Self::Urls => urls(texts),
            Self::RegistryNames => registry_names(texts),
            _ => Ok(Value::List(texts)),
        }
    }

    /// Whether several values of this kind are one list.
    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Urls | Self::RegistryNames | Self::Keys(_) | Self::Issuers(_))
    }

    /// Whether what is written may hold a secret, even where only by mistake: no message may repeat it.
    pub(crate) fn may_hold_a_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Seed(_) | Self::Urls)
    }
}

fn checked(result: Result<(), wattle_protocol::Error>, value: Value) -> Result<Value, String> {
    result.map(|()| value).map_err(|error| error.to_string())
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Refuses addresses with credentials, without repeating them: addresses are logged.
fn urls(texts: Vec<String>) -> Result<Value, String> {
    for text in &texts {
        let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
        if rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@')) {
            let why = "an address must not hold credentials (there is an `@` in it): say them with \
                       --nats-user and --nats-password, --nats-token or --nats-creds, or their variables or fields";
            return Err(why.to_owned());
        }
    }
    Ok(Value::List(texts))
}

fn registry(name: &str) -> Result<(), String> {
    let alone = BTreeMap::from([(name.to_owned(), RegistrySettings::default())]);
    Registries::new(alone).map(drop).map_err(|error| error.to_string())
}

fn registry_names(names: Vec<String>) -> Result<Value, String> {
    names.iter().try_for_each(|name| registry(name))?;
    Ok(Value::List(names))
}

fn seed(text: &str, kind: KeyKind) -> Result<Zeroizing<String>, String> {
    let key = KeyPair::from_seed(text).map_err(|error| error.to_string())?;
    if key.kind() == kind {
        return Ok(key.seed());
    }
    Err(format!("it is the seed of a {} key; a {kind} key's (S{}…) is needed", key.kind(), kind.prefix()))
}

fn keys(texts: Vec<String>, kind: KeyKind, or_any: bool) -> Result<Value, String> {
    for text in texts.iter().filter(|text| !(or_any && *text == "*")) {
        let found = public_key_kind(text).map_err(|error| error.to_string())?;
        if found != kind {
            return Err(format!("`{text}` is a {found} key; a {kind} key ({}…) is needed", kind.prefix()));
        }
    }
    Ok(Value::List(texts))
}

/// Reads yes or no, in any of the words in use.
///
/// # Errors
/// When it is none of them.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "y" | "on" | "enable" | "enabled" => Ok(true),
        "0" | "false" | "no" | "n" | "off" | "disable" | "disabled" => Ok(false),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.trim()
        .parse::<u32>()
        .map(u64::from)
        .map_err(|_| format!("`{text}` is not a whole number up to {}", u32::MAX))
}

/// Reads a number of bytes: plain, or with `K`, `M`, `G` (of 1,000) or `Ki`, `Mi`, `Gi` (of 1,024), `B` after it or not.
///
/// # Errors
/// When it is not of this form, or too large.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let refused = || format!("`{text}` is not a number of bytes, such as 268435456 or 256MiB");
    let (number, unit) = number_and_unit(text);
    let factor: u64 = match unit.trim_end_matches(['b', 'B']) {
        "" => 1,
        "k" | "K" => 1_000,
        "m" | "M" => 1_000_000,
        "g" | "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(refused()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(refused)
}

/// Reads a time, whose unit is `plain` when none is written.
///
/// # Errors
/// When it is not of this form, or too large.
pub(crate) fn duration(text: &str, plain: Duration) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a time, such as 500ms, 30s, 10m, 1h or 30d");
    let (number, unit) = number_and_unit(text);
    let unit = match unit {
        "" => plain,
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(24 * 3600),
        _ => return Err(refused()),
    };
    let number =
        number.parse::<u32>().ok().and_then(|number| unit.checked_mul(number)).ok_or_else(refused)?;
    if number.is_zero() {
        return Err(format!("`{text}` is no time at all; it must be above 0"));
    }
    Ok(number)
}

/// [`duration`] with seconds as its plain unit: for clap.
///
/// # Errors
/// As for [`duration`].
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1))
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim())
}

/// Reads `key=value`: the key is not empty, and the value may hold more `=`.
///
/// # Errors
/// When it is not of this form.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form key=value")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_and_sizes() {
        assert_eq!(seconds("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(seconds("30").unwrap(), Duration::from_secs(30));
        assert_eq!(seconds("10m").unwrap(), Duration::from_secs(600));
        assert_eq!(seconds("30d").unwrap(), Duration::from_secs(30 * 24 * 3600));
        assert_eq!(duration("300", Duration::from_millis(1)).unwrap(), Duration::from_millis(300));
        for bad in ["", "s", "-1s", "5 weeks", "99999999999h"] {
            assert!(seconds(bad).unwrap_err().contains(bad), "{bad}");
        }
        assert_eq!(bytes("256MiB").unwrap(), 256 << 20);
        assert_eq!(bytes("1GB").unwrap(), 1_000_000_000);
        assert_eq!(bytes("4096").unwrap(), 4096);
        for bad in ["", "MiB", "1.5GiB", "1XB", "99999999999999999GiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_the_words_for_yes_and_no() {
        for yes in ["1", "TRUE", "Yes", "y", "ENABLED", "Enable", "on"] {
            assert_eq!(switch(yes), Ok(true));
        }
        for no in ["0", "false", "No", "n", "off", "disabled"] {
            assert_eq!(switch(no), Ok(false));
        }
        assert!(switch("maybe").is_err());
    }

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        assert_eq!(pair("url=http://x/?a=b"), Ok(("url".into(), "http://x/?a=b".into())));
        assert_eq!(pair("empty="), Ok(("empty".into(), String::new())));
        assert!(pair("no-value").is_err());
        assert!(pair("=value").is_err());
    }

    #[test]
    fn keys_and_seeds_must_be_of_their_kind() {
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        let account = KeyPair::generate(KeyKind::Account).unwrap();
        let kind = Kind::Seed(KeyKind::Cluster);
        assert_eq!(kind.parse(&cluster.seed()), Ok(Value::Secret(cluster.seed())));
        let refusal = kind.parse(&account.seed()).unwrap_err();
        assert!(refusal.contains("account") && !refusal.contains(account.seed().as_str()), "{refusal}");

        let kind = Kind::Issuers(KeyKind::Account);
        let both = format!("{}, *", account.public_key());
        assert_eq!(kind.parse(&both), Ok(Value::List(vec![account.public_key(), "*".into()])));
        assert!(kind.parse(&cluster.public_key()).is_err());
        assert!(Kind::Keys(KeyKind::Cluster).parse("*").is_err());
    }

    #[test]
    fn an_address_holds_no_credentials() {
        for good in ["nats://hub:4222", "hub", "nats://a, tls://[::1]:4222"] {
            assert!(Kind::Urls.parse(good).is_ok(), "{good}");
        }
        for bad in ["nats://ada:hunter2@hub", "hunter2@hub", "nats://hub,tls://ada:hunter2@hub/x"] {
            assert!(!Kind::Urls.parse(bad).unwrap_err().contains("hunter2"), "{bad}");
        }
    }

    #[test]
    fn a_registry_is_a_host_with_a_port() {
        assert!(Kind::RegistryNames.parse("registry.example, localhost:5000").is_ok());
        assert!(Kind::RegistryNames.parse("registry.example,http://x").unwrap_err().contains("http://x"));
        assert!(Kind::RegistryName.parse("registry.example/shop").is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let value = Kind::Secret.parse("hunter2").unwrap();
        assert!(!format!("{value:?}").contains("hunter2"));
    }
}
