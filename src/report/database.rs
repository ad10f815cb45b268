//! What a plan says of PostgreSQL, as text and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::plan::postgres::Versions;
use crate::postgres::{MajorVersion, OutsideLink};
use crate::report::text::safe;

impl Versions {
    /// Returns the versions that are known, each with where it is.
    fn known(&self) -> impl Iterator<Item = (MajorVersion, &'static str)> {
        let server = self.server.as_ref().map(|one| one.server.version);
        let all = [(self.archive, "archive"), (self.volume, "volume"), (server, "image")];
        all.into_iter().filter_map(|(version, place)| Some((version?, place)))
    }
}

/// Writes a line of a plan with versions, if any is known: `PostgreSQL 15 in the archive, 10 in the volume`.
pub(super) fn versions(text: &mut String, versions: &Versions) -> std::fmt::Result {
    let known: Vec<String> = versions.known().map(|(version, place)| format!("{version} in the {place}")).collect();
    if known.is_empty() { Ok(()) } else { writeln!(text, "  database   PostgreSQL {}", known.join(", ")) }
}

/// Writes a line of a plan for each link that leads out of the archive.
pub(super) fn outside_links(text: &mut String, links: &[OutsideLink]) -> std::fmt::Result {
    links.iter().try_for_each(|link| writeln!(text, "  outside    {}", safe(&link.to_string())))
}

/// The major versions of a PostgreSQL cluster; `null` where one is not known.
#[derive(Serialize)]
pub(super) struct Postgresql {
    archive: Option<String>,
    volume: Option<String>,
    image: Option<String>,
}

impl Postgresql {
    /// Returns `None` if no version is known.
    pub(super) fn of(versions: &Versions) -> Option<Self> {
        let text = |version: Option<MajorVersion>| version.map(|version| version.to_string());
        versions.known().next()?;
        Some(Self {
            archive: text(versions.archive),
            volume: text(versions.volume),
            image: text(versions.server.as_ref().map(|one| one.server.version)),
        })
    }
}
