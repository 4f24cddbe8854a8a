//! `wattle host`: be a host of a lattice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use wattle_host::{Host, HostSettings, StopRequest, TrustedIssuers};
use wattle_identity::keys::{KeyKind, KeyPair};

use crate::context::Context;
use crate::failure::Exit;
use crate::logging;
use crate::output::Done;
use crate::settings::cluster::{ClusterSource, public_key};
use crate::settings::host::{config_file, host_settings, key, log_format, log_level};
use crate::settings::{
    DEFAULT_CONFIG_FILE, Found, HostFlags, Key, Layer, Origin, Settings, Value, Variables, env, file, shared,
};
use crate::signals::StopSignals;

/// How long what runs may take to finish when the host is told to stop by a signal.
const DRAIN: Duration = Duration::from_secs(10);

/// Join a lattice as a host, and stay until told to stop
#[derive(Debug, Args)]
#[command(
    after_help = "Every setting is taken from its flag, else from the environment, else from the config file; \
                        --help names all three for each.\n\
                        Example: wattle host --nats-url nats://hub:4222 --js-domain core --trusted-issuer A... --label zone=attic"
)]
pub(crate) struct HostArgs {
    /// The config file, JSON [default: ./host_config.json, if it is there] [environment: WATTLE_CONFIG, HOST_CONFIG]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Print this host's public key (N…), for `wattle cluster issue`, and end. The key is made in the data folder where
    /// there is none yet
    #[arg(long)]
    print_key: bool,
    #[command(flatten)]
    flags: HostFlags,
}

/// The host's public key, as `--print-key` prints it.
#[derive(Debug, Serialize)]
struct PublicKey {
    public_key: String,
}

/// Runs the command.
pub(crate) async fn run(args: HostArgs, context: &Context) -> anyhow::Result<Exit> {
    let file = config_file(args.config, &context.variables);
    let from_file = file.as_deref().map(file::layer).transpose()?.unwrap_or_default();
    let environment = env::layer(&context.variables, |_| true)?;
    let announced = Announcement::of(&context.variables, &environment, file.as_deref(), &from_file);
    let flags = args.flags.0;
    let settings = Settings::new([flags.clone(), context.connection.clone(), environment, from_file]);
    if args.print_key {
        let public_key = public_key(&settings, &context.variables)?;
        return context.print(&Done::new(public_key.clone(), PublicKey { public_key }));
    }
    logging::start(log_format(&settings), log_level(&settings))?;
    announced.say();
    let usual = Path::new(DEFAULT_CONFIG_FILE);
    let cluster_key = cluster_key(&settings, usual, file.as_deref())?;
    let config = file.unwrap_or_else(|| usual.to_owned()); // which may just have been written
    let cluster = ClusterSource::new(&settings, &flags, &context.variables, config, cluster_key)?.start()?;
    let host = host_settings(&settings, &context.variables, cluster)?;
    serve(host, StopSignals::listen()?).await
}

/// Runs a host until a signal or a command stops it.
///
/// # Errors
/// When the host can't start.
pub(crate) async fn serve(settings: HostSettings, mut signals: StopSignals) -> anyhow::Result<Exit> {
    if settings.trusted_issuers == TrustedIssuers::Only(Vec::new()) && !settings.allow_unsigned {
        tracing::warn!(
            "no issuer is trusted, so nothing from a registry will start: name accounts with --trusted-issuer (* for any)"
        );
    }
    tracing::info!(
        lattice = settings.lattice,
        nats = settings.control.urls.join(","),
        data_dir = %settings.data_dir.display(),
        "joining the lattice"
    );
    let host = tokio::select! {
        host = Host::start(settings) => host.context("the host cannot start")?,
        signal = signals.next() => {
            tracing::info!("{signal}: the host has not joined yet and ends");
            return Ok(Exit::Success);
        }
    };
    let request = tokio::select! {
        request = host.stop_requested() => request,
        signal = signals.next() => {
            tracing::info!("{signal}: the host lets what runs finish and ends; a second signal ends it at once");
            StopRequest { timeout: DRAIN, forget: false }
        }
    };
    signals.end_at_the_next();
    host.stop(request).await;
    Ok(Exit::Success)
}

/// The key of the cluster: the one in the settings; none where they name a certificate or the cluster's issuers instead;
/// else the one that `path` keeps, where that is not the config file that was `read`; else a new one, which `path` then
/// keeps.
///
/// # Errors
/// When no key can be made.
pub(crate) fn cluster_key(
    settings: &Settings,
    path: &Path,
    read: Option<&Path>,
) -> anyhow::Result<Option<KeyPair>> {
    if let Some(key) = key(settings, Key::ClusterSeed)? {
        return Ok(Some(key));
    }
    if settings.find(Key::ClusterCertificate).is_some() {
        return Ok(None);
    }
    if let Some(issuers) = settings.find(Key::ClusterIssuers).filter(|found| !is_empty(found)) {
        tracing::warn!(
            "{} names the cluster's keys, and this host has neither the seed of one nor a certificate: no other \
             host will take its calls, or call it (--cluster-certificate)",
            issuers.origin
        );
        return Ok(None);
    }
    if let Some(kept) = kept_key(path) {
        tracing::info!(
            cluster = kept.public_key(),
            "{} names no cluster seed: the one in {} is used",
            read.map_or_else(|| "the configuration".to_owned(), |read| read.display().to_string()),
            path.display()
        );
        return Ok(Some(kept));
    }
    let key = KeyPair::generate(KeyKind::Cluster)?;
    let public_key = key.public_key();
    match shared::write(path, settings, &key) {
        Ok(true) => tracing::warn!(
            cluster = public_key,
            "there was no cluster seed, so one was made; {} holds it: keep it secret, and give it to the other \
             machines of this lattice",
            path.display()
        ),
        Ok(false) => tracing::warn!(
            cluster = public_key,
            "there was no cluster seed, so one was made, which lasts until the host stops, because {} exists and is \
             left as it is: `wattle keys gen cluster` makes one to put into the field cluster_seed of {}",
            path.display(),
            read.unwrap_or(path).display()
        ),
        Err(error) => tracing::warn!(
            cluster = public_key,
            "there was no cluster seed, so one was made, which lasts until the host stops: {error:#}"
        ),
    }
    Ok(Some(key))
}

/// The cluster's key in a config file, which need not be there.
fn kept_key(path: &Path) -> Option<KeyPair> {
    if !path.exists() {
        return None;
    }
    let kept = file::layer(path).inspect_err(|error| tracing::debug!("no cluster seed is taken: {error:#}"));
    key(&Settings::new([kept.ok()?]), Key::ClusterSeed).ok()?
}

fn is_empty(found: &Found) -> bool {
    matches!(&found.value, Value::List(list) if list.is_empty())
}

/// What was read besides the command line, to be said once logs are written.
pub(crate) struct Announcement {
    file: Option<PathBuf>,
    variables: Vec<String>,
    labels: Vec<String>,
    unknown: Vec<String>,
    unsupported: Vec<String>,
    file_shows_a_secret: bool,
}

impl Announcement {
    /// Looks at what the environment and the config file said.
    pub(crate) fn of(all: &Variables, environment: &Layer, file: Option<&Path>, from_file: &Layer) -> Self {
        let mut variables = Vec::new();
        let mut labels = Vec::new();
        for (key, found) in environment.iter() {
            match (&found.origin, &found.value) {
                (_, Value::Pairs(pairs)) if key == Key::Labels => {
                    labels.extend(pairs.iter().map(|(key, value)| format!("{key}={value}")));
                }
                (Origin::Variable(name), _) => variables.push(name.clone()),
                _ => {}
            }
        }
        let (unknown, unsupported) = env::unknown(all);
        let file_shows_a_secret = file.is_some_and(|file| file::shows_a_secret(file, from_file));
        Self { file: file.map(Path::to_owned), variables, labels, unknown, unsupported, file_shows_a_secret }
    }

    /// Logs it.
    pub(crate) fn say(&self) {
        if let Some(file) = &self.file {
            let file = file.display();
            tracing::info!("settings were read from {file}");
            if self.file_shows_a_secret {
                tracing::warn!("other users may read the secrets in {file}: chmod 600 {file}");
            }
        }
        if !self.variables.is_empty() {
            tracing::info!("settings were read from the environment: {}", self.variables.join(", "));
        }
        if !self.labels.is_empty() {
            tracing::info!("labels from the environment: {}", self.labels.join(", "));
        }
        if !self.unknown.is_empty() {
            tracing::warn!(
                "the environment has variables that mean nothing here: {}",
                self.unknown.join(", ")
            );
        }
        for unsupported in &self.unsupported {
            tracing::warn!("the environment variable {unsupported}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        Settings::new([env::layer(&Variables::of(pairs), |_| true).unwrap()])
    }

    #[test]
    fn a_missing_cluster_seed_is_made_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_config.json");
        let made = cluster_key(&settings(&[]), &path, None).unwrap().unwrap();
        let kept = Settings::new([file::layer(&path).unwrap()]);
        let read = cluster_key(&kept, &path, Some(&path)).unwrap().unwrap();
        assert_eq!(made.public_key(), read.public_key());
        let other = folder.path().join("other.json");
        let read = cluster_key(&settings(&[]), &path, Some(&other)).unwrap().unwrap();
        assert_eq!(
            made.public_key(),
            read.public_key(),
            "another config file without a seed changes nothing"
        );
    }

    #[test]
    fn a_given_seed_is_used_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("host_config.json");
        let key = KeyPair::generate(KeyKind::Cluster).unwrap();
        let given = settings(&[("WASMCLOUD_CLUSTER_SEED", &key.seed())]);
        assert_eq!(cluster_key(&given, &path, None).unwrap().unwrap().public_key(), key.public_key());
        let issuers = settings(&[("WASMCLOUD_CLUSTER_ISSUERS", &key.public_key())]);
        assert!(cluster_key(&issuers, &path, None).unwrap().is_none());
        let certificate = settings(&[("WATTLE_CLUSTER_CERTIFICATE", "edge.jwt")]);
        assert!(cluster_key(&certificate, &path, None).unwrap().is_none());
        assert!(!path.exists());
    }

    #[test]
    fn an_unwritable_folder_is_no_reason_not_to_start() {
        assert!(
            cluster_key(&settings(&[]), Path::new("/no/such/folder/host_config.json"), None)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn the_labels_of_the_environment_are_announced() {
        let variables =
            Variables::of(&[("HOST_ZONE", "attic"), ("WATTLE_LATTICE", "lab"), ("WATTLE_LATICE", "typo")]);
        let environment = env::layer(&variables, |_| true).unwrap();
        let announced = Announcement::of(&variables, &environment, None, &Layer::default());
        assert_eq!(announced.labels, ["zone=attic"]);
        assert_eq!(announced.unknown, ["WATTLE_LATICE"]);
        assert_eq!(announced.variables, ["WATTLE_LATTICE"]);
    }
}
