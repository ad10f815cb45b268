//! The names of archive files: the archive's name and a suffix for its compression format.

use std::path::Path;

/// The suffixes of archive files, as tar users write them.
const SUFFIXES: [&str; 10] =
    [".tar.bz2", ".tar.gz", ".tar.zst", ".tar.xz", ".tar", ".tbz2", ".tbz", ".tgz", ".tzst", ".txz"];

/// The suffixes of archive files that voltar does not read, and the programs that decompress them.
const OTHERS: [(&str, &str); 8] = [
    (".tar.lzma", "xz"),
    (".tlz", "xz"),
    (".tar.lz", "lzip"),
    (".tar.lz4", "lz4"),
    (".tar.lzo", "lzop"),
    (".tar.Z", "uncompress"),
    (".tar.br", "brotli"),
    (".taz", "uncompress"),
];

fn suffixes() -> impl Iterator<Item = &'static str> {
    SUFFIXES.into_iter().chain(OTHERS.map(|(suffix, _)| suffix))
}

/// Returns the name of the archive in the file at `path`: `cvat_db` for `backup/cvat_db.tar.bz2`. If the file has
/// another suffix, this is the file name itself.
pub(super) fn archive_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    suffixes().find_map(|suffix| name.strip_suffix(suffix)).map(str::to_owned).unwrap_or(name)
}

/// Returns the program that decompresses the file at `path`, if its suffix is that of an archive that voltar does not
/// read.
pub(super) fn foreign_program(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_string_lossy();
    OTHERS.iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, program)| *program)
}

/// Returns whether a file with this name is an archive when a directory is listed.
pub(super) fn is_archive(name: &str) -> bool {
    !name.starts_with('.') && suffixes().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_suffix_is_not_part_of_the_name() {
        for (path, name) in [
            ("backup/cvat_db.tar.bz2", "cvat_db"),
            ("cvat_db.tgz", "cvat_db"),
            ("a.tar.tar.gz", "a.tar"),
            ("cvat_db.tar.xz", "cvat_db"),
            ("notes.txt", "notes.txt"),
            ("/", ""),
        ] {
            assert_eq!(archive_name(Path::new(path)), name, "{path}");
        }
        assert!(is_archive("a.tar") && is_archive("a.tar.xz") && !is_archive(".a.tar") && !is_archive("a.txt"));
        let program = |name: &str| foreign_program(Path::new(name));
        assert_eq!((program("x/a.tar.lz"), program("a.tar.gz"), program("a.lz")), (Some("lzip"), None, None));
    }
}
