//! Writes on a thread of its own: what the kernel does for each page that is written takes as long as everything else that
//! cannot be divided among threads.

use std::io::{self, Write};
use std::mem;
use std::panic::resume_unwind;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::error::{Error, Result};
use crate::pieces::WritePiece;

/// The number of pieces that wait to be written. A piece is at most what the codec writes at once.
const WAITING: usize = 2;

/// A writer that passes pieces to another thread. After a failed write, the next one fails with its error.
pub(super) struct WritingThread {
    pieces: SyncSender<Vec<u8>>,
    failed: Failed,
}

/// Why the thread has written no more.
type Failed = Arc<Mutex<Option<io::Error>>>;

/// Has a thread write to `to` what `produce` writes. Returns the result of `produce`, and `to`, once all is written.
///
/// # Errors
/// That of `produce`, or else that of a write after the last one which `produce` saw, as `cannot_write` words it.
pub(super) fn with_writing_thread<W: Write + Send, T>(
    to: W,
    cannot_write: impl Fn(io::Error) -> Error,
    produce: impl FnOnce(WritingThread) -> Result<T>,
) -> Result<(T, W)> {
    let failed = Failed::default();
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let kept = Arc::clone(&failed);
        let writer = thread::Builder::new().name("write".to_owned()).spawn_scoped(scope, move || {
            let mut to = to;
            // The error is there before the receiver is gone, which is what the sender sees.
            let written = receiver.iter().try_for_each(|piece: Vec<u8>| to.write_all(&piece));
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = written.err();
            drop(receiver);
            to
        });
        let writer = writer.map_err(|e| Error::failed("cannot start", "the thread that writes", e))?;
        let produced = produce(WritingThread { pieces: sender, failed: Arc::clone(&failed) });
        let to = writer.join().unwrap_or_else(|panic| resume_unwind(panic));
        let produced = produced?;
        match take(&failed) {
            Some(error) => Err(cannot_write(error)),
            None => Ok((produced, to)),
        }
    })
}

fn take(failed: &Failed) -> Option<io::Error> {
    mem::take(&mut failed.lock().unwrap_or_else(PoisonError::into_inner))
}

impl WritePiece for WritingThread {
    fn write_piece(&mut self, piece: Vec<u8>) -> io::Result<()> {
        let ended = |_| take(&self.failed).unwrap_or_else(|| io::Error::other("an earlier write failed"));
        self.pieces.send(piece).map_err(ended)
    }
}

impl Write for WritingThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_piece(bytes.to_vec())?;
        Ok(bytes.len())
    }

    /// Does nothing: all is written when [`with_writing_thread`] returns.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn cannot_write(e: io::Error) -> Error {
        Error::failed("cannot write", "x", e)
    }

    #[test]
    fn all_is_written_in_order() {
        let numbers: Vec<u8> = (0..200).collect();
        let written = with_writing_thread(Vec::new(), cannot_write, |mut thread| {
            for number in &numbers {
                thread.write_piece(vec![*number]).map_err(cannot_write)?;
            }
            Ok(5)
        });
        assert_eq!(written.unwrap(), (5, numbers));
    }

    /// A disk with room for so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_error_of_a_write_is_that_of_a_later_one_or_of_the_end() {
        for pieces in [4, 1000] {
            let written = with_writing_thread(Full(3), cannot_write, |mut thread| {
                for _ in 0..pieces {
                    if let Err(e) = thread.write_piece(vec![0]) {
                        assert_eq!(e.kind(), io::ErrorKind::StorageFull);
                        assert_ne!(thread.write_piece(vec![0]).unwrap_err().kind(), io::ErrorKind::StorageFull);
                        return Err(cannot_write(e));
                    }
                }
                assert_eq!(pieces, 4);
                Ok(())
            });
            let error = written.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Failed);
            assert!(error.to_string().contains("No space left") || error.to_string().contains("no storage"), "{error}");
        }
    }

    #[test]
    fn the_error_of_the_producer_is_kept() {
        let written = with_writing_thread(Full(0), cannot_write, |mut thread| {
            thread.write_piece(vec![0]).ok();
            Err::<(), _>(Error::interrupted())
        });
        assert_eq!(written.err().unwrap().kind(), Error::interrupted().kind());
    }
}
