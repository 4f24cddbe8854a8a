//! Every NATS subject of the control interface, the events and the state.

use crate::{Error, name};

/// Prefix of the control subjects unless the operator sets another one.
pub const DEFAULT_CONTROL_PREFIX: &str = "wasmbus.ctl";

/// The control subjects of one lattice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    lattice: String,
    /// `{prefix}.v1.{lattice}`.
    root: String,
}

/// A subscription that a host makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSubscription {
    /// What to subscribe to; may hold wildcards.
    pub subject: String,
    /// The queue group. Hosts of version 1 use the same names, so that one of them, not each, handles a message.
    pub queue: Option<String>,
}

/// What a message on a control subject asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ControlVerb {
    /// `host.ping`
    HostPing,
    /// `host.get.{host}`: the inventory.
    HostGet,
    /// `host.stop.{host}`
    HostStop,
    /// `component.auction`
    ComponentAuction,
    /// `component.scale.{host}`: start, scale and (with a count of 0) stop.
    ComponentScale,
    /// `component.update.{host}`
    ComponentUpdate,
    /// `provider.auction`
    ProviderAuction,
    /// `provider.start.{host}`
    ProviderStart,
    /// `provider.stop.{host}`
    ProviderStop,
    /// `label.put.{host}`
    LabelPut,
    /// `label.del.{host}`
    LabelDel,
    /// `link.get`
    LinkGet,
    /// `link.put`
    LinkPut,
    /// `link.del`
    LinkDel,
    /// `claims.get`
    ClaimsGet,
    /// `config.get.{name}`
    ConfigGet(String),
    /// `config.put.{name}`
    ConfigPut(String),
    /// `config.del.{name}`
    ConfigDel(String),
    /// `registry.put`
    RegistryPut,
}

impl Subjects {
    /// The subjects of a lattice under [`DEFAULT_CONTROL_PREFIX`].
    ///
    /// # Errors
    /// [`Error::InvalidName`] when the lattice's name is not one token.
    pub fn new(lattice: &str) -> Result<Self, Error> {
        Self::with_prefix(DEFAULT_CONTROL_PREFIX, lattice)
    }

    /// The subjects of a lattice under the operator's own prefix.
    ///
    /// # Errors
    /// [`Error::InvalidName`] when the lattice's name is not one token or the prefix not a plain subject.
    pub fn with_prefix(prefix: &str, lattice: &str) -> Result<Self, Error> {
        name::check_control_prefix(prefix)?;
        name::check_lattice_name(lattice)?;
        Ok(Self { lattice: lattice.to_owned(), root: format!("{prefix}.v1.{lattice}") })
    }

    /// The lattice's name.
    #[must_use]
    pub fn lattice(&self) -> &str {
        &self.lattice
    }

    /// Asks every host who it is.
    #[must_use]
    pub fn host_ping(&self) -> String {
        self.at("host.ping")
    }

    /// Asks a host for its inventory.
    #[must_use]
    pub fn host_get(&self, host: &str) -> String {
        self.to_host("host.get", host)
    }

    /// Stops a host.
    #[must_use]
    pub fn host_stop(&self, host: &str) -> String {
        self.to_host("host.stop", host)
    }

    /// Asks which hosts would run a component.
    #[must_use]
    pub fn component_auction(&self) -> String {
        self.at("component.auction")
    }

    /// Starts, scales or stops a component on a host.
    #[must_use]
    pub fn component_scale(&self, host: &str) -> String {
        self.to_host("component.scale", host)
    }

    /// Replaces a running component's code.
    #[must_use]
    pub fn component_update(&self, host: &str) -> String {
        self.to_host("component.update", host)
    }

    /// Asks which hosts would run a provider.
    #[must_use]
    pub fn provider_auction(&self) -> String {
        self.at("provider.auction")
    }

    /// Starts a provider on a host.
    #[must_use]
    pub fn provider_start(&self, host: &str) -> String {
        self.to_host("provider.start", host)
    }

    /// Stops a provider on a host.
    #[must_use]
    pub fn provider_stop(&self, host: &str) -> String {
        self.to_host("provider.stop", host)
    }

    /// Sets a label of a host.
    #[must_use]
    pub fn label_put(&self, host: &str) -> String {
        self.to_host("label.put", host)
    }

    /// Removes a label of a host.
    #[must_use]
    pub fn label_del(&self, host: &str) -> String {
        self.to_host("label.del", host)
    }

    /// Asks any host for all links.
    #[must_use]
    pub fn link_get(&self) -> String {
        self.at("link.get")
    }

    /// Puts a link.
    #[must_use]
    pub fn link_put(&self) -> String {
        self.at("link.put")
    }

    /// Deletes links.
    #[must_use]
    pub fn link_del(&self) -> String {
        self.at("link.del")
    }

    /// Asks any host for all claims.
    #[must_use]
    pub fn claims_get(&self) -> String {
        self.at("claims.get")
    }

    /// Reads a named config.
    #[must_use]
    pub fn config_get(&self, config: &str) -> String {
        self.at(&format!("config.get.{config}"))
    }

    /// Writes a named config.
    #[must_use]
    pub fn config_put(&self, config: &str) -> String {
        self.at(&format!("config.put.{config}"))
    }

    /// Deletes a named config.
    #[must_use]
    pub fn config_del(&self, config: &str) -> String {
        self.at(&format!("config.del.{config}"))
    }

    /// Gives every host credentials for registries.
    #[must_use]
    pub fn registries_put(&self) -> String {
        self.at("registry.put")
    }

    /// What a host subscribes to for as long as it runs, the two auctions included: a host that takes no part in
    /// one leaves out [`Self::component_auction`] or [`Self::provider_auction`].
    #[must_use]
    pub fn always(&self, host: &str) -> Vec<HostSubscription> {
        [
            self.registries_put(),
            self.host_ping(),
            self.component_auction(),
            self.provider_auction(),
            self.to_host("component.*", host),
            self.to_host("provider.*", host),
            self.to_host("label.*", host),
            self.to_host("host.*", host),
        ]
        .into_iter()
        .map(|subject| HostSubscription { subject, queue: None })
        .collect()
    }

    /// What a host subscribes to only while its state is caught up. They are queue subscriptions: while a host is
    /// behind and has dropped them, another one answers.
    #[must_use]
    pub fn needs_state(&self) -> Vec<HostSubscription> {
        [("link.*", "link"), ("claims.get", "claims"), ("config.>", "config")]
            .into_iter()
            .map(|(subject, queue)| HostSubscription {
                subject: self.at(subject),
                queue: Some(self.at(queue)),
            })
            .collect()
    }

    /// Reads a subject on which a message reached the host `host`. `None` when the subject belongs to another
    /// lattice or host, or names an operation that does not exist.
    #[must_use]
    pub fn parse_control(&self, subject: &str, host: &str) -> Option<ControlVerb> {
        let operation = subject.strip_prefix(&self.root)?.strip_prefix('.')?;
        let mut tokens = operation.split('.');
        let (noun, verb, argument) = (tokens.next()?, tokens.next()?, tokens.next());
        if tokens.next().is_some() {
            return None;
        }
        match argument {
            None => parse_for_any(noun, verb),
            Some(config) if noun == "config" => parse_config(verb, config),
            Some(addressee) if addressee == host => parse_for_host(noun, verb),
            Some(_) => None,
        }
    }

    fn at(&self, operation: &str) -> String {
        format!("{}.{operation}", self.root)
    }

    fn to_host(&self, operation: &str, host: &str) -> String {
        format!("{}.{operation}.{host}", self.root)
    }
}

fn parse_for_any(noun: &str, verb: &str) -> Option<ControlVerb> {
    Some(match (noun, verb) {
        ("host", "ping") => ControlVerb::HostPing,
        ("component", "auction") => ControlVerb::ComponentAuction,
        ("provider", "auction") => ControlVerb::ProviderAuction,
        ("link", "get") => ControlVerb::LinkGet,
        ("link", "put") => ControlVerb::LinkPut,
        ("link", "del") => ControlVerb::LinkDel,
        ("claims", "get") => ControlVerb::ClaimsGet,
        ("registry", "put") => ControlVerb::RegistryPut,
        _ => return None,
    })
}

fn parse_for_host(noun: &str, verb: &str) -> Option<ControlVerb> {
    Some(match (noun, verb) {
        ("host", "get") => ControlVerb::HostGet,
        ("host", "stop") => ControlVerb::HostStop,
        ("component", "scale") => ControlVerb::ComponentScale,
        ("component", "update") => ControlVerb::ComponentUpdate,
        ("provider", "start") => ControlVerb::ProviderStart,
        ("provider", "stop") => ControlVerb::ProviderStop,
        ("label", "put") => ControlVerb::LabelPut,
        ("label", "del") => ControlVerb::LabelDel,
        _ => return None,
    })
}

fn parse_config(verb: &str, config: &str) -> Option<ControlVerb> {
    name::check_config_name(config).ok()?;
    let config = config.to_owned();
    Some(match verb {
        "get" => ControlVerb::ConfigGet(config),
        "put" => ControlVerb::ConfigPut(config),
        "del" => ControlVerb::ConfigDel(config),
        _ => return None,
    })
}

/// Where the event `name` of a lattice is published. The operator's control prefix has no part in it.
#[must_use]
pub fn event(lattice: &str, name: &str) -> String {
    format!("wasmbus.evt.{lattice}.{name}")
}

/// All events of a lattice.
#[must_use]
pub fn events(lattice: &str) -> String {
    event(lattice, "*")
}

/// Prefix of the JetStream API: that of the connected account, or of the given domain.
#[must_use]
pub fn jetstream_api(domain: Option<&str>) -> String {
    match domain {
        Some(domain) => format!("$JS.{domain}.API"),
        None => "$JS.API".to_owned(),
    }
}

/// Where a key of a bucket is stored in its stream.
#[must_use]
pub fn key(bucket: &str, key: &str) -> String {
    format!("$KV.{bucket}.{key}")
}

/// Where to publish to write a key of a bucket: into another domain, only its API prefix leads there.
#[must_use]
pub fn key_write(domain: Option<&str>, bucket: &str, key_name: &str) -> String {
    match domain {
        Some(_) => format!("{}.{}", jetstream_api(domain), key(bucket, key_name)),
        None => key(bucket, key_name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOST: &str = "NDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LQHOST";

    fn subjects() -> Subjects {
        Subjects::new("default").unwrap()
    }

    #[test]
    fn every_request_is_spelled_as_specified_and_parsed_back() {
        let s = subjects();
        let table = [
            (s.host_ping(), "host.ping".to_owned(), ControlVerb::HostPing),
            (s.host_get(HOST), format!("host.get.{HOST}"), ControlVerb::HostGet),
            (s.host_stop(HOST), format!("host.stop.{HOST}"), ControlVerb::HostStop),
            (s.component_auction(), "component.auction".to_owned(), ControlVerb::ComponentAuction),
            (s.component_scale(HOST), format!("component.scale.{HOST}"), ControlVerb::ComponentScale),
            (s.component_update(HOST), format!("component.update.{HOST}"), ControlVerb::ComponentUpdate),
            (s.provider_auction(), "provider.auction".to_owned(), ControlVerb::ProviderAuction),
            (s.provider_start(HOST), format!("provider.start.{HOST}"), ControlVerb::ProviderStart),
            (s.provider_stop(HOST), format!("provider.stop.{HOST}"), ControlVerb::ProviderStop),
            (s.label_put(HOST), format!("label.put.{HOST}"), ControlVerb::LabelPut),
            (s.label_del(HOST), format!("label.del.{HOST}"), ControlVerb::LabelDel),
            (s.link_get(), "link.get".to_owned(), ControlVerb::LinkGet),
            (s.link_put(), "link.put".to_owned(), ControlVerb::LinkPut),
            (s.link_del(), "link.del".to_owned(), ControlVerb::LinkDel),
            (s.claims_get(), "claims.get".to_owned(), ControlVerb::ClaimsGet),
            (s.config_get("c"), "config.get.c".to_owned(), ControlVerb::ConfigGet("c".to_owned())),
            (s.config_put("c"), "config.put.c".to_owned(), ControlVerb::ConfigPut("c".to_owned())),
            (s.config_del("c"), "config.del.c".to_owned(), ControlVerb::ConfigDel("c".to_owned())),
            (s.registries_put(), "registry.put".to_owned(), ControlVerb::RegistryPut),
        ];
        for (subject, suffix, verb) in table {
            assert_eq!(subject, format!("wasmbus.ctl.v1.default.{suffix}"));
            assert_eq!(s.parse_control(&subject, HOST), Some(verb), "{subject}");
        }
    }

    #[test]
    fn another_prefix_is_used_for_control_only() {
        let s = Subjects::with_prefix("acct.wasmbus.ctl", "blue").unwrap();
        assert_eq!(s.link_get(), "acct.wasmbus.ctl.v1.blue.link.get");
        assert_eq!(s.needs_state()[0].queue.as_deref(), Some("acct.wasmbus.ctl.v1.blue.link"));
        assert_eq!(event("blue", "host_started"), "wasmbus.evt.blue.host_started");
        assert_eq!(events("blue"), "wasmbus.evt.blue.*");
    }

    #[test]
    fn subscriptions_and_queue_groups_are_those_of_version_1() {
        let s = subjects();
        let plain: Vec<_> = s.always(HOST);
        assert!(plain.iter().all(|subscription| subscription.queue.is_none()));
        let root = "wasmbus.ctl.v1.default";
        let expected = [
            format!("{root}.registry.put"),
            format!("{root}.host.ping"),
            format!("{root}.component.auction"),
            format!("{root}.provider.auction"),
            format!("{root}.component.*.{HOST}"),
            format!("{root}.provider.*.{HOST}"),
            format!("{root}.label.*.{HOST}"),
            format!("{root}.host.*.{HOST}"),
        ];
        assert_eq!(plain.into_iter().map(|subscription| subscription.subject).collect::<Vec<_>>(), expected);
        let queued: Vec<_> =
            s.needs_state().into_iter().map(|sub| (sub.subject, sub.queue.unwrap())).collect();
        let expected = [("link.*", "link"), ("claims.get", "claims"), ("config.>", "config")]
            .map(|(subject, queue)| (format!("{root}.{subject}"), format!("{root}.{queue}")));
        assert_eq!(queued, expected);
    }

    #[test]
    fn foreign_and_unknown_subjects_are_not_parsed() {
        let s = subjects();
        for subject in [
            "wasmbus.ctl.v1.default2.host.ping",
            "wasmbus.ctl.v1.defaulthost.ping",
            "wasmbus.ctl.v2.default.host.ping",
            "wasmbus.ctl.v1.default.host",
            "wasmbus.ctl.v1.default.host.get.NOTHER",
            "wasmbus.ctl.v1.default.host.get",
            "wasmbus.ctl.v1.default.component.foo.NDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LQHOST",
            "wasmbus.ctl.v1.default.config.get",
            "wasmbus.ctl.v1.default.config.get.a.b",
            "wasmbus.ctl.v1.default.config.purge.a",
            "",
        ] {
            assert_eq!(s.parse_control(subject, HOST), None, "{subject}");
        }
    }

    #[test]
    fn writes_into_a_domain_go_through_its_api_prefix() {
        assert_eq!(key_write(None, "LATTICEDATA_d", "COMPONENT_a"), "$KV.LATTICEDATA_d.COMPONENT_a");
        assert_eq!(
            key_write(Some("core"), "LATTICEDATA_d", "COMPONENT_a"),
            "$JS.core.API.$KV.LATTICEDATA_d.COMPONENT_a"
        );
        assert_eq!(jetstream_api(None), "$JS.API");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_configs_round_trip(text in any::<String>(), config in "[-/_=a-zA-Z0-9]{1,20}") {
            let s = subjects();
            let _ = s.parse_control(&text, HOST);
            let _ = s.parse_control(&format!("wasmbus.ctl.v1.default.{text}"), HOST);
            prop_assert_eq!(s.parse_control(&s.config_put(&config), HOST), Some(ControlVerb::ConfigPut(config)));
        }
    }
}
