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
use crate::failure::usage;
use crate::folders;

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
    /// The user, where the docker configuration does not know the registry [environment: WATTLE_REGISTRY_USER]
    #[arg(long)]
    user: Option<String>,
    /// The user's password. A flag shows in the list of processes: the environment keeps it secret [environment:
    /// WATTLE_REGISTRY_PASSWORD]
    #[arg(long, hide_short_help = true)]
    password: Option<String>,
    /// A PEM file with the authorities that may sign the registry's certificate
    #[arg(long, value_name = "PATH")]
    registry_ca: Option<PathBuf>,
}

impl RegistryFlags {
    /// A store that can reach the registry of the reference.
    ///
    /// # Errors
    /// When the credentials are incomplete or the cache folder can't be used.
    pub(crate) fn store(&self, reference: &OciReference, context: &Context) -> anyhow::Result<ArtifactStore> {
        let or_variable = |flag: &Option<String>, name| match flag {
            Some(value) => anyhow::Ok(Some(value.clone())),
            None => Ok(context.variables.get(name)?.map(str::to_owned)),
        };
        let user = or_variable(&self.user, "WATTLE_REGISTRY_USER")?;
        let password = or_variable(&self.password, "WATTLE_REGISTRY_PASSWORD")?;
        let credentials =
            Credentials::from_parts(user, password, None).map_err(|error| usage(error.to_string()))?;
        let settings = RegistrySettings {
            credentials,
            insecure: self.insecure,
            ca: self.registry_ca.iter().cloned().collect(),
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

/// Says which flag helps, where one does.
pub(crate) fn explain(error: Error) -> anyhow::Error {
    match error {
        Error::NotTls { .. } => {
            anyhow::Error::from(error).context("the flag --insecure speaks to it without TLS")
        }
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
            Err(Error::LocalPath { .. }) => bail!("there is no file {text}"),
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

/// Reads a file.
///
/// # Errors
/// When it can't be read.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file so that it appears whole or stays as it was.
///
/// # Errors
/// When it can't be written.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let everyone = std::fs::Permissions::from_mode(0o666); // less what the umask takes away
    let mut file = tempfile::Builder::new().permissions(everyone).tempfile_in(folder).with_context(cannot)?;
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
