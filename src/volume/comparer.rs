//! Compares the content of a file with that of a member, piece by piece. Where the member has a hole, only the data of the
//! file is read: both may describe exabytes of zeros.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::content::{Opened, PIECE};
use crate::durable::page_cache::ReadOnce;
use crate::holes::ReadHoles;

/// Compares files; it holds two buffers.
#[derive(Debug)]
pub(crate) struct Comparer {
    archive: Vec<u8>,
    file: Vec<u8>,
}

/// Which side could not be read.
#[derive(Debug)]
pub(crate) enum CompareError {
    /// The content of the member.
    Archive(io::Error),
    /// The file.
    File(io::Error),
}

impl Default for Comparer {
    fn default() -> Self {
        Self { archive: vec![0; PIECE], file: vec![0; PIECE] }
    }
}

impl Comparer {
    /// Returns whether `file` holds exactly the `size` bytes that `content` delivers. Reading ends with the first
    /// difference.
    ///
    /// # Errors
    /// One of the two cannot be read.
    pub(crate) fn is_same(
        &mut self,
        file: Opened,
        content: &mut impl ReadHoles,
        size: u64,
    ) -> Result<bool, CompareError> {
        let mut file = ReadOnce::new(file.into_file());
        // The handle of a single mounted file can have been read before.
        file.file().rewind().map_err(CompareError::File)?;
        let mut at = 0;
        while at < size {
            let hole = content.skip_hole().min(size - at);
            if hole > 0 {
                if !self.is_zero(&mut file, at, at + hole).map_err(CompareError::File)? {
                    return Ok(false);
                }
                at += hole;
                continue;
            }
            let want = usize::try_from(size - at).map_or(PIECE, |left| left.min(PIECE));
            let got = content.read(&mut self.archive[..want]).map_err(CompareError::Archive)?;
            if got == 0 {
                return Err(CompareError::Archive(io::ErrorKind::UnexpectedEof.into()));
            }
            match file.read_exact(&mut self.file[..got]) {
                // It has shrunk meanwhile.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                other => other.map_err(CompareError::File)?,
            }
            if self.archive[..got] != self.file[..got] {
                return Ok(false);
            }
            at += got as u64;
        }
        Ok(true)
    }

    /// Returns whether the file has only zeros from `at` to `end`; its position is then `end`.
    fn is_zero(&mut self, file: &mut ReadOnce, mut at: u64, end: u64) -> io::Result<bool> {
        while let Some(data) = next_data(file.file(), at)?.filter(|data| *data < end) {
            file.file().seek(SeekFrom::Start(data))?;
            let want = usize::try_from(end - data).map_or(PIECE, |left| left.min(PIECE));
            let got = file.read(&mut self.file[..want])?;
            if self.file[..got].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            if got == 0 {
                break;
            }
            at = data + got as u64;
        }
        file.file().seek(SeekFrom::Start(end))?;
        Ok(file.file().metadata()?.len() >= end)
    }
}

/// Returns where the next data of a file begins, from `at` on; `None` if there is only a hole. A filesystem that does not
/// know has data everywhere.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    let offset = i64::try_from(at).map_err(io::Error::other)?;
    match lseek(file, offset, Whence::SeekData) {
        Ok(data) => Ok(u64::try_from(data).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok(Some(at)),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
    use proptest::prelude::*;
    use std::io::Write as _;

    /// Content of which these lengths, alternately of data and of holes, are delivered.
    struct Runs<'a> {
        left: &'a [u8],
        runs: Vec<(bool, usize)>,
    }

    impl io::Read for Runs<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let most = self.runs.first().map_or(0, |(_, length)| *length).min(buf.len());
            buf[..most].copy_from_slice(&self.left[..most]);
            self.advance(most);
            Ok(most)
        }
    }

    impl Runs<'_> {
        fn advance(&mut self, count: usize) {
            self.left = &self.left[count..];
            if let Some((_, length)) = self.runs.first_mut() {
                *length -= count;
                if *length == 0 {
                    self.runs.remove(0);
                }
            }
        }
    }

    impl ReadHoles for Runs<'_> {
        fn skip_hole(&mut self) -> u64 {
            let Some(&(true, length)) = self.runs.first() else { return 0 };
            self.advance(length);
            length as u64
        }
    }

    fn is_same(file: &mut File, content: &[u8], runs: &[(bool, usize)]) -> bool {
        let opened = Opened::new(file.try_clone().unwrap(), &fstat(&*file).unwrap());
        let mut runs = Runs { left: content, runs: runs.to_vec() };
        Comparer::default().is_same(opened, &mut runs, content.len() as u64).unwrap()
    }

    proptest! {
        #[test]
        fn one_byte_more_less_or_other_is_found(
            runs in prop::collection::vec((any::<bool>(), 1_usize..20_000), 1..12),
            at in any::<prop::sample::Index>(),
        ) {
            let content: Vec<u8> = runs.iter().flat_map(|&(hole, length)| vec![u8::from(!hole); length]).collect();
            let mut file = tempfile::tempfile().unwrap();
            // Written with holes, so that the file has them too.
            let mut offset = 0;
            for &(hole, length) in &runs {
                if !hole {
                    file.seek(SeekFrom::Start(offset)).unwrap();
                    file.write_all(&vec![1; length]).unwrap();
                }
                offset += length as u64;
            }
            file.set_len(offset).unwrap();
            prop_assert!(is_same(&mut file, &content, &runs));
            let at = at.index(content.len()) as u64;
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[2]).unwrap();
            prop_assert!(!is_same(&mut file, &content, &runs));
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&content[at as usize..=at as usize]).unwrap();
            prop_assert!(is_same(&mut file, &content, &runs));
            file.set_len(offset - 1).unwrap();
            prop_assert!(!is_same(&mut file, &content, &runs));
        }
    }

    /// One hole of this many bytes.
    struct Hole(u64);

    impl io::Read for Hole {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("a hole is not read")
        }
    }

    impl ReadHoles for Hole {
        fn skip_hole(&mut self) -> u64 {
            std::mem::take(&mut self.0)
        }
    }

    #[test]
    fn data_behind_zeros_that_take_space_is_found() {
        let mut file = tempfile::tempfile().unwrap();
        let size = 3 * PIECE as u64;
        file.write_all(&vec![0; 3 * PIECE]).unwrap();
        for at in [0, size / 2, size - 1] {
            let same = |file: &File| {
                let opened = Opened::new(file.try_clone().unwrap(), &fstat(file).unwrap());
                Comparer::default().is_same(opened, &mut Hole(size), size).unwrap()
            };
            assert!(same(&file));
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[1]).unwrap();
            assert!(!same(&file), "{at}");
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[0]).unwrap();
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_another_one() {
        // Nothing is mapped at its beginning.
        let unreadable = File::open("/proc/self/mem").unwrap();
        let opened = Opened::new(unreadable.try_clone().unwrap(), &fstat(&unreadable).unwrap());
        let mut content = Runs { left: &[1; 9], runs: vec![(false, 9)] };
        let compared = Comparer::default().is_same(opened, &mut content, 9);
        assert!(matches!(compared, Err(CompareError::File(_))), "{compared:?}");
    }

    #[test]
    fn a_hole_of_exabytes_takes_no_time() {
        let file = tempfile::tempfile().unwrap();
        // The longest file of ext4.
        let size = (1 << 44) - 4096;
        file.set_len(size).unwrap();
        let opened = Opened::new(file.try_clone().unwrap(), &fstat(&file).unwrap());
        assert!(Comparer::default().is_same(opened, &mut Hole(size), size).unwrap());
    }
}
