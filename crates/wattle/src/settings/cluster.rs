//! What a host is told of its cluster, at start and again whenever its config file or its certificate's file changes:
//! issuers, seed and certificate can be replaced while it runs.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::watch;
use wattle_host::{CertificateFile, ClusterSettings, host_public_key};
use wattle_identity::certificate::{Certificate, Role, read_chain, verify_chain};
use wattle_identity::keys::KeyPair;
use zeroize::Zeroizing;

use super::host::{cluster_issuers, data_dir, key};
use super::{Key, Layer, Settings, Variables, connect, env, file};
use crate::clock::now;
use crate::failure::{not_found, usage};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// The public key of the host that these settings make; its key is made where there is none yet.
///
/// # Errors
/// When the data folder can't be used.
pub(crate) fn public_key(settings: &Settings, variables: &Variables) -> anyhow::Result<String> {
    match key(settings, Key::HostSeed)? {
        Some(key) => Ok(key.public_key()),
        None => Ok(host_public_key(&data_dir(settings, variables)?)?),
    }
}

/// Where the settings of the cluster come from.
pub(crate) struct ClusterSource {
    /// Flags and the environment, which win over the file and don't change.
    above: [Layer; 2],
    /// The config file.
    config: PathBuf,
    /// Whether there was one at start.
    existed: bool,
    /// The settings of the start, for who this host is.
    start: Settings,
    variables: Variables,
    /// The cluster's key where no setting holds its seed: one that was made, or kept elsewhere.
    usual: Option<KeyPair>,
    look: Duration,
}

impl ClusterSource {
    /// `key` is the cluster's key as it was found or made at start.
    ///
    /// # Errors
    /// When an environment variable has a wrong value.
    pub(crate) fn new(
        settings: &Settings,
        flags: &Layer,
        variables: &Variables,
        config: PathBuf,
        key: Option<KeyPair>,
    ) -> anyhow::Result<Self> {
        let mut flags = flags.clone();
        flags.retain(|key| super::table::row(key).is_some_and(env::cluster));
        let usual = key.filter(|_| settings.find(Key::ClusterSeed).is_none());
        Ok(Self {
            above: [flags, env::layer(variables, env::cluster)?],
            existed: config.exists(),
            config,
            start: settings.clone(),
            variables: variables.clone(),
            usual,
            look: LOOK,
        })
    }

    /// Reads the settings of the cluster, and follows them until nobody is interested any more.
    ///
    /// # Errors
    /// When they contradict each other, or the certificate is not one for this host.
    pub(crate) fn start(self) -> anyhow::Result<watch::Receiver<ClusterSettings>> {
        let found = self.read(None).found?;
        let (sender, receiver) = watch::channel(found);
        tokio::spawn(Arc::new(self).follow(sender));
        Ok(receiver)
    }

    async fn follow(self: Arc<Self>, sender: watch::Sender<ClusterSettings>) {
        let mut complained_of = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.look) => {}
                () = sender.closed() => return,
            }
            let (source, before) = (Arc::clone(&self), sender.borrow().clone());
            let Ok(reading) = tokio::task::spawn_blocking(move || source.read(Some(&before))).await else {
                continue;
            };
            let mut complaint = reading.complaint;
            match reading.found {
                Ok(found) if !same(&found, &sender.borrow()) => {
                    tracing::info!(
                        issuers = found.issuers.join(","),
                        certificate = found.certificate.as_ref().map(|file| file.path.display().to_string()),
                        "the settings of the cluster have changed"
                    );
                    sender.send_replace(found);
                }
                Ok(_) => {}
                Err(error) => complaint = Some(error),
            }
            match complaint {
                None => complained_of = None,
                Some(_) if complained_of == Some(reading.digest) => {}
                Some(error) => {
                    complained_of = Some(reading.digest);
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "what the files say of the cluster can't be used: what was in force before stays so"
                    );
                }
            }
        }
    }

    /// Reads both files; `before` is what is in force.
    fn read(&self, before: Option<&ClusterSettings>) -> Reading {
        let (mut seen, mut complaint) = (DefaultHasher::new(), None);
        let found = self.read_all(before, &mut complaint, &mut seen);
        Reading { found, complaint, digest: seen.finish() }
    }

    fn read_all(
        &self,
        before: Option<&ClusterSettings>,
        complaint: &mut Option<anyhow::Error>,
        seen: &mut DefaultHasher,
    ) -> anyhow::Result<ClusterSettings> {
        let from_file = match read_text(&self.config, seen) {
            Ok(text) => file::parse(&text, &self.config)?,
            // One that was there may be about to come back, so that it is missing says nothing.
            Err(error) if error.kind() == ErrorKind::NotFound && !self.existed => Layer::default(),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", self.config.display()));
            }
        };
        let [flags, environment] = self.above.clone();
        let settings = Settings::new([flags, environment, from_file]);
        let path = settings.path(Key::ClusterCertificate);
        let key = match (key(&settings, Key::ClusterSeed)?, path) {
            (Some(_), Some(_)) => return Err(seed_and_certificate(&settings)),
            (None, Some(_)) => None,
            (key, None) => key.or_else(|| self.usual.clone()),
        };
        let issuers = cluster_issuers(&settings, key.as_ref());
        let mut certificate = None;
        if let Some(path) = path {
            let named = || format!("{}: {}", origin(&settings, Key::ClusterCertificate), path.display());
            let read = self.certificate(path, &issuers, before, seen).with_context(named);
            certificate = Some(match (read, before.and_then(|before| before.certificate.clone())) {
                (Ok(read), _) => read,
                // An issuer that was taken out is no longer to be believed, whoever issued this host's certificate.
                (Err(error), Some(earlier)) if !issuers.is_empty() => {
                    *complaint = Some(error);
                    earlier
                }
                (Err(error), _) => return Err(error),
            });
        }
        let had = before.is_some_and(|before| before.key.is_some() || before.certificate.is_some());
        if had && key.is_none() && certificate.is_none() {
            bail!("neither a cluster seed nor a certificate is named any more");
        }
        Ok(ClusterSettings { key, issuers, certificate })
    }

    /// The certificate in a file, checked as far as the settings allow.
    fn certificate(
        &self,
        path: &Path,
        issuers: &[String],
        before: Option<&ClusterSettings>,
        seen: &mut DefaultHasher,
    ) -> anyhow::Result<CertificateFile> {
        let text = read_text(path, seen).map_err(|error| match error.kind() {
            ErrorKind::NotFound => not_found("there is no such file"),
            _ => anyhow::Error::from(error).context("cannot read the file"),
        })?;
        let found = CertificateFile { path: path.to_owned(), chain: read_chain(&text).map_err(wrong)? };
        let in_force = |before: &ClusterSettings| {
            before.issuers == issuers
                && before.certificate.as_ref().is_some_and(|before| before.chain == found.chain)
        };
        if !before.is_some_and(in_force) {
            self.check(&found.chain, issuers, before.is_none())?;
        }
        Ok(found)
    }

    /// Whether a chain is one with which this host can be a member. One that is out of its time is good enough for a
    /// start, as the host has more to do than to be called from elsewhere.
    fn check(&self, chain: &[String], issuers: &[String], starting: bool) -> anyhow::Result<()> {
        let own = chain.first().map_or("", String::as_str);
        let own = Certificate::decode_unverified(own).map_err(wrong)?;
        if own.grant.role != Role::Host {
            return Err(usage(format!(
                "it is the certificate of a {}, and a host's is needed",
                own.grant.role
            )));
        }
        let host = public_key(&self.start, &self.variables)?;
        if own.subject != host {
            return Err(usage(format!(
                "it is the certificate of {}, and this host's key is {host}: issue one for that",
                own.subject
            )));
        }
        if issuers.is_empty() {
            return Err(usage(format!(
                "no cluster issuer is named whose word this host takes: {} issued the certificate \
                 (--cluster-issuer)",
                own.issuer
            )));
        }
        let lattice = connect::lattice(&self.start);
        let verify = |at| verify_chain(chain, issuers, &lattice, at, &BTreeSet::new()).map(drop);
        if !starting {
            return verify(now()).map_err(wrong);
        }
        verify(own.not_before).map_err(wrong)?;
        if let Err(error) = verify(now()) {
            tracing::warn!(%error, "this host can't call other hosts, or be called, with its certificate");
        }
        Ok(())
    }
}

/// What the files say, and what tells one content of them from another.
struct Reading {
    found: anyhow::Result<ClusterSettings>,
    /// Why the certificate of before is kept.
    complaint: Option<anyhow::Error>,
    digest: u64,
}

fn origin(settings: &Settings, key: Key) -> String {
    settings.find(key).map(|found| found.origin.to_string()).unwrap_or_default()
}

fn seed_and_certificate(settings: &Settings) -> anyhow::Error {
    usage(format!(
        "{} and {}: a host that has the cluster's seed issues its own certificate, and one that was given a \
         certificate needs no seed: leave one of them out",
        origin(settings, Key::ClusterSeed),
        origin(settings, Key::ClusterCertificate)
    ))
}

fn wrong(error: wattle_identity::Error) -> anyhow::Error {
    usage(error.to_string())
}

fn read_text(path: &Path, seen: &mut DefaultHasher) -> std::io::Result<Zeroizing<String>> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    match &text {
        Ok(text) => text.as_str().hash(seen),
        Err(error) => error.kind().hash(seen),
    }
    text
}

fn same(a: &ClusterSettings, b: &ClusterSettings) -> bool {
    let public = |settings: &ClusterSettings| settings.key.as_ref().map(KeyPair::public_key);
    public(a) == public(b) && a.issuers == b.issuers && a.certificate == b.certificate
}

#[cfg(test)]
mod tests {
    use wattle_identity::certificate::{Grant, Ids};
    use wattle_identity::keys::KeyKind;

    use super::*;

    /// An edge box: a folder with a config file and a certificate, and the key of a host.
    struct Edge {
        folder: tempfile::TempDir,
        host: KeyPair,
    }

    fn cluster() -> KeyPair {
        KeyPair::generate(KeyKind::Cluster).unwrap()
    }

    impl Edge {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), host: KeyPair::generate(KeyKind::Host).unwrap() }
        }

        fn config(&self) -> PathBuf {
            self.folder.path().join("host_config.json")
        }

        fn certificate(&self) -> PathBuf {
            self.folder.path().join("edge.jwt")
        }

        fn write_config(&self, fields: serde_json::Value) {
            std::fs::write(self.config(), fields.to_string()).unwrap();
        }

        fn issue(&self, cluster: &KeyPair, change: impl FnOnce(&mut Certificate)) -> String {
            let grant = Grant::host("lab");
            let mut made = Certificate::new(cluster, &self.host.public_key(), grant, now()).unwrap();
            change(&mut made);
            let token = made.encode(cluster).unwrap();
            std::fs::write(self.certificate(), format!("{token}\n")).unwrap();
            token
        }

        /// As the command does it, but for how often it looks.
        fn source(&self, variables: &[(&str, &str)], key: Option<KeyPair>) -> ClusterSource {
            let seed = self.host.seed();
            let all: Vec<_> =
                variables.iter().copied().chain([("WATTLE_HOST_SEED", seed.as_str())]).collect();
            let variables = Variables::of(&all);
            let mut layers = vec![env::layer(&variables, |_| true).unwrap()];
            if self.config().exists() {
                layers.push(file::layer(&self.config()).unwrap());
            }
            let settings = Settings::new(layers);
            let source =
                ClusterSource::new(&settings, &Layer::default(), &variables, self.config(), key).unwrap();
            ClusterSource { look: Duration::from_millis(5), ..source }
        }

        fn refusal(&self, variables: &[(&str, &str)]) -> String {
            format!("{:#}", self.source(variables, None).read(None).found.unwrap_err())
        }
    }

    async fn changed(receiver: &mut watch::Receiver<ClusterSettings>) -> ClusterSettings {
        let deadline = Duration::from_secs(30);
        tokio::time::timeout(deadline, receiver.changed()).await.expect("waited for a change").unwrap();
        receiver.borrow_and_update().clone()
    }

    #[test]
    fn a_seed_or_a_certificate_but_not_both() {
        let (edge, cluster) = (Edge::new(), cluster());
        let token = edge.issue(&cluster, |_| {});
        let issuers = [cluster.public_key()];
        edge.write_config(serde_json::json!({
            "lattice": "lab", "cluster_issuers": issuers, "cluster_certificate": edge.certificate(),
        }));
        let found = edge.source(&[], None).read(None).found.unwrap();
        assert!(found.key.is_none());
        assert_eq!(found.issuers, issuers);
        assert_eq!(found.certificate.unwrap().chain, [token]);
        let error = edge.refusal(&[("WATTLE_CLUSTER_SEED", &cluster.seed())]);
        assert!(error.contains("WATTLE_CLUSTER_SEED") && error.contains("`cluster_certificate`"), "{error}");

        let made = edge.source(&[], Some(cluster)).read(None).found.unwrap();
        assert!(made.key.is_none(), "a certificate wins over a seed that nobody named");
    }

    #[test]
    fn a_certificate_that_is_not_for_this_host_is_refused_and_explained() {
        let (edge, cluster) = (Edge::new(), cluster());
        let trusted = cluster.public_key();
        let path = edge.certificate().display().to_string();
        let set = [
            ("WATTLE_CLUSTER_CERTIFICATE", path.as_str()),
            ("WATTLE_CLUSTER_ISSUERS", trusted.as_str()),
            ("WATTLE_LATTICE", "lab"),
        ];
        assert!(edge.refusal(&set).contains(&path), "there is no file yet");
        std::fs::write(edge.certificate(), "junk").unwrap();
        assert!(edge.refusal(&set).contains("malformed"));
        edge.issue(&cluster, |_| {});
        assert!(edge.refusal(&set[..1]).contains("--cluster-issuer"));
        assert!(edge.refusal(&set[..2]).contains("lattice"));
        let other = KeyPair::generate(KeyKind::Host).unwrap().public_key();
        edge.issue(&cluster, |made| made.subject.clone_from(&other));
        let error = edge.refusal(&set);
        assert!(error.contains(&other) && error.contains(&edge.host.public_key()), "{error}");
        let user = KeyPair::generate(KeyKind::User).unwrap().public_key();
        edge.issue(&cluster, |made| {
            (made.grant, made.subject) = (Grant::client("lab", Ids::All), user);
        });
        assert!(edge.refusal(&set).contains("client"));
        edge.issue(&self::cluster(), |_| {});
        assert!(edge.refusal(&set).contains("not one of the cluster issuers"));

        edge.issue(&cluster, |made| (made.not_before, made.expires) = (1000, 2000));
        assert!(edge.source(&set, None).read(None).found.is_ok(), "a host starts with an expired one");
    }

    #[tokio::test]
    async fn issuers_and_seed_are_taken_up_when_the_file_changes() {
        let edge = Edge::new();
        let (old, new) = (cluster(), cluster());
        edge.write_config(serde_json::json!({ "cluster_seed": old.seed().as_str() }));
        let mut receiver = edge.source(&[], Some(old.clone())).start().unwrap();
        assert_eq!(receiver.borrow_and_update().issuers, [old.public_key()]);

        // What can't be used changes nothing, and does not end the watch.
        std::fs::write(edge.config(), "{").unwrap();
        let both = [old.public_key(), new.public_key()];
        edge.write_config(
            serde_json::json!({ "cluster_seed": new.seed().as_str(), "cluster_issuers": both }),
        );
        let now = changed(&mut receiver).await;
        assert_eq!(now.key.unwrap().public_key(), new.public_key());
        assert_eq!(now.issuers, both);
        edge.write_config(serde_json::json!({ "cluster_seed": new.seed().as_str(), "allow_latest": true }));
        assert_eq!(changed(&mut receiver).await.issuers, [new.public_key()]);
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_taken_up() {
        let (edge, cluster) = (Edge::new(), cluster());
        let first = edge.issue(&cluster, |_| {});
        let (trusted, path) = (cluster.public_key(), edge.certificate().display().to_string());
        let set = [
            ("WATTLE_CLUSTER_CERTIFICATE", path.as_str()),
            ("WATTLE_CLUSTER_ISSUERS", trusted.as_str()),
            ("WATTLE_LATTICE", "lab"),
        ];
        let mut receiver = edge.source(&set, None).start().unwrap();
        assert_eq!(receiver.borrow_and_update().certificate.as_ref().unwrap().chain, [first]);
        let second = edge.issue(&cluster, |_| {});
        assert_eq!(changed(&mut receiver).await.certificate.unwrap().chain, [second]);
    }

    #[test]
    fn what_can_not_be_used_is_not_taken_up() {
        let (edge, cluster) = (Edge::new(), cluster());
        let first = edge.issue(&cluster, |_| {});
        let fields = serde_json::json!({
            "lattice": "lab", "cluster_issuers": [cluster.public_key()], "cluster_certificate": edge.certificate(),
        });
        edge.write_config(fields.clone());
        let source = edge.source(&[], None);
        let before = source.read(None).found.unwrap();
        let refused = |why: &str| {
            let error = format!("{:#}", source.read(Some(&before)).found.unwrap_err());
            assert!(error.contains(why), "{error}");
        };
        let kept = |why: &str| {
            let reading = source.read(Some(&before));
            let complaint = format!("{:#}", reading.complaint.unwrap());
            assert!(complaint.contains(why) && complaint.contains("edge.jwt"), "{complaint}");
            let now = reading.found.unwrap();
            assert_eq!(now.certificate, before.certificate);
            now.issuers
        };
        edge.issue(&cluster, |made| (made.not_before, made.expires) = (1000, 2000));
        kept("expired");
        edge.issue(&self::cluster(), |_| {});
        kept("not one of the cluster issuers");
        std::fs::remove_file(edge.certificate()).unwrap();
        kept("no such file");
        edge.write_config(serde_json::json!({ "cluster_issuers": [cluster.public_key()] }));
        refused("neither a cluster seed nor a certificate");
        edge.write_config(serde_json::json!({ "cluster_certificate": edge.certificate() }));
        refused("no such file");
        std::fs::write(edge.certificate(), &first).unwrap();
        refused("--cluster-issuer");
        std::fs::remove_file(edge.config()).unwrap();
        refused("cannot read");

        // Whose word no longer counts is believed no more, even where this host's own certificate is theirs.
        let other = self::cluster().public_key();
        let mut changed = fields.clone();
        changed["cluster_issuers"] = serde_json::json!([other]);
        edge.write_config(changed);
        assert_eq!(kept("not one of the cluster issuers"), [other]);

        edge.write_config(fields);
        assert!(same(&source.read(Some(&before)).found.unwrap(), &before));
        edge.issue(&cluster, |_| {});
        assert!(!same(&source.read(Some(&before)).found.unwrap(), &before));
    }

    #[test]
    fn a_seed_that_was_made_stays_where_the_file_names_none() {
        let (edge, made, other) = (Edge::new(), cluster(), cluster());
        let source = edge.source(&[], Some(made.clone()));
        let before = source.read(None).found.unwrap();
        assert_eq!(before.issuers, [made.public_key()]);
        edge.write_config(serde_json::json!({ "cluster_issuers": [other.public_key()] }));
        let now = source.read(Some(&before)).found.unwrap();
        assert_eq!(now.key.unwrap().public_key(), made.public_key());
        assert_eq!(now.issuers, [other.public_key(), made.public_key()]);
    }
}
