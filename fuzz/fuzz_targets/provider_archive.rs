//! Provider archives, from a registry or a file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wattle_artifact::ProviderArchive;

fuzz_target!(|data: &[u8]| {
    if let Ok(archive) = ProviderArchive::read(data)
        && let Ok(written) = archive.write(false)
    {
        assert_eq!(ProviderArchive::read(&written).expect("what was written"), archive);
    }
});
