//! `wattle keys`: make, show and list keys.

use clap::{Args, Subcommand};
use serde::Serialize;
use wattle_identity::keys::{KeyKind, KeyPair};

use crate::context::Context;
use crate::failure::Exit;
use crate::keystore::KeyStore;
use crate::output::{Output, table};

/// Make, show and list keys
#[derive(Debug, Args)]
#[command(
    after_help = "Keys are kept in $WATTLE_KEYS, else in $XDG_CONFIG_HOME/wattle/keys, readable by you only."
)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key and print it, or store it under a name
    #[command(after_help = "Example: wattle keys gen account --name release")]
    Gen {
        /// account, component, provider, host, cluster, operator or user
        kind: KeyKind,
        /// Store the key under this name instead of printing its seed
        #[arg(long)]
        name: Option<String>,
    },
    /// Show a stored key
    #[command(after_help = "Example: wattle keys get default-account")]
    Get {
        /// The key's name
        name: String,
        /// Show its seed as well: whoever has it is the key's owner
        #[arg(long)]
        seed: bool,
    },
    /// List the stored keys
    #[command(after_help = "Example: wattle keys list")]
    List,
}

/// A key, as it is printed.
#[derive(Debug, Serialize)]
struct KeyOutput {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    kind: String,
    public_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl KeyOutput {
    fn of(key: &KeyPair) -> Self {
        Self {
            name: None,
            kind: key.kind().to_string(),
            public_key: key.public_key(),
            seed: None,
            path: None,
        }
    }

    fn with_seed(self, key: &KeyPair) -> Self {
        Self { seed: Some(key.seed().to_string()), ..self }
    }

    fn stored(self, store: &KeyStore, name: &str) -> Self {
        Self { name: Some(name.to_owned()), path: Some(store.path(name).display().to_string()), ..self }
    }
}

impl Output for KeyOutput {
    fn text(&self) -> String {
        let mut lines =
            vec![format!("kind        {}", self.kind), format!("public key  {}", self.public_key)];
        if let Some(seed) = &self.seed {
            lines.push(format!("seed        {seed}   (keep it secret)"));
        }
        if let Some(path) = &self.path {
            lines.push(format!("file        {path}"));
        }
        lines.join("\n")
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct KeyList(Vec<KeyOutput>);

impl Output for KeyList {
    fn text(&self) -> String {
        let rows = self
            .0
            .iter()
            .map(|key| [key.name.clone().unwrap_or_default(), key.kind.clone(), key.public_key.clone()]);
        table(["NAME", "KIND", "PUBLIC KEY"], rows, "no keys are stored")
    }
}

/// Runs the command.
pub(crate) fn run(args: KeysArgs, context: &Context) -> anyhow::Result<Exit> {
    let store = || KeyStore::of(&context.variables);
    match args.command {
        KeysCommand::Gen { kind, name: None } => {
            let key = KeyPair::generate(kind)?;
            context.print(&KeyOutput::of(&key).with_seed(&key))
        }
        KeysCommand::Gen { kind, name: Some(name) } => {
            let (store, key) = (store()?, KeyPair::generate(kind)?);
            store.store(&name, &key)?;
            context.print(&KeyOutput::of(&key).stored(&store, &name))
        }
        KeysCommand::Get { name, seed } => {
            let store = store()?;
            let key = store.get(&name)?;
            let output = KeyOutput::of(&key).stored(&store, &name);
            context.print(&if seed { output.with_seed(&key) } else { output })
        }
        KeysCommand::List => {
            let store = store()?;
            let mut keys = Vec::new();
            for name in store.names()? {
                match store.get(&name) {
                    Ok(key) => keys.push(KeyOutput::of(&key).stored(&store, &name)),
                    Err(error) => crate::output::note(format!("warning: {error:#}")),
                }
            }
            context.print(&KeyList(keys))
        }
    }
}
