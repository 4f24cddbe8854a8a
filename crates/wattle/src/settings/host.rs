//! What the host library is told, made from the settings.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use wattle_artifact::{Credentials, Registries, RegistrySettings};
use wattle_host::{ClusterSettings, HostSettings, Limits, Telemetry, TrustedIssuers};
use wattle_identity::keys::KeyPair;

use super::{Key, Settings, Variables, connect};
use crate::failure::usage;
use crate::folders;
use crate::logging::LogFormat;
use crate::telemetry::telemetry;

/// All that a host is told.
///
/// # Errors
/// When settings contradict each other, or the home folder is not known and no data folder was named.
pub(crate) fn host_settings(
    settings: &Settings,
    variables: &Variables,
    cluster: watch::Receiver<ClusterSettings>,
) -> anyhow::Result<HostSettings> {
    let mut host = HostSettings {
        lattice: connect::lattice(settings),
        js_domain: settings.text(Key::JsDomain).map(str::to_owned),
        ctl_prefix: connect::control_prefix(settings),
        control: connect::control(settings)?,
        calls: connect::calls(settings)?,
        host_key: key(settings, Key::HostSeed)?,
        cluster,
        trusted_issuers: trusted_issuers(settings),
        allow_unsigned: settings.switch(Key::AllowUnsigned).unwrap_or(false),
        allow_file_load: settings.switch(Key::AllowFileLoad).unwrap_or(false),
        allow_latest: settings.switch(Key::AllowLatest).unwrap_or(false),
        registries: Registries::new(registries(settings)?)?.with_extra_ca(registry_ca(settings)),
        labels: settings.labels(),
        data_dir: data_dir(settings, variables)?,
        fresh: settings.switch(Key::Fresh).unwrap_or(false),
        limits: limits(settings),
        heartbeat_interval: settings.duration(Key::HeartbeatInterval).unwrap_or(Duration::from_secs(30)),
        admin_address: settings.address(Key::AdminAddress),
        component_auction: settings.switch(Key::ComponentAuction).unwrap_or(true),
        provider_auction: settings.switch(Key::ProviderAuction).unwrap_or(true),
        provider_shutdown_delay: settings
            .duration(Key::ProviderShutdownDelay)
            .unwrap_or(Duration::from_secs(2)),
        telemetry: Telemetry::default(),
    };
    host.telemetry = telemetry(variables, &host);
    Ok(host)
}

/// The folder of the host's key, caches and list of what runs.
///
/// # Errors
/// When the home folder is not known and no data folder was named.
pub(crate) fn data_dir(settings: &Settings, variables: &Variables) -> anyhow::Result<PathBuf> {
    match settings.path(Key::DataDir) {
        Some(folder) => Ok(folder.to_owned()),
        None => Ok(folders::data(variables)?.join("hosts").join(connect::lattice(settings))),
    }
}

/// The key whose seed a setting holds.
///
/// # Errors
/// None that the check of the setting would not have found.
pub(crate) fn key(settings: &Settings, key: Key) -> anyhow::Result<Option<KeyPair>> {
    let Some(found) = settings.find(key) else { return Ok(None) };
    let Some(seed) = settings.secret(key) else { return Ok(None) };
    KeyPair::from_seed(&seed).map(Some).with_context(|| found.origin.to_string())
}

/// The cluster keys that are trusted. Whoever holds a cluster's seed trusts it.
pub(crate) fn cluster_issuers(settings: &Settings, own: Option<&KeyPair>) -> Vec<String> {
    let mut issuers = settings.list(Key::ClusterIssuers).unwrap_or_default().to_vec();
    if let Some(own) = own.map(KeyPair::public_key).filter(|own| !issuers.contains(own)) {
        issuers.push(own);
    }
    issuers
}

fn trusted_issuers(settings: &Settings) -> TrustedIssuers {
    let issuers = settings.list(Key::TrustedIssuers).unwrap_or_default();
    if issuers.iter().any(|issuer| issuer == "*") {
        return TrustedIssuers::Any;
    }
    TrustedIssuers::Only(issuers.to_vec())
}

/// The settings of every registry that is named anywhere.
///
/// # Errors
/// When the one registry with its own login, or that login, lacks a part.
pub(crate) fn registries(settings: &Settings) -> anyhow::Result<BTreeMap<String, RegistrySettings>> {
    let mut registries = settings.registries();
    for name in settings.list(Key::AllowInsecure).unwrap_or_default() {
        registries.entry(name.clone()).or_default().insecure = true;
    }
    if let Some((name, login)) = registry_login(settings)? {
        registries.entry(name).or_default().credentials = Some(login);
    }
    Ok(registries)
}

/// The one registry whose login is given by itself. Its user may be said elsewhere than its password.
///
/// # Errors
/// A usage error that says where each part comes from, when one is missing.
pub(crate) fn registry_login(settings: &Settings) -> anyhow::Result<Option<(String, Credentials)>> {
    let origins = |keys: &[Key]| {
        let said: Vec<_> =
            keys.iter().filter_map(|key| Some(settings.find(*key)?.origin.to_string())).collect();
        said.join(", ")
    };
    let text = |key| settings.text(key).map(str::to_owned);
    let Some(name) = text(Key::OciRegistry) else {
        let login = origins(&[Key::OciUser, Key::OciPassword]);
        if login.is_empty() {
            return Ok(None);
        }
        return Err(usage(format!(
            "{login}: it is not said for which registry that is (WATTLE_OCI_REGISTRY, or the field `oci_registry`)"
        )));
    };
    let login =
        Credentials::from_parts(text(Key::OciUser), text(Key::OciPassword), None).map_err(|error| {
            let all = origins(&[Key::OciRegistry, Key::OciUser, Key::OciPassword]);
            usage(format!("{all}: {error}"))
        })?;
    Ok(login.map(|login| (name, login)))
}

/// PEM files with authorities for all registries.
pub(crate) fn registry_ca(settings: &Settings) -> Vec<PathBuf> {
    settings.list(Key::RegistryCa).unwrap_or_default().iter().map(PathBuf::from).collect()
}

fn limits(settings: &Settings) -> Limits {
    let usual = Limits::default();
    let number = |key| settings.number(key).and_then(|number| u32::try_from(number).ok());
    Limits {
        max_memory_bytes: settings.number(Key::MaxMemory).unwrap_or(usual.max_memory_bytes),
        max_execution_time: settings.duration(Key::MaxExecutionTime).unwrap_or(usual.max_execution_time),
        max_queued_calls: number(Key::MaxQueuedCalls).unwrap_or(usual.max_queued_calls),
    }
}

/// How to log.
pub(crate) fn log_format(settings: &Settings) -> LogFormat {
    if settings.text(Key::LogFormat) == Some("json") { LogFormat::Json } else { LogFormat::Text }
}

/// What to log.
pub(crate) fn log_level(settings: &Settings) -> &str {
    settings.text(Key::LogLevel).unwrap_or("info")
}

/// The config file to read: the one named by a flag or a variable, else `./host_config.json` if it is there.
pub(crate) fn config_file(flag: Option<PathBuf>, variables: &Variables) -> Option<PathBuf> {
    let named = flag.or_else(|| variables.config_file().map(|(path, _)| path));
    named.or_else(|| Some(PathBuf::from(super::DEFAULT_CONFIG_FILE)).filter(|path| path.exists()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::{env, file};
    use wattle_identity::keys::KeyKind;

    fn read(text: &str) -> Settings {
        Settings::new([file::parse(text, Path::new("f.json")).unwrap()])
    }

    fn home() -> Variables {
        Variables::of(&[("HOME", "/home/ada")])
    }

    fn no_cluster() -> watch::Receiver<ClusterSettings> {
        watch::channel(ClusterSettings::default()).1
    }

    #[test]
    fn the_defaults_deny() {
        let host = host_settings(&Settings::default(), &home(), no_cluster()).unwrap();
        assert_eq!(host.lattice, "default");
        assert_eq!(host.ctl_prefix, "wasmbus.ctl");
        assert_eq!(host.trusted_issuers, TrustedIssuers::Only(Vec::new()));
        assert!(!host.allow_file_load && !host.allow_latest && !host.allow_unsigned);
        assert!(host.component_auction && host.provider_auction);
        assert_eq!(host.limits, Limits::default());
        assert_eq!(host.data_dir, Path::new("/home/ada/.local/share/wattle/hosts/default"));
        assert!(host.admin_address.is_none() && host.calls.is_none());
    }

    #[test]
    fn a_star_trusts_everybody() {
        let host = host_settings(&read(r#"{"trusted_issuers": ["*"]}"#), &home(), no_cluster()).unwrap();
        assert_eq!(host.trusted_issuers, TrustedIssuers::Any);
    }

    #[test]
    fn the_seeds_own_key_is_trusted() {
        let own = KeyPair::generate(KeyKind::Cluster).unwrap();
        let other = KeyPair::generate(KeyKind::Cluster).unwrap().public_key();
        let settings = read(&format!(r#"{{"cluster_issuers": ["{other}"]}}"#));
        assert_eq!(cluster_issuers(&settings, Some(&own)), [other.clone(), own.public_key()]);
        assert_eq!(cluster_issuers(&settings, None), [other]);
    }

    #[test]
    fn a_registry_login_has_to_be_whole() {
        let whole = Variables::of(&[
            ("WASMCLOUD_OCI_REGISTRY", "registry.other.example"),
            ("WASMCLOUD_OCI_REGISTRY_USER", "ada"),
            ("WASMCLOUD_OCI_REGISTRY_PASSWORD", "secret"),
        ]);
        let settings = Settings::new([env::layer(&whole, |_| true).unwrap()]);
        assert!(registries(&settings).unwrap()["registry.other.example"].credentials.is_some());
        let part = Variables::of(&[
            ("WASMCLOUD_OCI_REGISTRY", "registry.other.example"),
            ("WASMCLOUD_OCI_REGISTRY_USER", "ada"),
        ]);
        let settings = Settings::new([env::layer(&part, |_| true).unwrap()]);
        let error = registries(&settings).unwrap_err().to_string();
        assert!(error.contains("WASMCLOUD_OCI_REGISTRY") && error.contains("password"), "{error}");
    }

    #[test]
    fn a_registry_login_is_joined_from_all_sources_and_needs_a_registry() {
        let file = file::parse(
            r#"{"oci_registry": "registry.example", "oci_registry_user": "ada"}"#,
            Path::new("f.json"),
        );
        let secret = Variables::of(&[("WATTLE_OCI_REGISTRY_PASSWORD", "hunter2")]);
        let environment = env::layer(&secret, |_| true).unwrap();
        let both = Settings::new([environment.clone(), file.unwrap()]);
        assert!(registries(&both).unwrap()["registry.example"].credentials.is_some());
        let error = registries(&Settings::new([environment])).unwrap_err().to_string();
        assert!(error.contains("WATTLE_OCI_REGISTRY_PASSWORD") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_named_config_file_wins() {
        let variables = Variables::of(&[("HOST_CONFIG", "/etc/a.json")]);
        assert_eq!(config_file(Some("/b.json".into()), &variables), Some("/b.json".into()));
        assert_eq!(config_file(None, &variables), Some("/etc/a.json".into()));
    }
}
