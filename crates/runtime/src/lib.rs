//! A component as something you can call: compile, cache, link imports, instantiate, limit.
//!
//! A [`Runtime`] owns the engine. [`Runtime::load`] turns bytes into a [`Compiled`] component, once per digest however
//! many ask and from disk where it was compiled before. [`Compiled::serve`] adds an identity and limits and gives a
//! [`Served`] component, which answers calls: each in an instance of its own, within its memory, its time and its
//! number of concurrent calls. What goes wrong inside costs that call a [`CallError`], never the host.
//!
//! **Invariant**: this crate knows nothing of NATS, links or registries, and a component gets nothing from the machine
//! that it was not given here: no files, no environment, no sockets, no outgoing HTTP.
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

mod cache;
mod call;
mod compiled;
mod engine;
mod error;
mod http;
mod lane;
mod output;
mod permits;
mod served;
mod state;

pub use call::Body;
pub use compiled::{Compiled, HttpGeneration, check_component};
pub use engine::{Runtime, RuntimeOptions};
pub use error::{CallError, LoadError, RuntimeError};
pub use served::{ComponentLimits, Reserved, ServeOptions, Served};
