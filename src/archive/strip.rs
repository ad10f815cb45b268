//! Makes the names of an archive's members relative to the root of the restored tree. `tar --strip-components=N`
//! removes a number of components; this removes an expected prefix, so that a wrong archive is refused instead of
//! extracted to wrong paths.

use std::fmt;

use super::reader::{Stored, StoredKind};
use crate::limits::{self, Excess};
use crate::member::{BadPath, Kind, Member, RelPath, quotable};

/// The reason why a member cannot belong to the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// A member whose name is outside the expected path.
    Elsewhere {
        /// The member's name.
        name: Vec<u8>,
        /// The path that all members must be below.
        expected: RelPath,
    },
    /// A hard link whose target is outside the expected path.
    LinkElsewhere {
        /// The member's name.
        name: Vec<u8>,
        /// The target of the link.
        link: Vec<u8>,
    },
    /// A name that could lead out of the tree, or that no file can have.
    Bad {
        /// The name.
        name: Vec<u8>,
        /// The rule that it violates.
        why: BadPath,
    },
    /// A member beyond a limit, which no backup of voltar stores. All other members can be restored.
    Beyond {
        /// The member's name; its beginning, if the header was beyond the limit of what is read.
        name: RelPath,
        /// The limit that the name, or the target of the link, exceeds.
        excess: Excess,
    },
    /// A member for the tree's root that is neither a directory nor, for a single mounted file, a file.
    RootIsNoDirectory,
    /// A symbolic link with an empty target or one with a NUL byte.
    BadTarget {
        /// The member's name.
        name: Vec<u8>,
    },
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { name, expected } => {
                write!(f, "it holds '{}', but everything should lie below '{expected}'", quotable(name))
            }
            Self::LinkElsewhere { name, link } => {
                write!(f, "'{}' is a hard link to '{}', outside the tree", quotable(name), quotable(link))
            }
            Self::Bad { name, why } => write!(f, "bad member name '{}': {why}", quotable(name)),
            Self::Beyond { name, excess } => write!(f, "'{name}' is beyond a limit: {excess}"),
            Self::RootIsNoDirectory => {
                f.write_str("the member for the volume's root is neither a directory nor a file")
            }
            Self::BadTarget { name } => write!(f, "'{}' is a symbolic link to nowhere", quotable(name)),
        }
    }
}

impl std::error::Error for Misfit {}

/// Returns `stored` with its path relative to `prefix`, or `None` for a directory above `prefix` (GNU tar skips
/// those too).
///
/// # Errors
/// The member cannot belong to the tree below `prefix`.
pub fn strip(stored: &Stored, prefix: &RelPath) -> Result<Option<Member>, Misfit> {
    let parse = |name: &[u8]| RelPath::parse(name).map_err(|why| Misfit::Bad { name: name.to_vec(), why });
    let name = parse(&stored.name)?;
    let Some(path) = name.strip_prefix(prefix) else {
        if stored.kind == StoredKind::Directory && prefix.strip_prefix(&name).is_some() {
            return Ok(None);
        }
        return Err(Misfit::Elsewhere { name: stored.name.clone(), expected: prefix.clone() });
    };
    let beyond = |excess| Misfit::Beyond { name: name.clone(), excess };
    if let Some(excess) = stored.excess.or_else(|| limits::excess(&name)) {
        return Err(beyond(excess));
    }
    let (major, minor) = stored.device;
    let kind = match stored.kind {
        StoredKind::File => Kind::File { size: stored.size },
        StoredKind::Directory => Kind::Directory,
        StoredKind::Symlink if stored.link.is_empty() || stored.link.contains(&0) => {
            return Err(Misfit::BadTarget { name: stored.name.clone() });
        }
        StoredKind::Symlink => match limits::target_excess(&stored.link) {
            Some(excess) => return Err(beyond(excess)),
            None => Kind::Symlink { target: stored.link.clone() },
        },
        StoredKind::HardLink => {
            let target = parse(&stored.link)?;
            if let Some(excess) = limits::excess(&target) {
                return Err(beyond(excess));
            }
            let target = target.strip_prefix(prefix).filter(|target| !target.is_root());
            let target =
                target.ok_or_else(|| Misfit::LinkElsewhere { name: stored.name.clone(), link: stored.link.clone() })?;
            Kind::HardLink { target }
        }
        StoredKind::Fifo => Kind::Fifo,
        StoredKind::CharDevice => Kind::CharDevice { major, minor },
        StoredKind::BlockDevice => Kind::BlockDevice { major, minor },
    };
    if path.is_root() && !matches!(kind, Kind::Directory | Kind::File { .. }) {
        return Err(Misfit::RootIsNoDirectory);
    }
    Ok(Some(Member { path, kind, metadata: stored.metadata.clone() }))
}
