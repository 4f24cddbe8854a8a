use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::jetstream::{self, kv};
use wattle_lattice::{
    Auth, ConnectOptions, Connection, Error, Revision, Snapshot, Store, StoreOptions, StoreStatus, connect,
};
use wattle_protocol::{
    link::Link,
    state::{ClaimsRecord, ProviderClaims},
};

use crate::server::{SOON, Server, free_port, within};

async fn open(connection: &Connection) -> Store {
    let store = Store::open(connection, StoreOptions::new("default")).unwrap();
    store.wait_ready(SOON).await.unwrap();
    store
}

fn in_domain(connection: &Connection, domain: &str) -> Store {
    let options = StoreOptions { domain: Some(domain.to_owned()), ..StoreOptions::new("default") };
    Store::open(connection, options).unwrap()
}

async fn until(what: &str, store: &Store, condition: impl FnMut(&Arc<Snapshot>) -> bool) -> Arc<Snapshot> {
    Arc::clone(&*within(what, store.watch().wait_for(condition)).await.unwrap())
}

async fn unreachable(what: &str, store: &Store) -> (String, bool) {
    let mut status = store.status();
    let told = within(what, status.wait_for(|status| matches!(status, StoreStatus::Unreachable { .. })))
        .await
        .unwrap();
    match &*told {
        StoreStatus::Unreachable { reason, stale } => (reason.clone(), *stale),
        other => panic!("{other:?}"),
    }
}

async fn bucket(connection: &Connection, name: &str) -> kv::Store {
    let config = kv::Config { bucket: name.to_owned(), ..kv::Config::default() };
    jetstream::new(connection.client().clone()).create_key_value(config).await.unwrap()
}

fn link(source: &str, target: &str, name: &str) -> Link {
    Link {
        source_id: source.to_owned(),
        target: target.to_owned(),
        name: name.to_owned(),
        wit_namespace: "wasi".to_owned(),
        wit_package: "http".to_owned(),
        interfaces: vec!["incoming-handler".to_owned()],
        source_config: Vec::new(),
        target_config: Vec::new(),
    }
}

async fn put_link(store: &Store, link: Link) -> Result<Option<Revision>, Error> {
    let source = link.source_id.clone();
    store
        .edit_spec(&source, |spec| {
            spec.put_link(link.clone()).map_err(wattle_protocol::Error::from)?;
            Ok(true)
        })
        .await
}

fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_what_other_hosts_stored() {
    let server = Server::with_jetstream();
    let connection = server.connect().await;
    let lattice = bucket(&connection, "LATTICEDATA_default").await;
    let config = bucket(&connection, "CONFIGDATA_default").await;
    for (key, value) in [
        (
            "COMPONENT_http",
            r#"{"url":"reg/http:1","links":[{"source_id":"http","target":"echo","name":"default",
            "wit_namespace":"wasi","wit_package":"http","interfaces":["incoming-handler"]}]}"#,
        ),
        ("COMPONENT_gone", r#"{"url":"x"}"#),
        ("COMPONENT_broken", "{"),
        (
            "CLAIMS_MX",
            r#"{"call_alias":"echo","iss":"AX","name":"Echo","rev":"4","sub":"MX","tags":"a,b","version":"1"}"#,
        ),
        ("LINKDEF_0F", "old"),
    ] {
        lattice.put(key, value.into()).await.unwrap();
    }
    lattice.delete("COMPONENT_gone").await.unwrap();
    for n in 0..300 {
        config.put(format!("c{n}"), r#"{"a":"1"}"#.into()).await.unwrap();
    }
    config.purge("c7").await.unwrap();

    let snapshot = open(&connection).await.snapshot();
    assert_eq!(snapshot.specs.keys().collect::<Vec<_>>(), ["http"]);
    assert_eq!(snapshot.specs["http"].links, [link("http", "echo", "default")]);
    assert_eq!(snapshot.claims["MX"].entry()["tags"], "a,b");
    assert_eq!(snapshot.configs.len(), 299);
    assert_eq!(snapshot.problems.keys().collect::<Vec<_>>(), ["LATTICEDATA_default/COMPONENT_broken"]);
    assert_eq!((snapshot.revisions.lattice, snapshot.revisions.config), (6, 301));
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_buckets_are_made_as_clients_make_them_and_are_ready_at_once() {
    let server = Server::with_jetstream();
    let connection = server.connect().await;
    // Several hosts start at once: none may fail because another one was faster.
    let stores: Vec<_> =
        (0..8).map(|_| Store::open(&connection, StoreOptions::new("default")).unwrap()).collect();
    for store in &stores {
        store.wait_ready(SOON).await.unwrap();
        assert_eq!(*store.snapshot(), Snapshot::default());
    }
    let jetstream = jetstream::new(connection.client().clone());
    for name in ["LATTICEDATA_default", "CONFIGDATA_default"] {
        let made = jetstream.get_stream(format!("KV_{name}")).await.unwrap().cached_info().config.clone();
        bucket(&connection, "reference").await;
        let reference = jetstream.get_stream("KV_reference").await.unwrap().cached_info().config.clone();
        let same = jetstream::stream::Config {
            name: made.name.clone(),
            subjects: vec![format!("$KV.{name}.>")],
            ..reference
        };
        assert_eq!(made, same);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_buckets_are_taken_as_they_are() {
    let server = Server::with_jetstream();
    let connection = server.connect().await;
    let config = kv::Config { bucket: "LATTICEDATA_default".to_owned(), history: 5, ..kv::Config::default() };
    let made = jetstream::new(connection.client().clone()).create_key_value(config).await.unwrap();
    for n in 0..4 {
        made.put("COMPONENT_a", format!(r#"{{"url":"v{n}"}}"#).into()).await.unwrap();
    }
    let store = open(&connection).await;
    assert_eq!(store.snapshot().specs["a"].url, "v3");
    let mut stream = made.stream;
    assert_eq!(stream.info().await.unwrap().config.max_messages_per_subject, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_seen_as_they_are_made() {
    let server = Server::with_jetstream();
    let (here, there) = (open(&server.connect().await).await, open(&server.connect().await).await);

    let revision = put_link(&here, link("http", "echo", "default")).await.unwrap().unwrap();
    for store in [&here, &there] {
        let snapshot = store.wait_for(revision, SOON).await.unwrap();
        assert_eq!(snapshot.specs["http"].links.len(), 1);
    }
    let nothing = here.edit_spec("http", |_| Ok::<_, Error>(false)).await.unwrap();
    assert_eq!(nothing, None);

    let revision = here.put_config("c", &values(&[("k", "v")])).await.unwrap();
    assert_eq!(there.wait_for(revision, SOON).await.unwrap().configs["c"]["k"], "v");
    let revision = there.delete_config("c").await.unwrap();
    assert!(here.wait_for(revision, SOON).await.unwrap().configs.is_empty());
    here.delete_config("never-there").await.unwrap();

    let claims =
        ClaimsRecord::Provider(ProviderClaims { subject: "VX".to_owned(), ..ProviderClaims::default() });
    let revision = here.put_claims(&claims).await.unwrap().unwrap();
    assert_eq!(here.wait_for(revision, SOON).await.unwrap().claims["VX"], claims);
    assert_eq!(here.put_claims(&claims).await.unwrap(), None);

    let far = Revision { sequence: revision.sequence + 1000, ..revision };
    let error = here.wait_for(far, Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_lose_nothing() {
    const EACH: usize = 20;
    let server = Server::with_jetstream();
    let stores = [open(&server.connect().await).await, open(&server.connect().await).await];
    let writers: Vec<_> = stores
        .iter()
        .enumerate()
        .flat_map(|(host, store)| (0..2).map(move |task| (host, task, store.clone())))
        .map(|(host, task, store)| {
            tokio::spawn(async move {
                for n in 0..EACH {
                    put_link(&store, link("http", "echo", &format!("{host}-{task}-{n}"))).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        within("a writer", writer).await.unwrap();
    }
    for store in &stores {
        until("all links", store, |snapshot| snapshot.specs["http"].links.len() == 4 * EACH).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_unreadable_edits_write_nothing() {
    let server = Server::with_jetstream();
    let connection = server.connect().await;
    let store = open(&connection).await;
    put_link(&store, link("http", "echo", "default")).await.unwrap();
    let conflict = put_link(&store, link("http", "other", "default")).await.unwrap_err();
    assert!(matches!(conflict, Error::Name(wattle_protocol::Error::LinkConflict(_))), "{conflict}");

    let raw = bucket(&connection, "LATTICEDATA_default").await;
    raw.put("COMPONENT_broken", "{".into()).await.unwrap();
    let error = put_link(&store, link("broken", "echo", "default")).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    let error = store.edit_spec("a.b", |_| Ok::<_, Error>(true)).await.unwrap_err();
    assert!(matches!(error, Error::Name(_)), "{error}");
    assert_eq!(raw.status().await.unwrap().bucket(), "LATTICEDATA_default");
    assert_eq!(raw.entry("COMPONENT_http").await.unwrap().unwrap().revision, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_followed_on() {
    let mut server = Server::with_jetstream();
    let store = open(&server.connect().await).await;
    let revision = put_link(&store, link("http", "echo", "default")).await.unwrap().unwrap();
    store.wait_for(revision, SOON).await.unwrap();
    server.stop();
    let (reason, stale) = unreachable("the loss", &store).await;
    assert!(reason.contains("not connected to NATS") && stale, "{reason}");
    let refused = store.put_config("c", &values(&[])).await.unwrap_err();
    assert!(matches!(refused, Error::Disconnected { .. }), "{refused}");
    assert_eq!(store.snapshot().specs["http"].links.len(), 1);

    server.start_again();
    store.wait_ready(SOON).await.unwrap();
    assert_eq!(store.snapshot().specs["http"].links.len(), 1);
    let revision = put_link(&store, link("http", "echo", "second")).await.unwrap().unwrap();
    assert_eq!(store.wait_for(revision, SOON).await.unwrap().specs["http"].links.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_server_is_loaded_from_nothing() {
    let mut server = Server::with_jetstream();
    let store = open(&server.connect().await).await;
    for name in ["one", "two", "three"] {
        put_link(&store, link("http", "echo", name)).await.unwrap();
    }
    let revision = store.put_config("c", &values(&[("k", "v")])).await.unwrap();
    store.wait_for(revision, SOON).await.unwrap();
    server.stop();
    unreachable("the loss", &store).await;
    server.wipe();
    server.start_again();
    store.wait_ready(SOON).await.unwrap();
    assert_eq!(*store.snapshot(), Snapshot::default());
    let revision = put_link(&store, link("http", "echo", "new")).await.unwrap().unwrap();
    assert_eq!(store.wait_for(revision, SOON).await.unwrap().specs["http"].links[0].name, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_made_anew_behind_a_standing_connection_are_loaded_from_nothing() {
    let server = Server::with_jetstream();
    let connection = server.connect().await;
    let store = open(&connection).await;
    for name in ["one", "two", "three"] {
        put_link(&store, link("http", "echo", name)).await.unwrap();
    }
    until("the links", &store, |snapshot| snapshot.revisions.lattice == 3).await;
    let jetstream = jetstream::new(connection.client().clone());
    jetstream.delete_key_value("LATTICEDATA_default").await.unwrap();
    let raw = bucket(&connection, "LATTICEDATA_default").await;
    raw.put("COMPONENT_other", r#"{"url":"x"}"#.into()).await.unwrap();
    let snapshot = until("the new state", &store, |snapshot| snapshot.specs.contains_key("other")).await;
    assert_eq!(snapshot.specs.keys().collect::<Vec<_>>(), ["other"]);
    assert_eq!(snapshot.revisions.lattice, 1);
    store.wait_ready(SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_told() {
    let server = Server::start("");
    let connection = server.connect().await;
    let store = Store::open(&connection, StoreOptions::new("default")).unwrap();
    let (reason, stale) = unreachable("the reason", &store).await;
    assert!(reason.contains("JetStream is not available at nats://127.0.0.1") && !stale, "{reason}");
    let error = put_link(&store, link("a", "b", "c")).await.unwrap_err();
    assert!(matches!(error, Error::JetStreamNotEnabled { .. }), "{error}");
    let error = store.put_config("c", &values(&[])).await.unwrap_err();
    assert!(matches!(error, Error::BucketMissing { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_domain_is_told_and_the_state_from_before_stays() {
    let server = Server::start("jetstream { store_dir: STORE, domain: core }");
    let connection = server.connect().await;
    let mut cached = Snapshot::default();
    cached.specs.insert("http".to_owned(), Arc::default());
    let options = StoreOptions {
        domain: Some("wrong".to_owned()),
        cached: Some(cached.clone()),
        ..StoreOptions::new("default")
    };
    let store = Store::open(&connection, options).unwrap();
    let (reason, stale) = unreachable("the reason", &store).await;
    assert!(
        reason.contains("JetStream domain `wrong` is not reachable through nats://127.0.0.1"),
        "{reason}"
    );
    assert!(stale);
    assert_eq!(*store.snapshot(), cached);
    let error = put_link(&store, link("a", "b", "c")).await.unwrap_err();
    assert!(matches!(error, Error::DomainNotFound { .. }), "{error}");
    assert!(Store::open(&connection, StoreOptions::new("a.b")).is_err());
}

/// A hub with domain `core`, and a leaf node of it with domain `extender`.
fn hub_and_leaf() -> (Server, Server) {
    let port = free_port();
    let hub = Server::start(&format!(
        "jetstream {{ store_dir: STORE, domain: core }}\nleafnodes {{ host: 127.0.0.1, port: {port} }}"
    ));
    let leaf = Server::start(&format!(
        "jetstream {{ store_dir: STORE, domain: extender }}
         leafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{port}\" }} ], reconnect: 1 }}"
    ));
    (hub, leaf)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_behind_a_leaf_node_may_go_and_come_back() {
    let (mut hub, leaf) = hub_and_leaf();
    let connection = leaf.connect().await;
    let store = in_domain(&connection, "core");
    store.wait_ready(SOON).await.unwrap();
    let revision = put_link(&store, link("http", "echo", "default")).await.unwrap().unwrap();
    store.wait_for(revision, SOON).await.unwrap();
    hub.stop();
    let (reason, stale) = unreachable("the loss", &store).await;
    assert!(stale, "{reason}");
    assert_eq!(store.snapshot().specs["http"].links.len(), 1);
    assert!(put_link(&store, link("http", "echo", "second")).await.is_err());
    hub.start_again();
    store.wait_ready(SOON).await.unwrap();
    let revision = put_link(&store, link("http", "echo", "second")).await.unwrap().unwrap();
    assert_eq!(store.wait_for(revision, SOON).await.unwrap().specs["http"].links.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_domain_is_written_here_and_across_a_leaf_node() {
    let (hub, leaf) = hub_and_leaf();
    let at_hub = in_domain(&hub.connect().await, "core");
    let at_leaf = in_domain(&leaf.connect().await, "core");
    let extender = in_domain(&leaf.connect().await, "extender");
    for store in [&at_hub, &at_leaf, &extender] {
        store.wait_ready(SOON).await.unwrap();
    }
    put_link(&at_hub, link("http", "echo", "hub")).await.unwrap();
    let revision = put_link(&at_leaf, link("http", "echo", "leaf")).await.unwrap().unwrap();
    for store in [&at_hub, &at_leaf] {
        assert_eq!(store.wait_for(revision, SOON).await.unwrap().specs["http"].links.len(), 2);
    }
    let revision = at_leaf.put_config("c", &values(&[("k", "v")])).await.unwrap();
    assert_eq!(at_hub.wait_for(revision, SOON).await.unwrap().configs["c"]["k"], "v");
    let revision = at_leaf.delete_config("c").await.unwrap();
    assert!(at_hub.wait_for(revision, SOON).await.unwrap().configs.is_empty());
    assert_eq!(*extender.snapshot(), Snapshot::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_permissions_are_told() {
    let server = Server::start(
        "jetstream { store_dir: STORE }
         accounts {
           limited: { users: [ { user: limited, password: pw } ], jetstream: { max_file: 10M, max_bytes: true } }
           closed: {
             users: [ { user: closed, password: pw, permissions: { publish: { deny: [\"$JS.API.STREAM.>\"] } } } ]
             jetstream: enabled
           }
         }",
    );
    let store_of = async |user: &str| {
        let auth = Auth::UserPassword { user: user.to_owned(), password: "pw".to_owned().into() };
        let connection =
            connect(&ConnectOptions { auth, ..ConnectOptions::new([server.url()]) }).await.unwrap();
        Store::open(&connection, StoreOptions::new("default")).unwrap()
    };
    let (reason, _) = unreachable("the limit", &store_of("limited").await).await;
    assert!(reason.contains("failed to create bucket") && reason.contains("raise the limit"), "{reason}");
    let (reason, _) = unreachable("the permission", &store_of("closed").await).await;
    assert!(reason.contains("not permitted") && reason.contains("$JS.API.STREAM.INFO"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_are_merged_and_seen_by_every_member() {
    let server = Server::with_jetstream();
    let connection = server.connect().await;
    let (one, other) = (open(&connection).await, open(&connection).await);
    // Stands for a signed token that names ids: what matters here is that no writer loses what another one wrote.
    let add = async |store: &Store, id: &str| {
        let change = |stored: Option<&str>| {
            Ok::<_, Error>(Some(format!("{}{id}.b.c", stored.map_or("", |t| &t[..t.len() - 4]))))
        };
        store.edit_revocation("CX", change).await.unwrap().unwrap()
    };
    let (first, second) = tokio::join!(add(&one, "x"), add(&other, "y"));
    let last = if first.sequence > second.sequence { first } else { second };
    for store in [&one, &other] {
        let snapshot = store.wait_for(last, SOON).await.unwrap();
        let token = &*snapshot.revocations["CX"];
        assert!(token == "xy.b.c" || token == "yx.b.c", "{token}");
    }
    let nothing = one.edit_revocation("CX", |_| Ok::<_, Error>(None)).await.unwrap();
    assert_eq!(nothing, None);
    let junk = one.edit_revocation("CX", |_| Ok::<_, Error>(Some("junk".to_owned()))).await;
    assert!(matches!(junk, Err(Error::Malformed { .. })), "{junk:?}");
    assert!(matches!(one.edit_revocation("a b", |_| Ok::<_, Error>(None)).await, Err(Error::Name(_))));

    // What someone else wrote there and is no token does not lift the revocation, and can be replaced.
    let jetstream = jetstream::new(connection.client().clone());
    let bucket = jetstream.get_key_value("LATTICEDATA_default").await.unwrap();
    bucket.put("REVOCATION_CX", "{}".into()).await.unwrap();
    let snapshot = until("the unreadable entry", &one, |snapshot| !snapshot.problems.is_empty()).await;
    assert!(snapshot.problems.contains_key("LATTICEDATA_default/REVOCATION_CX"));
    assert!(snapshot.revocations.contains_key("CX"));
    let replaced = one
        .edit_revocation("CX", |stored| {
            assert_eq!(stored, None);
            Ok::<_, Error>(Some("z.b.c".to_owned()))
        })
        .await
        .unwrap();
    let snapshot = one.wait_for(replaced.unwrap(), SOON).await.unwrap();
    assert_eq!(&*snapshot.revocations["CX"], "z.b.c");
    assert!(snapshot.problems.is_empty());
}
