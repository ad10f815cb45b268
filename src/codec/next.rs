//! What follows a member, frame or stream of a compressed file.

use std::io::{self, Read};

use super::format::{Damage, Fault, Format};
use super::source::Source;

/// The most bytes of the header of a member: that of a zstd frame.
pub(super) const HEADER: usize = 18;

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another member of the same format. Its header is in the window of the source, as far as the file has it.
    Member,
    /// None. Whatever else follows begins at this offset.
    End { garbage: Option<u64> },
}

/// Returns what follows at the start of `source`.
///
/// # Errors
/// The file cannot be read, or ends in the magic of another member.
pub(super) fn next<R: Read>(source: &mut Source<R>, format: Format) -> io::Result<Next> {
    let rest = source.fill(HEADER);
    if Format::of_magic(rest) == Some(format) {
        return Ok(Next::Member);
    }
    let magic = match format {
        Format::Bzip2 => &b"BZh"[..],
        Format::Gzip => &[0x1f],
        Format::Zstd => &[0x28, 0xb5, 0x2f],
        Format::Plain => &[],
    };
    let partly = !rest.is_empty() && magic.starts_with(rest);
    let begin = source.offset();
    // Zeros fill the last block of a tape; gzip ignores them.
    if format == Format::Gzip {
        skip_zeros(source);
    }
    let any = !source.fill(1).is_empty();
    if let Some(error) = source.take_error() {
        return Err(error);
    }
    if partly {
        return Err(Damage::error(source.end(), Fault::EndsInHeader));
    }
    Ok(Next::End { garbage: any.then_some(begin) })
}

/// Skips the zeros at the start of a source.
fn skip_zeros<R: Read>(source: &mut Source<R>) {
    loop {
        let zeros = source.fill(1).iter().take_while(|byte| **byte == 0).count();
        if zeros == 0 {
            return;
        }
        source.skip(zeros);
    }
}
