//! The three ways to extract an archive into a tree.

/// How members are extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Into a staged tree, which is then swapped with the live one.
    Replace,
    /// Over the live tree; what the archive does not name stays.
    Merge,
    /// Over the live tree; what the archive does not name is removed.
    InPlace,
}
