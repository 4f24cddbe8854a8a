//! `wattle label`: change a host's labels.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::client::Client;
use crate::context::Context;
use crate::failure::{Exit, not_found};
use crate::output::{Done, pairs};
use crate::settings::value::pair;

/// Set and delete labels of a host
#[derive(Debug, Args)]
#[command(after_help = "Example: wattle label brave-fox zone=attic --delete old-label")]
pub(crate) struct LabelArgs {
    /// The host: its id, the beginning of it, or a part of its name
    host: String,
    /// A label to set
    #[arg(value_name = "KEY=VALUE", value_parser = pair, required_unless_present = "delete")]
    labels: Vec<(String, String)>,
    /// A label to delete; repeat it
    #[arg(long, value_name = "KEY")]
    delete: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Labelled {
    host_id: String,
    set: BTreeMap<String, String>,
    deleted: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(args: LabelArgs, context: &Context) -> anyhow::Result<Exit> {
    let client = Client::connect(context).await?;
    let host_id = client.host_id(&args.host).await?;
    if !args.delete.is_empty() {
        let labels = client.control.inventory(&host_id).await?.labels;
        if let Some(missing) = args.delete.iter().find(|key| !labels.contains_key(*key)) {
            return Err(not_found(format!(
                "host {host_id} has no label `{missing}`, so nothing was changed"
            )));
        }
    }
    for key in &args.delete {
        client.control.delete_label(&host_id, key).await?;
    }
    for (key, value) in &args.labels {
        client.control.put_label(&host_id, key, value).await?;
    }
    let labelled = Labelled { host_id, set: args.labels.into_iter().collect(), deleted: args.delete };
    let mut changes = Vec::new();
    if !labelled.deleted.is_empty() {
        changes.push(format!("deleted {}", labelled.deleted.join(", ")));
    }
    if !labelled.set.is_empty() {
        changes.push(format!("set {}", pairs(&labelled.set)));
    }
    let sentence = format!("labels of host {}: {}", labelled.host_id, changes.join(", "));
    context.print(&Done::new(sentence, labelled))
}
