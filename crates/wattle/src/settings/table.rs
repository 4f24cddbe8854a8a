//! Every setting in one table: its flag, its environment variables, its config field, its type and what it means.
//!
//! The flags' help, the readers of the environment and of the config file, and the file that is shared with
//! a second machine are all made from these rows, so a setting can't mean one thing here and another there.

use wattle_identity::keys::KeyKind;

use super::value::Kind;

/// Names a setting. What each one means is in its [`Row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Lattice,
    CtlPrefix,
    NatsUrls,
    NatsCreds,
    NatsJwt,
    NatsSeed,
    NatsUser,
    NatsPassword,
    NatsToken,
    NatsNkey,
    NatsTls,
    NatsCa,
    NatsCertFile,
    NatsKeyFile,
    NatsTlsFirst,
    NatsInboxPrefix,
    RpcUrls,
    RpcCreds,
    RpcJwt,
    RpcSeed,
    RpcUser,
    RpcPassword,
    RpcToken,
    RpcNkey,
    RpcTls,
    RpcCa,
    RpcCertFile,
    RpcKeyFile,
    RpcTlsFirst,
    JsDomain,
    Labels,
    DataDir,
    Fresh,
    AllowFileLoad,
    AllowLatest,
    AllowUnsigned,
    AllowInsecure,
    TrustedIssuers,
    ClusterSeed,
    ClusterIssuers,
    ClusterCertificate,
    HostSeed,
    OciRegistry,
    OciUser,
    OciPassword,
    RegistryCa,
    Registries,
    MaxMemory,
    MaxExecutionTime,
    MaxQueuedCalls,
    AdminAddress,
    HeartbeatInterval,
    ComponentAuction,
    ProviderAuction,
    ProviderShutdownDelay,
    LogFormat,
    LogLevel,
}

/// Who needs a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every command that talks to a lattice.
    Connection,
    /// Only a host.
    Host,
}

/// Settings that are one choice: the strongest layer that sets one of them sets them all, so that a credentials
/// file on the command line replaces the user and password of the environment rather than joining them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// How to prove who we are on the control connection.
    ControlAuth,
    /// The same for the connection that carries calls.
    RpcAuth,
}

/// One name of a setting in the environment or the config file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    pub(crate) name: &'static str,
    /// How its value is written there, where that differs from the setting's own kind (older names count in
    /// milliseconds, say).
    pub(crate) kind: Option<Kind>,
}

/// A name whose value is written as the setting's kind says.
const fn name(name: &'static str) -> Name {
    Name { name, kind: None }
}

/// A name whose value is written in another way.
const fn counted(name: &'static str, kind: Kind) -> Name {
    Name { name, kind: Some(kind) }
}

/// Two older names that together say what a URL says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostPort {
    pub(crate) key: Key,
    /// Environment variables, the first pair with one that is set wins.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// Config fields.
    pub(crate) file: (&'static str, &'static str),
}

/// The pairs of host and port that stand for URLs.
pub(crate) const HOST_PORTS: &[HostPort] = &[
    HostPort {
        key: Key::NatsUrls,
        env: &[
            ("WASMCLOUD_CTL_HOST", "WASMCLOUD_CTL_PORT"),
            ("WASMCLOUD_NATS_HOST", "WASMCLOUD_NATS_PORT"),
            ("NATS_HOST", "NATS_PORT"),
        ],
        file: ("ctl_host", "ctl_port"),
    },
    HostPort {
        key: Key::RpcUrls,
        env: &[("WASMCLOUD_RPC_HOST", "WASMCLOUD_RPC_PORT")],
        file: ("rpc_host", "rpc_port"),
    },
];

/// Environment variables whose rest is a label's name. The second ones' names are lower-cased, as ever.
pub(crate) const LABEL_PREFIXES: &[(&str, bool)] =
    &[("WATTLE_LABEL_", false), ("WASMCLOUD_LABEL_", false), ("HOST_", true)];

/// Environment variables that name the config file.
pub(crate) const CONFIG_FILE_ENV: &[&str] = &["WATTLE_CONFIG", "HOST_CONFIG"];

/// Environment variables that are no settings, and yet are known: those of other commands, and those of the
/// forerunner's other programs.
pub(crate) const OTHER_ENV: &[&str] = &[
    "WATTLE_NATS_SERVER",
    "WATTLE_KEYS",
    "WATTLE_ISSUER_SEED",
    "WATTLE_SUBJECT_SEED",
    "WASMCLOUD_ENABLE_IPV6",
];

/// Environment variables that ask for a service which would decide what may run, or hand out secrets; there is none.
pub(crate) const UNSUPPORTED_ENV: &[(&str, &str)] = &[
    ("WASMCLOUD_POLICY_TOPIC", "no policy service is asked what may run"),
    ("WASMCLOUD_POLICY_CHANGES_TOPIC", "no policy service is asked what may run"),
    ("WASMCLOUD_SECRETS_TOPIC", "no secrets service is asked"),
];

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) key: Key,
    pub(crate) scope: Scope,
    pub(crate) group: Option<Group>,
    pub(crate) flag: Option<&'static str>,
    pub(crate) short: Option<char>,
    pub(crate) env: &'static [Name],
    /// The field's name in the config file, then names that are understood as well.
    pub(crate) file: &'static [Name],
    pub(crate) kind: Kind,
    /// Whether a second machine of the lattice needs it.
    pub(crate) shared: bool,
    /// Whether `-h` leaves it out.
    pub(crate) seldom: bool,
    /// What holds when nothing is set, for the help.
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

impl Row {
    const fn new(key: Key, scope: Scope, kind: Kind, help: &'static str) -> Self {
        Self {
            key,
            scope,
            group: None,
            flag: None,
            short: None,
            env: &[],
            file: &[],
            kind,
            shared: false,
            seldom: false,
            default: "",
            help,
        }
    }

    const fn group(mut self, group: Group) -> Self {
        self.group = Some(group);
        self
    }

    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn env(mut self, env: &'static [Name]) -> Self {
        self.env = env;
        self
    }

    const fn file(mut self, file: &'static [Name]) -> Self {
        self.file = file;
        self
    }

    const fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    const fn seldom(mut self) -> Self {
        self.seldom = true;
        self
    }

    const fn default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// The name by which messages and clap know the setting.
    pub(crate) fn id(&self) -> &'static str {
        match (self.flag, self.file.first()) {
            (Some(flag), _) => flag,
            (None, Some(field)) => field.name,
            (None, None) => "",
        }
    }
}

/// The row of a setting.
pub(crate) fn row(key: Key) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

const fn connection(key: Key, kind: Kind, help: &'static str) -> Row {
    Row::new(key, Scope::Connection, kind, help)
}

const fn host(key: Key, kind: Kind, help: &'static str) -> Row {
    Row::new(key, Scope::Host, kind, help)
}

/// All settings, in the order of the help.
pub(crate) static ROWS: &[Row] = &[
    // The lattice and the control connection: every command.
    connection(Key::Lattice, Kind::Lattice, "The lattice")
        .flag("lattice")
        .short('x')
        .env(&[name("WATTLE_LATTICE"), name("WASMCLOUD_LATTICE"), name("WASMCLOUD_LATTICE_PREFIX")])
        .file(&[name("lattice"), name("lattice_prefix")])
        .default("default")
        .shared(),
    connection(Key::NatsUrls, Kind::Urls, "A NATS server; repeat it, or separate with commas")
        .flag("nats-url")
        .env(&[name("WATTLE_NATS_URL")])
        .file(&[name("nats_urls"), name("nats_url")])
        .default("nats://127.0.0.1:4222"),
    connection(Key::NatsCreds, Kind::Path, "A NATS credentials (.creds) file")
        .flag("nats-creds")
        .group(Group::ControlAuth)
        .env(&[name("WATTLE_NATS_CREDS"), name("WASMCLOUD_CTL_CREDS"), name("WASMCLOUD_NATS_CREDS")])
        .file(&[name("nats_creds"), name("ctl_creds")]),
    connection(Key::NatsJwt, Kind::Secret, "A NATS user JWT; needs its seed")
        .flag("nats-jwt")
        .group(Group::ControlAuth)
        .env(&[name("WATTLE_NATS_JWT"), name("WASMCLOUD_CTL_JWT"), name("WASMCLOUD_NATS_JWT")])
        .file(&[name("nats_jwt"), name("ctl_jwt")])
        .seldom(),
    connection(Key::NatsSeed, Kind::Seed(KeyKind::User), "The seed of the NATS user JWT")
        .flag("nats-seed")
        .group(Group::ControlAuth)
        .env(&[
            name("WATTLE_NATS_SEED"),
            name("WASMCLOUD_CTL_SEED"),
            name("WASMCLOUD_NATS_SEED"),
            name("WASMCOULD_NATS_SEED"),
        ])
        .file(&[name("nats_seed"), name("ctl_seed")])
        .seldom(),
    connection(Key::NatsUser, Kind::Text, "A NATS user name; needs its password")
        .flag("nats-user")
        .group(Group::ControlAuth)
        .env(&[name("WATTLE_NATS_USER")])
        .file(&[name("nats_user")])
        .seldom(),
    connection(Key::NatsPassword, Kind::Secret, "The password of the NATS user")
        .flag("nats-password")
        .group(Group::ControlAuth)
        .env(&[name("WATTLE_NATS_PASSWORD")])
        .file(&[name("nats_password")])
        .seldom(),
    connection(Key::NatsToken, Kind::Secret, "A NATS token")
        .flag("nats-token")
        .group(Group::ControlAuth)
        .env(&[name("WATTLE_NATS_TOKEN")])
        .file(&[name("nats_token")])
        .seldom(),
    connection(
        Key::NatsNkey,
        Kind::Seed(KeyKind::User),
        "A NATS user seed to answer the server with, without a JWT",
    )
    .flag("nats-nkey")
    .group(Group::ControlAuth)
    .env(&[name("WATTLE_NATS_NKEY")])
    .file(&[name("nats_nkey")])
    .seldom(),
    connection(Key::NatsTls, Kind::Switch, "Require TLS")
        .flag("nats-tls")
        .env(&[name("WATTLE_NATS_TLS"), name("WASMCLOUD_CTL_TLS")])
        .file(&[name("nats_tls"), name("ctl_tls")])
        .seldom(),
    connection(
        Key::NatsCa,
        Kind::Path,
        "A PEM file with the authorities that may sign the server's certificate",
    )
    .flag("nats-ca")
    .env(&[name("WATTLE_NATS_CA")])
    .file(&[name("nats_ca")])
    .seldom(),
    connection(Key::NatsCertFile, Kind::Path, "The client certificate, a PEM file; needs its key")
        .flag("nats-cert")
        .env(&[name("WATTLE_NATS_CERT")])
        .file(&[name("nats_cert")])
        .seldom(),
    connection(Key::NatsKeyFile, Kind::Path, "The key of the client certificate, a PEM file")
        .flag("nats-key")
        .env(&[name("WATTLE_NATS_KEY")])
        .file(&[name("nats_key")])
        .seldom(),
    connection(Key::NatsTlsFirst, Kind::Switch, "Begin with TLS, before the server says hello")
        .flag("nats-tls-first")
        .env(&[name("WATTLE_NATS_TLS_FIRST")])
        .file(&[name("nats_tls_first")])
        .seldom(),
    connection(
        Key::NatsInboxPrefix,
        Kind::Subject,
        "The subjects on which replies arrive, where permissions ask for it",
    )
    .flag("nats-inbox-prefix")
    .env(&[name("WATTLE_NATS_INBOX_PREFIX")])
    .file(&[name("nats_inbox_prefix")])
    .default("_INBOX")
    .seldom(),
    connection(Key::CtlPrefix, Kind::Subject, "The root of the control subjects")
        .flag("ctl-topic-prefix")
        .env(&[name("WATTLE_CTL_TOPIC_PREFIX"), name("WASMCLOUD_CTL_TOPIC_PREFIX")])
        .file(&[name("ctl_topic_prefix")])
        .default("wasmbus.ctl")
        .seldom(),
    // The host.
    host(Key::JsDomain, Kind::Domain, "The JetStream domain of the lattice's state")
        .flag("js-domain")
        .env(&[name("WATTLE_JS_DOMAIN"), name("WASMCLOUD_JS_DOMAIN")])
        .file(&[name("js_domain")])
        .default("the NATS server's own")
        .shared(),
    host(Key::Labels, Kind::Pairs, "A label of this host, for constraints; repeat it")
        .flag("label")
        .short('l')
        .file(&[name("labels")]),
    host(Key::DataDir, Kind::Path, "The folder of this host's key, caches and list of what runs here")
        .flag("data-dir")
        .env(&[name("WATTLE_DATA_DIR")])
        .file(&[name("data_dir")])
        .default("$XDG_DATA_HOME/wattle/hosts/LATTICE"),
    host(Key::Fresh, Kind::Switch, "Start without what this host was told to run before")
        .flag("fresh")
        .env(&[name("WATTLE_FRESH")]),
    host(
        Key::AllowFileLoad,
        Kind::Switch,
        "Let components and providers be started from local files, signed or not",
    )
    .flag("allow-file-load")
    .env(&[name("WATTLE_ALLOW_FILE_LOAD"), name("WASMCLOUD_ALLOW_FILE_LOAD")])
    .file(&[name("allow_file_load"), name("enable_start_from_fs")]),
    host(Key::AllowLatest, Kind::Switch, "Let the tag `latest` be started")
        .flag("allow-latest")
        .env(&[name("WATTLE_ALLOW_LATEST"), name("WASMCLOUD_OCI_ALLOW_LATEST")])
        .file(&[name("allow_latest")]),
    host(Key::AllowUnsigned, Kind::Switch, "Let what comes from a registry be unsigned")
        .flag("allow-unsigned")
        .env(&[name("WATTLE_ALLOW_UNSIGNED")])
        .file(&[name("allow_unsigned")]),
    host(Key::AllowInsecure, Kind::RegistryNames, "A registry that is spoken to without TLS; repeat it")
        .flag("allow-insecure")
        .env(&[name("WATTLE_ALLOW_INSECURE"), name("WASMCLOUD_OCI_ALLOWED_INSECURE")])
        .file(&[name("allow_insecure"), name("allowed_insecure")]),
    host(
        Key::TrustedIssuers,
        Kind::Issuers(KeyKind::Account),
        "An account (A…) whose signatures count, or * for any; repeat it",
    )
    .flag("trusted-issuer")
    .env(&[name("WATTLE_TRUSTED_ISSUERS")])
    .file(&[name("trusted_issuers")])
    .default("nobody's")
    .shared(),
    host(Key::ClusterSeed, Kind::Seed(KeyKind::Cluster), "The cluster's seed (SC…)")
        .flag("cluster-seed")
        .env(&[name("WATTLE_CLUSTER_SEED"), name("WASMCLOUD_CLUSTER_SEED")])
        .file(&[name("cluster_seed")])
        .default("made, and written to ./host_config.json")
        .shared(),
    host(
        Key::ClusterIssuers,
        Kind::Keys(KeyKind::Cluster),
        "A public cluster key (C…) that this host trusts; repeat it",
    )
    .flag("cluster-issuer")
    .env(&[name("WATTLE_CLUSTER_ISSUERS"), name("WASMCLOUD_CLUSTER_ISSUERS")])
    .file(&[name("cluster_issuers")])
    .default("the public key of the cluster's seed")
    .shared(),
    host(
        Key::ClusterCertificate,
        Kind::Path,
        "A file with the certificate that was issued for this host; instead of the cluster's seed",
    )
    .flag("cluster-certificate")
    .env(&[name("WATTLE_CLUSTER_CERTIFICATE")])
    .file(&[name("cluster_certificate")]),
    host(Key::HostSeed, Kind::Seed(KeyKind::Host), "This host's own seed (SN…)")
        .flag("host-seed")
        .env(&[name("WATTLE_HOST_SEED"), name("WASMCLOUD_HOST_SEED")])
        .file(&[name("host_seed")])
        .default("the one in the data folder, made at first start"),
    host(Key::Registries, Kind::Registries, "Credentials and transport of each registry")
        .file(&[name("registries")])
        .shared(),
    host(
        Key::RegistryCa,
        Kind::List,
        "A PEM file with authorities that may sign the certificate of any registry; repeat it",
    )
    .flag("registry-ca")
    .env(&[name("WATTLE_TLS_CA_PATH"), name("WASMCLOUD_TLS_CA_PATH")])
    .file(&[name("tls_ca_path")])
    .default("the system's")
    .seldom(),
    host(Key::OciRegistry, Kind::RegistryName, "A registry with a user and a password")
        .env(&[name("WATTLE_OCI_REGISTRY"), name("WASMCLOUD_OCI_REGISTRY")])
        .file(&[name("oci_registry")]),
    host(Key::OciUser, Kind::Text, "The user of that registry")
        .env(&[name("WATTLE_OCI_REGISTRY_USER"), name("WASMCLOUD_OCI_REGISTRY_USER")])
        .file(&[name("oci_registry_user")]),
    host(Key::OciPassword, Kind::Secret, "The password of that registry")
        .env(&[name("WATTLE_OCI_REGISTRY_PASSWORD"), name("WASMCLOUD_OCI_REGISTRY_PASSWORD")])
        .file(&[name("oci_registry_password")]),
    host(Key::MaxMemory, Kind::Bytes, "Memory of one component instance, for example 64MiB")
        .flag("max-memory")
        .env(&[name("WATTLE_MAX_MEMORY"), name("WASMCLOUD_MAX_LINEAR_MEMORY")])
        .file(&[name("max_memory")])
        .default("256MiB"),
    host(Key::MaxExecutionTime, Kind::Duration, "Time of one call, for example 30s")
        .flag("max-execution-time")
        .env(&[name("WATTLE_MAX_EXECUTION_TIME"), counted("WASMCLOUD_MAX_EXECUTION_TIME_MS", Kind::Millis)])
        .file(&[name("max_execution_time")])
        .default("10m"),
    host(Key::MaxQueuedCalls, Kind::Count, "Calls that may wait before a component is busy")
        .flag("max-queued-calls")
        .env(&[name("WATTLE_MAX_QUEUED_CALLS")])
        .file(&[name("max_queued_calls")])
        .default("1000")
        .seldom(),
    host(
        Key::AdminAddress,
        Kind::Address,
        "Where to serve /livez, /readyz and /metrics, for example 127.0.0.1:9090",
    )
    .flag("admin-address")
    .env(&[name("WATTLE_ADMIN_ADDRESS"), name("WASMCLOUD_HTTP_ADMIN")])
    .file(&[name("admin_address")])
    .default("nowhere"),
    host(Key::HeartbeatInterval, Kind::Duration, "Time between two heartbeat events")
        .flag("heartbeat-interval")
        .env(&[name("WATTLE_HEARTBEAT_INTERVAL"), name("WASMCLOUD_HEARTBEAT_INTERVAL")])
        .file(&[name("heartbeat_interval")])
        .default("30s")
        .seldom(),
    host(Key::ComponentAuction, Kind::Switch, "Bid when a place for a component is sought")
        .flag("component-auction")
        .env(&[name("WATTLE_COMPONENT_AUCTION"), name("WASMCLOUD_COMPONENT_AUCTION_ENABLED")])
        .file(&[name("component_auction")])
        .default("true")
        .seldom(),
    host(Key::ProviderAuction, Kind::Switch, "Bid when a place for a provider is sought")
        .flag("provider-auction")
        .env(&[name("WATTLE_PROVIDER_AUCTION"), name("WASMCLOUD_PROVIDER_AUCTION_ENABLED")])
        .file(&[name("provider_auction")])
        .default("true")
        .seldom(),
    host(Key::ProviderShutdownDelay, Kind::Duration, "Time that a provider has to shut down")
        .flag("provider-shutdown-delay")
        .env(&[
            name("WATTLE_PROVIDER_SHUTDOWN_DELAY"),
            counted("WASMCLOUD_PROV_SHUTDOWN_DELAY_MS", Kind::Millis),
        ])
        .file(&[name("provider_shutdown_delay"), counted("provider_delay", Kind::Millis)])
        .default("2s")
        .seldom(),
    host(Key::LogFormat, Kind::LogFormat, "How to log: text or json")
        .flag("log-format")
        .env(&[
            name("WATTLE_LOG_FORMAT"),
            counted("WASMCLOUD_STRUCTURED_LOGGING_ENABLED", Kind::StructuredLogs),
        ])
        .file(&[name("log_format"), counted("structured_logging_enabled", Kind::StructuredLogs)])
        .default("text"),
    host(
        Key::LogLevel,
        Kind::LogLevel,
        "What to log: error, warn, info, debug, trace, or filters such as info,wattle_host=debug",
    )
    .flag("log-level")
    .env(&[name("WATTLE_LOG_LEVEL"), name("WASMCLOUD_LOG_LEVEL")])
    .file(&[name("log_level")])
    .default("info"),
    // A connection of its own for calls; what is left out is taken from the control connection.
    host(Key::RpcUrls, Kind::Urls, "A NATS server for calls, where that is another one; repeat it")
        .flag("rpc-url")
        .env(&[name("WATTLE_RPC_URL")])
        .file(&[name("rpc_urls"), name("rpc_url")])
        .default("as for control")
        .seldom(),
    host(Key::RpcCreds, Kind::Path, "The credentials file for calls")
        .flag("rpc-creds")
        .group(Group::RpcAuth)
        .env(&[name("WATTLE_RPC_CREDS"), name("WASMCLOUD_RPC_CREDS")])
        .file(&[name("rpc_creds")])
        .default("as for control")
        .seldom(),
    host(Key::RpcJwt, Kind::Secret, "The user JWT for calls; needs its seed")
        .flag("rpc-jwt")
        .group(Group::RpcAuth)
        .env(&[name("WATTLE_RPC_JWT"), name("WASMCLOUD_RPC_JWT")])
        .file(&[name("rpc_jwt")])
        .seldom(),
    host(Key::RpcSeed, Kind::Seed(KeyKind::User), "The seed of the user JWT for calls")
        .flag("rpc-seed")
        .group(Group::RpcAuth)
        .env(&[name("WATTLE_RPC_SEED"), name("WASMCLOUD_RPC_SEED")])
        .file(&[name("rpc_seed")])
        .seldom(),
    host(Key::RpcUser, Kind::Text, "The user name for calls; needs its password")
        .flag("rpc-user")
        .group(Group::RpcAuth)
        .env(&[name("WATTLE_RPC_USER")])
        .file(&[name("rpc_user")])
        .seldom(),
    host(Key::RpcPassword, Kind::Secret, "The password of the user for calls")
        .flag("rpc-password")
        .group(Group::RpcAuth)
        .env(&[name("WATTLE_RPC_PASSWORD")])
        .file(&[name("rpc_password")])
        .seldom(),
    host(Key::RpcToken, Kind::Secret, "The token for calls")
        .flag("rpc-token")
        .group(Group::RpcAuth)
        .env(&[name("WATTLE_RPC_TOKEN")])
        .file(&[name("rpc_token")])
        .seldom(),
    host(Key::RpcNkey, Kind::Seed(KeyKind::User), "The user seed for calls, without a JWT")
        .flag("rpc-nkey")
        .group(Group::RpcAuth)
        .env(&[name("WATTLE_RPC_NKEY")])
        .file(&[name("rpc_nkey")])
        .seldom(),
    host(Key::RpcTls, Kind::Switch, "Require TLS for calls")
        .flag("rpc-tls")
        .env(&[name("WATTLE_RPC_TLS"), name("WASMCLOUD_RPC_TLS")])
        .file(&[name("rpc_tls")])
        .default("as for control")
        .seldom(),
    host(Key::RpcCa, Kind::Path, "The authorities of the server for calls, a PEM file")
        .flag("rpc-ca")
        .env(&[name("WATTLE_RPC_CA")])
        .file(&[name("rpc_ca")])
        .default("as for control")
        .seldom(),
    host(Key::RpcCertFile, Kind::Path, "The client certificate for calls, a PEM file")
        .flag("rpc-cert")
        .env(&[name("WATTLE_RPC_CERT")])
        .file(&[name("rpc_cert")])
        .default("as for control")
        .seldom(),
    host(Key::RpcKeyFile, Kind::Path, "The key of the client certificate for calls, a PEM file")
        .flag("rpc-key")
        .env(&[name("WATTLE_RPC_KEY")])
        .file(&[name("rpc_key")])
        .default("as for control")
        .seldom(),
    host(Key::RpcTlsFirst, Kind::Switch, "Begin with TLS on the connection for calls")
        .flag("rpc-tls-first")
        .env(&[name("WATTLE_RPC_TLS_FIRST")])
        .file(&[name("rpc_tls_first")])
        .default("as for control")
        .seldom(),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_stands_for_two_settings() {
        let mut keys = BTreeSet::new();
        let mut flags = BTreeSet::new();
        let mut shorts = BTreeSet::new();
        let mut variables = BTreeSet::new();
        let mut fields = BTreeSet::new();
        for row in ROWS {
            assert!(keys.insert(row.key), "{:?} has two rows", row.key);
            assert!(row.flag.is_none_or(|flag| flags.insert(flag)), "--{} twice", row.id());
            assert!(row.short.is_none_or(|short| shorts.insert(short)), "-{:?} twice", row.short);
            assert!(!row.id().is_empty(), "{:?} can't be set", row.key);
            for variable in row.env {
                assert!(variables.insert(variable.name), "{} twice", variable.name);
                let label = LABEL_PREFIXES.iter().any(|(prefix, _)| variable.name.starts_with(prefix));
                assert!(!label, "{} would also be a label", variable.name);
            }
            for field in row.file {
                assert!(fields.insert(field.name), "{} twice", field.name);
            }
        }
        for pair in HOST_PORTS {
            assert!(pair.env.iter().all(|(host, port)| variables.insert(host) && variables.insert(port)));
            assert!(fields.insert(pair.file.0) && fields.insert(pair.file.1));
        }
    }

    #[test]
    fn every_row_has_our_own_name_first() {
        for row in ROWS {
            if let Some(first) = row.env.first() {
                assert!(first.name.starts_with("WATTLE_"), "{}", first.name);
            }
        }
    }

    #[test]
    fn nothing_of_one_machine_is_shared() {
        for key in [
            Key::HostSeed,
            Key::ClusterCertificate,
            Key::Labels,
            Key::DataDir,
            Key::AdminAddress,
            Key::NatsUrls,
            Key::NatsCreds,
        ] {
            assert!(!row(key).unwrap().shared, "{key:?}");
        }
    }
}
