//! What somebody sees who reads everything on the bus.

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use wattle_tests::{Contract, Fleet, within};

const CALLS: usize = 40;
const MARKER: &str = "marzipan-and-quinces";
const TARGET: &str = "hidden-target-4711";
const FUNCTION: &str = "unmistakable-function";

#[tokio::test]
async fn the_bus_sees_nothing() {
    // Heartbeats tell what runs, and are no calls.
    let fleet = Fleet::start_with(2, |_, options| options.arg("--heartbeat-interval").arg("1h")).await;
    let contract = Contract::of(&[&format!("{FUNCTION}: func(v: string) -> string")]);
    fleet.run(0, "relay", &contract.relay(), &[]).await;
    fleet.run(1, TARGET, &contract.echo(), &[]).await;
    fleet.link("relay", TARGET, "acme:calls/echo").await;

    // From here on everything is seen.
    let client = fleet.nats.connect().await;
    let mut all = client.subscribe(">").await.unwrap();
    client.flush().await.unwrap();
    let text = format!("\"{MARKER}\"");
    for _ in 0..CALLS / 4 {
        let call = async || fleet.ask("relay", &format!("acme:calls/relay.{FUNCTION}"), &[&text]).await;
        for answer in join_all((0..4).map(|_| call())).await {
            assert_eq!(answer, text);
        }
    }
    client.publish("control", Bytes::from(format!("{MARKER} {TARGET} {FUNCTION}"))).await.unwrap();

    let (mut messages, mut seen) = (0, Vec::new());
    loop {
        let message = within("the end of what was sent", all.next()).await.unwrap();
        let mut bytes = [message.subject.as_bytes(), &message.payload].concat();
        if let Some(reply) = &message.reply {
            bytes.extend(reply.as_bytes());
        }
        if let Some(headers) = &message.headers {
            bytes.extend(format!("{headers:?}").into_bytes());
        }
        let found = [MARKER, TARGET, FUNCTION]
            .map(|word| bytes.windows(word.len()).any(|part| part == word.as_bytes()));
        if message.subject.as_str() == "control" {
            assert_eq!(found, [true; 3], "who looks like this would have seen it");
            break;
        }
        messages += 1;
        if found.contains(&true) {
            seen.push(format!("{}: {}", message.subject, String::from_utf8_lossy(&message.payload)));
        }
    }
    println!("{CALLS} calls over two hosts were {messages} messages");
    assert!(seen.is_empty(), "{} of {messages} messages tell of the calls: {}", seen.len(), seen[0]);
    // Each call goes from the command to the relay and from there to the target.
    assert!(messages >= 2 * CALLS, "{messages} messages are fewer than the calls");
    let remote =
        fleet.metric(0, "wattle_calls_total", &[&format!("target=\"{TARGET}\""), "place=\"remote\""]).await;
    assert!(remote >= CALLS as f64, "{remote} calls left the host, or this shows nothing");
}
