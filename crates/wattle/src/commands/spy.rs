//! `wattle spy`: watch the calls of a component as they happen.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures::StreamExt as _;
use futures::stream::SelectAll;
use serde::Deserialize;
use tokio::time::Instant;
use wattle_identity::certificate::{Grant, Ids};
use wattle_lattice::{Call, Encoding, InStream, Trace};
use wattle_protocol::rpc::SPY_INTERFACE;

use super::call::failure;
use crate::context::Context;
use crate::failure::{Exit, not_found};
use crate::names::component_id;
use crate::output::{Format, note, write_line};
use crate::seat::ClientFlags;
use crate::signals::StopSignals;

/// How long a watch goes on at most.
const WATCH: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the hosts may take to say that they let one watch.
const JOIN: Duration = Duration::from_secs(5);

/// Watch the calls of a component: who calls what, how long it takes, how it ends; never what is said
#[derive(Debug, Args)]
#[command(after_help = "All hosts that run the component now show its calls, until ctrl-c.\n\
                  Who watches needs a certificate that lists the component (wattle cluster issue --may-spy), or the \
                  cluster's seed.\n\
                  Example: wattle spy hello")]
pub(crate) struct SpyArgs {
    /// The id of the component
    #[arg(value_parser = component_id)]
    target: String,
    #[command(flatten)]
    client: ClientFlags,
}

/// A call, as a host saw it.
#[derive(Debug, Deserialize)]
struct Seen {
    host: String,
    source: String,
    target: String,
    link_name: String,
    interface: String,
    function: String,
    outcome: String,
    remote: bool,
    microseconds: u64,
}

impl Seen {
    fn line(&self) -> String {
        let Self { host, source, target, link_name, interface, function, outcome, remote, microseconds } =
            self;
        let place = if *remote { "remote" } else { "local" };
        let link = if link_name.is_empty() { String::new() } else { format!(" link={link_name}") };
        let host = host.get(..8).unwrap_or(host);
        let milliseconds = *microseconds as f64 / 1000.0;
        format!(
            "{milliseconds:10.3} ms  {outcome:8} {source} -> {target}  {interface}.{function}{link} {place} host={host}"
        )
    }
}

/// Runs the command.
pub(crate) async fn run(args: SpyArgs, context: &Context) -> anyhow::Result<Exit> {
    let rights = |grant: &mut Grant| grant.may_spy = Ids::only([args.target.clone()]);
    let (seat, source) = args.client.join(rights, context).await?;
    let call = Call {
        source,
        target: args.target.as_str().into(),
        link_name: "".into(),
        interface: SPY_INTERFACE.into(),
        function: "watch".into(),
        encoding: Encoding::Wave,
        types: [0; 8],
        state_revision: 0,
        deadline: Instant::now() + WATCH,
        depth: 0,
        trace: Trace::default(),
        parameters: Bytes::new(),
        streams: Vec::new(),
        repeatable: false,
    };
    let joined = tokio::time::timeout(context.timeout_or(JOIN), seat.call_everywhere(call));
    let answers = joined.await.map_err(|_| not_found(format!("nobody lets one watch `{}`", args.target)))?;
    let answers = answers.map_err(failure)?;
    note(format!("watching `{}` on {} hosts; ctrl-c ends it", args.target, answers.len()));
    let mut calls: SelectAll<InStream> = answers.into_iter().flat_map(|answer| answer.streams).collect();
    let mut signals = StopSignals::listen()?;
    loop {
        let next = tokio::select! {
            next = calls.next() => next,
            _ = signals.next() => return Ok(Exit::Success),
        };
        match next {
            None => anyhow::bail!("no host that ran `{}` shows its calls any more", args.target),
            Some(Err(error)) => note(format!("warning: a host no longer shows its calls: {error}")),
            Some(Ok(line)) if context.format == Format::Json => write_line(std::str::from_utf8(&line)?)?,
            Some(Ok(line)) => write_line(&serde_json::from_slice::<Seen>(&line)?.line())?,
        }
    }
}
