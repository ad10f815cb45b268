//! Whatever the text of a layout: an error of one line, or archives whose names are file names and whose paths stay
//! inside their container.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use voltar::layout::Layout;

fuzz_target!(|text: &str| {
    let layout = match Layout::parse("fuzzed.toml", text) {
        Ok(layout) => layout,
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.chars().any(char::is_control), "{message:?}");
            return;
        }
    };
    assert!(!layout.archives.is_empty());
    let mut names = HashSet::new();
    for archive in &layout.archives {
        let name = &archive.name;
        assert!(names.insert(name), "{name} twice");
        assert!(!name.is_empty() && name.len() <= 200 && !name.starts_with('.') && !name.contains('/'), "{name:?}");
        assert!(!name.chars().any(char::is_control), "{name:?}");
        assert!(!archive.alternatives.is_empty() || archive.volume.is_some());
        assert!(!archive.path.is_root());
        for place in &archive.alternatives {
            assert!(!place.container.is_empty() && !place.container.contains('/'));
            assert!(!place.path.is_root());
            assert!(place.path.components().all(|name| !matches!(name, b"" | b"." | b"..")));
        }
    }
});
