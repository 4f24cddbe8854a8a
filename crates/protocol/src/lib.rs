//! What goes over the wire of a lattice: subjects, control commands and their replies, links, inventory, stored
//! state and events, in the layout of wasmCloud's control interface version 1.
//!
//! **Invariant**: plain serde types without I/O, and the only place where a subject, bucket or key is spelled.
//! Fields that are new in wattle are optional and left out when empty, so that readers of version 1 ignore them.
//!
//! ```
//! use wattle_protocol::{control::ScaleComponent, subject::{ControlVerb, Subjects}};
//!
//! let host = "NDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LQHOST";
//! let subjects = Subjects::new("default")?;
//! let subject = subjects.component_scale(host);
//! assert_eq!(subject, format!("wasmbus.ctl.v1.default.component.scale.{host}"));
//! assert_eq!(subjects.parse_control(&subject, host), Some(ControlVerb::ComponentScale));
//!
//! let stop: ScaleComponent = serde_json::from_str(r#"{"component_id": "echo"}"#).unwrap();
//! assert_eq!(stop.count, 0);
//! # Ok::<(), wattle_protocol::Error>(())
//! ```

pub mod control;
pub mod event;
pub mod inventory;
pub mod link;
pub mod name;
pub mod rpc;
pub mod state;
pub mod subject;

mod lenient;

pub use link::LinkConflict;

/// Why something can't go over the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name is empty, too long or has a character that its subject, key or header can't carry.
    #[error("invalid {field} `{value}`: {reason}")]
    InvalidName {
        /// What was named, in words (`component id`) or as the field of a message (`wit_namespace`).
        field: &'static str,
        /// The name that was refused.
        value: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A link can't be put because another one already claims its source, name and an interface of its own.
    #[error(transparent)]
    LinkConflict(#[from] LinkConflict),
    /// A packet of discovery can't be read, or can't be made of what it should hold.
    #[error("malformed {packet}: {field} {problem}")]
    MalformedPacket {
        /// Which kind of packet.
        packet: &'static str,
        /// The part of it.
        field: &'static str,
        /// What is wrong with that.
        problem: &'static str,
    },
}
