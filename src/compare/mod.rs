//! Compares an archive with the live tree that it would be restored to: each member with what the tree has at its path,
//! then the tree with what the archive has named. Nothing is changed.
//!
//! Members can be in any order. So each is looked up, and the paths that both sides have are remembered, as hashes with a
//! random key: about 20 bytes for each, however many members the archive has that the tree does not. Content is compared
//! in pieces.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod findings;
mod links;
mod member;

use std::io::{self, Read as _};
use std::mem::discriminant;

use crate::archive::reader::Stored;
use crate::archive_file::{ArchiveFile, Content};
use crate::difference::{Attribute, Difference, Differences, What};
use crate::error::{Error, Result, carried};
use crate::exclude::Exclude;
use crate::extractor::{Fit, Input, fit};
use crate::holes::ReadHoles;
use crate::limits::Skipped;
use crate::mapped_xattrs;
use crate::member::{Kind, Member, RelPath};
use crate::monitor::{Event, Monitor, Stage};
use crate::ordered::Pool;
use crate::volume::comparer::{CompareError, Comparer};
use crate::volume::create::unreadable;
use crate::volume::lookup::Lookup;
use crate::volume::walk::{Entry, Found, Walk};
use crate::volume::{self, OpenTree};
use findings::{Findings, Seen};
use links::LiveLinks;

/// Compares an archive with `tree`, and reports each difference. The archive need not hold what `exclude` matches.
///
/// # Errors
/// The archive cannot be read to its end, or is not that of the tree; or something in the tree cannot be read.
pub(crate) fn compare(
    input: &Input,
    tree: &OpenTree,
    exclude: &Exclude,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Differences> {
    let mut archive = ArchiveFile::open(&input.location, pool, monitor)?;
    archive.started(Stage::Comparing, monitor);
    let mut comparison = Comparison {
        input,
        tree,
        monitor,
        lookup: Lookup::new(tree)?,
        comparer: Comparer::default(),
        links: LiveLinks::default(),
        seen: Seen::default(),
        findings: Findings::default(),
        skipped: 0,
        on_no_mount: 0,
        left: vec![0; tree.mounts.len()],
        unreadable: 0,
        beyond: Skipped::default(),
    };
    while let Some(stored) = archive.next_member(monitor)? {
        comparison.stored(&stored, &mut archive.content(monitor))?;
    }
    comparison.rest_of_tree(exclude)?;
    let differences = comparison.finish()?;
    let at = archive.location().path();
    monitor.event(&Event::Compared { archive: &input.archive, differences });
    monitor.event(&Event::Finished { stage: Stage::Comparing, summary: &archive.summary(), at });
    Ok(differences)
}

struct Comparison<'a> {
    input: &'a Input,
    tree: &'a OpenTree,
    monitor: &'a dyn Monitor,
    lookup: Lookup,
    comparer: Comparer,
    links: LiveLinks,
    seen: Seen,
    findings: Findings,
    /// Members outside of the prefix that the user has selected.
    skipped: u64,
    /// Members that are on no mount of a tree whose root is on none.
    on_no_mount: u64,
    /// Members of nested mounts that are left to another archive, by the index of the mount.
    left: Vec<u64>,
    /// What is in the tree and could not be read.
    unreadable: u64,
    /// Members beyond a limit of archives.
    beyond: Skipped,
}

impl Comparison<'_> {
    fn stored(&mut self, stored: &Stored, content: &mut Content<'_, '_>) -> Result<()> {
        match fit(self.input, stored)? {
            Fit::Member(member) => self.member(&member, content)?,
            Fit::Above => {}
            Fit::Beyond(name, excess) => {
                if let Some(top) = self.beyond.add(&name, excess) {
                    let what = format!("'{top}' is not compared, nor what lies below it: {excess}");
                    self.monitor.issue(&self.input.archive, what);
                }
            }
            Fit::Outside => self.skipped += 1,
        }
        // Content is read here instead of skipped by the next member, so that progress is reported within large members.
        let mut rest = [0; 16 << 10];
        while content.skip_hole() > 0 || content.read(&mut rest).map_err(|e| of_archive(&e))? > 0 {}
        Ok(())
    }

    fn member(&mut self, member: &Member, content: &mut Content<'_, '_>) -> Result<()> {
        let below = |at: &RelPath| member.path != *at && member.path.strip_prefix(at).is_some();
        let left = self.tree.mounts.iter().position(|mount| {
            matches!(mount.content, volume::Content::OtherArchive | volume::Content::ReadOnly) && below(&mount.at)
        });
        if let Some(index) = left {
            self.left[index] += 1;
            return Ok(());
        }
        if self.lookup.is_on_no_mount(&member.path) {
            // A directory down to a mount is made by the engine, and everything else was part of a container.
            let is_above = self.lookup.has_mounts_below(&member.path);
            self.on_no_mount += u64::from(!is_above);
            return Ok(());
        }
        if member.kind != Kind::Directory {
            self.findings.replaced(&member.path);
        }
        let found = match self.lookup.find(&member.path) {
            Ok(found) => found,
            Err(error) => {
                self.unreadable(&error.to_string());
                return Ok(());
            }
        };
        let attributes = match found {
            None => None,
            Some(Found::Entry(entry)) => self.entry(member, entry, content)?,
            Some(Found::Socket(_)) => Some(vec![member::kind(&member.kind, "socket")]),
            Some(Found::Own(path)) => {
                self.monitor.note(&format!("{}: '{path}' was made by a restore: not compared", self.input.archive));
                Some(Vec::new())
            }
            Some(Found::Unreadable { why, .. }) => {
                self.unreadable(&why);
                Some(Vec::new())
            }
            Some(Found::Excluded | Found::Beyond { .. } | Found::Changed(_) | Found::Gone(_)) => Some(Vec::new()),
        };
        match attributes {
            None => self.findings.only_in_archive(member),
            Some(attributes) => {
                // The last of several members with one name is what a restore leaves.
                if self.seen.insert(&member.path, !attributes.is_empty()) == Some(true) {
                    self.findings.retract(&member.path);
                }
                self.findings.attributes(&member.path, attributes);
            }
        }
        Ok(())
    }

    /// Returns the attributes that differ; `None` if the entry has vanished.
    fn entry(
        &mut self,
        member: &Member,
        mut entry: Entry,
        content: &mut Content<'_, '_>,
    ) -> Result<Option<Vec<Attribute>>> {
        if let Kind::HardLink { target } = &member.kind {
            let linked = match self.lookup.find(target)? {
                Some(Found::Entry(other)) => other.inode.id == entry.inode.id,
                Some(
                    Found::Socket(_)
                    | Found::Own(_)
                    | Found::Excluded
                    | Found::Beyond { .. }
                    | Found::Changed(_)
                    | Found::Unreadable { .. }
                    | Found::Gone(_),
                )
                | None => false,
            };
            if linked {
                self.links.linked(&entry);
            }
            return Ok(Some(if linked { Vec::new() } else { vec![member::not_linked(target)] }));
        }
        let mut attributes = Vec::new();
        let opened = match (&member.kind, &entry.kind) {
            (Kind::File { .. }, Kind::File { .. }) => match entry.open() {
                Ok(opened) => Some(opened),
                Err(errno) if volume::lookup::has_vanished(errno) => return Ok(None),
                Err(errno) => {
                    self.unreadable(&format!("cannot open '{}': {}", member.path, errno.desc()));
                    None
                }
            },
            _ => None,
        };
        member::differences(member, &entry, &self.tree.ids, &mut attributes);
        if member.metadata.xattrs.is_known() && discriminant(&member.kind) == discriminant(&entry.kind) {
            self.xattrs(member, &entry, &mut attributes);
        }
        if let (Some(opened), Kind::File { size }) = (opened, &member.kind)
            && entry.kind == member.kind
        {
            match self.comparer.is_same(opened, content, *size) {
                Ok(true) => {}
                Ok(false) => attributes.push(member::content()),
                Err(CompareError::Archive(e)) => return Err(of_archive(&e)),
                Err(CompareError::File(e)) => {
                    self.unreadable(&format!("cannot read '{}': {e}", member.path));
                }
            }
        }
        if let Some(other) = self.links.other_name(member, &entry) {
            attributes.push(member::linked(&other));
        }
        Ok(Some(attributes))
    }

    /// Adds the extended attributes that differ. Of most members an archive does not say which they had.
    fn xattrs(&mut self, member: &Member, entry: &Entry, attributes: &mut Vec<Attribute>) {
        #[allow(clippy::redundant_closure_for_method_calls, reason = "the method is not general in its lifetime")]
        let all = entry.with_object(|object| object.all());
        match all {
            Ok(Some(Ok(live))) => {
                // What has no id in the container is missing there, which is a difference.
                let (live, _) = mapped_xattrs::to_container(&self.tree.ids, &live);
                member::xattrs(&member.metadata.xattrs, &live, attributes);
            }
            Ok(Some(Err(errno))) => {
                let why = io::Error::from(errno);
                self.unreadable(&format!("cannot read the extended attributes of '{}': {why}", member.path));
            }
            // It is on no mount.
            Ok(None) => {}
            Err(errno) => self.unreadable(&format!("cannot open '{}': {}", member.path, errno.desc())),
        }
    }

    /// Finds what only the tree has.
    fn rest_of_tree(&mut self, exclude: &Exclude) -> Result<()> {
        let (mut absent, mut sockets, mut excluded) = (None::<RelPath>, 0_u64, 0_u64);
        for found in Walk::new(self.tree)?.excluding(exclude, &self.input.path).watching(self.monitor) {
            self.monitor.check_cancelled()?;
            let (path, is_directory) = match found? {
                Found::Entry(entry) => (entry.path, entry.kind == Kind::Directory),
                Found::Socket(_) => {
                    sockets += 1;
                    continue;
                }
                Found::Excluded => {
                    excluded += 1;
                    continue;
                }
                Found::Own(_) | Found::Changed(_) | Found::Gone(_) | Found::Unreadable { vanished: true, .. } => {
                    continue;
                }
                Found::Beyond { path, entries, excess } => {
                    let what = format!("{entries} entries of '{path}' are not compared: {excess}");
                    self.monitor.issue(&self.input.archive, what);
                    continue;
                }
                Found::Unreadable { why, .. } => {
                    self.unreadable(&why);
                    continue;
                }
            };
            let is_covered = absent.as_ref().is_some_and(|absent| path.strip_prefix(absent).is_some());
            let is_above = self.lookup.is_on_no_mount(&path);
            if is_covered || is_above || self.seen.contains(&path) || path.is_root() {
                continue;
            }
            absent = is_directory.then(|| path.clone());
            self.findings.add(Difference { path, is_directory, what: What::OnlyInVolume });
        }
        let archive = &self.input.archive;
        if sockets > 0 {
            self.monitor.note(&format!("{archive}: {sockets} sockets are not compared: no archive can hold them"));
        }
        if excluded > 0 {
            self.monitor.note(&format!("{archive}: {excluded} files and directories are excluded from the comparison"));
        }
        Ok(())
    }

    /// Reports what was found.
    fn finish(self) -> Result<Differences> {
        let Input { archive, prefix, path, .. } = self.input;
        for (mount, left) in self.tree.mounts.iter().zip(&self.left).filter(|(_, left)| **left > 0) {
            let path = path.concat(&mount.at);
            self.monitor.note(&format!(
                "{archive}: {left} members of '/{path}' are not compared: another archive holds that volume"
            ));
        }
        if self.on_no_mount > 0 {
            let (count, what) = (self.on_no_mount, "they are on no mount, and were part of a container");
            self.monitor.note(&format!("{archive}: {count} members are not compared: {what}"));
        }
        if self.skipped > 0 {
            let skipped = self.skipped;
            self.monitor.note(&format!(
                "{archive}: {skipped} members of the archive lie outside of '{prefix}' and are skipped"
            ));
        }
        let (listed, differences) = self.findings.sorted();
        for difference in &listed {
            self.monitor.event(&Event::Difference { archive, difference });
        }
        if let Some(count) = self.beyond.count() {
            let what = format!("{count} members in all are not compared, because they are beyond a limit");
            self.monitor.issue(archive, what);
        }
        match self.unreadable {
            0 => Ok(differences),
            n => Err(Error::refused(format!("{archive}: {n} files or directories could not be compared"))
                .hint("the warnings above say why")),
        }
    }

    fn unreadable(&mut self, why: &str) {
        self.unreadable += 1;
        self.monitor.issue(&self.input.archive, format!("{why}: not compared"));
    }
}

/// Returns the error of the archive that a reader of its content has returned.
fn of_archive(e: &io::Error) -> Error {
    carried::<Error>(e).cloned().unwrap_or_else(|| unreadable(e))
}
