//! Where an archive comes from: the directory that its first members have in common. It tells the user what to do with
//! the archive of another path.

use std::collections::BTreeMap;

use crate::archive::reader::StoredKind;
use crate::archive_file::ArchiveFile;
use crate::error::Result;
use crate::member::RelPath;
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::store::Location;

/// How far an archive is read: after this many members, or before a member whose content ends beyond this many bytes.
const MEMBERS: u64 = 1000;
const BYTES: u64 = 64 << 20;

/// The most trees that are distinguished.
const TREES: usize = 8;

/// The directories of an archive's first members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The directory in which all of them lie.
    pub root: RelPath,
    /// Whether one of them is, or lies in, the path that was asked for.
    pub holds_path: bool,
    /// The trees that may have been archived together, if the archive holds directories and nothing beside them.
    pub trees: Vec<RelPath>,
}

/// Reads the first members of an archive; returns `None` if it has none.
///
/// # Errors
/// The archive cannot be read, or is damaged.
pub(crate) fn origin(
    location: &Location,
    path: &RelPath,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Option<Origin>> {
    let mut archive = ArchiveFile::peek(location, pool, monitor)?;
    let mut seen = Seen::default();
    let (mut members, mut bytes, mut complete) = (0, 0_u64, false);
    while members < MEMBERS && bytes < BYTES {
        let stored = match archive.next_member(monitor) {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                complete = true;
                break;
            }
            // The rest of a stream is read once, when it is extracted.
            Err(_) if location.peek_exhausted() => break,
            Err(error) => return Err(error),
        };
        members += 1;
        bytes = bytes.saturating_add(stored.size);
        // A name that no file can have is refused when the archive is extracted.
        if let Ok(name) = RelPath::parse(&stored.name) {
            seen.add(&name, stored.kind == StoredKind::Directory, path);
        }
    }
    Ok(seen.origin(complete))
}

/// The members that were read.
#[derive(Debug, Default)]
struct Seen {
    root: Option<RelPath>,
    /// Whether the root is a member itself, so that nothing lies outside of it.
    is_member: bool,
    holds_path: bool,
    /// The directory in which all members below each first component lie.
    trees: BTreeMap<RelPath, RelPath>,
    /// Whether a member lies beside those trees.
    beside: bool,
}

impl Seen {
    fn add(&mut self, name: &RelPath, is_directory: bool, path: &RelPath) {
        let parent = || name.split_last().map_or_else(RelPath::root, |(parent, _)| parent);
        let directory = if is_directory { name.clone() } else { parent() };
        let root = match &self.root {
            Some(root) => common(root, &directory),
            None => directory.clone(),
        };
        self.is_member = (is_directory && *name == root) || (self.is_member && self.root.as_ref() == Some(&root));
        self.root = Some(root);
        let first = directory.first(1);
        self.beside |= first.is_root();
        if self.trees.len() < TREES || self.trees.contains_key(&first) {
            let tree = self.trees.entry(first).or_insert_with(|| directory.clone());
            *tree = common(tree, &directory);
        }
        self.holds_path |= name.strip_prefix(path).is_some();
    }

    /// Returns the origin; `complete` is whether all members were read.
    fn origin(self, complete: bool) -> Option<Origin> {
        let root = self.root?;
        let is_certain = self.is_member || complete;
        // Other members may lie beside those that were read: then the root is a directory above.
        let root = if is_certain { root } else { root.first(1) };
        let several = root.is_root() && !self.beside && self.trees.len() > 1;
        let trees = if several { self.trees.into_values().collect() } else { Vec::new() };
        Some(Origin { root, holds_path: self.holds_path, trees })
    }
}

/// Returns the deepest directory that holds, or is, both paths.
fn common(one: &RelPath, other: &RelPath) -> RelPath {
    let shared = one.components().zip(other.components()).take_while(|(one, other)| one == other).count();
    one.first(shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Collector;

    /// Returns the origin of members, of which directories end with `/`.
    fn origin(names: &[&str], complete: bool) -> Origin {
        let mut seen = Seen::default();
        let path = RelPath::parse(b"srv/x").unwrap();
        for name in names {
            seen.add(&RelPath::parse(name.as_bytes()).unwrap(), name.ends_with('/'), &path);
        }
        seen.origin(complete).unwrap()
    }

    #[test]
    fn directories_with_nothing_beside_them_may_be_several_trees() {
        let trees = |names: &[&str]| origin(names, true).trees.iter().map(RelPath::to_string).collect::<Vec<_>>();
        assert_eq!(trees(&["var/lib/x/", "var/lib/x/a", "etc/", "etc/b/c"]), ["etc", "var/lib/x"]);
        assert_eq!(trees(&["./", "var/", "etc/"]), Vec::<String>::new());
        assert_eq!(trees(&["PG_VERSION", "base/", "global/"]), Vec::<String>::new());
        let many: Vec<String> = (0..100).map(|number| format!("d{number}/")).collect();
        assert_eq!(trees(&many.iter().map(String::as_str).collect::<Vec<_>>()).len(), TREES);
    }

    #[test]
    fn the_root_is_the_directory_that_holds_all_members() {
        for (names, complete, expected) in [
            (&["./", "./a", "./b/"][..], false, "."),
            (&["data/", "data/a"], false, "data"),
            (&["var/lib/x/", "var/lib/x/a/", "var/lib/x/a/b"], false, "var/lib/x"),
            (&["a", "b/c"], true, "."),
            (&["x/a/1", "x/a/2"], true, "x/a"),
            // What has not been read may lie beside it.
            (&["x/a/1", "x/a/2"], false, "x"),
            (&["x/ab/", "x/ac/"], false, "x"),
            (&["y/x/ab/", "y/x/ac/"], false, "y"),
            (&["y/x/", "y/x/file"], false, "y/x"),
        ] {
            let origin = origin(names, complete);
            assert_eq!((origin.root.to_string(), origin.holds_path), (expected.to_owned(), false), "{names:?}");
            assert!(origin.trees.is_empty(), "{names:?}");
        }
        assert!(origin(&["etc/", "srv/x/", "srv/x/a"], false).holds_path);
        assert!(!origin(&["srv/", "srv/xy"], false).holds_path);
        assert_eq!(Seen::default().origin(true), None);
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut archive = tar::Builder::new(file.reopen().unwrap());
        archive.append_data(&mut tar::Header::new_ustar(), "srv/x/a", &b""[..]).unwrap();
        std::io::Write::write_all(archive.get_mut(), &[b'?'; 512]).unwrap();
        drop(archive);
        let (path, monitor) = (RelPath::parse(b"srv/x").unwrap(), Collector::default());
        super::origin(&Location::at(file.path()), &path, &Pool::new(1).unwrap(), &monitor).unwrap_err();
    }

    #[test]
    fn only_the_first_members_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        for (first, expected) in [(MEMBERS - 1, "."), (MEMBERS, "srv")] {
            let mut archive = tar::Builder::new(std::fs::File::create(&path).unwrap());
            for name in (0..first).map(|number| format!("srv/x/{number}")).chain(["etc/last".to_owned()]) {
                archive.append_data(&mut tar::Header::new_ustar(), name, &b""[..]).unwrap();
            }
            archive.finish().unwrap();
            let pool = Pool::new(1).unwrap();
            let found = super::origin(&Location::new(&path), &RelPath::root(), &pool, &Collector::default());
            assert_eq!(found.unwrap().unwrap().root.to_string(), expected, "after {first} members");
        }
    }
}
