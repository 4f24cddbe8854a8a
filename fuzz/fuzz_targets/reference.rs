//! References to artifacts, from people and over the control interface.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wattle_artifact::Reference;

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        let canonical = reference.to_string();
        assert_eq!(Reference::parse(&canonical).expect("the canonical form"), reference);
    }
});
