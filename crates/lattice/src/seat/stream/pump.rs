//! Sends a stream.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::Fuse;
use wattle_seal::Kind;
use wattle_seal::message::{End, Frame};

use super::{MAX_STREAM_MESSAGE_LEN, Ongoing, OutStream, Outward, StreamBroken, cost};

/// What a stream is sent from. What was sent is kept until the target says that it has begun the call, so that it can be
/// sent to another one if it has not. The first credit bounds that.
pub(in crate::seat) struct Source {
    stream: Fuse<OutStream>,
    /// What is sent before anything is pulled.
    again: VecDeque<Bytes>,
    /// What was sent in this try; `None` once it can't be sent anew.
    sent: Option<Vec<Bytes>>,
}

impl Source {
    /// One that can begin anew.
    pub(in crate::seat) fn repeatable(stream: OutStream) -> Self {
        Self { sent: Some(Vec::new()), ..Self::once(stream) }
    }

    /// One that is sent once.
    pub(in crate::seat) fn once(stream: OutStream) -> Self {
        Self { stream: stream.fuse(), again: VecDeque::new(), sent: None }
    }

    /// Begins anew; false when what was sent is no longer there.
    pub(in crate::seat) fn rewind(&mut self) -> bool {
        let Some(sent) = &mut self.sent else { return false };
        let rest = std::mem::take(&mut self.again);
        self.again = std::mem::take(sent).into_iter().chain(rest).collect();
        true
    }

    async fn next(&mut self) -> Option<Result<Bytes, StreamBroken>> {
        let next = match self.again.pop_front() {
            Some(data) => Some(Ok(data)),
            None => self.stream.next().await,
        };
        match (&mut self.sent, &next) {
            (Some(sent), Some(Ok(data))) => sent.push(data.clone()),
            (sent, Some(Err(_))) => *sent = None,
            _ => {}
        }
        next
    }
}

/// Why a stream was not sent to its end.
enum Unsent {
    /// The other side or the call stopped it.
    Stopped,
    /// It broke off here, which the other side has to be told.
    Broken(StreamBroken),
}

/// Sends a stream until it ends or the other side stops it; gives the source back.
pub(in crate::seat) async fn run(mut source: Source, flow: Arc<Outward>, call: Arc<Ongoing>) -> Source {
    let open = Open { flow: &flow, call: &call };
    let mut sequence = 0;
    if let Err(Unsent::Broken(why)) = pump(&mut source, &flow, &call, &mut sequence).await {
        tracing::debug!(%why, call = call.route.call, stream = flow.number, "a stream was not sent to its end");
        // If that can't be sent either, the session is gone, and the other side notices.
        let _ = send(&flow, &call, sequence, End::Aborted, &[]).await;
    }
    drop(open);
    source
}

/// A stream that is being sent. It is closed also when that panics, or is given up.
struct Open<'a> {
    flow: &'a Outward,
    call: &'a Ongoing,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.flow.close(self.call);
    }
}

async fn pump(source: &mut Source, flow: &Outward, call: &Ongoing, sequence: &mut u64) -> Result<(), Unsent> {
    let stopped = |_: StreamBroken| Unsent::Stopped;
    loop {
        flow.credit(1).await.map_err(stopped)?;
        if flow.is_heard() {
            source.sent = None;
        }
        let next = tokio::select! {
            biased;
            () = flow.stopped() => return Err(Unsent::Stopped),
            next = source.next() => next,
        };
        let Some(data) = next.transpose().map_err(Unsent::Broken)? else {
            return send(flow, call, *sequence, End::Complete, &[]).await;
        };
        if data.len() > MAX_STREAM_MESSAGE_LEN {
            let length = data.len();
            return Err(Unsent::Broken(StreamBroken::new(format!(
                "a message of it has {length} bytes, more than {MAX_STREAM_MESSAGE_LEN}"
            ))));
        }
        flow.admit(call, cost(&data)).await.map_err(stopped)?;
        send(flow, call, *sequence, End::Open, &data).await?;
        *sequence += 1;
    }
}

async fn send(flow: &Outward, call: &Ongoing, sequence: u64, end: End, data: &[u8]) -> Result<(), Unsent> {
    let frame = Frame { call: call.route.call, stream: flow.number, sequence, end, credit: 0, data };
    let broken = |reason: String| Unsent::Broken(StreamBroken::new(reason));
    let plaintext = frame.encode().map_err(|error| broken(error.to_string()))?;
    call.route.publish(Kind::Frame, plaintext).await.map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(source: &mut Source, count: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        for _ in 0..count {
            if let Some(Ok(data)) = source.next().await {
                taken.push(data[0]);
            }
        }
        taken
    }

    #[tokio::test]
    async fn what_was_sent_is_sent_again_until_the_target_was_heard() {
        let messages = (0..6u8).map(|n| Ok(Bytes::from(vec![n])));
        let mut source = Source::repeatable(Box::pin(futures::stream::iter(messages)));
        assert_eq!(take(&mut source, 3).await, [0, 1, 2]);
        assert!(source.rewind());
        // Given up in the middle of what is sent again.
        assert_eq!(take(&mut source, 2).await, [0, 1]);
        assert!(source.rewind());
        assert_eq!(take(&mut source, 4).await, [0, 1, 2, 3]);
        assert!(source.rewind());
        assert_eq!(take(&mut source, 1).await, [0]);
        source.sent = None;
        assert!(!source.rewind());
        assert_eq!(take(&mut source, 9).await, [1, 2, 3, 4, 5]);
    }

    #[tokio::test]
    async fn a_stream_that_broke_off_does_not_begin_anew() {
        let messages = [Ok(Bytes::from_static(b"a")), Err(StreamBroken::new("gone"))];
        let mut source = Source::repeatable(Box::pin(futures::stream::iter(messages)));
        assert_eq!(take(&mut source, 2).await, *b"a");
        assert!(!source.rewind());
    }
}
