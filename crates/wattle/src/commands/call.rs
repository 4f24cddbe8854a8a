//! `wattle call`: call a function of a component, with values as people write them.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use wattle_identity::certificate::{Grant, Ids};
use wattle_lattice::{Call, CallError, Encoding, Reason, Trace};

use crate::context::Context;
use crate::failure::{Exit, not_found, timed_out, usage};
use crate::names::component_id;
use crate::output::Output;
use crate::seat::ClientFlags;

/// How long a call may take, unless told otherwise.
const TIME: Duration = Duration::from_secs(30);

/// Call a function of a component
#[derive(Debug, Args)]
#[command(
    after_help = "Arguments are written in WAVE, one word each: 7, \"\\\"text\\\"\", '[1, 2]', '{name: \"x\", on: true}', 'some(3)'. After -- they may \
                  begin with a minus.\n\
                  Who calls needs a certificate that lists the target (wattle cluster issue --may-call), or the \
                  cluster's seed, with which one is made for this call alone.\n\
                  Example: wattle call adder acme:math/ops@1.0.0.add 2 3"
)]
pub(crate) struct CallArgs {
    /// The id of the component
    #[arg(value_parser = component_id)]
    target: String,
    /// The function: its interface as the component exports it, a dot, its name
    #[arg(value_name = "INTERFACE.FUNCTION")]
    function: String,
    /// The arguments
    arguments: Vec<String>,
    #[command(flatten)]
    client: ClientFlags,
}

/// What came back.
#[derive(Debug, Serialize)]
struct Called {
    result: Value,
    wave: String,
}

impl Output for Called {
    fn text(&self) -> String {
        self.wave.clone()
    }
}

/// Runs the command.
pub(crate) async fn run(args: CallArgs, context: &Context) -> anyhow::Result<Exit> {
    let (interface, function) = args
        .function
        .rsplit_once('.')
        .filter(|(_, name)| !name.is_empty() && !name.contains(['@', '/', ':']))
        .unwrap_or(("", &args.function));
    let rights = |grant: &mut Grant| grant.may_call = Ids::only([args.target.clone()]);
    let (seat, source) = args.client.join(rights, context).await?;
    let after = context.timeout_or(TIME);
    let call = Call {
        source,
        target: args.target.as_str().into(),
        link_name: "".into(),
        interface: interface.into(),
        function: function.into(),
        encoding: Encoding::Wave,
        types: [0; 8],
        state_revision: 0,
        deadline: Instant::now() + after,
        depth: 0,
        trace: Trace::default(),
        parameters: Bytes::from(args.arguments.join(", ")),
        streams: Vec::new(),
        repeatable: false,
    };
    let answer = seat.call(call).await.map_err(failure)?;
    let (wave, json) = read(&answer.value).context("the answer can't be read")?;
    context.print(&Called { result: serde_json::from_str(&json)?, wave })
}

/// Two texts, each behind its length: WAVE, then JSON.
fn read(mut value: &[u8]) -> anyhow::Result<(String, String)> {
    let mut text = || {
        let (length, rest) = value.split_first_chunk::<4>().context("it is cut off")?;
        let (text, rest) =
            rest.split_at_checked(u32::from_be_bytes(*length) as usize).context("it is cut off")?;
        value = rest;
        Ok::<_, anyhow::Error>(std::str::from_utf8(text)?.to_owned())
    };
    Ok((text()?, text()?))
}

/// Gives a failed call the exit code that scripts can tell it by.
pub(super) fn failure(error: CallError) -> anyhow::Error {
    let message = error.to_string();
    match error {
        CallError::NotFound { .. } => not_found(message),
        CallError::Timeout { .. } => timed_out(message),
        CallError::Refused { reason: Reason::NoFunction, .. } => not_found(message),
        CallError::Refused { reason: Reason::TargetNotAllowed, .. } => usage(message),
        _ => anyhow!(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_are_read_and_less_is_an_error() {
        let value = [&[0, 0, 0, 2][..], b"[]", &[0, 0, 0, 3], b"[1]"].concat();
        assert_eq!(read(&value).unwrap(), ("[]".to_owned(), "[1]".to_owned()));
        for length in 0..value.len() {
            assert!(read(&value[..length]).is_err(), "{length}");
        }
    }
}
