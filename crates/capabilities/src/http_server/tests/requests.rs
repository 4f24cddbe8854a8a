//! What components and clients get to see of each other's heads, and of failures.

use super::super::{Limits, testing::*};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::{io::AsyncWriteExt, sync::mpsc};
use wattle_provider::{CallError, Provider, body};

#[tokio::test]
async fn a_request_reaches_the_linked_component() {
    let (seen, mut calls) = mpsc::unbounded_channel();
    let components = lattice(move |call| {
        seen.send(call).unwrap();
        async { Ok(Response::new(body::full("hello\n"))) }
    });
    let (_server, address) = serve(components).await;

    let response = get(address, "/greet?who=me").await;
    assert_eq!(status(&response), "200");
    assert!(response.ends_with("\r\n\r\nhello\n"), "{response}");

    let call = calls.recv().await.unwrap();
    assert_eq!((call.source.as_str(), call.target.as_str(), call.link_name.as_str()), (ID, "M1", "default"));
    assert_eq!(call.request.method(), "GET");
    assert_eq!(call.request.uri(), "http://test.example/greet?who=me");
    assert!(call.request.headers().get("connection").is_none());
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let (_server, address) = serve(names()).await;
    let mut client = Client::connect(address).await;
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let head = client.read_until("\r\n\r\n").await;
        assert!(head.contains("content-length: 2"), "{head}");
        assert_eq!(client.read_until("M1").await, "M1");
    }
}

#[tokio::test]
async fn failures_have_their_status_and_keep_their_reasons() {
    let components = lattice(|call| async move {
        let target = call.target;
        let reason = "secret inside".to_owned();
        Err(match call.request.uri().path() {
            "/not-running" => CallError::NotRunning { target },
            "/unreachable" => CallError::Unreachable { target, reason },
            "/busy" => CallError::Busy { target },
            "/canceled" => CallError::Canceled { target },
            "/no-link" => CallError::NoLink { source_id: call.source, target, link_name: call.link_name },
            "/timeout" => CallError::Timeout { target, after: Duration::from_secs(1) },
            "/trapped" => CallError::Trapped { target, reason },
            "/no-response" => CallError::NoResponse { target, reason },
            "/unsupported" => CallError::Unsupported { target, reason },
            "/lost" => CallError::Lost { target, reason },
            _ => CallError::Refused { target, reason },
        })
    });
    let (_server, address) = serve(components).await;
    for (path, expected) in [
        ("/not-running", "503"),
        ("/unreachable", "503"),
        ("/busy", "503"),
        ("/canceled", "503"),
        ("/no-link", "503"),
        ("/timeout", "504"),
        ("/trapped", "500"),
        ("/no-response", "500"),
        ("/unsupported", "502"),
        ("/lost", "502"),
        ("/refused", "403"),
    ] {
        let response = get(address, path).await;
        let (head, text) = response.split_once("\r\n\r\n").unwrap();
        assert_eq!(status(head), expected, "{path}");
        assert_eq!(head.contains("retry-after: 1"), expected == "503", "{head}");
        assert!(head.contains("content-type: text/plain"), "{head}");
        assert!(
            text.starts_with("component M1 ") && text.ends_with('\n') && text.lines().count() == 1,
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn timeout_ms_bounds_the_wait_for_the_head() {
    let (seen, mut events) = mpsc::unbounded_channel();
    let components = lattice(move |_call| {
        let guard = Guard(seen.clone());
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let (server, address) = serve(components).await;
    let changed = link("M1", &[("address", &address.to_string()), ("timeout_ms", "50")]);
    server.link_put(changed).await.unwrap();
    let response = get(address, "/").await;
    assert_eq!(status(&response), "504");
    assert!(response.ends_with("component M1 did not answer in time\n"), "{response}");
    assert_eq!(within("the call to be cancelled", events.recv()).await, Some("dropped"));
}

#[tokio::test]
async fn paths_and_hosts_choose_the_component() {
    let by_path = super::super::HttpServer::new(ID.into(), names());
    let here = address();
    by_path
        .configure(map(&[("routing_mode", "path"), ("default_address", &here.to_string())]))
        .await
        .unwrap();
    by_path.link_put(link("M1", &[("path", "/api")])).await.unwrap();
    by_path.link_put(link("M2", &[("path", "/api/v2")])).await.unwrap();
    assert!(get(here, "/api/v1").await.ends_with("M1"));
    assert!(get(here, "/api/v2/x").await.ends_with("M2"));
    let missing = get(here, "/").await;
    assert_eq!(status(&missing), "404");
    assert!(missing.ends_with("no component is linked for this address\n"), "{missing}");
    by_path.link_deleted(&link("M2", &[]).key()).await;
    assert!(get(here, "/api/v2/x").await.ends_with("M1"));

    let by_host = super::super::HttpServer::new(ID.into(), names());
    let here = address();
    by_host
        .configure(map(&[("routing_mode", "host"), ("default_address", &here.to_string())]))
        .await
        .unwrap();
    by_host.link_put(link("M1", &[("host", "one.example")])).await.unwrap();
    by_host.link_put(link("M2", &[("host", "two.example")])).await.unwrap();
    for (host, target) in [("one.example", "M1"), ("TWO.example:8000", "M2")] {
        let response =
            exchange(here, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert!(response.ends_with(target), "{response}");
    }
    assert_eq!(status(&get(here, "/").await), "404");
    assert_eq!(status(&exchange(here, "GET / HTTP/1.0\r\n\r\n").await), "404");
}

#[tokio::test]
async fn clients_of_http_1_0_are_served_without_a_host() {
    let components = lattice(|call| async move {
        let host = call.request.headers()["host"].to_str().unwrap().to_owned();
        Ok(Response::new(body::full(format!("{} {host}", call.request.uri()))))
    });
    let (_server, address) = serve(components).await;
    let response = exchange(address, "GET /a HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&response), "200", "{response}");
    assert!(response.ends_with(&format!("http://{address}/a {address}")), "{response}");
}

#[tokio::test]
async fn requests_without_a_usable_host_are_bad() {
    let (_server, address) = serve(names()).await;
    for host in ["", "Host: \r\n", "Host: a\r\nHost: b\r\n", "Host: me@h\r\n"] {
        let response = exchange(address, &format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n")).await;
        assert_eq!(status(&response), "400", "{host:?} gave {response}");
    }
    let connect = exchange(address, "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&connect), "501");
}

#[tokio::test]
async fn headers_of_one_connection_end_there() {
    let components = lattice(|call| async move {
        let names: Vec<&str> = call.request.headers().keys().map(http::HeaderName::as_str).collect();
        let mut response = Response::new(body::full(names.join(" ")));
        let headers = response.headers_mut();
        headers.insert("connection", HeaderValue::from_static("x-hop"));
        headers.insert("x-hop", HeaderValue::from_static("1"));
        headers.insert("keep-alive", HeaderValue::from_static("timeout=5"));
        headers.insert("x-kept", HeaderValue::from_static("1"));
        Ok(response)
    });
    let (_server, address) = serve(components).await;
    let response = exchange(
        address,
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Mine, Host\r\nX-Mine: 1\r\nTE: trailers\r\n\
         Keep-Alive: 5\r\nUpgrade: websocket\r\nProxy-Connection: x\r\nX-Kept: 1\r\n\r\n",
    )
    .await;
    let (head, names) = response.split_once("\r\n\r\n").unwrap();
    assert_eq!(names, "host x-kept");
    assert!(
        head.contains("x-kept: 1") && !head.contains("x-hop: 1") && !head.contains("timeout=5"),
        "{head}"
    );
}

#[tokio::test]
async fn responses_that_are_none_become_502() {
    let components = lattice(|_call| async {
        let mut response = Response::new(body::empty());
        *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
        Ok(response)
    });
    let (_server, address) = serve(components).await;
    assert_eq!(status(&get(address, "/").await), "502");
}

#[tokio::test]
async fn head_has_no_body_and_expect_is_answered() {
    let components = lattice(|call| async move {
        let body = call.request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::new(body::full(format!("{} bytes", body.len()))))
    });
    let (_server, address) = serve(components).await;
    let response = exchange(address, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(response.contains("content-length: 7") && response.ends_with("\r\n\r\n"), "{response}");

    let mut client = Client::connect(address).await;
    client
        .send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(client.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("four").await;
    assert!(client.read_to_end().await.ends_with("4 bytes"));
}

#[tokio::test]
async fn a_head_that_is_too_large_gets_431() {
    let (_server, address) = serve(names()).await;
    let large = "x".repeat(Limits::default().header_bytes);
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\nX-Large: {large}\r\nConnection: close\r\n\r\n");
    assert_eq!(status(&exchange(address, &head).await), "431");
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{many}Connection: close\r\n\r\n");
    assert_eq!(status(&exchange(address, &head).await), "431");
}

#[tokio::test]
async fn a_client_that_is_slow_with_its_head_is_cut_off() {
    let limits = Limits { header_timeout: Duration::from_millis(100), ..Limits::default() };
    let (_server, address) = serve_with(names(), limits).await;
    let mut client = Client::connect(address).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n").await;
    // One byte now and then must not move the deadline. The writes fail once the server has closed.
    let (mut read, mut write) = client.0.into_split();
    let dribble = tokio::spawn(async move {
        while write.write_all(b"X").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut rest = Vec::new();
    let _ = within("the cut-off", tokio::io::AsyncReadExt::read_to_end(&mut read, &mut rest)).await;
    assert!(!String::from_utf8_lossy(&rest).contains("M1"));
    within("writes to fail", dribble).await.unwrap();
}
