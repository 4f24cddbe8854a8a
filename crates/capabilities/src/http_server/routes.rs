//! From links to route tables, and from a request to its route. Nothing here touches a socket.

use super::config::{Match, RoutingMode, Rule, Settings, normal_host, refuse_key};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header, uri::Authority};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use wattle_provider::{LinkKey, ProviderError, ResolvedLink};

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The component.
    pub(super) target: String,
    /// The link that leads to it.
    pub(super) link_name: String,
    /// How long it may take for the head of its response.
    pub(super) timeout: Option<Duration>,
}

/// The routes of one listener.
#[derive(Debug)]
pub(super) enum RouteTable {
    /// Every request goes to one component.
    One(Arc<Route>),
    /// The longest matching path decides.
    Paths(PathRoutes),
    /// The host decides.
    Hosts(HostRoutes),
}

impl RouteTable {
    /// The route of a request whose URI is absolute.
    pub(super) fn find(&self, uri: &Uri, headers: &HeaderMap) -> Option<Arc<Route>> {
        match self {
            Self::One(route) => Some(route),
            Self::Paths(paths) => paths.find(uri.path().as_bytes()),
            Self::Hosts(hosts) => hosts.find(uri, headers),
        }
        .cloned()
    }
}

/// Routes by path.
#[derive(Debug, Default)]
pub(super) struct PathRoutes {
    /// By prefix, without a slash at the end.
    routes: HashMap<Box<[u8]>, Arc<Route>>,
    /// The length of the longest prefix.
    longest: usize,
}

impl PathRoutes {
    fn insert(&mut self, prefix: &str, route: Arc<Route>) {
        self.longest = self.longest.max(prefix.len());
        self.routes.insert(prefix.as_bytes().into(), route);
    }

    /// Tries the prefixes of `path` that end where a segment ends, longest first. Those that are longer than
    /// any route are skipped, so that a path of many slashes costs no more than the routes are long.
    fn find(&self, path: &[u8]) -> Option<&Arc<Route>> {
        let mut end = path.len();
        loop {
            if end <= self.longest
                && let Some(route) = self.routes.get(&path[..end])
            {
                return Some(route);
            }
            let reach = end.min(self.longest + 1);
            end = path[..reach].iter().rposition(|byte| *byte == b'/')?;
        }
    }
}

/// Routes by host.
#[derive(Debug)]
pub(super) struct HostRoutes {
    /// The header that names the host.
    header: HeaderName,
    /// By host, as [`normal_host`] writes it.
    routes: HashMap<String, Arc<Route>>,
}

impl HostRoutes {
    fn find(&self, uri: &Uri, headers: &HeaderMap) -> Option<&Arc<Route>> {
        let host = if self.header == header::HOST {
            normal_host(uri.host()?)
        } else {
            normal_host(without_port(headers.get(&self.header)?.to_str().ok()?))
        };
        self.routes.get(host.as_ref())
    }
}

fn without_port(value: &str) -> &str {
    match value.rsplit_once(':') {
        // The colons of a bare IPv6 address in brackets are not a port's.
        Some((host, port)) if !port.ends_with(']') => host,
        _ => value,
    }
}

/// What to listen on, and the routes there. Fails if a link does not go with the settings or with another
/// link.
pub(super) fn plan(
    settings: &Settings,
    id: &str,
    links: &BTreeMap<LinkKey, ResolvedLink>,
) -> Result<BTreeMap<SocketAddr, RouteTable>, ProviderError> {
    let mut taken: HashMap<Match, &LinkKey> = HashMap::new();
    let mut routes = Vec::new();
    for (key, link) in links {
        let Rule { matches, timeout } = Rule::parse(settings, id, link)?;
        if let Some(other) = taken.insert(matches.clone(), key) {
            let reason = format!("{} is taken by the link {other}", describe(&matches));
            return Err(refuse_key(key.clone(), matches.key(), reason));
        }
        let route = Route { target: link.target.clone(), link_name: link.name.clone(), timeout };
        routes.push((matches, Arc::new(route)));
    }
    if routes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut paths = PathRoutes::default();
    let mut hosts = HostRoutes { header: settings.header.clone(), routes: HashMap::new() };
    let mut tables = BTreeMap::new();
    for (matches, route) in routes {
        match matches {
            Match::Address(address) => {
                tables.insert(address, RouteTable::One(route));
            }
            Match::Path(prefix) => paths.insert(&prefix, route),
            Match::Host(host) => {
                hosts.routes.insert(host, route);
            }
        }
    }
    match settings.mode {
        RoutingMode::Address => {}
        RoutingMode::Path => {
            tables.insert(settings.default_address, RouteTable::Paths(paths));
        }
        RoutingMode::Host => {
            tables.insert(settings.default_address, RouteTable::Hosts(hosts));
        }
    }
    Ok(tables)
}

fn describe(matches: &Match) -> String {
    match matches {
        Match::Address(address) => format!("the address {address}"),
        Match::Path(prefix) if prefix.is_empty() => "the path `/`".to_owned(),
        Match::Path(prefix) => format!("the path `{prefix}`"),
        Match::Host(host) => format!("the host `{host}`"),
    }
}

/// Makes the request's URI absolute, with the scheme `http` and the authority that the client asked for, so
/// that a component can read both from it. As RFC 9112, section 3.2, has it: an authority in the request line
/// goes before the `Host` header, which is made to agree. A client of HTTP/1.0 need not name any; then it is the
/// address that the request came to.
///
/// The error is for the client.
pub(super) fn make_absolute(
    uri: &mut Uri,
    headers: &mut HeaderMap,
    version: Version,
    listener: SocketAddr,
) -> Result<(), &'static str> {
    let mut parts = std::mem::take(uri).into_parts();
    let unnamed = version < Version::HTTP_11 && !headers.contains_key(header::HOST);
    let authority = match parts.authority.take() {
        Some(authority) => name_host(headers, authority)?,
        None if unnamed => {
            let authority = Authority::try_from(listener.to_string());
            name_host(headers, authority.map_err(|_| "the Host header is missing")?)?
        }
        None => host_header(headers)?,
    };
    if authority.as_str().contains('@') {
        return Err("a user name in the authority is not allowed");
    }
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(authority);
    *uri = Uri::from_parts(parts).map_err(|_| "the request's target is not valid")?;
    Ok(())
}

/// Makes the `Host` header agree with the authority.
fn name_host(headers: &mut HeaderMap, authority: Authority) -> Result<Authority, &'static str> {
    let host = HeaderValue::try_from(authority.as_str()).map_err(|_| "the URI's authority is not valid")?;
    headers.insert(header::HOST, host);
    Ok(authority)
}

fn host_header(headers: &HeaderMap) -> Result<Authority, &'static str> {
    let mut values = headers.get_all(header::HOST).iter();
    let host = values.next().ok_or("the Host header is missing")?;
    if values.next().is_some() {
        return Err("there is more than one Host header");
    }
    Authority::try_from(host.as_bytes()).map_err(|_| "the Host header is not valid")
}

#[cfg(test)]
mod tests {
    use super::super::testing::link;
    use super::*;
    use proptest::prelude::*;

    fn plan_of(
        config: &[(&str, &str)],
        links: &[ResolvedLink],
    ) -> Result<BTreeMap<SocketAddr, RouteTable>, ProviderError> {
        let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let links = links.iter().map(|link| (link.key(), link.clone())).collect();
        plan(&Settings::parse(&config)?, "VSERVER", &links)
    }

    /// What [`PathRoutes`] has to do, written as its definition.
    fn longest_prefix<'a>(prefixes: &'a [String], path: &str) -> Option<&'a String> {
        let matching = |prefix: &&String| {
            path.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        prefixes.iter().filter(matching).max_by_key(|prefix| prefix.len())
    }

    proptest! {
        #[test]
        fn the_longest_prefix_on_a_segment_boundary_wins(
            prefixes in prop::collection::hash_set("(/[ab]{1,2}){0,4}", 0..12),
            path in "(/[ab]{0,2}){0,6}",
        ) {
            let prefixes: Vec<String> = prefixes.into_iter().collect();
            let mut routes = PathRoutes::default();
            for prefix in &prefixes {
                routes.insert(prefix, Arc::new(Route { target: prefix.clone(), link_name: String::new(), timeout: None }));
            }
            let path = if path.is_empty() { "/".to_owned() } else { path };
            prop_assert_eq!(
                routes.find(path.as_bytes()).map(|route| &route.target),
                longest_prefix(&prefixes, &path)
            );
        }
    }

    #[test]
    fn paths_match_whole_segments() {
        let links = [link("M1", &[("path", "/api/")]), link("M2", &[("path", "/api/v2")])];
        let tables =
            plan_of(&[("routing_mode", "path"), ("default_address", "127.0.0.1:9000")], &links).unwrap();
        let table = &tables[&"127.0.0.1:9000".parse().unwrap()];
        let target = |path: &str| {
            let uri = format!("http://h{path}").parse().unwrap();
            table.find(&uri, &HeaderMap::new()).map(|route| route.target.clone())
        };
        assert_eq!(target("/api").as_deref(), Some("M1"));
        assert_eq!(target("/api/").as_deref(), Some("M1"));
        assert_eq!(target("/api/v1?x=/api/v2").as_deref(), Some("M1"));
        assert_eq!(target("/api/v2/x").as_deref(), Some("M2"));
        assert_eq!(target("/api/v22").as_deref(), Some("M1"));
        assert_eq!(target("/apis"), None);
        assert_eq!(target("/"), None);
    }

    #[test]
    fn hosts_match_without_port_and_case() {
        let links = [link("M1", &[("host", "Example.com")]), link("M2", &[("host", "[::1]")])];
        let tables = plan_of(&[("routing_mode", "host")], &links).unwrap();
        let table = &tables[&"127.0.0.1:8000".parse().unwrap()];
        let target = |authority: &str| {
            let uri = format!("http://{authority}/").parse().unwrap();
            table.find(&uri, &HeaderMap::new()).map(|route| route.target.clone())
        };
        assert_eq!(target("example.com").as_deref(), Some("M1"));
        assert_eq!(target("EXAMPLE.com.:8000").as_deref(), Some("M1"));
        assert_eq!(target("[::1]:8000").as_deref(), Some("M2"));
        assert_eq!(target("www.example.com"), None);
    }

    #[test]
    fn another_header_can_name_the_host() {
        let config = [("routing_mode", "host"), ("header", "X-App")];
        let tables = plan_of(&config, &[link("M1", &[("host", "shop")])]).unwrap();
        let table = &tables[&"127.0.0.1:8000".parse().unwrap()];
        let uri: Uri = "http://other/".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(table.find(&uri, &headers), None);
        headers.insert("x-app", "Shop:80".parse().unwrap());
        assert_eq!(table.find(&uri, &headers).unwrap().target, "M1");
    }

    #[test]
    fn two_links_cannot_have_one_place() {
        for (mode, config) in
            [("address", &[][..]), ("path", &[("path", "/a")]), ("host", &[("host", "a.example")])]
        {
            let links = [link("M1", config), link("M2", config)];
            let error = plan_of(&[("routing_mode", mode)], &links).unwrap_err();
            let ProviderError::LinkConfig { key, reason, .. } = &error else { panic!("{mode} gave {error}") };
            assert_eq!(key, mode);
            assert!(reason.contains("M1"), "{reason}");
        }
    }

    #[test]
    fn without_links_there_is_nothing_to_listen_on() {
        for mode in ["address", "path", "host"] {
            assert!(plan_of(&[("routing_mode", mode)], &[]).unwrap().is_empty());
        }
    }

    const LISTENER: &str = "127.0.0.1:8000";

    fn absolute(target: &str, hosts: &[&str]) -> Result<(String, String), &'static str> {
        absolute_in(Version::HTTP_11, target, hosts)
    }

    fn absolute_in(version: Version, target: &str, hosts: &[&str]) -> Result<(String, String), &'static str> {
        let mut uri = target.parse().unwrap();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, host.parse().unwrap());
        }
        make_absolute(&mut uri, &mut headers, version, LISTENER.parse().unwrap())?;
        Ok((uri.to_string(), headers[header::HOST].to_str().unwrap().to_owned()))
    }

    #[test]
    fn uris_become_absolute() {
        let ok = |uri: &str, host: &str| Ok((uri.to_owned(), host.to_owned()));
        assert_eq!(absolute("/a?b=c", &["h:8000"]), ok("http://h:8000/a?b=c", "h:8000"));
        assert_eq!(absolute("http://real/a", &["other"]), ok("http://real/a", "real"));
        assert_eq!(absolute("https://real", &[]), ok("http://real/", "real"));
        assert_eq!(absolute("*", &["h"]), ok("http://h*", "h"));
        assert!(absolute("/", &[]).is_err());
        assert!(absolute("/", &["a", "b"]).is_err());
        assert!(absolute("/", &[""]).is_err());
        assert!(absolute("/", &["a b"]).is_err());
        assert!(absolute("/", &["me@h"]).is_err());
        assert!(absolute("http://me@h/", &[]).is_err());
    }

    #[test]
    fn old_clients_need_not_name_a_host() {
        let old = |target: &str, hosts: &[&str]| absolute_in(Version::HTTP_10, target, hosts);
        let ok = |uri: &str, host: &str| Ok((uri.to_owned(), host.to_owned()));
        assert_eq!(old("/a", &[]), ok("http://127.0.0.1:8000/a", LISTENER));
        assert_eq!(old("/a", &["h"]), ok("http://h/a", "h"));
        assert_eq!(old("http://real/a", &[]), ok("http://real/a", "real"));
        assert!(old("/", &[""]).is_err());
        let (mut uri, mut headers) = (Uri::from_static("/a"), HeaderMap::new());
        make_absolute(&mut uri, &mut headers, Version::HTTP_10, "[::1]:80".parse().unwrap()).unwrap();
        assert_eq!(uri, "http://[::1]:80/a");
    }
}
