//! Credentials from the user's docker configuration, credential helpers included.

use std::{
    env,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use tracing::warn;

use crate::registries::Credentials;

/// The name under which docker keeps the credentials of its own hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// How long a credential helper may take; it may be asking a service far away.
const HELPER_TIME: Duration = Duration::from_secs(30);

/// Where the user's docker configuration is, whether or not it exists.
pub(crate) fn config_path() -> Option<PathBuf> {
    let folder = env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".docker")))?;
    Some(folder.join("config.json"))
}

/// The credentials that the file, or a helper that it names, has for a registry.
pub(crate) async fn credentials(file: PathBuf, registry: String) -> Option<Credentials> {
    let shown = registry.clone();
    // Reads a file and may run a program.
    let asked = tokio::task::spawn_blocking(move || look_up(&file, &registry));
    match tokio::time::timeout(HELPER_TIME, asked).await {
        Ok(found) => found.ok().flatten(),
        Err(_) => {
            warn!(
                registry = shown,
                "docker credential helper did not answer within {HELPER_TIME:?}; going on without it"
            );
            None
        }
    }
}

fn look_up(file: &Path, registry: &str) -> Option<Credentials> {
    let keys: &[&str] = if registry == "docker.io" { &[DOCKER_HUB_KEY, registry] } else { &[registry] };
    keys.iter().find_map(|key| look_up_key(file, key))
}

fn look_up_key(file: &Path, key: &str) -> Option<Credentials> {
    let reader = match File::open(file) {
        Ok(reader) => io::BufReader::new(reader),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(file = %file.display(), %error, "docker configuration can't be read; going on without it");
            return None;
        }
    };
    match get_credential_from_reader(reader, key) {
        Ok(DockerCredential::UsernamePassword(username, password)) => {
            Some(Credentials::Basic { username, password: password.into() })
        }
        // It can only be exchanged for a token at the registry's own login service; no registry takes it as one.
        Ok(DockerCredential::IdentityToken(_)) => {
            warn!(
                file = %file.display(),
                registry = key,
                "docker identity tokens are not supported: use `docker login` with a password, or set the \
                 credentials of this registry; going on without them"
            );
            None
        }
        Err(error) => {
            if let Some(reason) = worth_a_warning(&error) {
                warn!(file = %file.display(), registry = key, reason, "docker credentials can't be used; going on without them");
            }
            None
        }
    }
}

/// What is wrong, unless the error only says that there are no credentials for this registry, which is how most pulls
/// of public artifacts go. The output of a helper is never repeated: it may hold a secret.
fn worth_a_warning(error: &CredentialRetrievalError) -> Option<&'static str> {
    match error {
        CredentialRetrievalError::NoCredentialConfigured | CredentialRetrievalError::ConfigNotFound => None,
        CredentialRetrievalError::HelperFailure { stdout, .. }
            if stdout.contains("credentials not found") =>
        {
            None
        }
        CredentialRetrievalError::HelperFailure { .. } => Some("the credential helper failed"),
        CredentialRetrievalError::HelperCommunicationError => Some("the credential helper can't be run"),
        CredentialRetrievalError::MalformedHelperResponse => {
            Some("the credential helper answered something else")
        }
        CredentialRetrievalError::CredentialDecodingError => Some("the entry can't be decoded"),
        CredentialRetrievalError::CredentialMismatchError => Some("the entry contradicts itself"),
        CredentialRetrievalError::ConfigReadError => Some("the file is not valid"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn entries_of_the_file_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        // "YWxpY2U6czpjcmV0" is alice:s:cret, a password with a colon.
        fs::write(
            &file,
            r#"{"auths": {"registry.example:5000": {"auth": "YWxpY2U6czpjcmV0"},
                          "https://index.docker.io/v1/": {"username": "bob", "password": "p"}}}"#,
        )
        .unwrap();
        let alice = Credentials::Basic { username: "alice".to_owned(), password: "s:cret".to_owned().into() };
        let bob = Credentials::Basic { username: "bob".to_owned(), password: "p".to_owned().into() };
        assert_eq!(credentials(file.clone(), "registry.example:5000".to_owned()).await, Some(alice));
        assert_eq!(credentials(file.clone(), "docker.io".to_owned()).await, Some(bob));
        assert_eq!(credentials(file, "other.example".to_owned()).await, None);
    }

    #[tokio::test]
    async fn identity_tokens_are_not_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, r#"{"auths": {"registry.example": {"identitytoken": "refresh"}}}"#).unwrap();
        assert!(matches!(
            get_credential_from_reader(File::open(&file).unwrap(), "registry.example"),
            Ok(DockerCredential::IdentityToken(_))
        ));
        assert_eq!(credentials(file, "registry.example".to_owned()).await, None);
    }

    #[tokio::test]
    async fn missing_and_broken_files_mean_anonymous() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        assert_eq!(credentials(file.clone(), "registry.example".to_owned()).await, None);
        fs::write(&file, "{ not json").unwrap();
        assert_eq!(credentials(file, "registry.example".to_owned()).await, None);
    }
}
