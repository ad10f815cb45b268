//! Hard links in the parts that are restored to members outside of them. Such a member is not restored under its own name,
//! so the archive is read once more: the first link becomes a file with its content, and the others link to that.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::fit::{fit, to_host};
use super::input::Input;
use super::parts::{Parts, Relation};
use super::route::Routes;
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::member::{Kind, Member, RelPath};
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::volume::create::no_target;

/// The most such links of an archive.
const MOST: usize = 100_000;

/// The links that were found, which are made last.
#[derive(Debug, Default)]
pub(super) struct OutsideLinks {
    /// The member outside of the parts that each links to.
    targets: HashMap<RelPath, RelPath>,
    links: BTreeMap<RelPath, Vec<Member>>,
    /// The offset of the last link: what it links to comes before it.
    last: u64,
}

impl OutsideLinks {
    /// Takes `member`, at `offset` in the stream, if it is such a link; returns whether it is.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn take(&mut self, parts: &Parts, member: &Member, offset: u64) -> Result<bool> {
        // A later member of the same name replaces the link.
        if let Some(target) = self.targets.remove(&member.path)
            && let Some(links) = self.links.get_mut(&target)
        {
            links.retain(|link| link.path != member.path);
        }
        let Kind::HardLink { target } = &member.kind else { return Ok(false) };
        let target = match self.targets.get(target) {
            Some(outside) => outside,
            None if parts.relation(target) == Relation::Inside => return Ok(false),
            None => target,
        };
        let target = target.clone();
        if self.targets.len() == MOST {
            return Err(Error::refused(format!(
                "more than {MOST} hard links lead out of what is restored, such as '{}'",
                member.path
            ))
            .hint(format!("restore '{target}' with it: --path can be given more than once")));
        }
        self.targets.insert(member.path.clone(), target.clone());
        self.links.entry(target).or_default().push(member.clone());
        self.last = offset;
        Ok(true)
    }

    /// Makes the links.
    ///
    /// # Errors
    /// The archive cannot be read again, or does not hold what is linked to; or those of making a file.
    pub(super) fn make(
        mut self,
        input: &Input,
        routes: &mut Routes<'_>,
        ids: &IdMap,
        pool: &Pool,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        self.links.retain(|_, links| !links.is_empty());
        let Some((target, links)) = self.links.first_key_value() else { return Ok(()) };
        let example = format!("'{}' is a hard link to '{target}', outside of what is restored", links[0].path);
        if input.location.is_stream() {
            return Err(Error::refused(format!("{example}, and {} can be read only once", input.location))
                .hint(format!("restore '{target}' with it (another --path), or from a file")));
        }
        monitor.note(&format!(
            "{}: {} hard links lead out of what is restored and become files of their own: {example}",
            input.archive,
            self.targets.len()
        ));
        let mut archive = input.open(pool, monitor)?;
        let mut made = BTreeSet::new();
        let check = || monitor.check_cancelled();
        while let Some(stored) = archive.next_member(monitor)? {
            if stored.offset > self.last {
                break;
            }
            let Some(member) = fit(input, &stored)?.member() else { continue };
            let Some(links) = self.links.get(&member.path) else { continue };
            if !matches!(member.kind, Kind::File { .. } | Kind::Symlink { .. } | Kind::Fifo) {
                continue;
            }
            let first = Member { path: links[0].path.clone(), ..to_host(&member, ids)?.0.into_owned() };
            routes.extract(&first, &mut archive.content(monitor), &check).map_err(|error| monitor.cause(error))?;
            for link in &links[1..] {
                let kind = Kind::HardLink { target: first.path.clone() };
                routes.extract(&Member { kind, ..link.clone() }, &mut std::io::empty(), &check)?;
            }
            made.insert(member.path);
        }
        match self.links.iter().find(|(target, _)| !made.contains(*target)) {
            None => Ok(()),
            Some((target, links)) => Err(no_target(&links[0].path, target)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Metadata;

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_later_member_takes_the_place_of_a_link_of_its_name_only() {
        let parts = Parts::new(vec![path("in")]);
        let mut links = OutsideLinks::default();
        let mut take = |name: &str, target: Option<&str>| {
            let kind = target.map_or(Kind::Fifo, |target| Kind::HardLink { target: path(target) });
            links.take(&parts, &Member { path: path(name), kind, metadata: Metadata::default() }, 0).unwrap()
        };
        assert!(take("in/a", Some("out")) && take("in/b", Some("out")) && take("in/c", Some("in/b")));
        assert!(!take("in/a", None) && !take("in/d", Some("in/a")), "a file of the part");
        let left: Vec<_> = links.links[&path("out")].iter().map(|link| link.path.to_string()).collect();
        assert_eq!(left, ["in/b", "in/c"]);
    }
}
