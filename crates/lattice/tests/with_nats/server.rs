//! A NATS server for one test. It ends with the test, also when that panics.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wattle_lattice::{ConnectOptions, Connection, connect};

/// Every wait in these tests ends by then.
pub(crate) const SOON: Duration = Duration::from_secs(60);

fn binary() -> PathBuf {
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file())
    });
    let named = || std::env::var_os("WATTLE_NATS_SERVER").map(PathBuf::from);
    let cached = || {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        Some(home.join(".cache/wattle/tools/bin/nats-server")).filter(|file| file.is_file())
    };
    on_path
        .or_else(named)
        .or_else(cached)
        .expect("no nats-server on PATH, in WATTLE_NATS_SERVER or in the cache folder")
}

pub(crate) struct Server {
    process: Child,
    config: String,
    folder: TempDir,
    pub(crate) port: u16,
}

impl Server {
    /// With JetStream in the account that everybody gets.
    pub(crate) fn with_jetstream() -> Self {
        Self::start("jetstream { store_dir: STORE }")
    }

    /// With this configuration, in which `STORE` stands for a folder of the server's own.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_on(config, None)
    }

    pub(crate) fn start_on(config: &str, port: Option<u16>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (process, port) = launch(config, folder.path(), port);
        Self { process, config: config.to_owned(), folder, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// Starts again on the same port, with what is stored.
    pub(crate) fn start_again(&mut self) {
        (self.process, self.port) = launch(&self.config, self.folder.path(), Some(self.port));
    }

    /// Loses everything that is stored; only while stopped.
    pub(crate) fn wipe(&mut self) {
        std::fs::remove_dir_all(self.folder.path().join("store")).unwrap();
    }

    pub(crate) async fn connect(&self) -> Connection {
        connect(&ConnectOptions::new([self.url()])).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(config: &str, folder: &Path, port: Option<u16>) -> (Child, u16) {
    let store = folder.join("store");
    let file = folder.join("nats.conf");
    std::fs::write(&file, config.replace("STORE", &format!("{:?}", store.display().to_string()))).unwrap();
    let mut process = Command::new(binary())
        .arg("--config")
        .arg(&file)
        .args(["--addr", "127.0.0.1", "--port"])
        .arg(port.map_or_else(|| "-1".to_owned(), |port| port.to_string()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (lines, log) = mpsc::channel();
    let stderr = BufReader::new(process.stderr.take().unwrap());
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line))));
    let deadline = Instant::now() + SOON;
    let (mut client_port, mut told) = (None, Vec::new());
    loop {
        let Ok(line) = log.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
            let _ = process.kill();
            let _ = process.wait();
            panic!("nats-server did not get ready; it said:\n{}", told.join("\n"));
        };
        client_port = client_port.or_else(|| port_after(&line, "Listening for client connections on "));
        if line.ends_with("Server is ready") {
            return (process, client_port.expect("the server names its port"));
        }
        told.push(line);
    }
}

fn port_after(line: &str, words: &str) -> Option<u16> {
    line.split_once(words)?.1.rsplit_once(':')?.1.trim().parse().ok()
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Waits with a deadline; `what` says what for.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {SOON:?} for: {what}"),
    }
}
