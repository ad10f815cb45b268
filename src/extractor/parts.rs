//! Parts of a tree: paths, each with all that lies below it.

use crate::member::RelPath;

/// The parts of a tree that are wanted, none inside another one. Without any, the whole tree is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts(Vec<RelPath>);

/// Where a path lies in relation to the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It is a part, or lies in one.
    Inside,
    /// A part lies below it.
    Above,
    /// Neither.
    Outside,
}

impl Parts {
    /// Returns these parts without those that lie in others of them.
    #[must_use]
    pub fn new(mut paths: Vec<RelPath>) -> Self {
        // A path comes before those that lie in it.
        paths.sort();
        let mut parts: Vec<RelPath> = Vec::new();
        for path in paths {
            if parts.iter().all(|part| path.strip_prefix(part).is_none()) {
                parts.push(path);
            }
        }
        Self(parts)
    }

    /// Returns whether the whole tree is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the paths; none if the whole tree is wanted.
    pub fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.0.iter()
    }

    /// Returns where `path` lies.
    #[must_use]
    pub(crate) fn relation(&self, path: &RelPath) -> Relation {
        if self.is_all() || self.0.iter().any(|part| path.strip_prefix(part).is_some()) {
            Relation::Inside
        } else if self.0.iter().any(|part| part.strip_prefix(path).is_some()) {
            Relation::Above
        } else {
            Relation::Outside
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_path_is_inside_above_or_outside() {
        let parts = Parts::new(vec![path("a/b"), path("c"), path("a/b/d"), path("a/b")]);
        assert_eq!(parts.paths().cloned().collect::<Vec<_>>(), [path("a/b"), path("c")]);
        for (at, relation) in [
            ("a/b", Relation::Inside),
            ("a/b/d/e", Relation::Inside),
            ("c", Relation::Inside),
            ("a", Relation::Above),
            ("", Relation::Above),
            ("a/bc", Relation::Outside),
            ("a/d", Relation::Outside),
            ("d", Relation::Outside),
        ] {
            assert_eq!(parts.relation(&path(at)), relation, "{at}");
        }
        assert_eq!(Parts::default().relation(&path("x")), Relation::Inside);
    }
}
