//! How to reach NATS, made from the settings.

use wattle_lattice::{Auth, ConnectOptions, TlsOptions};

use super::{Key, Settings};
use crate::failure::usage;

/// The lattice that is meant.
pub(crate) fn lattice(settings: &Settings) -> String {
    settings.text(Key::Lattice).unwrap_or("default").to_owned()
}

/// The root of the control subjects.
pub(crate) fn control_prefix(settings: &Settings) -> String {
    settings.text(Key::CtlPrefix).unwrap_or("wasmbus.ctl").to_owned()
}

/// The connection for control commands, events and state.
///
/// # Errors
/// A usage error when what proves who we are is not whole.
pub(crate) fn control(settings: &Settings) -> anyhow::Result<ConnectOptions> {
    let urls =
        settings.list(Key::NatsUrls).map_or_else(|| vec!["nats://127.0.0.1:4222".to_owned()], <[_]>::to_vec);
    Ok(ConnectOptions {
        auth: auth(settings, &CONTROL)?.unwrap_or_default(),
        tls: tls(settings, &CONTROL, &TlsOptions::default())?,
        inbox_prefix: settings.text(Key::NatsInboxPrefix).map(str::to_owned),
        ..ConnectOptions::new(urls)
    })
}

/// The connection for calls, where any setting makes it another one. What is not set is as for control.
///
/// # Errors
/// As for [`control`].
pub(crate) fn calls(settings: &Settings) -> anyhow::Result<Option<ConnectOptions>> {
    let control = control(settings)?;
    let mut calls = control.clone();
    let mut differs = false;
    let urls = settings.list(Key::RpcUrls).filter(|urls| !urls.is_empty());
    if let Some(urls) = urls.filter(|urls| *urls != control.urls) {
        calls.urls = urls.to_vec();
        differs = true;
    }
    if let Some(auth) = auth(settings, &CALLS)?
        && !same_credentials(settings)
    {
        calls.auth = auth;
        differs = true;
    }
    calls.tls = tls(settings, &CALLS, &control.tls)?;
    differs |= calls.tls != control.tls;
    Ok(differs.then_some(calls))
}

/// The settings of one connection.
struct Keys {
    creds: Key,
    jwt: Key,
    seed: Key,
    user: Key,
    password: Key,
    token: Key,
    nkey: Key,
    tls: Key,
    ca: Key,
    cert: Key,
    key: Key,
    first: Key,
}

const CONTROL: Keys = Keys {
    creds: Key::NatsCreds,
    jwt: Key::NatsJwt,
    seed: Key::NatsSeed,
    user: Key::NatsUser,
    password: Key::NatsPassword,
    token: Key::NatsToken,
    nkey: Key::NatsNkey,
    tls: Key::NatsTls,
    ca: Key::NatsCa,
    cert: Key::NatsCertFile,
    key: Key::NatsKeyFile,
    first: Key::NatsTlsFirst,
};

const CALLS: Keys = Keys {
    creds: Key::RpcCreds,
    jwt: Key::RpcJwt,
    seed: Key::RpcSeed,
    user: Key::RpcUser,
    password: Key::RpcPassword,
    token: Key::RpcToken,
    nkey: Key::RpcNkey,
    tls: Key::RpcTls,
    ca: Key::RpcCa,
    cert: Key::RpcCertFile,
    key: Key::RpcKeyFile,
    first: Key::RpcTlsFirst,
};

impl Keys {
    fn all_of_auth(&self) -> [Key; 7] {
        [self.creds, self.jwt, self.seed, self.user, self.password, self.token, self.nkey]
    }
}

/// The one way to prove who we are that is set, or none.
fn auth(settings: &Settings, keys: &Keys) -> anyhow::Result<Option<Auth>> {
    let set: Vec<String> = keys
        .all_of_auth()
        .into_iter()
        .filter_map(|key| Some(settings.find(key)?.origin.to_string()))
        .collect();
    if set.is_empty() {
        return Ok(None);
    }
    let creds = settings.path(keys.creds).map(|path| Auth::Creds(path.to_owned()));
    let jwt = settings.text(keys.jwt).zip(settings.secret(keys.seed));
    let jwt = jwt.map(|(jwt, seed)| Auth::JwtSeed { jwt: jwt.to_owned(), seed });
    let user = settings.text(keys.user).zip(settings.secret(keys.password));
    let user = user.map(|(user, password)| Auth::UserPassword { user: user.to_owned(), password });
    let token = settings.secret(keys.token).map(Auth::Token);
    let nkey = settings.secret(keys.nkey).map(|seed| Auth::NKey { seed });

    // One way uses up one setting, or two.
    let ways = [(creds, 1), (jwt, 2), (user, 2), (token, 1), (nkey, 1)];
    let mut complete = ways.into_iter().filter_map(|(way, uses)| Some((way?, uses)));
    match (complete.next(), complete.next()) {
        (Some((way, uses)), None) if uses == set.len() => Ok(Some(way)),
        _ => Err(usage(format!(
            "NATS credentials are one of: a credentials file; a JWT with its seed; a user with a password; a token; \
             a user seed alone. Given are: {}",
            set.join(", ")
        ))),
    }
}

/// Transport security; what is not set is as in `usual`.
fn tls(settings: &Settings, keys: &Keys, usual: &TlsOptions) -> anyhow::Result<TlsOptions> {
    let path = |key| settings.path(key).map(ToOwned::to_owned);
    let (cert, key) = match (path(keys.cert), path(keys.key)) {
        (None, None) => (usual.cert.clone(), usual.key.clone()),
        (Some(cert), Some(key)) => (Some(cert), Some(key)),
        _ => return Err(usage("a client certificate for NATS needs its key, and the other way round")),
    };
    Ok(TlsOptions {
        required: settings.switch(keys.tls).unwrap_or(usual.required),
        ca: path(keys.ca).or_else(|| usual.ca.clone()),
        cert,
        key,
        first: settings.switch(keys.first).unwrap_or(usual.first),
    })
}

/// Whether calls are given the very credentials that control has, as tools of the forerunner do.
fn same_credentials(settings: &Settings) -> bool {
    let value = |key| settings.find(key).map(|found| &found.value);
    CONTROL
        .all_of_auth()
        .into_iter()
        .zip(CALLS.all_of_auth())
        .all(|(control, calls)| value(control) == value(calls))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::{Variables, env, file};
    use wattle_identity::keys::{KeyKind, KeyPair};

    fn read(pairs: &[(&str, &str)]) -> Settings {
        Settings::new([env::layer(&Variables::of(pairs), |_| true).unwrap()])
    }

    #[test]
    fn one_way_to_log_in_is_chosen() {
        let seed = KeyPair::generate(KeyKind::User).unwrap().seed();
        let auth = |pairs: &[(&str, &str)]| control(&read(pairs)).map(|options| options.auth);
        assert!(matches!(auth(&[]).unwrap(), Auth::None));
        assert!(matches!(auth(&[("WATTLE_NATS_CREDS", "/a.creds")]).unwrap(), Auth::Creds(_)));
        let jwt = [("WASMCLOUD_CTL_JWT", "eyJ"), ("WASMCLOUD_CTL_SEED", seed.as_str())];
        assert!(matches!(auth(&jwt).unwrap(), Auth::JwtSeed { .. }));
        let user = [("WATTLE_NATS_USER", "ada"), ("WATTLE_NATS_PASSWORD", "x")];
        assert!(matches!(auth(&user).unwrap(), Auth::UserPassword { .. }));
        assert!(matches!(auth(&[("WATTLE_NATS_TOKEN", "t")]).unwrap(), Auth::Token(_)));
        assert!(matches!(auth(&[("WATTLE_NATS_NKEY", seed.as_str())]).unwrap(), Auth::NKey { .. }));
    }

    #[test]
    fn half_a_login_and_two_logins_are_refused_by_name() {
        for pairs in [
            &[("WATTLE_NATS_JWT", "eyJ")][..],
            &[("WATTLE_NATS_USER", "ada")],
            &[("WATTLE_NATS_TOKEN", "t"), ("WATTLE_NATS_CREDS", "/a.creds")],
            &[("WATTLE_NATS_TOKEN", "t"), ("WATTLE_NATS_USER", "ada")],
        ] {
            let error = control(&read(pairs)).unwrap_err().to_string();
            assert!(pairs.iter().all(|(name, _)| error.contains(name)), "{error}");
        }
        assert!(control(&read(&[("WATTLE_NATS_CERT", "/c.pem")])).is_err());
    }

    #[test]
    fn calls_take_from_control_what_they_are_not_told() {
        assert!(calls(&read(&[("WATTLE_NATS_URL", "nats://hub")])).unwrap().is_none());
        let other = read(&[
            ("WATTLE_NATS_URL", "nats://hub"),
            ("WATTLE_NATS_TOKEN", "t"),
            ("WATTLE_NATS_CA", "/ca.pem"),
            ("WATTLE_RPC_URL", "nats://leaf"),
        ]);
        let options = calls(&other).unwrap().unwrap();
        assert_eq!(options.urls, ["nats://leaf"]);
        assert!(matches!(options.auth, Auth::Token(_)));
        assert!(options.tls.ca.is_some());
    }

    #[test]
    fn an_empty_list_names_no_server() {
        let file = file::parse(r#"{"rpc_urls": [], "rpc_creds": ""}"#, Path::new("f.json")).unwrap();
        assert!(calls(&Settings::new([file])).unwrap().is_none());
    }

    #[test]
    fn the_same_said_twice_is_one_connection() {
        let twice = read(&[
            ("WASMCLOUD_CTL_HOST", "127.0.0.1"),
            ("WASMCLOUD_CTL_PORT", "4222"),
            ("WASMCLOUD_RPC_HOST", "127.0.0.1"),
            ("WASMCLOUD_RPC_PORT", "4222"),
            ("WASMCLOUD_CTL_CREDS", "/a.creds"),
            ("WASMCLOUD_RPC_CREDS", "/a.creds"),
            ("WASMCLOUD_CTL_TLS", "false"),
            ("WASMCLOUD_RPC_TLS", "false"),
        ]);
        assert!(calls(&twice).unwrap().is_none());
    }
}
