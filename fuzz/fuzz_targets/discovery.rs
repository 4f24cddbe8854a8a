//! Packets of discovery: whatever can be read is written back to the same bytes, and what is signed is all but the
//! signature.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wattle_protocol::rpc::{Packet, Signed, is_answer_subject, nonce_of};

fuzz_target!(|data: &[u8]| {
    match Packet::decode(data) {
        Ok(Packet::Query(query)) => assert_eq!(query.encode(), data),
        Ok(Packet::Answer(read)) => {
            let written = read.content.encode("default", |message| signature(&read, data, message));
            assert_eq!(written.expect("what was read"), data);
        }
        Ok(Packet::Announcement(read)) => {
            let written = read.content.encode("default", |message| signature(&read, data, message));
            assert_eq!(written.expect("what was read"), data);
        }
        Err(_) => {}
    }
    if let Ok(subject) = std::str::from_utf8(data)
        && let Some(nonce) = nonce_of(subject)
    {
        assert!(
            is_answer_subject(subject, &nonce) || subject.starts_with(['$', '.']) || subject.contains("..")
        );
    }
});

fn signature<T>(read: &Signed<'_, T>, data: &[u8], message: &[u8]) -> Vec<u8> {
    assert_eq!(read.message("default"), message);
    assert!(message.ends_with(&data[..data.len() - read.signature.len()]));
    read.signature.to_vec()
}
