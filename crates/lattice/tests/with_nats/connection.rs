use std::time::Duration;

use nkeys::KeyPair;
use tokio_util::sync::CancellationToken;
use wattle_lattice::{Auth, ConnectOptions, ConnectionStatus, Error, connect, connect_waiting};

use crate::server::{Server, free_port, within};

fn as_user(server: &Server, auth: Auth) -> ConnectOptions {
    ConnectOptions { auth, ..ConnectOptions::new([server.url()]) }
}

fn password(user: &str, password: &str) -> Auth {
    Auth::UserPassword { user: user.to_owned(), password: password.to_owned().into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_says_where_it_leads() {
    let server = Server::start("");
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    let connection = connect(&ConnectOptions::new([nobody, server.url()])).await.unwrap();
    assert_eq!(*connection.status().borrow(), ConnectionStatus::Connected(server.url()));
    assert_eq!(connection.url(), server.url());
    connection.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_from_an_absent_server() {
    let key = KeyPair::new_user();
    let config = format!(
        "authorization {{ users: [ {{ user: ann, password: right }}, {{ nkey: {} }} ] }}",
        key.public_key()
    );
    let server = Server::start(&config);
    connect(&as_user(&server, password("ann", "right"))).await.unwrap();
    let seed = |key: &KeyPair| Auth::NKey { seed: key.seed().unwrap().into() };
    connect(&as_user(&server, seed(&key))).await.unwrap();

    for (auth, advice) in [
        (password("ann", "pw-wrong"), "check the password of `ann`"),
        (seed(&KeyPair::new_user()), "check the user seed"),
        (Auth::None, "no credentials were given"),
        (Auth::Token("pw-wrong".to_owned().into()), "check the token"),
    ] {
        let error = connect(&as_user(&server, auth)).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Unauthorized { .. }), "{text}");
        assert!(
            text.contains(&server.url()) && text.contains(advice) && !text.contains("pw-wrong"),
            "{text}"
        );
    }
    // Of several servers, the refusal tells more than the absence.
    let mut options = as_user(&server, password("ann", "wrong"));
    options.urls.push(format!("nats://127.0.0.1:{}", free_port()));
    assert!(matches!(connect(&options).await, Err(Error::Unauthorized { .. })));

    let url = format!("nats://127.0.0.1:{}", free_port());
    let error = connect(&ConnectOptions::new([url.clone()])).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { url: told, .. } if *told == url), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let options =
        ConnectOptions { request_timeout: Duration::from_millis(200), ..ConnectOptions::new([url]) };
    let error = within("giving up", connect(&options)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_later_is_waited_for() {
    let port = free_port();
    let cancel = CancellationToken::new();
    let waiting = tokio::spawn({
        let cancel = cancel.clone();
        async move { connect_waiting(&ConnectOptions::new([format!("nats://127.0.0.1:{port}")]), &cancel).await }
    });
    let server = Server::start_on("", Some(port));
    let connection = within("the connection", waiting).await.unwrap().unwrap();
    assert_eq!(connection.url(), server.url());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_can_be_cancelled_and_does_not_wait_for_the_impossible() {
    let nobody = ConnectOptions::new([format!("nats://127.0.0.1:{}", free_port())]);
    let cancel = CancellationToken::new();
    let waiting = tokio::spawn({
        let cancel = cancel.clone();
        async move { connect_waiting(&nobody, &cancel).await.map(drop) }
    });
    cancel.cancel();
    assert!(matches!(within("the end of waiting", waiting).await.unwrap(), Err(Error::Cancelled)));

    let missing = ConnectOptions {
        auth: Auth::Creds("/nowhere/a.creds".into()),
        ..ConnectOptions::new(["nats://hub"])
    };
    let refused = within("the refusal", connect_waiting(&missing, &CancellationToken::new())).await;
    assert!(matches!(refused, Err(Error::File { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_and_comes_back() {
    let mut server = Server::start("");
    let connection = server.connect().await;
    let mut status = connection.status();
    server.stop();
    let down = |status: &ConnectionStatus| matches!(status, ConnectionStatus::Disconnected(_));
    within("the loss", status.wait_for(down)).await.unwrap();
    let refused = within("the refusal", connection.flush()).await;
    assert!(matches!(refused, Err(Error::Disconnected { .. })), "{refused:?}");
    let named = |status: &ConnectionStatus| matches!(status, ConnectionStatus::Disconnected(reason) if reason.contains(&server.url()));
    within("the reason", status.wait_for(named)).await.unwrap();
    server.start_again();
    within("the return", status.wait_for(|status| !down(status))).await.unwrap();
    connection.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_made_with_the_authority_and_the_certificate_that_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (cert, key) =
            (folder.path().join(format!("{name}.pem")), folder.path().join(format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    };
    let ((server_cert, server_key), (client_cert, client_key)) = (write("server"), write("client"));
    let server = Server::start(&format!(
        "tls {{ cert_file: {server_cert:?}, key_file: {server_key:?}, ca_file: {client_cert:?}, verify: true }}"
    ));
    let mut options = ConnectOptions::new([server.url()]);
    options.tls.required = true;
    options.tls.ca = Some(server_cert);
    options.tls.cert = Some(client_cert.clone());
    options.tls.key = Some(client_key);
    within("the connection", connect(&options)).await.unwrap();

    options.tls.ca = Some(client_cert);
    let error = within("the handshake", connect(&options)).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
}
