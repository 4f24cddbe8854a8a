//! Free ports.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what Linux gives to outgoing connections (from 32768 on), so that a port stays free while its server is down.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port of the loopback interface that nobody listens on, and that no other caller in this program was given.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Test programs that run at the same time begin at different places.
    let next =
        NEXT.get_or_init(|| AtomicU16::new((RandomState::new().hash_one(0) % u64::from(COUNT)) as u16));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {FIRST} on is free");
}

/// [`free_port`] as an address.
pub fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, free_port()).into()
}
