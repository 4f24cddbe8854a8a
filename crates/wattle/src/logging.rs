//! Logs on standard error: text for people, or JSON, one object a line.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// `timestamp`, `level`, `target`, `message` and the fields of each line, flat in one JSON object.
    Json,
}

/// Checks log filters.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn check_level(level: &str) -> Result<(), String> {
    filter(level).map(drop).map_err(|error| format!("`{level}` is not a log level or filter: {error:#}"))
}

/// A bare level concerns wattle's own lines; what libraries say is shown from warnings on, or not at all where
/// less was asked for.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let level = level.trim().to_ascii_lowercase();
    let directives = match level.as_str() {
        "info" | "debug" => {
            format!(
                "{level},async_nats=warn,oci_client=warn,wasmtime=warn,cranelift=warn,hyper=warn,opentelemetry=warn"
            )
        }
        _ => level,
    };
    EnvFilter::builder().parse(directives).context("unknown filter")
}

/// Starts logging for this process, once.
pub(crate) fn start(format: LogFormat, level: &str) -> anyhow::Result<()> {
    let filter = filter(level)?;
    let coloured = crate::output::Style::stderr().coloured();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime)
        .with_ansi(coloured);
    let started = match format {
        LogFormat::Text => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_in_any_case_and_filters_are_accepted() {
        for level in ["info", "INFO", "Debug", "warn", "trace", "off", "info,wattle_host=debug"] {
            assert_eq!(check_level(level), Ok(()), "{level}");
        }
        assert!(check_level("wattle=loud").unwrap_err().contains("loud"));
    }
}
