//! What one instance may touch: its own WASI context, bounded memory, and nothing of the machine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmtime::ResourceLimiter;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::call::Fate;
use crate::context::CallContext;
use crate::output::Output;
use crate::outward::Outward;
use crate::served::Inner;
use crate::values::{Life, StreamHost};

/// Bytes that a table element counts for.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// What a component makes the host hold is bounded as its own memory is: resources at once, and bytes of headers in
/// each of those that hold headers.
pub(crate) const MAX_RESOURCES: usize = 1024;
const MAX_FIELDS_BYTES: usize = 64 << 10;

/// The data of one instance's store.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(crate) table: ResourceTable,
    config: Arc<WasiConfigVariables>,
    pub(crate) memory: MemoryLimit,
    pub(crate) outward: Outward,
    life: Life,
}

impl StreamHost for State {
    fn life(&self) -> &Life {
        &self.life
    }
}

impl State {
    pub(crate) fn new(served: &Inner, context: CallContext, fate: Arc<Fate>) -> Self {
        let wasi = WasiCtx::builder()
            .stdout(Output::new(&served.log, "stdout"))
            .stderr(Output::new(&served.log, "stderr"))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS_BYTES);
        Self {
            wasi,
            http,
            table,
            config: served.config.load_full(),
            memory: MemoryLimit::new(served.limits.max_memory_bytes, fate),
            outward: Outward::new(served, context),
            life: Life::default(),
        }
    }

    /// The next call that the instance answers: only what the component itself keeps is left of the one before.
    pub(crate) fn begin(&mut self, served: &Inner, context: CallContext, fate: Arc<Fate>) {
        self.config = served.config.load_full();
        self.memory.fate = fate;
        self.outward.begin(context);
    }

    /// What becomes of the instance.
    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.memory.fate
    }

    pub(crate) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::from(&*self.config)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outward, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Bounds all memories and tables of an instance together.
pub(crate) struct MemoryLimit {
    limit: usize,
    used: usize,
    /// What the last growth added; taken back if the engine then can't grow.
    last: usize,
    /// Tells the caller, who sees only that the component failed, why it did.
    fate: Arc<Fate>,
}

impl MemoryLimit {
    pub(crate) fn new(limit: u64, fate: Arc<Fate>) -> Self {
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), used: 0, last: 0, fate }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        self.last = desired.saturating_sub(current);
        let used = self.used.saturating_add(self.last);
        if used > self.limit {
            self.last = 0;
            self.fate.exhausted.store(true, Ordering::Relaxed);
            return false;
        }
        self.used = used;
        true
    }
}

impl MemoryLimit {
    /// Bytes in use.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    fn take_back(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.last));
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(self.grow(current.saturating_mul(TABLE_ELEMENT), desired.saturating_mul(TABLE_ELEMENT)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_bound() {
        let fate = Arc::new(Fate::default());
        let mut limit = MemoryLimit::new(100, fate.clone());
        assert!(limit.memory_growing(0, 60, None).unwrap());
        assert!(limit.table_growing(0, 5, None).unwrap());
        assert!(!fate.exhausted.load(Ordering::Relaxed));
        assert!(!limit.memory_growing(60, 61, None).unwrap());
        limit.memory_grow_failed(wasmtime::Error::msg("refused")).unwrap();
        assert_eq!(limit.used, 100, "what was refused was never counted");
        limit.limit = 101;
        assert!(limit.memory_growing(60, 61, None).unwrap());
        limit.memory_grow_failed(wasmtime::Error::msg("no memory left")).unwrap();
        assert_eq!(limit.used, 100, "what did not come about counts no more");
        assert!(fate.exhausted.load(Ordering::Relaxed));
    }
}
