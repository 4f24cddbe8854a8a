//! What an instance needs to call others: where its imports lead, for which call it acts, and which links it chose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::JoinHandle;

use crate::context::CallContext;
use crate::imports::{Caller, ImportError, Imports};
use crate::served::Inner;

/// The link that a call takes where the component chose none.
const DEFAULT_LINK: &str = "default";

/// The interface whose link an HTTP request takes.
pub(crate) const OUTGOING_HTTP: &str = "wasi:http/outgoing-handler";

/// Interfaces for which one call may choose a link.
const MAX_CHOSEN: usize = 256;

/// The side of an instance that faces other components.
pub(crate) struct Outward {
    pub(crate) imports: Arc<dyn Imports>,
    component: Arc<str>,
    default_link: Arc<str>,
    chosen: Vec<Chosen>,
    context: CallContext,
    waits: Waits,
}

fn is_default(link_name: &str) -> bool {
    link_name.is_empty() || link_name == DEFAULT_LINK
}

/// The interface that a link names: requests of both generations of `wasi:http` take the link of the older one.
fn link_interface(interface: &str) -> &str {
    if interface == "wasi:http/client" { OUTGOING_HTTP } else { interface }
}

/// A component's choice of a link for one interface.
struct Chosen {
    interface: String,
    link_name: Arc<str>,
}

impl Outward {
    pub(crate) fn new(served: &Inner, context: CallContext) -> Self {
        Self {
            imports: served.imports.clone(),
            component: served.id.clone(),
            default_link: DEFAULT_LINK.into(),
            chosen: Vec::new(),
            context,
            waits: Waits { component: served.waiting_calls.clone(), instance: Arc::default() },
        }
    }

    /// The next call that the instance answers: nothing of the one before is left.
    pub(crate) fn begin(&mut self, context: CallContext) {
        self.context = context;
        self.chosen.clear();
    }

    /// Who calls `interface` (without a version).
    pub(crate) fn caller(&self, interface: &str) -> Caller {
        let interface = link_interface(interface);
        let chosen = self.chosen.iter().find(|chosen| chosen.interface == interface);
        Caller {
            component: self.component.clone(),
            link_name: chosen.map_or_else(|| self.default_link.clone(), |chosen| chosen.link_name.clone()),
            context: self.context.clone(),
        }
    }

    /// Chooses the link for an interface (without a version), for the rest of this call.
    pub(crate) fn choose(&mut self, link_name: &Arc<str>, interface: &str) -> Result<(), String> {
        let interface = link_interface(interface);
        self.chosen.retain(|chosen| chosen.interface != interface);
        if is_default(link_name) {
            return Ok(());
        }
        if self.chosen.len() >= MAX_CHOSEN {
            return Err(format!("links are chosen for {MAX_CHOSEN} interfaces already"));
        }
        self.chosen.push(Chosen { interface: interface.to_owned(), link_name: link_name.clone() });
        Ok(())
    }

    /// Whether there is such a link to choose; the choice can always be taken back.
    pub(crate) fn may_choose(&self, link_name: &str, interface: &str) -> bool {
        is_default(link_name) || self.imports.has_link(&self.component, link_name, link_interface(interface))
    }

    /// The call waits for another until what is given back is dropped.
    pub(crate) fn wait(&self) -> Pending {
        let Waits { component, instance } = &self.waits;
        if instance.fetch_add(1, Ordering::Relaxed) == 0 {
            component.fetch_add(1, Ordering::Relaxed);
        }
        Pending(self.waits.clone())
    }
}

/// Counts the calls that wait for calls of their own: of the whole component, and within one instance.
#[derive(Clone)]
struct Waits {
    /// Instances that wait for at least one call.
    component: Arc<AtomicU32>,
    /// Calls that this instance waits for.
    instance: Arc<AtomicU32>,
}

/// A call that someone waits for.
pub(crate) struct Pending(Waits);

impl Drop for Pending {
    fn drop(&mut self) {
        let Waits { component, instance } = &self.0;
        if instance.fetch_sub(1, Ordering::Relaxed) == 1 {
            component.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Runs a future in a task of its own, which ends with the one who waits for it.
pub(crate) async fn aside<T: Send + 'static>(
    future: impl Future<Output = Result<T, ImportError>> + Send + 'static,
) -> Result<T, ImportError> {
    let mut task = Aside(tokio::spawn(future));
    (&mut task.0).await.unwrap_or_else(|error| Err(ImportError::failed(error.to_string())))
}

struct Aside<T>(JoinHandle<T>);

impl<T> Drop for Aside<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
