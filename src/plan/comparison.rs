//! The plan of a comparison: which archive is compared with which tree, and why it cannot be.

use std::path::PathBuf;

use super::facts::Facts;
use super::sources::{Sources, Strangers, find};
use super::{overlaps, prefix, unreal, users};
use crate::error::{Error, ErrorKind, Result};
use crate::exclude::Exclude;
use crate::extractor::Input;
use crate::host::{Host, Inventory, State};
use crate::layout::Layout;
use crate::live_mounts::LiveMount;
use crate::member::RelPath;
use crate::resolve::{CREATE_STACK, Selection, Target, not_found, survey};
use crate::store::Location;
use crate::touched;

/// The arguments of a comparison.
#[derive(Debug, Clone)]
pub struct ComparisonRequest {
    /// The archives that can be compared.
    pub layout: Layout,
    /// Which of them are.
    pub selection: Selection,
    /// Directories with archives, or single archives.
    pub sources: Vec<PathBuf>,
    /// The directory in the archives whose content is compared; `None` for the path of the layout.
    pub from: Option<RelPath>,
    /// What the archives need not hold, in addition to what the layout excludes.
    pub exclude: Exclude,
}

impl ComparisonRequest {
    /// Reads those containers and volumes of `host` that concern the request.
    ///
    /// # Errors
    /// As [`Host::inventory`].
    pub fn inventory(&self, host: &dyn Host) -> Result<Inventory> {
        touched::inventory(host, &self.layout, &self.selection.volumes, false)
    }
}

/// The plan of a comparison.
#[derive(Debug, Clone)]
pub struct ComparisonPlan {
    /// Notes on the inventory, and on what may change meanwhile.
    pub notes: Vec<String>,
    /// The archives, in the layout's order.
    pub archives: Vec<PlannedComparison>,
    /// The archives of the sources that are not in the layout.
    pub foreign: Vec<Location>,
    /// The reasons to refuse; empty if the archives can be compared.
    pub refusals: Vec<Error>,
}

/// One archive of a [`ComparisonPlan`].
#[derive(Debug, Clone)]
pub struct PlannedComparison {
    /// The container and the mounts.
    pub target: Target,
    /// The archive.
    pub input: Input,
    /// What it need not hold.
    pub exclude: Exclude,
    /// The mounts as they were found on this host.
    pub mounts: Vec<LiveMount>,
}

/// Plans a comparison.
///
/// # Errors
/// The sources hold no archive of the layout, or the run was interrupted.
pub fn plan(request: &ComparisonRequest, inventory: &Inventory, facts: &dyn Facts) -> Result<ComparisonPlan> {
    let Sources { archives: found, notes: older, foreign, .. } =
        find(&request.layout, &request.selection, &request.sources, Strangers::Refuse, facts)?;
    let only = found.iter().map(|(name, _)| name.clone()).collect();
    let mut resolution = survey(&request.layout, inventory, &Selection { only, ..request.selection.clone() })?;
    let mut notes = [inventory.notes.clone(), std::mem::take(&mut resolution.notes), older].concat();
    // As a backup leaves them.
    notes.extend(overlaps::leave_nested(&mut resolution.targets, &resolution.others));
    let missing = not_found(&resolution.missing, CREATE_STACK);
    let mut refusals: Vec<Error> = inventory.refusals().chain(missing).chain(resolution.problems).collect();
    notes.extend(still_running(&resolution.targets));
    let mut archives = Vec::new();
    for target in resolution.targets {
        let Some((_, location)) = found.iter().find(|(name, _)| *name == target.archive) else { continue };
        let Some(spec) = request.layout.archive(&target.archive) else { continue };
        let name = target.archive.clone();
        let unfinished = facts.unfinished(&target.tree)?;
        refusals.extend(unfinished.iter().map(|other| other.refusal().within(&name)));
        let reasons = unreal(&target, inventory, facts)?;
        if !reasons.is_empty() {
            refusals.extend(reasons);
            continue;
        }
        let input = Input::new(&name, location, &target.tree.path);
        let from = (request.from.as_ref(), &request.layout);
        let input = match prefix::fitting(&input, &target.alternative_paths, from, facts, &mut notes) {
            Ok(input) => input,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                refusals.push(error);
                continue;
            }
        };
        match facts.live_mounts(&target.tree) {
            Ok(mounts) => {
                let exclude = spec.exclude.and(&request.exclude);
                archives.push(PlannedComparison { target, input, exclude, mounts });
            }
            Err(error) => refusals.push(error.within(&name)),
        }
    }
    Ok(ComparisonPlan { notes, archives, foreign, refusals })
}

/// Returns a note on the containers that can change the trees while they are compared.
fn still_running(targets: &[Target]) -> Option<String> {
    let users = users(targets.iter());
    let running: Vec<&str> =
        users.iter().filter(|user| user.state != State::Stopped).map(|user| user.name.as_str()).collect();
    (!running.is_empty()).then(|| {
        format!(
            "containers that use these volumes are running: {}; what they change meanwhile differs",
            running.join(", ")
        )
    })
}
