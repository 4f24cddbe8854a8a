//! Traces over OTLP, where the standard variables of OpenTelemetry ask for them.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, ResourceDetector, TelemetryResourceDetector};
use wattle_host::{HostSettings, SpanQueue, Telemetry, host_public_key};

use crate::settings::Variables;

/// The variables that say where spans go; the first one wins.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Exports the spans of a host if the environment says so. What is wrong there is logged: these variables are often set
/// for a whole machine, and a host does its work without traces as well.
pub(crate) fn telemetry(variables: &Variables, host: &HostSettings) -> Telemetry {
    let endpoint = match endpoint(variables) {
        Ok(Some(endpoint)) => endpoint,
        Ok(None) => return Telemetry::default(),
        Err(problem) => return without(&problem),
    };
    match start(variables, host) {
        Ok(telemetry) => {
            tracing::info!("traces are exported to where {endpoint} says");
            telemetry
        }
        Err(problem) => without(&problem),
    }
}

fn without(problem: &str) -> Telemetry {
    tracing::warn!("no traces are exported: {problem}");
    Telemetry::default()
}

/// The variable that says where spans go; none where no spans are wanted.
///
/// # Errors
/// What the environment asks for and can't be done. Values are not repeated, as they may hold passwords.
fn endpoint(variables: &Variables) -> Result<Option<&'static str>, String> {
    let get = |name| variables.get(name).map_err(|error| error.to_string());
    if get("OTEL_SDK_DISABLED")?.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    match get("OTEL_TRACES_EXPORTER")? {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(_) => return Err("OTEL_TRACES_EXPORTER names another exporter than `otlp`".to_owned()),
    }
    let Some((name, url)) = first(variables, ENDPOINTS)? else { return Ok(None) };
    if !["http://", "https://"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme)) {
        return Err(format!("{name} is no URL that begins with http:// or https://"));
    }
    Ok(Some(name))
}

/// How spans are written.
///
/// # Errors
/// The variable that asks for something else than OTLP over HTTP.
fn protocol(variables: &Variables) -> Result<Protocol, String> {
    match first(variables, PROTOCOLS)? {
        None | Some((_, "http/protobuf")) => Ok(Protocol::HttpBinary),
        Some((_, "http/json")) => Ok(Protocol::HttpJson),
        Some((name, _)) => Err(format!("{name} is neither http/protobuf nor http/json")),
    }
}

fn first<'a>(
    variables: &'a Variables,
    names: [&'static str; 2],
) -> Result<Option<(&'static str, &'a str)>, String> {
    for name in names {
        if let Some(value) = variables.get(name).map_err(|error| error.to_string())? {
            return Ok(Some((name, value)));
        }
    }
    Ok(None)
}

fn start(variables: &Variables, host: &HostSettings) -> Result<Telemetry, String> {
    let (queue, protocol) = (queue(variables)?, protocol(variables)?);
    let id = match &host.host_key {
        Some(key) => key.public_key(),
        None => host_public_key(&host.data_dir).map_err(|error| error.to_string())?,
    };
    let resource = resource(variables.get("OTEL_SERVICE_NAME").ok().flatten(), &host.lattice, id);
    // It reads the endpoint, headers and time-out by itself.
    let exporter = SpanExporter::builder().with_http().with_protocol(protocol).build();
    let exporter = exporter.map_err(|error| match error {
        // Up to the colon it names the variable or setting, after it the value, which may hold a password.
        ExporterBuildError::InvalidConfiguration(what) => {
            format!("{} has a value that can't be used", what.split(':').next().unwrap_or_default())
        }
        ExporterBuildError::InternalFailure(reason) => reason,
    })?;
    Ok(Telemetry::start(exporter, resource, queue))
}

/// Who exports. What the environment says of it wins.
fn resource(service_name: Option<&str>, lattice: &str, host: String) -> Resource {
    let own = [
        KeyValue::new("service.name", "wattle"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", host),
        KeyValue::new("wattle.lattice", lattice.to_owned()),
    ];
    let detectors: [Box<dyn ResourceDetector>; 2] =
        [Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())];
    let resource = Resource::builder_empty().with_attributes(own).with_detectors(&detectors);
    match service_name {
        Some(name) => resource.with_service_name(name.to_owned()).build(),
        None => resource.build(),
    }
}

/// How spans wait, by the variables of OpenTelemetry's batch processor.
///
/// # Errors
/// The variable whose value is not a number.
fn queue(variables: &Variables) -> Result<SpanQueue, String> {
    let usual = SpanQueue::default();
    let number = |name: &str| match variables.get(name).map_err(|error| error.to_string())? {
        None => Ok(None),
        Some(text) => text.trim().parse::<u32>().map(Some).map_err(|_| format!("{name} is not a number")),
    };
    let size = |name: &str, usual: usize| number(name).map(|size| size.map_or(usual, |size| size as usize));
    Ok(SpanQueue {
        capacity: size("OTEL_BSP_MAX_QUEUE_SIZE", usual.capacity)?,
        batch: size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.batch)?,
        delay: number("OTEL_BSP_SCHEDULE_DELAY")?.map_or(usual.delay, |ms| Duration::from_millis(ms.into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn endpoint_of(pairs: &[(&str, &str)]) -> Result<Option<&'static str>, String> {
        endpoint(&Variables::of(pairs))
    }

    #[test]
    fn traces_are_exported_only_where_an_endpoint_is_named() {
        assert_eq!(endpoint_of(&[]), Ok(None));
        assert_eq!(endpoint_of(&[("OTEL_SERVICE_NAME", "edge")]), Ok(None));
        assert_eq!(endpoint_of(&[ENDPOINT]), Ok(Some(ENDPOINT.0)));
        let both = [ENDPOINT, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "HTTPS://other/v1/traces")];
        assert_eq!(endpoint_of(&both), Ok(Some("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")));
    }

    #[test]
    fn they_can_be_switched_off() {
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(endpoint_of(&[ENDPOINT, off]), Ok(None), "{off:?}");
        }
        for on in [("OTEL_SDK_DISABLED", "false"), ("OTEL_TRACES_EXPORTER", "otlp")] {
            assert_eq!(endpoint_of(&[ENDPOINT, on]), Ok(Some(ENDPOINT.0)), "{on:?}");
        }
    }

    #[test]
    fn what_can_not_be_done_is_said_without_the_value() {
        for (name, value) in
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "ada:hunter2@collector"), ("OTEL_TRACES_EXPORTER", "zipkin")]
        {
            let problem = endpoint_of(&[ENDPOINT, (name, value)]).unwrap_err();
            assert!(problem.contains(name) && !problem.contains(value), "{problem}");
        }
    }

    #[test]
    fn spans_are_written_as_protobuf_or_json() {
        let protocol_of = |pairs: &[(&str, &str)]| protocol(&Variables::of(pairs));
        let (all, traces) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
        assert_eq!(protocol_of(&[]), Ok(Protocol::HttpBinary));
        assert_eq!(protocol_of(&[(all, "http/json")]), Ok(Protocol::HttpJson));
        assert_eq!(protocol_of(&[(all, "grpc"), (traces, "http/protobuf")]), Ok(Protocol::HttpBinary));
        for name in [all, traces] {
            assert!(protocol_of(&[(name, "grpc")]).unwrap_err().contains(name));
        }
    }

    #[test]
    fn the_queue_is_as_the_environment_says() {
        assert_eq!(queue(&Variables::default()), Ok(SpanQueue::default()));
        let given = Variables::of(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ]);
        let expected = SpanQueue { capacity: 10, batch: 5, delay: Duration::from_millis(100) };
        assert_eq!(queue(&given), Ok(expected));
        let refused = queue(&Variables::of(&[("OTEL_BSP_SCHEDULE_DELAY", "soon")])).unwrap_err();
        assert!(refused.contains("OTEL_BSP_SCHEDULE_DELAY"), "{refused}");
    }

    #[test]
    fn a_host_says_who_it_is() {
        let resource = resource(Some("edge"), "lab", "NHOST".to_owned());
        let value = |key: &str| {
            resource.iter().find(|(known, _)| known.as_str() == key).map(|(_, value)| value.to_string())
        };
        assert_eq!(value("service.name").as_deref(), Some("edge"));
        assert_eq!(value("service.instance.id").as_deref(), Some("NHOST"));
        assert_eq!(value("wattle.lattice").as_deref(), Some("lab"));
        assert_eq!(value("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }
}
