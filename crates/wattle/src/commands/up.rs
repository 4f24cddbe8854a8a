//! `wattle up`: a lattice on this machine: a NATS server and a host, until ctrl-c.

use std::fs::{File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::child::Nursery;
use crate::context::Context;
use crate::failure::{Exit, usage};
use crate::folders;
use crate::keystore::{DEFAULT_ACCOUNT, KeyStore};
use crate::logging;
use crate::nats_server::{NatsServer, Supervised, find};
use crate::output::note;
use crate::settings::cluster::ClusterSource;
use crate::settings::host::{host_settings, log_format, log_level};
use crate::settings::table::{Group, Key, Scope, row};
use crate::settings::{DEFAULT_CONFIG_FILE, HostFlags, Layer, Origin, Settings, Value, env, file};
use crate::signals::StopSignals;
use wattle_identity::keys::KeyKind;

use super::host::{Announcement, cluster_key, serve};

const THIS: Origin = Origin::Command("wattle up");

/// Run a lattice on this machine: a NATS server with JetStream, and a host
#[derive(Debug, Args)]
#[command(
    after_help = "The NATS server listens on this machine only, and ends with this command, however that ends. \
                        The host takes local files, and what your own key default-account signed.\n\
                        Data, logs and settings are kept in $XDG_DATA_HOME/wattle/up (or --data-dir).\n\
                        Example: wattle up",
    mut_arg("data-dir", |arg| explained(arg, "The folder of all that is kept: the host's data, and the NATS server's \
        configuration, log and data\n[default: $XDG_DATA_HOME/wattle/up]\n[environment: WATTLE_DATA_DIR]")),
    mut_arg("js-domain", |arg| explained(arg, "The JetStream domain of the NATS server and of the lattice's state\n\
        [default: core]\n[environment: WATTLE_JS_DOMAIN, WASMCLOUD_JS_DOMAIN]\n[host's config file: js_domain]")),
    mut_arg("cluster-seed", |arg| explained(arg, "The cluster's seed (SC…). A flag shows in the list of processes: \
        the environment or the config file keeps it secret\n[default: made, and written to host_config.json in the \
        folder of --data-dir]\n[environment: WATTLE_CLUSTER_SEED, WASMCLOUD_CLUSTER_SEED]\n[host's config file: \
        cluster_seed]")),
)]
pub(crate) struct UpArgs {
    /// The nats-server program [default: on the PATH, or in $XDG_CACHE_HOME/wattle/tools/bin] [environment:
    /// WATTLE_NATS_SERVER]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
    /// The port of the NATS server
    #[arg(long, value_name = "PORT", default_value_t = 4222, value_parser = clap::value_parser!(u16).range(1..))]
    nats_port: u16,
    #[command(flatten)]
    flags: HostFlags,
}

/// What a flag means for this command, where that is not what it means for `wattle host`. The first line is its short
/// help.
fn explained(arg: clap::Arg, help: &'static str) -> clap::Arg {
    arg.help(help.split('\n').next().unwrap_or_default()).long_help(help)
}

/// Runs the command.
pub(crate) async fn run(args: UpArgs, context: &Context) -> anyhow::Result<Exit> {
    let folder = folder(&args.flags.0, context)?;
    let _lock = lock(&folder)?; // until the end
    let flags = args.flags.0;
    let (settings, announced) = settings(flags.clone(), context, &folder, args.nats_port)?;
    logging::start(log_format(&settings), log_level(&settings))?;
    announced.say();
    let server = NatsServer {
        program: find(args.nats_server, &context.variables)?,
        port: args.nats_port,
        domain: settings.text(Key::JsDomain).unwrap_or("core").to_owned(),
        folder: folder.clone(),
    };
    let signals = StopSignals::listen()?;
    tracing::info!(
        "starting {} on port {}, log in {}",
        server.program.display(),
        server.port,
        server.log().display()
    );
    let supervised = Supervised::start(server, Nursery::start()?).await?;
    let result = serve_host(&settings, &flags, context, &folder, signals).await;
    supervised.stop().await;
    result
}

async fn serve_host(
    settings: &Settings,
    flags: &Layer,
    context: &Context,
    folder: &Path,
    signals: StopSignals,
) -> anyhow::Result<Exit> {
    let config = folder.join(DEFAULT_CONFIG_FILE);
    let cluster_key = cluster_key(settings, &config, Some(&config))?;
    let cluster = ClusterSource::new(settings, flags, &context.variables, config, cluster_key)?.start()?;
    let host = host_settings(settings, &context.variables, cluster)?;
    serve(host, signals).await
}

/// The folder in which everything is kept, which is made.
fn folder(flags: &Layer, context: &Context) -> anyhow::Result<PathBuf> {
    let environment = env::layer(&context.variables, |row| row.key == Key::DataDir)?;
    let folder = match Settings::new([flags.clone(), environment]).path(Key::DataDir) {
        Some(folder) => folder.to_owned(),
        None => folders::data(&context.variables)?.join("up"),
    };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    folder.canonicalize().with_context(|| format!("cannot use the folder {}", folder.display()))
}

/// Holds the folder for this process alone, before anything in it is written.
///
/// # Errors
/// When another process holds it.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another `wattle up` uses {}; stop it or choose --data-dir", folder.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// The settings of the host: the connection is decided here, the rest as for any host, with defaults that suit a
/// developer's machine.
fn settings(
    flags: Layer,
    context: &Context,
    folder: &Path,
    port: u16,
) -> anyhow::Result<(Settings, Announcement)> {
    if let Some((_, found)) = context.connection.iter().find(|(key, _)| decides_where(*key)) {
        return Err(usage(format!(
            "{}: `wattle up` runs a NATS server of its own; `wattle host` joins another",
            found.origin
        )));
    }
    let mut environment = env::layer(&context.variables, |_| true)?;
    environment.retain(|key| !decides_where(key) && key != Key::DataDir);
    let config = folder.join(DEFAULT_CONFIG_FILE);
    let mut from_file = if config.exists() { file::layer(&config)? } else { Layer::default() };
    let file = config.exists().then_some(config.as_path());
    let announced = Announcement::of(&context.variables, &environment, file, &from_file);
    from_file.retain(|key| !decides_where(key) && key != Key::DataDir);

    let mut decided = Layer::default();
    decided.add(Key::NatsUrls, Value::List(vec![format!("nats://127.0.0.1:{port}")]), THIS);
    decided.add(Key::DataDir, Value::Path(folder.join("host")), THIS);
    let mut usual = Layer::default();
    usual.add(Key::JsDomain, Value::Text("core".to_owned()), THIS);
    usual.add(Key::AllowFileLoad, Value::Switch(true), THIS);

    // One's own signature counts beside those that were asked for.
    let layers = [flags, context.connection.clone(), environment, from_file];
    let asked = Settings::new(layers.clone());
    let mut issuers = asked.list(Key::TrustedIssuers).unwrap_or_default().to_vec();
    let keys = KeyStore::of(&context.variables)?;
    let (own, made) = keys.get_or_make(DEFAULT_ACCOUNT, KeyKind::Account)?;
    let own = own.public_key();
    if made {
        note(format!(
            "made the account key {own}, which signs for you, and keep it in {}",
            keys.path(DEFAULT_ACCOUNT).display()
        ));
    }
    if !issuers.contains(&own) {
        issuers.push(own);
    }
    decided.add(Key::TrustedIssuers, Value::List(issuers), THIS);

    Ok((Settings::new(std::iter::once(decided).chain(layers).chain([usual])), announced))
}

/// Whether a setting says where NATS is, or who we are there.
fn decides_where(key: Key) -> bool {
    let Some(row) = row(key) else { return false };
    let connection = row.scope == Scope::Connection && !matches!(key, Key::Lattice | Key::CtlPrefix);
    let calls = row.group == Some(Group::RpcAuth)
        || matches!(
            key,
            Key::RpcUrls | Key::RpcTls | Key::RpcCa | Key::RpcCertFile | Key::RpcKeyFile | Key::RpcTlsFirst
        );
    connection || calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use crate::settings::Variables;
    use crate::settings::host::data_dir;

    fn context(home: &Path, more: &[(&str, &str)]) -> Context {
        let mut pairs = vec![("HOME", home.to_str().unwrap())];
        pairs.extend(more);
        Context {
            format: Format::Text,
            timeout: None,
            variables: Variables::of(&pairs),
            connection: Layer::default(),
        }
    }

    #[test]
    fn the_connection_is_its_own_and_the_rest_can_be_set() {
        let home = tempfile::tempdir().unwrap();
        let context = context(
            home.path(),
            &[("WATTLE_NATS_URL", "nats://elsewhere"), ("WATTLE_NATS_TOKEN", "t"), ("WATTLE_LATTICE", "lab")],
        );
        let folder = folder(&Layer::default(), &context).unwrap();
        let (settings, _) = settings(Layer::default(), &context, &folder, 4333).unwrap();
        assert_eq!(settings.list(Key::NatsUrls).unwrap(), ["nats://127.0.0.1:4333"]);
        assert_eq!(settings.text(Key::NatsToken), None);
        assert_eq!(settings.text(Key::Lattice), Some("lab"));
        assert_eq!(settings.text(Key::JsDomain), Some("core"));
        assert_eq!(settings.switch(Key::AllowFileLoad), Some(true));
        let own = KeyStore::of(&context.variables).unwrap().get(DEFAULT_ACCOUNT).unwrap();
        assert_eq!(settings.list(Key::TrustedIssuers).unwrap(), [own.public_key()]);
        assert!(data_dir(&settings, &context.variables).unwrap().starts_with(&folder));
    }

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let home = tempfile::tempdir().unwrap();
        let chosen = home.path().join("chosen");
        let context = context(home.path(), &[("WATTLE_DATA_DIR", chosen.to_str().unwrap())]);
        let folder = folder(&Layer::default(), &context).unwrap();
        assert_eq!(folder, chosen.canonicalize().unwrap());
        let first = lock(&folder).unwrap();
        let error = lock(&folder).unwrap_err().to_string();
        assert!(error.contains("another `wattle up`") && error.contains("--data-dir"), "{error}");
        drop(first);
        lock(&folder).unwrap();
    }

    #[test]
    fn a_server_elsewhere_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let mut context = context(home.path(), &[]);
        context.connection.add(
            Key::NatsUrls,
            Value::List(vec!["nats://hub".into()]),
            Origin::Flag("nats-url"),
        );
        let error =
            settings(Layer::default(), &context, home.path(), 4222).map(drop).unwrap_err().to_string();
        assert!(error.contains("--nats-url") && error.contains("wattle host"), "{error}");
    }
}
