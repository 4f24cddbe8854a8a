use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use wattle_lattice::{Connection, ConnectionStatus, ControlClient, Error, EventPublisher};
use wattle_protocol::{
    control::{
        Ack, ComponentAuctionRequest, DeleteLink, Envelope, HostPing, ProviderAuctionRequest, ScaleComponent,
        StartProvider, StopHost, StopProvider, UpdateComponent,
    },
    event::{CloudEvent, ConfigChanged, Event},
    link::Link,
};

use crate::server::{SOON, Server, within};

const HOST: &str = "NDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LQHOST";
const OTHER: &str = "NDLHZGTGFQDQIYFOYHFJTXKYQCUVRYTQ4XQJOXWFKYZDWZ35L7LOTHER";

fn client(connection: &Connection) -> ControlClient {
    ControlClient::new(connection, "wasmbus.ctl", "default").unwrap()
}

/// Answers every message on a subject, as a host would.
async fn answer(
    connection: &Connection,
    subject: &str,
    reply: impl Fn(&str, &[u8]) -> Vec<u8> + Send + 'static,
) {
    let client = connection.client().clone();
    let mut requests = client.subscribe(subject.to_owned()).await.unwrap();
    connection.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let Some(inbox) = request.reply else { continue };
            client.publish(inbox, reply(&request.subject, &request.payload).into()).await.unwrap();
        }
    });
}

fn data(response: impl Serialize) -> Vec<u8> {
    Envelope::ok_with(response).encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_goes_to_its_subject_and_returns_what_the_host_says() {
    let server = Server::start("");
    let connection = server.connect().await;
    answer(&connection, "wasmbus.ctl.v1.default.>", |subject, _| Ack::ok(subject).encode()).await;
    let control = client(&connection);
    let link: Link =
        serde_json::from_value(json!({ "source_id": "a", "target": "b", "wit_namespace": "wasi",
        "wit_package": "http", "interfaces": ["incoming-handler"] }))
        .unwrap();
    let said = [
        control.stop_host(HOST, &StopHost::default()).await.unwrap(),
        control.scale_component(HOST, &ScaleComponent::default()).await.unwrap(),
        control.update_component(HOST, &UpdateComponent::default()).await.unwrap(),
        control.start_provider(HOST, &StartProvider::default()).await.unwrap(),
        control.stop_provider(HOST, &StopProvider::default()).await.unwrap(),
        control.put_label(HOST, "k", "v").await.unwrap(),
        control.delete_label(HOST, "k").await.unwrap(),
        control.put_link(&link).await.unwrap(),
        control.delete_link(&DeleteLink::from(link.key())).await.unwrap(),
        control.put_config("c", &BTreeMap::new()).await.unwrap(),
        control.delete_config("c").await.unwrap(),
    ];
    let expected = [
        format!("host.stop.{HOST}"),
        format!("component.scale.{HOST}"),
        format!("component.update.{HOST}"),
        format!("provider.start.{HOST}"),
        format!("provider.stop.{HOST}"),
        format!("label.put.{HOST}"),
        format!("label.del.{HOST}"),
        "link.put".to_owned(),
        "link.del".to_owned(),
        "config.put.c".to_owned(),
        "config.del.c".to_owned(),
    ]
    .map(|subject| format!("wasmbus.ctl.v1.default.{subject}"));
    assert_eq!(said, expected);
    assert_eq!(control.get_config("c").await.unwrap(), None);
    let error = control.links().await.unwrap_err();
    assert!(matches!(error, Error::BadReply { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_is_read_and_refusals_are_told_from_silence() {
    let server = Server::start("");
    let connection = server.connect().await;
    let at = |operation: &str| format!("wasmbus.ctl.v1.default.{operation}");
    answer(&connection, &at("link.get"), |_, payload| {
        assert!(payload.is_empty());
        data(json!([]))
    })
    .await;
    answer(&connection, &at("config.get.c"), |_, _| data(json!({ "k": "v" }))).await;
    answer(&connection, &at("claims.get"), |_, _| data(json!([{ "sub": "MX" }]))).await;
    answer(&connection, &at(&format!("host.get.{HOST}")), |_, _| {
        data(json!({ "components": [], "providers": [], "host_id": HOST }))
    })
    .await;
    answer(&connection, &at("link.put"), |_, _| Ack::error("link already exists").encode()).await;
    answer(&connection, &at("link.del"), |_, _| b"not json".to_vec()).await;
    let control = client(&connection);
    assert_eq!(control.links().await.unwrap(), []);
    assert_eq!(control.get_config("c").await.unwrap().unwrap()["k"], "v");
    assert_eq!(control.claims().await.unwrap()[0]["sub"], "MX");
    assert_eq!(control.inventory(HOST).await.unwrap().host_id, HOST);

    let link: Link =
        serde_json::from_value(json!({ "source_id": "a", "target": "b", "wit_namespace": "wasi",
        "wit_package": "http", "interfaces": [] }))
        .unwrap();
    let refused = control.put_link(&link).await.unwrap_err();
    assert_eq!(refused.to_string(), "failed to link `a` to `b`: link already exists");
    assert!(matches!(refused, Error::Refused { .. }));
    let unreadable = control.delete_link(&DeleteLink::from(link.key())).await.unwrap_err();
    assert!(matches!(unreadable, Error::BadReply { .. }), "{unreadable}");
    let absent = control.inventory(OTHER).await.unwrap_err();
    assert!(matches!(&absent, Error::HostAbsent { host, .. } if host == OTHER), "{absent}");
    let absent = absent.to_string();
    assert!(absent.contains(&format!("host `{OTHER}` is not in lattice `default`")), "{absent}");
    let nobody = control.put_config("c", &BTreeMap::new()).await.unwrap_err();
    assert!(matches!(&nobody, Error::NoHostAnswered { lattice, .. } if lattice == "default"), "{nobody}");
    assert!(matches!(control.inventory("x.y").await, Err(Error::Name(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_slow_is_not_taken_for_absent() {
    let server = Server::start("");
    let connection = server.connect().await;
    // They take the requests and never answer.
    let _host =
        connection.client().subscribe(format!("wasmbus.ctl.v1.default.label.put.{HOST}")).await.unwrap();
    let _any = connection.client().subscribe("wasmbus.ctl.v1.default.link.get").await.unwrap();
    connection.flush().await.unwrap();
    let patience = Duration::from_millis(200);
    let control = client(&connection).with_timeout(patience);
    let silent = control.put_label(HOST, "k", "v").await.unwrap_err();
    assert!(silent.to_string().contains(&format!("on host `{HOST}`: no answer within")), "{silent}");
    for error in [silent, control.links().await.unwrap_err()] {
        assert!(matches!(error, Error::Timeout { after, .. } if after == patience), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_bids_are_gathered() {
    let server = Server::start("");
    let connection = server.connect().await;
    let control = client(&connection).with_gather_time(Duration::from_secs(600));
    assert_eq!(within("nobody to ping", control.ping(None)).await.unwrap(), []);
    for host in [HOST, OTHER] {
        answer(&connection, "wasmbus.ctl.v1.default.host.ping", move |_, _| {
            data(HostPing { id: host.to_owned(), ..HostPing::default() })
        })
        .await;
        answer(&connection, "wasmbus.ctl.v1.default.*.auction", move |_, payload| {
            let mut bid: Value = serde_json::from_slice(payload).unwrap();
            bid["host_id"] = json!(host);
            data(bid)
        })
        .await;
        answer(&connection, "wasmbus.ctl.v1.default.registry.put", |_, _| Ack::ok("").encode()).await;
    }
    answer(&connection, "wasmbus.ctl.v1.default.host.ping", |_, _| b"junk".to_vec()).await;
    let mut hosts = within("two pings", control.ping(Some(2))).await.unwrap();
    hosts.sort_by_key(|host| host.id != HOST);
    assert_eq!(hosts.iter().map(|host| host.id.as_str()).collect::<Vec<_>>(), [HOST, OTHER]);

    let component =
        ComponentAuctionRequest { component_id: "echo".to_owned(), ..ComponentAuctionRequest::default() };
    let bids = within("a bid", control.auction_component(&component, Some(1))).await.unwrap();
    assert_eq!((bids.len(), bids[0].component_id.as_str()), (1, "echo"));
    let provider =
        ProviderAuctionRequest { provider_id: "http".to_owned(), ..ProviderAuctionRequest::default() };
    let bids = within("two bids", control.auction_provider(&provider, Some(2))).await.unwrap();
    assert_eq!(bids.len(), 2);
    assert_eq!(within("two hosts", control.put_registries(&BTreeMap::new(), Some(2))).await.unwrap(), 2);

    let hasty = client(&connection).with_gather_time(Duration::from_millis(300));
    assert_eq!(within("the gather time", hasty.ping(None)).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_heard_by_who_asked_before_the_command() {
    let server = Server::start("");
    let publisher = EventPublisher::new(&server.connect().await, "default", HOST).unwrap();
    let connection = server.connect().await;
    let mut raw = connection.client().subscribe("wasmbus.evt.default.config_set").await.unwrap();
    let mut events = client(&connection).events().await.unwrap();
    connection.client().publish("wasmbus.evt.default.junk", "{".into()).await.unwrap();
    // A round trip, because the publisher has another connection: then the server has the subscriptions.
    within("no responders", connection.client().request("nobody", "".into())).await.unwrap_err();
    let event = |name: &str| Event::ConfigSet(ConfigChanged { config_name: name.to_owned() });
    let publishing = tokio::spawn({
        let publisher = publisher.clone();
        let (first, second) = (event("first"), event("second"));
        async move {
            publisher.publish(&first).await;
            publisher.publish(&second).await;
        }
    });
    let picked = events
        .wait_for("see the second event", SOON, |source, event| match event {
            Event::ConfigSet(change) if change.config_name == "second" => Some(source.to_owned()),
            _ => None,
        })
        .await
        .unwrap();
    assert_eq!(picked, HOST);
    publishing.await.unwrap();
    let message = within("the event", raw.next()).await.unwrap();
    let cloud: CloudEvent = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(cloud.kind, "com.wasmcloud.lattice.config_set");
    assert_eq!((cloud.specversion.as_str(), cloud.source.as_str(), cloud.id.len()), ("1.0", HOST, 36));
    assert!(cloud.time.ends_with('Z') && cloud.time.contains('T'), "{}", cloud.time);
    assert_eq!(publisher.dropped(), 0);

    let error = events.wait_for("see more", Duration::from_millis(10), |_, _| None::<()>).await.unwrap_err();
    assert!(error.to_string().contains("failed to see more"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_events_are_dropped_and_commands_refused() {
    let mut server = Server::start("");
    let connection = server.connect().await;
    let publisher = EventPublisher::new(&connection, "default", HOST).unwrap();
    let control = client(&connection);
    server.stop();
    let mut status = connection.status();
    let down = |status: &ConnectionStatus| matches!(status, ConnectionStatus::Disconnected(_));
    within("the loss", status.wait_for(down)).await.unwrap();
    let event = Event::ConfigSet(ConfigChanged { config_name: "c".to_owned() });
    within("the drop", publisher.publish(&event)).await;
    assert_eq!(publisher.dropped(), 1);
    let error = within("the refusal", control.links()).await.unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    let error = within("the refusal", control.ping(None)).await.unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
}
