//! The environment as a layer of settings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::layer::{Layer, Origin};
use super::table::{
    CONFIG_FILE_ENV, HOST_PORTS, Key, LABEL_PREFIXES, OTHER_ENV, ROWS, Row, Scope, UNSUPPORTED_ENV,
};
use super::value::{Kind, Value};
use crate::failure::usage;

/// Environment variables, which tests make up.
#[derive(Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Those of this process.
    pub(crate) fn of_this_process() -> Self {
        Self(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect(),
        )
    }

    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect())
    }

    /// The value of a variable; an empty one counts as not set.
    ///
    /// # Errors
    /// When the value is not UTF-8.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<Option<&str>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Some(value) => Ok(Some(value).filter(|value| !value.is_empty())),
                None => Err(usage(format!("the environment variable {name} is not UTF-8 text"))),
            },
        }
    }

    /// A path; need not be UTF-8.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The config file that a variable names, and that variable.
    pub(crate) fn config_file(&self) -> Option<(PathBuf, &'static str)> {
        CONFIG_FILE_ENV.iter().find_map(|name| Some((self.path(name)?, *name)))
    }
}

/// What the environment says of the settings that `wanted` picks.
///
/// # Errors
/// A usage error that names the variable whose value can't be read.
pub(crate) fn layer(variables: &Variables, wanted: impl Fn(&Row) -> bool) -> anyhow::Result<Layer> {
    let mut layer = Layer::default();
    for row in ROWS.iter().filter(|row| wanted(row)) {
        if let Some((value, variable)) = read(variables, row)? {
            layer.add(row.key, value, Origin::Variable(variable.to_owned()));
        }
        if row.key == Key::Labels {
            add_labels(&mut layer, variables)?;
        }
    }
    Ok(layer)
}

fn read(variables: &Variables, row: &Row) -> anyhow::Result<Option<(Value, &'static str)>> {
    for name in row.env {
        let Some(text) = variables.get(name.name)? else { continue };
        let value = name.kind.unwrap_or(row.kind).parse(text);
        let value = value.map_err(|why| usage(format!("the environment variable {}: {why}", name.name)))?;
        return Ok(Some((value, name.name)));
    }
    for (host, port) in HOST_PORTS.iter().filter(|pair| pair.key == row.key).flat_map(|pair| pair.env) {
        // Kubernetes sets NATS_PORT to tcp://10.0.0.1:4222 where there is a service called nats.
        let port_value = variables.get(port)?.filter(|text| !text.contains("://"));
        let host_value = variables.get(host)?;
        if host_value.is_none() && port_value.is_none() {
            continue;
        }
        let port_value = port_value
            .map(|text| {
                text.parse()
                    .map_err(|_| usage(format!("the environment variable {port}: `{text}` is not a port")))
            })
            .transpose()?;
        let variable = if host_value.is_some() { host } else { port };
        let value = url(host_value, port_value);
        let value = value.map_err(|why| usage(format!("the environment variable {variable}: {why}")))?;
        return Ok(Some((value, variable)));
    }
    Ok(None)
}

/// The URL for a host and a port, each with its usual default.
///
/// # Errors
/// What is wrong with the host, without repeating it.
pub(super) fn url(host: Option<&str>, port: Option<u16>) -> Result<Value, String> {
    let host = host.unwrap_or("127.0.0.1");
    let host =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    Kind::Urls.parse_list(vec![format!("nats://{host}:{}", port.unwrap_or(4222))])
}

fn add_labels(layer: &mut Layer, variables: &Variables) -> anyhow::Result<()> {
    // The strongest prefix comes first, so it is added last.
    for (prefix, lower_case) in LABEL_PREFIXES.iter().rev() {
        for name in variables.0.keys().filter(|name| !CONFIG_FILE_ENV.contains(&name.as_str())) {
            let Some(label) = name.strip_prefix(prefix).filter(|label| !label.is_empty()) else { continue };
            let Some(value) = variables.get(name)? else { continue };
            let label = if *lower_case { label.to_lowercase() } else { label.to_owned() };
            let pair = Value::Pairs(BTreeMap::from([(label, value.to_owned())]));
            layer.add(Key::Labels, pair, Origin::Variable(name.clone()));
        }
    }
    Ok(())
}

/// The variables in our names, and the forerunner's, that mean nothing here; the second list says what is missing.
pub(crate) fn unknown(variables: &Variables) -> (Vec<String>, Vec<String>) {
    let set = || variables.0.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str());
    let ours = |name: &&str| name.starts_with("WATTLE_") || name.starts_with("WASMCLOUD_");
    let unsupported = |name: &str| UNSUPPORTED_ENV.iter().find(|(known, _)| *known == name);
    let unknown = set().filter(ours).filter(|name| !is_known(name) && unsupported(name).is_none());
    let missing = set().filter_map(|name| {
        let (name, why) = unsupported(name)?;
        Some(format!("{name} is not supported: {why}"))
    });
    (unknown.map(str::to_owned).collect(), missing.collect())
}

fn is_known(name: &str) -> bool {
    let label = |(prefix, _): &(&str, bool)| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
    let pair = |(host, port): &(&str, &str)| *host == name || *port == name;
    ROWS.iter().flat_map(|row| row.env).any(|known| known.name == name)
        || HOST_PORTS.iter().flat_map(|known| known.env).any(pair)
        || LABEL_PREFIXES.iter().any(label)
        || CONFIG_FILE_ENV.contains(&name)
        || OTHER_ENV.contains(&name)
}

/// Whether the one registry with its own login is wanted, and the authorities of all: what `push` and `pull` read.
pub(crate) fn registry(row: &Row) -> bool {
    matches!(row.key, Key::OciRegistry | Key::OciUser | Key::OciPassword | Key::RegistryCa)
}

/// Whether it is about the cluster's keys: what is read again while a host runs.
pub(crate) fn cluster(row: &Row) -> bool {
    matches!(row.key, Key::ClusterSeed | Key::ClusterIssuers | Key::ClusterCertificate)
}

/// Whether only the connection is wanted: what commands that are no host read.
pub(crate) fn connection(row: &Row) -> bool {
    row.scope == Scope::Connection
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::layer::Settings;

    fn read_all(pairs: &[(&str, &str)]) -> anyhow::Result<Settings> {
        Ok(Settings::new([layer(&Variables::of(pairs), |_| true)?]))
    }

    #[test]
    fn our_own_name_wins_over_the_older_ones() {
        let both = [("WASMCLOUD_LATTICE", "old"), ("WATTLE_LATTICE", "new")];
        assert_eq!(read_all(&both).unwrap().text(Key::Lattice), Some("new"));
        assert_eq!(read_all(&both[..1]).unwrap().text(Key::Lattice), Some("old"));
        let prefix = read_all(&[("WASMCLOUD_LATTICE_PREFIX", "older")]).unwrap();
        assert_eq!(prefix.text(Key::Lattice), Some("older"));
    }

    #[test]
    fn host_and_port_make_a_url() {
        let control =
            [("WASMCLOUD_CTL_HOST", "hub"), ("WASMCLOUD_CTL_PORT", "4333"), ("NATS_HOST", "unused")];
        assert_eq!(read_all(&control).unwrap().list(Key::NatsUrls).unwrap(), ["nats://hub:4333"]);
        let port = [("WASMCLOUD_NATS_PORT", "4333")];
        assert_eq!(read_all(&port).unwrap().list(Key::NatsUrls).unwrap(), ["nats://127.0.0.1:4333"]);
        let calls = [("WASMCLOUD_RPC_HOST", "::1")];
        assert_eq!(read_all(&calls).unwrap().list(Key::RpcUrls).unwrap(), ["nats://[::1]:4222"]);
        let refusal = read_all(&[("WASMCLOUD_CTL_PORT", "many")]).unwrap_err().to_string();
        assert!(refusal.contains("WASMCLOUD_CTL_PORT") && refusal.contains("many"), "{refusal}");
    }

    #[test]
    fn an_address_in_place_of_the_port_is_kubernetes_own() {
        let both = [("NATS_HOST", "hub"), ("NATS_PORT", "tcp://10.0.0.1:4222")];
        assert_eq!(read_all(&both).unwrap().list(Key::NatsUrls).unwrap(), ["nats://hub:4222"]);
        assert_eq!(read_all(&both[1..]).unwrap().list(Key::NatsUrls), None);
    }

    #[test]
    fn credentials_in_an_address_are_refused_by_name_and_not_shown() {
        for (name, value) in [("WATTLE_NATS_URL", "nats://ada:hunter2@hub"), ("NATS_HOST", "ada:hunter2@hub")]
        {
            let error = read_all(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn variables_that_mean_nothing_are_found() {
        let variables = Variables::of(&[
            ("WATTLE_LATICE", "lab"),
            ("WASMCLOUD_OTHER", "x"),
            ("WASMCLOUD_EMPTY", ""),
            ("WASMCLOUD_POLICY_TOPIC", "policy"),
            ("WASMCLOUD_CTL_HOST", "hub"),
            ("WATTLE_LABEL_zone", "attic"),
            ("WATTLE_CONFIG", "a.json"),
            ("WATTLE_NATS_SERVER", "/bin/nats-server"),
            ("PATH", "/bin"),
        ]);
        let (unknown, missing) = unknown(&variables);
        assert_eq!(unknown, ["WASMCLOUD_OTHER", "WATTLE_LATICE"]);
        assert_eq!(
            missing,
            ["WASMCLOUD_POLICY_TOPIC is not supported: no policy service is asked what may run"]
        );
    }

    #[test]
    fn labels_come_from_three_prefixes() {
        let settings = read_all(&[
            ("HOST_ZONE", "attic"),
            ("HOST_CONFIG", "/etc/wattle.json"),
            ("WASMCLOUD_LABEL_Disk", "ssd"),
            ("WASMCLOUD_LABEL_gpu", "old"),
            ("WATTLE_LABEL_gpu", "new"),
            ("HOST_", "nothing"),
            ("HOSTNAME", "box"),
        ])
        .unwrap();
        let labels = settings.labels();
        let labels: Vec<_> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("Disk", "ssd"), ("gpu", "new"), ("zone", "attic")]);
    }

    #[test]
    fn older_names_keep_their_units() {
        let settings = read_all(&[
            ("WASMCLOUD_MAX_EXECUTION_TIME_MS", "1500"),
            ("WASMCLOUD_HEARTBEAT_INTERVAL", "5"),
            ("WASMCLOUD_STRUCTURED_LOGGING_ENABLED", "true"),
            ("WASMCLOUD_LOG_LEVEL", "INFO"),
        ])
        .unwrap();
        assert_eq!(settings.duration(Key::MaxExecutionTime), Some(Duration::from_millis(1500)));
        assert_eq!(settings.duration(Key::HeartbeatInterval), Some(Duration::from_secs(5)));
        assert_eq!(settings.text(Key::LogFormat), Some("json"));
        assert_eq!(settings.text(Key::LogLevel), Some("INFO"));
    }

    #[test]
    fn a_bad_value_is_refused_with_the_variable_and_without_the_secret() {
        for (name, value) in [
            ("WASMCLOUD_ALLOW_FILE_LOAD", "maybe"),
            ("WATTLE_MAX_MEMORY", "lots"),
            ("WATTLE_ADMIN_ADDRESS", "nowhere"),
            ("WATTLE_LATTICE", "a.b"),
            ("WATTLE_LOG_FORMAT", "xml"),
            ("WATTLE_TRUSTED_ISSUERS", "CABC"),
        ] {
            let error = read_all(&[(name, value)]).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(crate::failure::exit_of(&error), crate::failure::Exit::Usage);
        }
        let error = read_all(&[("WASMCLOUD_CLUSTER_SEED", "SCNOTASEED")]).unwrap_err().to_string();
        assert!(error.contains("WASMCLOUD_CLUSTER_SEED") && !error.contains("SCNOTASEED"), "{error}");
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert_eq!(read_all(&[("WASMCLOUD_JS_DOMAIN", "")]).unwrap().text(Key::JsDomain), None);
    }

    #[test]
    fn a_client_does_not_look_at_a_hosts_settings() {
        let variables = Variables::of(&[("WATTLE_MAX_MEMORY", "lots"), ("WATTLE_LATTICE", "lab")]);
        let settings = Settings::new([layer(&variables, connection).unwrap()]);
        assert_eq!(settings.text(Key::Lattice), Some("lab"));
    }
}
