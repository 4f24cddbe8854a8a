//! A local nats-server with JetStream: found, configured, supervised.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::child::{Nursery, stop};
use crate::failure::{not_found, timed_out};
use crate::folders;
use crate::settings::Variables;

const START_PATIENCE: Duration = Duration::from_secs(10);
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// A server that ran this long counts as well: its next end is answered at once.
const LONG_ENOUGH: Duration = Duration::from_secs(60);
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the server is to be.
#[derive(Clone, Debug)]
pub(crate) struct NatsServer {
    /// The nats-server program.
    pub(crate) program: PathBuf,
    /// Its port on the loopback interface.
    pub(crate) port: u16,
    /// The JetStream domain.
    pub(crate) domain: String,
    /// Where its configuration, its log and JetStream's data are.
    pub(crate) folder: PathBuf,
}

/// Finds nats-server: named by a flag or a variable, on the PATH, or where wattle's own set-up puts it.
///
/// # Errors
/// When it is not there, with the ways to get it.
pub(crate) fn find(flag: Option<PathBuf>, variables: &Variables) -> anyhow::Result<PathBuf> {
    if let Some(named) = flag.or_else(|| variables.path("WATTLE_NATS_SERVER")) {
        if named.is_file() {
            return Ok(named);
        }
        return Err(not_found(format!("there is no nats-server at {}", named.display())));
    }
    let path = variables.path("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(folders::cache(variables).ok().map(|cache| cache.join("tools/bin")));
    let found =
        folders.into_iter().map(|folder| folder.join("nats-server")).find(|program| program.is_file());
    found.ok_or_else(|| {
        not_found(
            "nats-server was not found on the PATH. Install it (https://nats.io/download, `brew install nats-server`, \
             `go install github.com/nats-io/nats-server/v2@latest`, your distribution's package `nats-server`), or say \
             where it is with --nats-server or WATTLE_NATS_SERVER",
        )
    })
}

/// A server that is started anew whenever it ends, until it is told to stop.
#[derive(Debug)]
pub(crate) struct Supervised {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Supervised {
    /// Starts the server and waits until it can be connected to.
    ///
    /// # Errors
    /// When its port is in use, or it can't be run or does not come up.
    pub(crate) async fn start(server: NatsServer, nursery: Nursery) -> anyhow::Result<Self> {
        server.check_port()?;
        server.write_config()?;
        let mut child = server.spawn(&nursery).await?;
        server.wait_until_up(&mut child).await?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(supervise(server, nursery, child, stopped));
        Ok(Self { stop, task })
    }

    /// Ends the server and waits for its end.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the supervision of nats-server failed");
        }
    }
}

async fn supervise(
    server: NatsServer,
    nursery: Nursery,
    mut child: Child,
    mut stopped: watch::Receiver<bool>,
) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let started = Instant::now();
        tokio::select! {
            _ = stopped.changed() => return stop(&mut child, STOP_PATIENCE).await,
            status = child.wait() => match status {
                Ok(status) => tracing::warn!("nats-server ended ({status}): starting it again; see {}", server.log().display()),
                Err(error) => tracing::warn!(%error, "nats-server is lost: starting another"),
            },
        }
        pause = if started.elapsed() > LONG_ENOUGH { SHORTEST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        loop {
            tokio::select! {
                _ = stopped.changed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            match server.spawn(&nursery).await {
                Ok(next) => {
                    child = next;
                    break;
                }
                Err(error) => {
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    tracing::warn!(
                        "nats-server could not be started again: {error:#}; trying again in {pause:?}"
                    );
                }
            }
        }
    }
}

impl NatsServer {
    /// The file that the server logs to.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("nats-server.log")
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    fn config(&self) -> PathBuf {
        self.folder.join("nats-server.conf")
    }

    fn check_port(&self) -> anyhow::Result<()> {
        match TcpListener::bind(self.address()) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => bail!(
                "port {port} is in use, perhaps by another `wattle up` or a nats-server: stop that one, or choose \
                 another with --nats-port (a host joins a server that runs already with `wattle host --nats-url \
                 nats://127.0.0.1:{port}`)",
                port = self.port
            ),
            Err(error) => Err(error).with_context(|| format!("port {} cannot be used", self.port)),
        }
    }

    fn write_config(&self) -> anyhow::Result<()> {
        let data = self.folder.join("jetstream");
        std::fs::create_dir_all(&data)
            .with_context(|| format!("cannot make the folder {}", data.display()))?;
        let config = serde_json::json!({
            "server_name": "wattle-up",
            "host": "127.0.0.1",
            "port": self.port,
            "jetstream": { "store_dir": data, "domain": self.domain },
        });
        let path = self.config();
        // A server's configuration may be JSON.
        std::fs::write(&path, format!("{config:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    async fn spawn(&self, nursery: &Nursery) -> anyhow::Result<Child> {
        let arguments = [OsString::from("--config"), self.config().into()];
        nursery.spawn(&self.program, &arguments, &self.log()).await
    }

    async fn wait_until_up(&self, child: &mut Child) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + START_PATIENCE;
        loop {
            tokio::select! {
                status = child.wait() => {
                    let status = status.context("nats-server is lost")?;
                    bail!("nats-server ended ({status}) instead of starting; its log {} ends with:\n{}",
                        self.log().display(), last_lines(&self.log(), 5));
                }
                connected = TcpStream::connect(self.address()) => if connected.is_ok() {
                    return Ok(());
                },
            }
            if tokio::time::Instant::now() > deadline {
                return Err(timed_out(format!(
                    "nats-server did not listen on port {} within {START_PATIENCE:?}; see {}",
                    self.port,
                    self.log().display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn last_lines(file: &Path, count: usize) -> String {
    let text =
        std::fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Exit, exit_of};

    fn server(folder: &Path, port: u16) -> NatsServer {
        NatsServer { program: "/bin/false".into(), port, domain: "core".into(), folder: folder.to_owned() }
    }

    #[test]
    fn a_named_program_wins_and_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("nats-server");
        std::fs::write(&program, "").unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(find(None, &Variables::of(&[("PATH", path)])).unwrap(), program);
        let missing = find(Some("/no/nats-server".into()), &Variables::of(&[("PATH", path)])).unwrap_err();
        assert_eq!(exit_of(&missing), Exit::NotFound);
        let explained = find(None, &Variables::of(&[("PATH", "/no")])).unwrap_err().to_string();
        assert!(explained.contains("https://nats.io/download"), "{explained}");
    }

    #[test]
    fn the_configuration_quotes_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a \"folder\"");
        server(&odd, 4222).write_config().unwrap();
        let text = std::fs::read_to_string(odd.join("nats-server.conf")).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["jetstream"]["domain"], "core");
        assert_eq!(config["jetstream"]["store_dir"], odd.join("jetstream").to_str().unwrap());
    }

    #[test]
    fn a_port_in_use_is_explained() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let error = server(folder.path(), port).check_port().unwrap_err();
        assert!(error.to_string().contains("another `wattle up`"), "{error}");
        assert_eq!(exit_of(&error), Exit::Failed);
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, "1\n2\n3\n").unwrap();
        assert_eq!(last_lines(&log, 2), "2\n3");
        assert_eq!(last_lines(&log, 9), "1\n2\n3");
        assert_eq!(last_lines(&folder.path().join("none"), 2), "");
    }
}
