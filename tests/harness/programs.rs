//! The programs and components that the tests use, as `cargo xtask test` names them or where it leaves them.

use std::env;
use std::path::{Path, PathBuf};

/// The program that a test needs: `wattle`, `nats-server` or `docker-registry`.
///
/// # Panics
/// When it is not there.
pub fn program(name: &str) -> PathBuf {
    let variable = match name {
        "wattle" => "WATTLE_BIN",
        "nats-server" => "WATTLE_NATS_SERVER",
        "docker-registry" => "WATTLE_REGISTRY",
        _ => panic!("no test needs a program `{name}`"),
    };
    if let Some(named) = env::var_os(variable).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "{variable} names {}, which is not there", named.display());
        return named;
    }
    let usual = if name == "wattle" { vec![profile_folder()] } else { folders_of_tools() };
    usual.into_iter().map(|folder| folder.join(name)).find(|file| file.is_file()).unwrap_or_else(|| {
        panic!("there is no {name}, and {variable} names none: run `cargo xtask test`, which sets up what is missing")
    })
}

/// The file of a test component or example, such as `http-hello`.
///
/// # Panics
/// When it was not built.
pub fn guest_path(name: &str) -> PathBuf {
    let folder = env::var_os("WATTLE_GUESTS").filter(|named| !named.is_empty());
    let folder = folder.map_or_else(|| profile_folder().with_file_name("guests"), PathBuf::from);
    let file = folder.join(format!("{name}.wasm"));
    assert!(file.is_file(), "there is no {}: run `cargo xtask test`, which builds it", file.display());
    file
}

/// The bytes of a test component or example.
///
/// # Panics
/// When it was not built.
pub fn guest(name: &str) -> Vec<u8> {
    std::fs::read(guest_path(name)).unwrap()
}

/// `setpriv`, which lets the kernel end a program together with ours, where this machine has it.
pub(crate) fn setpriv() -> Option<PathBuf> {
    on_path().into_iter().map(|folder| folder.join("setpriv")).find(|file| file.is_file())
}

/// Cargo puts this program into `TARGET/PROFILE/deps`, and the binaries into `TARGET/PROFILE`.
fn profile_folder() -> PathBuf {
    let own = env::current_exe().unwrap();
    own.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

fn folders_of_tools() -> Vec<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let mut folders = on_path();
    folders.extend(cache.map(|cache| cache.join("wattle/tools/bin")));
    folders
}

fn on_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}
