//! References: the text that names an artifact.
//!
//! | form | meaning |
//! |---|---|
//! | `file:///absolute/path` | a local file |
//! | `oci://registry.example/name:tag`, `http://…`, `https://…` | an OCI artifact; the scheme is dropped and does not choose the transport |
//! | `registry.example:5000/name:tag`, `…/name@sha256:…` | an OCI artifact |
//! | `builtin://name`, `wasmcloud+builtin://name` | a provider inside the host |

use std::{fmt, path::PathBuf};

use crate::{digest, error::Error};

/// Longest registry and repository together, as in the OCI distribution specification.
const MAX_NAME: usize = 255;
/// Longest tag, as in the OCI distribution specification.
const MAX_TAG: usize = 128;

/// What a reference names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// A local file, by its absolute path.
    File(PathBuf),
    /// An artifact in an OCI registry.
    Oci(OciReference),
    /// A provider inside the host, by name.
    Builtin(String),
}

impl Reference {
    /// Reads a reference in any of the forms that the module describes.
    ///
    /// # Errors
    /// [`Error::LocalPath`] for something that looks like the path of a file, [`Error::InvalidReference`] otherwise.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return OciReference::parse(text).map(Self::Oci);
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => parse_file(text, rest),
            "oci" | "http" | "https" => OciReference::parse(rest).map(Self::Oci),
            "builtin" | "wasmcloud+builtin" => parse_builtin(text, rest),
            other => Err(invalid(
                text,
                format!(
                    "{other}:// is no known scheme; there are file://, oci:// (which may be left out) and builtin://"
                ),
            )),
        }
    }
}

/// The canonical form; `parse` reads it back to the same value.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Oci(reference) => reference.fmt(f),
            Self::Builtin(name) => write!(f, "builtin://{name}"),
        }
    }
}

/// An artifact in an OCI registry: registry, repository, and a tag, a digest or both (the digest decides).
///
/// Registry and repository are lower case, since registries know no other; tags keep their case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OciReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl OciReference {
    /// Reads `registry/repository[:tag][@sha256:…]`, without a scheme. The registry is the text before the first `/`;
    /// there is no default registry.
    ///
    /// # Errors
    /// As [`Reference::parse`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if is_path(text) {
            return Err(Error::LocalPath { reference: text.to_owned() });
        }
        let (registry, rest) = text.split_once('/').ok_or_else(|| no_registry(text))?;
        if let Some((_, host)) = registry.rsplit_once('@') {
            return Err(invalid(
                &format!("{host}/{rest}"),
                "credentials do not belong in a reference; put them into the registry settings",
            ));
        }
        let registry = registry.to_ascii_lowercase();
        if !names_a_host(&registry) {
            return Err(no_registry(text));
        }
        if !is_registry(&registry) {
            return Err(invalid(text, format!("{registry:?} is no host name with an optional port")));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (rest, None),
        };
        let repository = repository.to_ascii_lowercase();
        if !is_repository(&repository) || registry.len() + repository.len() + 1 > MAX_NAME {
            return Err(invalid(text, format!("{repository:?} is no repository name")));
        }
        if let Some(tag) = tag.as_deref().filter(|tag| !is_tag(tag)) {
            return Err(invalid(text, format!("{tag:?} is no tag")));
        }
        Ok(Self { registry, repository, tag, digest })
    }

    /// The registry's host, with its port if it has one.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one is written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest digest (`sha256:…`), if one is written.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether this means the tag `latest`, said or implied. With a digest it does not: the digest decides.
    pub fn is_latest(&self) -> bool {
        self.digest.is_none() && self.tag.as_deref().is_none_or(|tag| tag == "latest")
    }

    /// The same reference, pinned to a manifest digest.
    ///
    /// # Errors
    /// [`Error::InvalidDigest`].
    pub fn with_digest(&self, digest: &str) -> Result<Self, Error> {
        Ok(Self { digest: Some(parse_digest(digest)?), ..self.clone() })
    }

    /// As the client library wants it: the digest alone if there is one, else the tag.
    pub(crate) fn to_client(&self) -> oci_client::Reference {
        let (registry, repository) = (self.registry.clone(), self.repository.clone());
        match (&self.digest, &self.tag) {
            (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.clone()),
            (None, Some(tag)) => oci_client::Reference::with_tag(registry, repository, tag.clone()),
            (None, None) => oci_client::Reference::with_tag(registry, repository, "latest".to_owned()),
        }
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn invalid(reference: &str, reason: impl Into<String>) -> Error {
    Error::InvalidReference { reference: reference.to_owned(), reason: reason.into() }
}

fn no_registry(text: &str) -> Error {
    invalid(
        text,
        "it names no registry: before the first / stands a host with a dot or a port, or localhost, as in \
         registry.example/name:tag",
    )
}

fn parse_file(text: &str, path: &str) -> Result<Reference, Error> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(invalid(text, "a file is named by its absolute path, file:///folder/file"));
    }
    Ok(Reference::File(PathBuf::from(path)))
}

fn parse_builtin(text: &str, name: &str) -> Result<Reference, Error> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if name.is_empty() || !plain {
        return Err(invalid(
            text,
            "the name of a built-in provider has lower-case letters, digits and hyphens",
        ));
    }
    Ok(Reference::Builtin(name.to_owned()))
}

fn parse_digest(text: &str) -> Result<String, Error> {
    // Hexadecimal digits are told apart by value, not by case, and older tools lower-case whole references.
    let lower = text.to_ascii_lowercase();
    match digest::hex(&lower) {
        Some(_) => Ok(lower),
        None => Err(Error::InvalidDigest { digest: text.to_owned() }),
    }
}

/// Whether the text is rather the path of a file than a reference.
fn is_path(text: &str) -> bool {
    let rooted = ["/", "./", "../", "~"].iter().any(|start| text.starts_with(start));
    let first = text.split('/').next().unwrap_or_default();
    let file = [".wasm", ".par", ".par.gz"].iter().any(|end| text.ends_with(end));
    rooted || (file && (!text.contains('/') || !names_a_host(first)))
}

/// What tells a registry's host from the first part of a repository name.
fn names_a_host(text: &str) -> bool {
    text.contains('.') || text.contains(':') || text == "localhost"
}

/// Whether the text is a host (name, IPv4 address, IPv6 address in brackets) with an optional port.
pub(crate) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("", rest)
        }
        None => match text.split_once(':') {
            Some((host, _)) => (host, &text[host.len()..]),
            None => (text, ""),
        },
    };
    let port_fits = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|p| p > 0)
        }
        None => port.is_empty(),
    };
    let label_fits = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    port_fits && ((host.is_empty() && text.starts_with('[')) || host.split('.').all(label_fits))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, joined by slashes.
fn is_repository(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges = [bytes.first(), bytes.last()];
    if !edges.into_iter().all(|edge| edge.is_some_and(|b| alphanumeric(*b))) {
        return false;
    }
    let mut separators = bytes.split(|b| alphanumeric(*b)).filter(|run| !run.is_empty());
    separators.all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn oci(text: &str) -> OciReference {
        match Reference::parse(text) {
            Ok(Reference::Oci(reference)) => reference,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        let plain = oci("registry.example:5000/shop/cart:1.4");
        assert_eq!(plain.registry(), "registry.example:5000");
        assert_eq!(plain.repository(), "shop/cart");
        assert_eq!(plain.tag(), Some("1.4"));
        assert_eq!(plain.digest(), None);
        for scheme in ["oci", "http", "https", "OCI"] {
            assert_eq!(oci(&format!("{scheme}://registry.example:5000/shop/cart:1.4")), plain);
        }
        let pinned = oci(&format!("localhost/a:1@sha256:{HEX}"));
        assert_eq!((pinned.tag(), pinned.digest()), (Some("1"), Some(format!("sha256:{HEX}").as_str())));
        assert_eq!(oci("[::1]:5000/a").registry(), "[::1]:5000");
        let file = Reference::parse("file:///srv/App Folder/x.wasm").unwrap();
        assert_eq!(file, Reference::File("/srv/App Folder/x.wasm".into()));
        for builtin in ["builtin://http-server", "wasmcloud+builtin://http-server"] {
            assert_eq!(Reference::parse(builtin).unwrap(), Reference::Builtin("http-server".to_owned()));
        }
    }

    #[test]
    fn case_is_lowered_where_registries_have_none() {
        let reference = oci(&format!("Registry.Example/Shop/Cart:RC-1@sha256:{}", HEX.to_uppercase()));
        assert_eq!(reference.to_string(), format!("registry.example/shop/cart:RC-1@sha256:{HEX}"));
    }

    #[test]
    fn latest_is_recognised() {
        assert!(oci("localhost/a").is_latest());
        assert!(oci("localhost/a:latest").is_latest());
        assert!(!oci("localhost/a:1").is_latest());
        assert!(!oci(&format!("localhost/a:latest@sha256:{HEX}")).is_latest());
        assert!(!oci(&format!("localhost/a@sha256:{HEX}")).is_latest());
    }

    #[test]
    fn local_paths_are_told_so() {
        for path in
            ["/srv/x.wasm", "./x.wasm", "../x", "~/x.wasm", "x.wasm", "target/release/x.wasm", "p.par.gz"]
        {
            let error = Reference::parse(path).unwrap_err();
            assert!(matches!(error, Error::LocalPath { .. }), "{path}: {error}");
            assert!(error.to_string().contains("file://"), "{error}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let long = format!("localhost/{}", "a".repeat(300));
        let short_digest = "localhost/a@sha256:abc";
        let other_digest = format!("localhost/a@sha512:{HEX}{HEX}");
        for text in [
            "",
            "x",
            "library/nginx:1",
            "ftp://registry.example/a:1",
            "file://relative/x.wasm",
            "file://",
            "builtin://",
            "builtin://Http Server",
            "localhost/",
            "localhost//a",
            "localhost/a:",
            "localhost/a:-x",
            "localhost/a b",
            "localhost/a..b",
            "localhost/-a",
            "localhost:0/a",
            "localhost:99999/a",
            "localhost:x/a",
            "re_gistry.example/a",
            "-x.example/a",
            "[::zz]:1/a",
            "localhost/a:1@",
            short_digest,
            &other_digest,
            &long,
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn passwords_are_not_repeated() {
        let error = Reference::parse("https://alice:hunter2@registry.example/a:1").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.contains("credentials"), "{error}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".{0,80}") {
            let _ = Reference::parse(&text);
        }

        #[test]
        fn parsing_near_misses_never_panics(text in "(oci://|file://|builtin://)?[a-z0-9.:@/_\\[\\]-]{0,60}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }

        #[test]
        fn written_references_are_read_back(
            registry in "[a-z][a-z0-9]{0,8}(\\.[a-z0-9]{1,6}){1,2}(:[1-9][0-9]{0,3})?",
            repository in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,5}){0,2}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,20}"),
            pinned in any::<bool>(),
        ) {
            let mut text = format!("{registry}/{repository}");
            if let Some(tag) = &tag {
                text.push_str(&format!(":{tag}"));
            }
            if pinned {
                text.push_str(&format!("@sha256:{HEX}"));
            }
            let reference = Reference::parse(&text).unwrap();
            prop_assert_eq!(reference.to_string(), text);
        }
    }
}
