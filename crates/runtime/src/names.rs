//! Names of interfaces, and which versions of one stand for each other.

use semver::Version;

/// `ns:package/interface` of `ns:package/interface@1.2.3`.
pub(crate) fn without_version(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// What all compatible versions of an interface share, as the component model has it: the major version, below 1.0
/// also the minor one. `None` where only the very same version will do: none at all, a pre-release, and 0.0.x.
pub(crate) fn track(name: &str) -> Option<(String, Version)> {
    let (base, version) = name.split_once('@')?;
    let version = Version::parse(version).ok()?;
    let track = match (version.major, version.minor) {
        _ if !version.pre.is_empty() => return None,
        (0, 0) => return None,
        (0, minor) => format!("{base}@0.{minor}"),
        (major, _) => format!("{base}@{major}"),
    };
    Some((track, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_track(name: &str) -> Option<String> {
        track(name).map(|(track, _)| track)
    }

    #[test]
    fn compatible_versions_share_a_track() {
        for (name, expected) in [
            ("a:b/c@1.0.0", Some("a:b/c@1")),
            ("a:b/c@1.9.2", Some("a:b/c@1")),
            ("a:b/c@2.1.0+build", Some("a:b/c@2")),
            ("a:b/c@0.2.0", Some("a:b/c@0.2")),
            ("a:b/c@0.2.7", Some("a:b/c@0.2")),
            ("a:b/c@0.0.1", None),
            ("a:b/c@1.0.0-rc.1", None),
            ("a:b/c@0.2.0-draft", None),
            ("a:b/c", None),
            ("f", None),
        ] {
            assert_eq!(on_track(name).as_deref(), expected, "{name}");
        }
        assert_eq!(without_version("a:b/c@1.0.0"), "a:b/c");
        assert_eq!(without_version("a:b/c"), "a:b/c");
    }
}
