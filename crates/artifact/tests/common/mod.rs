//! A real OCI registry per test, on a free port, with a storage folder of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "test code, shared by several test programs"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tempfile::TempDir;
use wattle_artifact::{
    ArtifactKind, ArtifactStore, Credentials, OciReference, PushDetails, Pushed, Reference, Registries,
    RegistrySettings, StoreOptions,
};

/// How long a registry may take to answer its first request.
const START: Duration = Duration::from_secs(20);
/// How long the store waits in tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "correct horse";
/// `USER` and `PASSWORD` in bcrypt.
const HTPASSWD: &str = "alice:$2y$05$g22rQsJCceOjJNX7P.TpXOq04cu4A63eLav0pA8bn68yIN0BW75vy\n";

/// How a registry is set up.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) password: bool,
    /// Certificate and key, in PEM.
    pub(crate) tls: Option<(String, String)>,
}

/// A running registry; ended on drop, also while panicking.
pub(crate) struct Registry {
    process: Option<Child>,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::start_with(&Setup::default())
    }

    /// Tries again on another port when someone else took the first one.
    pub(crate) fn start_with(setup: &Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..5 {
            let address = free_address();
            let config = write_config(folder.path(), address, setup);
            if let Some(process) = spawn(&config, address) {
                return Self { process: Some(process), folder, address };
            }
        }
        panic!("docker-registry ended at once, on five ports");
    }

    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Replaces the bytes of a stored blob, as a broken disk or a malicious registry would.
    pub(crate) fn tamper(&self, digest: &str, bytes: &[u8]) {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let storage = self.folder.path().join("storage/docker/registry/v2/blobs/sha256");
        let file = storage.join(&hex[..2]).join(hex).join("data");
        assert!(file.exists(), "{}", file.display());
        fs::write(file, bytes).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn write_config(folder: &Path, address: SocketAddr, setup: &Setup) -> PathBuf {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut text = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
        folder.join("storage").display(),
    );
    if let Some((certificate, key)) = &setup.tls {
        let (certificate, key) = (file("cert.pem", certificate), file("key.pem", key));
        text.push_str(&format!("  tls:\n    certificate: {certificate}\n    key: {key}\n"));
    }
    if setup.password {
        let path = file("htpasswd", HTPASSWD);
        text.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}\n"));
    }
    file("config.yml", &text);
    folder.join("config.yml")
}

/// The process once it answers, or nothing if it ended by itself.
fn spawn(config: &Path, address: SocketAddr) -> Option<Child> {
    let program = std::env::var_os("WATTLE_REGISTRY").unwrap_or_else(|| "docker-registry".into());
    let mut process = Command::new(program)
        .arg("serve")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("docker-registry can't be run: {error}; run the tests with `cargo xtask test`, which brings it")
        });
    let deadline = Instant::now() + START;
    while !answers(address) {
        if process.try_wait().unwrap().is_some() {
            return None;
        }
        if Instant::now() > deadline {
            let _ = process.kill();
            let _ = process.wait();
            panic!("docker-registry did not answer at {address} within {START:?}");
        }
        // Only so as not to take a processor from the registry that is starting.
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(process)
}

/// Whether any HTTP answer comes; over TLS that is "this is HTTPS", which will do.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n")?;
        stream.read(&mut [0; 64])
    };
    ask().is_ok_and(|count| count > 0)
}

/// A store with a cache of its own.
pub(crate) struct Fixture {
    pub(crate) store: ArtifactStore,
    pub(crate) cache: TempDir,
}

impl Fixture {
    /// For a registry that speaks plain HTTP.
    pub(crate) fn plain(host: &str) -> Self {
        Self::with(&[(host, insecure())])
    }

    pub(crate) fn with(settings: &[(&str, RegistrySettings)]) -> Self {
        Self::adjusted(settings, |_| {})
    }

    pub(crate) fn adjusted(
        settings: &[(&str, RegistrySettings)],
        adjust: impl FnOnce(&mut StoreOptions),
    ) -> Self {
        // Err says that another test was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let map: BTreeMap<_, _> =
            settings.iter().map(|(host, value)| ((*host).to_owned(), value.clone())).collect();
        let cache = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(cache.path());
        options.registries = Registries::new(map).unwrap().with_docker_config(None);
        options.timeout = PATIENCE;
        adjust(&mut options);
        Self { store: ArtifactStore::new(options).unwrap(), cache }
    }

    /// The file that holds a layer.
    pub(crate) fn cached_layer(&self, digest: &str) -> PathBuf {
        self.cache.path().join("blobs").join(digest.replace(':', "-"))
    }
}

pub(crate) fn insecure() -> RegistrySettings {
    RegistrySettings { insecure: true, ..RegistrySettings::default() }
}

pub(crate) fn with_password(password: &str) -> RegistrySettings {
    let credentials = Credentials::Basic { username: USER.to_owned(), password: password.to_owned().into() };
    RegistrySettings { credentials: Some(credentials), ..insecure() }
}

pub(crate) fn oci(text: &str) -> OciReference {
    OciReference::parse(text).unwrap()
}

pub(crate) fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

pub(crate) async fn push(store: &ArtifactStore, to: &str, bytes: &'static [u8]) -> Pushed {
    let annotations = BTreeMap::new();
    let (bytes, details) = (Bytes::from_static(bytes), PushDetails::default());
    store.push_with(&oci(to), ArtifactKind::Component, bytes, annotations, &details).await.unwrap()
}
