//! An OCI registry behind TLS, whose certificate nobody knows who was not told.

use std::net::SocketAddr;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::process::{Process, command};
use crate::{DEADLINE, eventually, free_address, program};

/// A docker-registry with a certificate of an authority of its own; ended on drop.
#[derive(Debug)]
pub struct TlsRegistry {
    // First, so that it has ended when its folder is removed.
    _process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl TlsRegistry {
    /// Starts a registry that lets everybody in, and waits until it listens.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("wattle-registry-").tempdir().unwrap();
        let address = free_address();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let (authority_key, server_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        write("ca.pem", &authority.self_signed(&authority_key).unwrap().pem());
        let issuer = Issuer::from_params(&authority, &authority_key);
        let server = CertificateParams::new([address.ip().to_string()]).unwrap();
        write("cert.pem", &server.signed_by(&server_key, &issuer).unwrap().pem());
        write("key.pem", &server_key.serialize_pem());
        let path = folder.path().display();
        write(
            "config.yml",
            &format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {path}/storage\n\
                 http:\n  addr: {address}\n  tls:\n    certificate: {path}/cert.pem\n    key: {path}/key.pem\n"
            ),
        );
        let mut command = command(&program("docker-registry"));
        command.arg("serve").arg(folder.path().join("config.yml")).current_dir(folder.path());
        let process = Process::start("docker-registry", command, &folder.path().join("registry.log"));
        let listens = || async { tokio::net::TcpStream::connect(address).await.ok().map(drop) };
        eventually("the registry to listen", DEADLINE, listens).await;
        Self { _process: process, folder, address }
    }

    /// `127.0.0.1:PORT`, with which references begin.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A reference to something in it.
    pub fn reference(&self, name_and_tag: &str) -> String {
        format!("{}/{name_and_tag}", self.address)
    }

    /// The certificate of its authority, a PEM file.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}
