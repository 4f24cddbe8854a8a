//! An OCI registry.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::process::{Process, command};
use crate::{DEADLINE, eventually, free_address, http, program};

/// The user of a registry that asks who one is.
pub const USER: &str = "ada";
/// The password of [`USER`].
pub const PASSWORD: &str = "open sesame";
/// Both, with bcrypt.
const HTPASSWD: &str = "ada:$2y$05$/kP.qay0FkanJ6h.xWO3Ruuoewf4/0Wll7HPAXfybdwDppfPSmJBy\n";

/// A docker-registry that speaks plain HTTP, on a port and with a storage folder of its own; ended on drop.
#[derive(Debug)]
pub struct Registry {
    // First, so that it has ended when its folder is removed.
    process: Option<Process>,
    folder: TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) login: bool,
}

impl Registry {
    /// Starts a registry that lets everybody in, and waits until it answers.
    pub async fn start() -> Self {
        Self::set_up(false).await
    }

    /// Starts a registry that wants [`USER`] and [`PASSWORD`], and waits until it answers.
    pub async fn start_with_login() -> Self {
        Self::set_up(true).await
    }

    async fn set_up(login: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("wattle-registry-").tempdir().unwrap();
        let mut registry = Self { folder, address: free_address(), login, process: None };
        registry.start_again().await;
        registry
    }

    /// `127.0.0.1:PORT`, with which references begin.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A reference to something in it.
    pub fn reference(&self, name_and_tag: &str) -> String {
        format!("{}/{name_and_tag}", self.address)
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it where it was, with what it stored.
    pub async fn start_again(&mut self) {
        assert!(self.process.is_none(), "the registry runs already");
        let folder = self.folder.path();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {}\n",
            folder.join("storage").display(),
            self.address
        );
        if self.login {
            let file = folder.join("htpasswd");
            std::fs::write(&file, HTPASSWD).unwrap();
            config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display());
        }
        let file = folder.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut command = command(&program("docker-registry"));
        command.arg("serve").arg(&file).current_dir(folder);
        self.process = Some(Process::start("docker-registry", command, &folder.join("registry.log")));
        let url = format!("http://{}/v2/", self.address);
        eventually("the registry to answer", DEADLINE, || async { http(&url).await.ok() }).await;
    }

    /// Where it keeps the bytes with this digest (`sha256:…`): who writes there, breaks them.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = self.folder.path().join("storage/docker/registry/v2/blobs/sha256");
        let file = blobs.join(&hex[..2]).join(hex).join("data");
        assert!(file.is_file(), "the registry has no {digest}");
        file
    }
}
