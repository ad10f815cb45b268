//! Whatever a set says of itself: a manifest and an index are an error, or are what a backup could have written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voltar::internals::parse_index;
use voltar::manifest::Manifest;

fuzz_target!(|data: &[u8]| {
    // Each entry takes a few bytes at least.
    if let Ok(count) = parse_index(data) {
        assert!(count <= data.len() as u64 / 4);
    }
    match Manifest::parse(data) {
        Ok(manifest) => {
            let text = manifest.text().expect("it is no longer than what was read, but for its spaces");
            let again = Manifest::parse(&text).expect("it was written just now");
            // A number with a fraction may be read as its neighbour.
            let seconds = manifest.downtime_seconds;
            assert_eq!(Manifest { downtime_seconds: seconds, ..again }, manifest);
            assert!(manifest.files().all(|record| !record.file.contains('/') && !record.file.starts_with('.')));
            assert_eq!(manifest.sums().lines().count(), manifest.files().count() + manifest.archives.iter().filter(|archive| archive.base.is_some()).count());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.chars().any(char::is_control), "{message:?}");
        }
    }
});
