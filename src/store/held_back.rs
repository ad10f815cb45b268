//! The end of a stream, which is held back until the archive is known to be complete: whoever reads the stream sees that
//! it is incomplete as long as the end is missing.

use std::io;

/// The number of bytes that are held back: more than a tar stream's end, which is at most a record of 10,240 bytes and
/// two blocks, and than any end of a compressed stream.
pub(super) const HELD: usize = 16 << 10;

/// Bytes that were written and not yet sent.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    bytes: Vec<u8>,
    /// The bytes that were sent, at the start of `bytes`.
    sent: usize,
    /// All bytes that were written.
    total: u64,
}

impl HeldBack {
    /// Adds `bytes`, and sends all but the last ones with `send`, which returns how many it has sent.
    ///
    /// # Errors
    /// Those of `send`. What was not sent is kept then, `bytes` included.
    pub(super) fn push(&mut self, bytes: &[u8], send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        self.total += bytes.len() as u64;
        self.send(HELD, send)
    }

    /// Sends all that is left.
    ///
    /// # Errors
    /// As [`HeldBack::push`].
    pub(super) fn release(&mut self, send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        self.send(0, send)
    }

    /// Replaces what is left by `bytes`.
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        self.bytes = bytes.to_vec();
        self.sent = 0;
    }

    /// Returns the number of bytes that were written.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    fn send(&mut self, keep: usize, mut send: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        let to = self.bytes.len().saturating_sub(keep);
        while self.sent < to {
            self.sent += send(&self.bytes[self.sent..to])?;
        }
        self.bytes.drain(..self.sent);
        self.sent = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_sent_only_when_they_are_released() {
        let mut held = HeldBack::default();
        let mut out = Vec::new();
        let input: Vec<u8> = (0..50_000_u32).map(|n| n as u8).collect();
        for piece in input.chunks(7001) {
            // A pipe takes what it has room for.
            held.push(piece, |bytes| {
                let count = bytes.len().min(1000);
                out.extend_from_slice(&bytes[..count]);
                Ok(count)
            })
            .unwrap();
        }
        assert_eq!((out.len(), held.total()), (input.len() - HELD, 50_000));
        held.release(|bytes| {
            out.extend_from_slice(bytes);
            Ok(bytes.len())
        })
        .unwrap();
        assert!(out == input);
    }

    #[test]
    fn what_could_not_be_sent_is_kept() {
        let mut held = HeldBack::default();
        let mut room = 10_000;
        let mut out = Vec::new();
        let input = vec![7; 40_000];
        held.push(&input, |bytes| {
            let count = bytes.len().min(3000).min(room);
            room -= count;
            out.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(count) }
        })
        .unwrap_err();
        assert_eq!(out.len(), 10_000);
        held.release(|bytes| {
            out.extend_from_slice(bytes);
            Ok(bytes.len())
        })
        .unwrap();
        assert!(out == input);
    }
}
