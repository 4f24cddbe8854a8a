//! A component as something you can call: compile, cache, link imports, instantiate, limit.
//!
//! A [`Runtime`] owns the engine. [`Runtime::load`] turns bytes into a [`Compiled`] component, once per digest however
//! many ask and from disk where it was compiled before. [`Compiled::serve`] adds an identity and limits and gives a
//! [`Served`] component, which answers calls within its memory, its time and its number of concurrent calls. What goes
//! wrong inside costs that call a [`CallError`], never the host. What a component imports and WASI doesn't give leads
//! to the [`Imports`] that it is served with, as [`Values`] of a [`FunctionType`] or as an HTTP request.
//!
//! **Invariant**: this crate knows nothing of NATS, links or registries, and a component gets nothing from the machine
//! that it was not given here: no files, no environment, no sockets; HTTP requests go to its imports and nowhere else.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use wattle_runtime::{LoadError, Runtime, RuntimeOptions};
//!
//! let runtime = Runtime::new(RuntimeOptions::default())?;
//! let refused = runtime.load(b"\0asm\x01\0\0\0".as_slice().into(), "sha256:93a44bbb").await;
//! assert!(matches!(refused, Err(LoadError::CoreModule)));
//! # Ok::<(), wattle_runtime::RuntimeError>(())
//! # }).unwrap();
//! ```

mod bus;
mod cache;
mod call;
mod compiled;
mod context;
mod engine;
mod error;
mod exports;
mod http;
mod idle;
mod imports;
mod instance;
mod invoke;
mod lane;
mod link;
mod names;
mod outgoing;
mod output;
mod outward;
mod permits;
mod reserve;
mod served;
mod state;
mod values;

pub use call::Body;
pub use compiled::{Compiled, HttpGeneration, check_component};
pub use context::{CallContext, MAX_DEPTH, TraceContext};
pub use engine::{Runtime, RuntimeOptions};
pub use error::{CallError, LoadError, RuntimeError};
pub use imports::{BodyError, Caller, HttpBody, ImportCall, ImportError, Imports};
pub use reserve::Reserved;
pub use served::{ComponentLimits, ServeOptions, Served};
pub use values::{ByteStream, CodecError, FunctionType, StreamBroken, Values};
