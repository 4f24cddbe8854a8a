//! The file that a second machine is given: what the lattice shares, and nothing of this machine.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;
use wattle_identity::keys::KeyPair;

use super::host::registries;
use super::{Key, Settings};

/// Writes the settings that all machines of the lattice share, with the seed of the cluster, readable by this user
/// only. `false` when there is such a file already, which is left as it is.
///
/// # Errors
/// When the file can't be written.
pub(crate) fn write(path: &Path, settings: &Settings, cluster: &KeyPair) -> anyhow::Result<bool> {
    let cannot = || format!("cannot write {}", path.display());
    let text = serde_json::to_string_pretty(&Shared::of(settings, cluster)?).with_context(cannot)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // The file appears whole, with mode 0600, or not at all.
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error).with_context(cannot),
    }
}

/// The fields of that file, in the names of the [table](super::table).
#[derive(Serialize)]
struct Shared {
    lattice: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    js_domain: Option<String>,
    cluster_seed: String,
    cluster_issuers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trusted_issuers: Vec<String>,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    registries: std::collections::BTreeMap<String, wattle_artifact::RegistrySettings>,
}

impl Shared {
    fn of(settings: &Settings, cluster: &KeyPair) -> anyhow::Result<Self> {
        let mut registries = registries(settings)?;
        for registry in registries.values_mut() {
            registry.ca.clear(); // paths of this machine
        }
        Ok(Self {
            lattice: super::connect::lattice(settings),
            js_domain: settings.text(Key::JsDomain).map(str::to_owned),
            cluster_seed: cluster.seed().to_string(),
            cluster_issuers: super::host::cluster_issuers(settings, Some(cluster)),
            trusted_issuers: settings.list(Key::TrustedIssuers).unwrap_or_default().to_vec(),
            registries,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::settings::table::{ROWS, row};
    use crate::settings::{file, host};
    use wattle_identity::keys::KeyKind;

    fn everything() -> Settings {
        let host_seed = KeyPair::generate(KeyKind::Host).unwrap().seed();
        let user_seed = KeyPair::generate(KeyKind::User).unwrap().seed();
        let account = KeyPair::generate(KeyKind::Account).unwrap().public_key();
        let text = serde_json::json!({
            "lattice": "lab", "js_domain": "core", "trusted_issuers": [account],
            "nats_urls": ["nats://hub:4222"], "nats_jwt": "eyJ", "nats_seed": user_seed.as_str(),
            "host_seed": host_seed.as_str(), "labels": {"zone": "cellar"}, "data_dir": "/var/lib/wattle",
            "admin_address": "127.0.0.1:9090", "allow_insecure": ["localhost:5000"],
            "oci_registry": "registry.other.example", "oci_registry_user": "ada", "oci_registry_password": "secret",
            "registries": {"registry.example": {"username": "ada", "password": "x", "ca": ["/etc/ca.pem"]}},
        });
        Settings::new([file::parse(&text.to_string(), Path::new("f.json")).unwrap()])
    }

    #[test]
    fn only_what_the_lattice_shares_is_written_and_only_for_this_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_config.json");
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        assert!(write(&path, &everything(), &cluster).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let text = std::fs::read_to_string(&path).unwrap();
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        for field in fields.keys() {
            let row =
                ROWS.iter().find(|row| row.file.first().is_some_and(|name| name.name == field)).unwrap();
            assert!(row.shared, "{field} is not for other machines");
        }
        for private in ["cellar", "/etc/ca.pem", "/var/lib", "9090", "eyJ", "hub:4222"] {
            assert!(!text.contains(private), "{private} is not for other machines: {text}");
        }
        assert!(!fields.contains_key("host_seed"));
        for row in ROWS.iter().filter(|row| row.shared) {
            assert!(fields.contains_key(row.file[0].name), "{:?} is missing", row.key);
        }
    }

    #[test]
    fn the_second_machine_gets_the_same_lattice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_config.json");
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        write(&path, &everything(), &cluster).unwrap();
        let read = Settings::new([file::layer(&path).unwrap()]);
        assert_eq!(read.text(Key::ClusterSeed), Some(cluster.seed().as_str()));
        assert_eq!(read.list(Key::ClusterIssuers).unwrap(), [cluster.public_key()]);
        let registries = host::registries(&read).unwrap();
        assert!(
            registries["localhost:5000"].insecure
                && registries["registry.other.example"].credentials.is_some()
        );
        assert!(row(Key::ClusterSeed).unwrap().shared);
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_config.json");
        std::fs::write(&path, "{}").unwrap();
        let cluster = KeyPair::generate(KeyKind::Cluster).unwrap();
        assert!(!write(&path, &everything(), &cluster).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
        assert!(write(&folder.path().join("no/such/folder.json"), &everything(), &cluster).is_err());
    }
}
