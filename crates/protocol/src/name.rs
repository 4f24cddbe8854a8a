//! Which names a lattice can carry. Each becomes a token of a subject, a key of a bucket, or both, so a name with a
//! dot or a wildcard would reach the wrong receiver; it is refused here instead.

use crate::Error;

/// Longest name accepted, in bytes. The longest bucket of a lattice, with the prefix that its stream gets, still
/// fits the 255 bytes that a NATS server allows for a stream's name.
pub const MAX_NAME_LEN: usize = 200;

fn check(field: &'static str, value: &str, rule: &'static str, allowed: fn(u8) -> bool) -> Result<(), Error> {
    let reason = if value.is_empty() {
        "it is empty"
    } else if value.len() > MAX_NAME_LEN {
        "it is longer than 200 bytes"
    } else if value.bytes().all(allowed) {
        return Ok(());
    } else {
        rule
    };
    Err(Error::InvalidName { field, value: shorten(value), reason })
}

/// Keeps a hostile name from filling a log line.
fn shorten(value: &str) -> String {
    match value.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

const WORD_RULE: &str = "only letters, digits, `_` and `-` are allowed";

/// Checks a lattice's name: letters, digits, `_` and `-`.
///
/// # Errors
/// [`Error::InvalidName`] for the field `lattice`.
pub fn check_lattice_name(value: &str) -> Result<(), Error> {
    check("lattice", value, WORD_RULE, word)
}

/// Checks the id of a component or provider: letters, digits, `_` and `-`.
///
/// # Errors
/// [`Error::InvalidName`] for the given field.
pub fn check_id(field: &'static str, value: &str) -> Result<(), Error> {
    check(field, value, WORD_RULE, word)
}

/// Checks the shape of a host id: 56 characters of base32 that begin with `N`. Its checksum is not looked at.
///
/// # Errors
/// [`Error::InvalidName`] for the field `host id`.
pub fn check_host_id(value: &str) -> Result<(), Error> {
    const RULE: &str = "a host's public key is 56 upper-case letters and digits and begins with `N`";
    check("host id", value, RULE, |byte| byte.is_ascii_uppercase() || matches!(byte, b'2'..=b'7'))?;
    if value.len() == 56 && value.starts_with('N') {
        return Ok(());
    }
    Err(Error::InvalidName { field: "host id", value: shorten(value), reason: RULE })
}

/// Checks the name of a named config: letters, digits, `_`, `-`, `=` and `/`. (A key could hold dots; the control
/// subject can't.)
///
/// # Errors
/// [`Error::InvalidName`] for the field `config name`.
pub fn check_config_name(value: &str) -> Result<(), Error> {
    const RULE: &str = "only letters, digits, `_`, `-`, `=` and `/` are allowed";
    check("config name", value, RULE, |byte| word(byte) || matches!(byte, b'=' | b'/'))
}

/// Checks a link's name: printable ASCII without spaces, because it also travels in a header.
///
/// # Errors
/// [`Error::InvalidName`] for the field `link name`.
pub fn check_link_name(value: &str) -> Result<(), Error> {
    check("link name", value, "only printable ASCII characters without spaces are allowed", |byte| {
        byte.is_ascii_graphic()
    })
}

/// Checks a WIT namespace, package or interface name: words of letters and digits joined by `-`, beginning with a
/// letter. Versions are not part of a link.
///
/// # Errors
/// [`Error::InvalidName`] for the given field.
pub fn check_wit_name(field: &'static str, value: &str) -> Result<(), Error> {
    const RULE: &str = "a WIT name is made of letters and digits in words joined by `-`, without a version";
    check(field, value, RULE, |byte| byte.is_ascii_alphanumeric() || byte == b'-')?;
    let words_ok = value.split('-').all(|word| !word.is_empty());
    if words_ok && value.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Ok(());
    }
    Err(Error::InvalidName { field, value: shorten(value), reason: RULE })
}

/// Checks a JetStream domain: letters, digits, `_` and `-`.
///
/// # Errors
/// [`Error::InvalidName`] for the field `js_domain`.
pub fn check_domain(value: &str) -> Result<(), Error> {
    check("js_domain", value, WORD_RULE, word)
}

/// Checks the prefix of the control subjects: one or more tokens of printable ASCII, joined by dots, without
/// wildcards.
///
/// # Errors
/// [`Error::InvalidName`] for the field `control prefix`.
pub fn check_control_prefix(value: &str) -> Result<(), Error> {
    const RULE: &str =
        "tokens are joined by single dots and have neither spaces nor the wildcards `*` and `>`";
    check("control prefix", value, RULE, |byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'>'))?;
    if value.split('.').all(|token| !token.is_empty()) {
        return Ok(());
    }
    Err(Error::InvalidName { field: "control prefix", value: shorten(value), reason: RULE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepts_what_clients_of_version_1_use() {
        check_lattice_name("default").unwrap();
        check_lattice_name("My_lattice-2").unwrap();
        check_id("component id", "http-hello_1").unwrap();
        check_config_name("SECRET_db").unwrap();
        check_config_name("app/db=main").unwrap();
        check_link_name("default").unwrap();
        check_wit_name("wit_namespace", "wasi").unwrap();
        check_wit_name("interface", "incoming-handler").unwrap();
        check_domain("core").unwrap();
        check_control_prefix("acct-1.wasmbus.ctl").unwrap();
        check_host_id("NDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LQHOST").unwrap();
    }

    #[test]
    fn refuses_what_a_subject_cannot_carry() {
        for bad in ["", "a.b", "a b", "*", ">", "ä", "a\n"] {
            check_lattice_name(bad).unwrap_err();
            check_id("component id", bad).unwrap_err();
            check_config_name(bad).unwrap_err();
            check_domain(bad).unwrap_err();
            check_wit_name("interface", bad).unwrap_err();
        }
        for bad in ["", "a..b", ".a", "a.", "a.*", "a b"] {
            check_control_prefix(bad).unwrap_err();
        }
        for bad in ["-a", "a-", "a--b", "1a", "store@0.2.0"] {
            check_wit_name("interface", bad).unwrap_err();
        }
        for bad in ["", "N", "MDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LQHOST"] {
            check_host_id(bad).unwrap_err();
        }
        check_link_name("two words").unwrap_err();
        check_lattice_name(&"x".repeat(MAX_NAME_LEN + 1)).unwrap_err();
    }

    #[test]
    fn the_error_names_the_field() {
        let error = check_id("provider id", "a.b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid provider id `a.b`: only letters, digits, `_` and `-` are allowed"
        );
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_one_token(id in ".{0,20}") {
            if check_id("component id", &id).is_ok() {
                prop_assert!(!id.is_empty());
                prop_assert!(!id.contains(['.', '*', '>']) && !id.contains(char::is_whitespace));
            }
        }

        #[test]
        fn never_panics(value in any::<String>()) {
            let _ = (check_config_name(&value), check_control_prefix(&value), check_host_id(&value));
        }
    }
}
