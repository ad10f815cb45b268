//! The names in a directory, in byte order. A directory can hold millions: listing and sorting them takes seconds, in which a
//! signal must be obeyed. So they are sorted in runs, while they are listed, and the runs are merged as names are taken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::vec;

use nix::errno::Errno;

use super::beneath::each_name;

/// The names of one run: listing and sorting them takes some ten milliseconds on a local disk.
const RUN: usize = 16 << 10;

/// The names that are left, each of them once.
#[derive(Debug, Default)]
pub(super) struct SortedNames {
    /// The rest of each run, in order.
    runs: Vec<vec::IntoIter<OsString>>,
    /// The least name of each run that has any, and the run.
    least: BinaryHeap<Reverse<(OsString, usize)>>,
}

impl SortedNames {
    /// Lists a directory. `check` is called before each run.
    ///
    /// # Errors
    /// Those of the system calls, and of `check`.
    pub(super) fn of(directory: &OwnedFd, check: &dyn Fn() -> Result<(), Errno>) -> Result<Self, Errno> {
        check()?;
        let (mut this, mut run) = (Self::default(), Vec::new());
        each_name(directory, |name| {
            run.push(name.to_owned());
            if run.len() == RUN {
                check()?;
                this.add(std::mem::take(&mut run));
            }
            Ok(())
        })?;
        this.add(run);
        Ok(this)
    }

    /// Adds more names, in any order.
    pub(super) fn add(&mut self, mut names: Vec<OsString>) {
        names.sort_unstable();
        self.runs.push(names.into_iter());
        self.refill(self.runs.len() - 1);
    }

    fn refill(&mut self, run: usize) {
        self.least.extend(self.runs[run].next().map(|name| Reverse((name, run))));
    }
}

impl Iterator for SortedNames {
    type Item = OsString;

    fn next(&mut self) -> Option<OsString> {
        let Reverse((name, run)) = self.least.pop()?;
        self.refill(run);
        while self.least.peek().is_some_and(|Reverse((other, _))| *other == name) {
            if let Some(Reverse((_, run))) = self.least.pop() {
                self.refill(run);
            }
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::fs::File;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_names_come_once_and_in_order(runs in prop::collection::vec(prop::collection::vec("[a-c]{1,3}", 0..9), 0..5)) {
            let mut names = SortedNames::default();
            for run in &runs {
                names.add(run.iter().map(OsString::from).collect());
            }
            let expected: BTreeSet<OsString> = runs.iter().flatten().map(OsString::from).collect();
            prop_assert!(names.eq(expected));
        }
    }

    #[test]
    fn a_large_directory_is_listed_until_the_run_is_cancelled() {
        const COUNT: usize = 2 * RUN + 100;
        let dir = tempfile::tempdir().unwrap();
        for number in 0..COUNT {
            File::create(dir.path().join(number.to_string())).unwrap();
        }
        let directory = OwnedFd::from(File::open(dir.path()).unwrap());
        assert_eq!(SortedNames::of(&directory, &|| Ok(())).unwrap().count(), COUNT);
        let calls = Cell::new(0);
        let cancelled_at = |last| {
            calls.set(0);
            let check = || {
                calls.set(calls.get() + 1);
                if calls.get() < last { Ok(()) } else { Err(Errno::EINTR) }
            };
            SortedNames::of(&directory, &check).map(Iterator::count)
        };
        for last in 1..=3 {
            assert_eq!((cancelled_at(last), calls.get()), (Err(Errno::EINTR), last));
        }
        assert_eq!((cancelled_at(4), calls.get()), (Ok(COUNT), 3));
    }
}
