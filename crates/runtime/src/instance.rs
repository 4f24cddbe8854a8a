//! One instance of a component: for a single call, or kept for a few calls one after another.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::{ComponentExportIndex, Val};
use wasmtime::{AsContextMut, Store, UpdateDeadline};

use crate::call::Fate;
use crate::context::CallContext;
use crate::served::{ComponentLimits, Inner};
use crate::state::{MAX_RESOURCES, State};
use crate::values::{FunctionType, MAX_DECODED_BYTES, Values};

/// What an instance may have grown by since it was made and still be kept for another call, in bytes.
const MAX_GROWTH: usize = 8 << 20;

/// A store with at most one instance in it.
pub(crate) struct Instance {
    store: Store<State>,
    /// `None` until the first call needs it.
    instance: Option<wasmtime::component::Instance>,
    /// Memory in use when it was made.
    initial_memory: usize,
    answered: u32,
    /// Given back to the engine when the store is gone.
    _room: OwnedSemaphorePermit,
}

impl Instance {
    pub(crate) fn new(
        served: &Inner,
        context: CallContext,
        fate: Arc<Fate>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        let mut store = Store::new(&served.compiled.0.engine, State::new(served, context, fate));
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(MAX_RESOURCES);
        store.set_hostcall_fuel(MAX_DECODED_BYTES);
        set_turn(&mut store);
        store.epoch_deadline_callback(|store| {
            store.data().fate().interruptions.fetch_add(1, Ordering::Relaxed);
            Ok(UpdateDeadline::Yield(1))
        });
        Self { store, instance: None, initial_memory: 0, answered: 0, _room: room }
    }

    /// Makes it ready for the next call.
    pub(crate) fn begin(&mut self, served: &Inner, context: CallContext, fate: Arc<Fate>) {
        self.store.data_mut().begin(served, context, fate);
        set_turn(&mut self.store);
    }

    /// The store and the instance in it.
    pub(crate) async fn get(
        &mut self,
        served: &Inner,
    ) -> wasmtime::Result<(&mut Store<State>, wasmtime::component::Instance)> {
        let instance = match self.instance {
            Some(instance) => instance,
            None => {
                let made = served.compiled.0.pre.instantiate_async(&mut self.store).await?;
                self.initial_memory = self.store.data().memory.used();
                *self.instance.insert(made)
            }
        };
        Ok((&mut self.store, instance))
    }

    /// Calls an export. Answers also whether the instance has nothing more to do.
    pub(crate) async fn call(
        &mut self,
        served: &Inner,
        function: &FunctionType,
        place: &ComponentExportIndex,
        parameters: Values,
    ) -> wasmtime::Result<(Values, bool)> {
        let (store, instance) = self.get(served).await?;
        let callee = instance
            .get_func(&mut *store, place)
            .ok_or_else(|| wasmtime::Error::msg("the function is not where it was"))?;
        let parameters = parameters.put_parameters(store.as_context_mut(), function)?;
        // The engine replaces it; there is one place per result.
        let mut results = vec![Val::Bool(false); callee.ty(&*store).results().len()];
        let quiet = store
            .run_concurrent(async |accessor| {
                callee.call_concurrent(accessor, &parameters, &mut results).await?;
                let quiet =
                    poll_fn(|cx| Poll::Ready(accessor.poll_no_interesting_tasks(cx).is_ready())).await;
                Ok::<_, wasmtime::Error>(quiet)
            })
            .await??;
        let values = Values::take_results(store.as_context_mut(), function, results)?;
        Ok((values, quiet))
    }

    /// Lets the instance do what it still has to do after a call's result.
    pub(crate) async fn settle(&mut self) -> wasmtime::Result<()> {
        let idle = async |accessor: &wasmtime::component::Accessor<State>| {
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
        };
        self.store.run_concurrent(idle).await
    }

    /// Runs the instance until `event` happens or it fails.
    pub(crate) async fn run_until<T>(&mut self, event: impl Future<Output = T>) -> wasmtime::Result<T> {
        self.store.run_concurrent(async |_| event.await).await
    }

    /// Counts a call that went well. Answers whether the instance may serve another one.
    pub(crate) fn may_go_on(&mut self, limits: &ComponentLimits) -> bool {
        self.answered = self.answered.saturating_add(1);
        let grown = self.store.data().memory.used().saturating_sub(self.initial_memory);
        self.answered < limits.max_instance_reuse && grown <= MAX_GROWTH
    }
}

/// The component's turn on the processor ends with the engine's next tick but one. A deadline of zero would make each
/// call yield at its first instruction.
fn set_turn(store: &mut Store<State>) {
    store.set_epoch_deadline(1);
}
