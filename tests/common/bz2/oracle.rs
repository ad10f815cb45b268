//! What the `bzip2` crate reads from a file. It is a decoder of single streams, so going from one to the next
//! is done here.

use ::bzip2::{Decompress, Error, Status};

/// What the crate makes of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct OracleOutcome {
    /// All it delivered; of a damaged block that may be the beginning.
    pub bytes: Vec<u8>,
    /// How the file ends.
    pub end: End,
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a stream.
    Complete,
    /// With bytes from this one on that begin no stream. To the crate that is an error, the bzip2 command
    /// warns of it.
    Garbage(usize),
    /// With an error, or without its end.
    Refused,
}

/// Asks the crate; `None` if there are more than `limit` bytes in the file.
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
    // An empty file is none.
    let end = if file.is_empty() { End::Refused } else { End::Complete };
    Some(OracleOutcome { bytes, end })
}
