//! The data folder can't be used.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use wattle_tests::{DEADLINE, GREETING, Host, HostOptions, Nats, Stage, eventually};

/// The host ends by itself with an error that has all of these words, and no host is in the lattice but the others.
async fn assert_ends(nats: &Nats, host: &mut Host, words: &[&str], others: usize) {
    let status = host.wait_exit().await;
    assert!(!status.success(), "the host ended as if all were well:\n{}", host.log());
    for word in words {
        assert!(host.log().contains(word), "the host does not say `{word}`:\n{}", host.log());
    }
    assert_eq!(nats.control().await.hosts().await.len(), others);
}

#[tokio::test]
async fn bad_input_data_folder_in_use() {
    let nats = Nats::start().await;
    let mut first = Host::start(&nats, HostOptions::new()).await;
    let folder = first.data_dir().to_path_buf();
    let mut second = Host::launch(&nats, HostOptions::new().data_dir(&folder));
    let path = folder.display().to_string();
    assert_ends(&nats, &mut second, &["another host uses it", "--data-dir", &path], 1).await;
    assert!(first.is_running());
    assert_eq!(first.readyz().await.unwrap().status, 200);
}

#[tokio::test]
async fn bad_input_data_folder_from_a_newer_version() {
    let nats = Nats::start().await;
    let mut host = Host::start(&nats, HostOptions::new()).await;
    host.term();
    assert!(host.wait_exit().await.success());
    let layout = host.data_dir().join("layout");
    std::fs::write(&layout, "999").unwrap();
    let key = std::fs::read(host.data_dir().join("host.nk")).unwrap();
    host.launch_again();
    let path = host.data_dir().display().to_string();
    assert_ends(&nats, &mut host, &["newer version", "999", &path], 0).await;
    assert_eq!(std::fs::read_to_string(&layout).unwrap(), "999");
    assert_eq!(std::fs::read(host.data_dir().join("host.nk")).unwrap(), key);
}

#[tokio::test]
async fn bad_input_data_folder_is_a_file() {
    let nats = Nats::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data");
    std::fs::write(&file, "not a folder").unwrap();
    let mut host = Host::launch(&nats, HostOptions::new().data_dir(&file));
    let path = file.display().to_string();
    assert_ends(&nats, &mut host, &["data folder", &path], 0).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");
}

/// A file system of a few MiB, where this user may make one; unmounted on drop.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"]).arg(folder.path());
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: this user may not mount a small file system, so none can be filled");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits; gives the file to remove.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[tokio::test]
async fn bad_input_data_folder_full() {
    let Some(disk) = SmallDisk::mount() else { return };
    let nats = Nats::start().await;
    let filler = disk.fill();
    let mut host = Host::launch(&nats, HostOptions::new().data_dir(&disk.path().join("data")));
    let path = disk.path().display().to_string();
    assert_ends(&nats, &mut host, &["data folder", "No space left", &path], 0).await;

    std::fs::remove_file(filler).unwrap();
    host.start_again().await;
    drop(host);
}

#[tokio::test]
async fn bad_input_data_folder_gets_full() {
    let Some(disk) = SmallDisk::mount() else { return };
    let data = disk.path().join("data");
    let mut stage = Stage::start_with(|options| options.data_dir(&data).arg("--heartbeat-interval=1s")).await;
    let reference = stage.push("http-hello").await;
    let filler = disk.fill();

    // It runs, because calls matter more than the next restart; that the next restart would forget it, is told.
    stage.start_component(&reference, "hello", &[]).await.ok();
    let url = stage.expose("hello").await;
    stage.wait_for_page(&url, GREETING).await;
    let problems = stage.inventory().await["problems"].to_string();
    assert!(problems.contains("written down") && problems.contains("No space left"), "{problems}");
    stage.host.wait_for_log("can't be written down").await;

    // There is room again: the host makes up for it without a command.
    std::fs::remove_file(filler).unwrap();
    eventually("the host to write down what it was told to run", DEADLINE, || async {
        let list = std::fs::read_to_string(data.join("running.json")).unwrap_or_default();
        let problems = stage.inventory().await["problems"].take();
        (list.contains(&reference) && !problems.to_string().contains("written down")).then_some(())
    })
    .await;
    stage.host.kill9();
    stage.host.start_again().await;
    stage.wait_for_page(&url, GREETING).await;
    stage.assert_host_lives().await;
    drop(stage);
}
