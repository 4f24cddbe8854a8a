//! What the tests share: guests, limits, and links between components of one process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::time::Instant;
use wattle_runtime::{
    BodyError, CallContext, CallError, Caller, ComponentLimits, HttpBody, ImportCall, ImportError, Imports,
    Runtime, RuntimeOptions, ServeOptions, Served, Values,
};

/// Far longer than anything here takes, so that a test which hangs fails instead.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn guest(name: &str) -> Bytes {
    let folder = std::env::var_os("WATTLE_GUESTS").map(PathBuf::from).unwrap_or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        target.unwrap_or_else(|| cache.join("wattle/target")).join("guests")
    });
    let path = folder.join(format!("{name}.wasm"));
    let bytes = std::fs::read(&path);
    bytes.unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask guests`", path.display())).into()
}

pub(crate) fn limits() -> ComponentLimits {
    ComponentLimits {
        max_memory_bytes: 64 << 20,
        max_execution_time: DEADLINE,
        max_concurrent_calls: 4,
        max_queued_calls: 4,
        max_instance_reuse: 1,
    }
}

pub(crate) fn runtime() -> Runtime {
    Runtime::new(RuntimeOptions { max_instances: 50, ..RuntimeOptions::default() }).unwrap()
}

/// A call from outside, with all the time that it needs.
pub(crate) fn context() -> CallContext {
    CallContext::outermost(Instant::now() + DEADLINE)
}

/// Waits for something that has to happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// Waits until no call has an instance any more.
pub(crate) async fn assert_all_ended(served: &Served) {
    soon("all instances' end", async {
        while served.active_calls() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Leads imports to components of this process, as a host does: by link name and by interface without its version.
#[derive(Default)]
pub(crate) struct Links {
    links: Mutex<HashMap<(String, String), Served>>,
    /// Who called, in order.
    pub(crate) callers: Mutex<Vec<Caller>>,
}

impl Links {
    pub(crate) fn put(&self, name: &str, interface: &str, target: &Served) {
        self.links.lock().unwrap().insert((name.to_owned(), interface.to_owned()), target.clone());
    }

    fn target(&self, caller: &Caller, interface: &str) -> Result<Served, ImportError> {
        self.callers.lock().unwrap().push(caller.clone());
        let links = self.links.lock().unwrap();
        links.get(&(caller.link_name.to_string(), interface.to_owned())).cloned().ok_or_else(|| {
            ImportError::no_link(format!(
                "no link named {} of component {} for {interface}",
                caller.link_name, caller.component
            ))
        })
    }
}

fn import_error(error: CallError) -> ImportError {
    match error {
        CallError::Busy { .. } => ImportError::busy(error.to_string()),
        CallError::Timeout { .. } => ImportError::timeout(error.to_string()),
        error => ImportError::failed(error.to_string()),
    }
}

impl Imports for Links {
    fn call(&self, call: ImportCall) -> BoxFuture<'static, Result<Values, ImportError>> {
        let ImportCall { caller, function, parameters } = call;
        let interface = function.interface().split('@').next().unwrap();
        let target = self.target(&caller, interface);
        async move {
            let place = target?.reserve(&caller.context.nested()).await.map_err(import_error)?;
            let exported = place.compiled().exported_function(function.interface(), function.name());
            let exported = exported.ok_or_else(|| ImportError::refused("there is no such function"))?.clone();
            assert_eq!(exported.text(), function.text(), "both have the same types");
            place.call(&exported, parameters).await.map_err(import_error)
        }
        .boxed()
    }

    fn handle_http(
        &self,
        caller: Caller,
        request: Request<HttpBody>,
    ) -> BoxFuture<'static, Result<Response<HttpBody>, ImportError>> {
        let target = self.target(&caller, "wasi:http/outgoing-handler");
        async move {
            let place = target?.reserve(&caller.context.nested()).await.map_err(import_error)?;
            let response = place.handle_http(request).await.map_err(import_error)?;
            Ok(response.map(|body| body.map_err(BodyError::from).boxed_unsync()))
        }
        .boxed()
    }

    fn has_link(&self, _component: &str, link_name: &str, interface: &str) -> bool {
        self.links.lock().unwrap().contains_key(&(link_name.to_owned(), interface.to_owned()))
    }
}

/// Serves a component under an id, with imports that lead where `links` says.
pub(crate) async fn serve(
    runtime: &Runtime,
    id: &str,
    bytes: Bytes,
    limits: ComponentLimits,
    links: &Arc<Links>,
) -> Served {
    let compiled = soon("the compiler", runtime.load(bytes, &format!("digest of {id}"))).await.unwrap();
    compiled.serve(ServeOptions {
        id: id.to_owned(),
        limits,
        config: BTreeMap::new(),
        imports: links.clone(),
    })
}
