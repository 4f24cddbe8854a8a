//! Components with claims, from a registry or a file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wattle_identity::component;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(verified)) = component::verify(data, 1_790_000_000) {
        assert_eq!(component::token(data).expect("it was read before"), Some(verified.token));
    }
    if let Ok(stripped) = component::strip(data) {
        assert!(component::token(&stripped).expect("a component without claims").is_none());
        assert_eq!(component::strip(&stripped).expect("a component without claims"), stripped);
    }
});
