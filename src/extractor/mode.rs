//! The three ways to extract an archive into a tree.

/// How members are extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Into a staged tree, which is then swapped with the live one.
    Replace,
    /// Over the live tree; files that the archive does not name stay.
    Merge,
    /// Over the live tree; files that the archive does not name are removed.
    InPlace,
}
