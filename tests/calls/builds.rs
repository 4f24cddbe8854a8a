//! Two builds of an interface that differ, and types that can't cross.

use wattle_tests::{Contract, Fleet, component};

#[tokio::test]
async fn two_builds_of_an_interface_are_told_apart() {
    let fleet = Fleet::start(2).await;
    let (old, new) = ("f: func(v: list<u16>) -> list<u16>", "f: func(v: list<u32>) -> list<u32>");
    fleet.run(0, "relay", &Contract::of(&[old]).relay(), &[]).await;
    fleet.link("relay", "echo", "acme:calls/echo").await;
    // On another host, and then on the same.
    for host in [1, 0] {
        fleet.run(host, "echo", &Contract::of(&[new]).echo(), &[]).await;
        let call = fleet.call("relay", "acme:calls/relay.f", &["[1, 2]"]).await;
        call.failed(&["acme:calls/echo", "list<u16>", "list<u32>"]);
        fleet.stop(host, "echo").await;
    }
    fleet.run(1, "echo", &Contract::of(&[old]).echo(), &[]).await;
    assert_eq!(fleet.ask("relay", "acme:calls/relay.f", &["[1, 2]"]).await, "[1, 2]");
}

#[tokio::test]
async fn a_function_that_the_target_has_not_is_named() {
    let fleet = Fleet::start(2).await;
    let relay = Contract::of(&["f: func(v: u8) -> u8", "g: func(v: u8) -> u8"]);
    fleet.run(0, "relay", &relay.relay(), &[]).await;
    fleet.run(1, "echo", &Contract::of(&["f: func(v: u8) -> u8"]).echo(), &[]).await;
    fleet.link("relay", "echo", "acme:calls/echo").await;
    assert_eq!(fleet.ask("relay", "acme:calls/relay.f", &["7"]).await, "7");
    fleet.call("relay", "acme:calls/relay.g", &["7"]).await.failed(&["acme:calls/echo", "g"]);
}

/// A component of a world with one import.
fn importing(interface: &str, import: &str) -> Vec<u8> {
    let wit = format!("package acme:odd; interface odd {{ {interface} }} world node {{ import odd; }}");
    component(&wit, "node", &format!("(import \"acme:odd/odd\" {import})"), "")
}

#[tokio::test]
async fn what_cannot_cross_is_refused_at_start_by_name() {
    let fleet = Fleet::start(1).await;
    let refused = async |id: &str, component: &[u8], words: &[&str]| {
        let file = fleet.hosts[0].folder().join(format!("{id}.wasm"));
        std::fs::write(&file, fleet.keys.sign(component)).unwrap();
        let reference = format!("file://{}", file.display());
        fleet.cli.run(["start", "component", &reference, id]).await.failed(words);
    };
    let resource = "resource handle { constructor(); } open: func() -> handle;";
    let resource = importing(resource, r#""open" (func (result i32))"#);
    refused("resources", &resource, &["acme:odd/odd", "open", "handle"]).await;
    let stream = "record pair { a: u8, b: u8 } send: func(v: stream<pair>);";
    let stream = importing(stream, r#""send" (func (param i32))"#);
    refused("streams", &stream, &["acme:odd/odd", "send", "stream"]).await;
}

#[tokio::test]
async fn values_that_are_none_of_the_function_are_refused() {
    let fleet = Fleet::start(1).await;
    fleet.run(0, "echo", &Contract::of(&["f: func(v: list<u8>) -> list<u8>"]).echo(), &[]).await;
    let call = async |arguments: &[&str]| fleet.call("echo", "acme:calls/echo.f", arguments).await;
    assert_eq!(call(&["[1, 2]"]).await.ok().json()["wave"], "[1, 2]");
    call(&["[1, 256]"]).await.failed(&["256"]);
    call(&["\"text\""]).await.failed(&["list<u8>"]);
    call(&[]).await.failed(&["list<u8>"]);
    call(&["[1]", "[2]"]).await.failed(&[]);
    fleet.call("echo", "acme:calls/echo.none", &[]).await.failed(&["none"]);
    fleet.call("nobody", "acme:calls/echo.f", &["[]"]).await.failed(&["nobody"]);
}
