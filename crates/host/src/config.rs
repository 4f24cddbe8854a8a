//! Named configs, merged left to right.

use std::collections::BTreeMap;
use std::time::Duration;

use wattle_lattice::{Snapshot, Store};
use wattle_protocol::state::is_secret_reference;

use crate::error::StartError;

/// How long a config that was put a moment ago elsewhere is waited for.
const PROPAGATION: Duration = Duration::from_secs(1);

/// The named configs of `snapshot` merged; where two say the same key, the right one wins.
pub(crate) fn merge(snapshot: &Snapshot, names: &[String]) -> Result<BTreeMap<String, String>, StartError> {
    let mut merged = BTreeMap::new();
    for name in names {
        if is_secret_reference(name) {
            return Err(StartError::Secret { name: name.clone() });
        }
        let config = snapshot.configs.get(name).ok_or_else(|| StartError::NoConfig { name: name.clone() })?;
        merged.extend(config.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    Ok(merged)
}

/// [`merge`] for a command: a config that another host has just written may arrive a moment later.
pub(crate) async fn merge_soon(
    store: &Store,
    names: &[String],
) -> Result<BTreeMap<String, String>, StartError> {
    let mut snapshots = store.watch();
    let arrived = async {
        loop {
            match merge(&snapshots.borrow_and_update(), names) {
                Err(StartError::NoConfig { .. }) => {}
                settled => return settled,
            }
            if snapshots.changed().await.is_err() {
                return merge(&store.snapshot(), names);
            }
        }
    };
    match tokio::time::timeout(PROPAGATION, arrived).await {
        Ok(settled) => settled,
        Err(_) => merge(&store.snapshot(), names),
    }
}
