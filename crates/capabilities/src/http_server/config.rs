//! The configuration keys of the HTTP server, of the provider and of its links.

use http::{HeaderName, header, uri::Authority};
use std::{borrow::Cow, collections::BTreeMap, net::SocketAddr, time::Duration};
use wattle_provider::{LinkKey, ProviderError, ResolvedLink};

const ROUTING_MODE: &str = "routing_mode";
const DEFAULT_ADDRESS: &str = "default_address";
const HEADER: &str = "header";
const ADDRESS: &str = "address";
const PATH: &str = "path";
const HOST: &str = "host";
const TIMEOUT_MS: &str = "timeout_ms";

/// The interfaces of `wasi:http` that this provider calls: WASI 0.2's and 0.3's name for the same thing.
const INTERFACES: [&str; 2] = ["incoming-handler", "handler"];

/// Only this machine: whoever wants to serve others says so.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8000);

/// By what a request finds its component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoutingMode {
    /// By the address that it came in at: each link has its own.
    Address,
    /// By its path: the link with the longest matching prefix.
    Path,
    /// By its `Host`, or another header.
    Host,
}

impl RoutingMode {
    fn parse(value: &str) -> Option<Self> {
        match value {
            "address" => Some(Self::Address),
            "path" => Some(Self::Path),
            "host" => Some(Self::Host),
            _ => None,
        }
    }

    /// The mode's name; the key of a link's configuration has the same.
    fn name(self) -> &'static str {
        match self {
            Self::Address => ADDRESS,
            Self::Path => PATH,
            Self::Host => HOST,
        }
    }
}

/// The provider's own configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) mode: RoutingMode,
    pub(super) default_address: SocketAddr,
    /// The header to route on in host mode.
    pub(super) header: HeaderName,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mode: RoutingMode::Address, default_address: LOOPBACK, header: header::HOST }
    }
}

impl Settings {
    pub(super) fn parse(config: &BTreeMap<String, String>) -> Result<Self, ProviderError> {
        let mut settings = Self::default();
        for (key, value) in config {
            let refuse = |reason| ProviderError::Config { key: key.clone(), reason };
            match key.as_str() {
                ROUTING_MODE => {
                    settings.mode = RoutingMode::parse(value).ok_or_else(|| {
                        refuse(format!("`{value}` is none of `address`, `path` and `host`"))
                    })?;
                }
                DEFAULT_ADDRESS => settings.default_address = parse_address(value).map_err(refuse)?,
                HEADER => {
                    settings.header = HeaderName::try_from(value.as_str())
                        .map_err(|_| refuse(format!("`{value}` is not the name of an HTTP header")))?;
                }
                _ => {
                    return Err(refuse(format!(
                        "unknown; the keys are `{ROUTING_MODE}`, `{DEFAULT_ADDRESS}` and `{HEADER}`"
                    )));
                }
            }
        }
        if config.contains_key(HEADER) && settings.mode != RoutingMode::Host {
            let reason =
                format!("goes with `{ROUTING_MODE}` `host` only, and it is `{}`", settings.mode.name());
            return Err(ProviderError::Config { key: HEADER.into(), reason });
        }
        Ok(settings)
    }
}

/// What a link says about the requests that go over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) matches: Match,
    /// How long the component may take for the head of its response.
    pub(super) timeout: Option<Duration>,
}

/// Which requests go over a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Match {
    /// All that arrive at an address.
    Address(SocketAddr),
    /// Those whose path is this one or goes on with `/` after it. Without a slash at the end, so `/` is
    /// empty.
    Path(String),
    /// Those for this host, as [`normal_host`] writes it.
    Host(String),
}

impl Match {
    /// The configuration key that it comes from.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Address(_) => ADDRESS,
            Self::Path(_) => PATH,
            Self::Host(_) => HOST,
        }
    }
}

impl Rule {
    pub(super) fn parse(settings: &Settings, id: &str, link: &ResolvedLink) -> Result<Self, ProviderError> {
        check_ends(id, link)?;
        let mode = settings.mode;
        let mut own = None;
        let mut timeout = None;
        for (key, value) in &link.source_config {
            if key == mode.name() {
                own = Some(value.as_str());
            } else if key == TIMEOUT_MS {
                timeout = Some(parse_timeout(value).map_err(|reason| refuse_key(link.key(), key, reason))?);
            } else {
                return Err(refuse_key(link.key(), key, unknown_link_key(key, mode)));
            }
        }
        let matches = match (mode, own) {
            (RoutingMode::Address, None) => Ok(Match::Address(settings.default_address)),
            (RoutingMode::Address, Some(value)) => parse_address(value).map(Match::Address),
            (RoutingMode::Path, Some(value)) => parse_path(value).map(Match::Path),
            (RoutingMode::Host, Some(value)) => parse_host(value).map(Match::Host),
            (RoutingMode::Path | RoutingMode::Host, None) => Err(format!(
                "missing from the link's source configuration; `{ROUTING_MODE}` `{}` needs it",
                mode.name()
            )),
        };
        let matches = matches.map_err(|reason| refuse_key(link.key(), mode.name(), reason))?;
        Ok(Self { matches, timeout })
    }
}

/// The error for a key of a link's source configuration.
pub(super) fn refuse_key(link: LinkKey, key: &str, reason: String) -> ProviderError {
    ProviderError::LinkConfig { link: link.into(), key: key.to_owned(), reason }
}

fn check_ends(id: &str, link: &ResolvedLink) -> Result<(), ProviderError> {
    let refuse = |reason| Err(ProviderError::Link { link: link.key().into(), reason });
    if link.source != id {
        return refuse(format!(
            "the HTTP server {id} calls components, so it has to be the link's source and the component its target"
        ));
    }
    let wrong_package = link.namespace != "wasi" || link.package != "http";
    let wrong_interface = link.interfaces.iter().find(|interface| !INTERFACES.contains(&interface.as_str()));
    let found = match (wrong_package, wrong_interface) {
        (true, _) => format!("{}:{}", link.namespace, link.package),
        (false, Some(interface)) => format!("wasi:http/{interface}"),
        (false, None) if link.interfaces.is_empty() => "wasi:http without an interface".to_owned(),
        (false, None) => return Ok(()),
    };
    refuse(format!(
        "the HTTP server calls `wasi:http/incoming-handler` or `wasi:http/handler`, not `{found}`"
    ))
}

fn unknown_link_key(key: &str, mode: RoutingMode) -> String {
    match RoutingMode::parse(key) {
        Some(other) => format!(
            "goes with `{ROUTING_MODE}` `{}`, and this provider's is `{}`; see its key `{ROUTING_MODE}`",
            other.name(),
            mode.name()
        ),
        None => format!("unknown; the keys are `{}` and `{TIMEOUT_MS}`", mode.name()),
    }
}

fn parse_address(value: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = value.parse().map_err(|_| {
        format!(
            "`{value}` is not an IP address and port, such as `127.0.0.1:8000`, `0.0.0.0:80` or `[::]:8000`"
        )
    })?;
    if address.port() == 0 {
        return Err(format!("`{value}` leaves the port open, so nobody would know it; choose one"));
    }
    Ok(address)
}

fn parse_path(value: &str) -> Result<String, String> {
    let plain = http::uri::PathAndQuery::try_from(value).is_ok_and(|parsed| parsed.path() == value);
    if !plain || !value.starts_with('/') {
        return Err(format!(
            "`{value}` is not a path that starts with `/` and has neither query nor fragment"
        ));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

fn parse_host(value: &str) -> Result<String, String> {
    let authority = Authority::try_from(value).ok().filter(|authority| authority.host().len() == value.len());
    match authority {
        Some(authority) => Ok(normal_host(authority.host()).into_owned()),
        None => Err(format!("`{value}` is not a host name or IP address without a port")),
    }
}

/// A host as routes compare it: in small letters, without the dot that ends an absolute name.
pub(super) fn normal_host(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

fn parse_timeout(value: &str) -> Result<Duration, String> {
    match value.parse::<u64>() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => Err(format!("`{value}` is not a number of milliseconds above zero")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::link;
    use super::*;

    fn settings(config: &[(&str, &str)]) -> Result<Settings, ProviderError> {
        Settings::parse(&config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn nothing_set_means_loopback_by_address() {
        let defaults = settings(&[]).unwrap();
        assert_eq!(defaults.mode, RoutingMode::Address);
        assert_eq!(defaults.default_address.to_string(), "127.0.0.1:8000");
        assert_eq!(defaults.header, header::HOST);
    }

    #[test]
    fn bad_provider_configuration_is_refused_by_key() {
        for (config, key) in [
            (&[("routing_mode", "magic")][..], "routing_mode"),
            (&[("default_address", "localhost")], "default_address"),
            (&[("default_address", "127.0.0.1:0")], "default_address"),
            (&[("routing_mode", "host"), ("header", "no spaces")], "header"),
            (&[("header", "x-app")], "header"),
            (&[("rooting_mode", "path")], "rooting_mode"),
        ] {
            match settings(config).unwrap_err() {
                ProviderError::Config { key: named, .. } => assert_eq!(named, key),
                other => panic!("{config:?} gave {other}"),
            }
        }
    }

    #[test]
    fn bad_link_configuration_is_refused_by_key() {
        for (mode, config, key) in [
            ("address", &[("address", "127.0.0.1")][..], "address"),
            ("address", &[("path", "/api")], "path"),
            ("address", &[("tls_cert_file", "cert.pem")], "tls_cert_file"),
            ("address", &[("timeout_ms", "0")], "timeout_ms"),
            ("address", &[("timeout_ms", "1s")], "timeout_ms"),
            ("path", &[], "path"),
            ("path", &[("path", "api")], "path"),
            ("path", &[("path", "/api?x=1")], "path"),
            ("path", &[("path", "/api#top")], "path"),
            ("path", &[("path", "/"), ("address", "127.0.0.1:8001")], "address"),
            ("host", &[], "host"),
            ("host", &[("host", "")], "host"),
            ("host", &[("host", "example.com:80")], "host"),
            ("host", &[("host", "me@example.com")], "host"),
        ] {
            let settings = settings(&[("routing_mode", mode)]).unwrap();
            match Rule::parse(&settings, "VSERVER", &link("M1", config)).unwrap_err() {
                ProviderError::LinkConfig { key: named, .. } => assert_eq!(named, key, "{mode} {config:?}"),
                other => panic!("{mode} {config:?} gave {other}"),
            }
        }
    }

    #[test]
    fn links_of_others_are_refused() {
        let good = link("M1", &[]);
        let settings = Settings::default();
        assert!(Rule::parse(&settings, "VSERVER", &good).is_ok());
        for wrong in [
            ResolvedLink { source: "M1".into(), target: "VSERVER".into(), ..good.clone() },
            ResolvedLink { package: "keyvalue".into(), ..good.clone() },
            ResolvedLink { namespace: "acme".into(), ..good.clone() },
            ResolvedLink { interfaces: vec!["outgoing-handler".into()], ..good.clone() },
            ResolvedLink { interfaces: Vec::new(), ..good.clone() },
        ] {
            let error = Rule::parse(&settings, "VSERVER", &wrong).unwrap_err();
            assert!(matches!(error, ProviderError::Link { .. }), "{error}");
        }
        assert!(
            Rule::parse(&settings, "VSERVER", &ResolvedLink { interfaces: vec!["handler".into()], ..good })
                .is_ok()
        );
    }

    #[test]
    fn hosts_and_paths_are_normalised() {
        assert_eq!(parse_host("Example.COM.").unwrap(), "example.com");
        assert_eq!(parse_host("[::1]").unwrap(), "[::1]");
        assert_eq!(parse_path("/api/").unwrap(), "/api");
        assert_eq!(parse_path("/").unwrap(), "");
    }
}
