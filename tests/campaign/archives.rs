//! What must hold of the archives after a run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use super::bench::{Bench, Violation};
use super::calls::Counted;
use super::scenario::Kind;

/// By file name.
pub(super) type Archives = Vec<(String, Vec<u8>)>;

impl Bench {
    /// Checks that no name has an incomplete archive.
    pub(super) fn check_complete(&self) -> Result<(), Violation> {
        let now = self.archives_now();
        let known = |one| self.archives.iter().any(|archives| archives.contains(one));
        if now.iter().all(known) && (self.archives[0].iter().all(|old| now.iter().any(|one| one.0 == old.0))) {
            Ok(())
        } else {
            Err(format!("the archives: {}", self.describe(&now)))
        }
    }

    pub(super) fn check_archives(&self, which: usize) -> Result<(), Violation> {
        let now = self.archives_now();
        if now == self.archives[which] { Ok(()) } else { Err(format!("the archives: {}", self.describe(&now))) }
    }

    /// Checks that all archives are complete but for members that a message names.
    pub(super) fn check_archives_but_for(&self, text: &str) -> Result<(), Violation> {
        let now = self.archives_now();
        if self.counted != Counted::Reads || now.len() != self.archives[1].len() {
            return self.check_archives(1);
        }
        let same_name = |one: &&(String, Vec<u8>), other: &&(String, Vec<u8>)| one.0 == other.0;
        for (archive, expected) in now.iter().zip(&self.archives[1]) {
            if !same_name(&archive, &expected) {
                return self.check_archives(1);
            }
            let (found, expected) = (members(&archive.1), members(&expected.1));
            let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
            // A message names a member relative to the root of its archive, and of a directory that cannot be listed the
            // directory alone.
            let is_named = |name: &str| {
                let holders = name.match_indices('/').map(|(at, _)| &name[..at]).chain([name]);
                holders
                    .flat_map(|holder| holder.match_indices('/').map(|(at, _)| &holder[at + 1..]).chain([holder]))
                    .any(|end| text.contains(&format!("'{end}'")))
            };
            // The first of several hard links that is archived has the content.
            let takes_content = |name: &str| {
                let target = expected.get(name).and_then(|member| link_target(member));
                found.contains_key(name) && target.is_some_and(|target| is_named(&target))
            };
            let unnamed = names.into_iter().filter(|name| {
                found.get(*name) != expected.get(*name) && !is_named(name.as_str()) && !takes_content(name.as_str())
            });
            if let Some(name) = unnamed.min() {
                return Err(format!("{}: '{name}' is not as it should be, and not named", archive.0));
            }
        }
        Ok(())
    }

    pub(super) fn archives_now(&self) -> Archives {
        if matches!(self.scenario.kind, Kind::Backup | Kind::Verify) {
            self.world.archives(self.scenario.args[1])
        } else {
            Vec::new()
        }
    }

    pub(super) fn describe(&self, now: &Archives) -> String {
        let which = |name: &str, content: &[u8]| {
            let is = |archives: &Archives| archives.iter().any(|one| one.0 == name && one.1 == content);
            match (is(&self.archives[0]), is(&self.archives[1])) {
                (true, _) => "old",
                (_, true) => "new",
                _ => "neither old nor new",
            }
        };
        now.iter().map(|(name, content)| format!("{name} is {}", which(name, content))).collect::<Vec<_>>().join(", ")
    }
}

/// Returns the members of a tar archive: of each name what stands in the archive from its header to the next one.
fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    let mut archive = tar::Archive::new(archive);
    for member in archive.entries().expect("an archive") {
        let mut member = member.expect("a member");
        let name = String::from_utf8_lossy(&member.path_bytes()).trim_end_matches('/').to_owned();
        let mut bytes = member.header().as_bytes().to_vec();
        member.read_to_end(&mut bytes).expect("its content");
        members.insert(name, bytes);
    }
    members
}

/// Returns the name of the member to which this one is a hard link, if it is one.
fn link_target(member: &[u8]) -> Option<String> {
    let header = tar::Header::from_byte_slice(member.get(..512)?);
    let target = header.link_name_bytes().filter(|_| header.entry_type() == tar::EntryType::Link)?;
    Some(String::from_utf8_lossy(&target).into_owned())
}
