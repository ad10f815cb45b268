//! Content with holes: bytes that are zero, and need not be read one by one. A few bytes of an archive can describe a hole
//! of exabytes.

use std::io::{self, Read};

/// Content that may have holes. Reading returns zeros for them.
pub(crate) trait ReadHoles: Read {
    /// Skips the hole that comes next, and returns its length in bytes: 0 where there is none.
    fn skip_hole(&mut self) -> u64 {
        0
    }
}

impl ReadHoles for io::Empty {}

impl ReadHoles for &[u8] {}
