//! Calls: from components and providers of this host to wherever their links lead, and from the lattice to what runs
//! here.
//!
//! A call is routed in one place ([`Router`]): the links give the target, and the target is called here if it runs here
//! and has a free permit, otherwise at the best peer. The target's answer takes the same way back, so neither side can
//! tell where the other one runs, except by speed.

mod convert;
mod counted;
mod failure;
mod http_wire;
mod imports;
mod incoming;
mod providers;
mod router;
mod spans;
mod spy;

pub(crate) use incoming::{Incoming, VALUE_ROOM};
pub(crate) use router::Router;
pub(crate) use spy::Spies;
