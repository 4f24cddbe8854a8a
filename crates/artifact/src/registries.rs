//! Settings per registry: credentials, plain HTTP, CA files, whether `latest` is allowed.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{docker, error::Error, reference::is_registry};

/// What proves to a registry who is asking. Zeroised on drop; `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password (HTTP basic, or exchanged for a token where the registry asks for it).
    Basic {
        /// The user name.
        username: String,
        /// The password, or an access token that stands for one.
        password: Zeroizing<String>,
    },
    /// A bearer token, sent as it is.
    Bearer {
        /// The token.
        token: Zeroizing<String>,
    },
}

impl Credentials {
    /// Credentials from the three optional fields in which configuration files and `registry.put` give them. A
    /// password wins over a token; a user name with a token uses the token as its password; a token alone is a bearer
    /// token; nothing at all is `None`.
    ///
    /// # Errors
    /// [`Error::InvalidCredentials`] when a user name has neither password nor token, or a password has no user name.
    pub fn from_parts(
        username: Option<String>,
        password: Option<String>,
        token: Option<String>,
    ) -> Result<Option<Self>, Error> {
        let incomplete = |reason: &str| Err(Error::InvalidCredentials { reason: reason.to_owned() });
        match (username, password, token) {
            (Some(username), Some(secret), _) | (Some(username), None, Some(secret)) => {
                Ok(Some(Self::Basic { username, password: secret.into() }))
            }
            (None, None, Some(token)) => Ok(Some(Self::Bearer { token: token.into() })),
            (None, None, None) => Ok(None),
            (Some(_), None, None) => incomplete("there is a username, and neither password nor token"),
            (None, Some(_), _) => incomplete("there is a password, and no username"),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { username, .. } => {
                f.debug_struct("Basic").field("username", username).finish_non_exhaustive()
            }
            Self::Bearer { .. } => f.debug_struct("Bearer").finish_non_exhaustive(),
        }
    }
}

/// Settings of one registry.
///
/// In JSON: `{"username": "…", "password": "…", "token": "…", "insecure": true, "ca": ["/path"], "allow_latest":
/// false}`, every field optional. Serialising writes the secrets out; the file belongs under mode 0600.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "SettingsJson", into = "SettingsJson")]
pub struct RegistrySettings {
    /// Credentials; without them the user's docker configuration is asked, then the registry anonymously.
    pub credentials: Option<Credentials>,
    /// Speak plain HTTP.
    pub insecure: bool,
    /// PEM files of CA certificates to trust beside the system's.
    pub ca: Vec<PathBuf>,
    /// Allow the tag `latest`.
    pub allow_latest: bool,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct SettingsJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ca: Vec<PathBuf>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    allow_latest: bool,
}

impl TryFrom<SettingsJson> for RegistrySettings {
    type Error = Error;

    fn try_from(json: SettingsJson) -> Result<Self, Error> {
        let credentials = Credentials::from_parts(json.username, json.password, json.token)?;
        Ok(Self { credentials, insecure: json.insecure, ca: json.ca, allow_latest: json.allow_latest })
    }
}

impl From<RegistrySettings> for SettingsJson {
    fn from(settings: RegistrySettings) -> Self {
        let (username, password, token) = match settings.credentials {
            Some(Credentials::Basic { username, password }) => {
                (Some(username), Some(password.to_string()), None)
            }
            Some(Credentials::Bearer { token }) => (None, None, Some(token.to_string())),
            None => (None, None, None),
        };
        let RegistrySettings { insecure, ca, allow_latest, .. } = settings;
        Self { username, password, token, insecure, ca, allow_latest }
    }
}

/// The settings of all registries, by registry host (`registry.example:5000`). A registry that is not named here is
/// spoken to over TLS, with the user's docker credentials if there are any, else anonymously.
///
/// Clones share the settings, so credentials merged at run time are seen by every holder.
#[derive(Debug, Clone)]
pub struct Registries {
    settings: Arc<RwLock<BTreeMap<String, RegistrySettings>>>,
    extra_ca: Vec<PathBuf>,
    docker_config: Option<PathBuf>,
}

/// No registry is named; the user's docker configuration is used.
impl Default for Registries {
    fn default() -> Self {
        Self { settings: Arc::default(), extra_ca: Vec::new(), docker_config: docker::config_path() }
    }
}

impl Registries {
    /// Settings by registry host. The user's docker configuration (`$DOCKER_CONFIG/config.json`, else
    /// `~/.docker/config.json`) is used where these have no credentials.
    ///
    /// # Errors
    /// [`Error::InvalidRegistry`] when a key is not a registry host.
    pub fn new(settings: BTreeMap<String, RegistrySettings>) -> Result<Self, Error> {
        let settings: BTreeMap<_, _> = settings
            .into_iter()
            .map(|(name, settings)| Ok((host(&name)?, settings)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { settings: Arc::new(RwLock::new(settings)), ..Self::default() })
    }

    /// Trusts these PEM files of CA certificates for every registry.
    #[must_use]
    pub fn with_extra_ca(mut self, files: Vec<PathBuf>) -> Self {
        self.extra_ca = files;
        self
    }

    /// Uses this docker configuration file instead of the user's, or none at all.
    #[must_use]
    pub fn with_docker_config(mut self, file: Option<PathBuf>) -> Self {
        self.docker_config = file;
        self
    }

    /// Replaces the credentials of registries at run time; their other settings stay, unknown registries are added.
    ///
    /// # Errors
    /// [`Error::InvalidRegistry`]; then nothing was changed.
    pub fn merge_credentials(
        &self,
        credentials: impl IntoIterator<Item = (String, Credentials)>,
    ) -> Result<(), Error> {
        let checked: Vec<_> = credentials
            .into_iter()
            .map(|(name, value)| Ok((host(&name)?, value)))
            .collect::<Result<_, Error>>()?;
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in checked {
            settings.entry(name).or_default().credentials = Some(value);
        }
        Ok(())
    }

    /// The settings that hold for a registry, CA files for every registry included.
    pub fn settings_for(&self, registry: &str) -> RegistrySettings {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = settings.get(&registry.to_ascii_lowercase()).cloned().unwrap_or_default();
        found.ca.extend(self.extra_ca.iter().cloned());
        found
    }

    /// The credentials for a registry: those of its settings, else those of the user's docker configuration
    /// (credential helpers included), else none.
    ///
    /// A docker configuration that can't be used is logged and counts as none. Helpers are asked each time, since
    /// what they hand out expires.
    pub async fn credentials_for(&self, registry: &str) -> Option<Credentials> {
        if let Some(explicit) = self.settings_for(registry).credentials {
            return Some(explicit);
        }
        let file = self.docker_config.clone()?;
        docker::credentials(file, registry.to_ascii_lowercase()).await
    }
}

fn host(name: &str) -> Result<String, Error> {
    let lower = name.to_ascii_lowercase();
    if is_registry(&lower) { Ok(lower) } else { Err(Error::InvalidRegistry { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(username: &str, password: &str) -> Credentials {
        Credentials::Basic { username: username.to_owned(), password: password.to_owned().into() }
    }

    fn parse(json: &str) -> Result<BTreeMap<String, RegistrySettings>, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn settings_are_read_from_json() {
        let map = parse(
            r#"{"registry.example:5000": {"username": "alice", "password": "s", "insecure": true, "ca": ["/ca.pem"]},
                "Other.Example": {"token": "t", "allow_latest": true}, "third.example": {}}"#,
        )
        .unwrap();
        let registries = Registries::new(map).unwrap();
        let first = registries.settings_for("registry.example:5000");
        assert_eq!(first.credentials, Some(basic("alice", "s")));
        assert!(first.insecure && !first.allow_latest);
        assert_eq!(first.ca, [PathBuf::from("/ca.pem")]);
        let second = registries.settings_for("other.example");
        assert_eq!(second.credentials, Some(Credentials::Bearer { token: "t".to_owned().into() }));
        assert!(second.allow_latest && !second.insecure);
        assert_eq!(registries.settings_for("third.example"), RegistrySettings::default());
        assert_eq!(registries.settings_for("unnamed.example"), RegistrySettings::default());
    }

    #[test]
    fn settings_are_written_as_they_are_read() {
        for json in [
            r#"{"username":"alice","password":"s","insecure":true,"ca":["/ca.pem"],"allow_latest":true}"#,
            r#"{"token":"t"}"#,
            "{}",
        ] {
            let settings: RegistrySettings = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&settings).unwrap(), json);
        }
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        for (json, word) in [
            (r#"{"r.example": {"user": "alice"}}"#, "user"),
            (r#"{"r.example": {"insecure": "yes"}}"#, "boolean"),
            (r#"{"r.example": {"username": "alice"}}"#, "username"),
            (r#"{"r.example": {"password": "s"}}"#, "password"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
        for name in ["https://registry.example", "registry.example/shop", ""] {
            let map = BTreeMap::from([(name.to_owned(), RegistrySettings::default())]);
            let error = Registries::new(map).unwrap_err();
            assert!(matches!(error, Error::InvalidRegistry { .. }), "{error}");
        }
    }

    #[test]
    fn secrets_stay_out_of_debug() {
        let map = parse(
            r#"{"r.example": {"username": "alice", "password": "hunter2"}, "s.example": {"token": "hunter2"}}"#,
        );
        let text = format!("{:?}", Registries::new(map.unwrap()).unwrap());
        assert!(text.contains("alice") && !text.contains("hunter2"), "{text}");
    }

    #[tokio::test]
    async fn merged_credentials_replace_only_credentials() {
        let map =
            parse(r#"{"r.example": {"username": "alice", "password": "old", "insecure": true}}"#).unwrap();
        let registries = Registries::new(map).unwrap().with_docker_config(None);
        let seen_elsewhere = registries.clone();
        registries
            .merge_credentials([
                ("R.example".to_owned(), basic("bob", "new")),
                ("n.example".to_owned(), basic("eve", "x")),
            ])
            .unwrap();
        assert!(seen_elsewhere.settings_for("r.example").insecure);
        assert_eq!(seen_elsewhere.credentials_for("r.example").await, Some(basic("bob", "new")));
        assert_eq!(seen_elsewhere.credentials_for("n.example").await, Some(basic("eve", "x")));
        assert_eq!(seen_elsewhere.credentials_for("unnamed.example").await, None);

        let refused = registries.merge_credentials([
            ("z.example".to_owned(), basic("eve", "x")),
            ("no host".to_owned(), basic("eve", "x")),
        ]);
        assert!(matches!(refused, Err(Error::InvalidRegistry { .. })));
        assert_eq!(registries.credentials_for("z.example").await, None, "nothing of a refused merge is kept");
    }

    #[test]
    fn a_token_can_stand_for_a_password() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(Credentials::from_parts(some("a"), None, some("t")).unwrap(), Some(basic("a", "t")));
        assert_eq!(Credentials::from_parts(some("a"), some("p"), some("t")).unwrap(), Some(basic("a", "p")));
        assert_eq!(Credentials::from_parts(None, None, None).unwrap(), None);
    }
}
