//! Which members of an archive belong to the tree, and the refusal of an archive that is another one's.

use std::borrow::Cow;

use super::input::Input;
use crate::archive::reader::Stored;
use crate::archive::strip::{Misfit, strip};
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::limits::Excess;
use crate::mapped_xattrs;
use crate::member::{Member, Metadata, RelPath};

/// How a member fits into the tree.
#[derive(Debug)]
pub(crate) enum Fit {
    /// It belongs to the tree.
    Member(Member),
    /// It is a directory above the tree.
    Above,
    /// It belongs to the tree, but this limit keeps it from being restored. The name is that in the archive.
    Beyond(RelPath, Excess),
    /// It is outside, where the user has selected the prefix.
    Outside,
}

impl Fit {
    pub(super) fn member(self) -> Option<Member> {
        match self {
            Self::Member(member) => Some(member),
            Self::Above | Self::Beyond(..) | Self::Outside => None,
        }
    }
}

/// Returns how a stored member fits.
///
/// # Errors
/// The archive is not that of the tree.
pub(crate) fn fit(input: &Input, stored: &Stored) -> Result<Fit> {
    match strip(stored, &input.prefix) {
        Ok(Some(member)) => Ok(Fit::Member(member)),
        Ok(None) => Ok(Fit::Above),
        Err(Misfit::Beyond { name, excess }) => Ok(Fit::Beyond(name, excess)),
        Err(Misfit::Elsewhere { .. }) if input.selected => Ok(Fit::Outside),
        Err(why) => Err(wrong(input, &why)),
    }
}

/// Returns the member with the ids that it gets on this host, and which of its attributes it does not get: each as part of
/// a message.
pub(super) fn to_host<'m>(member: &'m Member, ids: &IdMap) -> Result<(Cow<'m, Member>, Vec<String>)> {
    if ids.is_identity() {
        return Ok((Cow::Borrowed(member), Vec::new()));
    }
    let metadata = ids.to_host(&member.metadata).map_err(|unmapped| unmapped.in_archive(&member.path))?;
    let (xattrs, left_out) = mapped_xattrs::to_host(ids, &member.metadata.xattrs);
    let metadata = Metadata { xattrs, ..metadata };
    Ok((Cow::Owned(Member { metadata, ..member.clone() }), left_out))
}

fn wrong(input: &Input, why: &Misfit) -> Error {
    let (location, prefix) = (&input.location, &input.prefix);
    let error = if input.selected {
        Error::refused(format!("'{location}' cannot be restored from '{prefix}' ({}): {why}", input.archive))
    } else {
        Error::refused(format!("'{location}' is not the archive of '/{prefix}' ({}): {why}", input.archive))
    };
    match why {
        // The first members of the archive did fit.
        Misfit::Elsewhere { .. } => {
            error.hint(format!("`--from {prefix}` restores what lies there, and skips the other members"))
        }
        Misfit::LinkElsewhere { .. }
        | Misfit::Bad { .. }
        | Misfit::Beyond { .. }
        | Misfit::RootIsNoDirectory
        | Misfit::BadTarget { .. } => {
            error.hint("`voltar list` shows what it holds; --only NAME says which of the layout's archives a file is")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Kind;

    #[test]
    fn a_member_gets_the_ids_of_the_host_and_keeps_the_rest() {
        let ids = IdMap::parse("0 100000 65536", "0 200000 65536").unwrap();
        let xattrs = [(b"user.note".to_vec(), b"kept".to_vec())].into_iter().collect();
        let metadata = Metadata { uid: 5, gid: 6, mode: 0o640, xattrs, ..Metadata::default() };
        let member = Member { path: RelPath::parse(b"file").unwrap(), kind: Kind::Fifo, metadata };
        let (on_host, left_out) = to_host(&member, &ids).unwrap();
        let expected = Metadata { uid: 100_005, gid: 200_006, ..member.metadata.clone() };
        assert_eq!((&on_host.path, &on_host.kind, &on_host.metadata), (&member.path, &member.kind, &expected));
        assert!(left_out.is_empty(), "{left_out:?}");
        let stranger = Member { metadata: Metadata { uid: 70_000, ..expected }, ..member };
        assert!(to_host(&stranger, &ids).unwrap_err().to_string().contains("70000"));
    }
}
