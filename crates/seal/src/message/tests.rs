use super::*;
use crate::Plaintext;
use proptest::prelude::*;
use std::io::Write;

fn request() -> Request<'static> {
    Request {
        call: 1,
        remaining: 5000,
        depth: 2,
        state_revision: 77,
        encoding: Encoding::Values,
        types: *b"function",
        streams: 2,
        source: "gateway",
        target: "echo",
        link_name: "default",
        interface: "wasi:http/incoming-handler@0.2.0",
        function: "handle",
        trace_parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        trace_state: "vendor=1",
        parameters: b"parameters",
    }
}

#[test]
fn parameters_and_values_can_be_appended() {
    let mut appended = Request { parameters: b"", ..request() }.encode().unwrap();
    appended.write_all(b"parameters").unwrap();
    assert_eq!(appended.as_bytes(), request().encode().unwrap().as_bytes());

    let mut appended = Reply { call: 3, outcome: Outcome::Value { streams: 1, value: b"" } }.encode();
    appended.extend_from_slice(b"value");
    assert_eq!(
        Reply::decode(appended.as_bytes()).unwrap(),
        Reply { call: 3, outcome: Outcome::Value { streams: 1, value: b"value" } }
    );
}

#[test]
fn bounds_hold_for_writing_and_reading() {
    let long = "x".repeat(256);
    let (name, any) = (&long[..201], long.as_str());
    let (parent, state) = (&long[..129], "x".repeat(513));
    let good = request();
    let bad = [
        Request { source: name, ..good },
        Request { target: name, ..good },
        Request { link_name: name, ..good },
        Request { interface: any, ..good },
        Request { function: any, ..good },
        Request { trace_parent: parent, ..good },
        Request { trace_state: &state, ..good },
    ];
    for request in bad {
        assert!(matches!(request.encode(), Err(Error::FieldTooLong { .. })), "{request:?}");
    }
    for request in
        [Request { source: "", ..good }, Request { target: "", ..good }, Request { function: "", ..good }]
    {
        assert!(matches!(request.encode(), Err(Error::MalformedContent { problem: "is empty", .. })));
    }
    assert!(matches!(Request { depth: 33, ..good }.encode(), Err(Error::TooDeep { depth: 33, max: 32 })));

    // The same, written by somebody else.
    let bytes = good.encode().unwrap().as_bytes().to_vec();
    let with = |place: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[place] = value;
        bytes
    };
    assert!(matches!(Request::decode(&with(12, 33)), Err(Error::TooDeep { depth: 33, .. })));
    assert_eq!(Request::decode(&with(12, 32)).unwrap().depth, 32);
    assert!(matches!(
        Request::decode(&with(21, 3)),
        Err(Error::MalformedContent { field: "the encoding", .. })
    ));
    assert_eq!(Request::decode(&with(21, 2)).unwrap().encoding, Encoding::Http);
    let long_source = [&bytes[..31], &[201], name.as_bytes(), &bytes[39..]].concat();
    assert!(matches!(Request::decode(&long_source), Err(Error::FieldTooLong { field: "the source", .. })));
    let no_source = [&bytes[..31], &[0], &bytes[39..]].concat();
    assert!(matches!(Request::decode(&no_source), Err(Error::MalformedContent { field: "the source", .. })));
    let no_text = with(32, 0xff);
    assert!(matches!(
        Request::decode(&no_text),
        Err(Error::MalformedContent { problem: "is not UTF-8", .. })
    ));

    let data = vec![0; MAX_FRAME_LEN + 1];
    let frame = Frame { call: 1, stream: 0, sequence: 0, end: End::Open, credit: 0, data: &data };
    assert!(matches!(frame.encode(), Err(Error::FieldTooLong { .. })));
    let frame = Frame { data: &data[1..], ..frame };
    let bytes = frame.encode().unwrap().as_bytes().to_vec();
    assert_eq!(Frame::decode(&bytes).unwrap(), frame);
    assert!(matches!(Frame::decode(&[&bytes[..], &[0]].concat()), Err(Error::FieldTooLong { .. })));
}

#[test]
fn long_explanations_are_cut_between_characters() {
    let message = "ä".repeat(600);
    let reason = Refused { call: 1, reason: Reason::Busy, message: &message };
    let bytes = reason.encode().as_bytes().to_vec();
    assert_eq!(Refused::decode(&bytes).unwrap().message, "ä".repeat(512));
    let message = format!("x{message}");
    let reply = Reply { call: 1, outcome: Outcome::Failed { code: 7, message: &message } };
    let bytes = reply.encode().as_bytes().to_vec();
    let Outcome::Failed { code: 7, message } = Reply::decode(&bytes).unwrap().outcome else { panic!() };
    assert_eq!(message.len(), 1023);
    let longer = [&[0; 8][..], &401u16.to_be_bytes(), &1025u16.to_be_bytes(), &[b'x'; 1025]].concat();
    assert!(matches!(Refused::decode(&longer), Err(Error::FieldTooLong { .. })));
}

#[test]
fn reasons_keep_their_numbers() {
    for (reason, code) in Reason::ALL.into_iter().zip(401..) {
        assert_eq!((reason.code(), Reason::from_code(code)), (code, reason));
    }
    assert_eq!(Reason::from_code(303), Reason::Other(303));
    let elsewhere: Vec<_> =
        Reason::ALL.into_iter().filter(|reason| reason.may_be_tried_elsewhere()).map(Reason::code).collect();
    assert_eq!(elsewhere, [401, 402, 403, 404, 411]);
}

#[test]
fn unknown_outcomes_ends_and_trailing_bytes_are_refused() {
    let zeros = [0; 32];
    let with = |length: usize, place: usize, value: u8| {
        let mut bytes = zeros[..length].to_vec();
        bytes[place] = value;
        bytes
    };
    assert!(matches!(
        Reply::decode(&with(9, 8, 2)),
        Err(Error::MalformedContent { field: "the outcome", .. })
    ));
    assert!(matches!(Frame::decode(&with(25, 20, 3)), Err(Error::MalformedContent { field: "the end", .. })));
    for error in [
        Reply::decode(&with(14, 8, 1)).unwrap_err(),
        Refused::decode(&zeros[..13]).unwrap_err(),
        Ping::decode(&zeros[..9]).unwrap_err(),
        Cancel::decode(&zeros[..9]).unwrap_err(),
    ] {
        assert!(matches!(error, Error::MalformedContent { problem: "has bytes behind it", .. }), "{error:?}");
    }
    for error in [
        Reply::decode(&zeros[..8]).unwrap_err(),
        Reply::decode(&zeros[..9]).unwrap_err(),
        Refused::decode(&zeros[..11]).unwrap_err(),
        Frame::decode(&zeros[..24]).unwrap_err(),
        Ping::decode(&zeros[..7]).unwrap_err(),
        Cancel::decode(&[]).unwrap_err(),
    ] {
        assert!(matches!(error, Error::MalformedContent { problem: "is cut off", .. }), "{error:?}");
    }
}

fn bytes_of(plaintext: Plaintext) -> Vec<u8> {
    plaintext.as_bytes().to_vec()
}

proptest! {
    #[test]
    fn requests_survive(
        call: u64, remaining: u32, depth in 0..=MAX_DEPTH, state_revision: u64, types: [u8; 8], streams: u8,
        encoding in proptest::sample::select(Encoding::ALL.to_vec()), source in "[a-z]{1,200}",
        target in "\\PC{1,40}", link_name in "\\PC{0,40}", interface in "\\PC{0,50}", function in "\\PC{1,50}",
        trace_parent in "[0-9a-f-]{0,128}", trace_state in "[a-z=,]{0,512}", parameters: Vec<u8>,
    ) {
        let request = Request {
            call, remaining, depth, state_revision, encoding, types, streams, source: &source, target: &target, link_name: &link_name,
            interface: &interface, function: &function, trace_parent: &trace_parent, trace_state: &trace_state,
            parameters: &parameters,
        };
        let bytes = bytes_of(request.encode().unwrap());
        prop_assert_eq!(Request::decode(&bytes).unwrap(), request);
        // What comes before the parameters can't be cut.
        for length in 0..bytes.len() - parameters.len() {
            prop_assert!(Request::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn the_other_messages_survive(
        call: u64, stream: u32, sequence: u64, credit: u32, streams: u8, code: u16, message in "\\PC{0,60}", data: Vec<u8>,
        end in proptest::sample::select(vec![End::Open, End::Complete, End::Aborted]),
    ) {
        let frame = Frame { call, stream, sequence, end, credit, data: &data };
        let bytes = bytes_of(frame.encode().unwrap());
        prop_assert_eq!(Frame::decode(&bytes).unwrap(), frame);
        let failed = Outcome::Failed { code, message: &message };
        for outcome in [Outcome::Value { streams, value: &data }, failed] {
            let reply = Reply { call, outcome };
            let bytes = bytes_of(reply.encode());
            prop_assert_eq!(Reply::decode(&bytes).unwrap(), reply);
        }
        let refused = Refused { call, reason: Reason::from_code(code), message: &message };
        let bytes = bytes_of(refused.encode());
        prop_assert_eq!(Refused::decode(&bytes).unwrap(), refused);
        prop_assert_eq!(Ping::decode(&bytes_of(Ping { token: call }.encode())).unwrap(), Ping { token: call });
        prop_assert_eq!(Cancel::decode(&bytes_of(Cancel { call }.encode())).unwrap(), Cancel { call });
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(bytes_of(request.encode().unwrap()), bytes.clone());
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(bytes_of(frame.encode().unwrap()), bytes.clone());
        }
        if let Ok(reply) = Reply::decode(&bytes) {
            prop_assert_eq!(bytes_of(reply.encode()), bytes.clone());
        }
        if let Ok(refused) = Refused::decode(&bytes) {
            prop_assert_eq!(bytes_of(refused.encode()), bytes);
        }
    }
}
