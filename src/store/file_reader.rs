//! Reads an archive file in a thread of its own, a little ahead. The disk or the server that holds it may not answer, and
//! that ends no read; the run that waits for it can be cancelled nevertheless.

use std::io::{self, ErrorKind, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::apart;
use crate::error::Result;
use crate::monitor::Monitor;

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// The number of pieces that are read ahead.
const AHEAD: usize = 2;

/// The bytes of a file, in order.
pub(super) struct FileReader<'a> {
    monitor: &'a dyn Monitor,
    /// What was read, in order. The last one is empty, or an error.
    pieces: Receiver<io::Result<Vec<u8>>>,
    /// Pieces that were used, to be filled again.
    used: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
    /// How much of the piece was used.
    at: usize,
    is_complete: bool,
}

impl<'a> FileReader<'a> {
    /// Reads `file` until `monitor` is cancelled.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn new(file: impl Read + Send + 'static, monitor: &'a dyn Monitor) -> Result<Self> {
        let (sender, pieces) = sync_channel(AHEAD);
        let (used, to_fill) = sync_channel(AHEAD + 2);
        apart::start(move || read_all(file, &sender, &to_fill))?;
        Ok(Self { monitor, pieces, used, piece: Vec::new(), at: 0, is_complete: false })
    }
}

/// Sends all pieces, until the end or an error, or until nobody receives them any more.
fn read_all(mut file: impl Read, pieces: &SyncSender<io::Result<Vec<u8>>>, used: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = used.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let read = loop {
            match file.read(&mut piece) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let is_last = !read.as_ref().is_ok_and(|&count| count > 0);
        let sent = pieces.send(read.map(|count| {
            piece.truncate(count);
            piece
        }));
        if is_last || sent.is_err() {
            return;
        }
    }
}

impl Read for FileReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.monitor.check_cancelled()?;
        if self.at == self.piece.len() && !self.is_complete {
            let used = std::mem::take(&mut self.piece);
            self.at = 0;
            // The thread has ended if it takes none.
            self.used.try_send(used).unwrap_or_default();
            let next = apart::receive(&self.pieces, &|| self.monitor.check_cancelled())?;
            self.piece = next.unwrap_or_else(|| Err(io::Error::other("an earlier read has failed")))?;
            self.is_complete = self.piece.is_empty();
        }
        let count = out.len().min(self.piece.len() - self.at);
        out[..count].copy_from_slice(&self.piece[self.at..][..count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::error::{Error, carried};
    use crate::monitor::{Collector, Event};

    /// Gives the lengths of its reads, then an error or the end.
    struct Source {
        content: Vec<u8>,
        lengths: Vec<usize>,
        error: Option<io::Error>,
    }

    impl Read for Source {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let Some(length) = self.lengths.pop() else { return self.error.take().map_or(Ok(0), Err) };
            if length == 0 {
                return Err(ErrorKind::Interrupted.into());
            }
            let rest = self.content.split_off(length.min(out.len()));
            let piece = std::mem::replace(&mut self.content, rest);
            out[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn all_bytes_are_read_in_order_before_the_end_or_an_error() {
        let lengths = vec![1, PIECE, 0, 7, PIECE, 0, 3 * PIECE, 100];
        let all = 1 + PIECE + 7 + PIECE + PIECE + 100;
        let content: Vec<u8> = (0..all).map(|i| (i % 251) as u8).collect();
        for error in [None, Some(io::Error::from_raw_os_error(5))] {
            for size in [1000, PIECE, 2 * PIECE + 1] {
                let fails = error.is_some();
                let error = error.as_ref().and_then(io::Error::raw_os_error).map(io::Error::from_raw_os_error);
                let source = Source { content: content.clone(), lengths: lengths.clone(), error };
                let monitor = Collector::default();
                let mut reader = FileReader::new(source, &monitor).unwrap();
                let (mut read, mut buffer) = (Vec::new(), vec![0; size]);
                let end = loop {
                    match reader.read(&mut buffer) {
                        Ok(0) => break Ok(()),
                        Ok(count) => read.extend_from_slice(&buffer[..count]),
                        Err(e) => break Err(e.raw_os_error()),
                    }
                };
                assert_eq!(end, if fails { Err(Some(5)) } else { Ok(()) });
                assert!(read == content, "{} of {all} bytes", read.len());
                let then = reader.read(&mut buffer).map_err(|e| e.to_string());
                assert_eq!(then, if fails { Err("an earlier read has failed".to_owned()) } else { Ok(0) });
            }
        }
    }

    #[test]
    fn a_read_that_gets_no_answer_is_not_waited_for_after_a_signal() {
        struct Stalled(Receiver<()>, &'static AtomicBool);

        impl Read for Stalled {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                self.1.store(true, Ordering::Relaxed);
                self.0.recv().unwrap_or_default();
                Ok(0)
            }
        }

        struct Signalled(&'static AtomicBool);

        impl Monitor for Signalled {
            fn event(&self, _: &Event<'_>) {}

            fn cancelled(&self) -> bool {
                self.0.load(Ordering::Relaxed)
            }
        }

        static READS: AtomicBool = AtomicBool::new(false);
        let (answer, stalled) = sync_channel(0);
        // The signal comes when the thread reads.
        let monitor = Signalled(&READS);
        let mut reader = FileReader::new(Stalled(stalled, &READS), &monitor).unwrap();
        let error = reader.read(&mut [0; 10]).unwrap_err();
        let interrupted = Error::interrupted();
        assert_eq!(carried::<Error>(&error).unwrap().kind(), interrupted.kind());
        drop(answer);
    }
}
