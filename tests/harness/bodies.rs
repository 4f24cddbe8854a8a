//! Bodies to send, and what must come back.

use bytes::Bytes;
use http::Method;

use crate::Exchange;

/// Bytes that differ from each other, so that none can be lost or swapped unnoticed.
pub fn pattern(length: usize) -> Bytes {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// What is sent to this URL comes back chunk by chunk: each is back before the next is sent.
///
/// # Panics
/// When it does not.
pub async fn assert_echo_flows(url: &str) {
    let mut exchange = Exchange::open(Method::POST, url).await.unwrap();
    for number in 0..10 {
        let chunk = format!("chunk {number}\n");
        exchange.send(chunk.clone()).await.unwrap();
        if number == 0 {
            assert_eq!(exchange.head().await.unwrap().status, 200);
        }
        let mut back = Vec::new();
        while back.len() < chunk.len() {
            back.extend(exchange.piece().await.unwrap().expect("the body goes on"));
        }
        assert_eq!(back, chunk.into_bytes());
    }
    exchange.finish();
    assert_eq!(exchange.piece().await.unwrap(), None, "the end is passed on as well");
}
