//! Reaches for what a component does not get unless it was given it, and says what came of it: one line per attempt,
//! `WHAT: denied (REASON)` or `WHAT: granted (WHAT IT GOT)`.

use std::fmt::Debug;
use std::net::SocketAddrV4;

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::{Network, resolve_addresses};
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

pub(crate) fn environment() -> String {
    let variables = wasip2::cli::environment::get_environment();
    let arguments = wasip2::cli::environment::get_arguments();
    line("variables", non_empty(variables)) + &line("arguments", non_empty(arguments))
}

pub(crate) fn files() -> String {
    line("preopened folders", non_empty(wasip2::filesystem::preopens::get_directories()).map(|all| all.len()))
        + &line("read /etc/hostname", std::fs::read_to_string("/etc/hostname"))
        + &line("list /", std::fs::read_dir("/").map(Iterator::count))
        + &line("write /tmp/misbehave", std::fs::write("/tmp/misbehave", "x"))
}

pub(crate) fn sockets(address: &str) -> String {
    let network = instance_network();
    line(&format!("connect {address}"), connect(&network, address).map_err(|reason| reason.name()))
        + &line("resolve localhost", resolve(&network).map_err(|reason| reason.name()))
}

fn connect(network: &Network, address: &str) -> Result<(), ErrorCode> {
    let address: SocketAddrV4 = address.parse().map_err(|_| ErrorCode::InvalidArgument)?;
    let [a, b, c, d] = address.ip().octets();
    let remote = Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) };
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(network, IpSocketAddress::Ipv4(remote))?;
    socket.subscribe().block();
    socket.finish_connect().map(drop)
}

fn resolve(network: &Network) -> Result<String, ErrorCode> {
    let addresses = resolve_addresses(network, "localhost")?;
    addresses.subscribe().block();
    addresses.resolve_next_address().map(|first| format!("{first:?}"))
}

fn non_empty<T>(list: Vec<T>) -> Result<Vec<T>, &'static str> {
    if list.is_empty() { Err("empty") } else { Ok(list) }
}

fn line<T: Debug, E: Debug>(what: &str, outcome: Result<T, E>) -> String {
    match outcome {
        Ok(got) => format!("{what}: granted ({got:?})\n"),
        Err(reason) => format!("{what}: denied ({reason:?})\n"),
    }
}
