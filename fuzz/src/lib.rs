//! What the fuzz targets have in common.

use std::path::{Component, Path};

use voltar::error::Error;
use voltar::host::{Container, MountKind};

/// Checks what the rest of the program takes for granted of a container.
///
/// # Panics
/// If it does not hold.
pub fn check_container(container: &Container) {
    assert!(is_text(&container.name), "{:?}", container.name);
    assert!(!container.id.is_empty() && container.id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    for mount in &container.mounts {
        assert!(is_normal(Path::new(&mount.destination)), "{:?}", mount.destination);
        if let Some(source) = &mount.source {
            assert!(is_normal(source), "{source:?}");
        }
        if let MountKind::Volume { name, driver } = &mount.kind {
            assert!(is_text(name) && is_text(driver), "{name:?} {driver:?}");
        }
    }
    assert!(container.mounts.is_sorted_by(|a, b| a.destination <= b.destination));
}

/// Checks that an error can be printed on a terminal, on one line.
///
/// # Panics
/// If it cannot.
pub fn check_error(error: &Error) {
    assert!(is_text(&error.to_string()), "{error:?}");
}

/// Whether a text is of one line and cannot steer a terminal.
pub fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Whether a path is absolute, without `.`, `..`, empty components and NUL.
pub fn is_normal(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    path.is_absolute()
        && !bytes.contains(&0)
        && !path.components().any(|component| component == Component::ParentDir)
        && path.components().collect::<std::path::PathBuf>().as_os_str() == path.as_os_str()
}
