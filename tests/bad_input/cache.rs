//! What a host keeps on disk is damaged.

use std::path::{Path, PathBuf};

use wattle_tests::{DEADLINE, GREETING, Stage, eventually, http};

/// The folders of the data folder that hold nothing but what can be made again.
const CACHES: [&str; 2] = ["artifacts", "code"];

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, files) } else { files.push(path) }
    }
}

/// Applies the damage to every file of the caches.
fn damage(data_dir: &Path, how: impl Fn(Vec<u8>) -> Vec<u8>) {
    for cache in CACHES {
        let mut files = Vec::new();
        files_below(&data_dir.join(cache), &mut files);
        assert!(!files.is_empty(), "the cache `{cache}` is empty");
        for file in files {
            let damaged = how(std::fs::read(&file).unwrap());
            std::fs::write(&file, damaged).unwrap();
        }
    }
}

fn flip_the_middle(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    bytes
}

async fn stop(stage: &mut Stage) {
    stage.host.term();
    assert!(stage.host.wait_exit().await.success());
}

#[tokio::test]
async fn bad_input_disk_cache_corrupted() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let url = stage.expose("hello").await;
    stage.wait_for_page(&url, GREETING).await;
    let digest = stage.inventory().await["components"][0]["digest"].take();

    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let kinds: [&dyn Fn(Vec<u8>) -> Vec<u8>; 3] = [&flip_the_middle, &half, &|_| Vec::new()];
    for how in kinds {
        stop(&mut stage).await;
        damage(stage.host.data_dir(), how);
        stage.host.start_again().await;
        stage.wait_for_page(&url, GREETING).await;
        assert!(
            stage.host.log().contains("damaged"),
            "the host does not say what it found:\n{}",
            stage.host.log()
        );
        assert_eq!(stage.inventory().await["components"][0]["digest"], digest);
    }
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_disk_cache_corrupted_while_the_registry_is_down() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    let url = stage.expose("hello").await;
    stage.wait_for_page(&url, GREETING).await;

    stop(&mut stage).await;
    stage.registry.stop();
    damage(stage.host.data_dir(), flip_the_middle);
    stage.host.start_again().await;
    // Nowhere are the right bytes to be had, so the component can't run; and it is told.
    let problem = eventually("the inventory to tell what is wrong", DEADLINE, || async {
        let problems = stage.inventory().await["problems"].to_string();
        (problems.contains("hello") && problems.contains("can't be reached")).then_some(problems)
    })
    .await;
    assert!(problem.contains(&stage.registry.host()), "{problem}");
    assert_eq!(http(&url).await.unwrap().status, 503);

    stage.registry.start_again().await;
    stage.wait_for_page(&url, GREETING).await;
    stage.assert_host_lives().await;
}

#[tokio::test]
async fn bad_input_list_of_what_ran_is_damaged() {
    let mut stage = Stage::start().await;
    let reference = stage.push("http-hello").await;
    stage.start_component(&reference, "hello", &[]).await.ok();
    stop(&mut stage).await;
    let list = stage.host.data_dir().join("running.json");
    std::fs::write(&list, "{").unwrap();
    // An empty list in its place would forget in silence what the host was told to run.
    stage.host.launch_again();
    assert!(!stage.host.wait_exit().await.success());
    for word in ["running.json", "damaged", "--fresh"] {
        assert!(stage.host.log().contains(word), "{word} is not in:\n{}", stage.host.log());
    }
    assert_eq!(std::fs::read_to_string(&list).unwrap(), "{");
}
