//! The engine: its settings, its clock, and one compile per digest.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::cache::CodeCache;
use crate::compiled::{self, Compiled};
use crate::error::{LoadError, RuntimeError};
use crate::lane::Lane;
use crate::link::base_linker;
use crate::state::State;

/// How often busy components are made to let others run.
const TICK: Duration = Duration::from_millis(10);

/// What the pool holds for each component instance. Rust components use one to three core instances and one memory,
/// Go and JavaScript four or five core instances.
const CORE_INSTANCES: u32 = 5;
const MEMORIES: u32 = 2;
/// One stack runs an instance; another is needed where something in it waits while the rest goes on.
const STACKS: u32 = 2;

/// What one component may take of the pool at most, so that a few instances can't use it up.
const MAX_CORE_INSTANCES: u32 = 30;
const MAX_MEMORIES: u32 = 8;

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Where compiled code is kept between runs; `None` compiles at every start.
    pub cache_dir: Option<PathBuf>,
    /// How many instances may live at once, over all components.
    pub max_instances: u32,
    /// The largest memory that any component may be given, in bytes.
    pub max_memory_bytes: u64,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self { cache_dir: None, max_instances: 4000, max_memory_bytes: 4 << 30 }
    }
}

/// The engine that compiles and runs components. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Inner>);

struct Inner {
    engine: Engine,
    linker: Linker<State>,
    cache: Option<CodeCache>,
    /// By digest; those that nobody has any more are dropped when the next one comes.
    slots: Mutex<HashMap<String, Arc<Slot>>>,
    /// One permit per instance that the engine may have at once.
    instances: Arc<Semaphore>,
    lane: Arc<Lane>,
    pooled: bool,
}

/// What is known of one digest: its compiled form, while anyone has it.
type Slot = tokio::sync::Mutex<Weak<compiled::Inner>>;

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("pooled", &self.0.pooled).finish_non_exhaustive()
    }
}

impl Runtime {
    /// Sets up the engine and starts the thread that interrupts busy components; the thread ends with the engine.
    ///
    /// # Errors
    ///
    /// Where the engine can't run on this machine, or the folder for compiled code can't be used.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let (engine, pooled) = engine(&options)?;
        let cache = options.cache_dir.map(|dir| CodeCache::open(&dir, &engine)).transpose()?;
        let linker = base_linker(&engine).map_err(RuntimeError::Engine)?;
        start_ticker(&engine)?;
        let instances = Arc::new(Semaphore::new(options.max_instances as usize));
        Ok(Self(Arc::new(Inner {
            engine,
            linker,
            cache,
            slots: Mutex::default(),
            instances,
            lane: Arc::default(),
            pooled,
        })))
    }

    /// Whether instances come from a pool that was reserved at start. False where the machine's address space is too
    /// small for it: everything works, only slower.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.0.pooled
    }

    /// Compiles a component, or takes it from the cache. `digest` names the bytes (`sha256:…`) and must be theirs.
    ///
    /// # Errors
    ///
    /// Where the bytes are no component, a damaged one, or one that imports what nothing here provides.
    pub async fn load(&self, bytes: Bytes, digest: &str) -> Result<Compiled, LoadError> {
        compiled::check_component(&bytes)?;
        let slot = self.slot(digest);
        // Whoever holds the slot compiles; the others wait for it and find the result.
        let mut known = slot.lock().await;
        if let Some(compiled) = known.upgrade() {
            return Ok(Compiled(compiled));
        }
        let compiled = self.compile(bytes, digest).await?;
        *known = Arc::downgrade(&compiled.0);
        Ok(compiled)
    }

    fn slot(&self, digest: &str) -> Arc<Slot> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|known| known.strong_count() > 0)
        });
        slots.entry(digest.to_owned()).or_default().clone()
    }

    async fn compile(&self, bytes: Bytes, digest: &str) -> Result<Compiled, LoadError> {
        let (runtime, digest) = (self.clone(), digest.to_owned());
        let compile = move || {
            let component = match &runtime.0.cache {
                Some(cache) => cache.load_or_compile(&runtime.0.engine, &bytes, &digest),
                None => Component::new(&runtime.0.engine, &bytes),
            };
            let component = component.map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
            Compiled::new(
                &component,
                digest,
                runtime.0.linker.clone(),
                runtime.0.instances.clone(),
                runtime.0.lane.clone(),
            )
        };
        tokio::task::spawn_blocking(compile)
            .await
            .map_err(|error| LoadError::Interrupted(error.to_string()))?
    }
}

/// An engine with a pool of instances, or without one where the address space can't hold it.
fn engine(options: &RuntimeOptions) -> Result<(Engine, bool), RuntimeError> {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .wasm_component_model_async(true)
        .wasm_component_model_map(true)
        .wasm_component_model_fixed_length_lists(true)
        .memory_init_cow(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(options)));
    match Engine::new(&config) {
        Ok(engine) => Ok((engine, true)),
        Err(error) => {
            tracing::warn!(reason = %format!("{error:#}"), "no pool of instances: the address space is too small for it");
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            Ok((Engine::new(&config).map_err(RuntimeError::Engine)?, false))
        }
    }
}

fn pool(options: &RuntimeOptions) -> PoolingAllocationConfig {
    let instances = options.max_instances;
    let core = instances.saturating_mul(CORE_INSTANCES);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_stacks(instances.saturating_mul(STACKS))
        .total_core_instances(core)
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(core)
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_CORE_INSTANCES)
        .max_memory_size(usize::try_from(options.max_memory_bytes).unwrap_or(usize::MAX))
        // A dropped instance's pages are given back in batches: one system call for many.
        .decommit_batch_size(16)
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(64 << 10);
    pool
}

/// An operating-system thread, so that components which keep every worker busy are interrupted all the same.
fn start_ticker(engine: &Engine) -> Result<(), RuntimeError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("wattle-epochs".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        })
        .map(drop)
        .map_err(RuntimeError::Ticker)
}
