//! Differences between an archive and a live tree, as plain values.

use crate::member::RelPath;

/// Something that an archive and a live tree do not have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, below the root of the tree.
    pub path: RelPath,
    /// Whether it is a directory where it exists; then all that it holds is only there too.
    pub is_directory: bool,
    /// What the difference is.
    pub what: What,
}

/// How the two sides differ at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Only the archive has something there.
    OnlyInArchive,
    /// Only the volume has something there.
    OnlyInVolume,
    /// Both have, and these attributes differ.
    Attributes(Vec<Attribute>),
}

/// One attribute that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name: `kind`, `size`, `content`, `mode`, `owner`, `mtime`, `target`, `device`, `link` or `xattr`.
    pub name: &'static str,
    /// Its value in the archive and in the volume, as text that is safe to print; `None` for content.
    pub values: Option<(String, String)>,
}

/// The number of differences of one archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Differences {
    /// Paths that only the archive has. A directory is one, with all that it holds.
    pub only_in_archive: u64,
    /// Paths that only the volume has. A directory is one, with all that it holds.
    pub only_in_volume: u64,
    /// Paths whose attributes or content differ.
    pub differing: u64,
    /// How many of all of these were not listed.
    pub unlisted: u64,
}

impl Differences {
    /// Returns the number of all differences.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.only_in_archive + self.only_in_volume + self.differing
    }
}
