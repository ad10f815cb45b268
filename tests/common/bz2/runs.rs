//! The first run-length stage: after four equal bytes comes a count of how many more there are. Each block
//! is for itself; a run does not go on in the next one.

/// Counts of up to 251, as bzip2 writes them; a reader has to take 255.
const MAX_COUNT: usize = 251;

/// What the stage makes of `content`.
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

/// Undoes the stage; `None` if the bytes end where a count has to be.
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
