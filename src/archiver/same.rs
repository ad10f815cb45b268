//! Whether a tree is the one of a full archive: then it is not archived again.

use std::time::Instant;

use super::beside::Scope;
use super::job::{Archived, Job, TreeTotals, content_bytes};
use super::since::{Compared, Index};
use crate::error::{ErrorKind, Result};
use crate::monitor::{Monitor, Summary};
use crate::ordered::Pool;
use crate::postgres::Clusters;
use crate::volume::OpenTree;
use crate::volume::walk::{Before, Found, Links, Walk};

/// Returns what is known of a tree of which nothing has changed since the full archive that the job names, if it names one;
/// `None` if anything has, or cannot be told without reading content.
pub(super) fn same(job: &Job, tree: &OpenTree, pool: &Pool, monitor: &dyn Monitor) -> Result<Option<Archived>> {
    let Scope::AllOrSame { since, .. } = &job.scope else { return Ok(None) };
    let compared = Index::open(since, pool, monitor).and_then(|index| compare(job, tree, index, monitor));
    match compared {
        Err(error) if error.kind() == ErrorKind::Damaged => {
            monitor.note(&format!("{}: {error}", job.archive));
            Ok(None)
        }
        other => other,
    }
}

fn compare(job: &Job, tree: &OpenTree, index: Index<'_>, monitor: &dyn Monitor) -> Result<Option<Archived>> {
    let begun = Instant::now();
    let walk = Walk::new(tree)?.excluding(&job.exclude, &job.prefix).watching(monitor);
    let (mut totals, mut links) = (TreeTotals::default(), Links::default());
    let (mut clusters, mut left_out) = (Clusters::default(), 0);
    for found in Compared::new(walk, index, &tree.ids, job.xattrs)? {
        monitor.check_cancelled()?;
        match found? {
            Found::Entry(entry) if entry.before == Before::Same => {
                totals.add(content_bytes(&entry, &mut links));
                clusters.member(&entry.path, &entry.kind);
            }
            Found::Excluded => left_out += 1,
            Found::Own(_) => {}
            // What is only reported is reported when all is archived.
            Found::Entry(_)
            | Found::Socket(_)
            | Found::Beyond { .. }
            | Found::Changed(_)
            | Found::Unreadable { .. }
            | Found::Gone(_) => return Ok(None),
        }
    }
    let archive = job.archive.clone();
    let (stream_bytes, file_bytes, elapsed) = (0, 0, begun.elapsed());
    let summary = Summary { archive, members: 0, left_out, stream_bytes, file_bytes, elapsed };
    Ok(Some(Archived { complete: None, beside: None, summary, tree: totals.finished(), clusters: clusters.found() }))
}
