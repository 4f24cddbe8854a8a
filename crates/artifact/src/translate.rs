//! From what the OCI client reports to what the user can act on.

use std::{error::Error as StdError, io};

use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope, OciErrorCode};

use crate::error::Error;

/// Whom and what a request was about.
pub(crate) struct Request<'a> {
    pub(crate) registry: &'a str,
    pub(crate) reference: String,
    /// Who asked, without secrets.
    pub(crate) login: &'a str,
}

impl Request<'_> {
    pub(crate) fn failed(&self, error: OciDistributionError) -> Error {
        use OciDistributionError as E;
        match error {
            E::RequestError(error) => match error.status() {
                Some(status) => self.status(status.as_u16(), String::new()),
                None => self.transport(&error.without_url()),
            },
            E::UnauthorizedError { .. } | E::AuthenticationFailure(_) => self.unauthorized(),
            E::ServerError { code, message, .. } => self.status(code, message),
            E::RegistryError { envelope, .. } => self.envelope(&envelope),
            E::DigestError(error) => self.digest(&error),
            E::ImageManifestNotFoundError(reason) => self.not_found(reason),
            E::IoError(error) => self.stream(&error),
            other => self.not_a_registry(other.to_string()),
        }
    }

    /// An error in the midst of a layer.
    pub(crate) fn stream(&self, error: &io::Error) -> Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<DigestError>()) {
            Some(error) => self.digest(error),
            None => self.transport(error),
        }
    }

    pub(crate) fn not_a_registry(&self, reason: String) -> Error {
        Error::NotARegistry { registry: self.registry.to_owned(), reason }
    }

    fn digest(&self, error: &DigestError) -> Error {
        match error {
            DigestError::VerificationError { expected, actual } => Error::DigestMismatch {
                reference: self.reference.clone(),
                expected: expected.clone(),
                actual: actual.clone(),
            },
            other => self.not_a_registry(other.to_string()),
        }
    }

    fn unauthorized(&self) -> Error {
        Error::Unauthorized {
            registry: self.registry.to_owned(),
            reference: self.reference.clone(),
            login: self.login.to_owned(),
        }
    }

    fn not_found(&self, reason: String) -> Error {
        Error::NotFound { reference: self.reference.clone(), reason }
    }

    fn status(&self, status: u16, message: String) -> Error {
        match status {
            401 | 403 => return self.unauthorized(),
            429 | 500..=599 => {
                let reason = format!("it answered {status}");
                return Error::Unavailable { registry: self.registry.to_owned(), reason };
            }
            _ => {}
        }
        match serde_json::from_str::<OciEnvelope>(&message) {
            Ok(envelope) => self.envelope(&envelope),
            // A registry that does not know a name says so in the OCI error format.
            Err(_) => self
                .not_a_registry(format!("it answered {status} without saying why in the OCI error format")),
        }
    }

    fn envelope(&self, envelope: &OciEnvelope) -> Error {
        use OciErrorCode as C;
        let reason = envelope.errors.iter().map(describe).collect::<Vec<_>>().join("; ");
        match envelope.errors.first().map(|error| &error.code) {
            Some(C::Unauthorized | C::Denied) => self.unauthorized(),
            Some(
                C::ManifestUnknown | C::NameUnknown | C::NotFound | C::BlobUnknown | C::ManifestBlobUnknown,
            ) => self.not_found(reason),
            Some(C::Toomanyrequests) => Error::Unavailable { registry: self.registry.to_owned(), reason },
            _ => Error::Refused {
                registry: self.registry.to_owned(),
                reference: self.reference.clone(),
                reason,
            },
        }
    }

    fn transport(&self, error: &(dyn StdError + 'static)) -> Error {
        let registry = self.registry.to_owned();
        match causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidMessage(_)) => Error::NotTls { registry },
            Some(rustls::Error::InvalidCertificate(reason)) => {
                Error::Certificate { registry, reason: reason.to_string() }
            }
            _ => Error::Unreachable { registry, reason: root_cause(error) },
        }
    }
}

fn describe(error: &oci_client::errors::OciError) -> String {
    match error.message.as_str() {
        "" => format!("{:?}", error.code),
        message => message.to_owned(),
    }
}

/// The error and what caused it, outermost first. An `io::Error` hides the error that it was made of from
/// `source()`, so that is looked into.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<'static> {
        let reference = "registry.example/a:1".to_owned();
        Request { registry: "registry.example", reference, login: "user \"alice\"" }
    }

    fn status(code: u16, message: &str) -> Error {
        request().failed(OciDistributionError::ServerError {
            code,
            url: String::new(),
            message: message.to_owned(),
        })
    }

    #[test]
    fn answers_are_told_apart() {
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
        let denied = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        let invalid = r#"{"errors":[{"code":"NAME_INVALID","message":"bad name"}]}"#;
        assert!(matches!(status(404, unknown), Error::NotFound { .. }));
        assert!(matches!(status(404, "<html>"), Error::NotARegistry { .. }));
        assert!(matches!(status(400, denied), Error::Unauthorized { .. }));
        assert!(matches!(status(403, ""), Error::Unauthorized { .. }));
        assert!(matches!(status(400, invalid), Error::Refused { reason, .. } if reason == "bad name"));
        assert!(matches!(status(503, ""), Error::Unavailable { .. }));
        assert!(matches!(status(429, ""), Error::Unavailable { .. }));
    }

    #[test]
    fn only_a_missing_answer_is_an_outage() {
        for (error, outage) in [
            (status(404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#), false),
            (status(401, ""), false),
            (status(502, ""), true),
            (request().stream(&io::ErrorKind::ConnectionReset.into()), true),
        ] {
            assert_eq!(error.is_outage(), outage, "{error}");
        }
    }

    #[test]
    fn tls_errors_are_found_within_io_errors() {
        let wrapped = |error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(matches!(request().stream(&wrapped(plain)), Error::NotTls { .. }));
        let unknown = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(matches!(request().stream(&wrapped(unknown)), Error::Certificate { .. }));
    }
}
