//! The two servers that the lattice stands on.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::children::Children;
use super::{START_LIMIT, http};

/// An address of this machine that nobody listens on right now.
pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot get a free port")?;
    Ok(listener.local_addr()?)
}

/// A nats-server with JetStream in a domain of its own name.
pub(super) fn start_nats(
    children: &mut Children,
    program: &Path,
    address: SocketAddr,
    domain: &str,
) -> Result<()> {
    let config =
        format!("listen: \"{address}\"\njetstream {{ store_dir: \"nats\", domain: \"{domain}\" }}\n");
    std::fs::write(children.folder().join("nats.conf"), config)?;
    children.start("nats", Command::new(program).args(["--config", "nats.conf"]))?;
    // The server speaks first: a line that begins with INFO.
    children.wait_until("nats-server answers", START_LIMIT, || {
        let mut greeting = [0; 4];
        TcpStream::connect(address).is_ok_and(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
                && stream.read_exact(&mut greeting).is_ok()
        }) && greeting == *b"INFO"
    })
}

/// An OCI registry that keeps its blobs in the demo's folder.
pub(super) fn start_registry(children: &mut Children, program: &Path, address: SocketAddr) -> Result<()> {
    let config = format!(
        "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: registry }} }}\n\
         http: {{ addr: \"{address}\" }}\n"
    );
    std::fs::write(children.folder().join("registry.yml"), config)?;
    children.start("registry", Command::new(program).args(["serve", "registry.yml"]))?;
    children.wait_until("the registry answers", START_LIMIT, || {
        http::get(address, "/v2/").is_ok_and(|answer| answer.status == 200)
    })
}
