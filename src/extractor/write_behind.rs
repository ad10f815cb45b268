//! Write-behind: several threads create small files, in batches, while the archive is read on, so that the latencies of
//! a disk or a server overlap. All other members are created by the thread that reads.
//!
//! The result is the same as when members are created in order: a member that depends on pending files (it has the same
//! name, links to one, is below one, or takes the place of a directory above one) waits for them. The number of pending
//! files is bounded by [`Ordered`]'s window of batches.

use std::collections::{HashMap, HashSet};

use crate::batch::{self, Filled};
use crate::error::Result;
use crate::holes::ReadHoles;
use crate::member::{Kind, Member, RelPath, StepHasher};
use crate::ordered::{Ordered, Pool};
use crate::volume::create::{Creator, NewFile, NotMade, Removal, unreadable};

/// Extracts members in one tree.
pub(super) struct WriteBehind {
    creator: Creator,
    batch: Batch,
    making: Ordered<(Batch, Result<(), Stopped>)>,
    unmade: Unmade,
}

impl WriteBehind {
    /// Extracts with `creator`; small files are created by the threads of `files`.
    pub(super) fn new(creator: Creator, files: &Pool) -> Self {
        Self { creator, batch: Batch::default(), making: Ordered::new(files), unmade: Unmade::default() }
    }

    /// Creates one member, or adds it to a batch; a file's content is read from `content`.
    ///
    /// # Errors
    /// As [`Creator::member`]; those of earlier members come first.
    pub(super) fn member(&mut self, member: &Member, content: &mut impl ReadHoles, removal: Removal<'_>) -> Result<()> {
        if self.unmade.concerns(member) {
            self.settle(removal)?;
        }
        if let Err(error) = self.make_or_add(member, content, removal) {
            self.settle(removal)?;
            return Err(error);
        }
        if self.batch.filled.is_full() { self.submit(removal) } else { Ok(()) }
    }

    fn make_or_add(&mut self, member: &Member, content: &mut impl ReadHoles, removal: Removal<'_>) -> Result<()> {
        let small = batch::small(&member.kind).and_then(|size| usize::try_from(size).ok());
        let Some(size) = small else { return self.creator.member(member, content, removal) };
        let Some(file) = self.creator.file(member)? else { return self.creator.member(member, content, removal) };
        self.unmade.add(file.path());
        self.batch.add(file, size, content)
    }

    /// Creates all pending files; removes what the archive did not name, if the creator remembers names; applies the metadata
    /// of all directories.
    ///
    /// # Errors
    /// The first one, also of the check, which is called now and then.
    pub(super) fn finish(&mut self, removal: Removal<'_>) -> Result<()> {
        self.settle(removal)?;
        self.creator.remove_others(removal)?;
        self.creator.finish_directories(removal.check)
    }

    fn submit(&mut self, removal: Removal<'_>) -> Result<()> {
        if !self.making.has_room() {
            self.take(removal)?;
        }
        let batch = std::mem::take(&mut self.batch);
        self.making.submit(move || {
            let made = batch.make(0);
            (batch, made)
        });
        Ok(())
    }

    /// Waits for the oldest batch, and completes it; false if there is none.
    fn take(&mut self, removal: Removal<'_>) -> Result<bool> {
        let Some((batch, mut made)) = self.making.take() else { return Ok(false) };
        for (file, _) in &batch.files {
            self.unmade.remove(file.path());
        }
        let mut cleared = None;
        while let Err(Stopped { at, why }) = made {
            let path = batch.files[at].0.path();
            match why {
                // No pending file lies below: the member has waited for those before it, and those after it wait for it.
                NotMade::Occupied if cleared != Some(at) => self.creator.clear(path, removal)?,
                why => return Err(why.error(path)),
            }
            cleared = Some(at);
            made = batch.make(at);
        }
        Ok(true)
    }

    fn settle(&mut self, removal: Removal<'_>) -> Result<()> {
        self.submit(removal)?;
        while self.take(removal)? {}
        Ok(())
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        // The staged tree is removed next: no file may be created in it after that.
        self.making.abandon();
    }
}

/// A file of a batch that was not made, nor those after it.
struct Stopped {
    at: usize,
    why: NotMade,
}

/// Files that one thread creates in order.
#[derive(Default)]
struct Batch {
    /// Each with the length of its content.
    files: Vec<(NewFile, usize)>,
    content: Vec<u8>,
    filled: Filled,
}

impl Batch {
    fn add(&mut self, file: NewFile, size: usize, source: &mut impl ReadHoles) -> Result<()> {
        let before = self.content.len();
        self.content.resize(before + size, 0);
        source.read_exact(&mut self.content[before..]).map_err(|e| unreadable(&e))?;
        let xattrs = file.xattrs().bytes();
        let beside = self.files.last().is_some_and(|(last, _)| last.lies_beside(&file));
        // Names can be as long as small files, and attributes longer.
        self.filled.add((size + xattrs + file.path().as_bytes().len()) as u64, beside);
        self.files.push((file, size));
        Ok(())
    }

    /// Makes the files from the one at `from` on.
    fn make(&self, from: usize) -> Result<(), Stopped> {
        let mut content = &self.content[..];
        for (at, (file, size)) in self.files.iter().enumerate() {
            let (own, rest) = content.split_at(*size);
            if at >= from {
                file.make(own).map_err(|why| Stopped { at, why })?;
            }
            content = rest;
        }
        Ok(())
    }
}

/// The pending files, and the number of those below each directory, as hashes of their paths. Two paths of the same hash cost
/// time: files are waited for without need.
#[derive(Default)]
struct Unmade {
    hasher: StepHasher,
    files: HashSet<u64>,
    directories: HashMap<u64, usize>,
}

impl Unmade {
    /// Whether the result depends on whether `member` is created before these files or after them.
    fn concerns(&self, member: &Member) -> bool {
        if self.files.is_empty() {
            return false;
        }
        let leads_through = |path: &RelPath| self.hasher.of_steps(path).any(|step| self.files.contains(&step));
        let replaces_directory = match &member.kind {
            Kind::Directory => false,
            Kind::HardLink { target } if leads_through(target) => return true,
            Kind::HardLink { .. }
            | Kind::File { .. }
            | Kind::Symlink { .. }
            | Kind::Fifo
            | Kind::CharDevice { .. }
            | Kind::BlockDevice { .. } => {
                self.hasher.of_steps(&member.path).last().is_some_and(|path| self.directories.contains_key(&path))
            }
        };
        replaces_directory || leads_through(&member.path)
    }

    fn add(&mut self, file: &RelPath) {
        let mut steps = self.hasher.of_steps(file).peekable();
        while let Some(step) = steps.next() {
            if steps.peek().is_some() {
                *self.directories.entry(step).or_default() += 1;
            } else {
                self.files.insert(step);
            }
        }
    }

    fn remove(&mut self, file: &RelPath) {
        let mut steps = self.hasher.of_steps(file).peekable();
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                self.files.remove(&step);
            } else if let Some(count) = self.directories.get_mut(&step) {
                *count -= 1;
                if *count == 0 {
                    self.directories.remove(&step);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use nix::unistd::{getegid, geteuid};
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::batch::{DIRECTORIES, SMALL};
    use crate::member::{Metadata, Timestamp};
    use crate::volume::create::Existing;

    /// Whatever has to go is removed.
    const ANY: Removal<'static> = Removal { spared: &|_| false, check: &|| Ok(()) };

    /// Everything below `directory`, a line each.
    fn listing(directory: &Path, text: &mut String) {
        let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let status = path.symlink_metadata().unwrap();
            let content = match status.file_type() {
                kind if kind.is_file() => format!("{:?}", fs::read(&path).unwrap()),
                kind if kind.is_symlink() => format!("-> {}", fs::read_link(&path).unwrap().display()),
                kind => format!("{kind:?}"),
            };
            // Members are from 1970. What no member describes has the present time, which passes between two trees.
            let time = if status.mtime() < 1000 { status.mtime().to_string() } else { "now".to_owned() };
            let (mode, links) = (status.mode(), status.nlink());
            writeln!(text, "{} {mode:o} {links} {time} {content}", path.display()).unwrap();
            if status.is_dir() {
                listing(&path, text);
            }
        }
    }

    /// A tree in which some members lie already, and a creator for more.
    fn tree(before: &[(Member, Vec<u8>)], existing: Existing) -> (TempDir, Creator) {
        let dir = tempfile::tempdir().unwrap();
        let creator = || Creator::new(File::open(dir.path()).unwrap().into(), existing);
        let mut first = creator();
        for (member, content) in before {
            first.member(member, &mut &content[..], ANY).unwrap_or_default();
        }
        first.finish_directories(ANY.check).unwrap_or_default();
        let more = creator();
        (dir, more)
    }

    /// The first error, or else what the tree is then.
    fn outcome(dir: &TempDir, made: Result<()>) -> std::result::Result<String, String> {
        made.map_err(|error| error.to_string())?;
        let mut text = String::new();
        listing(dir.path(), &mut text);
        Ok(text.replace(dir.path().to_str().unwrap(), ""))
    }

    fn path() -> impl Strategy<Value = RelPath> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4)
            .prop_map(|names| RelPath::parse(names.join("/").as_bytes()).unwrap())
    }

    fn member() -> impl Strategy<Value = (Member, Vec<u8>)> {
        let size = prop_oneof![9 => 0..9_usize, 1 => Just(SMALL as usize + 1)];
        let kind = prop_oneof![
            6 => size.prop_map(|size| Kind::File { size: size as u64 }),
            2 => Just(Kind::Directory),
            1 => Just(Kind::Symlink { target: b"a".to_vec() }),
            1 => path().prop_map(|target| Kind::HardLink { target }),
            1 => Just(Kind::Fifo),
        ];
        (path(), kind, 0..1000_i64, any::<u8>()).prop_map(|(path, kind, seconds, byte)| {
            let content = if let Kind::File { size } = kind { vec![byte; size as usize] } else { Vec::new() };
            let mtime = Timestamp { seconds, nanoseconds: 0 };
            let metadata = Metadata {
                mode: 0o700,
                uid: geteuid().as_raw(),
                gid: getegid().as_raw(),
                mtime,
                ..Metadata::default()
            };
            (Member { path, kind, metadata }, content)
        })
    }

    proptest! {
        #[test]
        fn it_comes_to_what_one_after_the_other_comes_to(
            before in prop::collection::vec(member(), 0..12),
            members in prop::collection::vec(member(), 0..40),
            existing in prop::sample::select(vec![Existing::Staged, Existing::Merge, Existing::InPlace]),
        ) {
            let before = if existing == Existing::Staged { &[][..] } else { &before[..] };
            let (dir, mut creator) = tree(before, existing);
            let made = members.iter().try_for_each(|(member, content)| creator.member(member, &mut &content[..], ANY));
            let made = made.and_then(|()| creator.remove_others(ANY));
            let expected = outcome(&dir, made.and_then(|()| creator.finish_directories(ANY.check)));

            let (dir, creator) = tree(before, existing);
            let mut writer = WriteBehind::new(creator, &Pool::new(4).unwrap());
            let made = members.iter().try_for_each(|(member, content)| writer.member(member, &mut &content[..], ANY));
            prop_assert_eq!(outcome(&dir, made.and_then(|()| writer.finish(ANY))), expected);
        }
    }

    proptest! {
        #[test]
        fn a_tree_becomes_in_place_what_a_staged_one_is(
            before in prop::collection::vec(member(), 0..12),
            members in prop::collection::vec(member(), 0..12),
        ) {
            let extract = |(dir, creator): (TempDir, Creator)| {
                let mut writer = WriteBehind::new(creator, &Pool::new(2).unwrap());
                let made = members.iter().try_for_each(|(member, content)| writer.member(member, &mut &content[..], ANY));
                outcome(&dir, made.and_then(|()| writer.finish(ANY)))
            };
            // An existing directory keeps its metadata where the archive has none.
            let is_described = |path: &str| {
                members.iter().any(|(member, _)| member.kind == Kind::Directory && path[1..] == *member.path.to_string())
            };
            let comparable = |listing: String| -> Vec<String> {
                let lines = listing.lines().map(|line| match line.split_once(' ') {
                    Some((path, rest)) if rest.starts_with("40") && !is_described(path) => format!("{path} directory"),
                    _ => line.to_owned(),
                });
                lines.collect()
            };
            let staged = extract(tree(&[], Existing::Staged)).map(comparable);
            let in_place = extract(tree(&before, Existing::InPlace)).map(comparable);
            prop_assert_eq!(in_place.as_ref().ok(), staged.as_ref().ok(), "{:?} {:?}", in_place, staged);
        }
    }

    #[test]
    fn a_directory_is_of_concern_until_all_its_files_are_made() {
        let path = |text: &str| RelPath::parse(text.as_bytes()).unwrap();
        let link =
            Member { path: path("d"), kind: Kind::Symlink { target: b"a".to_vec() }, metadata: Metadata::default() };
        let mut unmade = Unmade::default();
        for file in ["d/x", "d/y", "d/e/z", "other"] {
            unmade.add(&path(file));
        }
        for (made, concerns) in [("other", true), ("d/x", true), ("d/y", true), ("d/e/z", false)] {
            unmade.add(&path("beside"));
            unmade.remove(&path(made));
            assert_eq!(unmade.concerns(&link), concerns, "after '{made}'");
        }
    }

    /// Each keeps the handle of its directory open.
    #[test]
    fn a_batch_is_full_by_its_directories() {
        let (_dir, creator) = tree(&[], Existing::Staged);
        let mut writer = WriteBehind::new(creator, &Pool::new(1).unwrap());
        let mut most = |directory: &dyn Fn(usize) -> usize| {
            let batches = (0..3 * DIRECTORIES).map(|number| {
                let path = RelPath::parse(format!("{}/{number}", directory(number)).as_bytes()).unwrap();
                let metadata = Metadata { uid: geteuid().as_raw(), gid: getegid().as_raw(), ..Metadata::default() };
                let member = Member { path, kind: Kind::File { size: 1 }, metadata };
                writer.member(&member, &mut &b"x"[..], ANY).unwrap();
                writer.batch.files.len()
            });
            batches.max().unwrap()
        };
        assert!(most(&|number| number) < DIRECTORIES);
        assert!(most(&|_| usize::MAX) > DIRECTORIES);
    }

    #[test]
    fn nothing_is_made_any_more_once_it_is_dropped() {
        let metadata = Metadata { uid: geteuid().as_raw(), gid: getegid().as_raw(), ..Metadata::default() };
        // It can be dropped between two batches, when none is being made.
        for files in (200..1200).step_by(50) {
            let (dir, creator) = tree(&[], Existing::Staged);
            let mut writer = WriteBehind::new(creator, &Pool::new(1).unwrap());
            for number in 0..files {
                let path = RelPath::parse(format!("file {number}").as_bytes()).unwrap();
                let member = Member { path, kind: Kind::File { size: 9 }, metadata: metadata.clone() };
                writer.member(&member, &mut &b"something"[..], ANY).unwrap();
            }
            drop(writer);
            let count = || fs::read_dir(dir.path()).unwrap().count();
            let then = count();
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(count(), then);
        }
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let (_dir, creator) = tree(&[], Existing::Staged);
        let mut writer = WriteBehind::new(creator, &Pool::new(1).unwrap());
        let path = RelPath::parse(b"file").unwrap();
        let member = Member { path, kind: Kind::File { size: 9 }, metadata: Metadata::default() };
        writer.member(&member, &mut &b"some"[..], ANY).unwrap_err();
    }
}
