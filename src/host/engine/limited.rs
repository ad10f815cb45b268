//! Limits of the size of an answer, applied to the bytes of the connection: bollard collects each answer in memory before
//! it parses it, however long it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The largest answer in bytes, with its headers. The longest ones are the lists: a container takes about 2 KiB there, of
/// which most are the labels of compose and of a proxy, so that this is enough for 10,000 containers. An inspection of
/// one container takes about 10 KiB.
pub(super) const ANSWER_BYTES: u64 = 32 << 20;

/// The most values of one answer: elements of arrays and members of objects. Parsed, an empty element of a list takes
/// hundreds of bytes where its text takes three, so the bytes alone would not bound the memory. A container in a list
/// has about 100 values.
pub(super) const ANSWER_VALUES: u64 = 1_000_000;

/// The error of an answer that exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooLarge {
    /// It has more than [`ANSWER_BYTES`].
    Bytes,
    /// It has more than [`ANSWER_VALUES`].
    Values,
}

impl std::fmt::Display for TooLarge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes => write!(f, "the answer is longer than {} MiB", ANSWER_BYTES >> 20),
            Self::Values => write!(f, "the answer has more than {ANSWER_VALUES} values"),
        }
    }
}

impl std::error::Error for TooLarge {}

/// A connection for one request, which fails to read once the answer exceeds a limit.
pub(super) struct Limited<S> {
    stream: S,
    bytes: u64,
    values: u64,
}

impl<S> Limited<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, bytes: 0, values: 0 }
    }

    fn count(&mut self, read: &[u8]) -> Result<(), TooLarge> {
        self.bytes += read.len() as u64;
        // Each value follows one of these. They occur in strings too, so there may be fewer values, but never more.
        self.values += read.iter().filter(|byte| matches!(byte, b'{' | b'[' | b',')).count() as u64;
        if self.bytes > ANSWER_BYTES {
            Err(TooLarge::Bytes)
        } else if self.values > ANSWER_VALUES {
            Err(TooLarge::Values)
        } else {
            Ok(())
        }
    }
}

impl<S: AsyncRead + Unpin> hyper::rt::Read for Limited<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A copy is what an adapter between the two buffer types costs without `unsafe`.
        let mut space = [0; 8 << 10];
        let length = space.len().min(into.remaining());
        let mut read = ReadBuf::new(&mut space[..length]);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
        this.count(read.filled()).map_err(io::Error::other)?;
        into.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> hyper::rt::Write for Limited<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_be_as_large_as_a_limit_and_no_larger() {
        let mut limited = Limited::new(());
        let chunk = vec![b' '; 1 << 20];
        for _ in 0..ANSWER_BYTES >> 20 {
            limited.count(&chunk).unwrap();
        }
        assert_eq!(limited.count(b" "), Err(TooLarge::Bytes));

        let mut limited = Limited::new(());
        limited.count(&vec![b','; usize::try_from(ANSWER_VALUES).unwrap()]).unwrap();
        limited.count(b"]}").unwrap();
        assert_eq!(limited.count(b"{"), Err(TooLarge::Values));
    }

    /// The memory that the largest list takes once bollard has parsed it.
    #[test]
    fn the_limit_of_values_bounds_the_memory_of_a_list() {
        let elements = ANSWER_VALUES / 2; // `{},`
        let size = size_of::<super::super::answers::ContainerSummary>().max(size_of::<bollard::models::Volume>());
        assert!(elements * size as u64 <= 512 << 20, "{size} bytes an element");
    }
}
