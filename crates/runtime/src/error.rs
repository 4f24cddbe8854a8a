//! What can go wrong: with the engine, with bytes that should be a component, and with a call.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The engine could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine refuses its settings or this processor.
    #[error("the WebAssembly engine can't start on this machine: {0:#}")]
    Engine(wasmtime::Error),
    /// The folder for compiled code can't be made or isn't private to this user.
    #[error("the folder for compiled code {path} can't be used: {reason}")]
    CacheFolder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The thread that interrupts busy components could not be started.
    #[error("the thread that interrupts busy components can't be started: {0}")]
    Ticker(std::io::Error),
}

/// Bytes were refused as a component. Cheap to clone: all who asked for one digest share one answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are neither a component nor a core module.
    #[error("not a WebAssembly component: it doesn't begin with the WebAssembly preamble ({found})")]
    NotWasm {
        /// What the bytes look like.
        found: String,
    },
    /// The bytes are a core module, which has no interfaces to call.
    #[error(
        "this is a core module, not a component; make it one with: \
         wasm-tools component new MODULE.wasm --adapt wasi_snapshot_preview1.reactor.wasm -o COMPONENT.wasm"
    )]
    CoreModule,
    /// The component is damaged, truncated, or uses features that this engine doesn't have.
    #[error("the component can't be compiled: {0}")]
    Invalid(String),
    /// The component imports something that nothing on this host provides.
    #[error("the component imports what nothing on this host provides: {0}")]
    Imports(String),
    /// The component imports a function whose values can't leave the component that makes them.
    #[error("the component imports what can't be called over a link: {0}")]
    CannotCross(String),
    /// The compiler's thread ended without an answer.
    #[error("compiling was interrupted: {0}")]
    Interrupted(String),
}

/// A call to a component failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// All concurrent calls are taken and the queue is full.
    #[error("component {id} is busy: {reason}")]
    Busy {
        /// The component's id.
        id: Arc<str>,
        /// Which bound was reached.
        reason: String,
    },
    /// The component is being stopped or replaced and takes no more calls.
    #[error("component {id} is being stopped")]
    Stopping {
        /// The component's id.
        id: Arc<str>,
    },
    /// The component does not export the interface or function that was called, or not with these types.
    #[error("component {id} doesn't export {interface}")]
    NotExported {
        /// The component's id.
        id: Arc<str>,
        /// The interface or function asked for.
        interface: String,
    },
    /// A value of the caller's can't be read, or the result can't be shown.
    #[error("component {id} can't be called so: {reason}")]
    BadValue {
        /// The component's id.
        id: Arc<str>,
        /// What is wrong, and where.
        reason: String,
    },
    /// Too many calls caused one another in a chain.
    #[error(
        "component {id} is not called: {depth} calls have caused one another already, which looks endless"
    )]
    TooDeep {
        /// The component's id.
        id: Arc<str>,
        /// How many calls caused this one.
        depth: u8,
    },
    /// The call did not end within the time it is allowed.
    #[error("component {id} did not answer within {}", seconds(.after))]
    Timeout {
        /// The component's id.
        id: Arc<str>,
        /// The time it was allowed.
        after: Duration,
    },
    /// The component asked for more memory than it may have, and then failed.
    #[error("component {id} ran out of memory: it may use {limit} bytes")]
    OutOfMemory {
        /// The component's id.
        id: Arc<str>,
        /// Its memory limit, in bytes.
        limit: u64,
    },
    /// The component failed.
    #[error("component {id} failed: {reason}")]
    Trapped {
        /// The component's id.
        id: Arc<str>,
        /// The engine's word for it.
        reason: String,
    },
}

fn seconds(duration: &Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}
