//! Answering the server's question who we are.

use std::path::{Path, PathBuf};

use nkeys::KeyPair;
use zeroize::Zeroizing;

use super::options::Auth;
use crate::Error;

/// Answers the server's nonce for one way of authenticating.
pub(super) struct Authenticator {
    auth: Auth,
}

impl Authenticator {
    /// Checks that the secrets can be used, so that a typing error shows before a server is asked. `None` when there
    /// is nothing to answer.
    pub(super) fn new(auth: &Auth) -> Result<Option<Self>, Error> {
        if matches!(auth, Auth::None) {
            return Ok(None);
        }
        let authenticator = Self { auth: auth.clone() };
        authenticator.answer(b"")?;
        Ok(Some(authenticator))
    }

    /// What to send to a server that sent this nonce.
    pub(super) fn answer(&self, nonce: &[u8]) -> Result<async_nats::Auth, Error> {
        let mut answer = async_nats::Auth::new();
        match &self.auth {
            Auth::None => {}
            Auth::Creds(path) => {
                let (jwt, seed) = read_creds(path)?;
                let bad =
                    |error: nkeys::error::Error| file_error(path, format!("its seed is not valid: {error}"));
                answer.signature = Some(sign(&seed, nonce).map_err(bad)?.1);
                answer.jwt = Some(jwt);
            }
            Auth::JwtSeed { jwt, seed } => {
                let bad = |error: nkeys::error::Error| Error::Seed {
                    what: "the user JWT",
                    reason: error.to_string(),
                };
                answer.signature = Some(sign(seed, nonce).map_err(bad)?.1);
                answer.jwt = Some(jwt.clone());
            }
            Auth::NKey { seed } => {
                let bad = |error: nkeys::error::Error| Error::Seed {
                    what: "the user key",
                    reason: error.to_string(),
                };
                let (key, signature) = sign(seed, nonce).map_err(bad)?;
                answer.signature = Some(signature);
                answer.nkey = Some(key);
            }
            Auth::UserPassword { user, password } => {
                answer.username = Some(user.clone());
                answer.password = Some(password.to_string());
            }
            Auth::Token(token) => answer.token = Some(token.to_string()),
        }
        Ok(answer)
    }
}

impl Auth {
    /// What to check when the server says no.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::None => "no credentials were given, and this server wants some".to_owned(),
            Self::Creds(path) => {
                format!("check the credentials in `{}` and that they are for this server", path.display())
            }
            Self::JwtSeed { .. } => "check the user JWT and its seed".to_owned(),
            Self::NKey { .. } => "check the user seed and that the server knows its public key".to_owned(),
            Self::UserPassword { user, .. } => format!("check the password of `{user}`"),
            Self::Token(_) => "check the token".to_owned(),
        }
    }
}

fn sign(seed: &str, nonce: &[u8]) -> Result<(String, Vec<u8>), nkeys::error::Error> {
    let key = KeyPair::from_seed(seed.trim())?;
    Ok((key.public_key(), key.sign(nonce)?))
}

fn file_error(path: &Path, reason: String) -> Error {
    Error::File { path: PathBuf::from(path), reason }
}

fn read_creds(path: &Path) -> Result<(String, Zeroizing<String>), Error> {
    let text = std::fs::read_to_string(path).map_err(|error| file_error(path, error.to_string()))?;
    let text = Zeroizing::new(text);
    let missing =
        |what: &str| file_error(path, format!("it has no {what} block; is it a NATS credentials file?"));
    let jwt = block(&text, "NATS USER JWT").ok_or_else(|| missing("`NATS USER JWT`"))?;
    let seed = block(&text, "USER NKEY SEED").ok_or_else(|| missing("`USER NKEY SEED`"))?;
    Ok((jwt.to_owned(), Zeroizing::new(seed.to_owned())))
}

/// The line between `BEGIN title` and `END title`.
fn block<'a>(text: &'a str, title: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains(&format!("BEGIN {title}")))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creds(seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\r\nabc.def.ghi\r\n------END NATS USER JWT------\r\n\r\n\
             *** IMPORTANT ***\r\n\r\n-----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        )
    }

    #[test]
    fn creds_files_are_read_for_every_answer() {
        let (first, second) = (KeyPair::new_user(), KeyPair::new_user());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), creds(&first.seed().unwrap())).unwrap();
        let auth = Authenticator::new(&Auth::Creds(file.path().to_owned())).unwrap().unwrap();
        let answer = auth.answer(b"nonce").unwrap();
        assert_eq!(answer.jwt.as_deref(), Some("abc.def.ghi"));
        first.verify(b"nonce", &answer.signature.unwrap()).unwrap();
        std::fs::write(file.path(), creds(&second.seed().unwrap())).unwrap();
        second.verify(b"nonce", &auth.answer(b"nonce").unwrap().signature.unwrap()).unwrap();
    }

    #[test]
    fn unusable_secrets_are_told_before_a_server_is_asked() {
        let missing = Authenticator::new(&Auth::Creds("/nowhere/a.creds".into())).err().unwrap();
        assert!(missing.to_string().contains("/nowhere/a.creds"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, expected) in [("", "NATS USER JWT"), (&creds("SUNOSEED"), "seed is not valid")] {
            std::fs::write(file.path(), text).unwrap();
            let error = Authenticator::new(&Auth::Creds(file.path().to_owned())).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!error.to_string().contains("SUNOSEED"));
        }
        let seed = Zeroizing::new("SUNOSEED".to_owned());
        let error = Authenticator::new(&Auth::NKey { seed }).err().unwrap();
        assert!(matches!(error, Error::Seed { .. }) && !error.to_string().contains("SUNOSEED"));
    }

    #[test]
    fn a_user_key_is_answered_with_its_public_half() {
        let key = KeyPair::new_user();
        let seed = Zeroizing::new(key.seed().unwrap());
        let answer = Authenticator::new(&Auth::NKey { seed }).unwrap().unwrap().answer(b"n").unwrap();
        assert_eq!(answer.nkey, Some(key.public_key()));
        key.verify(b"n", &answer.signature.unwrap()).unwrap();
    }
}
