//! Commands that a host only accepts, and whose outcome it tells by an event: sent, and waited for.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::bail;
use indicatif::ProgressBar;
use wattle_lattice::EventStream;
use wattle_protocol::control::{ScaleComponent, StartProvider, StopHost, UpdateComponent};
use wattle_protocol::event::Event;

use crate::client::Client;
use crate::context::Context;
use crate::failure::timed_out;
use crate::output::note;

/// How long an outcome is waited for, unless told otherwise: a pull may have to cross a slow line.
const OUTCOME: Duration = Duration::from_secs(60);

/// Whether, and how long, a command waits for its outcome.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Until the event comes, this long at most.
    For(Duration),
    /// Only until the host has accepted the command.
    No,
}

impl Wait {
    /// What the flags `--no-wait` and `--timeout` say.
    pub(crate) fn of(no_wait: bool, context: &Context) -> Self {
        if no_wait { Self::No } else { Self::For(context.timeout_or(OUTCOME)) }
    }
}

/// What an event says about a command: what came of it, or why it failed.
type Verdict<T> = Result<T, String>;

/// Starts, scales or stops a component. Answers from which reference it then runs, unless that was not waited for.
///
/// # Errors
/// When the host refuses, fails, stops or does not say in time.
pub(crate) async fn scale(
    client: &Client,
    host: &str,
    request: &ScaleComponent,
    wait: Wait,
) -> anyhow::Result<Option<String>> {
    let (id, count) = (&request.component_id, request.count);
    let mut events = client.control.events().await?;
    warn_of(&client.control.scale_component(host, request).await?);
    let doing = match count {
        0 => format!("stop component `{id}`"),
        count => format!("run component `{id}` with {count} calls at once"),
    };
    let outcome = Outcome { host, doing, events: "component_scaled or component_scale_failed" };
    outcome
        .wait(&mut events, wait, |event| match event {
            Event::ComponentScaled(scaled) if scaled.component_id == *id && scaled.max_instances == count => {
                Some(Ok(scaled.image_ref.clone()))
            }
            Event::ComponentScaleFailed(failed) if failed.component_id == *id => {
                Some(Err(failed.error.clone()))
            }
            _ => None,
        })
        .await
}

/// Replaces the code of a component.
///
/// # Errors
/// As for [`scale`].
pub(crate) async fn update(
    client: &Client,
    host: &str,
    request: &UpdateComponent,
    wait: Wait,
) -> anyhow::Result<()> {
    let (id, reference) = (&request.component_id, &request.new_component_ref);
    let mut events = client.control.events().await?;
    client.control.update_component(host, request).await?;
    let doing = format!("update component `{id}` to {reference}");
    let outcome = Outcome { host, doing, events: "component_scaled or component_scale_failed" };
    outcome
        .wait(&mut events, wait, |event| match event {
            Event::ComponentScaled(scaled)
                if scaled.component_id == *id
                    && scaled.image_ref == *reference
                    && scaled.max_instances > 0 =>
            {
                Some(Ok(()))
            }
            Event::ComponentScaleFailed(failed) if failed.component_id == *id => {
                Some(Err(failed.error.clone()))
            }
            _ => None,
        })
        .await
        .map(drop)
}

/// Starts a provider.
///
/// # Errors
/// As for [`scale`].
pub(crate) async fn start_provider(
    client: &Client,
    host: &str,
    request: &StartProvider,
    wait: Wait,
) -> anyhow::Result<()> {
    let id = &request.provider_id;
    let mut events = client.control.events().await?;
    client.control.start_provider(host, request).await?;
    let outcome = Outcome {
        host,
        doing: format!("start provider `{id}`"),
        events: "provider_started or provider_start_failed",
    };
    outcome
        .wait(&mut events, wait, |event| match event {
            Event::ProviderStarted(started) if started.provider_id == *id => Some(Ok(())),
            Event::ProviderStartFailed(failed) if failed.provider_id == *id => {
                Some(Err(failed.error.clone()))
            }
            _ => None,
        })
        .await
        .map(drop)
}

/// Stops a host.
///
/// # Errors
/// When it refuses or does not say in time that it stopped.
pub(crate) async fn stop_host(
    client: &Client,
    host: &str,
    request: &StopHost,
    wait: Wait,
) -> anyhow::Result<()> {
    let mut events = client.control.events().await?;
    client.control.stop_host(host, request).await?;
    let Wait::For(patience) = wait else { return Ok(()) };
    let doing = format!("stop host {host}");
    let stopped = events.wait_for(&doing, patience, |source, event| {
        (source == host && matches!(event, Event::HostStopped(_))).then_some(())
    });
    match stopped.await {
        Ok(()) => Ok(()),
        Err(_) => Err(timed_out(format!(
            "host {host} did not say within {patience:?} that it stopped (waited for its event host_stopped): \
             what runs on it may need longer to finish"
        ))),
    }
}

/// What is waited for, in words.
struct Outcome<'a> {
    host: &'a str,
    doing: String,
    events: &'static str,
}

impl Outcome<'_> {
    async fn wait<T>(
        self,
        events: &mut EventStream,
        wait: Wait,
        verdict: impl Fn(&Event) -> Option<Verdict<T>>,
    ) -> anyhow::Result<Option<T>> {
        let Wait::For(patience) = wait else { return Ok(None) };
        let Self { host, doing, events: names } = self;
        let _spinner = Spinner::show(&format!("waiting for host {host} to {doing}"));
        let found = events.wait_for(&doing, patience, |source, event| match event {
            _ if source != host => None,
            Event::HostStopped(_) => Some(Err("the host stopped in the meantime".to_owned())),
            event => verdict(event),
        });
        match found.await {
            Ok(Ok(outcome)) => Ok(Some(outcome)),
            Ok(Err(reason)) => bail!("host {host} could not {doing}: {reason}"),
            Err(_) => Err(timed_out(format!(
                "host {host} did not say within {patience:?} whether it could {doing} (waited for its event {names}). \
                 It may still be at it: `wattle get inventory {host}` shows what runs, --timeout waits longer"
            ))),
        }
    }
}

/// What a host says beside accepting a command is a warning.
fn warn_of(message: &str) {
    if !message.is_empty() {
        note(format!("warning: {message}"));
    }
}

/// A moving sign on a terminal that something is waited for.
struct Spinner(Option<ProgressBar>);

impl Spinner {
    fn show(message: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner().with_message(message.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some(bar))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
