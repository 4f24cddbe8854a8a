//! A machine of its own on this machine: a network namespace at the end of a cable that can be pulled.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::process::command;

/// A network namespace, joined with this machine by a pair of virtual interfaces; removed on drop.
#[derive(Debug)]
pub struct Machine {
    place: Place,
    cable: String,
}

/// Where a host runs that runs on a [`Machine`].
#[derive(Clone, Debug)]
pub(crate) struct Place {
    namespace: String,
    /// The machine's own address.
    pub(crate) address: IpAddr,
    /// This machine's address, as seen from there.
    pub(crate) gateway: IpAddr,
}

impl Machine {
    /// Makes one.
    ///
    /// # Errors
    /// With the reason, where one may not or can't: it takes root and `ip`.
    pub fn new() -> Result<Self, String> {
        static MACHINES: AtomicU16 = AtomicU16::new(0);
        let (process, number) = (std::process::id(), MACHINES.fetch_add(1, Ordering::Relaxed));
        let namespace = format!("wattle-{process}-{number}");
        let (cable, plug) = (format!("wt{process}-{number}a"), format!("wt{process}-{number}b"));
        let [.., high, low] = process.to_be_bytes();
        let net = |host: u8| IpAddr::V4(Ipv4Addr::new(10, 128 | high, low, number as u8 * 4 + host));
        let machine = Self {
            place: Place { namespace: namespace.clone(), address: net(2), gateway: net(1) },
            cable: cable.clone(),
        };
        let (here, there) = (format!("{}/30", net(1)), format!("{}/30", net(2)));
        ip(&["netns", "add", &namespace])?;
        ip(&["link", "add", &cable, "type", "veth", "peer", "name", &plug])?;
        ip(&["link", "set", &plug, "netns", &namespace])?;
        ip(&["addr", "add", &here, "dev", &cable])?;
        ip(&["link", "set", &cable, "up"])?;
        ip(&["-n", &namespace, "addr", "add", &there, "dev", &plug])?;
        ip(&["-n", &namespace, "link", "set", &plug, "up"])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        Ok(machine)
    }

    /// Pulls the cable: nothing reaches the machine or comes from it any more, and nobody is told.
    ///
    /// # Panics
    /// When that fails.
    pub fn cut_off(&self) {
        ip(&["link", "set", &self.cable, "down"]).unwrap();
    }

    pub(crate) fn place(&self) -> Place {
        self.place.clone()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The other end goes with it. What was not made yet can't be removed.
        let _ = ip(&["link", "del", &self.cable]);
        let _ = ip(&["netns", "del", &self.place.namespace]);
    }
}

impl Place {
    /// A command that runs a program there, in the same process.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = command(&ip_program());
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let line = format!("ip {}", arguments.join(" "));
    let output = Command::new(ip_program()).args(arguments).output();
    let output = output.map_err(|error| format!("`{line}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{line}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// `ip` is where users other than root don't look.
fn ip_program() -> PathBuf {
    let usual = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].map(PathBuf::from);
    usual.into_iter().find(|file| file.is_file()).unwrap_or_else(|| PathBuf::from("ip"))
}
