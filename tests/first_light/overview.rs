//! What there is, for people and for programs: one value, two forms.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wattle_tests::{Host, HostOptions, Outcome, Stage, table_rows};

/// The same command's JSON and table.
async fn both(stage: &Stage, words: &[&str]) -> (Value, Outcome) {
    let json = stage.cli.run(words.iter().chain(&["-o", "json"])).await.ok().json();
    (json, stage.cli.run(words).await.ok())
}

/// The rows that a table should have, made from JSON.
fn rows<const N: usize>(
    list: &Value,
    row: impl Fn(&Value) -> [(&'static str, String); N],
) -> Vec<BTreeMap<String, String>> {
    let cell = |(name, value): (&str, String)| {
        (name.to_owned(), if value.is_empty() { "-".to_owned() } else { value })
    };
    list.as_array().unwrap().iter().map(|entry| row(entry).into_iter().map(cell).collect()).collect()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}

fn list(value: &Value) -> String {
    value.as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(",")
}

fn pairs(value: &Value) -> String {
    let pairs = value.as_object().unwrap().iter().map(|(key, value)| format!("{key}={}", text(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Two hosts, a component on the first, a provider on the second, a config and a link.
async fn two_hosts() -> (Stage, Host) {
    let stage = Stage::start_with(|options| options.arg("--label").arg("zone=attic")).await;
    let options = HostOptions::new().trust(&stage.keys).insecure(&stage.registry);
    let other = Host::start(&stage.nats, options.arg("--label").arg("zone=cellar")).await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &["--count", "5", "--annotation", "team=blue"]).await.ok();
    let id = other.id();
    stage.cli.run(["start", "provider", "builtin://http-server", "http", "--host", &id]).await.ok();
    stage.cli.run(["config", "put", "somewhere", "address=127.0.0.1:0", "path=/a b"]).await.ok();
    let link = ["link", "put", "asker", "hello", "wasi", "http", "--interface", "incoming-handler,other"];
    stage.cli.run(link.into_iter().chain(["--target-config", "somewhere", "--name", "by-night"])).await.ok();
    (stage, other)
}

#[tokio::test]
async fn tables_and_json_say_the_same() {
    let (stage, other) = two_hosts().await;

    let (json, table) = both(&stage, &["get", "hosts"]).await;
    let mut ids: Vec<_> = json.as_array().unwrap().iter().map(|host| text(&host["id"])).collect();
    let mut expected = vec![stage.host.id(), other.id()];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    let own = json.as_array().unwrap().iter().find(|host| host["id"] == stage.host.id()).unwrap();
    assert_eq!(own["labels"]["zone"], "attic");
    assert_eq!(own["labels"]["hostcore.os"], "linux");
    assert_eq!(own["lattice"], stage.nats.lattice());
    let without_time = |mut rows: Vec<BTreeMap<String, String>>| {
        rows.iter_mut().for_each(|row| drop(row.remove("UPTIME").unwrap()));
        rows
    };
    let expected = rows(&json, |host| {
        [
            ("HOST", text(&host["id"])),
            ("NAME", text(&host["friendly_name"])),
            ("UPTIME", text(&host["uptime_human"])),
            ("VERSION", text(&host["version"])),
            ("LABELS", pairs(&host["labels"])),
        ]
    });
    assert_eq!(without_time(table_rows(&table.stdout)), without_time(expected), "{table}");

    let (json, table) = both(&stage, &["get", "links"]).await;
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(
        json[0],
        json!({
            "source_id": "asker", "target": "hello", "name": "by-night", "wit_namespace": "wasi",
            "wit_package": "http", "interfaces": ["incoming-handler", "other"], "source_config": [],
            "target_config": ["somewhere"],
        })
    );
    let expected = rows(&json, |link| {
        let interfaces = list(&link["interfaces"]);
        [
            ("SOURCE", text(&link["source_id"])),
            ("TARGET", text(&link["target"])),
            (
                "INTERFACES",
                format!("{}:{}/{interfaces}", text(&link["wit_namespace"]), text(&link["wit_package"])),
            ),
            ("NAME", text(&link["name"])),
            ("SOURCE CONFIG", list(&link["source_config"])),
            ("TARGET CONFIG", list(&link["target_config"])),
        ]
    });
    assert_eq!(table_rows(&table.stdout), expected, "{table}");

    let (json, table) = both(&stage, &["get", "claims"]).await;
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!(json[0]["issuer"], stage.keys.public_key());
    let expected = rows(&json, |claims| {
        [
            ("NAME", text(&claims["name"])),
            ("VERSION", text(&claims["version"])),
            ("REVISION", text(&claims["revision"])),
            ("SUBJECT", text(&claims["subject"])),
            ("ISSUER", text(&claims["issuer"])),
        ]
    });
    assert_eq!(table_rows(&table.stdout), expected, "{table}");

    let (json, table) = both(&stage, &["get", "config", "somewhere"]).await;
    assert_eq!(json, json!({ "address": "127.0.0.1:0", "path": "/a b" }));
    let cells: Vec<_> =
        table_rows(&table.stdout).into_iter().map(|row| (row["KEY"].clone(), row["VALUE"].clone())).collect();
    assert_eq!(
        cells,
        [("address".to_owned(), "127.0.0.1:0".to_owned()), ("path".to_owned(), "/a b".to_owned())]
    );
}

#[tokio::test]
async fn an_inventory_shows_each_host_with_what_runs_there() {
    let (stage, other) = two_hosts().await;
    let (json, table) = both(&stage, &["get", "inventory"]).await;
    let hosts = json.as_array().unwrap();
    assert_eq!(hosts.len(), 2);
    let of = |id: String| hosts.iter().find(|host| host["host_id"] == id).unwrap();
    let (first, second) = (of(stage.host.id()), of(other.id()));
    let component = &first["components"][0];
    assert_eq!((&component["id"], &component["max_instances"]), (&json!("hello"), &json!(5)));
    assert_eq!(component["annotations"], json!({ "team": "blue" }));
    assert!(component["digest"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(first["providers"], json!([]));
    assert_eq!(second["components"], json!([]));
    assert_eq!(second["providers"][0]["id"], "http");
    assert_eq!(second["providers"][0]["image_ref"], "builtin://http-server");

    for host in hosts {
        let name = text(&host["friendly_name"]);
        let block = table.stdout.split("\n\n").find(|block| block.contains(&name)).unwrap();
        assert!(block.contains(&text(&host["host_id"])), "{block}");
        assert!(block.contains(&format!("labels {}", pairs(&host["labels"]))), "{block}");
        let part = |heading: &str, none: &str| {
            let start = block.lines().position(|line| line.starts_with(heading));
            let Some(start) = start else {
                assert!(block.lines().any(|line| line == none), "{block}");
                return Vec::new();
            };
            let lines: Vec<&str> = block.lines().skip(start).collect();
            let end =
                lines.iter().skip(1).position(|line| line.starts_with("PROVIDER") || *line == "no providers");
            table_rows(&lines[..end.map_or(lines.len(), |end| end + 1)].join("\n"))
        };
        let expected = rows(&host["components"], |component| {
            [
                ("COMPONENT", text(&component["id"])),
                ("NAME", text(&component["name"])),
                ("REFERENCE", text(&component["image_ref"])),
                ("CALLS", text(&component["max_instances"])),
                ("STATE", text(&component["state"])),
            ]
        });
        assert_eq!(part("COMPONENT", "no components"), expected, "{block}");
        let expected = rows(&host["providers"], |provider| {
            [
                ("PROVIDER", text(&provider["id"])),
                ("NAME", text(&provider["name"])),
                ("REFERENCE", text(&provider["image_ref"])),
                ("STATE", text(&provider["state"])),
            ]
        });
        assert_eq!(part("PROVIDER", "no providers"), expected, "{block}");
    }

    let name = text(&first["friendly_name"]);
    let one = stage.cli.run(["get", "inventory", &name, "-o", "json"]).await.ok().json();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["host_id"]), (1, &first["host_id"]));
}
