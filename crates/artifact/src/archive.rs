//! Provider archives (PAR).
//!
//! A PAR is a tar, or a gzip of one. Its entries are told apart by file stem, whatever folder they are in: `claims`
//! (`claims.jwt`, a signed JWT), `world` (`world.wasm`, optional, the provider's WIT) and one executable for each
//! target, `{arch}-{os}.bin`. The archive itself protects nothing: the claims hold a hash of each executable, which
//! the caller checks, along with their signature.
//!
//! Archives come from elsewhere, so reading is bounded: nothing in them decides how much memory is used beyond a fixed
//! proportion of the archive's own size, and no path in them is ever opened.

use std::{
    cell::Cell,
    collections::BTreeMap,
    env,
    io::{self, Read, Write},
    path::Path,
};

use flate2::{Compression, GzBuilder, read::GzDecoder};

use crate::error::Error;

/// The largest executable, in bytes.
pub const MAX_ENTRY_BYTES: u64 = 512 << 20;
/// The largest unpacked archive, in bytes.
pub const MAX_UNPACKED_BYTES: u64 = 1 << 30;
/// Executables shrink to a quarter or a third; something that grows by more than this is made to fill memory.
const MAX_GROWTH: u64 = 32;
/// What any archive may grow to, however small.
const GROWTH_FLOOR: u64 = 64 << 20;
const MAX_CLAIMS_BYTES: u64 = 1 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const CLAIMS: &str = "claims";
const WORLD: &str = "world";

/// This machine's target, as provider archives name it: `x86_64-linux`, `aarch64-macos`.
pub fn native_target() -> String {
    format!("{}-{}", env::consts::ARCH, env::consts::OS)
}

/// What a provider archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderArchive {
    /// The provider's claims, a JWT. Unchecked.
    pub claims_jwt: String,
    /// Executables by target (`x86_64-linux`), not checked against the claims.
    pub binaries: BTreeMap<String, Vec<u8>>,
    /// The provider's WIT world, as a Wasm-encoded package.
    pub world: Option<Vec<u8>>,
}

impl ProviderArchive {
    /// Reads an archive, compressed or not.
    ///
    /// # Errors
    /// [`Error::Archive`] when it is damaged or lacks claims or executables, [`Error::TooBig`] when it unpacks to more
    /// than it may.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let grown = (bytes.len() as u64).saturating_mul(MAX_GROWTH).saturating_add(GROWTH_FLOOR);
        let limits = Limits { entry: MAX_ENTRY_BYTES, total: grown.min(MAX_UNPACKED_BYTES) };
        if bytes.starts_with(&GZIP_MAGIC) {
            read_tar(GzDecoder::new(bytes), limits)
        } else {
            read_tar(bytes, limits)
        }
    }

    /// Writes the archive. The same content always gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Archive`] when there are no executables or a target can't be the name of one.
    pub fn write(&self, compress: bool) -> Result<Vec<u8>, Error> {
        if self.binaries.is_empty() {
            return Err(invalid("it holds no executable"));
        }
        if let Some(target) = self.binaries.keys().find(|target| !is_target(target)) {
            return Err(invalid(format!("{target:?} is no target; one looks like {}", native_target())));
        }
        let written = if compress {
            // No time and no file name in the header.
            let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
            self.write_tar(&mut encoder).and_then(|()| encoder.finish())
        } else {
            let mut bytes = Vec::new();
            self.write_tar(&mut bytes).map(|()| bytes)
        };
        written.map_err(|error| invalid(error.to_string()))
    }

    fn write_tar(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        append(&mut tar, "claims.jwt", 0o644, self.claims_jwt.as_bytes())?;
        if let Some(world) = &self.world {
            append(&mut tar, "world.wasm", 0o644, world)?;
        }
        for (target, binary) in &self.binaries {
            append(&mut tar, &format!("{target}.bin"), 0o755, binary)?;
        }
        tar.finish()
    }
}

fn append(tar: &mut tar::Builder<impl Write>, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes)
}

fn is_target(name: &str) -> bool {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    plain && (1..=80).contains(&name.len()) && !name.starts_with('.') && name != CLAIMS && name != WORLD
}

#[derive(Clone, Copy)]
struct Limits {
    entry: u64,
    total: u64,
}

fn read_tar(reader: impl Read, limits: Limits) -> Result<ProviderArchive, Error> {
    let exceeded = Cell::new(false);
    let mut tar = tar::Archive::new(Bounded { inner: reader, left: limits.total, exceeded: &exceeded });
    let result = read_entries(&mut tar, limits.entry).and_then(|entries| {
        // To the end, where gzip keeps its checksum.
        io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(|error| damaged(&error))?;
        entries.into_archive()
    });
    if exceeded.get() {
        return Err(Error::TooBig { what: "unpacked provider archive".to_owned(), limit: limits.total });
    }
    result
}

#[derive(Default)]
struct Entries {
    claims: Option<Vec<u8>>,
    world: Option<Vec<u8>>,
    binaries: BTreeMap<String, Vec<u8>>,
}

impl Entries {
    fn insert(&mut self, stem: String, bytes: Vec<u8>) -> Result<(), Error> {
        let before = match stem.as_str() {
            CLAIMS => self.claims.replace(bytes),
            WORLD => self.world.replace(bytes),
            _ => self.binaries.insert(stem.clone(), bytes),
        };
        // Which of two is meant could be read in two ways.
        if before.is_some() { Err(invalid(format!("it holds {stem:?} twice"))) } else { Ok(()) }
    }

    fn into_archive(self) -> Result<ProviderArchive, Error> {
        let claims = self.claims.ok_or_else(|| invalid("it holds no claims"))?;
        let claims = String::from_utf8(claims).map_err(|_| invalid("its claims are not text"))?;
        if self.binaries.is_empty() {
            return Err(invalid("it holds no executable"));
        }
        Ok(ProviderArchive {
            claims_jwt: claims.trim().to_owned(),
            binaries: self.binaries,
            world: self.world,
        })
    }
}

fn read_entries<R: Read>(tar: &mut tar::Archive<R>, max_entry: u64) -> Result<Entries, Error> {
    let mut entries = Entries::default();
    for entry in tar.entries().map_err(|error| damaged(&error))? {
        let mut entry = entry.map_err(|error| damaged(&error))?;
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {}
            tar::EntryType::Directory | tar::EntryType::XGlobalHeader => continue,
            other => return Err(invalid(format!("it holds an entry that is not a file ({other:?})"))),
        }
        let stem = stem(&entry.path_bytes())?;
        let limit = if stem == CLAIMS { MAX_CLAIMS_BYTES } else { max_entry };
        let size = entry.size();
        if size > limit {
            return Err(Error::TooBig { what: format!("{stem:?} in the provider archive"), limit });
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| damaged(&error))?;
        if bytes.len() as u64 != size {
            return Err(invalid(format!("it ends in the midst of {stem:?}")));
        }
        entries.insert(stem, bytes)?;
    }
    Ok(entries)
}

fn stem(path: &[u8]) -> Result<String, Error> {
    let path = std::str::from_utf8(path).map_err(|_| invalid("the name of an entry is not text"))?;
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).ok_or_else(|| invalid(format!("entry {path:?} has no file name")))
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::Archive { reason: reason.into() }
}

fn damaged(error: &io::Error) -> Error {
    invalid(format!("it is damaged or no archive at all: {error}"))
}

/// Fails once more than `left` bytes were read.
struct Bounded<'a, R> {
    inner: R,
    left: u64,
    /// Set when it failed, since the tar reader wraps errors.
    exceeded: &'a Cell<bool>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => {
                self.left = left;
                Ok(count)
            }
            None => {
                self.exceeded.set(true);
                Err(io::Error::other("too big"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> ProviderArchive {
        ProviderArchive {
            claims_jwt: "header.payload.signature".to_owned(),
            binaries: BTreeMap::from([
                ("x86_64-linux".to_owned(), vec![7; 5000]),
                ("aarch64-linux".to_owned(), b"#!/bin/sh\n".to_vec()),
            ]),
            world: Some(b"\0asm".to_vec()),
        }
    }

    fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            // Set raw, because the library refuses to write names that others may well write.
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzBuilder::new().write(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn reason(bytes: &[u8]) -> String {
        ProviderArchive::read(bytes).unwrap_err().to_string()
    }

    #[test]
    fn archives_are_read_back_and_written_alike() {
        for compress in [false, true] {
            let bytes = sample().write(compress).unwrap();
            assert_eq!(bytes.starts_with(&GZIP_MAGIC), compress);
            assert_eq!(ProviderArchive::read(&bytes).unwrap(), sample());
            assert_eq!(sample().write(compress).unwrap(), bytes);
        }
    }

    #[test]
    fn claims_come_first_and_names_are_the_formats() {
        let bytes = sample().write(false).unwrap();
        let mut tar = tar::Archive::new(bytes.as_slice());
        let names: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["claims.jwt", "world.wasm", "aarch64-linux.bin", "x86_64-linux.bin"]);
    }

    #[test]
    fn folders_and_extensions_do_not_matter() {
        let bytes = tar_of(&[("deep/claims.txt", b" jwt\n"), ("../../x86_64-linux", b"elf")]);
        let archive = ProviderArchive::read(&bytes).unwrap();
        assert_eq!(archive.claims_jwt, "jwt");
        assert_eq!(archive.binaries.keys().collect::<Vec<_>>(), ["x86_64-linux"]);
        assert_eq!(archive.world, None);
    }

    #[test]
    fn incomplete_archives_are_refused() {
        assert!(reason(b"").contains("no claims"));
        assert!(reason(b"not an archive").contains("damaged"));
        assert!(reason(&tar_of(&[("x86_64-linux.bin", b"elf")])).contains("no claims"));
        assert!(reason(&tar_of(&[("claims.jwt", b"jwt")])).contains("no executable"));
        let twice = tar_of(&[("claims.jwt", b"a"), ("claims.jwt", b"b"), ("x.bin", b"elf")]);
        assert!(reason(&twice).contains("twice"));
        assert!(reason(&tar_of(&[("claims.jwt", b"\xff"), ("x.bin", b"elf")])).contains("not text"));
    }

    #[test]
    fn damaged_archives_are_refused() {
        let plain = sample().write(false).unwrap();
        assert!(ProviderArchive::read(&plain[..plain.len() - 3000]).is_err());
        let mut packed = sample().write(true).unwrap();
        assert!(ProviderArchive::read(&packed[..packed.len() - 4]).is_err());
        let checksum = packed.len() - 8;
        packed[checksum] ^= 1;
        assert!(reason(&packed).contains("damaged"));
    }

    #[test]
    fn links_are_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "x86_64-linux.bin", "/bin/sh").unwrap();
        assert!(reason(&tar.into_inner().unwrap()).contains("not a file"));
    }

    #[test]
    fn bombs_are_stopped() {
        let zeros = vec![0; 2 << 20];
        let bytes = tar_of(&[("claims.jwt", b"jwt"), ("x86_64-linux.bin", &zeros)]);
        let packed = gzip(&bytes);
        let limited = |entry, total| read_tar(GzDecoder::new(packed.as_slice()), Limits { entry, total });
        assert!(limited(4 << 20, 4 << 20).is_ok());
        assert!(matches!(limited(4 << 20, 1 << 20), Err(Error::TooBig { .. })));
        assert!(matches!(limited(1 << 20, 4 << 20), Err(Error::TooBig { .. })));
        // 100 MiB of zeros behind the end of the tar, in about 100 KB.
        let mut trailing = tar_of(&[("claims.jwt", b"jwt"), ("x.bin", b"elf")]);
        trailing.resize(100 << 20, 0);
        assert!(matches!(ProviderArchive::read(&gzip(&trailing)), Err(Error::TooBig { .. })));
        // A header that promises far more than there is.
        let mut header = tar::Header::new_ustar();
        header.set_path("x.bin").unwrap();
        header.set_size(8 << 30);
        header.set_cksum();
        assert!(matches!(ProviderArchive::read(header.as_bytes()), Err(Error::TooBig { .. })));
    }

    #[test]
    fn only_targets_are_written() {
        for target in ["", "claims", "world", "../x86_64-linux", "x86 64", ".x"] {
            let mut archive = sample();
            archive.binaries.insert(target.to_owned(), vec![1]);
            assert!(archive.write(false).is_err(), "{target:?}");
        }
        assert!(ProviderArchive { binaries: BTreeMap::new(), ..sample() }.write(false).is_err());
    }

    #[test]
    fn native_target_has_two_parts() {
        assert_eq!(native_target().split('-').count(), 2);
        assert!(is_target(&native_target()));
    }

    proptest! {
        #[test]
        fn reading_noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..2000), gzipped in any::<bool>()) {
            let bytes = if gzipped { gzip(&bytes) } else { bytes };
            let _ = ProviderArchive::read(&bytes);
        }

        #[test]
        fn reading_a_damaged_archive_never_panics(
            at in 0..12_000usize, byte in any::<u8>(), end in 0..12_000usize, compress in any::<bool>(),
        ) {
            let mut bytes = sample().write(compress).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(end.max(1));
            let _ = ProviderArchive::read(&bytes);
        }

        #[test]
        fn any_archive_is_read_back(
            claims in "[A-Za-z0-9._-]{1,200}",
            binaries in proptest::collection::btree_map(
                "[a-z0-9_]{1,12}-[a-z0-9]{1,8}", proptest::collection::vec(any::<u8>(), 0..1500), 1..4),
            world in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..600)),
            compress in any::<bool>(),
        ) {
            let archive = ProviderArchive { claims_jwt: claims, binaries, world };
            let bytes = archive.write(compress).unwrap();
            prop_assert_eq!(ProviderArchive::read(&bytes).unwrap(), archive);
        }
    }
}
