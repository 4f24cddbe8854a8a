//! The cluster key that signs.

use std::path::PathBuf;

use clap::Args;
use wattle_identity::keys::{KeyKind, KeyPair};

use super::settings;
use crate::context::Context;
use crate::failure::usage;
use crate::keystore::KeyStore;
use crate::settings::value::Kind;
use crate::settings::{Key, Layer, Origin, Settings, host};

/// Who signs, and for which lattice.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster key")]
pub(crate) struct SignerFlags {
    /// The cluster key that signs: its name, or a file with its seed
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "cluster_seed")]
    cluster_key: Option<String>,
    /// The seed of the cluster key. A flag shows in the list of processes: a file or the environment keeps it secret
    /// [environment: WATTLE_CLUSTER_SEED, WASMCLOUD_CLUSTER_SEED]
    #[arg(long, value_name = "SEED")]
    cluster_seed: Option<String>,
    /// A host's config file: its cluster seed, lattice and NATS servers hold where neither a flag nor the environment
    /// says them [default: ./host_config.json, if it is there] [environment: WATTLE_CONFIG, HOST_CONFIG]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
}

impl SignerFlags {
    /// The settings that hold, with these flags and `more` of them.
    ///
    /// # Errors
    /// When one has a wrong value.
    pub(crate) fn settings(&self, more: Layer, context: &Context) -> anyhow::Result<Settings> {
        let mut flags = more;
        if let Some(seed) = &self.cluster_seed {
            let seed = Kind::Seed(KeyKind::Cluster).parse(seed);
            let seed = seed.map_err(|why| usage(format!("--cluster-seed: {why}")))?;
            flags.add(Key::ClusterSeed, seed, Origin::Flag("cluster-seed"));
        }
        settings(flags, self.config.as_deref(), context)
    }

    /// The key that signs.
    ///
    /// # Errors
    /// When there is none, or it is of another kind.
    pub(crate) fn key(&self, settings: &Settings, context: &Context) -> anyhow::Result<KeyPair> {
        if let Some(named) = &self.cluster_key {
            return KeyStore::of(&context.variables)?.named_or_in_file(named, KeyKind::Cluster);
        }
        host::key(settings, Key::ClusterSeed)?.ok_or_else(|| {
            usage(
                "no cluster key is named: --cluster-key names a stored key or a file with its seed, --config the \
                 host_config.json of a host that has it, WATTLE_CLUSTER_SEED is the seed itself",
            )
        })
    }
}
