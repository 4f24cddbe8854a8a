//! Files and registries, as `push`, `pull`, `claims` and `par` use them.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use wattle_artifact::{
    Artifact, ArtifactKind, ArtifactStore, Credentials, Error, OciReference, ProgressFn, ProviderArchive,
    Reference, Registries, RegistrySettings, StoreOptions,
};

use crate::context::Context;
use crate::failure::{not_found, usage};
use crate::folders;
use crate::settings::host::{registry_ca, registry_login};
use crate::settings::{Key, Settings, env};

/// How to speak to the registry of the reference.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct RegistryFlags {
    /// Speak to this reference's registry without TLS
    #[arg(long)]
    insecure: bool,
    /// Allow the tag `latest`
    #[arg(long)]
    allow_latest: bool,
    /// The user, where the docker configuration does not know the registry [environment: WATTLE_OCI_REGISTRY_USER, for
    /// the registry in WATTLE_OCI_REGISTRY]
    #[arg(long)]
    user: Option<String>,
    /// The user's password. A flag shows in the list of processes: the environment keeps it secret [environment:
    /// WATTLE_OCI_REGISTRY_PASSWORD, for the registry in WATTLE_OCI_REGISTRY]
    #[arg(long, hide_short_help = true)]
    password: Option<String>,
    /// A PEM file with the authorities that may sign the registry's certificate [environment: WATTLE_TLS_CA_PATH]
    #[arg(long, value_name = "PATH")]
    registry_ca: Option<PathBuf>,
}

impl RegistryFlags {
    /// A store that can reach the registry of the reference.
    ///
    /// # Errors
    /// When the credentials are incomplete or the cache folder can't be used.
    pub(crate) fn store(&self, reference: &OciReference, context: &Context) -> anyhow::Result<ArtifactStore> {
        let environment = Settings::new([env::layer(&context.variables, env::registry)?]);
        let ca = match &self.registry_ca {
            Some(file) => vec![file.clone()],
            None => registry_ca(&environment),
        };
        let settings = RegistrySettings {
            credentials: self.credentials(reference, &environment)?,
            insecure: self.insecure,
            ca,
            allow_latest: self.allow_latest,
        };
        let mut options = StoreOptions::new(folders::cache(&context.variables)?.join("artifacts"));
        options.registries = Registries::new(BTreeMap::from([(reference.registry().to_owned(), settings)]))?;
        options.progress = progress();
        if let Some(timeout) = context.timeout {
            options.timeout = timeout;
        }
        Ok(ArtifactStore::new(options)?)
    }

    /// Flags are meant for the registry of the reference; variables are for the registry that they name, and no other
    /// gets to see them.
    fn credentials(
        &self,
        reference: &OciReference,
        environment: &Settings,
    ) -> anyhow::Result<Option<Credentials>> {
        if self.user.is_some() && self.password.is_some() {
            return whole(self.user.clone(), self.password.clone());
        }
        let named = environment.text(Key::OciRegistry);
        let meant = named.is_some_and(|name| name.eq_ignore_ascii_case(reference.registry()));
        if self.user.is_none() && self.password.is_none() {
            let login = registry_login(environment)?;
            return Ok(login.filter(|_| meant).map(|(_, login)| login));
        }
        let or_variable = |flag: &Option<String>, key| {
            let variable = environment.text(key).filter(|_| meant).map(str::to_owned);
            flag.clone().or(variable)
        };
        whole(or_variable(&self.user, Key::OciUser), or_variable(&self.password, Key::OciPassword))
    }

    /// Refuses to put `latest` into a registry, unless that is allowed.
    ///
    /// # Errors
    /// When the reference means it.
    pub(crate) fn check_latest(&self, reference: &OciReference) -> anyhow::Result<()> {
        if self.allow_latest || !reference.is_latest() {
            return Ok(());
        }
        Err(usage(format!(
            "{reference} means the tag `latest`, which names other bytes from day to day and which hosts refuse: name \
             a version, or allow it with --allow-latest"
        )))
    }

    /// Fetches an artifact, whatever it is.
    ///
    /// # Errors
    /// When it can't be fetched, or is neither a component nor a provider archive.
    pub(crate) async fn fetch(
        &self,
        reference: &OciReference,
        context: &Context,
    ) -> anyhow::Result<Artifact> {
        let store = self.store(reference, context)?;
        let reference = Reference::Oci(reference.clone());
        match store.fetch(&reference, ArtifactKind::Component, None).await {
            Err(Error::MediaType { .. }) => store.fetch(&reference, ArtifactKind::Provider, None).await,
            other => other,
        }
        .map_err(explain)
    }
}

/// The credentials that a command line makes.
fn whole(user: Option<String>, password: Option<String>) -> anyhow::Result<Option<Credentials>> {
    Credentials::from_parts(user, password, None)
        .map_err(|error| usage(format!("{error} (--user and --password belong together)")))
}

/// Says which flag helps, where one does.
pub(crate) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::NotTls { registry } => anyhow::anyhow!(
            "registry {registry} does not speak TLS: if it really is a plain HTTP registry, say so with --insecure"
        ),
        error => error.into(),
    }
}

/// Draws a bar on a terminal; elsewhere nothing.
fn progress() -> Option<ProgressFn> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(0);
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    Some(Arc::new(move |progress| {
        bar.set_message(progress.reference.to_string());
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        if progress.done >= progress.total {
            bar.finish_and_clear();
        }
    }))
}

/// What bytes are.
#[derive(Debug)]
pub(crate) enum Content {
    /// A WebAssembly component.
    Component,
    /// A WebAssembly core module, which no host runs.
    Module,
    /// A provider archive.
    Provider(ProviderArchive),
}

impl Content {
    /// Looks at the first bytes, and into an archive.
    ///
    /// # Errors
    /// When it is none of these.
    pub(crate) fn of(bytes: &[u8]) -> anyhow::Result<Self> {
        match bytes.get(..8) {
            Some([0, b'a', b's', b'm', _, _, 1, 0]) => Ok(Self::Component),
            Some([0, b'a', b's', b'm', _, _, 0, 0]) => Ok(Self::Module),
            _ if bytes.is_empty() => bail!("it is empty"),
            _ => match ProviderArchive::read(bytes) {
                Ok(archive) => Ok(Self::Provider(archive)),
                Err(error) => bail!("it is neither WebAssembly nor a provider archive ({error})"),
            },
        }
    }
}

/// The line that makes a component of a core module.
pub(crate) fn how_to_make_a_component(module: &Path) -> String {
    let module = module.display();
    format!(
        "wasm-tools component new {module} --adapt wasi_snapshot_preview1.reactor.wasm -o {module}.component.wasm"
    )
}

/// Something that a person named: a file if there is one by that name, else a reference.
#[derive(Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Registry(OciReference),
}

impl Source {
    /// Tells the two apart.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn of(text: &str) -> anyhow::Result<Self> {
        if Path::new(text).is_file() {
            return Ok(Self::File(text.into()));
        }
        match Reference::parse(text) {
            Ok(Reference::File(path)) => Ok(Self::File(path)),
            Ok(Reference::Oci(reference)) => Ok(Self::Registry(reference)),
            Ok(Reference::Builtin(name)) => bail!("builtin://{name} is a part of every host and has no file"),
            Err(Error::LocalPath { .. }) => Err(not_found(format!("there is no file {text}"))),
            Err(error) => Err(usage(format!("{text} is no file here, and as a reference: {error}"))),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it can't be read or fetched.
    pub(crate) async fn read(&self, flags: &RegistryFlags, context: &Context) -> anyhow::Result<Bytes> {
        match self {
            Self::File(path) => read_file(path).map(Bytes::from),
            Self::Registry(reference) => Ok(flags.fetch(reference, context).await?.bytes),
        }
    }
}

/// A reference as a control command carries it: a local file becomes `file://` and its absolute path.
///
/// # Errors
/// When it is neither a file here nor a reference.
pub(crate) fn control_reference(text: &str) -> anyhow::Result<String> {
    let path = Path::new(text);
    if path.is_file() {
        let path = path.canonicalize().with_context(|| format!("cannot find the full path of {text}"))?;
        return Ok(format!("file://{}", path.display()));
    }
    match Reference::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(Error::LocalPath { .. }) => {
            Err(usage(format!("there is no file {text} (a reference looks like registry.example/name:tag)")))
        }
        Err(error) => Err(usage(error.to_string())),
    }
}

/// Reads a file that a person named.
///
/// # Errors
/// When it is not there, or can't be read.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(not_found(format!("there is no file {}", path.display())))
        }
        read => read.with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file so that it appears whole or stays as it was.
///
/// # Errors
/// When it can't be written.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_with_mode(path, bytes, 0o666) // less what the umask takes away
}

/// [`write_file`] for what only its owner is to read.
///
/// # Errors
/// When it can't be written.
pub(crate) fn write_private_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_with_mode(path, bytes, 0o600)
}

fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mode = std::fs::Permissions::from_mode(mode);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.persist(path).map_err(|error| error.error).with_context(cannot)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Exit, exit_of};

    #[test]
    fn content_is_told_by_its_bytes() {
        assert!(matches!(Content::of(b"\0asm\x0d\0\x01\0").unwrap(), Content::Component));
        assert!(matches!(Content::of(b"\0asm\x01\0\0\0").unwrap(), Content::Module));
        let archive = ProviderArchive {
            claims_jwt: "a.b.c".into(),
            binaries: BTreeMap::from([("x86_64-linux".into(), vec![1])]),
            world: None,
        };
        for compress in [true, false] {
            let content = Content::of(&archive.write(compress).unwrap()).unwrap();
            assert!(matches!(content, Content::Provider(read) if read == archive));
        }
        assert!(Content::of(b"").unwrap_err().to_string().contains("empty"));
        assert!(Content::of(b"hello").unwrap_err().to_string().contains("neither"));
    }

    fn reference(text: &str) -> OciReference {
        OciReference::parse(text).unwrap()
    }

    #[test]
    fn a_login_in_the_environment_is_for_its_registry_only() {
        let flags = RegistryFlags::default();
        let login = |pairs: &[(&str, &str)], flags: &RegistryFlags, text: &str| {
            let variables = crate::settings::Variables::of(pairs);
            let environment = Settings::new([env::layer(&variables, env::registry).unwrap()]);
            flags.credentials(&reference(text), &environment)
        };
        let whole = [
            ("WATTLE_OCI_REGISTRY", "Registry.example"),
            ("WATTLE_OCI_REGISTRY_USER", "ada"),
            ("WASMCLOUD_OCI_REGISTRY_PASSWORD", "hunter2"),
        ];
        assert!(login(&whole, &flags, "registry.example/a:1").unwrap().is_some());
        assert!(login(&whole, &flags, "other.example/a:1").unwrap().is_none());
        assert_eq!(exit_of(&login(&whole[1..], &flags, "other.example/a:1").unwrap_err()), Exit::Usage);
        let user = RegistryFlags { user: Some("bob".into()), ..RegistryFlags::default() };
        assert!(login(&whole, &user, "registry.example/a:1").unwrap().is_some());
        assert!(login(&whole, &user, "other.example/a:1").is_err(), "its password is not for this registry");
        let both = RegistryFlags { password: Some("x".into()), ..user };
        assert!(login(&[], &both, "other.example/a:1").unwrap().is_some());
    }

    #[test]
    fn latest_is_pushed_only_where_that_is_allowed() {
        let flags = RegistryFlags::default();
        for latest in ["registry.example/a", "registry.example/a:latest"] {
            assert_eq!(exit_of(&flags.check_latest(&reference(latest)).unwrap_err()), Exit::Usage);
        }
        assert!(flags.check_latest(&reference("registry.example/a:1")).is_ok());
        let allowed = RegistryFlags { allow_latest: true, ..flags };
        assert!(allowed.check_latest(&reference("registry.example/a:latest")).is_ok());
    }

    #[test]
    fn local_files_get_their_full_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hello.wasm");
        std::fs::write(&file, "x").unwrap();
        let expected = format!("file://{}", file.canonicalize().unwrap().display());
        assert_eq!(control_reference(file.to_str().unwrap()).unwrap(), expected);
        for verbatim in [
            "registry.example/hello:1",
            "oci://registry.example/hello:1",
            "builtin://http-server",
            "file:///x",
        ] {
            assert_eq!(control_reference(verbatim).unwrap(), verbatim);
        }
        for bad in ["./missing.wasm", "hello", "missing.wasm"] {
            assert_eq!(exit_of(&control_reference(bad).unwrap_err()), Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("out.wasm");
        write_file(&file, b"one").unwrap();
        write_file(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
