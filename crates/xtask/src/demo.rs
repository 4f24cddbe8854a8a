//! `cargo xtask demo`: a component answers an HTTP request over a lattice, all of it on this machine, each command shown
//! as one would type it.

mod children;
mod http;
mod servers;

use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::children::Children;
use crate::layout::Layout;
use crate::lease::Lease;
use crate::process::{self, shown, step};
use crate::setup::Tools;
use crate::{guests, setup};

const COMPONENT: &str = "http-hello";
const GREETING: &str = "Hello from Wattle!\n";
const LATTICE: &str = "demo";
const DOMAIN: &str = "core";

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long the page may take from the moment everything was told to start.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// When the demo ends by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    Answered,
    Interrupted,
}

/// Everything from setting the machine up to the answer. Nothing that it started is left when it returns.
pub(crate) fn run(layout: &Layout, until: Until) -> Result<()> {
    let tools = step("setup", || setup::everything(layout))?;
    let _lease = Lease::take(layout, &layout.root.join("Cargo.toml"), &layout.target)?;
    // With the features of the whole workspace, so that the tests find the same things compiled.
    step("build", || process::run(layout.cargo().args(["build", "--workspace", "--bin", "wattle"])))?;
    step("guests", || guests::build_all(layout, &tools.guests))?;

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let folder = tempfile::Builder::new().prefix("wattle-demo-").tempdir()?;
    let mut demo = Demo {
        layout,
        folder: folder.path(),
        nats: servers::free_address()?,
        registry: servers::free_address()?,
        page: servers::free_address()?,
        children: Children::new(folder.path(), Arc::clone(&interrupted)),
    };
    match demo.show(&tools, until) {
        Err(_) if interrupted.load(Ordering::Relaxed) => bail!("interrupted before the answer"),
        Err(error) => {
            demo.children.show_logs();
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

struct Demo<'a> {
    layout: &'a Layout,
    /// Where the commands run: their files and logs are here, and gone afterwards.
    folder: &'a Path,
    nats: SocketAddr,
    registry: SocketAddr,
    page: SocketAddr,
    children: Children,
}

impl Demo<'_> {
    fn show(&mut self, tools: &Tools, until: Until) -> Result<()> {
        step("servers", || {
            println!("    $ cd {}", self.folder.display());
            servers::start_nats(&mut self.children, &tools.nats_server, self.nats, DOMAIN)?;
            servers::start_registry(&mut self.children, &tools.registry, self.registry)
        })?;
        step("host", || self.start_host())?;
        step("component", || self.start_component())?;
        step("link", || self.link_to_http())?;
        step("answer", || self.request())?;
        self.wattle(&["get", "inventory"])?;
        if until == Until::Answered {
            return Ok(());
        }
        println!("\nThe component answers at http://{}/ until ctrl-c.", self.page);
        self.children.watch_until_interrupted()
    }

    fn start_host(&mut self) -> Result<()> {
        println!("    $ export PATH=$PATH:{}", self.layout.target.join("debug").display());
        println!(
            "    $ export WATTLE_NATS_URL={} WATTLE_LATTICE={LATTICE} WATTLE_KEYS=$PWD/keys",
            self.nats_url()
        );
        let issuer = self.make_issuer()?;
        let mut host = self.command(&["host", "--nats-url", &self.nats_url(), "--lattice", LATTICE]);
        host.args(["--js-domain", DOMAIN, "--data-dir", "host"]);
        host.args(["--allow-insecure", &self.registry.to_string(), "--trusted-issuer", &issuer]);
        self.children.start("host", &host)?;
        let mut hosts = self.command(&["get", "hosts", "-o", "json"]);
        println!("    $ {}", shown(&hosts));
        hosts.stdin(Stdio::null()).stderr(Stdio::null());
        self.children.wait_until("the host is on the lattice", START_LIMIT, || {
            hosts.output().is_ok_and(|output| output.status.success() && names_a_host(&output.stdout))
        })
    }

    /// Makes the account key that signs the component, and gives its public half.
    fn make_issuer(&self) -> Result<String> {
        let mut command = self.command(&["keys", "gen", "account", "-o", "json"]);
        println!("    $ {} # its seed goes into account.nk", shown(&command));
        let printed = process::read(&mut command)?;
        let key: Value = serde_json::from_str(&printed).context("`wattle keys gen` printed no JSON")?;
        let field =
            |name: &str| key[name].as_str().with_context(|| format!("`wattle keys gen` printed no `{name}`"));
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(self.folder.join("account.nk"))?;
        std::io::Write::write_all(&mut file, field("seed")?.as_bytes())?;
        Ok(field("public_key")?.to_owned())
    }

    fn start_component(&self) -> Result<()> {
        let built = self.layout.guests().join(format!("{COMPONENT}.wasm"));
        std::fs::copy(&built, self.folder.join("http-hello.wasm"))
            .with_context(|| format!("cannot copy {}", built.display()))?;
        let reference = format!("{}/{COMPONENT}:0.1.0", self.registry);
        let (unsigned, signed) = ("http-hello.wasm", "http-hello.signed.wasm");
        self.wattle(&[
            "claims",
            "sign",
            unsigned,
            "--name",
            COMPONENT,
            "--destination",
            signed,
            "--issuer",
            "account.nk",
        ])?;
        self.wattle(&["push", &reference, signed, "--insecure"])?;
        self.wattle(&["start", "component", &reference, "hello"])
    }

    fn link_to_http(&self) -> Result<()> {
        self.wattle(&["config", "put", "http-addr", &format!("address={}", self.page)])?;
        self.wattle(&["start", "provider", "builtin://http-server", "http-server"])?;
        self.wattle(&[
            "link",
            "put",
            "http-server",
            "hello",
            "wasi",
            "http",
            "--interface",
            "incoming-handler",
            "--source-config",
            "http-addr",
        ])
    }

    fn request(&mut self) -> Result<()> {
        println!("    $ curl http://{}/", self.page);
        let page = self.page;
        let mut last = Err(anyhow::anyhow!("nothing was asked"));
        let waited = self.children.wait_until("the page is served", ANSWER_LIMIT, || {
            last = http::get(page, "/");
            last.as_ref().is_ok_and(|answer| answer.status == 200)
        });
        let answer = match (waited, last) {
            (Err(error), Ok(answer)) => {
                return Err(error.context(format!("the last answer was {}: {}", answer.status, answer.body)));
            }
            (Err(error), Err(last)) => {
                return Err(error.context(format!("the last request failed: {last:#}")));
            }
            (Ok(()), last) => last?,
        };
        print!("{}", answer.body);
        if answer.body != GREETING {
            bail!("the answer is not the one of `examples/{COMPONENT}`, which is {GREETING:?}");
        }
        Ok(())
    }

    fn nats_url(&self) -> String {
        format!("nats://{}", self.nats)
    }

    /// Shows a `wattle` command and runs it to its end.
    fn wattle(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(arguments);
        println!("    $ {}", shown(&command));
        process::run(&mut command)
    }

    /// A `wattle` command on the demo's lattice, whatever the user's own environment says of another.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.layout.wattle());
        for (name, _) in std::env::vars_os() {
            let own = |prefix: &str| name.to_string_lossy().starts_with(prefix);
            if own("WATTLE_") || own("WASMCLOUD_") || own("HOST_") {
                command.env_remove(&name);
            }
        }
        command.env("WATTLE_NATS_URL", self.nats_url()).env("WATTLE_LATTICE", LATTICE);
        // The user's own keys are neither used nor added to.
        command.env("WATTLE_KEYS", self.folder.join("keys"));
        command.args(arguments).current_dir(self.folder);
        command
    }
}

/// Whether the JSON of `wattle get hosts` has at least one host.
fn names_a_host(printed: &[u8]) -> bool {
    let hosts: Value = serde_json::from_slice(printed).unwrap_or_default();
    hosts.as_array().or_else(|| hosts["hosts"].as_array()).is_some_and(|hosts| !hosts.is_empty())
}
