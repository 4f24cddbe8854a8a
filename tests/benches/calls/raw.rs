//! The baseline: request and reply with the NATS client alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use async_nats::Client;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;

use crate::member::{Echo, echo_process};
use crate::{BYTES, CALLERS, TIME, median_micros};

const SUBJECT: &str = "bench.raw";

/// A client, and a process that answers it.
pub(crate) struct Raw {
    client: Client,
    _echo: Echo,
}

/// Answers each request with itself, until the process is ended.
pub(crate) async fn serve(url: &str) {
    let client = async_nats::connect(url).await.unwrap();
    let mut requests = client.subscribe(SUBJECT).await.unwrap();
    client.flush().await.unwrap();
    println!("ready");
    while let Some(request) = requests.next().await {
        let reply = request.reply.unwrap();
        client.publish(reply, request.payload).await.unwrap();
    }
}

impl Raw {
    pub(crate) async fn start(url: &str) -> Self {
        let echo = echo_process(&["serve-raw", url]).await;
        Self { client: async_nats::connect(url).await.unwrap(), _echo: echo }
    }

    async fn call(client: &Client) {
        let answer = client.request(SUBJECT, Bytes::from(vec![7; BYTES])).await.unwrap();
        assert_eq!(answer.payload.len(), BYTES);
    }

    /// The median of one call at a time.
    pub(crate) async fn latency(&self) -> f64 {
        let mut nanos = Vec::new();
        let end = Instant::now() + TIME;
        while Instant::now() < end {
            let began = Instant::now();
            Self::call(&self.client).await;
            nanos.push(u64::try_from(began.elapsed().as_nanos()).unwrap());
        }
        median_micros(nanos)
    }

    /// Calls per second of many at a time.
    pub(crate) async fn rate(&self) -> f64 {
        let done = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        let callers = (0..CALLERS).map(|_| {
            let (client, done) = (self.client.clone(), done.clone());
            tokio::spawn(async move {
                while began.elapsed() < TIME {
                    Self::call(&client).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        join_all(callers).await.into_iter().for_each(|caller| caller.unwrap());
        done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
    }
}
