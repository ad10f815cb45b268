//! Damage of a tar stream, with its offset.

use std::fmt;
use std::io;

/// Damage found in a tar stream: the source of the [`io::Error`] that [`TarReader`](super::TarReader) returns.
///
/// ```
/// use voltar::archive::reader::{TarDamage, TarReader};
///
/// let error = TarReader::new(&[b'x'; 512][..]).next_member().unwrap_err();
/// let damage = error.get_ref().and_then(|cause| cause.downcast_ref::<TarDamage>());
/// assert_eq!(damage.map(|damage| damage.offset), Some(0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarDamage {
    /// The offset in the uncompressed stream, in bytes.
    pub offset: u64,
    /// What is wrong at this offset.
    pub what: String,
}

impl fmt::Display for TarDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {} of the uncompressed stream", self.what, self.offset)
    }
}

impl std::error::Error for TarDamage {}

pub(super) fn ends_in(offset: u64, what: &str) -> io::Error {
    damage(offset, format!("the archive ends in the middle of a {what}: it was cut off"))
}

pub(super) fn damage(offset: u64, what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, TarDamage { offset, what: what.into() })
}
