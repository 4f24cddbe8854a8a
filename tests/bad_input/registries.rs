//! The registry is not there, is none, or does not let the host in.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use wattle_tests::{HostOptions, PASSWORD, Registry, Stage, USER, free_address, guest};

use crate::assert_refused;

#[tokio::test]
async fn bad_input_registry_down() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.registry.stop();
    let host = stage.registry.host();
    assert_refused(&mut stage, &reference, &["can't be reached", &host]).await;
    stage.registry.start_again().await;
    stage.start_component(&reference, "hello", &[]).await.ok();
}

/// Gives every connection the same answer, whatever it asks, and closes it.
struct FakeRegistry {
    host: String,
    server: JoinHandle<()>,
}

impl FakeRegistry {
    async fn start(answer: String) -> Self {
        let listener = TcpListener::bind(free_address()).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => return,
                        }
                    }
                    // Whoever asked may be gone.
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { host, server }
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn answer(status: &str, media_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn assert_fake_is_refused(answer: String, words: &[&str]) {
    let fake = FakeRegistry::start(answer).await;
    let mut stage = Stage::start_with(|options| options.arg("--allow-insecure").arg(&fake.host)).await;
    let reference = format!("{}/http-hello:1.0.0", fake.host);
    let words: Vec<&str> = words.iter().copied().chain([fake.host.as_str()]).collect();
    assert_refused(&mut stage, &reference, &words).await;
}

#[tokio::test]
async fn bad_input_registry_is_a_web_site() {
    let page = answer("200 OK", "text/html", "<html><body>Welcome!</body></html>");
    assert_fake_is_refused(page, &["is not an OCI registry"]).await;
}

#[tokio::test]
async fn bad_input_registry_unavailable() {
    let busy = answer("503 Service Unavailable", "text/plain", "come back later");
    assert_fake_is_refused(busy, &["can't serve the request now", "503"]).await;
}

#[tokio::test]
async fn bad_input_registry_refuses() {
    let text = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    assert_fake_is_refused(answer("403 Forbidden", "application/json", text), &["refused", "anonymous"])
        .await;
}

#[tokio::test]
async fn bad_input_registry_hangs_up() {
    assert_fake_is_refused(String::new(), &["can't be reached"]).await;
}

#[tokio::test]
async fn bad_input_registry_without_tls() {
    let registry = Registry::start().await;
    let mut stage = Stage::start().await;
    let reference = registry.put("http-hello", "1.0.0", &stage.keys.sign(&guest("http-hello"))).await;
    assert_refused(&mut stage, &reference, &["does not speak TLS", "insecure", &registry.host()]).await;
}

fn log_in(options: HostOptions, registry: &Registry, password: &str) -> HostOptions {
    let options = options.insecure(registry).env("WATTLE_OCI_REGISTRY", registry.host());
    options.env("WATTLE_OCI_REGISTRY_USER", USER).env("WATTLE_OCI_REGISTRY_PASSWORD", password)
}

#[tokio::test]
async fn bad_input_registry_wrong_password() {
    let private = Registry::start_with_login().await;
    let mut stage = Stage::start_with(|options| log_in(options, &private, "open barley")).await;
    let reference = private.put("http-hello", "1.0.0", &stage.keys.sign(&guest("http-hello"))).await;
    assert_refused(&mut stage, &reference, &["refused user \"ada\"", "credentials", &reference]).await;
    assert!(!stage.host.log().contains("barley"), "a password, even a wrong one, is never logged");
}

#[tokio::test]
async fn bad_input_registry_no_password() {
    let private = Registry::start_with_login().await;
    let mut stage = Stage::start_with(|options| options.insecure(&private)).await;
    let reference = private.put("http-hello", "1.0.0", &stage.keys.sign(&guest("http-hello"))).await;
    assert_refused(&mut stage, &reference, &["refused an anonymous request", &reference]).await;
}

#[tokio::test]
async fn the_right_password_lets_the_host_in() {
    let private = Registry::start_with_login().await;
    let stage = Stage::start_with(|options| log_in(options, &private, PASSWORD)).await;
    let reference = private.put("http-hello", "1.0.0", &stage.keys.sign(&guest("http-hello"))).await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    assert!(!stage.host.log().contains(PASSWORD));
}
