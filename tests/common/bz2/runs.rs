//! The initial run-length encoding: after four equal bytes follows the count of further ones. Runs do not
//! continue in the next block.

/// bzip2 writes counts up to 251; a decoder must accept 255.
const MAX_COUNT: usize = 251;

/// Encodes `content`.
pub fn encode(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for run in content.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(4 + MAX_COUNT)) {
        bytes.extend(run.iter().take(4));
        if let Some(count) = run.len().checked_sub(4) {
            bytes.push(u8::try_from(count).unwrap());
        }
    }
    bytes
}

/// Decodes `bytes`; returns `None` if they end where a count must follow.
pub fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut content, mut bytes) = (Vec::new(), bytes.iter());
    let mut run: Vec<u8> = Vec::new();
    while let Some(&byte) = bytes.next() {
        if run.first() != Some(&byte) {
            run.clear();
        }
        run.push(byte);
        content.push(byte);
        if run.len() == 4 {
            let count = *bytes.next()?;
            content.extend(std::iter::repeat_n(byte, count.into()));
            run.clear();
        }
    }
    Some(content)
}
