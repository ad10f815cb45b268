//! The database clusters in an archive, found without extracting it.

use super::fit::fit;
use super::input::Input;
use super::recorded::Recorded;
use crate::archive_file::ArchiveFile;
use crate::error::Result;
use crate::member::{Kind, Member};
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::postgres::{Cluster, Clusters, VERSION_BYTES, is_version_file};

/// How far the beginning of an archive is searched for clusters: so many members, or before a member whose content ends
/// beyond so many bytes. Archives that are not sorted can have a version at any place.
const SEARCHED_MEMBERS: u64 = 10_000;
const SEARCHED_BYTES: u64 = 64 << 20;

/// Returns the database clusters in the first members of an archive. What cannot be read is reported when the archive is
/// extracted.
///
/// # Errors
/// The run was interrupted.
pub(crate) fn first_clusters(input: &Input, pool: &Pool, monitor: &dyn Monitor) -> Result<Vec<Cluster>> {
    let mut clusters = Clusters::default();
    // Its errors are those of extracting it.
    search(input, &mut clusters, pool, monitor).unwrap_or_default();
    monitor.check_cancelled()?;
    Ok(clusters.found())
}

fn search(input: &Input, clusters: &mut Clusters, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let mut archive = ArchiveFile::peek(&input.location, pool, monitor)?;
    let (mut members, mut bytes) = (0, 0_u64);
    while members < SEARCHED_MEMBERS && bytes < SEARCHED_BYTES && clusters.version_of_root().is_none() {
        let Some(stored) = archive.next_member(monitor)? else { break };
        members += 1;
        bytes = bytes.saturating_add(stored.size);
        if let Some(member) = fit(input, &stored)?.member() {
            note_cluster(clusters, &member, &mut archive, monitor)?;
        }
    }
    Ok(())
}

/// Takes note of a member that is not extracted, and reads the version of a cluster.
pub(super) fn note_cluster(
    clusters: &mut Clusters,
    member: &Member,
    archive: &mut ArchiveFile<'_>,
    monitor: &dyn Monitor,
) -> Result<()> {
    clusters.member(&member.path, &member.kind);
    if is_version(member) {
        let mut content = archive.content(monitor);
        let mut recorded = Recorded::new(&mut content, VERSION_BYTES);
        let read = recorded.read_beginning();
        let version = recorded.beginning();
        read.map_err(|e| archive.located(&e))?;
        clusters.version(&member.path, &version);
    }
    Ok(())
}

/// Returns whether a member holds the version of a cluster, or of one of its databases.
pub(super) fn is_version(member: &Member) -> bool {
    matches!(member.kind, Kind::File { .. }) && is_version_file(&member.path)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::Path;

    use super::*;
    use crate::member::RelPath;
    use crate::monitor::Collector;
    use crate::store::Location;

    /// Writes an archive of a cluster whose version comes after so many other members.
    fn archive(path: &Path, others: u64) {
        let mut archive = tar::Builder::new(File::create(path).unwrap());
        let mut append = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, format!("srv/x/{name}"), content).unwrap();
        };
        (0..others).for_each(|number| append(&number.to_string(), b""));
        append("PG_VERSION", b"15\n");
        archive.finish().unwrap();
    }

    #[test]
    fn only_the_first_members_are_searched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        let input = Input::new("x", &Location::new(&path), &RelPath::parse(b"srv/x").unwrap());
        for (others, found) in [(SEARCHED_MEMBERS - 1, 1), (SEARCHED_MEMBERS, 0)] {
            archive(&path, others);
            let clusters = first_clusters(&input, &Pool::new(1).unwrap(), &Collector::default()).unwrap();
            assert_eq!(clusters.len(), found, "after {others} others");
        }
    }
}
