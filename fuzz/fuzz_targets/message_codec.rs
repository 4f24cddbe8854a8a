//! What is sealed: whatever can be read is written back to the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wattle_seal::message::{Cancel, Frame, Ping, Refused, Reply, Request};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::decode(data) {
        assert_eq!(request.encode().expect("what was read").as_bytes(), data);
    }
    if let Ok(reply) = Reply::decode(data) {
        assert_eq!(reply.encode().as_bytes(), data);
    }
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(frame.encode().expect("what was read").as_bytes(), data);
    }
    if let Ok(refused) = Refused::decode(data) {
        assert_eq!(refused.encode().as_bytes(), data);
    }
    if let Ok(ping) = Ping::decode(data) {
        assert_eq!(ping.encode().as_bytes(), data);
    }
    if let Ok(cancel) = Cancel::decode(data) {
        assert_eq!(cancel.encode().as_bytes(), data);
    }
});
