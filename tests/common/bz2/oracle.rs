//! The `bzip2` crate as a decoder of files. The crate decodes single streams, so this module iterates over them.

use ::bzip2::{Decompress, Error, Status};

/// What the crate decodes from a file.
#[derive(Debug, PartialEq, Eq)]
pub struct OracleOutcome {
    /// All delivered bytes, which may include the beginning of a damaged block.
    pub bytes: Vec<u8>,
    /// How the file ends.
    pub end: End,
}

/// How a file ends, according to the crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a complete stream.
    Complete,
    /// With bytes that begin no stream, from this offset on. The crate fails there, the bzip2 command warns.
    Garbage(usize),
    /// With an error, or before the end of a stream.
    Refused,
}

/// Decodes a file; returns `None` if its content exceeds `limit` bytes.
pub fn decompress(file: &[u8], limit: usize) -> Option<OracleOutcome> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let mut stream = Decompress::new(false);
        let start = at;
        loop {
            bytes.reserve(1 << 16);
            let (taken, given) = (stream.total_in(), stream.total_out());
            let status = stream.decompress_vec(&file[at..], &mut bytes);
            at = start + stream.total_in() as usize;
            let end = match status {
                Ok(Status::StreamEnd) => break,
                Ok(_) if stream.total_in() > taken || stream.total_out() > given => None,
                Err(Error::DataMagic) if start > 0 => Some(End::Garbage(start)),
                Ok(_) | Err(_) => Some(End::Refused),
            };
            if bytes.len() > limit {
                return None;
            }
            if let Some(end) = end {
                return Some(OracleOutcome { bytes, end });
            }
        }
    }
    // An empty file is not a bzip2 file.
    let end = if file.is_empty() { End::Refused } else { End::Complete };
    Some(OracleOutcome { bytes, end })
}
