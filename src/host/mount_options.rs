//! The mount options of a `local` volume (`type`, `device`, `o`), as `docker volume create` takes them.

use std::collections::BTreeMap;
use std::path::Path;

/// Returns the directory to which these options bind a volume, as the engine's machine knows it: with `o=bind` the engine
/// mounts that directory itself, so that its files are there whether a container uses the volume or not.
#[must_use]
pub(crate) fn bind_device(options: &BTreeMap<String, String>) -> Option<&Path> {
    let flags = options.get("o")?;
    let binds = flags.split(',').any(|flag| matches!(flag.trim(), "bind" | "rbind"));
    options.get("device").map(Path::new).filter(|device| binds && device.is_absolute())
}

/// Returns whether the options of a volume mount it read-only.
#[must_use]
pub(crate) fn is_read_only(options: &BTreeMap<String, String>) -> bool {
    options.get("o").is_some_and(|flags| flags.split(',').any(|flag| flag.trim() == "ro"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_bound_to_an_absolute_path_with_the_flag_bind() {
        let device = |flags: &str, device: &str| {
            let pairs = [("o", flags), ("device", device)];
            let options = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            (bind_device(&options).map(Path::to_path_buf), is_read_only(&options))
        };
        assert_eq!(device("bind", "/srv"), (Some("/srv".into()), false));
        assert_eq!(device("ro,rbind", "/srv"), (Some("/srv".into()), true));
        for (flags, path) in [("bound", "/srv"), ("", "/srv"), ("bind", "srv"), ("bind", ""), ("addr=nas", ":/srv")] {
            assert_eq!(device(flags, path), (None, false), "{flags} {path}");
        }
    }
}
