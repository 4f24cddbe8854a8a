//! What a connection to NATS is made with.

use std::{fmt, path::PathBuf, time::Duration};

use async_nats::ServerAddr;
use zeroize::Zeroizing;

use crate::Error;

/// How to reach NATS and as whom.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Servers to try, in this order: `nats://host:port`, or `tls://` to insist on TLS. They hold no credentials.
    pub urls: Vec<String>,
    /// As whom.
    pub auth: Auth,
    /// Transport security.
    pub tls: TlsOptions,
    /// Name of the connection, shown by the server's monitoring.
    pub name: String,
    /// Prefix of the subjects on which replies arrive, where permissions ask for one of its own.
    pub inbox_prefix: Option<String>,
    /// How long a server has to accept the connection and to answer a request.
    pub request_timeout: Duration,
}

impl ConnectOptions {
    /// Options for these servers, without authentication, with a timeout of 2 s.
    pub fn new<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Self {
        Self {
            urls: urls.into_iter().map(Into::into).collect(),
            auth: Auth::None,
            tls: TlsOptions::default(),
            name: "wattle".to_owned(),
            inbox_prefix: None,
            request_timeout: Duration::from_secs(2),
        }
    }
}

/// How a member authenticates to NATS. Secrets are wiped from memory when dropped and never shown.
#[derive(Clone, Default)]
pub enum Auth {
    /// It does not.
    #[default]
    None,
    /// With a credentials file, read anew for each connection, so that it may be replaced at any time.
    Creds(PathBuf),
    /// With a user JWT and the seed of the user's key.
    JwtSeed {
        /// The user JWT.
        jwt: String,
        /// The user's seed (`SU…`).
        seed: Zeroizing<String>,
    },
    /// With the seed of a user's key alone.
    NKey {
        /// The user's seed (`SU…`).
        seed: Zeroizing<String>,
    },
    /// With a name and a password.
    UserPassword {
        /// The name.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// With a token.
    Token(Zeroizing<String>),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Creds(path) => f.debug_tuple("Creds").field(path).finish(),
            Self::JwtSeed { .. } => f.write_str("JwtSeed(hidden)"),
            Self::NKey { .. } => f.write_str("NKey(hidden)"),
            Self::UserPassword { user, .. } => {
                f.debug_struct("UserPassword").field("user", user).finish_non_exhaustive()
            }
            Self::Token(_) => f.write_str("Token(hidden)"),
        }
    }
}

/// Transport security. Without any of it, TLS is used when the server asks for it, with the system's authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Whether to refuse a server without TLS.
    pub required: bool,
    /// File with the certificate authorities to trust instead of the system's, PEM.
    pub ca: Option<PathBuf>,
    /// File with the client's certificate chain, PEM; needs `key`.
    pub cert: Option<PathBuf>,
    /// File with the key of the client's certificate, PEM; needs `cert`.
    pub key: Option<PathBuf>,
    /// Whether the TLS handshake comes before anything else, as the server must be configured to expect.
    pub first: bool,
}

impl TlsOptions {
    /// Checks what can be checked without a server.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.cert.is_some() != self.key.is_some() {
            let reason = "a client certificate and its key are given together".to_owned();
            return Err(Error::Option { option: "tls", reason });
        }
        for path in [&self.ca, &self.cert, &self.key].into_iter().flatten() {
            std::fs::File::open(path)
                .map_err(|error| Error::File { path: path.clone(), reason: error.to_string() })?;
        }
        Ok(())
    }
}

/// Reads the addresses of the servers.
pub(super) fn parse_urls(urls: &[String]) -> Result<Vec<ServerAddr>, Error> {
    let refuse = |reason: String| Error::Option { option: "urls", reason };
    if urls.is_empty() {
        return Err(refuse(
            "no NATS server is named; give at least one, such as nats://127.0.0.1:4222".to_owned(),
        ));
    }
    urls.iter()
        .enumerate()
        .map(|(at, url)| parse_url(url).map_err(|why| refuse(format!("number {}: {why}", at + 1))))
        .collect()
}

/// The refusals don't repeat the address: it may hold a password.
fn parse_url(url: &str) -> Result<ServerAddr, String> {
    let address: ServerAddr = url.trim().parse().map_err(|error: std::io::Error| error.to_string())?;
    if address.is_websocket() {
        return Err("WebSocket addresses are not supported; use nats:// or tls://".to_owned());
    }
    if address.username().is_some() || address.password().is_some() {
        return Err(
            "credentials don't belong in an address, where they would be shown; give them on their own"
                .to_owned(),
        );
    }
    if address.host().is_empty() {
        return Err("it names no host".to_owned());
    }
    Ok(address)
}

/// An address for people and messages: with its port, without a trailing slash.
pub(super) fn show(address: &ServerAddr) -> String {
    let host = address.host();
    if host.contains(':') {
        format!("{}://[{host}]:{}", address.scheme(), address.port())
    } else {
        format!("{}://{host}:{}", address.scheme(), address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let seed = Zeroizing::new("SUSECRET".to_owned());
        for auth in [
            Auth::JwtSeed { jwt: "SECRET".to_owned(), seed: seed.clone() },
            Auth::NKey { seed: seed.clone() },
            Auth::UserPassword { user: "u".to_owned(), password: seed.clone() },
            Auth::Token(seed),
        ] {
            let options = ConnectOptions { auth, ..ConnectOptions::new(["nats://localhost"]) };
            assert!(!format!("{options:?}").contains("SECRET"));
        }
    }

    #[test]
    fn addresses_are_completed_and_shown() {
        let urls = ["nats://hub.example:5222", "hub.example", "tls://[::1]:4443"].map(str::to_owned);
        let shown: Vec<_> = parse_urls(&urls).unwrap().iter().map(show).collect();
        assert_eq!(shown, ["nats://hub.example:5222", "nats://hub.example:4222", "tls://[::1]:4443"]);
    }

    #[test]
    fn unusable_addresses_are_refused_without_repeating_them() {
        for bad in ["nats://user:pw-secret@hub", "ws://hub", "http://hub", "nats://", "nats://a b"] {
            let message = parse_urls(&["nats://ok".to_owned(), bad.to_owned()]).unwrap_err().to_string();
            assert!(message.starts_with("invalid option `urls`: number 2: "), "{message}");
            assert!(!message.contains("pw-secret"), "{message}");
        }
        assert!(parse_urls(&[]).unwrap_err().to_string().contains("no NATS server is named"));
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let lonely = TlsOptions { cert: Some("/nowhere".into()), ..TlsOptions::default() };
        assert!(matches!(lonely.check(), Err(Error::Option { option: "tls", .. })));
        let missing = TlsOptions { ca: Some("/nowhere/ca.pem".into()), ..TlsOptions::default() };
        assert!(matches!(missing.check(), Err(Error::File { .. })));
    }
}
