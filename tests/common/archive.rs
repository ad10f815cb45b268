//! Comparing archives without voltar's own code. Streams are decoded with the bzip2 crate and compared as bytes;
//! a difference is reported with the name of its member.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;

use voltar::member::printable;

/// Returns the uncompressed stream of a `.tar.bz2`. It fails if the file has more than one bzip2 stream, because
/// some readers stop after the first.
pub fn single_stream(archive: &Path) -> impl Read + use<> {
    SingleStream { decoder: Some(bzip2::bufread::BzDecoder::new(BufReader::new(open(archive)))) }
}

struct SingleStream {
    decoder: Option<bzip2::bufread::BzDecoder<BufReader<File>>>,
}

impl Read for SingleStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some(decoder) = &mut self.decoder else { return Ok(0) };
        let read = decoder.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            let mut rest = self.decoder.take().expect("not yet at the end").into_inner();
            let more = rest.fill_buf()?.len();
            assert!(more == 0, "the archive continues after its first bzip2 stream");
        }
        Ok(read)
    }
}

fn open(archive: &Path) -> File {
    File::open(archive).unwrap_or_else(|error| panic!("cannot open {}: {error}", archive.display()))
}

/// Fails unless both tar streams are equal, and names the member in which they differ. Returns their length.
#[track_caller]
pub fn assert_same_stream(expected: impl Read, found: impl Read, context: &str) -> u64 {
    match compare(expected, found) {
        Ok(length) => length,
        Err(difference) => panic!("{context}: {difference}"),
    }
}

/// Returns the length of two equal tar streams, or a description of their first difference.
fn compare(mut expected: impl Read, mut found: impl Read) -> Result<u64, String> {
    // A multiple of the tar block size, so that a header is never split.
    const CHUNK: usize = 512 * 2048;
    let (mut ours, mut theirs) = (vec![0; CHUNK], vec![0; CHUNK]);
    let (mut offset, mut last_header) = (0_u64, None);
    let mut headers = Headers::default();
    loop {
        let (expected_length, found_length) = (fill(&mut expected, &mut ours), fill(&mut found, &mut theirs));
        let common = expected_length.min(found_length);
        let differing = ours[..common].iter().zip(&theirs[..common]).position(|(a, b)| a != b);
        let until = differing.unwrap_or(common);
        if let Some(name) = headers.read(&ours[..(until / 512 + 1).saturating_mul(512).min(expected_length)]) {
            last_header = Some(name);
        }
        let member = || last_header.clone().unwrap_or_else(|| "no member".to_owned());
        if let Some(at) = differing {
            let block = at / 512 * 512;
            let end = (block + 512).min(common);
            return Err(format!(
                "the streams differ at byte {} (byte {} of its block), at or after the header of {}\n  expected {}\n  found    {}",
                offset + at as u64,
                at - block,
                member(),
                printable(&ours[block..end]),
                printable(&theirs[block..end])
            ));
        }
        offset += common as u64;
        if expected_length != found_length {
            let rest = |reader: &mut dyn Read| std::io::copy(reader, &mut std::io::sink()).expect("reading a stream");
            let (expected_total, found_total) = (
                offset + (expected_length - common) as u64 + rest(&mut expected),
                offset + (found_length - common) as u64 + rest(&mut found),
            );
            return Err(format!(
                "one stream has {expected_total} bytes, the other {found_total}; equal until one ends, after {}",
                member()
            ));
        }
        if expected_length == 0 {
            return Ok(offset);
        }
    }
}

/// Parses the headers of a tar stream, as far as needed to name the member of a difference.
#[derive(Default)]
struct Headers {
    /// Blocks of content still to be skipped.
    skip: u64,
}

impl Headers {
    /// Parses the next blocks; returns the name in the last header among them.
    fn read(&mut self, blocks: &[u8]) -> Option<String> {
        let mut last = None;
        for block in blocks.chunks_exact(512) {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes().copy_from_slice(block);
            let has_content = matches!(header.entry_type().as_byte(), b'0' | 0 | b'L' | b'K');
            self.skip = if has_content { header.entry_size().unwrap_or(0).div_ceil(512) } else { 0 };
            if block[0] != 0 {
                last = Some(format!("'{}'", printable(&header.path_bytes())));
            }
        }
        last
    }
}

/// Reads until the buffer is full or the stream ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]).expect("reading a stream") {
            0 => break,
            read => filled += read,
        }
    }
    filled
}
